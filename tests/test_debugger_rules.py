"""AWS's debugger rules: each on numbers that trigger it, on numbers that do not, and on none."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from observed_jobs import LOSS, epochs, losses, observe, point, reduced, series, tensors

from dogbreed_cli.report.rules import (
    NOT_EVALUATED,
    NOT_TRIGGERED,
    RULES,
    TRIGGERED,
    Verdict,
    evaluate_rule,
    evaluate_rules,
    to_aws_json,
)
from dogbreed_cli.report.verdict import Observed
from dogbreed_cli.rule_watch import RULES as STOPPING_RULES

NAN, INF = math.nan, math.inf
RANDOM = np.random.default_rng(0)
NOISE = RANDOM.normal(0, 0.1, 200)
FALLING = [4.9 * 0.97**i + noise for i, noise in enumerate(NOISE)]
WEIGHTS = RANDOM.normal(0, 0.02, (5, 40))
OK_GRADIENT = {"gradient/Linear_weight": series([RANDOM.normal(0, 0.01, (5, 40)) for _ in range(12)])}


def judge(name: str, **known: object) -> Verdict:
    return evaluate_rule(name, observe(**known))


def state(name: str, **known: object) -> str:
    return judge(name, **known).state


# ---- the loss


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"tensors": losses(FALLING)}, NOT_TRIGGERED),
        ({"tensors": losses([4.9 + noise for noise in NOISE])}, TRIGGERED),  # lr 0
        ({"tensors": losses([4.9] * 20)}, TRIGGERED),
        ({"tensors": losses([4.9 + i / 10 for i in range(20)])}, TRIGGERED),
        ({"tensors": losses([5.0, 4.0, 3.0, NAN, NAN])}, TRIGGERED),  # lr 100
        ({"tensors": losses([5.0, 4.0, INF, INF, INF])}, TRIGGERED),
        ({"epochs": epochs([4.9, 3.0, 2.0])}, NOT_TRIGGERED),
        ({"epochs": epochs([5.0, 1.0, 1.0, 1.0])}, NOT_TRIGGERED),  # it fell, and stays low
        ({"epochs": epochs([4.9, 4.9, 4.9])}, TRIGGERED),
        ({"epochs": epochs([4.9, 4.905, 4.899, 4.902])}, TRIGGERED),
        ({"epochs": epochs([4.9, NAN])}, TRIGGERED),
        ({"epochs": epochs([4.9, 3.0])}, NOT_EVALUATED),
        ({"tensors": losses([4.9, 3.0]), "epochs": epochs([4.9, 4.9, 4.9])}, TRIGGERED),  # too few batches
        ({}, NOT_EVALUATED),
    ],
)
def test_loss_not_decreasing(known: dict[str, object], expected: str) -> None:
    assert state("LossNotDecreasing", **known) == expected


def test_loss_not_decreasing_says_how_far_it_came() -> None:
    verdict = judge("LossNotDecreasing", tensors=losses([4.0] * 30 + [2.0] * 30))
    assert verdict.evidence == "The training loss went from 4 to 2 (-50.0 %) over 60 saved steps."
    assert "first and of its last points, 10 each" in verdict.threshold
    assert verdict.parameters == {"collection_names": "losses", "num_steps": 10, "diff_percent": 0.1}
    exploded = judge("LossNotDecreasing", epochs=epochs([5.0, NAN, INF]))
    assert "not a number from epoch 2 on" in exploded.evidence
    assert exploded.violations == 2


@pytest.mark.parametrize(
    ("train", "validation", "expected"),
    [
        ([4.0, 2.0, 0.1], [4.0, 2.5, 2.6], TRIGGERED),
        ([4.0, 2.0, 1.0], [3.9, 2.0, 1.05], NOT_TRIGGERED),
        ([4.0, 2.0, 0.0], [3.9, 2.0, 1.0], TRIGGERED),  # a ratio of infinity
        ([4.0, NAN, NAN], [3.9, NAN, INF], NOT_TRIGGERED),  # of those that are numbers
        ([NAN, NAN], [NAN, NAN], NOT_EVALUATED),
        ([4.0, 2.0], None, NOT_EVALUATED),  # no validation images
    ],
)
def test_overfit(train: list[float], validation: list[float] | None, expected: str) -> None:
    assert state("Overfit", epochs=epochs(train, validation)) == expected


def test_overfit_says_where_it_was_best() -> None:
    verdict = judge("Overfit", epochs=epochs([4.0, 2.0, 0.5], [4.0, 2.0, 2.5]))
    assert "In epoch 3 the validation loss (2.5) is 400 % above the training loss (0.5)" in verdict.evidence
    assert "lowest in epoch 2" in verdict.evidence
    assert (verdict.violations, verdict.datapoints) == (1, 3)


def test_overfit_and_overtraining_from_tensors_where_there_are_no_epochs() -> None:
    points, step = [], {"TRAIN": 0, "EVAL": 0}
    for epoch in range(6):
        for mode, loss in (("TRAIN", 4.0 - 0.6 * epoch), ("TRAIN", 4.0 - 0.6 * epoch), ("EVAL", 4.0)):
            points.append(point(loss, step[mode], mode))
            step[mode] += 1
    saved = tensors(losses={LOSS: tuple(points)})
    assert judge("Overfit", tensors=saved).evidence.startswith("In step 11 the validation loss (4) is 300 % above")
    assert state("Overtraining", tensors=saved) == TRIGGERED
    assert state("Overfit", tensors=losses(FALLING)) == NOT_EVALUATED  # no validation
    # Of both sources the epochs count: they are means over all images.
    assert state("Overfit", tensors=saved, epochs=epochs([4.0, 3.0, 2.0], [4.0, 3.0, 2.0])) == NOT_TRIGGERED


@pytest.mark.parametrize(
    ("train", "validation", "expected"),
    [
        ([4.0 - i / 5 for i in range(16)], [4.0, 3.0] + [3.0] * 14, TRIGGERED),
        ([4.0 - i / 5 for i in range(16)], [4.0 - i / 10 for i in range(16)], NOT_TRIGGERED),
        ([1.0] * 6, [1.0] * 6, TRIGGERED),  # neither improves
        ([4.0, 3.0, 2.0, 1.0, 0.9], [4.0, 3.0, 2.0, 1.99, 1.995], NOT_TRIGGERED),  # two epochs in vain
        ([4.0, 3.0, 2.0], [4.0, 3.0, 2.0], NOT_EVALUATED),
        ([], [], NOT_EVALUATED),
    ],
)
def test_overtraining(train: list[float], validation: list[float], expected: str) -> None:
    assert state("Overtraining", epochs=epochs(train, validation)) == expected


def test_patience_is_that_of_aws_in_a_long_job_and_half_of_a_short_one() -> None:
    of_long = judge("Overtraining", epochs=epochs([1.0] * 40, [1.0] * 40)).parameters
    assert of_long == {"patience_train": 5, "patience_validation": 10, "delta": 0.01}
    of_short = judge("Overtraining", epochs=epochs([1.0] * 8, [1.0] * 8)).parameters
    assert of_short == {"patience_train": 4, "patience_validation": 4, "delta": 0.01}


def test_those_that_stop_a_job_need_epochs_only() -> None:
    found = epochs([4.0] * 12, [5.0] * 12)
    assert [state(name, epochs=found) for name in STOPPING_RULES] == [TRIGGERED] * 3


# ---- tensors


def test_vanishing_gradient() -> None:
    tiny = {"gradient/Linear_bias": series([[1e-3], [1e-9], [0.0]])}
    verdict = judge("VanishingGradient", tensors=tensors(gradients={**OK_GRADIENT, **tiny}))
    assert verdict.state == TRIGGERED
    assert (verdict.violations, verdict.datapoints) == (2, 15)
    assert "gradient/Linear_bias from step 1 on" in verdict.evidence
    assert "below 1e-07" in verdict.threshold
    assert state("VanishingGradient", tensors=tensors(gradients=OK_GRADIENT)) == NOT_TRIGGERED
    of_reductions = {"g": reduced(abs_mean=1e-9, std=1.0)}
    assert state("VanishingGradient", tensors=tensors(gradients=of_reductions)) == TRIGGERED
    assert state("VanishingGradient", tensors=tensors(gradients={"g": reduced(abs_mean=NAN)})) == NOT_TRIGGERED


def test_vanishing_gradient_without_gradients_or_their_size() -> None:
    assert judge("VanishingGradient").evidence == "There is no debug-output."
    missing = judge("VanishingGradient", tensors=losses(FALLING))
    assert (missing.state, missing.evidence) == (NOT_EVALUATED, "No tensor of gradients was saved.")
    assert "debugger.collections" in missing.advice
    unknown = judge("VanishingGradient", tensors=tensors(gradients={"g": reduced(std=1e-12)}))
    assert unknown.state == NOT_EVALUATED
    assert "abs_mean" in unknown.advice


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_exploding_tensor(bad: float) -> None:
    verdict = judge(
        "ExplodingTensor", tensors=tensors(weights={"w": series([WEIGHTS, np.where(WEIGHTS > 0.04, bad, 0)])})
    )
    assert verdict.state == TRIGGERED
    assert (verdict.violations, verdict.datapoints) == (1, 2)
    assert "w from step 1 on" in verdict.evidence
    assert state("ExplodingTensor", tensors=tensors(weights={"w": reduced(mean=bad, std=1.0)})) == TRIGGERED
    assert "first in epoch 2" in judge("ExplodingTensor", epochs=epochs([4.0, bad])).evidence


def test_tensors_that_do_not_explode() -> None:
    assert state("ExplodingTensor", tensors=tensors(weights={"w": series([WEIGHTS])})) == NOT_TRIGGERED
    of_one_element = {"b": reduced(mean=1.0, std=NAN)}  # torch's deviation of one number
    assert state("ExplodingTensor", tensors=tensors(biases=of_one_element)) == NOT_TRIGGERED
    assert state("ExplodingTensor", tensors=tensors(custom={"labels": (point([1, 2]),)})) == NOT_TRIGGERED
    nothing = judge("ExplodingTensor", epochs=epochs([4.0, 3.0]))
    assert nothing.state == NOT_EVALUATED
    assert "losses of the 2 epochs are finite" in nothing.evidence


def test_poor_weight_initialization() -> None:
    flat = {"gradient/a": series([np.full((5, 4), 1e-6)] * 12)}
    stuck, learning = {LOSS: series([4.9] * 12)}, {LOSS: series(np.linspace(4.9, 3, 12))}
    assert state("PoorWeightInitialization", tensors=tensors(gradients=flat, losses=stuck)) == TRIGGERED
    assert state("PoorWeightInitialization", tensors=tensors(gradients=flat, losses=learning)) == NOT_TRIGGERED
    assert state("PoorWeightInitialization", tensors=tensors(gradients=OK_GRADIENT, losses=stuck)) == NOT_TRIGGERED
    of_reductions = {"gradient/a": reduced(std=1e-5)}
    assert state("PoorWeightInitialization", tensors=tensors(gradients=of_reductions, losses=stuck)) == TRIGGERED
    assert state("PoorWeightInitialization") == NOT_EVALUATED
    assert state("PoorWeightInitialization", tensors=tensors(gradients={"g": reduced(mean=1.0)})) == NOT_EVALUATED


def test_weights_of_layers_are_compared_at_equal_fan_in() -> None:
    # Kaiming's variances, 1/400 and 1/4, differ by a hundred and are both right.
    right = {"a": series([RANDOM.normal(0, 400**-0.5, (50, 400))]), "b": series([RANDOM.normal(0, 4**-0.5, (50, 4))])}
    wrong = {**right, "b": series([RANDOM.normal(0, 4, (50, 4))])}
    assert state("PoorWeightInitialization", tensors=tensors(gradients=OK_GRADIENT, weights=right)) == NOT_TRIGGERED
    assert state("PoorWeightInitialization", tensors=tensors(gradients=OK_GRADIENT, weights=wrong)) == TRIGGERED


def test_dead_relu() -> None:
    alive = RANDOM.normal(0, 1, (8, 6)).clip(0)
    dead = alive * (np.arange(6) < 2)
    assert state("DeadRelu", tensors=tensors(custom={"relu_output_0": series([alive])})) == NOT_TRIGGERED
    verdict = judge("DeadRelu", tensors=tensors(custom={"layer.ReLU_output_0": series([alive, dead])}))
    assert verdict.state == TRIGGERED
    assert "At most 67 % of a layer's ReLUs are dead (layer.ReLU_output_0, step 1" in verdict.evidence
    assert state("DeadRelu", tensors=losses(FALLING)) == NOT_EVALUATED


def test_class_imbalance() -> None:
    verdict = judge("ClassImbalance", label_counts={"Akita": 110, "Beagle": 10, "Collie": 60})
    assert (verdict.state, verdict.violations, verdict.datapoints) == (TRIGGERED, 1, 3)
    assert "Akita has 110 training images, Beagle has 10: a ratio of 11." in verdict.evidence
    assert state("ClassImbalance", label_counts={"Akita": 100, "Beagle": 10}) == NOT_TRIGGERED
    missing = judge("ClassImbalance", label_counts={"Akita": 5, "Beagle": 0})
    assert (missing.state, missing.evidence[:48]) == (TRIGGERED, "Akita has 5 training images, Beagle has none. 1 ")
    for nothing in ({}, {"Akita": 5}, {"Akita": 0, "Beagle": 0}):
        assert state("ClassImbalance", label_counts=nothing) == NOT_EVALUATED


def test_all_zero() -> None:
    zeros = {"gradient/a": series([WEIGHTS, WEIGHTS * 0, WEIGHTS])}
    verdict = judge("AllZero", tensors=tensors(gradients={**OK_GRADIENT, **zeros}))
    assert (verdict.state, verdict.violations) == (TRIGGERED, 1)
    assert "gradient/a from step 1 on" in verdict.evidence
    initial = {"w": series([WEIGHTS * 0, WEIGHTS])}  # a head that starts at zero
    assert state("AllZero", tensors=tensors(weights=initial)) == NOT_TRIGGERED
    assert state("AllZero", tensors=tensors(gradients={"g": reduced(abs_mean=0.0)})) == TRIGGERED
    assert state("AllZero", tensors=tensors(gradients={"g": reduced(min=0.0, max=0.0)})) == TRIGGERED
    assert state("AllZero", tensors=tensors(gradients={"g": reduced(min=0.0, max=1.0)})) == NOT_TRIGGERED
    assert state("AllZero", tensors=tensors(gradients={"g": reduced(mean=0.0)})) == NOT_EVALUATED
    assert state("AllZero") == NOT_EVALUATED


# ---- all of them


def observed_jobs() -> list[Observed]:
    broken = tensors(
        losses={LOSS: series([NAN, INF, -INF, 1.0, NAN])},
        gradients={"g": series([WEIGHTS * NAN, WEIGHTS * INF]), "empty": (point(np.zeros((0,))),)},
        weights={"w": reduced(mean=NAN, abs_mean=INF, std=NAN, min=-INF, max=INF)},
    )
    return [
        observe(),
        observe(
            tensors=broken, epochs=epochs([NAN, INF, 1.0, 2.0], [INF, NAN, INF, 1.0]), label_counts={"a": 0, "b": 3}
        ),
        observe(epochs=epochs([0.0] * 5, [0.0] * 5), tensors=losses([0.0] * 30), label_counts={"a": 1, "b": 1}),
    ]


@pytest.mark.parametrize("observed", observed_jobs())
def test_every_verdict_is_whole_whatever_the_numbers(observed: Observed) -> None:
    with np.errstate(all="ignore"):
        verdicts = evaluate_rules(observed)
    assert [verdict.rule for verdict in verdicts] == list(RULES)
    for verdict in verdicts:
        assert verdict.evidence
        assert verdict.threshold
        assert verdict.evidence[-1] == "."
        assert "{" not in verdict.threshold + verdict.evidence
        document = to_aws_json(verdict)
        assert list(document) == ["RuleTriggered", "Violations", "Details", "Datapoints", "RuleParameters"]
        json.dumps(document, allow_nan=False)


def test_a_rule_without_data_is_never_without_an_issue() -> None:
    assert {verdict.state for verdict in evaluate_rules(observe())} == {NOT_EVALUATED}
    document = to_aws_json(judge("Overfit"))
    assert (document["RuleTriggered"], document["Datapoints"]) == (0, 0)
    assert "history.csv" in document["Details"]["NotEvaluated"]


def test_the_json_of_a_rule_is_that_of_aws() -> None:
    document = to_aws_json(judge("ClassImbalance", label_counts={"Akita": 5, "Beagle": 0}))
    assert document == {
        "RuleTriggered": 1,
        "Violations": 1,
        "Details": {"ratio": None, "classes": ["Beagle"]},
        "Datapoints": 2,
        "RuleParameters": "threshold_imbalance:10.0",
    }
