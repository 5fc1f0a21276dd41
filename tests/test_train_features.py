"""Training on cached features: the numbers that images give, without an image; what only features can do."""

import math
import re

import pytest
from entrypoint_runs import channels, result, run_forked, said

EPOCHS = 3
MODEL = {"backbone": "resnet18", "image-size": 32, "weights": "none", "engine": "torch", "precision": "fp32"}
CUTS = {"plain": [], "views": ["--views", "2"], "layer4": ["--unfreeze", "layer4", "--lr", "1e-4"]}
# More than a head diverges at a head's learning rate, and then every rounding error grows.
# Batches that leave an odd one out, of a part of each class.
LEARN = ["--epochs", str(EPOCHS), "--lr", "0.003", "--batch-size", "7", "--data-fraction", "0.6"]


@pytest.fixture(scope="module")
def runs(image_python, images, tmp_path_factory):
    """({name: exit codes}, folder with <name>.log, <name>/model and <name>/output), in the order they ran."""
    out = tmp_path_factory.mktemp("features")
    base = [word for name, value in MODEL.items() for word in (f"--{name}", str(value))]
    plan = {}
    for cut, options in CUTS.items():
        plan[f"extract-{cut}"] = {"argv": ["--mode", "extract", *base, *options, *channels(images)]}
        plan[f"images-{cut}"] = {"argv": [*base, *LEARN, *options, *channels(images), "--workers", "0"]}
        features = ["--features", f"extract-{cut}/model"]
        plan[f"features-{cut}"] = {"argv": [*base, *LEARN, *options, *features]}
    plain = [*base, "--features", "extract-plain/model"]
    kept = {"SM_CHECKPOINT_DIR": str(out / "checkpoints")}
    half = [*plain, *LEARN, "--batch-size", "4", "--patience", "0"]
    layer4 = [*base, *LEARN, *CUTS["layer4"], "--features", "extract-layer4/model", "--patience", "0"]
    layer4 += ["--epochs", "2", "--data-fraction", "0.3"]  # eight million numbers learn, and two processes tell them
    plan |= {
        "whole": {"argv": [*plain, *LEARN, "--batch-size", "8", "--patience", "0"]},
        "two": {"argv": half, "world": 2},
        "layer4": {"argv": [*layer4, "--batch-size", "8"]},
        "two-layer4": {"argv": [*layer4, "--batch-size", "4"], "world": 2},
        "killed": {"argv": [*plain, *LEARN], "environment": kept, "kill": ["SIGKILL", 0, 10]},
        "continued": {"argv": [*plain, *LEARN], "environment": kept},
        "lbfgs": {"argv": [*plain, "--optimizer", "lbfgs", "--epochs", "20", "--patience", "0"]},
        "adamw": {"argv": [*plain, "--epochs", "20", "--patience", "0"]},
        "patient": {"argv": [*plain, "--optimizer", "sgd", "--lr", "3", "--epochs", "40", "--patience", "2"]},
        "weighted": {"argv": [*plain, "--class-weights", "balanced", "--label-smoothing", "0.1", "--epochs", "1"]},
        "other-seed": {"argv": [*plain, "--seed", "1"]},
        "lbfgs-images": {"argv": [*base, "--optimizer", "lbfgs", *channels(images)]},
    }
    return run_forked(image_python, out, plan)


@pytest.mark.parametrize("cut", CUTS)
def test_features_give_what_images_give(runs, cut):
    metrics, history, predictions = result(runs, f"features-{cut}")
    whole, whole_history, whole_predictions = result(runs, f"images-{cut}")
    tolerance = 2e-2 if cut == "layer4" else 1e-4  # layer3's outputs are kept in bfloat16
    assert len(history) == len(whole_history) == EPOCHS
    for row, whole_row in zip(history, whole_history, strict=True):
        assert row["validation_loss"] == pytest.approx(whole_row["validation_loss"], abs=tolerance)
        assert row["train_loss"] == pytest.approx(whole_row["train_loss"], abs=tolerance)
    assert metrics["counts"] == whole["counts"] == {"train": 48, "valid": 28, "test": 18}
    assert [row["file"] for row in predictions] == [row["file"] for row in whole_predictions]
    assert whole["features"] is None
    assert metrics["features"]["views"] == (2 if cut == "views" else 1)
    assert history[-1]["train_loss"] < history[0]["train_loss"], "nothing was learnt"


def test_features_of_a_linear_head_need_no_torchvision(runs):
    assert "torchvision was not needed" in said(runs, "features-plain")
    assert "torchvision was imported" in said(runs, "images-plain")


@pytest.mark.parametrize(("alone", "together"), [("whole", "two"), ("layer4", "two-layer4")])
def test_two_processes_learn_what_one_does_in_batches_twice_as_large(runs, alone, together):
    _, one, rows = result(runs, alone)
    _, two, rows_two = result(runs, together)
    for row, row_two in zip(one, two, strict=True):
        assert row_two == pytest.approx(row, abs=1e-4 if alone == "whole" else 1e-3)
    assert [row["file"] for row in rows] == [row["file"] for row in rows_two]


def test_a_killed_training_goes_on_from_its_checkpoint(runs):
    codes, _ = runs
    assert codes["killed"] == [-9]
    metrics, history, predictions = result(runs, "continued")
    _, uninterrupted, whole_predictions = result(runs, "features-plain")
    assert metrics["resumed_from_epoch"] == 1
    assert history == uninterrupted
    assert predictions == whole_predictions


def test_lbfgs_comes_nearer_to_the_optimum_and_says_when_it_is_there(runs):
    _, adamw, _ = result(runs, "adamw")
    metrics, history, _ = result(runs, "lbfgs")
    assert history[-1]["train_loss"] < adamw[-1]["train_loss"]
    assert len(history) < 20
    assert "lbfgs has converged" in said(runs, "lbfgs")
    assert metrics["stopped_early"]
    assert "optimizer lbfgs learns a head on cached features" in said(runs, "lbfgs-images")


def test_training_stops_when_patience_is_at_an_end(runs):
    metrics, history, _ = result(runs, "patient")
    losses = [row["validation_loss"] for row in history]
    assert len(losses) == losses.index(min(losses)) + 1 + 2 < 40
    assert metrics["best_epoch"] == losses.index(min(losses)) + 1
    assert re.search(rf"early stop after epoch {len(losses)} of 40: no better validation:loss", said(runs, "patient"))
    assert metrics["stopped"] is False


def test_evaluation_is_of_the_plain_loss(runs):
    metrics, _, predictions = result(runs, "weighted")
    plain = -sum(math.log(float(row["label_probability"])) for row in predictions) / len(predictions)
    assert metrics["test:loss"] == pytest.approx(plain, rel=1e-3)


def test_features_of_something_else_are_refused(runs):
    assert "the features are of seed 0, the training asks for 1" in said(runs, "other-seed")
