"""The `dogbreed` command: global options, and the one place where errors become text and exit codes.

Everything heavy (boto3, pydantic, rich) is imported by the function that uses it, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from dogbreed_cli import __version__
from dogbreed_cli.commands import demo, deploy, init, logs, predict, report, status, teardown, train, tune, upload
from dogbreed_cli.console import Console
from dogbreed_cli.context import App
from dogbreed_cli.errors import AccessError, DogbreedError, LimitExceeded, UsageError

PIPELINE = (upload, tune, train, report, deploy, predict, teardown)
BESIDE = (init, status, logs, demo)


class ErrorBoundary(click.Group):
    """A user's error is three lines and an exit code. A bug keeps its traceback."""

    def main(self, args: Any = None, prog_name: str | None = None, standalone_mode: bool = True, **extra: Any) -> Any:  # type: ignore[override]
        if not standalone_mode:  # `demo` runs the other commands through here and lets their errors pass.
            return super().main(args, prog_name, standalone_mode=False, **extra)
        arguments = list(sys.argv[1:] if args is None else args)
        console = Console(as_json="--json" in arguments, verbosity=-1 if "-q" in arguments else 0)
        try:
            # click returns the code of `ctx.exit(code)` here, and what the command returned (None) otherwise.
            code = super().main(arguments, prog_name, standalone_mode=False, **extra) or 0
        except (click.Abort, KeyboardInterrupt):
            code = 130
        except click.ClickException as error:
            shown = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "dogbreed"
            console.error(UsageError(error.format_message(), fix=f"see `{shown} --help`"))
            code = error.exit_code
        except DogbreedError as error:
            console.error(error)
            code = error.exit_code
        except BrokenPipeError:
            # The reader (`| head`) has gone; do not let the interpreter complain again while it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 141
        except Exception as error:
            translated = translate(error)
            if translated is None:
                raise
            console.error(translated)
            code = translated.exit_code
        sys.exit(code)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, modules in (("The pipeline, in order", PIPELINE), ("Beside it", BESIDE)):
            with formatter.section(title):
                formatter.write_dl([(c.name or "", c.get_short_help_str(80)) for c in map(command_of, modules)])


def command_of(module: Any) -> click.Command:
    """File = subcommand = function: commands/tune.py holds the command `tune` as its function `tune`."""
    return getattr(module, module.__name__.rpartition(".")[2])


def translate(error: Exception) -> DogbreedError | None:
    """botocore's errors -> ours, with AWS's own words and request id; None for anything else."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

    if isinstance(error, ClientError):
        said = error.response["Error"]
        code, request_id = said.get("Code", "?"), error.response.get("ResponseMetadata", {}).get("RequestId", "none")
        kind: type[DogbreedError] = DogbreedError
        if code in ("AccessDenied", "AccessDeniedException", "ExpiredToken", "InvalidClientTokenId", "403"):
            kind = AccessError
        elif code == "ResourceLimitExceeded":
            kind = LimitExceeded
        return kind(f"{error.operation_name} was refused: {said.get('Message', code)}", f"{code}, request {request_id}")
    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return AccessError("no AWS credentials", str(error), "run `aws configure`, or set aws.profile in config.toml")
    if isinstance(error, BotoCoreError):
        return DogbreedError("AWS could not be asked", str(error), "check the network, aws.region and aws.profile")
    return None


@click.group(
    cls=ErrorBoundary,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  dogbreed demo                                   # everything, on drawn images, on this machine
  dogbreed upload dogImages && dogbreed tune && dogbreed train --from-best
  dogbreed deploy && dogbreed predict dog.jpg && dogbreed teardown --yes
  dogbreed --target aws --set aws.role_arn=arn:aws:iam::1:role/r tune --max-jobs 4""",
)
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Settings (default: ./config.toml).")
@click.option("--target", type=click.Choice(["local", "aws"]), help="Where to run. local (default) costs nothing.")
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
    ctx.obj = App(Console(as_json, verbosity=-1 if quiet else int(verbose)), config_file, flags)


for module in (*PIPELINE, *BESIDE):
    cli.add_command(command_of(module))

main = cli
