"""config.toml, the environment and command-line flags -> one frozen `Config`.

Precedence: flag > environment (`DOGBREED_TRAIN__EPOCHS=3`) > config.toml > default. An unknown key, a wrong type or
an impossible value is a `UsageError` that names the key, where it came from and what is allowed.
Every key is explained, with AWS's own name for it, in config.example.toml.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from dogbreed_cli.errors import UsageError

ENV_PREFIX = "DOGBREED_"
# Read by other modules, or before a Config exists; everything else that starts with DOGBREED_ must be a key.
RESERVED_ENV = {"DOGBREED_CONFIG", "DOGBREED_HOME", "DOGBREED_CACHE"}

Fraction = Annotated[float, Field(gt=0, le=1)]
SplitFraction = Annotated[float, Field(ge=0, le=0.5)]
Seconds = Annotated[int, Field(ge=1, le=28 * 24 * 3600)]
# The longest name we derive is `<project>-tune-yymmdd-hhmmss`, and a tuning job's name has at most 32 characters.
ProjectName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9](-?[a-zA-Z0-9]){0,12}$", max_length=13)]
InstanceType = Annotated[str, Field(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9-]+$")]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Project(Section):
    name: ProjectName = "dogbreed"


class Aws(Section):
    profile: str | None = None
    region: str | None = None
    bucket: str | None = None
    prefix: str | None = None
    role_arn: str | None = None
    training_image: str | None = None
    inference_image: str | None = None


class Local(Section):
    python: Path | None = None


class Data(Section):
    valid_fraction: SplitFraction = 0.15
    test_fraction: SplitFraction = 0.15
    seed: int = 0


class Model(Section):
    backbone: str = "resnet50"
    weights: str = "DEFAULT"
    image_size: int = Field(224, ge=32, le=1024)


class Range(Section):
    """A tunable hyperparameter: `values` to choose from, or `min` and `max` (whole numbers: an integer range)."""

    values: tuple[str | int | float, ...] | None = None
    min: int | float | None = None
    max: int | float | None = None
    scaling: Literal["Auto", "Linear", "Logarithmic", "ReverseLogarithmic"] = "Auto"

    @model_validator(mode="after")
    def check(self) -> Range:
        if self.values is not None:
            if self.min is not None or self.max is not None:
                raise ValueError("give either values or min and max, not both")
            if not 1 <= len(self.values) <= 30:
                raise ValueError("give 1 to 30 values")
            return self
        if self.min is None or self.max is None:
            raise ValueError("give values = [...], or both min and max")
        if self.min >= self.max:
            raise ValueError(f"min ({self.min}) must be less than max ({self.max})")
        if self.scaling == "Logarithmic" and self.min <= 0:
            raise ValueError("scaling Logarithmic needs min > 0")
        if self.scaling == "ReverseLogarithmic" and not 0 <= self.min < self.max < 1:
            raise ValueError("scaling ReverseLogarithmic needs 0 <= min < max < 1")
        return self


DEFAULT_RANGES: dict[str, dict[str, Any]] = {
    "lr": {"min": 1e-4, "max": 1e-1, "scaling": "Logarithmic"},
    "batch-size": {"values": [16, 32, 64, 128]},
}


class Tune(Section):
    max_jobs: int = Field(4, ge=1, le=500)
    max_parallel_jobs: int = Field(2, ge=1, le=100)
    strategy: Literal["Bayesian", "Random", "Grid", "Hyperband"] = "Bayesian"
    objective: str = "validation:loss"
    objective_type: Literal["Minimize", "Maximize"] = "Minimize"
    early_stopping: bool = False
    data_fraction: Fraction = 0.25
    epochs: int = Field(3, ge=1, le=1000)
    seed: int = Field(0, ge=0)
    max_run: Seconds = 3600
    ranges: dict[str, Range] = Field(default_factory=lambda: {k: Range(**v) for k, v in DEFAULT_RANGES.items()})

    @model_validator(mode="after")
    def check(self) -> Tune:
        if self.strategy == "Grid" and any(r.values is None for r in self.ranges.values()):
            raise ValueError("strategy Grid takes values = [...] for every range, not min and max")
        if self.strategy == "Hyperband" and self.early_stopping:
            raise ValueError("strategy Hyperband stops trials itself: set early_stopping = false")
        return self


class Train(Section):
    epochs: int = Field(10, ge=1, le=1000)
    batch_size: int = Field(32, ge=1, le=4096)
    lr: float = Field(1e-3, gt=0, le=10)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    weight_decay: float = Field(1e-4, ge=0, le=1)
    seed: int = Field(0, ge=0)
    workers: int = Field(-1, ge=-1, le=64)
    instance_type: InstanceType = "ml.g4dn.xlarge"
    volume_size: int = Field(30, ge=1, le=16384)
    max_run: Seconds = 4 * 3600


class Debugger(Section):
    enabled: bool = True
    save_interval: int = Field(10, ge=1)
    collections: tuple[Literal["losses", "weights", "gradients", "biases"], ...] = ("losses", "gradients")


class Deploy(Section):
    instance_type: InstanceType = "ml.m5.large"
    instance_count: int = Field(1, ge=1, le=100)


class Config(BaseSettings):
    """All settings of one run. Make it with `load`, which knows where each value came from."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=ENV_PREFIX, env_nested_delimiter="__", validate_default=True
    )
    target: Literal["local", "aws"] = "local"
    project: Project = Project()
    aws: Aws = Aws()
    local: Local = Local()
    data: Data = Data()
    model: Model = Model()
    tune: Tune = Tune()
    train: Train = Train()
    debugger: Debugger = Debugger()
    deploy: Deploy = Deploy()

    @classmethod
    def settings_customise_sources(cls, settings_cls, init_settings, **_):  # type: ignore[override]
        # `load` merges the sources itself, because it must be able to say which of them a bad value came from.
        return (init_settings,)

    @property
    def prefix(self) -> str:
        """The S3 key prefix of everything that this project stores, without slashes at its ends."""
        return (self.aws.prefix or self.project.name).strip("/")


Layer = tuple[str, Mapping[str, Any]]


def load(file: Path | None = None, flags: Mapping[str, Any] | None = None) -> Config:
    """Read all sources. `file` None means ./config.toml (or $DOGBREED_CONFIG) if it is there.

    Raises UsageError naming the key, its source and the allowed values.
    """
    sources = layers(file, flags or {})
    merged: dict[str, Any] = {}
    for _, layer in reversed(sources):
        merged = merge(merged, layer)
    if "ranges" in (tune := merged.get("tune", {})) and isinstance(tune["ranges"], dict):
        merged["tune"] = {**tune, "ranges": complete_ranges(tune["ranges"])}
    try:
        return Config(**merged)
    except ValidationError as error:
        raise explain(error, sources) from None


def layers(file: Path | None, flags: Mapping[str, Any]) -> list[Layer]:
    """The sources that say something, strongest first, each with the name a person knows it by."""
    try:
        environment = EnvSettingsSource(Config)()
    except SettingsError as error:
        raise UsageError("an environment variable cannot be read", str(error), "write a plain value, or JSON") from None
    check_environment()
    found: list[Layer] = [("command line", flags), ("environment", environment)]
    file = file or (Path(env) if (env := os.environ.get("DOGBREED_CONFIG")) else None)
    if file is not None and not file.is_file():
        raise UsageError(f"no config file {file}", fix=f"create it with `dogbreed --config {file} init`")
    file = file or Path("config.toml")
    if file.is_file():
        try:
            found.append((str(file), tomllib.loads(file.read_text(encoding="utf-8"))))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{file} is not valid TOML", str(error), "mend that line") from None
    return found


def check_environment() -> None:
    """A misspelt DOGBREED_TRIAN__EPOCHS would otherwise be ignored in silence."""
    for variable in os.environ:
        section = variable.removeprefix(ENV_PREFIX).lower().split("__")[0]
        if variable.startswith(ENV_PREFIX) and variable not in RESERVED_ENV and section not in Config.model_fields:
            raise UsageError(f"unknown environment variable {variable}", suggest(section, Config.model_fields))


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
        if isinstance(node, dict):
            for key, value in node.items():
                yield from walk(value, (*path, key))
        else:
            yield ".".join(path), node, source_of(path, sources) or "default"

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
    problem, *more = error.errors()
    # Past the key itself, pydantic's location also names union members and tuple indices: keep what the user wrote.
    path = tuple(str(part) for part in problem["loc"])
    while len(path) > 1 and source_of(path, sources) is None:
        path = path[:-1]
    key, source = ".".join(path), source_of(path, sources) or "default"
    rest = f" ({len(more)} more)" if more else ""
    if problem["type"] == "extra_forbidden":
        section: Any = Config
        for part in path[:-1]:
            section = Range if section is Tune else section.model_fields[part].annotation
            if section is Range:
                break
        return UsageError(f"unknown key {key} in {source}{rest}", suggest(path[-1], section.model_fields))
    why = problem["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(problem["input"], (dict, BaseModel)) else f" = {problem['input']!r}"
    return UsageError(f"{key}{shown} in {source} cannot be used{rest}", why, "see config.example.toml")


def suggest(word: str, known: Mapping[str, Any]) -> str:
    close = get_close_matches(word, known, 1)
    return f"did you mean {close[0]}?" if close else f"allowed are {', '.join(known)}"
