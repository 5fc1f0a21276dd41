"""For the tests of the entry points: small pictures to learn from, and a job under AWS's own training toolkit."""

import csv
import json
import os
import random
import re
import shutil
import subprocess
from pathlib import Path

from forked import run_forked_python
from PIL import Image, ImageDraw

from dogbreed_cli.local.training import START_TOOLKIT

ENTRYPOINTS = Path(__file__).parents[1] / "entrypoints"
FORK = Path(__file__).with_name("fork_trainings.py")
COLOURS = {
    "001.Affenpinscher": (200, 60, 50),
    "002.Beagle": (60, 170, 80),
    "003.Collie": (60, 80, 200),
    "004.Dalmatian": (220, 210, 90),
}
EPOCHS = 12  # enough to learn the colours
COMMON = ["--backbone", "resnet18", "--image-size", "32"]
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


def draw_images(root):
    """train 20, valid 7 and test 6 images a class; test has no Beagles."""
    rng = random.Random(0)
    for split, count in (("train", 20), ("valid", 7), ("test", 6)):
        for label in COLOURS:
            if (split, label) == ("test", "002.Beagle"):
                continue
            (root / split / label).mkdir(parents=True)
            for i in range(count):
                draw(rng, label).save(root / split / label / f"{i:02}.jpg", quality=90)
    (root / "train" / "manifest.json").write_text("{}")  # upload leaves such beside the classes


def channels(root):
    return [part for split in ("train", "valid", "test") for part in (f"--{split}", str(root / split))]


# ---- trainings in forks of one process


def run_forked(python, out, plan):
    """({name: exit codes}, `out`), which has <name>.log, <name>/model and <name>/output of each run of the plan."""
    arguments = (FORK, ENTRYPOINTS, out, json.dumps(plan))
    done = run_forked_python(python, *arguments, env=ALONE | {"SAGEMAKER_BASE_DIR": str(out)})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), out


def said(runs, name):
    """The log of one of them."""
    return (runs[1] / f"{name}.log").read_text()


def read_output(folder):
    """(metrics.json, history without its seconds, the rows of predictions.csv) of an output folder."""
    rows = read_csv(folder / "history.csv")
    history = [{key: float(value) for key, value in row.items() if key != "seconds"} for row in rows]
    return json.loads((folder / "metrics.json").read_text()), history, read_csv(folder / "predictions.csv")


def result(runs, name):
    """`read_output` of one of them, every process of which has to have ended well."""
    assert set(runs[0][name]) == {0}, said(runs, name)
    return read_output(runs[1] / name / "output")


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
        [python, "-c", START_TOOLKIT],
        env=job | environment,
        cwd=base,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )


def find(log, metric):
    return [float(value) for value in re.findall(rf"{metric}=([0-9.eE+-]+)", log)]


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
