"""dogbreed init: write a commented config.toml, or show the settings in force and where each comes from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dogbreed_cli.errors import UsageError
from dogbreed_cli.whole_files import write_text

if TYPE_CHECKING:
    from dogbreed_cli.config import Config
    from dogbreed_cli.console import Console
    from dogbreed_cli.context import App

# What is asked on a terminal where --target and --set left it open.
QUESTIONS = {
    "aws.region": "the AWS region, such as us-east-1",
    "aws.role_arn": "the role that SageMaker's jobs run under, arn:aws:iam::ACCOUNT:role/NAME",
    "aws.bucket": "the S3 bucket (default: SageMaker's own, sagemaker-REGION-ACCOUNT)",
}
OPTIONAL = {"aws.bucket"}


@click.command(
    epilog="""\b
Examples:
  dogbreed init                    # writes config.toml
  dogbreed --target aws init       # for AWS: asks for region, role and bucket
  dogbreed --target aws --set aws.region=us-east-1 --set train.epochs=20 init
  dogbreed init --print            # every setting, its value and its source"""
)
@click.option("--print", "print_settings", is_flag=True, help="Show the effective settings and write nothing.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
@click.pass_obj
def init(app: App, print_settings: bool, force: bool) -> None:
    """Write a config.toml in which every setting is explained.

    No config is needed to begin: the defaults run everything on this machine. --target and --set, given before the
    command, are written into the file.
    """
    if print_settings:
        show_settings(app)
        return
    from dogbreed_cli.config import refuse_folder

    path = app.config_file or Path("config.toml")
    refuse_folder(path)
    if path.exists() and not force:
        raise UsageError(f"{path} is there already", fix="say --force to overwrite it")
    settings, config = complete(app.console, app.flags)
    write(path, compose(settings, config))
    region = find_region(config)
    missing = [
        key
        for key, is_set in config.site_keys.items()
        if not (is_set or key in OPTIONAL or (key == "aws.region" and region))
    ]
    app.console.result({"written": path, "to_fill_in": missing}, f"wrote {path}")
    for key in missing:
        app.console.note(f"still to fill in: {key}, {QUESTIONS[key]}")
    app.console.note("next: dogbreed check")


def show_settings(app: App) -> None:
    from dogbreed_cli.config import origins
    from dogbreed_cli.config_text import format_value
    from dogbreed_cli.console import table

    found = list(origins(app.config_file, app.flags))
    settings = {key: {"value": value, "source": source} for key, value, source in found}
    rows = [[key, "" if value is None else format_value(value), source] for key, value, source in found]
    app.console.result({"settings": settings}, table(["setting", "value", "source"], rows))


def complete(console: Console, given: Mapping[str, Any]) -> tuple[Mapping[str, Any], Config]:
    """The settings to write, what was asked for among them. Raises UsageError for what cannot be."""
    from dogbreed_cli.config import combine, merge

    config = combine([("command line", given)])
    if console.as_json or not console.can_ask():
        return given, config
    region = find_region(config)
    for key in [key for key, is_set in config.site_keys.items() if not is_set]:
        default = f" [Enter: {region}, from your AWS profile]" if key == "aws.region" and region else ""
        section, name = key.split(".")
        while answer := console.ask(f"{QUESTIONS[key]}{default}:"):
            more = merge(given, {section: {name: answer}})
            try:
                config = combine([("answer", more)])
            except UsageError as error:
                console.warn(f"{error.what}: {error.why}")
            else:
                given = more
                break
    return given, config


def find_region(config: Config) -> str | None:
    """The region that counts where the config names none: AWS_DEFAULT_REGION's or the AWS profile's."""
    if config.site_keys.get("aws.region", True):
        return None
    import boto3
    from botocore.exceptions import ProfileNotFound

    try:
        return boto3.Session(profile_name=config.aws.profile).region_name
    except ProfileNotFound:  # the file may be for another machine; `check` and the others insist on it
        return None


def compose(settings: Mapping[str, Any], config: Config) -> str:
    """The example with the settings in it, which gives exactly this config."""
    import tomllib

    from dogbreed_cli.config import combine, complete_ranges
    from dogbreed_cli.config_text import fill

    tune = settings.get("tune", {})
    if ranges := tune.get("ranges"):
        completed = complete_ranges(ranges)
        settings = {**settings, "tune": {**tune, "ranges": {name: completed[name] for name in ranges}}}
    text = fill(example().read_text(encoding="utf-8"), settings)
    assert combine([("what was written", tomllib.loads(text))]) == config
    return text


def write(path: Path, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError("a setting is no text", fix="write it in UTF-8") from None
    write_text(path, text)


def example() -> Path:
    """config.example.toml: in the wheel inside the package, in a checkout beside it."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "config.example.toml"
    return inside if inside.is_file() else package.parent / "config.example.toml"
