"""What a request can cost: the most that a job can, an estimate from an earlier one, an endpoint by the hour.

Pure functions of what is sent (requests.py) and a price (pricing.py); `price_*` put both together for a command, and
are None where there are no prices, on this machine. Amounts are in USD and None where unknown, never 0 for that.

Counted are instances. UNCOUNTED is not. AWS's own Debugger rules ([debugger] aws_rules) run free of charge:
https://docs.aws.amazon.com/sagemaker/latest/dg/use-debugger-built-in-profiler-rules.html
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from dogbreed_cli import jobs
from dogbreed_cli.console import human_time
from dogbreed_cli.errors import LimitExceeded
from dogbreed_cli.hyperparameters import decode
from dogbreed_cli.pricing import Price, PriceList

if TYPE_CHECKING:
    from dogbreed_cli.session import Session

UNCOUNTED = (
    "storage, S3, data transfer, logs, and the minutes in which a job stops and uploads what it made, "
    "or an endpoint is updated and its old instances still serve"
)
SERVERLESS = "serverless: charged by each request's seconds and memory, nothing while it waits"
SEVERAL_KINDS = "it has several kinds of instances"
HOUR, DAY, MONTH = 3600, 24, 30 * 24
# What a job reads: an epoch over cached features is a hundred times faster than one over images.
READS = "channel"
# Jobs that are looked at for an estimate, newest first.
MOST_EARLIER = 10
# What has to be the same for one job's time to say something about another's.
ALIKE = ("mode", "backbone", "image-size", "unfreeze", READS)


@dataclass(frozen=True)
class Job:
    """What bounds a job, as it is sent: `most_seconds` of each of `instances`, over all its trials."""

    instance_type: str
    instances: int
    most_seconds: int
    trials: int
    bounds: str
    hyperparameters: Mapping[str, Any]


@dataclass(frozen=True)
class Earlier:
    """A training job that completed on the same instances: what it took whatever its epochs, and for each of them."""

    name: str
    fixed_seconds: float
    seconds_per_epoch: float


@dataclass(frozen=True)
class JobCost:
    """The most that a job can cost, and what it may if it goes on as an earlier one did."""

    estimate_usd: float | None
    max_usd: float | None
    price: Price
    instance_type: str
    instances: int
    bounds: str
    estimated_from: str | None


@dataclass(frozen=True)
class EndpointCost:
    """Of all instances of an endpoint, for as long as it is there. A serverless one has no price per hour."""

    usd_per_hour: float | None
    usd_per_day: float | None
    usd_per_30_days: float | None
    price: Price
    instance_type: str | None
    instances: int


def read_training(request: Mapping[str, Any]) -> Job:
    """MaxRuntimeInSeconds holds for all attempts of a job together, waiting for spot capacity is not charged for."""
    place, limit = request["ResourceConfig"], request["StoppingCondition"]["MaxRuntimeInSeconds"]
    warm = place.get("KeepAlivePeriodInSeconds", 0)
    bounds = f"at most {human_time(limit)}" + (f" and {human_time(warm)} kept warm" if warm else "")
    return Job(place["InstanceType"], place["InstanceCount"], limit + warm, 1, bounds, read_work(request))


def read_tuning(request: Mapping[str, Any]) -> Job:
    trial, limits = request["TrainingJobDefinition"], request["HyperParameterTuningJobConfig"]["ResourceLimits"]
    place, limit = trial["ResourceConfig"], trial["StoppingCondition"]["MaxRuntimeInSeconds"]
    trials, parallel = limits["MaxNumberOfTrainingJobs"], limits["MaxParallelTrainingJobs"]
    seconds, bounds = trials * limit, f"{trials} trials of at most {human_time(limit)}"
    if (total := limits.get("MaxRuntimeInSeconds")) and total * parallel < seconds:
        seconds, bounds = total * parallel, f"{parallel} trials at a time for at most {human_time(total)}"
    return Job(place["InstanceType"], place["InstanceCount"], seconds, trials, bounds, read_work(trial))


def read_work(request: Mapping[str, Any]) -> dict[str, Any]:
    """A job's hyperparameters, and what it reads."""
    hyperparameters = request.get("StaticHyperParameters") or request.get("HyperParameters") or {}
    channels = {channel["ChannelName"] for channel in request.get("InputDataConfig", [])}
    return {**decode(hyperparameters), READS: "features" if "features" in channels else "images"}


def weigh_job(job: Job, price: Price, earlier: Earlier | None = None) -> JobCost:
    estimate = most = None
    if price.usd_per_hour is not None:
        usd_per_second = price.usd_per_hour * job.instances / HOUR
        most = job.most_seconds * usd_per_second
        if earlier and (epochs := count_epochs(job.hyperparameters)):
            seconds = job.trials * (earlier.fixed_seconds + epochs * earlier.seconds_per_epoch)
            estimate = min(most, seconds * usd_per_second)
    name = earlier.name if earlier and estimate is not None else None
    return JobCost(estimate, most, price, job.instance_type, job.instances, job.bounds, name)


def count_epochs(hyperparameters: Mapping[str, Any]) -> float | None:
    """Epochs of all images; None where that is tuned, too."""
    if hyperparameters.get("mode") == "extract":
        return hyperparameters["views"]
    epochs, fraction = hyperparameters.get("epochs"), hyperparameters.get("data-fraction", 1.0)
    return epochs * fraction if isinstance(epochs, int) and isinstance(fraction, int | float) else None


def read_earlier(description: Mapping[str, Any], job: Job) -> Earlier | None:
    """None unless it ran on the same instances with the same network. Its time, not what spot left to be billed."""
    place, hyperparameters = description["ResourceConfig"], read_work(description)
    same = (place.get("InstanceType"), place.get("InstanceCount")) == (job.instance_type, job.instances)
    alike = all(hyperparameters.get(name) == job.hyperparameters.get(name) for name in ALIKE)
    seconds, epochs = description.get("TrainingTimeInSeconds"), count_epochs(hyperparameters)
    if not (same and alike and seconds and epochs):
        return None
    # The script's own time grows with the epochs; fetching images and container before it, and uploading, do not.
    steps = [step for step in description.get("SecondaryStatusTransitions", []) if step["Status"] == "Training"]
    script = sum((step["EndTime"] - step["StartTime"]).total_seconds() for step in steps if step.get("EndTime"))
    script = min(script or seconds, seconds)
    return Earlier(description["TrainingJobName"], seconds - script, script / epochs)


def weigh_endpoint(request: Mapping[str, Any], prices: PriceList) -> EndpointCost:
    """CreateEndpointConfig's request, or its description."""
    variants = request["ProductionVariants"]
    kinds = {variant.get("InstanceType") for variant in variants}
    if None in kinds or len(kinds) > 1:
        return EndpointCost(None, None, None, Price(None, SERVERLESS if None in kinds else SEVERAL_KINDS), None, 0)
    kind, instances = kinds.pop(), sum(variant["InitialInstanceCount"] for variant in variants)
    price = prices.find(kind, "Hosting")
    if price.usd_per_hour is None:
        return EndpointCost(None, None, None, price, kind, instances)
    hourly = price.usd_per_hour * instances
    return EndpointCost(hourly, hourly * DAY, hourly * MONTH, price, kind, instances)


# ---- what the commands call


def price_training(prices: PriceList | None, request: Mapping[str, Any]) -> JobCost | None:
    return price_job(prices, read_training(request)) if prices else None


def price_tuning(prices: PriceList | None, request: Mapping[str, Any]) -> JobCost | None:
    return price_job(prices, read_tuning(request)) if prices else None


def price_endpoint(prices: PriceList | None, request: Mapping[str, Any]) -> EndpointCost | None:
    return weigh_endpoint(request, prices) if prices else None


def price_job(prices: PriceList, job: Job) -> JobCost:
    price = prices.find(job.instance_type, "Training")
    return weigh_job(job, price, find_earlier(prices.session, job) if price.usd_per_hour is not None else None)


def find_earlier(session: Session, job: Job) -> Earlier | None:
    """Of the project's newest completed training jobs and trials the first that is like this one."""
    client, project = session.client("sagemaker"), session.settings.project.name
    completed = jobs.list_training_jobs(
        client, project, (jobs.TRAINING, jobs.TRIAL, jobs.FEATURES), StatusEquals="Completed"
    )
    for summary in islice(completed, MOST_EARLIER):
        if earlier := read_earlier(jobs.describe_training_job(client, summary["TrainingJobName"]), job):
            return earlier
    return None


def as_member(cost: JobCost | EndpointCost | None) -> dict[str, Any]:
    """For a command's JSON; nothing where the session is free."""
    return {"cost": cost} if cost else {}


def check_budget(
    cost: JobCost | EndpointCost | None, budget: float | None, features_cost: JobCost | None = None
) -> None:
    """Raises LimitExceeded where it may cost more than the budget, or nobody knows. A budget of None is no limit.

    `features_cost` is that of the features job before it.
    """
    if cost is None or budget is None:
        return
    if isinstance(cost, EndpointCost):
        most, a_day, less = cost.usd_per_day, " a day", "fewer instances"
    else:
        most, a_day, less = cost.max_usd, "", "a shorter max_run, fewer jobs or instances"
    if most is None:
        raise LimitExceeded(
            f"what this may cost is unknown, so a budget of {say_usd(budget)}{a_day} cannot be kept",
            cost.price.source,
            "leave out --budget, or choose instances whose price is known (AWS tells with pricing:GetProducts)",
        )
    why = say_basis(cost)
    if features_cost:  # on the same instances, so its price is known, too
        most += features_cost.max_usd or 0.0
        why = f"the features job: {say_basis(features_cost)}; then: {why}"
    if most > budget:
        raise LimitExceeded(
            f"this may cost {say_most(most)}{a_day}, the budget is {say_usd(budget)}{a_day}",
            why,
            f"allow {less}, choose a cheaper instance type, or raise --budget",
        )


def say_cost(cost: JobCost | EndpointCost) -> str:
    """A line or two for the plan."""
    if isinstance(cost, EndpointCost):
        if cost.usd_per_day is None:
            return f"cost: no price per hour is known ({cost.price.source})"
        told = f"{say_most(cost.usd_per_day)} a day, {say_most(cost.usd_per_30_days)} in 30 days ({say_basis(cost)})"
        return f"cost: {told}; not counted: {UNCOUNTED}"
    if cost.max_usd is None:
        return f"cost: unknown ({cost.price.source}); {say_basis(cost)}"
    estimate = "no earlier job to estimate from"
    if cost.estimate_usd is not None:
        estimate = f"about {say_usd(cost.estimate_usd)}, going by the time and epochs of {cost.estimated_from}"
    return f"cost: at most {say_most(cost.max_usd)} ({say_basis(cost)}); {estimate}; not counted: {UNCOUNTED}"


def say_basis(cost: JobCost | EndpointCost) -> str:
    place = f"{cost.instances} x {cost.instance_type}"
    bounds = "" if isinstance(cost, EndpointCost) else f", {cost.bounds}"
    return f"{place}{bounds}" + (f", {say_rate(cost.price)}" if cost.price.usd_per_hour is not None else "")


def say_rate(price: Price) -> str:
    return f"{price.usd_per_hour:g} USD an hour each, {price.source}"


def say_most(usd: float | None) -> str:
    """A bound, rounded up: it may not be shown as less than it is."""
    if not usd:
        return say_usd(usd)
    scale = 10 ** (2 if usd >= 0.1 else 1 - math.floor(math.log10(usd)))
    return say_usd(math.ceil(round(usd * scale, 6)) / scale)  # 1.1 * 100 is a little more than 110


def say_usd(usd: float | None) -> str:
    if usd is None:
        return "unknown"
    return f"{usd:.2f} USD" if usd >= 0.1 or usd == 0 else f"{usd:.2g} USD"
