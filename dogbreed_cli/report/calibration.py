"""Whether the model means what it says: of the images it is 80 % sure about, 80 % should be right."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dogbreed_cli.report.artifacts import Prediction

BINS = 10


@dataclass(frozen=True)
class Bin:
    """The predictions whose probability is above `low` and at most `high`: their mean, and the share that was right."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """`error` is the expected calibration error: |accuracy - confidence|, averaged over images by way of `bins`.

    Empty bins are left out. Guo et al., On Calibration of Modern Neural Networks, https://arxiv.org/abs/1706.04599
    """

    error: float
    confidence: float
    accuracy: float
    bins: tuple[Bin, ...]


def calibrate(predictions: Sequence[Prediction]) -> Calibration | None:
    """None where no prediction has a probability: an exploded network predicts nan."""
    rows = [row for row in predictions if math.isfinite(row.probability)]
    if not rows:
        return None
    filled: dict[int, list[Prediction]] = {}
    for row in rows:
        filled.setdefault(place(row.probability), []).append(row)
    bins = tuple(fill_bin(number, filled[number]) for number in sorted(filled))
    return Calibration(
        error=sum(one.count * abs(one.accuracy - one.confidence) for one in bins) / len(rows),
        confidence=sum(row.probability for row in rows) / len(rows),
        accuracy=sum(row.label == row.prediction for row in rows) / len(rows),
        bins=bins,
    )


def place(probability: float) -> int:
    """The number of the bin; an edge belongs to the bin below it, and 0 to the first."""
    return min(max(math.ceil(probability * BINS) - 1, 0), BINS - 1)


def fill_bin(number: int, rows: Sequence[Prediction]) -> Bin:
    return Bin(
        low=number / BINS,
        high=(number + 1) / BINS,
        count=len(rows),
        confidence=sum(row.probability for row in rows) / len(rows),
        accuracy=sum(row.label == row.prediction for row in rows) / len(rows),
    )
