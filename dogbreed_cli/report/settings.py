"""What the job was: the page's and the model card's tables of names and values."""

from collections.abc import Mapping
from typing import Any

from dogbreed_cli.report.artifacts import Training
from dogbreed_cli.report.job import Job
from dogbreed_cli.report.report import Report
from dogbreed_cli.report.wording import (
    NOTHING,
    count_noun,
    say_cost,
    say_duration,
    say_moment,
    say_percent,
    say_split,
    say_value,
)
from dogbreed_cli.tags import COMMIT_TAG


def list_settings(report: Report) -> dict[str, list[tuple[str, str]]]:
    """The tables by what they are about."""
    job, training = report.job, report.training
    return {
        "hyperparameters": say_sorted(report.hyperparameters),
        "platform": say_sorted(job.platform),
        "model": list_model(training) if training else [],
        "versions": say_sorted(training.versions) if training else [],
        "image": [("image", say_value(job.image)), ("git commit", say_commit(report))],
        "job": [*list_facts(job), ("cost", say_cost(report.cost))],
        "tags": say_sorted(job.tags),
    }


def list_model(training: Training) -> list[tuple[str, str]]:
    return [
        ("backbone", say_value(training.backbone)),
        ("weights", say_value(training.weights)),
        ("learnt", say_learnt(training)),
        ("read", say_read(training)),
        ("classes", str(len(training.classes))),
        *((f"{say_split(split)} images", str(count)) for split, count in training.counts.items()),
        ("training images of a class", say_balance(training)),
        ("best epoch", say_value(training.best_epoch)),
        ("early stop", training.stopped_early or "no"),
        *([("resumed", f"from epoch {training.resumed_from_epoch}")] if training.resumed_from_epoch else []),
        ("processes", say_value(training.world_size)),
        ("BatchNorm calibrated", NOTHING if training.calibrated is None else say_yes(training.calibrated)),
        ("debugger hook", say_hook(training)),
        ("profiler", say_profiler(training)),
    ]


def say_learnt(training: Training) -> str:
    names = {"none": "the last layer", "layer4": "the last layer and layer4", "all": "the whole network"}
    return names.get(str(training.hyperparameters.get("unfreeze", "")), NOTHING)


def say_read(training: Training) -> str:
    """Images, or which cached features."""
    if not training.features:
        return "images"
    told = ", ".join(f"{name} {say_value(value)}" for name, value in training.features.items())
    return f"cached features: {told}"


def say_balance(training: Training) -> str:
    counts = training.label_counts.values()
    if not counts:
        return NOTHING
    return f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else str(min(counts))


def say_hook(training: Training) -> str:
    hook = training.debugger
    if not hook.get("hook"):
        return f"not attached: {hook.get('why') or 'no reason recorded'}"
    collections = ", ".join(map(str, hook.get("collections") or ()))
    interval = hook.get("save_interval")
    every = f"; every {count_noun(interval, 'step')}" if isinstance(interval, int) and interval else ""
    return f"attached{': ' if collections else ''}{collections}{every}"


def say_profiler(training: Training) -> str:
    profiler = training.profiler
    if not profiler.get("interval_ms"):
        return f"off: {profiler.get('why') or 'no reason recorded'}"
    told = f"system metrics every {profiler['interval_ms']} ms"
    return f"{told}; {profiler['why']}" if profiler.get("why") else told


def say_commit(report: Report) -> str:
    """Of the scripts that the job ran, not of the folder that the report is made in."""
    known = (report.training.git_commit if report.training else None) or report.job.tags.get(COMMIT_TAG)
    return known or f"unknown: neither metrics.json nor the job's tag {COMMIT_TAG} names one"


def list_facts(job: Job) -> list[tuple[str, str]]:
    instances = (
        f"{job.instance_count or 1} \N{MULTIPLICATION SIGN} {job.instance_type}" if job.instance_type else NOTHING
    )
    return [
        ("name", job.name),
        ("status", job.status),
        ("failure reason", job.failure_reason or "none"),
        ("instances", instances),
        ("channels", NOTHING if job.channels is None else ", ".join(job.channels) or "none"),
        ("created", say_moment(job.created)),
        ("started", say_moment(job.started)),
        ("ended", say_moment(job.ended)),
        ("training time", say_duration(job.training_seconds)),
        ("billable time", say_duration(job.billable_seconds)),
        ("spot", f"yes, {say_percent(job.spot_saving)} of the time not billed" if job.spot else "no"),
        ("model", say_value(job.model)),
    ]


def say_sorted(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, say_value(value)) for name, value in sorted(values.items())]


def say_yes(fact: bool) -> str:
    return "yes" if fact else "no"
