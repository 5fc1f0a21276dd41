"""The features job: found, or run first, so that every trial and training reads its output instead of the images.

A frozen backbone makes the same of an image every time. SageMaker is asked for a job that made the same features
before: its name is derived from everything that decides them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from dogbreed_cli import features_requests, jobs
from dogbreed_cli.costs import JobCost, price_training, say_cost
from dogbreed_cli.errors import JobFailed, UsageError, WaitTimedOut, interrupted
from dogbreed_cli.following import follow
from dogbreed_cli.inputs import find_inputs, find_manifest
from dogbreed_cli.requests import Inputs, Site
from dogbreed_cli.weights import kind_of

if TYPE_CHECKING:
    from dogbreed_cli.config import Config
    from dogbreed_cli.context import App
    from dogbreed_cli.pricing import PriceList
    from dogbreed_cli.session import Session
    from dogbreed_cli.sync import Manifest
    from dogbreed_cli.waiting import Patience

# Changes when entrypoints/extract.py makes other features of the same images, or writes them otherwise.
VERSION = 2
# Tuned, these would need other features in each trial.
DECIDE = {"backbone", "weights", "image-size", "views", "unfreeze", "precision", "seed"}
AGAIN = "run the same command again: it goes on with that job"


@dataclass(frozen=True)
class FeaturesPlan:
    """What is to be done about features. Without a `name` nothing: `note` says why there are none."""

    inputs: Inputs  # of the jobs that follow
    note: str
    name: str = ""
    status: str = ""  # Completed, InProgress, or "" for one that has to be created
    request: dict[str, Any] | None = None  # to create it
    cost: JobCost | None = None  # of that


def features_option(command: Callable[..., Any]) -> Callable[..., Any]:
    help = "Compute the features of all images once, first (default), or run the whole network in every epoch."
    return click.option("--features/--no-features", default=None, help=help)(command)


def plan_features(
    config: Config, session: Session, site: Site, varied: set[str], prices: PriceList | None
) -> FeaturesPlan:
    """Looks, and creates nothing. `varied` are hyperparameters that are not the config's."""
    manifest = find_manifest(config, session)
    inputs = find_inputs(config, session, site, manifest)
    why = why_none(config, manifest, varied)
    if config.train.optimizer == "lbfgs" and (why or config.train.unfreeze != "none"):
        why = why or f"train.unfreeze is {config.train.unfreeze}"
        raise UsageError("optimizer lbfgs learns a head on cached features", why, "take another train.optimizer")
    if why:
        return FeaturesPlan(inputs, f"no cached features: {why}")
    client = session.client("sagemaker")
    stem = features_requests.features_stem(config, decisive(config, session, inputs, manifest))
    attempts = jobs.list_features_jobs(client, config.project.name, stem)
    views = f" x {config.features.views} views" if config.features.views > 1 else ""
    for attempt in attempts:
        name, status = attempt["TrainingJobName"], attempt["TrainingJobStatus"]
        uri = output(config, site, name)
        if status == "InProgress":
            note = f"features: {name} is making them"
        elif status == "Completed" and is_there(session, uri):
            note = f"features: there, from {name} ({attempt['TrainingEndTime'].astimezone():%Y-%m-%d %H:%M})"
        else:
            continue
        return FeaturesPlan(replace(inputs, features=uri), note, name, status)
    numbers = [int(attempt["TrainingJobName"].removeprefix(stem).strip("-") or 1) for attempt in attempts]
    name = f"{stem}-{max(numbers) + 1}" if numbers else stem
    counted = f"{sum(manifest.counts.values()):,} images{views}"
    request = features_requests.features(config, site, inputs, name, stem)
    return FeaturesPlan(
        replace(inputs, features=output(config, site, name)),
        f"features: {name} makes them first, in one pass over {counted}",
        name,
        request=request,
        cost=price_training(prices, request),
    )


def why_none(config: Config, manifest: Manifest, varied: set[str]) -> str:
    """Why the coming jobs read images, or "" where they read features."""
    if not config.features.enabled:
        return "they are switched off"
    if config.train.unfreeze == "all":
        return "the whole network learns"
    if config.aws.network_isolation and not config.aws.training_image:
        return "in an isolated container AWS's image has no safetensors; name one that has as aws.training_image"
    if config.features.views == 0:
        return "features.views = 0, every epoch has new crops"
    if tuned := sorted(DECIDE & varied):
        return f"{', '.join(tuned)} is not the same for all"
    size = estimate_gb(config, manifest)
    if size > config.features.max_gb:
        return f"about {size:.0f} GB, more than features.max_gb = {config.features.max_gb:g}"
    return ""


def estimate_gb(config: Config, manifest: Manifest) -> float:
    """Of a ResNet's stage before layer4 (bfloat16), or of pooled features, which are never many."""
    samples = sum(n * (config.features.views if split == "train" else 1) for split, n in manifest.counts.items())
    if config.train.unfreeze == "none":
        return samples * 4096 * 4 / 1e9
    channels = 256 if config.model.backbone in ("resnet18", "resnet34") else 1024
    return samples * channels * math.ceil(config.model.image_size / 16) ** 2 * 2 / 1e9


def decisive(config: Config, session: Session, inputs: Inputs, manifest: Manifest) -> dict[str, Any]:
    """Everything that decides the features' numbers. The name of a file's copy in S3 holds its checksum."""
    from dogbreed_cli.storage import list_objects, parse_s3_uri

    etags = []
    if inputs.weights and kind_of(config.model.weights) == "uri":  # whose objects may change
        etags = sorted(found.etag for found in list_objects(session.client("s3"), *parse_s3_uri(inputs.weights)))
    random = config.model.weights == "none" or config.features.views > 1
    return {
        "version": VERSION,
        "data": manifest.fingerprint,
        "backbone": config.model.backbone,
        "weights": [inputs.weights or config.model.weights, *etags],
        "image_size": config.model.image_size,
        "views": config.features.views,
        "unfreeze": config.train.unfreeze,
        "precision": config.features.precision,
        "seed": config.train.seed if random else None,
    }


def output(config: Config, site: Site, name: str) -> str:
    """Where SageMaker puts the uncompressed model artifacts of a job."""
    return f"s3://{site.bucket}/{config.prefix}/jobs/{name}/output/model/"


def is_there(session: Session, uri: str) -> bool:
    """features.json is written last; `teardown --data` or a lifecycle rule may have removed it since."""
    from dogbreed_cli.storage import list_objects, parse_s3_uri

    bucket, key = parse_s3_uri(uri)
    return any(list_objects(session.client("s3"), bucket, f"{key.rstrip('/')}/features.json"))


def say_plan(app: App, plan: FeaturesPlan) -> None:
    app.console.note(plan.note)
    if plan.cost:
        app.console.note(say_cost(plan.cost))


def complete(app: App, session: Session, plan: FeaturesPlan, patience: Patience, prices: PriceList | None) -> None:
    """Create the job if need be, and wait for it, also with --no-wait: nothing else can start before."""
    if not plan.name or plan.status == "Completed":
        return
    if plan.request:  # under a name that says what it makes: should it be taken by now, another command was faster
        jobs.create_job(session.client("sagemaker"), partial(session.create, "TrainingJob"), plan.request)
    app.console.note(f"features job {plan.name}")
    try:
        description = follow(app, session, plan.name, patience, prices)
    except KeyboardInterrupt as signal:
        raise interrupted(signal, f"detached; the features job {plan.name} runs on", AGAIN) from None
    except WaitTimedOut as error:
        raise WaitTimedOut(f"the features job {plan.name}: {error.what}", error.why, AGAIN) from None
    reason = description.get("FailureReason") or description["SecondaryStatus"]
    jobs.require_completed("features job", plan.name, description["TrainingJobStatus"], reason)
    if plan.inputs.features and not is_there(session, plan.inputs.features):
        where = f"there is no features.json at {plan.inputs.features}"
        raise JobFailed(f"the features job {plan.name} left no features", where, f"see `dogbreed logs {plan.name}`")
    drop_checkpoints(session, description)


def drop_checkpoints(session: Session, description: dict[str, Any]) -> None:
    """The shards that a killed job would have gone on with lie in its output, too."""
    from dogbreed_cli.storage import delete_prefix, parse_s3_uri

    if "CheckpointConfig" in description:
        delete_prefix(session.client("s3"), *parse_s3_uri(description["CheckpointConfig"]["S3Uri"]))


def features_job_of(request: Mapping[str, Any]) -> str | None:
    """Whose output a training job, or a tuning job's definition, reads: from its request or its description."""
    for one in request.get("InputDataConfig", []):
        if one["ChannelName"] == "features":
            return one["DataSource"]["S3DataSource"]["S3Uri"].rpartition("/output/model")[0].rpartition("/")[2]
    return None


def as_members(request: Mapping[str, Any], cost: JobCost | None, features_cost: JobCost | None) -> dict[str, Any]:
    """For a command's JSON: the features job that a request or description names, and what is known of the costs."""
    members = {"features_job": features_job_of(request), "features_cost": features_cost, "cost": cost}
    return {name: value for name, value in members.items() if value is not None}
