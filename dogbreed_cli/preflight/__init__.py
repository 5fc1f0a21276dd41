"""What `dogbreed check` looks at on AWS; on this machine it is local/preflight.py.

account.py  who you are, the region, the jobs' role, what you may do
storage.py  the bucket and the data in it, on either target
quotas.py   what the account may run at once
request.py  what the settings lead to, known without asking anybody: images, debugger, network, payloads, tuning
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dogbreed_cli.checks import Step
from dogbreed_cli.requests import data_prefix

if TYPE_CHECKING:
    import boto3

    from dogbreed_cli.config import Config

Image = Callable[[], str]


def account_steps(
    boto: boto3.Session, config: Config, training: Image, inference: Image, policies: Path | None
) -> tuple[Step, ...]:
    """Everything to look at on AWS. `training` and `inference` find the images' URIs; IAM policies go to `policies`."""
    from dogbreed_cli.preflight import request
    from dogbreed_cli.preflight.account import (
        Account,
        check_credentials,
        check_permissions,
        check_region,
        check_role,
        write_policies,
    )
    from dogbreed_cli.preflight.quotas import check_quotas
    from dogbreed_cli.preflight.storage import check_bucket, check_data

    account = Account(boto, config)

    def look_at_bucket() -> Any:
        return check_bucket(account.client("s3"), account.bucket, account.region, config.aws.bucket is None)

    def look_at_data() -> Any:
        return check_data(account.client("s3"), account.bucket, data_prefix(config))

    known = ("region", "credentials")
    writing = (Step("policies", partial(write_policies, account, policies), known),) if policies else ()
    return (
        Step("region", partial(check_region, account)),
        Step("credentials", partial(check_credentials, account), ("region",)),
        Step("role", partial(check_role, account), known),
        Step("permissions", partial(check_permissions, account), known),
        Step("bucket", look_at_bucket, known),
        Step("data", look_at_data, ("bucket",)),
        Step("quotas", partial(check_quotas, account), known),
        Step("training image", partial(request.check_image, "training image", training), ("region",)),
        Step("inference image", partial(request.check_image, "inference image", inference), ("region",)),
        Step("debugger", partial(request.check_debugger, config)),
        Step("network", partial(request.check_network, config)),
        Step("payload", request.check_payload),
        Step("tuning", partial(request.check_tuning, config)),
        *writing,
    )


def storage_steps(client: Any, bucket: str, region: str, config: Config) -> tuple[Step, ...]:
    """The bucket and the data, where nothing else has to be known first."""
    from dogbreed_cli.preflight.storage import check_bucket, check_data

    return (
        Step("bucket", partial(check_bucket, client, bucket, region, True)),
        Step("data", partial(check_data, client, bucket, data_prefix(config)), ("bucket",)),
    )
