"""The debugger's hook as hyperparameters ask for it; what it saved is read back by smdebug itself.

With the container image's Python, or with that of DOGBREED_CONTAINER_PYTHON, an environment as current containers have.
"""

import csv
import json
import os
import subprocess
from pathlib import Path

import pytest
from entrypoint_runs import ALONE, ENTRYPOINTS, channels, run_forked, said
from forked import run_forked_python

READ = Path(__file__).with_name("read_trials.py")
EPOCHS = 3
STEPS = 5  # an epoch: 80 images in batches of 16
EVALUATIONS = 2  # an epoch: 28 images
SMALL = ["--backbone", "resnet18", "--image-size", "32", "--weights", "none"]
LEARN = [*SMALL, "--epochs", str(EPOCHS), "--batch-size", "16", "--lr", "0.003"]
HEAD = ["--debug-collections", "losses,gradients,weights,biases"]

PLANS = """
import json, sys
from debug import Steps, hook_config
from arguments import parse_args
for argv, steps, learnt in json.loads(sys.argv[1]):
    args = parse_args(["--backbone", "resnet18", "--weights", "none", "--output-data-dir", "out", *argv])
    config = hook_config(args, Steps(*steps), learnt)
    print(json.dumps({c["CollectionName"]: c["CollectionParameters"] for c in config["CollectionConfigurations"]}))
"""

# Python 3.12 in a container without setuptools has no distutils to be found.
WITHOUT_DISTUTILS = """
import importlib.util, sys
from importlib.machinery import PathFinder
class Finder:
    find_distributions = PathFinder.find_distributions
    def find_spec(name, path=None, target=None):
        absent = name.partition(".")[0] in ("distutils", "setuptools")
        return None if absent else PathFinder.find_spec(name, path, target)
sys.meta_path = [f for f in sys.meta_path if f is not PathFinder and "istutils" not in repr(f)] + [Finder]
for name in [name for name in sys.modules if name.partition(".")[0] in ("distutils", "setuptools")]:
    del sys.modules[name]
assert importlib.util.find_spec("distutils") is None
import smdebug_shim
from smdebug_shim import UNUSED
assert smdebug_shim.load().Hook
assert not set(UNUSED) & set(sys.modules), "what the hook does not use was imported, or a placeholder is left"
import requests
assert requests.get.__module__ == "requests.api"
"""


@pytest.fixture(scope="module")
def python(image_python):
    return os.environ.get("DOGBREED_CONTAINER_PYTHON") or image_python


@pytest.fixture(scope="module")
def runs(python, images, tmp_path_factory):
    """({name: exit codes}, folder with <name>.log and <name>/output)."""
    out = tmp_path_factory.mktemp("runs")
    pictures, features = channels(images), ["--features", str(out / "extract/model")]
    kept = {"SM_CHECKPOINT_DIR": str(out / "checkpoints")}
    (out / "blocked/output").mkdir(parents=True)
    (out / "blocked/output/debug-output").touch()  # where a folder must be
    plan = {
        "extract": {"argv": [*SMALL, "--mode", "extract", *pictures]},
        "frozen": {"argv": [*LEARN, *pictures, *HEAD]},
        "features": {"argv": [*LEARN, *features, *HEAD, "--debug-save-interval", "4"]},
        "layers": {
            "argv": [*LEARN, *pictures, "--epochs", "1", "--unfreeze", "all", "--debug-save-interval", "2",
                     "--debug-collections", "losses,gradients,custom", "--debug-include", "layer4.*relu_output",
                     "--debug-reductions", "mean,abs_mean,l2"],
        },
        "two": {"argv": [*LEARN, *pictures, "--batch-size", "8", *HEAD], "world": 2},
        "killed": {"argv": [*LEARN, *features, *HEAD], "environment": kept, "kill": ["SIGKILL", 0, STEPS + 2]},
        "continued": {"argv": [*LEARN, *features, *HEAD], "environment": kept},
        "stopped": {"argv": [*LEARN, *features, *HEAD], "kill": ["SIGTERM", 0, STEPS + 2]},
        "blocked": {"argv": [*LEARN, *features, *HEAD]},
        "none": {"argv": [*LEARN, *features]},
    }  # fmt: skip
    return run_forked(python, out, plan)


@pytest.fixture(scope="module")
def tensors(python, runs):
    """{name of a run: what smdebug reads}."""
    folders = [path for path in sorted(runs[1].glob("*/output/debug-output")) if path.is_dir()]
    done = run_forked_python(python, READ, *folders, env=ALONE | {"PYTHONPATH": str(ENTRYPOINTS)})
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    return {folder.parents[1].name: found[str(folder)] for folder in folders}


def metrics_of(runs, name):
    codes, out = runs
    assert set(codes[name]) == {0}, said(runs, name)
    return json.loads((out / name / "output/metrics.json").read_text())


def numbers(steps):
    return [int(step) for step in steps]


@pytest.mark.parametrize("name", ["frozen", "features"])
def test_losses_are_those_of_every_step_in_both_modes(runs, tensors, name):
    loss = tensors[name]["tensors"]["CrossEntropyLoss_output_0"]
    assert numbers(loss["TRAIN"]) == list(range(EPOCHS * STEPS))
    assert numbers(loss["EVAL"]) == list(range(EPOCHS * EVALUATIONS + 2))  # 18 test images at last
    with (runs[1] / name / "output/history.csv").open() as file:
        history = list(csv.DictReader(file))
    for epoch, row in enumerate(history):
        batches = [loss["TRAIN"][str(step)] for step in range(epoch * STEPS, (epoch + 1) * STEPS)]
        assert sum(batches) / STEPS == pytest.approx(float(row["train_loss"]), abs=1e-5)
        first, second = (loss["EVAL"][str(step)] for step in range(epoch * EVALUATIONS, (epoch + 1) * EVALUATIONS))
        assert (first * 16 + second * 12) / 28 == pytest.approx(float(row["validation_loss"]), abs=1e-5)
    said = metrics_of(runs, name)["debugger"]
    asked = {
        "collections": ["losses", "gradients", "weights", "biases"],
        "save_interval": 4 if name == "features" else 1,
    }
    assert said == {"hook": True, "why": None, **asked}


def test_gradients_weights_and_biases_of_the_head(tensors):
    found = tensors["frozen"]
    assert found["collections"]["gradients"] == ["gradient/Linear_bias", "gradient/Linear_weight"]
    assert found["collections"]["weights"] == ["Linear_weight"]
    assert found["collections"]["biases"] == ["Linear_bias"]
    weight, gradient = found["tensors"]["Linear_weight"], found["tensors"]["gradient/Linear_weight"]
    assert gradient["EVAL"] == {}
    assert numbers(gradient["TRAIN"]) == numbers(weight["TRAIN"]) == list(range(EPOCHS * STEPS))
    rows, columns = len(gradient["TRAIN"]["0"]), len(gradient["TRAIN"]["0"][0])
    assert (rows, columns) == (4, 512)
    assert any(value for row in gradient["TRAIN"]["3"] for value in row)
    assert weight["TRAIN"]["0"] != weight["TRAIN"]["14"], "nothing was learnt, or always the same was saved"


def test_save_interval_spares_all_but_the_losses(tensors):
    found = tensors["features"]["tensors"]
    assert numbers(found["gradient/Linear_weight"]["TRAIN"]) == [0, 4, 8, 12]
    assert found["Linear_bias"]["EVAL"] == {}, "evaluation does not change it"
    # Steps that are not saved are counted all the same.
    assert tensors["features"]["global"] == list(range(EPOCHS * (STEPS + EVALUATIONS) + 2))


def test_everything_that_learns_is_hooked_and_reduced(runs, tensors):
    found = tensors["layers"]
    gradients = found["collections"]["gradients"]
    assert "gradient/Normalised_front.conv1.weight" in gradients
    assert "gradient/Normalised_front.fc.layer.weight" in gradients
    custom = found["collections"]["custom"]
    assert custom
    assert all(name.startswith("front.layer4") and "relu_output" in name for name in custom)
    values = found["reductions"]["gradient/Normalised_front.conv1.weight"]
    assert numbers(values) == [0, 2, 4]
    assert set(values["0"]) == {"mean", "abs_mean", "l2"}
    assert values["0"]["l2"] > values["0"]["abs_mean"] > 0
    assert found["tensors"]["gradient/Normalised_front.conv1.weight"]["TRAIN"]["0"] is None, "it was saved whole, too"
    assert found["tensors"]["CrossEntropyLoss_output_0"]["TRAIN"]["1"] > 0


def test_of_two_processes_rank_0_has_the_hook(runs, tensors):
    assert metrics_of(runs, "two")["debugger"]["hook"] is True
    assert (runs[1] / "two.log").read_text().count("debugger: saving") == 1
    folder = runs[1] / "two/output/debug-output"
    assert {path.name for path in folder.rglob("*_collections.json")} == {"worker_0_collections.json"}
    found = tensors["two"]["tensors"]
    assert numbers(found["CrossEntropyLoss_output_0"]["TRAIN"]) == list(range(EPOCHS * STEPS))
    assert numbers(found["gradient/Linear_weight"]["TRAIN"]) == list(range(EPOCHS * STEPS))


def test_a_job_that_goes_on_counts_its_steps_on(runs, tensors):
    assert metrics_of(runs, "continued")["resumed_from_epoch"] == 1
    loss = tensors["continued"]["tensors"]["CrossEntropyLoss_output_0"]
    assert numbers(loss["TRAIN"]) == list(range(STEPS, EPOCHS * STEPS))
    assert numbers(loss["EVAL"]) == list(range(EVALUATIONS, EPOCHS * EVALUATIONS + 2))
    whole = tensors["features"]["tensors"]["CrossEntropyLoss_output_0"]["TRAIN"]
    assert loss["TRAIN"]["14"] == pytest.approx(whole["14"], abs=1e-6)


def test_tensors_of_a_stopped_job_are_complete(runs, tensors):
    metrics = metrics_of(runs, "stopped")
    assert metrics["stopped"] is True
    assert metrics["debugger"]["hook"] is True
    assert numbers(tensors["stopped"]["tensors"]["CrossEntropyLoss_output_0"]["TRAIN"])[-1] == STEPS + 1


def test_a_hook_that_cannot_write_is_never_silent(runs):
    metrics = metrics_of(runs, "blocked")
    assert metrics["debugger"]["hook"] is False
    assert "debug-output" in metrics["debugger"]["why"]
    assert "WARNING: debugger: no tensors are saved" in (runs[1] / "blocked.log").read_text()
    assert metrics["test:loss"] == pytest.approx(metrics_of(runs, "none")["test:loss"])


def test_no_hook_unless_asked_for(runs):
    said = metrics_of(runs, "none")["debugger"]
    asks = "neither debug-collections nor a debughookconfig.json asks for it"
    assert said == {"hook": False, "why": asks, "collections": [], "save_interval": None}
    assert not (runs[1] / "none/output/debug-output").exists()


def test_smdebug_is_loaded_without_distutils_and_what_it_does_not_use(python):
    subprocess.run(
        [python, "-c", WITHOUT_DISTUTILS], env=ALONE | {"PYTHONPATH": str(ENTRYPOINTS)}, check=True, timeout=60
    )


def test_how_often_and_how_much(python):
    """About 25 savings in a job, 50 and 15 of losses; whole tensors only where they are small."""
    head, names = 133 * 2049 * 4, "losses,gradients,weights,biases"
    asked = [
        [["--debug-collections", names], [100, 20, 20], 50_000],
        [["--debug-collections", names], [100, 20, 20], head],
        [["--debug-collections", "gradients", "--debug-save-interval", "7", "--debug-reductions", "abs_l1,std"],
         [2, 1, 1], head],
    ]  # fmt: skip
    done = run_forked_python(python, "-c", PLANS, json.dumps(asked), env=ALONE | {"PYTHONPATH": str(ENTRYPOINTS)})
    assert done.returncode == 0, done.stderr
    whole, reduced, own = map(json.loads, done.stdout.splitlines())
    assert whole["losses"] == {"train.save_interval": "40", "eval.save_interval": "27"}
    assert whole["gradients"] == {"save_interval": "80"}
    assert whole["weights"] == whole["biases"] == {"save_interval": "80", "eval.end_step": "0"}
    assert reduced["weights"]["reductions"] == "mean,abs_mean,min,max,std,l2_norm"
    assert "reductions" not in reduced["losses"]
    assert own == {"gradients": {"save_interval": "7", "reductions": "abs_l1_norm,std"}}
