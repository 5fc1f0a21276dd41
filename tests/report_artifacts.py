"""For the tests of the report: what a training job leaves, the descriptions of jobs, and a page read back."""

import csv
import json
import math
from collections import Counter
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

from dogbreed_cli import report

BREEDS = ("corgi", "dalmatian", "husky", "labrador", "poodle", "pug")
START = datetime(2026, 11, 22, 9, 0, 0, tzinfo=UTC)
FILES = {
    "report.html", "metrics.json", "history.csv", "trials.csv", "per_class.csv", "predictions.csv", "MODEL_CARD.md",
    *(f"profiler-reports/{name}.json" for name in (
        "CPUBottleneck", "GPUMemoryIncrease", "IOBottleneck", "LoadBalancing", "LowGPUUtilization",
        "MaxInitializationTime", "StepOutlier", "Dataloader", "BatchSize", "OverallSystemUsage",
        "OverallFrameworkMetrics",
    )),
    *(f"debugger-reports/{name}.json" for name in (
        "LossNotDecreasing", "Overfit", "Overtraining", "VanishingGradient", "ExplodingTensor",
        "PoorWeightInitialization", "DeadRelu", "ClassImbalance", "AllZero",
    )),
}  # fmt: skip


def draw_predictions(classes, images, right=0.8):
    """`images` of each class; a wrong one is taken for one of the next two classes, by a fixed rule, not by chance."""
    rows = []
    for number, label in enumerate(classes):
        for image in range(images):
            seed = (number * 7919 + image * 104729 + number * image * 31) % 1000 / 1000
            hit = seed < right or len(classes) == 1
            guess = label if hit else classes[(number + 1 + (image % 3 == 0)) % len(classes)]
            sure = 0.55 + 0.44 * ((seed * 37) % 1)
            rows.append(
                {
                    "split": "test",
                    "file": f"test/{label}/{image:04}.jpg",
                    "label": label,
                    "prediction": guess,
                    "probability": f"{sure:.6f}",
                    "label_probability": f"{sure if hit else (1 - sure) * 0.6:.6f}",
                    "label_rank": 1 if hit else 2 + image % 5,
                }
            )
    return rows


def write_rows(path, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def write_artifacts(folder, classes=BREEDS, images=20, epochs=8, predictions=None, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    predictions = draw_predictions(classes, images) if predictions is None else predictions
    history = [
        {
            "epoch": epoch,
            "train_loss": 1.79 * 0.72**epoch + 0.05,
            "validation_loss": 1.79 * 0.76**epoch + 0.24 + 0.004 * epoch**1.5,
            "validation_accuracy": 0.85 - 0.62 * 0.65**epoch,
            "seconds": 3.5 + epoch % 3 / 10,
        }
        for epoch in range(1, epochs + 1)
    ]
    accuracy = sum(row["label"] == row["prediction"] for row in predictions) / len(predictions)
    document = {
        "schema_version": 1,
        "classes": list(classes),
        "counts": {"train": 40 * len(classes), "valid": 8 * len(classes), "test": len(predictions)},
        "best_epoch": epochs,
        "train:loss": 0.18,
        "validation:loss": 0.52,
        "validation:accuracy": 0.83,
        "test:loss": 0.5678,
        "test:accuracy": accuracy,
        "test:top5_accuracy": 0.97,
        "phases": {"initialize": 2.1, "data": 4.2, "train": 61.4, "evaluate": 6.05, "save": 0.8},
        "hyperparameters": {"batch-size": 32, "lr": 0.0042, "epochs": epochs, "backbone": "resnet50"},
        "versions": {"python": "3.11.2", "torch": "2.13.0", "torchvision": "0.28.0"},
        "debugger": {"hook": True, "why": None},
        "backbone": "resnet50",
        "weights": "IMAGENET1K_V2",
        "calibrated": False,
    } | changes
    (folder / "metrics.json").write_text(json.dumps(document), encoding="utf-8")
    write_rows(folder / "history.csv", history)
    write_rows(folder / "predictions.csv", predictions)
    return folder


def describe_job(**changes):
    steps = [("Starting", 4), ("Downloading", 11), ("Training", 75), ("Uploading", 3), ("Completed", 0)]
    transitions, moment = [], START
    for status, seconds in steps:
        ended = moment + timedelta(seconds=seconds)
        transitions.append({"Status": status, "StartTime": moment, "EndTime": ended, "StatusMessage": f"{status} …"})
        moment = ended
    return {
        "TrainingJobName": "dogbreed-train-261122-090000",
        "TrainingJobStatus": "Completed",
        "CreationTime": START - timedelta(seconds=2),
        "TrainingStartTime": START,
        "TrainingEndTime": moment,
        "TrainingTimeInSeconds": 93,
        "BillableTimeInSeconds": 31,
        "EnableManagedSpotTraining": True,
        "HyperParameters": {"batch-size": '"32"', "lr": "0.0042", "epochs": "8", "sagemaker_program": '"train.py"'},
        "ResourceConfig": {"InstanceType": "ml.g4dn.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "AlgorithmSpecification": {
            "TrainingImage": "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.8"
        },
        "InputDataConfig": [{"ChannelName": name} for name in ("train", "valid", "test")],
        "ModelArtifacts": {"S3ModelArtifacts": "s3://bucket/dogbreed/job/output/model.tar.gz"},
        "SecondaryStatusTransitions": transitions,
    } | changes


def describe_tuning(**changes):
    objective = {"Type": "Minimize", "MetricName": "validation:loss"}
    return {
        "HyperParameterTuningJobName": "dogbreed-tune-261122-083000",
        "HyperParameterTuningJobStatus": "Completed",
        "HyperParameterTuningJobConfig": {"Strategy": "Bayesian", "HyperParameterTuningJobObjective": objective},
    } | changes


def describe_trial(number, value, **changes):
    started = START - timedelta(minutes=30) + timedelta(seconds=45 * number)
    metric = {"MetricName": "validation:loss", "Value": value}
    return (
        {
            "TrainingJobName": f"dogbreed-tune-261122-083000-{number:03}-ab12cd34",
            "TrainingJobStatus": "Completed",
            "TunedHyperParameters": {"lr": f'"{0.0042 * number}"', "batch-size": '"32"'},
            "TrainingStartTime": started,
            "TrainingEndTime": started + timedelta(seconds=40.5),
            "ObjectiveStatus": "Succeeded",
        }
        | ({} if value is None else {"FinalHyperParameterTuningJobObjectiveMetric": metric})
        | changes
    )


TRIALS = [
    describe_trial(4, 0.91),
    describe_trial(
        3, None, TrainingJobStatus="Failed", FailureReason="AlgorithmError: the loss is nan", TrainingEndTime=None
    ),
    describe_trial(2, 0.74),
    describe_trial(1, 0.52),
    describe_trial(5, math.nan, TrainingJobStatus="Stopped"),
]


def build_full(folder):
    """A good job with everything, built; its artifacts are in `artifacts`."""
    return report.build(write_artifacts(folder / "artifacts"), describe_job(), describe_tuning(), TRIALS)


class Page(HTMLParser):
    """What a test wants of a page: its text by section, ids, attributes that fetch, and that its tags are balanced."""

    VOID = frozenset({"meta", "br", "link", "img", "input", "hr", "wbr"})

    def __init__(self, html):
        super().__init__()
        self.open, self.ids, self.fetches, self.tags, self.section = [], [], [], Counter(), ""
        self.sections, self.values, self.labels = {}, [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags[tag] += 1
        self.ids += [given["id"]] if "id" in given else []
        self.fetches += [v for k, v in attributes if k in ("src", "href", "xlink:href", "srcset", "data", "action")]
        self.values += [float(given["value"])] if tag == "data" else []
        self.labels += [given["aria-label"]] if "aria-label" in given else []
        if tag == "section":
            self.section = given["id"]
        if tag != "wbr":
            self.handle_data(" ")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "section":
            self.section = ""

    def handle_data(self, data):
        self.sections[self.section] = self.sections.get(self.section, "") + data


def render(built, folder):
    paths = report.write(built, folder)
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert set(paths) == FILES == written
    return Page(paths["report.html"].read_text(encoding="utf-8"))


def read_rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
