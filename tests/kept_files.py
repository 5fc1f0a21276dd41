"""Documents that stand in git beside the code that makes them, so that a change of either shows as a diff."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

import pytest


def compare(path: Path, document: Any) -> str:
    """How the file differs from the document; nothing where it does not. A file that is not there is written."""
    made = json.dumps(document, indent=2) + "\n"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text(made, encoding="utf-8")
        pytest.fail(f"wrote {path}: look at it and run again")
    kept = path.read_text(encoding="utf-8")
    return "".join(difflib.unified_diff(kept.splitlines(True), made.splitlines(True), "kept", "made now"))
