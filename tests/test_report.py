"""The report: numbers recomputed by hand from predictions.csv, every lack of data, hostile names, size and time."""

import csv
import json
import math
import re
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from dogbreed_cli import report
from dogbreed_cli.errors import DogbreedError
from dogbreed_cli.report import trials
from dogbreed_cli.report.metrics import estimate_proportion

BREEDS = ("corgi", "dalmatian", "husky", "labrador", "poodle", "pug")
START = datetime(2026, 11, 22, 9, 0, 0, tzinfo=UTC)
FILES = {"report.html", "metrics.json", "history.csv", "trials.csv", "per_class.csv", "predictions.csv"}


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


@pytest.fixture
def full(tmp_path):
    """A good job with everything, built."""
    return report.build(write_artifacts(tmp_path / "artifacts"), describe_job(), describe_tuning(), TRIALS)


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
    assert set(paths) == FILES == {path.name for path in folder.iterdir()}
    return Page(paths["report.html"].read_text(encoding="utf-8"))


def read_rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_numbers_are_those_of_a_count_by_hand(full, tmp_path):
    rows = read_rows(tmp_path / "artifacts" / "predictions.csv")
    evaluation = full.evaluation
    hits = sum(row["label"] == row["prediction"] for row in rows)
    assert 0 < hits < len(rows) == 120
    assert evaluation.accuracy.correct == hits
    assert evaluation.accuracy.value == hits / len(rows)
    assert evaluation.top5.correct == sum(int(row["label_rank"]) <= 5 for row in rows)
    assert hits < evaluation.top5.correct < len(rows)
    pairs = Counter((row["label"], row["prediction"]) for row in rows)
    f1s, supports = [], []
    for i, name in enumerate(BREEDS):
        score = evaluation.per_class[i]
        true_positives = pairs[name, name]
        support = sum(count for (label, _), count in pairs.items() if label == name)
        predicted = sum(count for (_, guess), count in pairs.items() if guess == name)
        f1 = 2 * true_positives / (support + predicted)
        assert (score.label, score.support, score.predicted, score.correct) == (
            name,
            support,
            predicted,
            true_positives,
        )
        assert score.precision == pytest.approx(true_positives / predicted)
        assert score.recall == pytest.approx(true_positives / support)
        assert score.f1 == pytest.approx(f1)
        f1s.append(f1)
        supports.append(support)
        for j, other in enumerate(BREEDS):
            assert evaluation.confusion.counts[i][j] == pairs[name, other]
            assert evaluation.confusion.shares[i][j] == pairs[name, other] / support
    assert evaluation.macro.f1 == pytest.approx(sum(f1s) / len(f1s))
    weighted = sum(f1 * support for f1, support in zip(f1s, supports, strict=True)) / len(rows)
    assert evaluation.weighted.f1 == pytest.approx(weighted)
    assert evaluation.weighted.recall == pytest.approx(evaluation.accuracy.value)


def test_mistakes_and_pairs_are_the_worst_first(full):
    evaluation = full.evaluation
    assert all(row.label != row.prediction for row in evaluation.mistakes)
    sure = [row.probability for row in evaluation.mistakes]
    assert sure == sorted(sure, reverse=True)
    wrong = [row for row in full.predictions if row.label != row.prediction]
    assert sure[0] == max(row.probability for row in wrong)
    counts = Counter((row.label, row.prediction) for row in wrong)
    assert {(pair.label, pair.prediction): pair.count for pair in evaluation.pairs} == dict(counts)
    assert evaluation.pairs[0].count == counts.most_common(1)[0][1]


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [
        (9, 10, 0.5958, 0.9821),  # R: binom.confint(9, 10, methods = "wilson")
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (1, 1, 0.2065, 1.0),
        (50, 100, 0.4038, 0.5962),
    ],
)
def test_wilson_interval(correct, total, low, high):
    interval = estimate_proportion(correct, total)
    assert (interval.low, interval.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_loss_is_the_jobs_own_or_computed(tmp_path):
    folder = write_artifacts(tmp_path / "a")
    assert report.build(folder, describe_job()).evaluation.loss == 0.5678
    write_artifacts(folder, **{"test:loss": None})
    rows = read_rows(folder / "predictions.csv")
    mean = sum(-math.log(float(row["label_probability"])) for row in rows) / len(rows)
    assert report.build(folder, describe_job()).evaluation.loss == pytest.approx(mean)


def test_same_numbers_in_page_json_csv_and_words(full, tmp_path):
    page = render(full, tmp_path / "out")
    document = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert document == json.loads(json.dumps(report.to_json(full)))
    assert document["schema_version"] == 1
    evaluation = document["evaluation"]
    words = dict(report.summarize(full))

    accuracy = evaluation["accuracy"]
    percent = f"{100 * accuracy['value']:.1f}\N{NO-BREAK SPACE}%"
    assert percent in page.sections["result"]
    assert words["Accuracy"].startswith(percent)
    interval = f"{100 * accuracy['low']:.1f} to {100 * accuracy['high']:.1f}"
    assert interval in page.sections["result"]
    assert interval in words["Accuracy"]
    assert page.values[:4] == [
        accuracy["value"],
        evaluation["top5"]["value"],
        evaluation["loss"],
        evaluation["macro"]["f1"],
    ]
    shown = Counter(page.values)
    table = read_rows(tmp_path / "out" / "per_class.csv")
    for score, line in zip(evaluation["per_class"], table, strict=True):
        assert line["label"] == score["label"]
        for name in ("support", "predicted", "correct", "precision", "recall", "recall_low", "recall_high", "f1"):
            assert float(line[name]) == score[name]
        assert shown[score["precision"]] and shown[score["recall"]] and shown[score["f1"]]
    for row in evaluation["confusion"]["counts"]:
        for count in row:
            assert str(count) in page.sections["confusion"]
    for phase in document["phases"]:
        assert shown[phase["share"]]
    assert sum(phase["share"] for phase in document["phases"]) == pytest.approx(1)
    assert "train 82\N{NO-BREAK SPACE}%" in words["Time"]

    assert read_rows(tmp_path / "out" / "predictions.csv") == [
        line | {name: str(float(line[name])) for name in ("probability", "label_probability")}
        for line in read_rows(tmp_path / "artifacts" / "predictions.csv")
    ]
    assert read_rows(tmp_path / "out" / "history.csv") == read_rows(tmp_path / "artifacts" / "history.csv")
    for line, row in zip(read_rows(tmp_path / "out" / "trials.csv"), document["tuning"]["trials"], strict=True):
        assert line["TrainingJobName"] == row["TrainingJobName"]
        assert line["FinalObjectiveValue"] == (
            "" if row["FinalObjectiveValue"] is None else str(row["FinalObjectiveValue"])
        )


def test_trials_are_sorted_best_first_with_the_original_columns():
    rows = trials.read_trials(TRIALS, "Minimize")
    assert [trial.objective for trial in rows] == [0.52, 0.74, 0.91, None, None]
    assert trials.columns(rows) == ("batch-size", "lr", *trials.COLUMNS)
    assert trials.COLUMNS == (
        "TrainingJobName",
        "TrainingJobStatus",
        "FinalObjectiveValue",
        "TrainingStartTime",
        "TrainingEndTime",
        "TrainingElapsedTimeSeconds",
    )
    best = trials.as_row(rows[0])
    assert (best["batch-size"], best["lr"], best["TrainingElapsedTimeSeconds"]) == (32, 0.0042, 40.5)
    assert [trial.objective for trial in trials.read_trials(TRIALS, "Maximize")] == [0.91, 0.74, 0.52, None, None]
    assert trials.read_trials(rows, "Minimize") == rows
    assert trials.find_best(rows[3:]) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"32"', 32),
        ("32", 32),
        ("1e-05", 1e-05),
        ('"adam"', "adam"),
        ("adam", "adam"),
        ("true", "true"),
        ("NaN", "NaN"),
    ],
)
def test_hyperparameters_are_decoded(text, value):
    decoded = trials.read_trial({"TunedHyperParameters": {"x": text}}).hyperparameters["x"]
    assert (decoded, type(decoded)) == (value, type(value))


def test_best_hyperparameters_say_whether_the_job_used_them(full, tmp_path):
    assert dict(report.summarize(full))["Best hyperparameters"] == "batch-size 32, lr 0.0042 (which this job used)"
    assert report.to_json(full)["tuning"]["used_best"] is True
    other = describe_job(HyperParameters={"batch-size": "64", "lr": "0.0042"})
    built = report.build(tmp_path / "artifacts", other, describe_tuning(), TRIALS)
    assert "this job used others" in dict(report.summarize(built))["Best hyperparameters"]


def test_page_is_offline_accessible_and_whole(full, tmp_path):
    page = render(full, tmp_path / "out")
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert all(target.startswith("#") for target in page.fetches)
    assert not re.search(r"url\((?!#)|@import|<script|<link|<img|<iframe|\son\w+=", html)
    assert not re.search(r"https?://", html)
    assert [name for name, count in Counter(page.ids).items() if count > 1] == []
    assert {target[1:] for target in page.fetches} <= set(page.ids)
    assert page.tags["h1"] == 1 and page.tags["h2"] == 9 and page.tags["svg"] == 3
    assert re.findall(r'<th(?! scope="(?:col|row)")[ >].*', html) == []
    assert all('role="img" aria-label="' in svg for svg in re.findall(r"<svg[^>]*>", html))
    assert "currentColor" in html and "#010101" not in html
    assert "10 of" not in page.sections["job"]
    assert "ml.g4dn.xlarge" in page.sections["job"] and "66.7" in page.sections["job"]
    assert "AlgorithmError: the loss is nan" in page.sections["trials"]
    assert "Uploading" in page.sections["time"] and "torchvision" in page.sections["settings"]


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "$\\frac{1}{2}$",
    "a&b;'c",
    "{{ 7*7 }}",
    "犬 🐕",
)


def test_hostile_names_are_text(tmp_path):
    folder = write_artifacts(tmp_path / "a", classes=HOSTILE)
    name = '<b>"job"</b>'
    failure = "</pre><script>alert(2)</script>"
    tuned = [describe_trial(1, 0.5, TunedHyperParameters={"<i>lr</i>": '"<u>x</u>"'}, FailureReason=failure)]
    metric = {"Type": "Maximize", "MetricName": "$x$ <s>&"}
    tuning = describe_tuning(HyperParameterTuningJobConfig={"HyperParameterTuningJobObjective": metric})
    job = describe_job(TrainingJobName=name, TrainingJobStatus="Failed", FailureReason=failure)
    page = render(report.build(folder, job, tuning, tuned), tmp_path / "out")
    for tag in ("script", "img", "b", "i", "u", "s"):
        assert page.tags[tag] == 0
    for text in HOSTILE:
        assert text in page.sections["confusion"]
        assert text in page.sections["classes"]
    assert failure in page.sections["result"]
    assert "49" not in page.sections["classes"].split()
    assert [row["label"] for row in read_rows(tmp_path / "out" / "per_class.csv")] == list(HOSTILE)


@pytest.mark.parametrize("status", ["Failed", "Stopped"])
def test_job_that_left_nothing(tmp_path, status):
    job = describe_job(TrainingJobStatus=status, FailureReason="AlgorithmError: the loss is nan at epoch 1; lower lr")
    built = report.build(tmp_path / "nothing", job)
    page = render(built, tmp_path / "out")
    assert f"The job's status is {status}" in page.sections["curves"]
    for section in ("result", "classes", "confusion", "mistakes"):
        assert "predictions.csv is not among the job's artifacts" in page.sections[section]
    assert "metrics.json is not among" in page.sections["time"]
    assert "No tuning job belongs to this report" in page.sections["trials"]
    assert "lower lr" in page.sections["result"]
    assert dict(report.summarize(built))["Failure reason"].endswith("lower lr")
    assert read_rows(tmp_path / "out" / "per_class.csv") == []
    assert report.to_json(built)["evaluation"] is None


def test_empty_descriptions_render(tmp_path):
    page = render(report.build(tmp_path, {}, {"HyperParameterTuningJobName": "t"}, []), tmp_path / "out")
    assert "has started no trial" in page.sections["trials"]
    assert "lists no secondary statuses" in page.sections["time"]
    assert "Neither the training job nor metrics.json" in page.sections["settings"]


def test_no_test_channel_falls_back_to_validation_and_says_so(tmp_path):
    rows = [row | {"split": "valid"} for row in draw_predictions(BREEDS, 10)]
    folder = write_artifacts(
        tmp_path / "a", predictions=rows, counts={"train": 240, "valid": 60}, **{"test:loss": None}
    )
    built = report.build(folder, describe_job())
    assert built.evaluation.split == "valid"
    assert built.evaluation.loss == 0.52
    page = render(built, tmp_path / "out")
    assert "also chose the best epoch" in page.sections["result"]
    assert "validation images" in page.sections["result"]
    (folder / "predictions.csv").unlink()
    page = render(report.build(folder, describe_job()), tmp_path / "out")
    assert "no test channel" in page.sections["result"]


def test_class_without_test_images(tmp_path):
    rows = [row for row in draw_predictions(BREEDS, 10) if row["label"] != "pug"]
    folder = write_artifacts(tmp_path / "a", predictions=rows)
    built = report.build(folder, describe_job())
    pug = built.evaluation.per_class[5]
    assert (pug.label, pug.support, pug.recall, pug.recall_low) == ("pug", 0, None, None)
    assert built.evaluation.confusion.shares[5] == (0.0,) * 6
    page = render(built, tmp_path / "out")
    assert "no test image" in page.sections["classes"]
    assert "1 of 6 classes have no test image: pug" in page.sections["result"]
    json.dumps(report.to_json(built), allow_nan=False)


def test_one_class_one_trial_one_epoch_and_no_mistake(tmp_path):
    folder = write_artifacts(tmp_path / "a", classes=("pug",), images=3, epochs=1)
    built = report.build(folder, describe_job(), describe_tuning(), [describe_trial(1, 0.5)])
    assert built.evaluation.top5 is None
    page = render(built, tmp_path / "out")
    assert "1 trial, best first" in " ".join(page.sections["trials"].split())
    assert "There is no mistake" in page.sections["mistakes"]
    assert "No two classes were confused" in page.sections["confusion"]


def test_trials_without_an_objective(tmp_path):
    folder = write_artifacts(tmp_path / "a")
    waiting = describe_trial(1, None, TrainingJobStatus="InProgress", TrainingEndTime=None, TrainingStartTime=None)
    built = report.build(folder, describe_job(), describe_tuning(), [waiting, waiting])
    page = render(built, tmp_path / "out")
    assert "None of the 2 trials has reported" in page.sections["trials"]
    assert "None of the 2 trials" in dict(report.summarize(built))["Best hyperparameters"]


def test_damaged_artifacts_are_named(tmp_path):
    folder = write_artifacts(tmp_path / "a")
    (folder / "metrics.json").write_text('{"schema_version": 1, "clas')
    lines = (folder / "predictions.csv").read_text().splitlines()
    (folder / "predictions.csv").write_text("\n".join(lines[:50]) + "\ntest,x.jpg,pug,pu")
    (folder / "history.csv").write_text("epoch,train_loss\n1,0.5\n")
    built = report.build(folder, describe_job())
    page = render(built, tmp_path / "out")
    assert len(built.predictions) == 49
    assert "metrics.json cannot be read" in page.sections["result"]
    assert "predictions.csv: 1 line(s) left out that cannot be read, the first is line 51" in page.sections["result"]
    assert "history.csv: 1 line(s) left out" in page.sections["result"]


def test_wrong_types_in_metrics_are_named(tmp_path):
    folder = write_artifacts(tmp_path / "a", schema_version=2, counts=[1], best_epoch="two", phases={"train": None})
    notes = " ".join(report.build(folder, describe_job()).notes)
    assert "schema_version 2" in notes and "counts is not" in notes and "best_epoch is not" in notes


def test_exploded_training_renders(tmp_path):
    rows = [row | {"probability": "nan", "label_probability": "nan"} for row in draw_predictions(BREEDS, 4)]
    folder = write_artifacts(tmp_path / "a", predictions=rows, **{"test:loss": None})
    (folder / "history.csv").write_text(
        "epoch,train_loss,validation_loss,validation_accuracy,seconds\n1,2.5,,0.2,1\n2,nan,inf,0.2,1\n"
    )
    built = report.build(folder, describe_job())
    page = render(built, tmp_path / "out")
    assert "not a finite number from epoch 2 on" in page.sections["result"]
    document = json.loads((tmp_path / "out" / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert document["epochs"][1]["train_loss"] is None


def test_what_a_reader_must_know_is_noted(tmp_path):
    why = "smdebug cannot be imported"
    changes = {"test:accuracy": 0.99, "weights": "none", "debugger": {"hook": False, "why": why}}
    built = report.build(write_artifacts(tmp_path / "a", **changes), describe_job())
    notes = " ".join(built.notes)
    assert "metrics.json says test:accuracy is 0.9900" in notes and "random weights" in notes and why in notes
    assert why in render(built, tmp_path / "out").sections["settings"]


def test_133_classes_and_8000_predictions(tmp_path):
    classes = [f"{i:03}.Breed_with_a_long_name_{i}" for i in range(1, 134)]
    folder = write_artifacts(tmp_path / "a", classes=classes, images=61, epochs=30)
    many = [describe_trial(n % 60 + 1, 0.5 + n / 100) for n in range(40)]
    began = time.perf_counter()
    built = report.build(folder, describe_job(), describe_tuning(), many)
    page = render(built, tmp_path / "out")
    assert time.perf_counter() - began < 5
    assert len(built.predictions) == 8113
    assert (tmp_path / "out" / "report.html").stat().st_size < 2_000_000
    assert page.tags["rect"] > 133
    assert len(built.evaluation.pairs) == 20 and len(built.evaluation.mistakes) == 25
    assert "Breed_with_a_long_name_133" in page.sections["classes"]


def test_write_replaces_an_earlier_report(full, tmp_path):
    out = tmp_path / "out"
    render(full, out)
    render(report.build(tmp_path / "nothing", describe_job(TrainingJobStatus="Failed")), out)
    assert read_rows(out / "predictions.csv") == read_rows(out / "trials.csv") == read_rows(out / "history.csv") == []


def test_folder_that_cannot_be_written(full, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DogbreedError, match="cannot be written") as error:
        report.write(full, Path(tmp_path / "file"))
    assert "--output" in error.value.fix
