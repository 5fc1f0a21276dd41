"""How the report says its numbers, the same on the page and in the terminal: percent, durations, moments, values."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dogbreed_cli.report.cost import Cost
    from dogbreed_cli.report.metrics import Proportion
    from dogbreed_cli.report.report import Report

NOTHING = "\N{EN DASH}"
# Between a number and its unit, so that they stay on one line.
SPACE = "\N{NO-BREAK SPACE}"
SPLIT_NAMES = {"valid": "validation"}
# SageMaker's types of system metrics.
KIND_NAMES = {"cpu": "CPU", "gpu": "GPU", "memory": "Memory", "i/o": "Disk", "network": "Network"}
USED = ("cpu", "gpu", "memory")
UNIT_NAMES = {"%": "%", "B/s": "bytes a second", "": "a second"}


def say_percent(share: float | None, digits: int = 1) -> str:
    if share is None or not math.isfinite(share):
        return NOTHING
    return f"{100 * share:.{digits}f}{SPACE}%"


def say_interval(proportion: "Proportion") -> str:
    return f"{100 * proportion.low:.1f} to {say_percent(proportion.high)}"


def say_number(value: float | None, digits: int = 3) -> str:
    if value is None:
        return NOTHING
    return f"{value:.{digits}f}" if math.isfinite(value) else "not finite"


def say_value(value: Any) -> str:
    """A hyperparameter or an objective: at most five significant digits, integers in full."""
    if value is None:
        return NOTHING
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def say_duration(seconds: float | None) -> str:
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f"{seconds:.{1 if seconds >= 9.95 else 2}f}{SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{SPACE}min {rest:02}{SPACE}s"
    return f"{minutes // 60}{SPACE}h {minutes % 60:02}{SPACE}min"


def say_moment(moment: datetime | None) -> str:
    """In UTC to the second, as AWS's console and logs have it; rounded, so that it agrees with durations."""
    if moment is None:
        return NOTHING
    rounded = moment.astimezone(UTC) + timedelta(milliseconds=500)
    return f"{rounded:%Y-%m-%d %H:%M:%S}{SPACE}UTC"


def say_split(split: str) -> str:
    return SPLIT_NAMES.get(split, split)


def say_values(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {say_value(value)}" for name, value in values.items())


def count_noun(count: int, noun: str) -> str:
    """`1 sample`, `1,200 samples`, `2 losses`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "es" if noun.endswith("ss") else "s")


def say_amount(value: float) -> str:
    """With the prefix that leaves one to three digits before the point: 1.5 M."""
    for prefix in ("", "k", "M", "G"):
        if abs(value) < 999.5:
            return f"{value:.3g}{SPACE}{prefix}".rstrip(SPACE)
        value /= 1000
    return f"{value:.3g}{SPACE}T"


def say_metric(value: float, unit: str) -> str:
    if unit == "%":
        return f"{value:.1f}{SPACE}%"
    amount = say_amount(value)
    return f"{amount}{'' if SPACE in amount else SPACE}{unit}" if unit else amount


def say_step(seconds: float) -> str:
    return f"{1000 * seconds:.3g}{SPACE}ms" if seconds < 1 else say_duration(seconds)


def name_kind(kind: str, unit: str) -> str:
    """What a chart of system metrics shows: SageMaker's type, and what its numbers are."""
    return f"{KIND_NAMES.get(kind, kind)}, {UNIT_NAMES[unit]}"


def say_rules(report: "Report") -> str:
    """The names of the rules that fired, and how many did not or could not be judged."""
    states = [verdict.state for verdict in report.rules]
    fired = [verdict.rule for verdict in report.rules if verdict.state == "triggered"]
    told = f"{', '.join(fired)} fired" if fired else "none fired"
    return f"{told}; {states.count('not triggered')} did not, {states.count('not evaluated')} not evaluated"


def say_use(report: "Report") -> str | None:
    """The mean use of processors and memory; None where the profiler has none of it."""
    told: dict[str, str] = {}
    for line in report.activity.lines if report.activity else ():
        if line.unit == "%" and line.kind in USED:
            told.setdefault(line.kind, f"{KIND_NAMES[line.kind]} {line.mean:.0f}{SPACE}%")
    return ", ".join(told.values()) or None


def summarize(report: "Report") -> tuple[tuple[str, str], ...]:
    """What a person wants first, as (label, text) lines: for the terminal, and for the head of the page."""
    lines = [("Job", report.job.name), ("Status", report.job.status)]
    if report.job.failure_reason:
        lines.append(("Failure reason", report.job.failure_reason))
    if evaluation := report.evaluation:
        accuracy = evaluation.accuracy
        lines.append(
            (
                "Accuracy",
                f"{say_percent(accuracy.value)} ({accuracy.correct} of {accuracy.total} {say_split(evaluation.split)} "
                f"images; 95{SPACE}% interval {say_interval(accuracy)})",
            )
        )
        if evaluation.top5:
            lines.append(("Top-5 accuracy", say_percent(evaluation.top5.value)))
        lines.append(("Macro F1", say_number(evaluation.macro.f1)))
        lines.append(("Loss", say_number(evaluation.loss)))
        if evaluation.calibration:
            lines.append(("Calibration error", say_percent(evaluation.calibration.error)))
    else:
        lines.append(("Accuracy", report.missing["evaluation"]))
    if report.tuning:
        lines.append(("Best hyperparameters", say_best(report)))
    if report.phases:
        shares = sorted(report.phases, key=lambda phase: -phase.seconds)
        lines.append(("Time", ", ".join(f"{phase.name} {say_percent(phase.share, 0)}" for phase in shares)))
    if use := say_use(report):
        lines.append(("Use on average", use))
    lines.append(("Rules", say_rules(report)))
    lines.append(("Cost", say_cost(report.cost)))
    return tuple(lines)


def say_cost(cost: "Cost") -> str:
    """`0.31 USD: 25 min 12 s at 0.7364 USD an hour (2026-08 list price)`; the price's date is never left out."""
    rate = cost.rate
    if rate.usd_per_hour == 0:
        return f"free ({rate.source})"
    if cost.seconds is None:
        return "unknown: SageMaker does not say how many seconds are billed"
    billed = say_duration(cost.seconds) + (f" on {cost.instances} instances" if cost.instances > 1 else "")
    if rate.usd_per_hour is None or cost.usd is None:
        return f"unknown, {billed} billed: {rate.source}"
    told = f"{say_usd(cost.usd)}: {billed} at {rate.usd_per_hour:g}{SPACE}USD an hour ({rate.source})"
    return f"{told}; spot saved {say_usd(cost.spot_saving_usd)}" if cost.spot_saving_usd else told


def say_usd(usd: float) -> str:
    return f"{usd:.2f}{SPACE}USD" if usd >= 0.1 else f"{usd:.2g}{SPACE}USD"


def say_best(report: "Report") -> str:
    best = report.tuning.best if report.tuning else None
    if best is None:
        return report.missing.get("objective") or report.missing["trials"]
    used = "which this job used" if report.used_best else "this job used others"
    return f"{say_values(best.hyperparameters)} ({used})"
