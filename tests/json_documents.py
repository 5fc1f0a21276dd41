"""The JSON Schemas in docs/json-schema/, and the one check that every document of --json in every test goes through."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
from referencing import Registry, Resource

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "json-schema"
# `report` prints metrics.json, and where the page is.
METRICS = ROOT / "dogbreed_cli" / "report" / "metrics.schema.json"
ERROR = {"schema_version", "error", "why", "fix", "code"}


@cache
def schemas() -> dict[str, dict[str, Any]]:
    return {path.name: json.loads(path.read_bytes()) for path in [*FOLDER.glob("*.json"), METRICS]}


@cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    registry: Registry = Registry().with_resources((key, Resource.from_contents(one)) for key, one in schemas().items())
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    return jsonschema.Draft202012Validator(schemas()[name], registry=registry, format_checker=checker)


def schema_of(arguments: Iterable[str]) -> str:
    """The file for a command line; of one that names no command error.json."""
    words = [word for word in arguments if not word.startswith("-")]
    named = [word for word in words if f"{word}.json" in schemas()]
    if "local" in words and "serve" in words:
        return "local-serve.json"
    return f"{named[0]}.json" if named else "error.json"


def check_document(arguments: Iterable[str], document: Any) -> None:
    """Fails the test where the document is not as its schema says, or has a member that the schema does not know."""
    name = schema_of(arguments)
    validator(name).validate(document)
    if name != "report.json":
        unknown = set(document) - set(schemas()[name]["properties"])
        assert not unknown, f"docs/json-schema/{name} says nothing of {unknown}"
