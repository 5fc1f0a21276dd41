"""The report's numbers: recomputed by hand from predictions.csv, the same wherever they stand, and those of trials."""

import json
import math
from collections import Counter
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from report_artifacts import (
    BREEDS,
    TRIALS,
    build_full,
    describe_job,
    describe_tuning,
    read_rows,
    render,
    write_artifacts,
)
from report_watched import build_watched

from dogbreed_cli import report
from dogbreed_cli.report import trials
from dogbreed_cli.report.metrics import estimate_proportion


@pytest.fixture
def full(tmp_path):
    return build_full(tmp_path)


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


@pytest.mark.parametrize("kind", ["full", "watched", "failed"])
def test_metrics_json_is_what_its_schema_says(kind, tmp_path):
    schema = json.loads((Path(report.__file__).parent / "metrics.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    failed = describe_job(TrainingJobStatus="Failed", ModelArtifacts=None)
    built = {
        "full": build_full,
        "watched": build_watched,
        "failed": lambda folder: report.build(folder / "none", failed),
    }[kind](tmp_path)
    path = report.write(built, tmp_path / "out")["metrics.json"]
    document = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert [error.message for error in Draft202012Validator(schema).iter_errors(document)] == []
    # No member of the first level that the schema does not name.
    assert set(document) == set(schema["properties"])


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
