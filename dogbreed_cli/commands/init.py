"""dogbreed init: write a commented config.toml, or show the settings in force and where each comes from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dogbreed_cli.errors import UsageError

if TYPE_CHECKING:
    from dogbreed_cli.context import App


@click.command(
    epilog="""\b
Examples:
  dogbreed init                      # writes config.toml
  dogbreed init --print              # every setting, its value and its source"""
)
@click.option("--print", "print_settings", is_flag=True, help="Show the effective settings and write nothing.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
@click.pass_obj
def init(app: App, print_settings: bool, force: bool) -> None:
    """Write a config.toml in which every setting is explained.

    No config is needed to begin: the defaults run everything on this machine.
    """
    if print_settings:
        from dogbreed_cli.config import origins
        from dogbreed_cli.console import table

        found = list(origins(app.config_file, app.flags))
        settings = {key: {"value": value, "source": source} for key, value, source in found}
        rows = [[key, "" if value is None else str(value), source] for key, value, source in found]
        app.console.result({"settings": settings}, table(["setting", "value", "source"], rows))
        return
    path = app.config_file or Path("config.toml")
    if path.exists() and not force:
        raise UsageError(f"{path} is there already", fix="say --force to overwrite it")
    beside = path.with_name(path.name + ".tmp")
    beside.write_bytes(example().read_bytes())
    beside.replace(path)
    app.console.result({"written": path}, f"wrote {path}")


def example() -> Path:
    """config.example.toml: in the wheel inside the package, in a checkout beside it."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "config.example.toml"
    return inside if inside.is_file() else package.parent / "config.example.toml"
