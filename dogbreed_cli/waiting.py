"""How a command waits for a job: it can stop waiting, lose patience, or be told not to wait; the job runs on."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import click

from dogbreed_cli.errors import DogbreedError, UsageError, WaitTimedOut, interrupted
from dogbreed_cli.masking import SECRET_KEY
from dogbreed_cli.names import complete_names
from dogbreed_cli.options import Limit


@dataclass
class Patience:
    """How long a command waits, for all that it waits for together, from the first look on. None: to the end."""

    seconds: float | None

    @cached_property
    def began(self) -> float:
        return time.monotonic()

    @property
    def is_over(self) -> bool:
        return self.seconds is not None and self.began + self.seconds <= time.monotonic()


def job_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What every command that starts a job can be told about starting it, and about waiting for it."""
    options = (
        click.option("--dry-run", is_flag=True, help="Print the request and create nothing."),
        click.option("--budget", type=Limit(min=0), metavar="USD", help="Refuse what may cost more (exit code 7)."),
        click.option("--yes", is_flag=True, help="Do not ask before something starts that AWS charges for."),
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
    """Ctrl-C, a timeout or a lost connection ends the waiting, and says how to go on with it.

    The job is another process's, or AWS's.
    """
    from dogbreed_cli import aws_errors

    again = f"to follow it again: {attach}"
    try:
        yield
    except KeyboardInterrupt as signal:
        ended: DogbreedError = interrupted(signal, "detached; what was started runs on", again)
    except WaitTimedOut as error:
        ended = WaitTimedOut(error.what, error.why, again)
    except Exception as error:
        if not (lost := aws_errors.explain(error)):
            raise
        ended = type(lost)(lost.what, lost.why, f"{lost.fix}; what was started runs on, {again}")
    else:
        return
    ended.goes_on = True
    raise ended from None
