"""What a job is observed to have done, made up number by number, for the tests of the rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from dogbreed_cli.report.artifacts import Epoch
from dogbreed_cli.report.profile import Event, Profile, Sample
from dogbreed_cli.report.tensors import Point, Tensors
from dogbreed_cli.report.verdict import Observed

NO_TENSORS = Tensors({}, {}, "There is no debug-output.")
NO_PROFILE = Profile((), (), "There is no profiler-output.", ())
LOSS = "CrossEntropyLoss_output_0"
START = 1_700_000_000.0


def observe(**known: Any) -> Observed:
    """A job of which nothing is known but what is given."""
    nothing = {
        "epochs": (), "tensors": NO_TENSORS, "profile": NO_PROFILE, "label_counts": {}, "has_gpu": False,
        "batch_size": None, "phases": {},
    }  # fmt: skip
    return Observed(**{**nothing, **known})


def epochs(train: Sequence[float], validation: Sequence[float] | None = None) -> tuple[Epoch, ...]:
    validation = validation or [float("nan")] * len(train)
    return tuple(Epoch(i + 1, t, v, 0.5, 1.0) for i, (t, v) in enumerate(zip(train, validation, strict=True)))


def point(value: Any, step: int = 0, mode: str = "TRAIN") -> Point:
    return Point(step, mode, np.asarray(value, np.float32), {})


def series(values: Iterable[Any], mode: str = "TRAIN") -> tuple[Point, ...]:
    return tuple(point(value, step, mode) for step, value in enumerate(values))


def reduced(**reductions: float) -> tuple[Point, ...]:
    return (Point(0, "TRAIN", None, reductions), Point(10, "TRAIN", None, reductions))


def tensors(**collections: Mapping[str, tuple[Point, ...]]) -> Tensors:
    points = {name: found for members in collections.values() for name, found in members.items()}
    return Tensors(points, {collection: tuple(members) for collection, members in collections.items()}, None)


def losses(train: Sequence[float]) -> Tensors:
    return tensors(losses={LOSS: series(train)})


def metric(
    values: Sequence[float],
    dimension: str = "GPUUtilization",
    name: str = "gpu0",
    node: str = "algo-1",
    lag: float = 0.0,
) -> list[Sample]:
    """A sample every half second; `lag` seconds after AWS's other threads."""
    kind = "cpu" if name.startswith("cpu") else "gpu"
    return [Sample(kind, name, dimension, node, float(v), START + 0.5 * i + lag) for i, v in enumerate(values)]


def profile(samples: Iterable[Sample] = (), events: Iterable[Event] = ()) -> Profile:
    ordered = sorted(samples, key=lambda sample: sample.timestamp)
    return Profile(tuple(ordered), tuple(sorted(events, key=lambda event: event.start)), None, ())


def steps(seconds: Iterable[float], mode: str = "TRAIN", node: str = "algo-1", start: float = START) -> list[Event]:
    found = []
    for number, lasted in enumerate(seconds):
        found.append(Event(f"Step:ModeKeys.{mode}", "step", node, start, lasted, {"step_num": str(number)}))
        start += lasted
    return found


def parts(times: int, **seconds: float) -> list[Event]:
    """`times` steps of one second, each with its data, forward, backward, ..."""
    found = []
    for number in range(times):
        start = START + number
        for name, lasted in seconds.items():
            found.append(Event(name, "part", "algo-1", start, lasted, {}))
            start += lasted
    return found
