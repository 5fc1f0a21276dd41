"""config.toml, the environment and command-line flags -> one frozen `Config`.

Precedence: flag > environment (`DOGBREED_TRAIN__EPOCHS=3`) > config.toml > default. An unknown key, a wrong type or
an impossible value is a `UsageError` that names the key, where it came from and what is allowed.
Every key is explained, with AWS's own name for it, in config.example.toml.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import Any, Literal

import msgspec

from dogbreed_cli.errors import UsageError
from dogbreed_cli.hyperparameters import HYPERPARAMETERS
from dogbreed_cli.kinds import find_mistakes, is_list, is_table, kind_below, kinds_of, read, read_text
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
    Section,
    Train,
    Tune,
)

ENV_PREFIX = "DOGBREED_"
# Read by other modules, or before a Config exists; everything else that starts with DOGBREED_ must be a key.
RESERVED_ENV = {"DOGBREED_CONFIG", "DOGBREED_HOME", "DOGBREED_CACHE"}
# Tables whose keys are the user's own.
OPEN_TABLES = (("train", "environment"), ("aws", "tags"))


class Config(Section, frozen=True):
    """All settings of one run. Make it with `load`, which knows where each value came from."""

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
        config: Config = read(merged, Config)
    except msgspec.ValidationError:
        raise explain(merged, sources) from None
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
    refuse_folder(file or Path("config.toml"))
    if file is not None and not file.is_file():
        create = shlex.join(["dogbreed", "--config", str(file), "init"])
        raise UsageError(f"no config file {file}", fix=f"create it with `{create}`")
    file = file or Path("config.toml")
    if file.is_file():
        import tomllib

        try:
            found.append((str(file), tomllib.loads(file.read_text(encoding="utf-8-sig"))))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{file} is not valid TOML", str(error), "mend that line") from None
        except OSError as error:
            raise UsageError(f"{file} cannot be read", str(error), "mend its permissions") from None
    return found


def refuse_folder(file: Path) -> None:
    if file.is_dir():
        raise UsageError(f"{file} is a folder", "the settings are one file", "name a file with --config")


def read_environment() -> dict[str, Any]:
    """The variables as a file would have them. Raises UsageError for what would otherwise be ignored in silence."""
    found: dict[str, Any] = {}
    ours = [name for name in os.environ if name.upper().startswith(ENV_PREFIX) and name.upper() not in RESERVED_ENV]
    # DOGBREED_TRAIN first: DOGBREED_TRAIN__EPOCHS stands over it.
    for variable in sorted(ours, key=lambda name: (name.count("__"), name)):
        path = split_variable(variable)
        if path[0] not in Config.__struct_fields__:
            raise UsageError(f"unknown environment variable {variable}", fix=suggest_variable(path))
        found = merge(found, nest(path, read_variable(variable, path)))
    if isinstance(tune := found.get("tune"), dict) and isinstance(tune.get("ranges"), dict):
        # A shell allows no hyphen: DOGBREED_TUNE__RANGES__BATCH_SIZE__MAX.
        tune["ranges"] = {name.replace("_", "-"): span for name, span in tune["ranges"].items()}
    return found


def split_variable(variable: str) -> list[str]:
    """The names in DOGBREED_TRAIN__EPOCHS, in lower case; the user's own as they stand."""
    names = variable[len(ENV_PREFIX) :]
    path = names.lower().split("__")
    return [*path[:2], names.split("__", 2)[2]] if tuple(path[:2]) in OPEN_TABLES and len(path) > 2 else path


def read_variable(variable: str, path: list[str]) -> Any:
    """Its text as the key wants it; a table or a list is written as JSON."""
    text, kind = os.environ[variable], reduce(kind_below, path, Config)
    try:
        if is_table(kind):
            return read_text(msgspec.json.decode(text, type=dict), kind)
        return msgspec.json.decode(text, type=list) if is_list(kind) else read_text(text, kind)
    except (msgspec.DecodeError, UnicodeError):
        what, how = ("a table", "__KEY=VALUE") if is_table(kind) else ("a list", """='["...", "..."]'""")
        why = f"{what} is written as JSON"
        raise UsageError(f"{variable} in environment cannot be read", why, f"write {variable}{how}") from None


def check_names(sources: list[Layer]) -> None:
    """The names that no type knows: those of the ranges."""
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


def nest(path: Iterable[str], value: Any) -> Any:
    for key in reversed([*path]):
        value = {key: value}
    return value


def parse_assignment(text: str) -> dict[str, Any]:
    """`train.epochs=3` -> {"train": {"epochs": 3}}. The value is TOML, or else text, read as the key wants it."""
    import tomllib

    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set {text} has no value", fix="write --set section.key=value")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    path = key.strip().split(".")
    return nest(path, read_text(parsed, reduce(kind_below, path, Config)))


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

    return walk(msgspec.to_builtins(config, enc_hook=str), ())


def source_of(path: tuple[Any, ...], sources: list[Layer]) -> str | None:
    for name, layer in sources:
        node: Any = layer
        for key in path:
            node = node.get(key) if isinstance(node, Mapping) else None
        if node is not None:
            return name
    return None


def explain(given: Mapping[str, Any], sources: list[Layer]) -> UsageError:
    """The first mistake; others often follow from it."""
    path, value, why, known = next(find_mistakes(given, Config))
    key, source = ".".join(path), source_of(path, sources) or "default"
    if known:
        place = "".join(f"{part}." for part in path[:-1])
        return UsageError(f"unknown key {key} in {source}", fix=suggest(path[-1], known, place))
    if isinstance(value, bool):
        why = f"true and false are no values for this key: it {why}"
    # `--set train=environment.HF_TOKEN=...` is a slip of one character.
    unsure = path == SECRET_KEY[:1] and isinstance(value, str)
    hidden = unsure or is_secret(path) or isinstance(value, (dict, list, tuple))
    written = str(value).lower() if isinstance(value, bool) else hide_urls(repr(value))
    shown = "" if hidden else f" = {written}"
    return UsageError(
        f"{key}{shown} in {source} cannot be used", why, "`dogbreed init` writes a config.toml that explains every key"
    )


def suggest(word: str, known: Iterable[str], place: str = "") -> str:
    """A key like it, here (`place` is "train.") or, of that very name, in another section; else all allowed here."""
    from difflib import get_close_matches

    close = [place + key for key in get_close_matches(word, known, 1)]
    close = close or [path for path in every_key() if path.endswith(f".{word}")]
    return f"did you mean {' or '.join(close)}?" if close else f"allowed are {', '.join(known)}"


def suggest_variable(path: list[str]) -> str:
    """The same where no section is named: DOGBREED_TRIAN__EPOCHS, DOGBREED_EPOCHS, and DOGBREED_TRAIN_EPOCHS."""
    from difflib import get_close_matches

    reserved = [name.removeprefix(ENV_PREFIX).lower() for name in sorted(RESERVED_ENV)]
    word, known = ".".join(path), [*Config.__struct_fields__, *every_key(), *reserved]
    close = [key for key in known if key.endswith(f".{word}")] or get_close_matches(word, known, 1)
    names = [ENV_PREFIX + key.upper().replace(".", "__") for key in close]
    return f"did you mean {' or '.join(names)}?" if names else "write DOGBREED_SECTION__KEY, as in config.toml"


def every_key() -> list[str]:
    return [f"{name}.{key}" for name, kind in kinds_of(Config).items() if is_table(kind) for key in kinds_of(kind)]
