"""train.py as one runs it by hand: what it learns from, what it refuses, and in which words."""

import json
import re
import shutil
from pathlib import Path

import pytest
from entrypoint_runs import ALONE, COLOURS, ENTRYPOINTS, EPOCHS, channels, find
from forked import run_forked_python

BY_HAND = Path(__file__).with_name("train_by_hand.py")
COMMON = ["--backbone", "resnet18", "--image-size", "64"]


@pytest.fixture(scope="module")
def shuffled(images, tmp_path_factory):
    """The same images, but each class's are dealt out evenly over all labels: nothing can be learnt."""
    root = tmp_path_factory.mktemp("shuffled")
    for split in ("train", "valid"):
        for label in COLOURS:
            (root / split / label).mkdir(parents=True)
        for label in COLOURS:
            for i, path in enumerate(sorted((images / split / label).iterdir())):
                shutil.copy(path, root / split / list(COLOURS)[i % 4] / f"{label}-{path.name}")
    return root


@pytest.fixture(scope="module")
def by_hand(image_python, images, shuffled, tmp_path_factory):
    """{name of the run: {"metrics", "log", "error"}} of many trainings with `train.py` outside any toolkit."""
    out = tmp_path_factory.mktemp("by-hand")
    learn = [*COMMON, "--weights", "none", "--epochs", str(EPOCHS), "--batch-size", "16", "--lr", "0.003"]
    once = [*COMMON, "--weights", "none", "--epochs", "1"]
    stray = out / "stray-valid"
    shutil.copytree(images / "valid", stray / "valid")
    shutil.copytree(images / "valid/003.Collie", stray / "valid/005.Eurasier")
    broken = out / "broken"
    shutil.copytree(images / "train", broken / "train")
    whole = (broken / "train/003.Collie/07.jpg").read_bytes()
    (broken / "train/003.Collie/07.jpg").write_bytes(whole[: len(whole) // 2])
    hook = out / "debughookconfig.json"  # a collection without a regex makes smdebug raise within the first step
    collections = [{"CollectionName": "losses"}, {"CollectionName": "mine"}]
    hook.write_text(json.dumps({"LocalPath": str(out / "tensors"), "CollectionConfigurations": collections}))
    good = {"LocalPath": str(out / "other-tensors"), "CollectionConfigurations": [{"CollectionName": "gradients"}]}
    (out / "goodhookconfig.json").write_text(json.dumps(good))
    train_valid = channels(images)[:4]
    runs = {
        "shuffled": [*learn, *channels(shuffled)[:4], "--test", str(images / "test")],
        "unsteady": [*learn, *train_valid, "--optimizer", "sgd", "--lr", "3", "--epochs", "4"],
        "fraction": [*once, *train_valid, "--data-fraction", "0.25"],
        "tiny-fraction": [*once, *train_valid, "--data-fraction", "0.001"],
        "pretrained-1000": [*COMMON, *train_valid, "--epochs", "1", "--weights", "pretrained"],
        "pretrained-4": [*COMMON, *train_valid, "--epochs", "1", "--weights", "pretrained"],
        "pretrained-misfit": [*COMMON, *train_valid, "--weights", "pretrained", "--backbone", "squeezenet1_0"],
        "diverged": [*learn, *train_valid, "--optimizer", "sgd", "--lr", "1e38"],
        "stray": [*once, *train_valid[:2], "--valid", str(stray / "valid")],
        "broken": [*once, "--train", str(broken / "train"), *train_valid[2:], "--workers", "0"],
        "no-valid": [*once, *train_valid[:2]],
        "bad-lr": [*once, *train_valid, "--lr", "-1"],
        "bad-fraction": [*once, *train_valid, "--data-fraction", "1.5"],
        "bad-backbone": [*train_valid, "--backbone", "resnet49"],
        "bad-weights": [*COMMON, *train_valid, "--weights", "IMAGENET1K_V9"],
        "bad-collections": [*once, *train_valid, "--debug-collections", "losses,activations"],
        "bad-include": [*once, *train_valid, "--debug-collections", "custom"],
        "bad-interval": [*once, *train_valid, "--profile-interval", "5"],
        "bad-window": [*once, *train_valid, "--profile-torch", "9-3"],
        "bad-optimizer": [*once, *train_valid, "--optimizer", "adam"],
        "unknown": [*once, *train_valid, "--learning-rate", "1"],
        "no-channel": [*COMMON, *train_valid, "--weights", "pretrained"],
        "vit": [*once, *train_valid, "--backbone", "vit_b_32"],
        "debugger-fails": [*once, *channels(images)],  # last: smdebug stays switched off in its process
    }
    for name, state in (("pretrained-1000", 1000), ("pretrained-4", 4), ("pretrained-misfit", 4)):
        runs[name] += ["--pretrained", str(out / f"state-{state}")]
    environment = ALONE | {"PYTHONPATH": str(ENTRYPOINTS)}
    arguments = (BY_HAND, out, json.dumps(runs), images / "valid")
    done = run_forked_python(image_python, *arguments, env=environment | {"SAGEMAKER_BASE_DIR": str(out)}, cwd=out)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_nothing_is_learnt_from_wrong_labels(by_hand):
    assert by_hand["shuffled"]["metrics"]["test:accuracy"] <= 0.5  # chance is 0.25
    assert by_hand["shuffled"]["metrics"]["validation:loss"] > 1.2  # ln 4 = 1.39 knows nothing


def test_data_fraction_is_stratified_and_of_train_only(by_hand):
    assert by_hand["fraction"]["metrics"]["counts"] == {"train": 20, "valid": 28}
    assert by_hand["tiny-fraction"]["metrics"]["counts"] == {"train": 4, "valid": 28}, "one image a class at least"
    assert not any(name.startswith("test:") for name in by_hand["fraction"]["metrics"])


def test_pretrained_state_dict_is_what_is_trained_on(by_hand):
    other, same = by_hand["pretrained-1000"], by_hand["pretrained-4"]
    assert "backbone only, with a new head for 4 classes" in other["log"]
    assert "loaded the backbone and head" in same["log"]
    assert other["same"], "the backbone was changed, or not loaded"
    assert same["same"]
    assert other["head"] == same["head"] == [4, 512]
    assert other["metrics"]["weights"] == "pretrained"
    assert other["metrics"]["calibrated"] is False
    assert "does not fit the backbone" in by_hand["pretrained-misfit"]["error"]


def test_the_best_epoch_is_what_is_saved(by_hand):
    metrics, log = by_hand["unsteady"]["metrics"], by_hand["unsteady"]["log"]
    losses = find(log, "validation:loss")
    assert metrics["best_epoch"] == losses.index(min(losses)) + 1 < 4, "a steadier run cannot test this"
    assert metrics["validation:loss"] == pytest.approx(min(losses), abs=1e-5)
    assert by_hand["unsteady"]["saved"] == pytest.approx(min(losses), rel=1e-4)


def test_loss_is_the_mean_over_samples(by_hand):
    train, valid = zip(*by_hand["sample-mean"], strict=True)
    assert max(valid) - min(valid) < 1e-5
    assert max(train) - min(train) < 1e-5
    assert by_hand["workers"] == 28


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ("bad-lr", "lr must be greater than 0, not -1.0"),
        ("bad-fraction", "data-fraction must be greater than 0 and at most 1, not 1.5"),
        ("bad-backbone", "unknown backbone 'resnet49': .* resnet50"),
        ("bad-weights", "unknown weights 'IMAGENET1K_V9' .*use one of IMAGENET1K_V1, .*none, pretrained"),
        ("bad-collections", "debug-collections has 'activations': use some of losses, gradients, weights, biases, cu"),
        ("bad-include", "debug-include goes with the collection custom"),
        ("bad-interval", "profile-interval must be 0 .none. or 10 to 60000 milliseconds, not 5"),
        ("bad-window", "profile-torch must be the first and the last step, such as 10-20, not '9-3'"),
        ("bad-optimizer", "--optimizer: invalid choice: 'adam' .*adamw.*sgd"),
        ("unknown", "unrecognized arguments: --learning-rate"),
        ("no-channel", "no channel pretrained"),
        ("no-valid", "channel valid is missing"),
        ("stray", "channel valid has 1 classes that train does not have: 005.Eurasier"),
        ("broken", r"003.Collie/07.jpg: not a readable image: (?i:.*truncated)"),
        ("diverged", r"the loss is (nan|inf) at epoch 1; lower lr"),
        ("vit", "backbone vit_b_32 cannot take images of image-size 64"),
    ],
)
def test_user_errors_are_one_clear_line(by_hand, run, said):
    error = by_hand[run]["error"]
    assert re.search(said, error)
    assert "\n" not in error


def test_a_failing_debugger_does_not_fail_the_job(by_hand):
    metrics = by_hand["debugger-fails"]["metrics"]
    assert metrics["debugger"]["hook"] is False
    assert "mine" in metrics["debugger"]["why"]
    assert "WARNING: debugger" in by_hand["debugger-fails"]["log"]
    assert "test:accuracy" in metrics


def test_debugger_leaves_the_modules_as_they_were(by_hand):
    found = by_hand["debugger"]
    assert found["why"] is None
    assert found["attached"] > 0
    assert found["left"] == 0
    assert found["name"] is False
    assert found["job"] == "test-job"
    assert "holds the tensors of another job" in found["again"]


def test_no_debugger_without_its_config(by_hand):
    debugger = by_hand["fraction"]["metrics"]["debugger"]
    assert debugger["hook"] is False
    assert "neither debug-collections nor a debughookconfig.json asks for it" in debugger["why"]
