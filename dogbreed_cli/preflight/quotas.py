"""What the account may run at once, against what the settings ask for. A new account may run nothing at all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dogbreed_cli.checks import Check, fail, ok, warn
from dogbreed_cli.errors import LimitExceeded
from dogbreed_cli.preflight.account import DENIED, Account

if TYPE_CHECKING:
    from dogbreed_cli.config import Config

# SageMaker has thousands of quotas and Service Quotas gives a hundred at a time, in no order that helps.
SECONDS = 20
REQUEST = "ask for more in AWS's Service Quotas (Amazon SageMaker)"


@dataclass(frozen=True)
class Need:
    """So many instances at once, of the quota called `quota`."""

    quota: str
    instances: int
    why: str
    fix: str
    is_block: bool = True


def list_needs(config: Config) -> Iterator[Need]:
    train, deploy = config.train, config.deploy
    trials = min(config.tune.max_parallel_jobs, config.tune.trials)
    kind = "spot training job" if train.spot else "training job"
    why = f"tune: {trials} trials at a time" + (f" of {train.instance_count}" if train.instance_count > 1 else "")
    fewer = "or set a lower tune.max_parallel_jobs, or another train.instance_type"
    yield Need(f"{train.instance_type} for {kind} usage", train.instance_count * trials, why, fewer)
    if train.keep_alive:
        quota = f"{train.instance_type} for training warm pool usage"
        # The job runs all the same; its instances are just not kept.
        yield Need(quota, train.instance_count, "train.keep_alive", "or set train.keep_alive = 0", is_block=False)
    if not deploy.serverless:
        quota = f"{deploy.instance_type} for endpoint usage"
        yield Need(quota, deploy.instance_count, "deploy", "or set another deploy.instance_type, or deploy.serverless")


def check_quotas(account: Account) -> Iterator[Check]:
    from botocore.exceptions import BotoCoreError, ClientError

    needs = list(list_needs(account.config))
    try:
        found = find_quotas(account.client("service-quotas"), {need.quota for need in needs})
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in DENIED:
            yield warn("quotas", "you may not ask for them", "allow servicequotas:ListServiceQuotas")
        else:
            yield warn("quotas", f"unknown: Service Quotas says {code}", "look into AWS's Service Quotas yourself")
        return
    except BotoCoreError as error:
        yield warn("quotas", f"unknown: {error}", "look into AWS's Service Quotas yourself")
        return
    for need in needs:
        yield weigh(need, found.get(need.quota))


def weigh(need: Need, quota: float | None) -> Check:
    if quota is None:
        return warn("quota", f"{need.quota}: unknown; {need.instances} wanted", "look at the instance type's spelling")
    said = f"{need.quota}: {quota:g}, {need.instances} wanted ({need.why})"
    if quota >= need.instances:
        return ok("quota", said)
    fix = f"{REQUEST}, {need.fix}"
    return fail("quota", said, fix, LimitExceeded.exit_code) if need.is_block else warn("quota", said, fix)


def find_quotas(client: Any, names: set[str]) -> dict[str, float]:
    """Their values, as far as they were found in SECONDS."""
    found: dict[str, float] = {}
    end = time.monotonic() + SECONDS
    pages = client.get_paginator("list_service_quotas").paginate(
        ServiceCode="sagemaker", PaginationConfig={"PageSize": 100}
    )
    for page in pages:
        found |= {quota["QuotaName"]: quota["Value"] for quota in page["Quotas"] if quota["QuotaName"] in names}
        if len(found) == len(names) or time.monotonic() > end:
            break
    return found
