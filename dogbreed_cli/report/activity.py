"""What the machine did while the job ran: system metrics over time, the phases they fell into, how long steps took.

From the profiler's samples and events, thinned to what a chart can show. A percentage is the mean over the instances of
a metric (the cores of a processor, the nodes of a job), anything else their sum.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from dogbreed_cli.report.profile import Event, Profile, Sample

T = TypeVar("T")

POINTS = 160
# Phases shorter than this share of the job would be hairlines in a chart.
SHORTEST_SPAN = 0.004
KINDS = ("cpu", "gpu", "memory", "i/o", "network")
# Samples of one moment are taken within milliseconds of each other; the shortest interval is 100 ms.
MOMENT_DIGITS = 1


@dataclass(frozen=True)
class Line:
    """One metric: its numbers over all moments of sampling, and at most POINTS (`seconds` since the first) to draw."""

    kind: str
    metric: str
    unit: str  # "%", "B/s", or "" for a number of something
    moments: int
    mean: float
    p95: float
    highest: float
    seconds: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Stretch:
    """A phase of the script while it lasted, in seconds since the first sample or event."""

    phase: str
    start: float
    seconds: float


@dataclass(frozen=True)
class Steps:
    """Durations of the steps of one mode (TRAIN or EVAL), in seconds; in `points` (step, median, longest) of a few."""

    mode: str
    count: int
    total: float
    median: float
    p95: float
    longest: float
    points: tuple[tuple[int, float, float], ...]


@dataclass(frozen=True)
class Activity:
    began: float  # epoch seconds
    seconds: float
    lines: tuple[Line, ...]
    stretches: tuple[Stretch, ...]
    steps: tuple[Steps, ...]


def trace_activity(profile: "Profile") -> Activity | None:
    """None where the profiler left nothing."""
    if not profile.samples and not profile.events:
        return None
    began = min([sample.timestamp for sample in profile.samples] + [event.start for event in profile.events])
    ended = max(
        [sample.timestamp for sample in profile.samples] + [event.start + event.seconds for event in profile.events]
    )
    return Activity(
        began=began,
        seconds=ended - began,
        lines=trace_lines(profile.samples, began),
        stretches=trace_stretches(profile.events, began, ended - began),
        steps=trace_steps(profile.events),
    )


def trace_lines(samples: Iterable["Sample"], began: float) -> tuple[Line, ...]:
    """In the order in which their kinds are shown: processors first."""
    series: dict[tuple[str, str], dict[float, list[float]]] = {}
    for sample in samples:
        moments = series.setdefault((sample.type, name_metric(sample)), {})
        moments.setdefault(round(sample.timestamp, MOMENT_DIGITS), []).append(sample.value)
    ranked = sorted(series, key=lambda key: (KINDS.index(key[0]) if key[0] in KINDS else len(KINDS), key))
    return tuple(trace_line(kind, metric, series[kind, metric], began) for kind, metric in ranked)


def name_metric(sample: "Sample") -> str:
    """AWS gives cpu0 the dimension CPUUtilization; MemoryUsedPercent and ReceiveBytesPerSecond are names themselves."""
    return sample.name if sample.dimension in ("", "Algorithm") else sample.dimension


def trace_line(kind: str, metric: str, moments: dict[float, list[float]], began: float) -> Line:
    unit = find_unit(metric)
    combine = fmean if unit == "%" else sum
    times = sorted(moments)
    values = [float(combine(moments[moment])) for moment in times]
    seconds = [max(0.0, moment - began) for moment in times]
    return Line(
        kind=kind,
        metric=metric,
        unit=unit,
        moments=len(values),
        mean=fmean(values),
        p95=find_quantile(values, 0.95),
        highest=max(values),
        seconds=tuple(round(fmean(part), 3) for part in cut(seconds, POINTS)),
        values=tuple(round(fmean(part), 3) for part in cut(values, POINTS)),
    )


def find_unit(metric: str) -> str:
    """AWS's names say it: CPUUtilization, I/OWaitPercentage, ReadThroughputInBytesPerSecond, IOPS."""
    name = metric.lower()
    if "bytes" in name:
        return "B/s"
    return "%" if "utilization" in name or "percent" in name else ""


def trace_stretches(events: Iterable["Event"], began: float, total: float) -> tuple[Stretch, ...]:
    """The script's phases in the order of time; one that goes on after a pause too short to see is one stretch."""
    found: list[Stretch] = []
    for event in sorted((event for event in events if event.category == "phase"), key=lambda event: event.start):
        start, end = event.start - began, event.start - began + event.seconds
        if end - start < SHORTEST_SPAN * total:
            continue
        last = found[-1] if found else None
        if last and last.phase == event.name and start - (last.start + last.seconds) < SHORTEST_SPAN * total:
            found[-1] = Stretch(last.phase, last.start, end - last.start)
        else:
            found.append(Stretch(event.name, start, end - start))
    return tuple(found)


def trace_steps(events: Iterable["Event"]) -> tuple[Steps, ...]:
    """`Step:ModeKeys.TRAIN` is a step of mode TRAIN."""
    modes: dict[str, list[Event]] = {}
    for event in events:
        if event.category == "step":
            modes.setdefault(event.name.rpartition(".")[2], []).append(event)
    return tuple(summarize_steps(mode, modes[mode]) for mode in sorted(modes, reverse=True))


def summarize_steps(mode: str, events: list["Event"]) -> Steps:
    events = sorted(events, key=lambda event: event.start)
    seconds = [event.seconds for event in events]
    numbered = cut(list(enumerate(seconds, 1)), POINTS)
    return Steps(
        mode=mode,
        count=len(seconds),
        total=sum(seconds),
        median=median(seconds),
        p95=find_quantile(seconds, 0.95),
        longest=max(seconds),
        points=tuple((part[0][0], median(s for _, s in part), max(s for _, s in part)) for part in numbered),
    )


def find_quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all do not exceed."""
    ranked = sorted(values)
    return ranked[max(0, -(-len(ranked) * round(share * 100) // 100) - 1)]


def cut(values: Sequence[T], most: int) -> list[Sequence[T]]:
    """At most `most` parts of equal length, each of at least one value."""
    size = -(-len(values) // most)
    return [values[start : start + size] for start in range(0, len(values), size)]
