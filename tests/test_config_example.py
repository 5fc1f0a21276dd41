"""config.example.toml tells the truth about every key; `dogbreed init` writes it, and shows where values come from."""

from __future__ import annotations

import errno
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import fields

from dogbreed_cli.cli import cli
from dogbreed_cli.config import Config, load, origins
from dogbreed_cli.errors import MENDS
from dogbreed_cli.sections import Section

EXAMPLE = Path(__file__).parent.parent / "config.example.toml"

pytestmark = pytest.mark.usefixtures("folder")


def keys(model: type[Section], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every key of the model below its sections, without the open-ended ranges."""
    found: list[tuple[str, ...]] = []
    for field in fields(model):
        if isinstance(field.type, type) and issubclass(field.type, Section):
            found += keys(field.type, (*path, field.name))
        elif field.name != "ranges":
            found.append((*path, field.name))
    return found


# ---- config.example.toml


def test_the_example_loads_and_equals_the_defaults() -> None:
    assert load(EXAMPLE) == Config()


def test_the_example_has_every_key() -> None:
    uncommented = re.sub(r"^# (?=\w+ = )", "", EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    document = tomllib.loads(uncommented)
    for path in keys(Config):
        node: Any = document
        for key in path:
            assert key in node, f"config.example.toml says nothing of {'.'.join(path)}"
            node = node[key]
    written = {
        (*path, key)
        for path, table in walk(document)
        for key in table
        if not table[key] or not isinstance(table[key], dict)
    }
    assert {path for path in written if "ranges" not in path} == set(keys(Config))


def walk(table: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    found = [(path, table)]
    for key, value in table.items():
        if isinstance(value, dict):
            found += walk(value, (*path, key))
    return found


# ---- dogbreed init


def invoke(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, list(arguments))
    assert result.exit_code == code, result.output
    return result.stdout


def test_init_writes_the_example_once(folder: Path) -> None:
    assert "wrote config.toml" in invoke("init")
    assert (folder / "config.toml").read_bytes() == EXAMPLE.read_bytes()
    (folder / "config.toml").write_text("[train]\nepochs = 7\n")
    assert json.loads(invoke("--json", "init", code=2))["fix"] == "say --force to overwrite it"
    assert load().train.epochs == 7
    assert json.loads(invoke("--json", "init", "--force"))["written"] == "config.toml"
    assert load() == Config()
    assert [path.name for path in folder.iterdir()] == ["config.toml"]


def test_init_into_a_folder_that_cannot_be_made() -> None:
    Path("no").touch()
    error = json.loads(invoke("--json", "--config", "no/x.toml", "init", code=1))
    assert (error["error"], error["fix"]) == ("File exists: no", MENDS[errno.EEXIST])


def test_init_print_says_where_each_value_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("config.toml").write_text("[train]\nepochs = 7\nlr = 0.1\n[tune.ranges.lr]\nmax = 0.2\n")
    monkeypatch.setenv("DOGBREED_TRAIN__LR", "0.2")
    shown = json.loads(invoke("--json", "--set", "train.seed=5", "init", "--print"))["settings"]
    assert shown["train.epochs"] == {"value": 7, "source": "config.toml"}
    assert shown["train.lr"] == {"value": 0.2, "source": "environment"}
    assert shown["train.seed"] == {"value": 5, "source": "command line"}
    assert shown["train.workers"] == {"value": -1, "source": "default"}
    assert shown["tune.ranges.lr.max"] == {"value": 0.2, "source": "config.toml"}
    assert shown["tune.ranges.lr.min"] == {"value": 1e-4, "source": "default"}
    assert {key for key in shown if "ranges" not in key} == {".".join(path) for path in keys(Config)}
    human = invoke("init", "--print")
    assert re.search(r"train\.lr +0\.2 +environment", human)
    assert [path.name for path in Path().iterdir()] == ["config.toml"]


def test_origins_are_of_the_same_values_as_load() -> None:
    found = {key: value for key, value, _ in origins(None, {"train": {"epochs": 2}})}
    assert found["train.epochs"] == 2


def test_dogbreed_config_names_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOGBREED_CONFIG", "mine.toml")
    assert "no config file mine.toml" in json.loads(invoke("--json", "init", "--print", code=2))["error"]
    invoke("init")
    assert (folder / "mine.toml").read_bytes() == EXAMPLE.read_bytes()
    assert not (folder / "config.toml").exists()
    (folder / "mine.toml").write_text("[train]\nepochs = 7\n")
    (folder / "other.toml").write_text("[train]\nepochs = 8\n")
    assert json.loads(invoke("--json", "init", "--print"))["settings"]["train.epochs"]["source"] == "mine.toml"
    shown = json.loads(invoke("--json", "--config", "other.toml", "init", "--print"))["settings"]
    assert shown["train.epochs"] == {"value": 8, "source": "other.toml"}
