"""Trainings that really misbehave, judged by what they left: the rule for it fires, and says so in the report."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from entrypoint_runs import COLOURS, channels, draw, run_forked

from dogbreed_cli.report import build
from dogbreed_cli.report.rules import Verdict

WATCHED = ["--debug-collections", "losses,gradients,weights,biases", "--debug-save-interval", "1"]
WATCHED += ["--profile-interval", "100", "--patience", "0", "--workers", "0"]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures that take longer to decode than to learn from."""
    root, rng = tmp_path_factory.mktemp("large"), random.Random(0)
    for split, count in (("train", 4), ("valid", 1)):
        for label in COLOURS:
            (root / split / label).mkdir(parents=True)
            for n in range(count):
                draw(rng, label).resize((2400, 1800)).save(root / split / label / f"{n}.jpg", quality=95)
    return root


@pytest.fixture(scope="module")
def jobs(image_python: Path, images: Path, large: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """({name: exit codes}, folder) of a training that goes well, and of some that do not."""
    out = tmp_path_factory.mktemp("misbehaving")
    base = ["--backbone", "resnet18", "--image-size", "32", "--weights", "none", *WATCHED]
    small, big = [*base, *channels(images)], [*base, *channels(large)[:4]]
    runs = {
        "well": [*small, "--epochs", "6", "--lr", "0.01"],
        "exploding": [*small, "--epochs", "3", "--unfreeze", "all", "--optimizer", "sgd", "--lr", "100"],
        "standing": [*small, "--epochs", "6", "--lr", "1e-12"],
        "overfitting": [*small, "--epochs", "40", "--data-fraction", "0.1", "--lr", "0.03"],
        "waiting": [*big, "--epochs", "2"],
    }
    return run_forked(image_python, out, {n: {"argv": a} for n, a in runs.items()})


def judge(jobs: Any, name: str) -> dict[str, Verdict]:
    """The report's verdicts on a job, by rule."""
    status = "Completed" if jobs[0][name] == [0] else "Failed"
    report = build(jobs[1] / name / "output", {"TrainingJobName": name, "TrainingJobStatus": status})
    return {verdict.rule: verdict for verdict in report.rules}


@pytest.mark.parametrize(
    ("name", "rule", "said"),
    [
        ("exploding", "ExplodingTensor", "not finite"),
        ("standing", "LossNotDecreasing", "The training loss went from"),
        ("overfitting", "Overfit", "above the training loss"),
        ("waiting", "Dataloader", "went into waiting for data"),
    ],
)
def test_a_training_that_misbehaves_is_named(jobs: Any, name: str, rule: str, said: str) -> None:
    verdict = judge(jobs, name)[rule]
    assert verdict.state == "triggered", verdict
    assert said in verdict.evidence and verdict.advice and verdict.violations > 0


@pytest.mark.parametrize("rule", ["ExplodingTensor", "LossNotDecreasing", "VanishingGradient", "AllZero"])
def test_one_that_goes_well_is_not(jobs: Any, rule: str) -> None:
    verdict = judge(jobs, "well")[rule]
    assert verdict.state == "not triggered", verdict


def test_an_exploded_job_fails_and_still_leaves_its_tensors(jobs: Any) -> None:
    assert jobs[0]["exploding"] == [1]
    assert "lower lr (it is 100)" in (jobs[1] / "exploding.log").read_text()


def test_rules_of_a_gpu_are_not_judged_without_one(jobs: Any) -> None:
    assert judge(jobs, "well")["LowGPUUtilization"].state == "not evaluated"
