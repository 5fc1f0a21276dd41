"""`train --stop-on-rule`: a job that learns nothing more is stopped, with the reason; one that does well is not."""

from __future__ import annotations

import pytest
from conftest import Dogbreed

from dogbreed_cli.rule_watch import RULES, RuleWatch

# As entrypoints/train.py says an epoch.
LINE = "epoch={} train:loss={} validation:loss={} validation:accuracy=0.5 seconds=0.1"


def watched(rule: str, losses: list[tuple[float, float]]) -> tuple[RuleWatch, int | None]:
    """The watch, and the epoch at which the rule fired."""
    watch, fired = RuleWatch((rule,)), None
    for epoch, (train, valid) in enumerate(losses, 1):
        watch.read("a line about something else")
        if watch.read(LINE.format(epoch, train, valid)):
            fired = epoch
    return watch, fired


@pytest.mark.parametrize(
    ("rule", "losses"),
    [
        ("Overfit", [(1.0 / n, 0.5 + 0.05 * n) for n in range(1, 20)]),
        ("Overtraining", [(1.0 / n, max(0.5, 1.0 / n)) for n in range(1, 30)]),
        ("LossNotDecreasing", [(2.0, 2.0)] * 20),
    ],
)
def test_a_rule_fires_once_and_says_why(rule: str, losses: list[tuple[float, float]]) -> None:
    watch, fired = watched(rule, losses)
    assert fired and watch.fired and watch.fired.rule == rule
    assert len(watch.epochs) == fired < len(losses), "nothing more is judged"
    assert watch.fired.evidence and watch.fired.advice


@pytest.mark.parametrize("rule", RULES)
def test_a_training_that_goes_well_is_left_alone(rule: str) -> None:
    assert watched(rule, [(2.0 * 0.8**n, 2.1 * 0.8**n) for n in range(20)])[1] is None


def test_losses_that_are_no_numbers_are_read(recwarn: pytest.WarningsRecorder) -> None:
    watch, _ = watched("LossNotDecreasing", [(float("inf"), float("nan"))])
    assert len(watch.epochs) == 1


def test_a_training_that_learns_nothing_is_stopped(project: Dogbreed) -> None:
    lost = ("--set", "train.lr=1e-12", "--set", "train.patience=0", "train", "--epochs", "1000")
    done = project.run(*lost, "--stop-on-rule", "LossNotDecreasing", code=6)
    assert "LossNotDecreasing stopped dogbreed-train-" in done.stderr
    assert project.json("status")["items"] == []
    assert "--no-wait does not look" in project.run("train", "--no-wait", "--stop-on-rule", "Overfit", code=2).stderr
