"""docs/json-schema/: one schema a command. That the commands' documents are so is checked wherever a test makes one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
from click.testing import CliRunner
from conftest import Dogbreed
from json_documents import ERROR, FOLDER, check_document, schema_of, schemas, validator

from dogbreed_cli.cli import BESIDE, PIPELINE, cli
from dogbreed_cli.errors import DogbreedError

COMMANDS = [*PIPELINE, *(name for name in BESIDE if name != "local"), "local-serve"]
# What each command says where its result is known without a job. The others' are checked by the tests that run jobs.
RESULTS: dict[str, dict[str, Any]] = {
    "upload": {"data": "s3://b/p", "classes": ["a"], "counts": {"train": 1, "valid": 0, "test": 0}, "bytes": 1,
               "fingerprint": "0" * 64, "findings": [], "sent": 1, "unchanged": 0, "deleted": 0, "bytes_sent": 1,
               "seconds": 0.1, "report": "data-report.html"},
    "tune": {"tuning_job": "t", "status": "InProgress"},
    "train": {"training_job": "t", "status": "InProgress"},
    "deploy": {"endpoint": "e", "status": "InService", "training_job": "t", "endpoint_config": "c", "ends_at": None},
    "predict": {"endpoint": "e", "answers": []},
    "teardown": {"planned": [], "removed": []},
    "init": {"written": "config.toml", "to_fill_in": []},
    "check": {"checks": []},
    "status": {"project": "p", "items": []},
    "logs": {"name": "n", "lines": []},
    "demo": {"steps": [], "right": 1, "images": 1, "report": "r", "seconds": 1},
    "local-serve": {"url": "http://127.0.0.1:1", "environment": {}},
}  # fmt: skip


def test_every_command_has_its_schema() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == {*COMMANDS, "error"}
    for name, schema in schemas().items():
        jsonschema.Draft202012Validator.check_schema(schema)
        if name != "metrics.schema.json":
            assert schema["description"] and schema["title"]


@pytest.mark.parametrize("name", RESULTS)
def test_a_schema_takes_results_and_errors_and_refuses_what_lacks_something(name: str) -> None:
    result = {"schema_version": 1, **RESULTS[name]}
    error = {"schema_version": 1, "error": "what", "why": "", "fix": "", "code": 1}
    for document in (result, error, {**result, **error}):
        validator(f"{name}.json").validate(document)
    for key in result:
        with pytest.raises(jsonschema.ValidationError):
            validator(f"{name}.json").validate({k: v for k, v in result.items() if k != key})
    for key in error:
        with pytest.raises(jsonschema.ValidationError):
            validator(f"{name}.json").validate({k: v for k, v in error.items() if k != key})
    with pytest.raises((AssertionError, jsonschema.ValidationError), match=r"says nothing of|unexpected"):
        check_document([name] if name != "local-serve" else ["local", "serve"], {**result, "secret": 1})


def test_the_codes_are_those_of_the_errors() -> None:
    codes = schemas()["error.json"]["properties"]["code"]["enum"]
    kinds = (DogbreedError, *DogbreedError.__subclasses__())
    assert set(codes) == {*(kind.exit_code for kind in kinds), 143}
    assert set(schemas()["error.json"]["required"]) == ERROR


@pytest.mark.parametrize("name", [*PIPELINE, *BESIDE])
def test_a_usage_error_of_every_command_is_a_document(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    wrong = [[name, "--nonsense"], ["--set", "train.epochs=none", name, *needed(name)]]
    for arguments in wrong[:1] if name in ("local", "demo") else wrong:  # a group, and one with settings of its own
        done = CliRunner().invoke(cli, ["--json", *arguments])
        assert done.exit_code == 2, done.output
        check_document(arguments, json.loads(done.stdout))
    assert not [path for path in tmp_path.iterdir() if path.name != "x.jpg"]


def needed(name: str) -> list[str]:
    command = cli.get_command(click.Context(cli), name)
    assert command
    return ["x.jpg" for param in command.params if isinstance(param, click.Argument) and param.required]


def test_what_the_quick_commands_say_is_as_their_schemas(dogbreed: Dogbreed) -> None:
    """Dogbreed.json checks."""
    assert set(dogbreed.json("init", "--print")) >= {"settings"}
    dogbreed.json("init")
    dogbreed.json("init", code=2)
    dogbreed.json("status", "--all")
    dogbreed.json("teardown", "--yes")
    dogbreed.json("logs", code=1)
    assert schema_of(["--set", "a=b", "local", "serve"]) == "local-serve.json"
