"""AWS's debugger rules that look at the loss: LossNotDecreasing, Overfit, Overtraining.

history.csv has the mean loss over all images of each epoch, the hook's tensors that of single batches. Overfit and
Overtraining compare two losses with each other, so they take the epochs where there are any: a few saved batches of
validation images, which are not shuffled, tell more of their breeds than of the model. LossNotDecreasing asks for the
trend of one loss, of which the tensors have more points. Each takes the other source where its own is missing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from dogbreed_cli.report.verdict import Finding, NotEvaluated, Observed, rule, say
from dogbreed_cli.report.wording import count_noun

NO_LOSSES = (
    "There is neither a history.csv with losses of epochs nor a saved loss tensor.",
    "A job that ends with an epoch writes history.csv; debugger.collections with losses saves those of batches.",
)
# A trend needs a beginning, an end and something between them.
FEWEST = 3


@dataclass(frozen=True)
class Losses:
    """A training loss and, where known, the validation loss of the same moments. `unit`: step | epoch."""

    unit: str
    numbers: np.ndarray  # of the steps or epochs
    train: np.ndarray
    validation: np.ndarray


def read_epochs(observed: Observed) -> Losses | None:
    if not observed.epochs:
        return None
    columns = [(epoch.epoch, epoch.train_loss, epoch.validation_loss) for epoch in observed.epochs]
    numbers, train, validation = (np.array(column, float) for column in zip(*columns, strict=True))
    return Losses("epoch", numbers.astype(int), train, validation)


def read_batches(observed: Observed) -> list[tuple[str, int, float]]:
    """(mode, step, loss) of the saved batches in the order of saving; the mean where there are several losses."""
    found: dict[tuple[str, int], list[float]] = {}
    for name in observed.tensors.collections.get("losses", ()):
        for point in observed.tensors.points[name]:
            if point.value is not None and point.value.size:
                mode = "EVAL" if point.mode == "EVAL" else "TRAIN"  # GLOBAL: smdebug was told no mode
                found.setdefault((mode, point.step), []).append(float(np.mean(point.value, dtype=float)))
    return [(mode, step, sum(values) / len(values)) for (mode, step), values in found.items()]


def read_train_batches(observed: Observed) -> Losses | None:
    batches = sorted((step, loss) for mode, step, loss in read_batches(observed) if mode == "TRAIN")
    if len(batches) < FEWEST:
        return None
    steps, losses = zip(*batches, strict=True)
    return Losses("step", np.array(steps), np.array(losses), np.full(len(losses), math.nan))


def read_evaluations(observed: Observed) -> Losses | None:
    """The mean loss of the batches of each evaluation, beside that of the training batches before it."""
    rows, train = [], []
    for mode, group in groupby(read_batches(observed), key=lambda batch: batch[0]):
        batches = list(group)
        if mode == "TRAIN":
            train = batches
        elif train:
            means = [float(np.mean([loss for _, _, loss in part])) for part in (train, batches)]
            rows.append((train[-1][1], *means))
    if not rows:
        return None
    numbers, of_train, of_validation = (np.array(column) for column in zip(*rows, strict=True))
    return Losses("step", numbers, of_train, of_validation)


@rule(
    "debugger",
    threshold="The training loss has to fall by {diff_percent} % between the mean of its first and of its last points, "
    "{num_steps} each, and by more than it rises and falls on the way.",
    advice="Raise the learning rate by a factor of 3 to 10; if the loss jumps about or grows, lower it instead. If "
    "neither helps, check that labels and images belong together and that the trained layers are not frozen.",
)
def loss_not_decreasing(
    observed: Observed, collection_names: str = "losses", num_steps: int = 10, diff_percent: float = 0.1
) -> Finding:
    losses = read_train_batches(observed) or read_epochs(observed)
    if losses is None:
        raise NotEvaluated(*NO_LOSSES)
    values, unit = losses.train, losses.unit
    broken = ~np.isfinite(values)
    if broken.any():
        at = losses.numbers[int(broken.argmax())]
        evidence = (
            f"The training loss is {say(values[int(broken.argmax())])} from {unit} {at} on: it decreases no more."
        )
        return Finding(True, evidence, int(broken.sum()), len(values), {f"{unit}s": losses.numbers[broken].tolist()})
    if len(values) < FEWEST:
        raise NotEvaluated(
            f"{count_noun(len(values), unit)} tell no trend; it takes {FEWEST}.", "Train for more epochs."
        )
    window = max(1, min(num_steps, len(values) // FEWEST))
    first, last = float(values[:window].mean()), float(values[-window:].mean())
    # What it rises from one point to the next is noise: a loss that only falls has none.
    rises = np.diff(values)
    rises = rises[rises > 0]
    noise = 2 * float(np.sqrt(np.mean(rises**2) / window)) if len(rises) else 0.0
    triggered = first - last <= max(diff_percent / 100 * abs(first), noise)
    change = (last - first) / first if first else 0.0
    evidence = (
        f"The training loss went from {say(first)} to {say(last)} ({100 * change:+.1f} %) over "
        f"{count_noun(len(values), 'saved ' + unit if unit == 'step' else unit)}"
    )
    evidence += f"; {say(noise)} of that may be noise." if noise else "."
    rising = values[window:] >= values[:-window]
    details = {"first": first, "last": last, "noise": noise, "unit": unit, "change_percent": 100 * change}
    return Finding(triggered, evidence, int(rising.sum()), len(rising), details, {"num_steps": window})


@rule(
    "debugger",
    threshold="The validation loss may be above the training loss by {ratio_threshold:.0%} of it; more than that for "
    "{patience} epoch(s) in a row is overfitting.",
    advice="Give it more or more varied images, raise weight decay or label smoothing, train fewer layers, or stop at "
    "the best epoch (train.patience). A gap while the validation loss still falls costs nothing yet.",
)
def overfit(observed: Observed, start_step: int = 0, patience: int = 1, ratio_threshold: float = 0.1) -> Finding:
    losses = both_losses(observed)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = (losses.validation - losses.train) / losses.train
    over = (ratios > ratio_threshold) & (losses.numbers >= start_step)
    run = longest_run(over)
    worst = int(np.nanargmax(np.where(np.isfinite(ratios), ratios, -np.inf)))
    best = int(np.nanargmin(losses.validation))
    evidence = (
        f"In {losses.unit} {losses.numbers[-1]} the validation loss ({say(losses.validation[-1])}) is "
        f"{say_gap(ratios[-1])} the training loss ({say(losses.train[-1])})"
    )
    if worst != len(ratios) - 1:
        evidence += f", in {losses.unit} {losses.numbers[worst]} {say_gap(ratios[worst])} it"
    evidence += f". The validation loss was lowest in {losses.unit} {losses.numbers[best]}."
    details = {losses.unit: losses.numbers.tolist(), "ratio": ratios.tolist(), "longest_run": run}
    return Finding(run >= patience, evidence, int(over.sum()), len(over), details)


@rule(
    "debugger",
    threshold="Overtraining is a validation loss that has not improved by {delta} for {patience_validation} epochs, or "
    "one that has not for {patience_train} epochs in which the training loss has not either.",
    advice="Stop earlier: set train.epochs to about the best epoch, or let train.patience end the job. The model that "
    "is saved is the best epoch's anyway; the epochs after it were paid for and gave nothing.",
)
def overtraining(
    observed: Observed, patience_train: int = 5, patience_validation: int = 10, delta: float = 0.01
) -> Finding:
    losses = both_losses(observed)
    total = len(losses.numbers)
    # Half of a short job: AWS's 10 epochs would never pass in it.
    scaled = {
        "patience_train": min(patience_train, max(3, total // 2)),
        "patience_validation": min(patience_validation, max(3, total // 2)),
    }
    if total < FEWEST + 1:
        raise NotEvaluated(
            f"{count_noun(total, losses.unit)} are too few: nothing can fail to improve for 3 of them.", "Train longer."
        )
    stalls = {"train": stalled(losses.train, delta), "validation": stalled(losses.validation, delta)}
    triggered = stalls["validation"] >= scaled["patience_validation"] or (
        min(stalls.values()) >= scaled["patience_train"]
    )
    best = total - 1 - stalls["validation"]
    evidence = (
        f"The validation loss last improved by more than {delta} in {losses.unit} {losses.numbers[best]} of "
        f"{losses.numbers[-1]} (to {say(losses.validation[best])}), the training loss in {losses.unit} "
        f"{losses.numbers[total - 1 - stalls['train']]}."
    )
    return Finding(triggered, evidence, stalls["validation"], total, {"stalled": stalls, "unit": losses.unit}, scaled)


def both_losses(observed: Observed) -> Losses:
    """Those moments that have a validation loss; NotEvaluated where there are none."""
    losses = read_epochs(observed)
    if losses is None or not np.isfinite(losses.validation).any():
        losses = read_evaluations(observed) or losses
    if losses is None:
        raise NotEvaluated(*NO_LOSSES)
    # A loss of nan was not measured, or exploded: neither can be compared.
    known = np.isfinite(losses.train) & np.isfinite(losses.validation)
    if not known.any():
        raise NotEvaluated(
            "No epoch has both a training and a validation loss that are finite numbers.",
            "Upload images for validation (valid/), and see ExplodingTensor.",
        )
    return Losses(losses.unit, losses.numbers[known], losses.train[known], losses.validation[known])


def stalled(values: Sequence[float] | np.ndarray, delta: float) -> int:
    """How many of the last values went by since one was lower than all before it by more than `delta`."""
    best, since = math.inf, 0
    for value in values:
        since += 1
        if value < best - delta:
            best, since = value, 0
    return since


def longest_run(flags: np.ndarray) -> int:
    return max((sum(1 for _ in group) for flag, group in groupby(flags.tolist()) if flag), default=0)


def say_gap(ratio: float) -> str:
    if math.isnan(ratio):  # of zeros
        return "equal to"
    if math.isinf(ratio):
        return "incomparably far above"
    return f"{100 * abs(ratio):,.0f} % {'above' if ratio >= 0 else 'below'}"
