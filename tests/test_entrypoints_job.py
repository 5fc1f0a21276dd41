"""A training job and its answers, run by AWS's own toolkits in the image's interpreter, on real JPEGs."""

import json
import math
import re
from pathlib import Path

import pytest
from entrypoint_runs import ALONE, COLOURS, EPOCHS, find, read_csv, run_toolkit
from forked import run_forked_python
from PIL import Image

INSPECT = Path(__file__).with_name("inspect_job.py")


@pytest.fixture(scope="module")
def job(warm_python, images, tmp_path_factory):
    """A finished training job with a debugger: (base folder, log)."""
    base = tmp_path_factory.mktemp("job")
    done = run_toolkit(
        warm_python,
        base,
        images,
        {"backbone": "resnet18", "weights": "none", "image-size": 64, "epochs": EPOCHS, "batch-size": 16, "lr": 0.003},
        debug_hook={
            "LocalPath": str(base / "output/tensors"),
            "HookParameters": {"save_interval": "1"},
            "CollectionConfigurations": [{"CollectionName": "losses"}, {"CollectionName": "gradients"}],
        },
    )
    assert done.returncode == 0, done.stdout
    return base, done.stdout


def test_metric_lines(job):
    _, log = job
    number = r"[0-9.eE+-]+"
    epoch = rf"^epoch=\d+ train:loss={number} validation:loss={number} validation:accuracy={number} seconds=[\d.]+$"
    assert len(re.findall(epoch, log, re.MULTILINE)) == EPOCHS
    assert len(re.findall(rf"^test:loss={number} test:accuracy={number}$", log, re.MULTILINE)) == 1
    assert len(find(log, "train:loss")) == EPOCHS
    losses = find(log, "validation:loss")
    assert losses[-1] == min(losses), "the final objective is not that of the model that was saved"


def test_artifacts_are_complete_and_agree(job):
    base, log = job
    assert (base / "output/success").exists()
    files = {str(path.relative_to(base / "model")) for path in (base / "model").rglob("*") if path.is_file()}
    served = {f"code/{name}.py" for name in ("serve", "batches", "engine", "model", "ray_app")}
    assert files == {"model.pt", "model.json", *served}
    assert {path.name for path in (base / "output/data").iterdir()} == {
        "metrics.json",
        "history.csv",
        "predictions.csv",
    }

    metrics = json.loads((base / "output/data/metrics.json").read_text())
    assert metrics["schema_version"] == 1
    assert metrics["classes"] == sorted(COLOURS)
    assert metrics["counts"] == {"train": 80, "valid": 28, "test": 18}
    assert metrics["hyperparameters"]["batch-size"] == 16
    assert metrics["label_counts"] == dict.fromkeys(COLOURS, 20)
    assert metrics["weights"] == "none"
    assert metrics["calibrated"] is True
    assert (metrics["world_size"], metrics["resumed_from_epoch"], metrics["stopped"]) == (1, None, False)
    assert set(metrics["versions"]) == {"python", "torch", "torchvision"}
    parts = {"data", "forward", "backward", "optimizer"}
    assert {"initialize", "calibrate", "train", *parts, "evaluate", "checkpoint", "save"} == set(metrics["phases"])
    assert all(seconds >= 0 for seconds in metrics["phases"].values())
    for name in ("validation:loss", "validation:accuracy", "test:loss", "test:accuracy"):
        assert metrics[name] == pytest.approx(find(log, name)[-1], abs=1e-5)

    history = read_csv(base / "output/data/history.csv")
    assert list(history[0]) == ["epoch", "train_loss", "validation_loss", "validation_accuracy", "seconds"]
    assert [row["epoch"] for row in history] == [str(epoch) for epoch in range(1, EPOCHS + 1)]
    assert float(history[metrics["best_epoch"] - 1]["validation_loss"]) == metrics["validation:loss"]

    rows = read_csv(base / "output/data/predictions.csv")
    assert len(rows) == 18
    assert {row["split"] for row in rows} == {"test"}
    right = [row["label"] == row["prediction"] for row in rows]
    assert sum(right) / len(right) == pytest.approx(metrics["test:accuracy"])
    assert right == [row["label_rank"] == "1" for row in rows]
    loss = -sum(math.log(float(row["label_probability"])) for row in rows) / len(rows)
    assert loss == pytest.approx(metrics["test:loss"], rel=1e-3)

    description = json.loads((base / "model/model.json").read_text())
    assert {"classes", "backbone", "image_size", "normalisation", "weights", "versions", "metrics"} <= set(description)


def test_learning_is_far_above_chance(job):
    base, _ = job
    learnt = json.loads((base / "output/data/metrics.json").read_text())["test:accuracy"]
    assert learnt >= 0.8  # chance is 0.25; what wrong labels teach is in test_entrypoints_by_hand.py


# ---- a job that fails


def test_failure_file_says_just_what_the_user_can_do(warm_python, images, tmp_path):
    # A proxy nobody listens on: offline on every machine.
    nobody = "http://127.0.0.1:9"
    done = run_toolkit(
        warm_python, tmp_path, images, {}, TORCH_HOME=str(tmp_path), HTTPS_PROXY=nobody, https_proxy=nobody
    )
    assert done.returncode != 0
    failure = (tmp_path / "output/failure").read_text()
    assert re.fullmatch(
        r"the weights IMAGENET1K_V2 of backbone resnet50 could not be downloaded \(.*refused\); "
        'use model.weights = "none" to train with random weights, or a file or s3:// path to a state_dict',
        failure,
    )
    assert f"error: {failure}" in done.stdout.splitlines()


# ---- what the job left: tensors, the model, and its answers under the inference toolkit


@pytest.fixture(scope="module")
def odd_images(images):
    """Files of kinds that a naive convert("RGB") gets wrong: 40 x 20, black, a red corner at the top left."""
    folder = images / "odd"
    folder.mkdir()
    picture = Image.new("RGB", (40, 20))
    picture.paste((255, 0, 0), (0, 0, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side: to be turned clockwise by 90 degrees
    picture.rotate(90, expand=True).save(folder / "turned.png", exif=exif)
    picture.convert("CMYK").save(folder / "cmyk.jpg", quality=100, subsampling=0)
    clear = picture.convert("RGBA")
    clear.putalpha(Image.new("L", (40, 20), 0))
    clear.paste((255, 0, 0, 255), (0, 0, 10, 10))
    clear.save(folder / "clear.png")
    palette = picture.quantize(4)
    palette.save(folder / "palette.png", transparency=palette.getpixel((39, 19)))
    grey = Image.new("I;16", (40, 20), 0x8000)
    grey.paste(0xFFFF, (0, 0, 10, 10))
    grey.save(folder / "grey16.png")
    return folder


@pytest.fixture(scope="module")
def inspected(image_python, job, images, odd_images):
    base, _ = job
    done = run_forked_python(image_python, INSPECT, base, images, env=ALONE, cwd=base)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_debugger_saves_losses_in_both_modes(job, inspected):
    base, log = job
    found = json.loads((base / "output/data/metrics.json").read_text())
    asked = {"collections": ["losses", "gradients"], "save_interval": 1}
    assert found["debugger"] == {"hook": True, "why": None, **asked}
    assert found["profiler"] == {"interval_ms": 0, "why": "profile-interval is 0", "files": 0}
    assert (base / "output/tensors/training_job_end.ts").exists()
    assert len(inspected["TRAIN"]) == EPOCHS * 5  # 80 images in batches of 16
    assert len(inspected["EVAL"]) == EPOCHS * 2 + 2  # 28 images an epoch, then 18 of the test
    last = inspected["EVAL"][-4:-2]
    assert (last[0] * 16 + last[1] * 12) / 28 == pytest.approx(find(log, "validation:loss")[-2], abs=1e-4)
    assert "gradient/Linear_weight" in inspected["names"], "the head's gradients are missing"
    assert not any("layer4" in name or "conv" in name for name in inspected["names"]), "more than the head is hooked"


def test_model_holds_tensors_only_and_no_hooks(inspected):
    assert inspected["tensors"]
    assert inspected["n"] > 100
    assert inspected["hooks"] == 0
    assert inspected["training"] is False


def test_endpoint_answers_as_the_job_predicted(job, inspected):
    base, _ = job
    assert inspected["served_from"] == [str((base / "model/code").resolve())] * 2
    for row, predictions in inspected["rows"]:
        assert predictions[0]["label"] == row["prediction"]
        assert predictions[0]["probability"] == pytest.approx(float(row["probability"]), abs=1e-4)
        assert sum(p["probability"] for p in predictions) == pytest.approx(1)
        assert [p["probability"] for p in predictions] == sorted((p["probability"] for p in predictions), reverse=True)


def test_endpoint_request_forms(inspected):
    asked, first = inspected["asked"], inspected["rows"][0][1]
    for name in ("webp", "png", "top 99", "accept all"):
        predictions, kind = asked[name]
        assert [p["label"] for p in predictions] == [p["label"] for p in first], name
        assert kind == "application/json"
    assert asked["top 2"][0] == first[:2]
    assert len(asked["top again"][0]) == 1


@pytest.mark.parametrize(
    ("request_", "status", "said"),
    [
        ("text", 415, "send image/jpeg, image/png, image/webp, application/x-image"),
        ("no image", 400, "not a readable image: its format is unknown"),
        ("nothing", 400, "not a readable image"),
        ("truncated", 400, "not a readable image: (?i:.*truncated)"),
        ("top zero", 400, "top_k must be a whole number from 1 up, not '0'"),
        ("accept html", 406, "only application/json"),
    ],
)
def test_endpoint_errors_carry_their_status(inspected, request_, status, said):
    assert inspected["asked"][request_][0] == status
    assert re.search(said, inspected["asked"][request_][1])


def test_odd_images_are_decoded_as_they_look(inspected):
    white, black, red = [255, 255, 255], [0, 0, 0], [255, 0, 0]
    wanted = {
        "turned.png": (red, black),
        "cmyk.jpg": (red, black),
        "clear.png": (red, white),
        "palette.png": (red, white),
        "grey16.png": (white, [128, 128, 128]),
    }
    assert set(inspected["decoded"]) == set(wanted)
    for name, corners in wanted.items():
        channels, size, *found = inspected["decoded"][name]
        assert (channels, size) == (3, [40, 20]), name
        for got, colour in zip(found, corners, strict=True):
            assert got == pytest.approx(colour, abs=6), name
