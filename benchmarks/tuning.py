"""(f) Whether tuning over the default ranges finds a learning rate, not the end of the range."""

import math
import sys

import accuracy
import ours
from table import Row

LEAST, MOST = 1e-4, 1e-1  # tune.ranges.lr of config.example.toml
MARGIN = 0.05  # of the range, on its logarithmic scale
TRIALS = 8
# What `dogbreed demo` takes where there are no pretrained weights.
NETWORK = ("model.weights=none", "model.backbone=resnet18", "model.image_size=128")


def measure(work, sizes):
    print("tuning on the demo images", file=sys.stderr, flush=True)
    project = ours.Project(work.folder / "tuning", *NETWORK)
    project("upload", str(accuracy.data_sets(work, sizes)["demo images"]))
    _, result = project("tune", "--max-jobs", str(TRIALS), "--data-fraction", "0.5")
    best = result["best"]
    lr = float(best["hyperparameters"]["lr"])
    place = math.log(lr / LEAST) / math.log(MOST / LEAST)
    note = f"{TRIALS} trials, validation:loss {best['objective']:.3f}, at {place:.0%} of the range {LEAST}-{MOST}"
    row = Row("learning rate that tuning picked", "ours", "", [lr], note)
    return [row.must("not an end of the range", MARGIN < place < 1 - MARGIN)]
