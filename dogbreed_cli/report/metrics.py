"""Predictions -> numbers: accuracy and its interval, per class, confusion, mistakes; and phases -> shares of the time.

scikit-learn computes what it has a function for, from predictions.csv: what a job printed about its accuracy is
compared with that, not copied.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from warnings import catch_warnings

from dogbreed_cli.report.artifacts import Prediction
from dogbreed_cli.report.calibration import Calibration, calibrate

# statistics.NormalDist().inv_cdf(0.975), for 95 %; its import would be paid by every `dogbreed --help`.
Z = 1.959963984540054
TOP = 5
MOST_PAIRS = 20
MOST_MISTAKES = 25
# Phases of metrics.json, and those that are parts of the first.
TRAIN, TRAIN_PARTS = "train", ("forward", "backward", "optimizer")


@dataclass(frozen=True)
class Proportion:
    """`correct` of `total`, with the 95 % Wilson score interval: 100 % of 6 images is anything from 61 % up."""

    value: float
    low: float
    high: float
    correct: int
    total: int


@dataclass(frozen=True)
class Averages:
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class ClassScore:
    """One class. Precision is None when nothing was taken for it, recall and its interval when it has no image."""

    label: str
    support: int
    predicted: int
    correct: int
    precision: float | None
    recall: float | None
    recall_low: float | None
    recall_high: float | None
    f1: float | None


@dataclass(frozen=True)
class Confusion:
    """`counts[i][j]`: images of class i taken for class j; `shares` divides each row by its sum (zeros where empty)."""

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    shares: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Pair:
    """Images of class `label` that were taken for `prediction`, and their share of the class."""

    label: str
    prediction: str
    count: int
    share: float


@dataclass(frozen=True)
class Evaluation:
    """All that was measured on one split. Averages are scikit-learn's: over classes that occur, 0 where undefined."""

    split: str
    accuracy: Proportion
    top5: Proportion | None
    loss: float
    macro: Averages
    weighted: Averages
    per_class: tuple[ClassScore, ...]
    confusion: Confusion
    pairs: tuple[Pair, ...]
    mistakes: tuple[Prediction, ...]
    calibration: Calibration | None

    @property
    def empty_classes(self) -> tuple[str, ...]:
        return tuple(score.label for score in self.per_class if not score.support)


@dataclass(frozen=True)
class Phase:
    """`share` is that of the whole time, of `parts` too."""

    name: str
    seconds: float
    share: float
    parts: tuple["Phase", ...] = ()


def evaluate(
    split: str, predictions: Sequence[Prediction], classes: Sequence[str], loss: float | None = None
) -> Evaluation:
    """`predictions` are those of one split, at least one; `classes` also names those that have no image in it.

    `loss` is what the job measured itself: the six decimals of predictions.csv are too few for a sure mistake.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    labels = [row.label for row in predictions]
    guesses = [row.prediction for row in predictions]
    occurring = {*labels, *guesses}
    names = (*classes, *sorted(occurring.difference(classes)))
    averaged = sorted(occurring)

    def average(kind: str) -> Averages:
        precision, recall, f1, _ = precision_recall_fscore_support(
            labels, guesses, labels=averaged, average=kind, zero_division=0
        )
        return Averages(float(precision), float(recall), float(f1))

    with catch_warnings(category=UserWarning, action="ignore"):  # about a single class, although it is given `labels`
        matrix = confusion_matrix(labels, guesses, labels=list(names))
    counts = tuple(tuple(map(int, row)) for row in matrix)
    wrong = [row for row in predictions if row.label != row.prediction]
    return Evaluation(
        split=split,
        accuracy=estimate_proportion(len(predictions) - len(wrong), len(predictions)),
        top5=(
            estimate_proportion(sum(row.label_rank <= TOP for row in predictions), len(predictions))
            if len(names) > TOP
            else None
        ),
        loss=measure_loss(predictions) if loss is None else loss,
        macro=average("macro"),
        weighted=average("weighted"),
        per_class=score_classes(names, labels, guesses),
        confusion=Confusion(names, counts, tuple(share_row(row) for row in counts)),
        pairs=find_pairs(names, counts),
        mistakes=tuple(sorted(wrong, key=rank_mistake)[:MOST_MISTAKES]),
        calibration=calibrate(predictions),
    )


def estimate_proportion(correct: int, total: int) -> Proportion:
    """Wilson's score interval: unlike +-1.96 standard errors it holds for few images and near 0 % and 100 %.

    https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval#Wilson_score_interval
    """
    z = Z
    share = correct / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    # At 0 and `total` rounding would otherwise leave 1e-17 where the formula gives exactly 0 and 1.
    low = 0.0 if correct == 0 else centre - half
    high = 1.0 if correct == total else centre + half
    return Proportion(share, low, high, correct, total)


def measure_loss(predictions: Sequence[Prediction]) -> float:
    """Mean cross-entropy over images. A probability that was rounded to 0.000000 counts as half of the last place."""
    return sum(-math.log(max(row.label_probability, 5e-7)) for row in predictions) / len(predictions)


def score_classes(names: Sequence[str], labels: Sequence[str], guesses: Sequence[str]) -> tuple[ClassScore, ...]:
    from collections import Counter

    from sklearn.metrics import precision_recall_fscore_support

    precision, recall, f1, support = precision_recall_fscore_support(
        labels, guesses, labels=list(names), average=None, zero_division=0
    )
    predicted = Counter(guesses)
    correct = Counter(label for label, guess in zip(labels, guesses, strict=True) if label == guess)
    scores = []
    for i, name in enumerate(names):
        images = int(support[i])
        interval = estimate_proportion(correct[name], images) if images else None
        scores.append(
            ClassScore(
                label=name,
                support=images,
                predicted=predicted[name],
                correct=correct[name],
                precision=float(precision[i]) if predicted[name] else None,
                recall=float(recall[i]) if images else None,
                recall_low=interval.low if interval else None,
                recall_high=interval.high if interval else None,
                f1=float(f1[i]) if images or predicted[name] else None,
            )
        )
    return tuple(scores)


def rank_mistake(row: Prediction) -> tuple[float, str]:
    # nan, which an exploded network predicts, would stand anywhere: it comes last.
    return (-row.probability if math.isfinite(row.probability) else math.inf, row.file)


def share_row(row: Sequence[int]) -> tuple[float, ...]:
    total = sum(row)
    return tuple(count / total if total else 0.0 for count in row)


def find_pairs(names: Sequence[str], counts: Sequence[Sequence[int]]) -> tuple[Pair, ...]:
    pairs = [
        Pair(names[i], names[j], count, count / sum(row))
        for i, row in enumerate(counts)
        for j, count in enumerate(row)
        if i != j and count
    ]
    pairs.sort(key=lambda pair: (-pair.count, -pair.share, pair.label, pair.prediction))
    return tuple(pairs[:MOST_PAIRS])


def share_phases(seconds: Mapping[str, float]) -> tuple[Phase, ...]:
    """Shares of the script's whole time. What a training step consists of is told apart within `train`."""
    total = sum(seconds.values())

    def share(name: str, spent: float, parts: tuple[Phase, ...] = ()) -> Phase:
        return Phase(name, spent, spent / total if total else 0.0, parts)

    parts = tuple(share(name, spent) for name, spent in seconds.items() if name in TRAIN_PARTS)
    whole: dict[str, float] = {}
    for name, spent in seconds.items():
        phase = TRAIN if name in TRAIN_PARTS else name
        whole[phase] = whole.get(phase, 0.0) + spent
    return tuple(share(name, spent, parts if name == TRAIN else ()) for name, spent in whole.items())
