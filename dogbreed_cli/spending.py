"""What runs now costs an hour, and has cost so far: from SageMaker's descriptions and a price."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dogbreed_cli import jobs, resources
from dogbreed_cli.costs import HOUR, weigh_endpoint
from dogbreed_cli.pricing import Price, PriceList


@dataclass(frozen=True)
class Spending:
    """In USD, of all instances together; None where no price is known (`price_source` says why), or nothing runs."""

    usd_per_hour: float | None
    usd_so_far: float | None
    price_source: str | None


Spend = Callable[[Mapping[str, Any], Price, datetime], Spending]


def measure_training(prices: PriceList, name: str) -> Spending:
    return spend_now(prices, jobs.describe_training_job(prices.session.client("sagemaker"), name), spend_on_training)


def measure_warm_pool(prices: PriceList, name: str) -> Spending:
    return spend_now(prices, jobs.describe_training_job(prices.session.client("sagemaker"), name), spend_on_warm_pool)


def spend_now(prices: PriceList, description: Mapping[str, Any], spend: Spend) -> Spending:
    price = prices.find(description["ResourceConfig"]["InstanceType"], "Training")
    return spend(description, price, datetime.now(UTC))


def measure_tuning(prices: PriceList, name: str) -> Spending:
    client = prices.session.client("sagemaker")
    place = jobs.describe_tuning_job(client, name)["TrainingJobDefinition"]["ResourceConfig"]
    price = prices.find(place["InstanceType"], "Training")
    return spend_on_trials(jobs.list_trials(client, name), place["InstanceCount"], price, datetime.now(UTC))


def measure_endpoint(prices: PriceList, name: str) -> Spending | None:
    """As if it had always been what it is now. None where it has no instances, or is gone."""
    client = prices.session.client("sagemaker")
    found = resources.find(client, "endpoint", name)
    if not found or found["EndpointStatus"] == "Failed":
        return None
    endpoint_config = resources.find(client, "endpoint-config", found["EndpointConfigName"])
    if not endpoint_config:
        return None
    counts = {one["VariantName"]: one.get("CurrentInstanceCount") for one in found.get("ProductionVariants", [])}
    variants = [
        {**variant, "InitialInstanceCount": counts.get(variant["VariantName"]) or variant["InitialInstanceCount"]}
        if "InstanceType" in variant
        else variant
        for variant in endpoint_config["ProductionVariants"]
    ]
    cost = weigh_endpoint({"ProductionVariants": variants}, prices)
    if cost.usd_per_hour is None:
        return Spending(None, None, cost.price.source)
    age = (datetime.now(UTC) - found["CreationTime"]).total_seconds()
    return Spending(cost.usd_per_hour, cost.usd_per_hour * age / HOUR, cost.price.source)


def spend_on_training(description: Mapping[str, Any], price: Price, now: datetime) -> Spending:
    """Of a job that runs: the seconds since its start on the instances, before which nothing is charged for."""
    if price.usd_per_hour is None:
        return Spending(None, None, price.source)
    hourly = price.usd_per_hour * description["ResourceConfig"]["InstanceCount"]
    return Spending(hourly, hourly * elapsed(description, now) / HOUR, price.source)


def spend_on_warm_pool(description: Mapping[str, Any], price: Price, now: datetime) -> Spending:
    """Of the instances that a job left waiting: since its end. `report` has what the job itself was billed."""
    return spend_on_training(
        {**description, "TrainingStartTime": description["TrainingEndTime"], "TrainingEndTime": None}, price, now
    )


def spend_on_trials(trials: Iterable[Mapping[str, Any]], instances: int, price: Price, now: datetime) -> Spending:
    """Of a tuning job: the trials that run, and the time of all."""
    if price.usd_per_hour is None:
        return Spending(None, None, price.source)
    trials = list(trials)
    running = sum(trial["TrainingJobStatus"] in jobs.RUNNING for trial in trials)
    seconds = sum(elapsed(trial, now) for trial in trials)
    hourly = price.usd_per_hour * instances
    return Spending(hourly * running, hourly * seconds / HOUR, price.source)


def elapsed(job: Mapping[str, Any], now: datetime) -> float:
    """Never less than 0, though this machine's clock may be behind AWS's."""
    start = job.get("TrainingStartTime")
    return max(0.0, ((job.get("TrainingEndTime") or now) - start).total_seconds()) if start else 0.0
