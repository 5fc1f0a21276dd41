"""config.toml, the environment and command-line flags -> one frozen `Config`.

Precedence: flag > environment (`DOGBREED_TRAIN__EPOCHS=3`) > config.toml > default. An unknown key, a wrong type or
an impossible value is a `UsageError` that names the key, where it came from and what is allowed.
Every key is explained, with AWS's own name for it, in config.example.toml.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from dogbreed_cli.errors import UsageError
from dogbreed_cli.hyperparameters import HYPERPARAMETERS
from dogbreed_cli.masking import MASK, SECRET_KEY, hide_urls, is_secret
from dogbreed_cli.sections import (
    DEFAULT_RANGES,
    Aws,
    Data,
    Debugger,
    Deploy,
    Features,
    Local,
    Model,
    Project,
    Range,
    Train,
    Tune,
)

ENV_PREFIX = "DOGBREED_"
# Read by other modules, or before a Config exists; everything else that starts with DOGBREED_ must be a key.
RESERVED_ENV = {"DOGBREED_CONFIG", "DOGBREED_HOME", "DOGBREED_CACHE"}
# Tables whose keys are the user's own.
OPEN_TABLES = (("train", "environment"), ("aws", "tags"))


class Config(BaseModel):
    """All settings of one run. Make it with `load`, which knows where each value came from."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    target: Literal["local", "aws"] = "local"
    project: Project = Project()
    aws: Aws = Aws()
    local: Local = Local()
    data: Data = Data()
    model: Model = Model()
    features: Features = Features()
    tune: Tune = Tune()
    train: Train = Train()
    debugger: Debugger = Debugger()
    deploy: Deploy = Deploy()

    @property
    def prefix(self) -> str:
        """The S3 key prefix of everything that this project stores, without slashes at its ends."""
        return (self.aws.prefix or self.project.name).strip("/")

    @property
    def site_keys(self) -> dict[str, bool]:
        """The keys that say where on AWS it all happens, and whether they are set; none on this machine."""
        keys = ("region", "role_arn", "bucket") if self.target == "aws" else ()
        return {f"aws.{key}": getattr(self.aws, key) is not None for key in keys}


Layer = tuple[str, Mapping[str, Any]]


def load(file: Path | None = None, flags: Mapping[str, Any] | None = None) -> Config:
    """Read all sources. `file` None means ./config.toml, if it is there.

    Raises UsageError naming the key, its source and the allowed values.
    """
    return combine(layers(file, flags or {}))


def combine(sources: list[Layer]) -> Config:
    """The sources, strongest first, over the defaults. Raises UsageError as `load` does."""
    merged: dict[str, Any] = {}
    for _, layer in reversed(sources):
        merged = merge(merged, layer)
    check_names(sources)
    tune = merged.get("tune")
    if isinstance(tune, dict) and isinstance(tune.get("ranges"), dict):
        merged["tune"] = {**tune, "ranges": complete_ranges(tune["ranges"])}
    try:
        config = Config(**merged)
    except ValidationError as error:
        raise explain(error, sources) from None
    check_together(config)
    return config


def check_together(config: Config) -> None:
    """What only keys of several sections together make impossible."""
    aws, deploy = config.aws, config.deploy
    if deploy.serverless and deploy.data_capture:
        raise UsageError("deploy.data_capture cannot be used", "AWS captures nothing of serverless endpoints",
                         "set deploy.data_capture = 0 or deploy.serverless = false")  # fmt: skip
    if deploy.max_instances and deploy.serverless:
        raise UsageError("deploy.max_instances cannot be used", "a serverless endpoint has no instances: it scales by "
                         "itself", "set deploy.max_concurrency, or deploy.serverless = false")  # fmt: skip
    if 0 < deploy.max_instances < deploy.instance_count:
        raise UsageError(f"deploy.max_instances = {deploy.max_instances} cannot be used", "deploy.instance_count, the "
                         f"least, is {deploy.instance_count}", "make it as many or more, or 0: no scaling")  # fmt: skip
    if deploy.serverless and (aws.subnets or aws.network_isolation):
        raise UsageError("deploy.serverless cannot be used", "AWS has no VPC or network isolation for it",
                         "set deploy.serverless = false, or remove aws.subnets and aws.network_isolation")  # fmt: skip


def layers(file: Path | None, flags: Mapping[str, Any]) -> list[Layer]:
    """The sources that say something, strongest first, each with the name a person knows it by."""
    found: list[Layer] = [("command line", flags), ("environment", read_environment())]
    if file is not None and not file.is_file():
        raise UsageError(f"no config file {file}", fix=f"create it with `dogbreed --config {file} init`")
    file = file or Path("config.toml")
    if file.is_file():
        try:
            found.append((str(file), tomllib.loads(file.read_text(encoding="utf-8-sig"))))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{file} is not valid TOML", str(error), "mend that line") from None
        except OSError as error:
            raise UsageError(f"{file} cannot be read", str(error), "mend its permissions") from None
    return found


def read_environment() -> dict[str, Any]:
    check_environment()
    if not any(variable.upper().startswith(ENV_PREFIX) and variable not in RESERVED_ENV for variable in os.environ):
        return {}
    # It is slow to import: only where there is something to read.
    from pydantic_settings import EnvSettingsSource
    from pydantic_settings.exceptions import SettingsError

    try:
        found = EnvSettingsSource(Config, env_prefix=ENV_PREFIX, env_nested_delimiter="__")()  # type: ignore[arg-type]
    except SettingsError as error:
        field = re.search(r'field "(\w+)"', str(error))
        variable = ENV_PREFIX + (field[1].upper() if field else "...")
        why = "a section takes JSON, a list too" if field else str(error)
        raise UsageError(f"{variable} in environment cannot be read", why, f"write {variable}__KEY=VALUE") from None
    if isinstance(tune := found.get("tune"), dict) and isinstance(tune.get("ranges"), dict):
        # A shell allows no hyphen: DOGBREED_TUNE__RANGES__BATCH_SIZE__MAX.
        tune["ranges"] = {name.replace("_", "-"): span for name, span in tune["ranges"].items()}
    for section, key in OPEN_TABLES:
        # pydantic-settings lower-cases names: DOGBREED_TRAIN__ENVIRONMENT__HF_HOME.
        beginning = f"{ENV_PREFIX}{section}__{key}__".upper()
        table: Any = found[section].get(key) if isinstance(found.get(section), dict) else None
        for variable in os.environ if isinstance(table, dict) else ():
            if variable.upper().startswith(beginning):
                name = variable[len(beginning) :]
                table[name] = table.pop(name.lower(), os.environ[variable])
    return found


def check_environment() -> None:
    """A misspelt DOGBREED_TRIAN__EPOCHS would otherwise be ignored in silence."""
    for variable in os.environ:
        section = variable.removeprefix(ENV_PREFIX).lower().split("__")[0]
        if variable.startswith(ENV_PREFIX) and variable not in RESERVED_ENV and section not in Config.model_fields:
            raise UsageError(f"unknown environment variable {variable}", fix=suggest(section, Config.model_fields))


def check_names(sources: list[Layer]) -> None:
    """The names that pydantic does not check: those of the ranges."""
    for source, layer in sources:
        tune = layer.get("tune")
        ranges = tune.get("ranges") if isinstance(tune, Mapping) else None
        for name in ranges if isinstance(ranges, Mapping) else ():
            if name not in HYPERPARAMETERS:
                fix = suggest(name, HYPERPARAMETERS, "tune.ranges.")
                raise UsageError(f"unknown key tune.ranges.{name} in {source}", fix=fix)


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` wins, table by table."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def complete_ranges(ranges: Mapping[str, Any]) -> dict[str, Any]:
    """The given ranges over the default ones, so that `--set tune.ranges.lr.max=0.01` changes only that bound."""

    def kind(entry: Mapping[str, Any]) -> str | None:
        return "values" if "values" in entry else "bounds" if {"min", "max"} & entry.keys() else None

    completed: dict[str, Any] = {**DEFAULT_RANGES, **ranges}
    for name, default in DEFAULT_RANGES.items():
        given = ranges.get(name)
        if isinstance(given, Mapping) and kind(given) in (None, kind(default)):
            completed[name] = merge(default, given)
    return completed


def parse_assignment(text: str) -> dict[str, Any]:
    """`train.epochs=3` -> {"train": {"epochs": 3}}. The value is TOML, or else a plain string."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise UsageError(f"--set {text} has no value", fix="write --set section.key=value")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    for key in reversed(path.strip().split(".")):
        parsed = {key: parsed}
    return parsed


def origins(file: Path | None, flags: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """(key, value, source) of every setting: what `dogbreed init --print` shows."""
    config, sources = load(file, flags), layers(file, flags)

    def walk(node: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any, str]]:
        if isinstance(node, dict) and node:
            for key, value in node.items():
                yield from walk(value, (*path, key))
        else:
            shown = MASK if node and is_secret(path) else node
            yield ".".join(path), shown, source_of(path, sources) or "default"

    return walk(config.model_dump(mode="json"), ())


def source_of(path: tuple[Any, ...], sources: list[Layer]) -> str | None:
    for name, layer in sources:
        node: Any = layer
        for key in path:
            node = node.get(key) if isinstance(node, Mapping) else None
        if node is not None:
            return name
    return None


def explain(error: ValidationError, sources: list[Layer]) -> UsageError:
    """The first mistake as one message; the rest by number, since they often follow from it."""

    def written(loc: tuple[Any, ...]) -> tuple[str, ...]:
        # Past the key itself, pydantic's location also names union members and tuple indices.
        path = tuple(str(part) for part in loc)
        while len(path) > 1 and source_of(path, sources) is None:
            path = path[:-1]
        return path

    problems = error.errors()
    problem, path = problems[0], written(problems[0]["loc"])
    same = [one for one in problems if written(one["loc"]) == path]  # the members of a union each have their say
    key, source = ".".join(path), source_of(path, sources) or "default"
    rest = f" ({len(problems) - len(same)} more)" if len(problems) > len(same) else ""
    if problem["type"] == "extra_forbidden":
        section: Any = Config
        for part in path[:-1]:
            section = Range if section is Tune else section.model_fields[part].annotation
            if section is Range:
                break
        known, place = section.model_fields, "".join(f"{part}." for part in path[:-1])
        return UsageError(f"unknown key {key} in {source}{rest}", fix=suggest(path[-1], known, place))
    why = "; or: ".join(dict.fromkeys(one["msg"].removeprefix("Value error, ") for one in same))
    # `--set train=environment.HF_TOKEN=...` is a slip of one character.
    unsure = path == SECRET_KEY[:1] and isinstance(problem["input"], str)
    hidden = unsure or is_secret(path) or isinstance(problem["input"], (dict, list, BaseModel))
    shown = "" if hidden else f" = {hide_urls(repr(problem['input']))}"
    return UsageError(
        f"{key}{shown} in {source} cannot be used{rest}",
        why,
        "`dogbreed init` writes a config.toml that explains every key",
    )


def suggest(word: str, known: Mapping[str, Any], place: str = "") -> str:
    """A key like it, here (`place` is "train.") or, of that very name, in another section; else all allowed here."""
    close = [place + key for key in get_close_matches(word, known, 1)]
    close = close or [path for path in every_key() if path.endswith(f".{word}")]
    return f"did you mean {' or '.join(close)}?" if close else f"allowed are {', '.join(known)}"


def every_key() -> list[str]:
    sections: dict[str, Any] = {name: field.annotation for name, field in Config.model_fields.items()}
    return [f"{name}.{key}" for name, kind in sections.items() for key in getattr(kind, "model_fields", ())]
