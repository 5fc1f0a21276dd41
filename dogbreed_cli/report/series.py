"""What the debugger's hook saved, as curves: the loss itself, of all other tensors the mean size of their elements."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dogbreed_cli.report.tensors import Point, Tensors

LOSSES = "losses"
# Reductions that tell the size of a tensor, in the order of preference, and how the chart calls them.
SIZES = ("abs_mean", "l2", "std", "abs_max", "max")
POINTS = 160
# Of one collection in one mode; a head has two tensors, a whole ResNet would have hundreds.
MOST_TENSORS = 6


@dataclass(frozen=True)
class Series:
    """A tensor over the steps at which it was saved. `measure` says which number of it: "value", "abs_mean", ..."""

    collection: str
    tensor: str
    mode: str
    measure: str
    steps: tuple[int, ...]
    values: tuple[float, ...]


def trace_tensors(tensors: "Tensors") -> tuple[Series, ...]:
    found: list[Series] = []
    for collection in sorted(tensors.collections, key=lambda name: (name != LOSSES, name)):
        names = [name for name in tensors.collections[collection] if name in tensors.points]
        for name in sorted(names)[:MOST_TENSORS]:
            found += trace_tensor(collection, name, tensors.points[name])
    return tuple(found)


def trace_tensor(collection: str, name: str, points: tuple["Point", ...]) -> list[Series]:
    found = []
    for mode in sorted({point.mode for point in points}, reverse=True):
        measured = [measure(collection, point) for point in points if point.mode == mode]
        # One measure for the whole curve: the hook saves the same of each step.
        kept = [(step, size) for step, kind, size in measured if kind == measured[0][1]]
        thinned = kept[:: -(-len(kept) // POINTS)]
        steps, values = zip(*thinned, strict=True)
        found.append(Series(collection, name, mode, measured[0][1], steps, values))
    return [series for series in found if series.measure]


def measure(collection: str, point: "Point") -> tuple[int, str, float]:
    if point.value is not None and point.value.size:
        if collection == LOSSES:
            return point.step, "value", float(point.value.mean())
        return point.step, "abs_mean", float(abs(point.value).mean())
    return point.step, *pick_size(point.reductions)


def pick_size(reductions: Mapping[str, float]) -> tuple[str, float]:
    for name in SIZES:
        if name in reductions:
            return name, float(reductions[name])
    return "", float("nan")
