"""dogbreed check: look at everything that a job needs, before it needs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dogbreed_cli import checks
from dogbreed_cli.checks import Check
from dogbreed_cli.errors import AccessError, UsageError

if TYPE_CHECKING:
    from dogbreed_cli.context import App

STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@click.command(
    epilog="""\b
Examples:
  dogbreed check
  dogbreed --target aws check      # exit code 4: access, 7: a quota, 1: other
  dogbreed --target aws check --policies policies  # writes the IAM policies"""
)
@click.option(
    "--policies", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Write the least IAM policies for your bucket, role and account to DIR.",
)  # fmt: skip
@click.pass_obj
def check(app: App, policies: Path | None) -> None:
    """Look for what is missing before a job needs it.

    Every line is ok, warn or fail, with what to do. Changes nothing, and on AWS costs nothing.
    """
    found = look(app, policies)
    lines = [{"name": one.name, "status": one.status, "found": one.found, "fix": one.fix} for one in found]
    app.console.result({"checks": lines}, draw(found))
    counts = {status: sum(one.status == status for one in found) for status in STYLES}
    app.console.note(f"{counts['ok']} ok, {counts['warn']} to look at, {counts['fail']} failed")
    if code := checks.exit_code(found):
        click.get_current_context().exit(code)


def look(app: App, policies: Path | None) -> list[Check]:
    config = app.config()
    try:
        session = app.session(config)
        session.client("sts")  # it is looked for now, not by the first check
    except (AccessError, UsageError) as error:  # no such profile, no region: nobody can be asked
        return [checks.explain(checks.Step("session", tuple), error)]
    with app.console.progress("Looking", "checks") as show:
        return checks.run(session.checks(policies), show)


def draw(found: list[Check]) -> Any:
    from rich.table import Table
    from rich.text import Text

    drawn = Table.grid(padding=(0, 2, 0, 0))
    drawn.add_column(no_wrap=True)
    drawn.add_column(no_wrap=True)
    drawn.add_column(overflow="fold")
    for one in found:
        said = Text(one.found)
        if one.fix:
            said.append(f"\nfix: {one.fix}", style="bold")
        drawn.add_row(Text(one.status, style=STYLES[one.status]), Text(one.name), said)
    return drawn
