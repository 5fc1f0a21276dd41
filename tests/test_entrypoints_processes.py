"""train.py in several processes and interrupted: under torchrun as AWS's toolkit starts it, and in forked ranks."""

import json
import random
import re
import shutil
import signal

import pytest
from entrypoint_runs import channels, draw, read_output, result, run_forked, run_toolkit, said
from PIL import Image

COLOURS = ("001.Affenpinscher", "002.Beagle")
EPOCHS = 3
STEPS = 3  # an epoch: 18 images in batches of 8
MODEL = {"backbone": "resnet18", "image-size": 32, "weights": "none", "epochs": EPOCHS, "lr": 0.003}
LEARN = [word for name, value in MODEL.items() for word in (f"--{name}", str(value))]
ONE, TWO = [*LEARN, "--batch-size", "8"], [*LEARN, "--batch-size", "4"]
# In float32: where gradients are of 1e-6, bfloat16 decides their sign, and AdamW asks for no more.
WHOLE = ["--unfreeze", "all", "--lr", "1e-4", "--precision", "fp32"]


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """Images of one colour each, which look the same however they are cropped: 18 train, 7 valid, 1 test."""
    root, rng = tmp_path_factory.mktemp("flat"), random.Random(0)
    for split, count in (("train", 9), ("valid", 4), ("test", 1)):
        for i, label in enumerate(COLOURS):
            (root / split / label).mkdir(parents=True)
            for n in range(count - (split != "train" and i)):
                levels = [rng.randrange(256) for _ in range(3)]
                levels[i] = 230
                Image.new("RGB", (72, 64), tuple(levels)).save(root / split / label / f"{n:02}.png")
    return root


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """As many images on which every crop is another, and a copy whose last validation image is broken."""
    root, rng = tmp_path_factory.mktemp("drawn"), random.Random(0)
    for split, count in (("train", 9), ("valid", 4), ("test", 1)):
        for label in COLOURS:
            (root / split / label).mkdir(parents=True)
            for n in range(count):
                draw(rng, label).save(root / split / label / f"{n:02}.jpg")
    shutil.copytree(root / "valid", root / "broken")
    (root / "broken/002.Beagle/03.jpg").write_bytes(b"no image")
    return root


@pytest.fixture(scope="module")
def job(warm_python, flat, tmp_path_factory):
    """A finished job of two processes under AWS's toolkit, with a debugger: (base folder, log)."""
    base = tmp_path_factory.mktemp("torchrun")
    launch = {"sagemaker_torch_distributed_enabled": True, "sagemaker_mpi_num_of_processes_per_host": 2}
    done = run_toolkit(
        warm_python,
        base,
        flat,
        MODEL | {"batch-size": 4} | launch,
        debug_hook={
            "LocalPath": str(base / "output/tensors"),
            "CollectionConfigurations": [{"CollectionName": "losses"}],
        },
        PET_STANDALONE="1",  # any free port: another test's torchrun may have the usual one
    )
    assert done.returncode == 0, done.stdout
    return base, done.stdout


@pytest.fixture(scope="module")
def forked(image_python, flat, drawn, tmp_path_factory):
    """({name: exit codes}, folder with <name>.log, <name>/model and <name>/output) of trainings in forked ranks."""
    out = tmp_path_factory.mktemp("forked")
    places = channels(drawn)
    broken = [*places[:2], "--valid", str(drawn / "broken")]
    (out / "lost").mkdir()
    (out / "unreadable").mkdir()
    (out / "unreadable/checkpoint.pt").write_bytes(b"PK\x03\x04 cut off")
    steps = {"latest-global-step-saved": 700, "latest-global-step-seen": 710, "latest-mode-step": {"TRAIN": 700}}
    (out / "unreadable/metadata.json").write_text(json.dumps([{"training-run": 0, **steps}]))  # smdebug's
    (out / "checkpoints.json").write_text(json.dumps({"LocalPath": str(out / "unreadable")}))
    losses = {"CollectionName": "losses", "CollectionParameters": {"save_interval": "1"}}
    hook = {"LocalPath": str(out / "tensors"), "CollectionConfigurations": [losses]}
    (out / "hook.json").write_text(json.dumps(hook))
    debugged = {
        "SMDEBUG_CONFIG_FILE_PATH": str(out / "hook.json"),
        "CHECKPOINT_CONFIG_FILE_PATH": str(out / "checkpoints.json"),
    }

    def keep(folder):
        return {"SM_CHECKPOINT_DIR": str(out / folder)}

    runs = {
        "flat": {"argv": [*ONE, *channels(flat)]},
        "one": {"argv": [*ONE, *places]},
        "killed": {"argv": [*ONE, *places], "environment": keep("a"), "kill": ["SIGKILL", 0, STEPS + 2]},
        "continued": {"argv": [*ONE, *places], "environment": keep("a")},
        "another": {"argv": [*ONE, *places[:4], "--epochs", "1"], "environment": keep("a")},
        "unreadable": {"argv": [*ONE, *places[:4], "--epochs", "1"], "environment": keep("unreadable") | debugged},
        "stopped": {"argv": [*ONE, *places, "--workers", "2"], "kill": ["SIGTERM", 0, STEPS + 1]},
        "stopped-early": {"argv": [*ONE, *places], "kill": ["SIGTERM", 0, 2]},
        "two": {"argv": [*TWO, *places], "world": 2},
        "whole": {"argv": [*ONE, *WHOLE, *channels(flat)]},
        "two-whole": {"argv": [*TWO, *WHOLE, *channels(flat)], "world": 2},
        "two-stopped": {
            "argv": [*TWO, *places],
            "world": 2,
            "environment": keep("b"),
            "kill": ["SIGTERM", 1, 2 * STEPS + 2],
        },
        "two-continued": {"argv": [*TWO, *places], "world": 2, "environment": keep("b")},
        "again": {"argv": [*TWO, *places], "world": 2, "environment": keep("b")},
        "two-broken": {"argv": [*TWO, *broken], "world": 2, "environment": {"SM_OUTPUT_DIR": str(out)}},
        "two-lost": {
            "argv": [*TWO, *places],
            "world": 2,
            "environment": {"SM_OUTPUT_DIR": str(out / "lost")},
            "kill": ["SIGKILL", 1, 2],
        },
        "two-hosts": {
            "argv": [*TWO, *places[2:]],
            "world": 2,
            "environment": [{"SM_CHANNEL_TRAIN": str(root / "train")} for root in (flat, drawn)],
        },
    }
    return run_forked(image_python, out, runs)


def test_two_processes_learn_what_one_does_in_batches_twice_as_large(job, forked):
    base, log = job
    metrics, history, predictions = read_output(base / "output/data")
    alone, history_alone, predictions_alone = result(forked, "flat")
    assert (metrics["world_size"], alone["world_size"]) == (2, 1)
    assert "2 processes: batches of 2 x 4 = 8" in log
    assert len(history) == EPOCHS
    for row, row_alone in zip(history, history_alone, strict=True):
        assert row == pytest.approx(row_alone, abs=1e-4)
    # One test image for two processes: one of them has none.
    assert [row["file"] for row in predictions] == [row["file"] for row in predictions_alone]
    assert float(predictions[0]["probability"]) == pytest.approx(float(predictions_alone[0]["probability"]), abs=1e-3)
    assert metrics["test:loss"] == pytest.approx(alone["test:loss"], abs=1e-3)


def test_only_rank_0_speaks_writes_and_has_the_debugger(job):
    base, log = job
    assert len(re.findall(r"^epoch=\d+ ", log, re.MULTILINE)) == EPOCHS
    assert log.count("debugger: saving tensors") == 1
    assert read_output(base / "output/data")[0]["debugger"]["hook"] is True
    assert (base / "output/tensors/training_job_end.ts").exists()
    assert {path.name for path in (base / "output/tensors/collections/000000000").iterdir()} == {
        "worker_0_collections.json"
    }
    assert (base / "model/model.pt").exists()


def test_every_image_is_predicted_once(forked):
    metrics, history, _ = result(forked, "two")
    # Stopped before its test: the predictions are of the validation images, dealt out to both ranks.
    _, _, predictions = result(forked, "two-stopped")
    wanted = [f"{label}/{n:02}.jpg" for label in COLOURS for n in range(4)]
    assert [row["file"] for row in predictions] == wanted
    best = history[1] if history[1]["validation_loss"] < history[0]["validation_loss"] else history[0]
    right = [row["label"] == row["prediction"] for row in predictions]
    assert sum(right) / len(right) == best["validation_accuracy"]
    assert metrics["counts"] == {"train": 18, "valid": 8, "test": 2}


def test_two_processes_fine_tune_as_one_does(forked):
    _, alone, _ = result(forked, "whole")
    _, history, _ = result(forked, "two-whole")
    for row, row_alone in zip(history, alone, strict=True):
        assert row == pytest.approx(row_alone, abs=1e-3)
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_a_checkpoint_of_a_training_that_finished_is_not_gone_on_with(forked):
    metrics, history, _ = result(forked, "again")
    assert metrics["resumed_from_epoch"] is None
    assert history == result(forked, "two")[1]


@pytest.mark.parametrize(
    ("whole", "parts"), [("one", ("killed", "continued")), ("two", ("two-stopped", "two-continued"))]
)
def test_a_run_that_goes_on_ends_as_one_that_was_never_interrupted(forked, whole, parts):
    uninterrupted, history, predictions = result(forked, whole)
    continued, history_continued, predictions_continued = result(forked, parts[1])
    assert uninterrupted["resumed_from_epoch"] is None
    assert continued["resumed_from_epoch"] == len(re.findall("^epoch=", said(forked, parts[0]), re.MULTILINE)) > 0
    assert "going on after epoch" in said(forked, parts[1])
    assert history_continued == history
    assert predictions_continued == predictions
    assert continued["test:loss"] == uninterrupted["test:loss"]
    out = forked[1]
    assert (out / whole / "model/model.pt").read_bytes() == (out / parts[1] / "model/model.pt").read_bytes()


def test_kill_leaves_a_whole_checkpoint_and_no_model(forked):
    codes, out = forked
    assert codes["killed"] == [-signal.SIGKILL]
    assert not (out / "killed/model").exists()
    assert {path.name for path in (out / "a").iterdir()} == {"checkpoint.pt"}


def test_sigterm_of_one_rank_stops_all_with_the_best_model_so_far(forked):
    metrics, history, _ = result(forked, "two-stopped")
    assert metrics["stopped"] is True
    assert len(history) == 2
    assert "test:loss" not in metrics
    assert metrics["validation:loss"] == min(row["validation_loss"] for row in history)
    model = forked[1] / "two-stopped/model"
    assert {path.name for path in model.iterdir()} == {"model.pt", "model.json", "code"}
    assert result(forked, "two")[0]["stopped"] is False


def test_sigterm_of_the_group_does_not_take_the_images_away(forked):
    metrics, history, predictions = result(forked, "stopped")
    assert metrics["stopped"] is True
    assert len(history) == 1
    assert len(predictions) == 8


def test_sigterm_within_the_first_epoch_saves_nothing(forked):
    codes, out = forked
    assert codes["stopped-early"] == [128 + signal.SIGTERM]
    assert not (out / "stopped-early").exists()


def test_checkpoints_that_do_not_fit_are_named_and_left_alone(forked):
    for name, words in (
        ("another", "is of another training, starting at epoch 1: not the same files, hyperparameters"),
        ("unreadable", "WARNING: checkpoint .* cannot be read, starting at epoch 1: "),
    ):
        assert re.search(words, said(forked, name))
        metrics, history, _ = result(forked, name)
        assert metrics["resumed_from_epoch"] is None
        assert len(history) == 1


def test_the_debugger_counts_its_steps_from_0_when_the_checkpoint_does_not_fit(forked):
    metrics, _, _ = result(forked, "unreadable")
    assert metrics["debugger"]["hook"] is True
    steps = sorted(int(folder.name) for folder in (forked[1] / "tensors/events").iterdir())
    assert steps == list(range(STEPS + 1))  # and one of validation


def test_an_error_on_one_rank_ends_the_job_with_its_reason(forked):
    codes, out = forked
    assert codes["two-broken"] == [1, 1]
    failure = (out / "failure").read_text()
    assert re.fullmatch(r".*002.Beagle/03.jpg: not a readable image: its format is unknown", failure)
    assert re.findall("^error: .*", said(forked, "two-broken"), re.MULTILINE) == [f"error: {failure}"]


def test_a_rank_that_is_killed_is_missed(forked):
    codes, out = forked
    assert codes["two-lost"] == [1, -signal.SIGKILL]
    assert (out / "lost/failure").read_text() == "another process of the job was killed (out of memory?) or hangs"


def test_hosts_with_different_images_are_refused(forked):
    assert forked[0]["two-hosts"] == [1, 1]
    assert 'the hosts have different images: use train.data_distribution = "FullyReplicated"' in said(
        forked, "two-hosts"
    )
