"""What the settings lead to on AWS, known without asking anybody: images, debugger, network, payloads, tuning."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from dogbreed_cli.checks import Check, fail, ok, warn
from dogbreed_cli.pictures import MAX_BYTES
from dogbreed_cli.weights import kind_of

if TYPE_CHECKING:
    from dogbreed_cli.config import Config

# https://docs.aws.amazon.com/general/latest/gr/sagemaker.html: what an account has unless it asked for more
PARALLEL_TRIALS = 10


def check_image(name: str, find: Callable[[], str]) -> Iterator[Check]:
    """The container's image. Looking into the SDK's tables takes it some seconds; a config key saves them."""
    yield ok(name, find())


def check_debugger(config: Config) -> Iterator[Check]:
    debugger = config.debugger
    if debugger.aws_rules:
        found = (
            "aws_rules = true: AWS closed Debugger to new customers on 2026-07-30 and ends Profiler on 2027-06-30; "
            "an account without it refuses the training job"
        )
        yield warn(
            "debugger", found, "set debugger.aws_rules = false: the script's hook saves its tensors all the same"
        )
    elif debugger.enabled:
        yield ok("debugger", "the script's own hook saves tensors; none of AWS's rules run on them")
    else:
        yield ok("debugger", "off: no tensors are saved")


def check_network(config: Config) -> Iterator[Check]:
    aws, weights = config.aws, config.model.weights
    if not aws.network_isolation:
        within = f"in {len(aws.subnets)} subnets of your VPC" if aws.subnets else "SageMaker's own"
        if aws.subnets:
            fix = "give the subnets a NAT, or S3 and ECR endpoints and aws.network_isolation = true"
            yield warn("network", f"{within}; packages and weights come from the internet", fix)
        else:
            yield ok("network", within)
    elif kind_of(weights) == "name":
        found = f"aws.network_isolation = true, and the job would download the weights {weights}"
        yield fail("network", found, "set model.weights to a file or an s3:// URI of a state_dict")
    elif config.debugger.enabled and not aws.training_image:
        found = "isolated: entrypoints/requirements.txt (smdebug) is not installed, so no tensors are saved"
        yield warn("network", found, "name an aws.training_image that has smdebug, or set debugger.enabled = false")
    else:
        yield ok("network", "isolated: the container has no way out")


def check_payload() -> Iterator[Check]:
    yield ok("payload", f"predict makes pictures over {MAX_BYTES / 1e6:.0f} MB smaller, which every endpoint takes")


def check_tuning(config: Config) -> Iterator[Check]:
    tune = config.tune
    parallel = min(tune.max_parallel_jobs, tune.trials)
    said = f"{tune.strategy}, {tune.trials} trials, {parallel} at a time"
    if parallel > PARALLEL_TRIALS:
        found = f"{said}; accounts have {PARALLEL_TRIALS} at a time unless they asked for more"
        yield warn("tuning", found, f"set tune.max_parallel_jobs to {PARALLEL_TRIALS}, or ask AWS for more")
    else:
        yield ok("tuning", said)
