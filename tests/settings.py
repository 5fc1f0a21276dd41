"""A config as the command line makes it: of assignments, and of a config.toml in the working directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dogbreed_cli.config import Config, load, merge, parse_assignment
from dogbreed_cli.errors import UsageError


def settings(*assignments: str, text: str | None = None) -> Config:
    if text is not None:
        Path("config.toml").write_text(text, encoding="utf-8")
    flags: dict[str, Any] = {}
    for assignment in assignments:
        flags = merge(flags, parse_assignment(assignment))
    return load(None, flags)


def refused(*assignments: str, text: str | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        settings(*assignments, text=text)
    assert caught.value.exit_code == 2
    return str(caught.value)
