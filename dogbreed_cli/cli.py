"""The `dogbreed` command: global options, and the one place where errors become text and exit codes.

Everything heavy (boto3, msgspec, rich) is imported by the function that uses it, so that `--help` answers at once.
"""

from __future__ import annotations

import atexit
import codecs
import gc
import io
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from dogbreed_cli import __version__
from dogbreed_cli.console import Console
from dogbreed_cli.context import App
from dogbreed_cli.errors import (
    RECEIVED,
    DogbreedError,
    Terminated,
    UsageError,
    explain_path,
    interrupted,
    raise_interrupt,
)

# File = subcommand = function: commands/tune.py holds `tune` as its function `tune`, imported when it is asked for.
# Each line is the first of its docstring (a test compares them), said again here so that `--help` imports none of them.
PIPELINE = {
    "upload": "Check the images in DIR and upload them.",
    "tune": "Find good hyperparameters.",
    "train": "Train the classifier on all training images and test it.",
    "report": "Write a page, metrics and tables about a training job.",
    "deploy": "Serve a trained model from an endpoint.",
    "predict": "Classify images: files, folders, https URLs, or - for stdin.",
    "teardown": "Remove endpoints and models, stop running jobs, end warm pools.",
}
BESIDE = {
    "init": "Write a config.toml in which every setting is explained.",
    "check": "Look for what is missing before a job needs it.",
    "status": "Show the project's running jobs, warm pools and endpoints.",
    "logs": "Print the log of a training job, a trial or an endpoint.",
    "local": "Let other programs use the SageMaker of this machine.",
    "demo": "Run all seven commands on drawn dogs, on this machine.",
}


class DogbreedGroup(click.Group):
    """The commands, and the one place where errors end: three lines and an exit code. A bug keeps its traceback."""

    def main(self, args: Any = None, prog_name: str | None = None, standalone_mode: bool = True, **extra: Any) -> Any:  # type: ignore[override]
        arguments = list(sys.argv[1:] if args is None else args)
        # Where --json stands after the command it is an error, but an error that a program reads.
        console = Console(as_json="--json" in arguments)
        error: DogbreedError | None = None
        code = 0
        for stream in (sys.stdout, sys.stderr):
            if standalone_mode and isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors=spell.__name__)
        try:
            try:
                refuse_empty(arguments)
                # click returns the code of `ctx.exit(code)` here, and what the command returned (None) otherwise.
                code = super().main(arguments, prog_name, standalone_mode=False, obj=console, **extra) or 0
            except click.exceptions.NoArgsIsHelpError as help_page:
                if console.as_json:  # a program reads no help; in the words that click has for `dogbreed --json`
                    error = explain_usage(click.UsageError("Missing command.", help_page.ctx), arguments)
                else:
                    help_page.show()
                code = help_page.exit_code
            except (Exception, KeyboardInterrupt) as raised:
                if not standalone_mode:  # `demo` runs the other commands through here and lets their errors pass.
                    raise
                error = explain(raised, arguments)
                code = error.exit_code
            console.close(error)
        except BrokenPipeError:
            if not standalone_mode:
                raise
            drop_output()
            code = 141
        except OSError as unwritten:  # the document, onto a full disk
            if not standalone_mode:
                raise
            drop_output()
            error = explain(unwritten)
            console.error(error)
            code = error.exit_code
        if standalone_mode:
            sys.exit(code)
        return code

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with closing_pipe():  # the options that print and end it are read here: --help, --version
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with closing_pipe():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*PIPELINE, *BESIDE]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in PIPELINE or cmd_name in BESIDE:
            return getattr(import_module(f"dogbreed_cli.commands.{cmd_name}"), cmd_name)
        if ctx.resilient_parsing or cmd_name.startswith("-"):
            return None
        from difflib import get_close_matches

        close = get_close_matches(cmd_name, self.list_commands(ctx), 1)
        raise click.UsageError(f"no command {cmd_name}" + (f": did you mean {close[0]}?" if close else ""), ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in (("The pipeline, in order", PIPELINE), ("Beside it", BESIDE)):
            with formatter.section(title):
                formatter.write_dl(list(commands.items()))


# What dogbreed itself writes beyond ASCII: before a unit, for no value, in a difference, in a size.
SPELT = {"\N{NO-BREAK SPACE}": " ", "\N{EN DASH}": "-", "\N{MINUS SIGN}": "-", "\N{MULTIPLICATION SIGN}": "x"}


def spell(error: UnicodeError) -> tuple[str, int]:
    """For an output that has not these characters. A file's name, which may be no text at all, gets escapes."""
    assert isinstance(error, UnicodeEncodeError)
    unknown = error.object[error.start : error.end]
    return "".join(SPELT.get(one) or one.encode("ascii", "backslashreplace").decode() for one in unknown), error.end


codecs.register_error(spell.__name__, spell)


def refuse_empty(arguments: Sequence[str]) -> None:
    """`""` is what a variable gives that nobody set: as a path it would mean this folder, as a name the latest."""
    if any(not word or re.fullmatch(r"--[\w-]+=", word) for word in arguments):
        raise UsageError("nothing was named", "an argument is empty", "say what is meant, or leave the argument out")


def drop_output() -> None:
    """The reader has gone (`| head`, `2>&1 | head`): the interpreter must not complain again as it flushes at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class ClosedPipe(Exception):
    """Nobody reads our stdout any more."""


@contextmanager
def closing_pipe() -> Iterator[None]:
    """click itself would make exit code 1 of a BrokenPipeError, which says that something failed."""
    try:
        yield
    except BrokenPipeError as error:
        raise ClosedPipe from error


def explain(error: BaseException, arguments: Sequence[str] = ()) -> DogbreedError:
    """Every exception as one of ours; a bug's traceback is printed first. ClosedPipe is a BrokenPipeError again."""
    if isinstance(error, ClosedPipe):
        raise BrokenPipeError from error
    if isinstance(error, DogbreedError):
        return error
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        return interrupted(error.__cause__ or error, "interrupted")  # click makes an Abort of them
    if isinstance(error, click.ClickException):
        return explain_usage(error, arguments)
    if isinstance(error, OSError) and (refused := explain_path(error)):
        return refused
    if RECEIVED:
        return interrupted(RECEIVED[-1], "interrupted")
    from dogbreed_cli import aws_errors

    if translated := aws_errors.explain(error):
        return translated
    import traceback

    traceback.print_exception(error)
    return DogbreedError(f"{type(error).__name__}: {error}", "a bug in dogbreed", "report it with the traceback")


def explain_usage(error: click.ClickException, arguments: Sequence[str]) -> UsageError:
    """A line that click cannot read. Not always does it know of which command."""
    if isinstance(error, click.NoSuchOption) and any(error.option_name in option.opts for option in cli.params):
        # Without click's guess at what else was meant.
        return UsageError(
            f"No such option '{error.option_name}' here.",
            fix=f"write it before the command: dogbreed {error.option_name} ...",
        )
    typed = next((word for word in arguments if word in PIPELINE or word in BESIDE), "")
    known = (
        error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else f"dogbreed {typed}".rstrip()
    )
    return UsageError(error.format_message(), fix=f"see `{known} --help`")


@click.group(
    "dogbreed",
    cls=DogbreedGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  dogbreed demo                    # everything, on drawn dogs, right here
  dogbreed upload dogImages && dogbreed tune && dogbreed train --from-best
  dogbreed deploy && dogbreed predict dog.jpg && dogbreed teardown --yes
  dogbreed --set train.epochs=20 train
  dogbreed --target aws init       # the same on Amazon SageMaker""",
)
@click.option(
    "--config", "config_file", type=click.Path(path_type=Path), envvar="DOGBREED_CONFIG", metavar="FILE",
    help="Settings (default: $DOGBREED_CONFIG, or ./config.toml).",
)  # fmt: skip
@click.option("--target", metavar="local|aws", help="Where to run. local (default) costs nothing.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Override a setting: train.epochs=3.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.option("-v", "--verbose", is_flag=True, help="Also show the jobs' whole logs.")
@click.version_option(__version__, prog_name="dogbreed")
@click.pass_context
def cli(
    ctx: click.Context,
    config_file: Path | None,
    target: str | None,
    assignments: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """From a folder of labelled images to a tuned, trained, profiled, deployed classifier.

    On Amazon SageMaker, or, with the same commands, on this machine without an account.
    """
    flags: dict[str, Any] = {"target": target} if target else {}
    if assignments:
        from dogbreed_cli.config import merge, parse_assignment

        for text in assignments:
            flags = merge(flags, parse_assignment(text))
    console: Console = ctx.obj
    console.as_json, console.verbosity = as_json or console.as_json, -1 if quiet else int(verbose)
    ctx.obj = App(console, config_file, flags)


def end_at_once(found: Any) -> None:
    """An interrupt that met Python where nothing can be raised, in a callback of its memory's, say."""
    if not isinstance(found.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(found)
        return
    number = signal.SIGTERM if isinstance(found.exc_value, Terminated) else signal.SIGINT
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def open_missing_streams() -> None:
    """What was closed before we came (`>&-`, some supervisors) is /dev/null, as the runtimes of Go and Rust have it.

    Else Python has None there, and the next file opened gets its number, and whatever a child writes to it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # in order: each gets the lowest free number
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115


def main(*args: Any, **options: Any) -> Any:
    """The command, in a process of its own: SIGTERM ends it just as Ctrl-C does."""
    open_missing_streams()
    # Imports, and the images of an upload, are many objects that stay: by default Python looks through them every 700.
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)  # and once more at the very end, where it takes a tenth of a short command's time
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it, or a script for what runs in the background
            signal.signal(number, raise_interrupt)
    sys.unraisablehook = end_at_once
    return cli(*args, **options)
