"""What runs in the containers, run as they run it: by AWS's own toolkits, in the image's interpreter, on real JPEGs.

Importing torch takes seconds, so the runs share a few processes: one job under the training toolkit, one process with
many trainings by hand, one under the inference toolkit, one job that fails.
"""

import csv
import json
import math
import os
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

ENTRYPOINTS = Path(__file__).parents[1] / "entrypoints"
COLOURS = {
    "001.Affenpinscher": (200, 60, 50),
    "002.Beagle": (60, 170, 80),
    "003.Collie": (60, 80, 200),
    "004.Dalmatian": (220, 210, 90),
}
EPOCHS = 12
COMMON = ["--backbone", "resnet18", "--image-size", "64"]
# One thread: on a busy machine OpenMP's threads wait for each other many times longer than this small network takes.
ALONE = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}


# ---- pictures


def draw(rng, label):
    """A shape of the class's colour, more or less, somewhere on a grey background."""
    image = Image.new("RGB", (72, 64), tuple(rng.randrange(100, 160) for _ in range(3)))
    x, y = rng.randrange(4, 24), rng.randrange(4, 20)
    colour = tuple(min(255, max(0, value + rng.randrange(-30, 30))) for value in COLOURS[label])
    shape = ImageDraw.Draw(image).ellipse if label < "003" else ImageDraw.Draw(image).rectangle
    shape((x, y, x + 38, y + 38), fill=colour)
    return image


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """train 20, valid 7 and test 6 images a class; test has no Beagles."""
    root, rng = tmp_path_factory.mktemp("images"), random.Random(0)
    for split, count in (("train", 20), ("valid", 7), ("test", 6)):
        for label in COLOURS:
            if (split, label) == ("test", "002.Beagle"):
                continue
            (root / split / label).mkdir(parents=True)
            for i in range(count):
                draw(rng, label).save(root / split / label / f"{i:02}.jpg", quality=90)
    (root / "train" / "manifest.json").write_text("{}")  # upload leaves such beside the classes
    return root


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


def channels(root):
    return [part for split in ("train", "valid", "test") for part in (f"--{split}", str(root / split))]


# ---- the training toolkit


def run_toolkit(python, base, images, hyperparameters, debug_hook=None, **environment):
    """A job under AWS's training toolkit in `base` instead of /opt/ml; returns the finished process."""
    # Locally nothing is installed into the image, so the job's source comes without requirements.txt.
    shutil.copytree(ENTRYPOINTS, base / "source", ignore=shutil.ignore_patterns("requirements.txt", "__pycache__"))
    config = base / "input/config"
    for folder in (config, base / "input/data", base / "code", base / "model", base / "output/data"):
        folder.mkdir(parents=True)
    for split in ("train", "valid", "test"):
        (base / "input/data" / split).symlink_to(images / split)
    source = {"sagemaker_program": "train.py", "sagemaker_submit_directory": str(base / "source")}
    encoded = {name: json.dumps(value) for name, value in (hyperparameters | source).items()}
    files = {
        "hyperparameters": encoded,
        "resourceconfig": {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "lo"},
        "inputdataconfig": {split: {"TrainingInputMode": "File"} for split in ("train", "valid", "test")},
    }
    if debug_hook:
        files["debughookconfig"] = debug_hook
    for name, content in files.items():
        (config / f"{name}.json").write_text(json.dumps(content))
    job = {
        "PATH": f"{Path(python).parent}:{os.environ['PATH']}",
        "SAGEMAKER_BASE_DIR": str(base),
        "SM_STUDIO_LOCAL_MODE": "true",
        "SAGEMAKER_TRAINING_MODULE": "sagemaker_pytorch_container.training:main",
        "TRAINING_JOB_NAME": "test-job",
        "AWS_REGION": "us-east-1",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [python, "-c", "from sagemaker_training.cli.train import main; main()"],
        env=job | environment,
        cwd=base,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def job(image_python, images, tmp_path_factory):
    """A finished training job with a debugger: (base folder, log)."""
    base = tmp_path_factory.mktemp("job")
    done = run_toolkit(
        image_python,
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


def find(log, metric):
    return [float(value) for value in re.findall(rf"{metric}=([0-9.eE+-]+)", log)]


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


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
    assert files == {"model.pt", "model.json", "code/serve.py", "code/model.py"}
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
    assert metrics["weights"] == "none"
    assert metrics["calibrated"] is True
    assert set(metrics["versions"]) == {"python", "torch", "torchvision"}
    assert {"initialize", "data", "train", "evaluate", "save"} <= set(metrics["phases"])
    assert all(seconds >= 0 for seconds in metrics["phases"].values())
    assert metrics["phases"]["initialize"] > 1, "importing torch is not counted"
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


# ---- trainings by hand, in one process

BY_HAND = """
import contextlib, io, json, os, pathlib, sys
import torch, torchvision
import data, model, train

out = pathlib.Path(sys.argv[1])
for classes in (1000, 4):
    torch.manual_seed(classes)
    (out / f"state-{classes}").mkdir()
    torch.save(torchvision.models.resnet18(num_classes=classes).state_dict(), out / f"state-{classes}/weights.pth")

results = {}
# A debugger by itself: its module must be as it was before.
os.environ["SMDEBUG_CONFIG_FILE_PATH"], os.environ["TRAINING_JOB_NAME"] = str(out / "goodhookconfig.json"), "test-job"
head, loss_fn = torch.nn.Linear(3, 2), torch.nn.CrossEntropyLoss()
debugger = train.Debugger(head, loss_fn)
attached = len(head._forward_hooks)
debugger.set_mode("TRAIN")
loss_fn(head(torch.ones(4, 3)), torch.ones(4, dtype=torch.long)).backward()
debugger.close()
left = [head._forward_hooks, head._forward_pre_hooks, loss_fn._forward_hooks, head.weight._backward_hooks or ()]
results["debugger"] = {
    "why": debugger.why, "attached": attached, "left": sum(map(len, left)), "name": "_module_name" in vars(head),
    "job": os.environ.get("TRAINING_JOB_NAME"), "again": train.Debugger(head, loss_fn).why,
}
del os.environ["SMDEBUG_CONFIG_FILE_PATH"], os.environ["TRAINING_JOB_NAME"]

for name, argv in json.loads(sys.argv[2]).items():
    log, result = io.StringIO(), {}
    if name == "debugger-fails":
        os.environ["SMDEBUG_CONFIG_FILE_PATH"] = str(out / "debughookconfig.json")
    try:
        with contextlib.redirect_stdout(log):
            argv += ["--model-dir", str(out / name / "model"), "--output-data-dir", str(out / name / "output")]
            train.main(train.parse_args(argv))
        result["metrics"] = json.loads((out / name / "output/metrics.json").read_text())
    except model.UserError as error:
        result["error"] = str(error)
    results[name] = result | {"log": log.getvalue()}

def tensors(path):
    return torch.load(path, weights_only=True)
for classes in (1000, 4):
    name = f"pretrained-{classes}"
    before, after = tensors(out / f"state-{classes}/weights.pth"), tensors(out / name / "model/model.pt")
    results[name]["same"] = all(torch.equal(before[n], after[n]) for n in before if not n.startswith("fc."))
    results[name]["head"] = list(after["fc.weight"].shape)

# The loss of an epoch must not depend on the batches it came in: nothing is learnt here, so only the mean differs.
network, head_name = model.build_network("resnet18", 64)
head = model.replace_head(network, head_name, 4)
model.freeze(network, head)
classes = sorted(data.list_images(sys.argv[3], "valid"))
images = data.LabelledImages(sys.argv[3], "valid", classes, model.eval_transform(64))
nothing = train.Debugger(head, torch.nn.CrossEntropyLoss())
results["sample-mean"] = []
for batch_size in (3, 5, 28):
    args = (data.make_loader(images, batch_size, 0), torch.nn.CrossEntropyLoss())
    tail = (nothing, train.PhaseTimer("train"), torch.device("cpu"))
    still = torch.optim.SGD(head.parameters(), lr=0)
    trained = train.train_one_epoch(network, *args, still, *tail)
    results["sample-mean"].append([trained, train.evaluate(network, *args, *tail)[0]])
saved, _ = model.load_model(out / "unsteady/model")
loss = train.evaluate(saved, data.make_loader(images, 28, 0), torch.nn.CrossEntropyLoss(), *tail)[0]
results["unsteady"]["saved"] = loss
two = data.make_loader(images, 5, 2)
results["workers"] = sum(len(labels) for _, labels in two)
print(json.dumps(results))
"""


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
        "bad-optimizer": [*once, *train_valid, "--optimizer", "adam"],
        "unknown": [*once, *train_valid, "--learning-rate", "1"],
        "no-channel": [*COMMON, *train_valid, "--weights", "pretrained"],
        "vit": [*once, *train_valid, "--backbone", "vit_b_32"],
        "debugger-fails": [*once, *channels(images)],  # last: smdebug stays switched off in its process
    }
    for name, state in (("pretrained-1000", 1000), ("pretrained-4", 4), ("pretrained-misfit", 4)):
        runs[name] += ["--pretrained", str(out / f"state-{state}")]
    environment = ALONE | {"PYTHONPATH": str(ENTRYPOINTS)}
    done = subprocess.run(
        [image_python, "-c", BY_HAND, str(out), json.dumps(runs), str(images / "valid")],
        env=environment | {"SAGEMAKER_BASE_DIR": str(out)},
        cwd=out,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_learning_is_far_above_chance_and_only_from_true_labels(job, by_hand):
    base, _ = job
    learnt = json.loads((base / "output/data/metrics.json").read_text())["test:accuracy"]
    assert learnt >= 0.8
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
    assert "did not ask" in debugger["why"]


# ---- a job that fails


def test_failure_file_says_just_what_the_user_can_do(image_python, images, tmp_path):
    # A proxy nobody listens on: offline on every machine.
    nobody = "http://127.0.0.1:9"
    done = run_toolkit(
        image_python, tmp_path, images, {}, TORCH_HOME=str(tmp_path), HTTPS_PROXY=nobody, https_proxy=nobody
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

INSPECT = """
import csv, io, json, logging, os, pathlib, sys
import torch
from PIL import Image

base, images = map(pathlib.Path, sys.argv[1:3])
state = torch.load(base / "model/model.pt", weights_only=True)
found = {"tensors": all(isinstance(t, torch.Tensor) and t.is_contiguous() for t in state.values()), "n": len(state)}

os.environ["SMDEBUG_LOG_LEVEL"] = "error"
from smdebug.pytorch import modes
from smdebug.trials import create_trial
trial = create_trial(str(base / "output/tensors"))
loss = trial.tensor("CrossEntropyLoss_output_0")
for name, mode in (("TRAIN", modes.TRAIN), ("EVAL", modes.EVAL)):
    found[name] = [float(loss.value(step, mode=mode)) for step in loss.steps(mode=mode)]
found["names"] = sorted(trial.tensor_names())

logging.disable(logging.CRITICAL)
sys.path.insert(0, str(base / "model/code"))
os.environ["SAGEMAKER_PROGRAM"] = "serve.py"
from sagemaker_pytorch_serving_container.handler_service import HandlerService

class Context:
    model_name = "model"
    system_properties = {"model_dir": str(base / "model")}
    status, answer_type, headers = 200, None, {}
    def get_request_properties(self): return self.headers
    @property
    def request_processor(self): return [self]
    def set_response_status(self, code, phrase): self.status = code
    def set_response_content_type(self, request, kind): self.answer_type = kind

context, service = Context(), HandlerService()
service.initialize(context)
import model, serve
found["served_from"] = [str(pathlib.Path(m.__file__).parent.resolve()) for m in (model, serve)]
network = service._service._model[0]
modules = list(network.modules())
found["hooks"] = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in modules)
found["training"] = any(m.training for m in modules)

def ask(body, kind, **headers):
    context.status, context.headers = 200, {"Content-Type": kind, **headers}
    answer = service.handle([{"body": bytearray(body)}], context)[0]
    if context.status == 200:
        return json.loads(answer)["predictions"], context.answer_type
    return context.status, answer.splitlines()[0]

with open(base / "output/data/predictions.csv", newline="") as file:
    rows = list(csv.DictReader(file))
found["rows"] = [[row, ask((images / "test" / row["file"]).read_bytes(), "image/jpeg")[0]] for row in rows]
jpeg = (images / "test" / found["rows"][0][0]["file"]).read_bytes()
top_k = "X-Amzn-SageMaker-Custom-Attributes"
def encoded(image, kind, **options):
    image.save(file := io.BytesIO(), kind, **options)
    return file.getvalue()
picture = Image.open(io.BytesIO(jpeg))
found["asked"] = {
    "webp": ask(encoded(picture, "webp", lossless=True), "image/webp"),
    "png": ask(encoded(picture, "png"), "application/x-image; charset=utf-8"),
    "top 2": ask(jpeg, "image/jpeg", **{top_k: "a=b, top_k=2"}),
    "top again": ask(jpeg, "image/jpeg", **{top_k.lower(): "top_k=1"}),
    "top 99": ask(jpeg, "image/jpeg", **{top_k: "top_k=99"}),
    "top zero": ask(jpeg, "image/jpeg", **{top_k: "top_k=0"}),
    "text": ask(b"a dog", "text/plain"),
    "no image": ask(b"a dog", "image/jpeg"),
    "nothing": ask(b"", "image/jpeg"),
    "truncated": ask(jpeg[:len(jpeg) // 2], "image/jpeg"),
    "accept all": ask(jpeg, "image/jpeg", Accept="text/html, */*;q=0.8"),
    "accept csv": ask(jpeg, "image/jpeg", Accept="text/csv"),
}
found["decoded"] = {}
for path in sorted((images / "odd").iterdir()):
    image = model.decode_image(path)
    corners = [image.getpixel(at) for at in ((2, 2), (image.width - 3, image.height - 3))]
    found["decoded"][path.name] = [image.mode, image.size, *corners]
print(json.dumps(found))
"""


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
    done = subprocess.run(
        [image_python, "-c", INSPECT, str(base), str(images)],
        env=ALONE,
        cwd=base,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_debugger_saves_losses_in_both_modes(job, inspected):
    base, log = job
    assert json.loads((base / "output/data/metrics.json").read_text())["debugger"] == {"hook": True, "why": None}
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
        ("accept csv", 406, "only application/json"),
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
        mode, size, *found = inspected["decoded"][name]
        assert (mode, size) == ("RGB", [40, 20]), name
        for got, colour in zip(found, corners, strict=True):
            assert got == pytest.approx(colour, abs=6), name
