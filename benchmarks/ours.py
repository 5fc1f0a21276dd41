"""Our side: the product as users run it. Extraction and training by hand, or the whole job through the command."""

import csv
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import process

from dogbreed_cli.local.image import ensure

TRAIN = process.ROOT / "entrypoints" / "train.py"


@dataclass
class Extraction:
    """One run of the features job's program: its folder, images/s as it says, engine, seconds and peak bytes."""

    folder: Path
    rate: float
    engine: str
    seconds: float
    peak: int


def container_python():
    """The interpreter of the local container image, the one that local jobs run under."""
    return ensure(lambda line: print(line, file=sys.stderr))


def extract(images, folder, weights, engine, precision="auto", image_size=224, train=None):
    """`train.py --mode extract` in a process of its own. `train` stands in for the training images of `images`."""
    shutil.rmtree(folder, ignore_errors=True)
    done = process.run(
        [container_python(), TRAIN, "--mode", "extract", "--engine", engine, "--precision", precision,
         *network(weights, image_size), "--train", train or images / "train", "--valid", images / "valid",
         "--test", images / "test", "--model-dir", folder / "features", "--output-data-dir", folder / "output"]
    )  # fmt: skip
    said = json.loads((folder / "output" / "metrics.json").read_text())
    return Extraction(folder / "features", said["images_per_second"], said["engine"], done.seconds, done.peak)


def train(features, folder, weights, epochs, image_size=224, patience=0):
    """`train.py --features` in a process of its own; returns how it Finished."""
    shutil.rmtree(folder, ignore_errors=True)
    return process.run(
        [container_python(), TRAIN, "--features", features, *network(weights, image_size), "--epochs", epochs,
         "--patience", patience, "--model-dir", folder / "model", "--output-data-dir", folder / "output"]
    )  # fmt: skip


def network(weights, image_size):
    """The options that extraction and training must share."""
    return ["--backbone", "resnet50", "--weights", "pretrained", "--pretrained", weights.parent,
            "--image-size", image_size]  # fmt: skip


def test_accuracy(folder):
    """Of what `train` wrote to `folder`."""
    return json.loads((folder / "output" / "metrics.json").read_text())["test:accuracy"]


def predictions(folder):
    """{image: predicted class} of the test images."""
    with (folder / "output" / "predictions.csv").open(newline="") as file:
        return {row["file"]: row["prediction"] for row in csv.DictReader(file)}


class Project:
    """A project in an empty folder of its own, used through the command, a process for each call."""

    def __init__(self, folder, *settings):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder, self.settings = folder, [word for setting in settings for word in ("--set", setting)]

    def __call__(self, *words):
        """(seconds from start to end of the process, its JSON document)."""
        home = {"DOGBREED_HOME": str(self.folder / ".dogbreed")}
        command = [process.DOGBREED, "--target", "local", "--json", *self.settings, *words]
        done = process.run(command, self.folder, home)
        return done.seconds, json.loads(done.stdout)
