"""How a command waits for a job: it can stop waiting, lose patience, or be told not to wait; the job runs on."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from dogbreed_cli.errors import UsageError, WaitTimedOut, interrupted
from dogbreed_cli.masking import SECRET_KEY
from dogbreed_cli.names import complete_names
from dogbreed_cli.options import Limit


def wait_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--wait/--no-wait, --timeout and --attach, the same for every command that starts a job."""
    options = (
        click.option("--wait/--no-wait", default=True, help="Follow the job to its end (default), or return at once."),
        click.option(
            "--timeout",
            type=Limit(min=0),
            metavar="SECONDS",
            help="Stop waiting then; the job goes on (exit 8).",
        ),
        click.option(
            "--attach",
            metavar="NAME",
            shell_complete=complete_names(f"{'tuning' if command.__name__ == 'tune' else 'training'} job"),
            help="Start nothing: follow this job, which runs already.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def check_attach(attach: str | None, wait: bool) -> None:
    if attach and not wait:
        raise UsageError("--attach follows a job to its end", "--no-wait does not", "leave one out")


def command_line(*words: str) -> str:
    """`dogbreed ...` as it has to be typed to meet this project again: with the global options that were given now.

    Without train.environment, which may hold secrets and which only a job's creation needs.
    """
    given = click.get_current_context().find_root().params
    options = [("--config", given["config_file"]), ("--target", given["target"])]
    options += [("--set", text) for text in given["assignments"] if not holds_secret(text)]
    return shlex.join(["dogbreed", *(str(part) for pair in options if pair[1] for part in pair), *words])


def holds_secret(assignment: str) -> bool:
    from dogbreed_cli.config import parse_assignment

    section, key = SECRET_KEY
    given = parse_assignment(assignment).get(section)
    return isinstance(given, Mapping) and key in given


@contextmanager
def detachable(attach: str) -> Iterator[None]:
    """Ctrl-C, or a timeout, ends the waiting and says how to go on with it. The job is another process's, or AWS's."""
    try:
        yield
    except KeyboardInterrupt as signal:
        raise interrupted(signal, "detached; what was started runs on", f"to follow it again: {attach}") from None
    except WaitTimedOut as error:
        raise WaitTimedOut(error.what, error.why, f"to follow it again: {attach}") from None
