"""The SageMaker of this machine: real boto3 clients, answered in this process. No account, no Docker, no network.

boto = connect(Home.find())
boto.client("sagemaker").list_training_jobs()

With the endpoint of an S3 over HTTP (MinIO, moto, AWS itself) only S3 lives there, for the clients and the jobs alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dogbreed_cli.local.home import BUCKET, REGION, ROLE_ARN, Home

if TYPE_CHECKING:
    import boto3

__all__ = ["BUCKET", "REGION", "ROLE_ARN", "Home", "connect", "services"]


def services(home: Home) -> dict[str, Any]:
    """What answers the operations of each service, by boto3's name.

    With `home.s3_endpoint` the jobs read and write that S3, while "s3" here still answers from the files of `home`.
    """
    from dogbreed_cli.local.autoscaling import AutoScaling
    from dogbreed_cli.local.identity import Iam, Sts
    from dogbreed_cli.local.logs import Logs
    from dogbreed_cli.local.runtime import Runtime
    from dogbreed_cli.local.s3 import S3
    from dogbreed_cli.local.sagemaker import SageMaker
    from dogbreed_cli.local.scheduler import Scheduler

    return {
        "s3": S3(home.s3),
        "sts": Sts(),
        "iam": Iam(),
        "logs": Logs(home.logs),
        "sagemaker": SageMaker(home),
        "sagemaker-runtime": Runtime(home),
        "scheduler": Scheduler(home),
        "application-autoscaling": AutoScaling(),
    }


def connect(home: Home, s3_endpoint: str | None = None) -> boto3.Session:
    """A boto3 session whose every client is answered from `home`. It reads nothing of ~/.aws, and no AWS_ variable.

    With `s3_endpoint` (or that of `home`) its S3 clients are real ones to that URL, path style, with the credentials
    that boto3 finds; what jobs it starts read and write there too.
    """
    import os

    import boto3
    import botocore.config
    import botocore.session

    from dogbreed_cli.local import wire

    if s3_endpoint:
        home = Home(home.root, s3_endpoint)
    home.create()
    nowhere = dict.fromkeys(("config_file", "credentials_file"), (None, None, os.devnull, None))
    core = botocore.session.Session(session_vars={"profile": (None, None, None, None), **nowhere})
    core.set_credentials("local", "local")
    core.set_default_client_config(
        botocore.config.Config(
            s3={"addressing_style": "path"},
            ignore_configured_endpoint_urls=True,
            # Checksums over a network that is not there would only cost time.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
    )
    wire.register(core, services(home))
    if home.s3_endpoint is None:
        return boto3.Session(botocore_session=core, region_name=REGION)
    from dogbreed_cli.local.s3_remote import SessionWithRemoteS3

    return SessionWithRemoteS3(home.s3_endpoint, botocore_session=core, region_name=REGION)
