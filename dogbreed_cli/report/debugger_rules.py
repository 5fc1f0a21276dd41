"""AWS's debugger rules that look at tensors and labels: gradients, weights, activations, numbers of images.

The hook saves whole tensors or only their reductions (debugger.reductions); a rule takes what is there. Without whole
tensors the spread of a gradient is that of a normal distribution with its standard deviation.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from dogbreed_cli.report.loss_rules import read_batches
from dogbreed_cli.report.verdict import Finding, NotEvaluated, Observed, rule, say, say_share
from dogbreed_cli.report.wording import count_noun

if TYPE_CHECKING:
    from dogbreed_cli.report.tensors import Point

# The hook's regular expression for the outputs of a ReLU, as AWS's rule has it.
RELU_OUTPUT = ("relu_output", "relu_0_output")
# 5th to 95th percentile of a normal distribution, in standard deviations.
NORMAL_SPREAD = 3.29
# Reductions that are not a number for a tensor of one element, however healthy it is.
SPREADS = ("std", "abs_std", "variance", "abs_variance")
NAMED = 3


def in_collections(observed: Observed, *collections: str) -> dict[str, tuple["Point", ...]]:
    """The tensors of the collections by name; NotEvaluated where none was saved."""
    tensors = observed.tensors
    names = [name for collection in collections for name in tensors.collections.get(collection, ())]
    if not names:
        why = tensors.why or f"No tensor of {' or '.join(collections)} was saved."
        raise NotEvaluated(why, f"Name {' or '.join(collections)} in debugger.collections.")
    return {name: tensors.points[name] for name in dict.fromkeys(names)}


def each(tensors: Mapping[str, tuple["Point", ...]]) -> Iterator[tuple[str, "Point"]]:
    return ((name, point) for name, points in tensors.items() for point in points)


def abs_mean(point: "Point") -> float | None:
    if point.value is not None and point.value.size:
        return float(np.abs(point.value).mean(dtype=float))
    return point.reductions.get("abs_mean")


def is_zero(point: "Point", threshold: float) -> bool | None:
    """Whether `threshold` percent of the values are zero; of reductions only 100 % can be told."""
    if point.value is not None and point.value.size:
        return 100.0 * float(np.mean(point.value == 0)) >= threshold
    known = [point.reductions[name] for name in ("abs_mean", "abs_max", "l1", "l2") if name in point.reductions]
    if not known and {"min", "max"} <= point.reductions.keys():
        known = [point.reductions["min"], point.reductions["max"]]
    return all(number == 0 for number in known) if known else None


def worst_number(point: "Point", only_nan: bool) -> float | None:
    """A number of the tensor that is not finite, None where all are."""
    numbers: Iterable[float] = ()
    if point.value is not None and np.issubdtype(point.value.dtype, np.inexact):
        bad = np.isnan(point.value) if only_nan else ~np.isfinite(point.value)
        numbers = point.value[bad][:1].real if bad.any() else ()
    elif point.value is None:
        kept = [number for name, number in point.reductions.items() if name not in SPREADS] or (
            list(point.reductions.values())
        )
        numbers = [number for number in kept if math.isnan(number) or (not only_nan and math.isinf(number))]
    return next((float(number) for number in numbers), None)


def name_some(found: Mapping[str, int]) -> str:
    """`a from step 3 on, b from step 5 on and 2 more tensors`."""
    parts = [f"{name} from step {step} on" for name, step in list(found.items())[:NAMED]]
    return ", ".join(parts) + (f" and {count_noun(len(found) - NAMED, 'more tensor')}" if len(found) > NAMED else "")


def first_steps(found: Iterable[tuple[str, int]]) -> dict[str, int]:
    first: dict[str, int] = {}
    for name, step in found:
        first.setdefault(name, step)
    return dict(sorted(first.items(), key=lambda item: item[1]))


@rule(
    "debugger",
    threshold="A gradient vanishes when the mean of its absolute values is below {threshold:g}.",
    advice="Raise the learning rate, put normalisation before the layer, or start from other weights. If the loss is "
    "low already, the model has learnt these images by heart and the job can end here.",
)
def vanishing_gradient(observed: Observed, threshold: float = 1e-7) -> Finding:
    sizes = [
        (name, point.step, size)
        for name, point in each(in_collections(observed, "gradients"))
        if (size := abs_mean(point)) is not None
    ]
    if not sizes:
        raise NotEvaluated(
            "The gradients were saved without the mean of their absolute values.",
            "Add abs_mean to debugger.reductions.",
        )
    small = [(name, step) for name, step, size in sizes if size < threshold]
    name, step, least = min(sizes, key=lambda row: row[2] if row[2] == row[2] else math.inf)
    evidence = (
        f"The smallest of {count_noun(len(sizes), 'saved gradient')} is {say(least)} on average ({name}, step {step})."
    )
    if small:
        evidence = f"{say_share(len(small), len(sizes))} of them vanish: {name_some(first_steps(small))}. {evidence}"
    details = {"smallest": least, "tensors": first_steps(small)}
    return Finding(bool(small), evidence, len(small), len(sizes), details)


@rule(
    "debugger",
    threshold="Every number has to be finite: neither infinite nor not-a-number.",
    advice="Lower the learning rate by a factor of 10, clip the gradients, or train without bfloat16. What follows the "
    "first bad number teaches nothing: end such a job.",
)
def exploding_tensor(observed: Observed, only_nan: bool = False) -> Finding:
    points = [(name, point) for name, points in observed.tensors.points.items() for point in points]
    bad = [(name, point.step) for name, point in points if worst_number(point, only_nan) is not None]
    lost = [epoch.epoch for epoch in observed.epochs if not math.isfinite(epoch.train_loss)]
    details = {"tensors": first_steps(bad), "epochs": lost}
    if bad:
        evidence = f"Numbers that are not finite stand in {len(bad):,} of {count_noun(len(points), 'saving')}: "
        return Finding(True, f"{evidence}{name_some(first_steps(bad))}.", len(bad), len(points), details)
    if lost:
        epochs = count_noun(len(observed.epochs), "epoch")
        evidence = f"The training loss is no finite number in {len(lost)} of {epochs}, first in epoch {lost[0]}."
        return Finding(True, evidence, len(lost), len(observed.epochs), details)
    if not points:
        losses = f" The losses of the {len(observed.epochs)} epochs are finite." if observed.epochs else ""
        raise NotEvaluated(f"{observed.tensors.why}{losses}", "Turn the debugger on (debugger.enabled).")
    names = len(observed.tensors.points)
    evidence = f"All numbers of {count_noun(len(points), 'saving')} of {count_noun(names, 'tensor')} are finite."
    return Finding(False, evidence, 0, len(points), details)


@rule(
    "debugger",
    threshold="Over the first {steps} savings: spreads of weights that differ by more than a factor of {threshold:g} "
    "between layers, or gradients within {distribution_range:g} (5th to 95th percentile) while the loss does not fall.",
    advice="Initialise with Kaiming's or Xavier's scheme, or start from pretrained weights (model.weights).",
)
def poor_weight_initialization(
    observed: Observed, threshold: float = 10.0, distribution_range: float = 0.001, patience: int = 5, steps: int = 10
) -> Finding:
    gradients = in_collections(observed, "gradients")
    early = [point for points in gradients.values() for point in points[:steps]]
    spreads = [spread for point in early if (spread := spread_of(point)) is not None]
    # Good schemes give each layer a variance of 1/fan-in: without the shape, layers cannot be compared.
    weights = {name: points[0].value for name, points in weights_of(observed).items() if points[0].value is not None}
    scales = {name: float(w.var(dtype=float)) * w[0].size for name, w in weights.items() if w.ndim > 1 and w.var() > 0}
    if not spreads and len(scales) < 2:
        raise NotEvaluated(
            "The gradients were saved without their spread, and there are not two layers of weights to compare.",
            "Add std to debugger.reductions, or save whole tensors.",
        )
    losses = [loss for mode, _, loss in read_batches(observed) if mode == "TRAIN"][: steps + 1]
    falls = len(losses) < 2 or min(losses[1 : patience + 1]) < losses[0]
    ratio = max(scales.values()) / min(scales.values()) if len(scales) > 1 else None
    narrow = [spread for spread in spreads if spread < distribution_range]
    uneven = ratio is not None and ratio > threshold
    said = [f"The narrowest gradient spreads over {say(min(spreads))}"] if spreads else []
    said.append(
        f"the first losses {'fall' if falls else 'do not fall'}" if len(losses) > 1 else "no first loss is known"
    )
    if ratio:
        said.append(f"weights differ by a factor of {say(ratio)} between layers")
    evidence = ", ".join(said) + "."
    details = {"weight_ratio": ratio, "narrowest_gradient": min(spreads, default=None), "first_losses": losses}
    triggered = uneven or (bool(narrow) and not falls)
    return Finding(triggered, evidence[0].upper() + evidence[1:], len(narrow) + uneven, len(spreads), details)


def weights_of(observed: Observed) -> dict[str, tuple["Point", ...]]:
    return {name: observed.tensors.points[name] for name in observed.tensors.collections.get("weights", ())}


def spread_of(point: "Point") -> float | None:
    """5th to 95th percentile."""
    if point.value is not None and point.value.size > 1:
        low, high = np.quantile(point.value, (0.05, 0.95))
        return float(high - low)
    deviation = point.reductions.get("std")
    return NORMAL_SPREAD * deviation if deviation is not None and math.isfinite(deviation) else None


@rule(
    "debugger",
    threshold="A ReLU is dead when less than {threshold_inactivity:g} % of its outputs are above zero; in no layer may "
    "more than {threshold_layer:g} % be dead.",
    advice="Lower the learning rate, initialise biases slightly above zero, or use LeakyReLU or GELU in that layer.",
)
def dead_relu(observed: Observed, threshold_inactivity: float = 1.0, threshold_layer: float = 50.0) -> Finding:
    outputs = [
        (name, point)
        for name, points in observed.tensors.points.items()
        for point in points
        if any(pattern in name.lower() for pattern in RELU_OUTPUT) and point.value is not None and point.value.ndim > 1
    ]
    if not outputs:
        raise NotEvaluated(
            "No outputs of a ReLU were saved: the hook sees the head, which has none, and saving those of a backbone "
            "costs about as much time as the training.",
            "For a head with a ReLU name custom in debugger.collections and its outputs in debugger.include.",
        )
    shares = [(name, point.step, dead_share(point.value, threshold_inactivity)) for name, point in outputs]
    dead = [(name, step) for name, step, share in shares if share > threshold_layer]
    name, step, most = max(shares, key=lambda row: row[2])
    evidence = f"At most {most:.0f} % of a layer's ReLUs are dead ({name}, step {step}; {len(shares):,} outputs saved)."
    return Finding(bool(dead), evidence, len(dead), len(shares), {"tensors": first_steps(dead), "most_percent": most})


def dead_share(outputs: np.ndarray | None, threshold_inactivity: float) -> float:
    """Percent of the channels, (batch, channels, ...), with less than `threshold_inactivity` percent above zero."""
    assert outputs is not None
    active = (outputs > 0).mean(axis=tuple(axis for axis in range(outputs.ndim) if axis != 1))
    return 100.0 * float(np.mean(100 * active < threshold_inactivity))


@rule(
    "debugger",
    threshold="The largest class may have at most {threshold_imbalance:g} times the training images of the smallest.",
    advice="Add images of the small classes, or weight the classes (train.class_weights); and read macro F1 instead of "
    "accuracy, which the large classes decide.",
)
def class_imbalance(observed: Observed, threshold_imbalance: float = 10.0) -> Finding:
    counts = observed.label_counts
    if len(counts) < 2:
        why = (
            "metrics.json does not say how many training images each class has."
            if not counts
            else "There is one class."
        )
        raise NotEvaluated(why, "Train with this version of dogbreed, which counts them.")
    least, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    if not counts[most]:
        raise NotEvaluated("No class has a training image.", "Upload images for training (train/).")
    ratio = counts[most] / counts[least] if counts[least] else math.inf
    few = [name for name, number in counts.items() if number * threshold_imbalance < counts[most]]
    smallest = f"{counts[least]:,}: a ratio of {say(ratio)}" if counts[least] else "none"
    evidence = f"{most} has {count_noun(counts[most], 'training image')}, {least} has {smallest}."
    if ratio == 1:
        evidence = f"Each of the {len(counts)} classes has {count_noun(counts[most], 'training image')}."
    elif few:
        evidence += f" {len(few)} of {count_noun(len(counts), 'class')} are beyond the threshold."
    return Finding(bool(few), evidence, len(few), len(counts), {"ratio": ratio, "classes": few})


@rule(
    "debugger",
    threshold="In no saving of a tensor but its first, the initial values, may {threshold:g} % of its values be zero.",
    advice="A gradient of zero means that the layer is frozen, cut off from the loss, or behind dead ReLUs; weights of "
    "zero never start to learn when all are the same.",
)
def all_zero(observed: Observed, threshold: float = 100.0) -> Finding:
    tensors = in_collections(observed, "gradients", "weights", "losses", "custom")
    later = {name: points[1:] if len(points) > 1 else points for name, points in tensors.items()}
    judged = [
        (name, point.step, zero) for name, point in each(later) if (zero := is_zero(point, threshold)) is not None
    ]
    if not judged:
        raise NotEvaluated(
            "Only reductions were saved, none of which tells zeros.", "Add abs_mean to debugger.reductions."
        )
    zeros = [(name, step) for name, step, zero in judged if zero]
    evidence = (
        f"{len(zeros):,} of {count_noun(len(judged), 'saving')} of {count_noun(len(later), 'tensor')} are all zero"
    )
    evidence += f": {name_some(first_steps(zeros))}." if zeros else "."
    return Finding(bool(zeros), evidence, len(zeros), len(judged), {"tensors": first_steps(zeros)})
