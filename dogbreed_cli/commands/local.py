"""dogbreed local: the SageMaker of this machine, for other programs than dogbreed."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import click

from dogbreed_cli.errors import DogbreedError

if TYPE_CHECKING:
    from dogbreed_cli.context import App

PORT = 8787
# After a signal, for requests that are being answered.
FINISH_SECONDS = 1.5


@click.group(
    epilog="""\b
Examples:
  dogbreed local serve
  dogbreed local serve --port 0    # any free port; its URL stands on stdout"""
)
def local() -> None:
    """Let other programs use the SageMaker of this machine."""


@local.command(
    short_help="Answer aws, boto3 and SageMaker's SDK over HTTP.",
    epilog="""\b
Examples:
  dogbreed local serve &
  export AWS_ENDPOINT_URL=http://127.0.0.1:8787 AWS_DEFAULT_REGION=us-east-1
  export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local
  aws sagemaker list-training-jobs
  aws s3 ls s3://dogbreed-local --recursive
  dogbreed -v local serve                  # a line for each request""",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    help="Where to listen; 0 for any free port.",
)
@click.pass_obj
def serve(app: App, port: int) -> None:
    """Answer aws, boto3 and SageMaker's SDK over HTTP on 127.0.0.1, until Ctrl-C.

    S3, SageMaker, its runtime, CloudWatch Logs, STS and IAM, on what lies in .dogbreed/ (or $DOGBREED_HOME). Jobs and
    endpoints go on when it ends; the next one finds them. With local.s3_endpoint in the config jobs use the S3 there,
    while S3 here still answers from files. Signatures are not checked: whoever may run programs on this
    machine can have it run them as you.
    """
    from dogbreed_cli.local import REGION, Home
    from dogbreed_cli.local.http_server import Server

    console = app.console
    try:
        server = Server(Home.find(app.config().local.s3_endpoint), port, console.detail)
    except OSError as error:
        if error.filename is not None or error.errno not in (errno.EADDRINUSE, errno.EACCES):  # the home's, say
            raise
        raise DogbreedError(f"port {port} cannot be had", error.strerror or "", "choose another: --port 0") from None
    try:
        environment = {
            "AWS_ENDPOINT_URL": server.url,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_DEFAULT_REGION": REGION,
        }
        console.result_now({"url": server.url, "environment": environment}, server.url)
        console.note("\n".join(f"export {name}={value}" for name, value in environment.items()))
        console.note("Signatures are not checked; only this machine can reach it. Ctrl-C ends it, not what runs.")
        server.serve_forever()
    except KeyboardInterrupt:  # SIGTERM, too
        console.note("ended; what runs goes on")
    finally:
        server.finish(FINISH_SECONDS)
