"""The report where data lack: jobs that failed, no test images, damaged files, numbers that are none."""

import json

import pytest
from report_artifacts import (
    BREEDS,
    describe_job,
    describe_trial,
    describe_tuning,
    draw_predictions,
    read_rows,
    render,
    write_artifacts,
)

from dogbreed_cli import report


@pytest.mark.parametrize("status", ["Failed", "Stopped"])
def test_job_that_left_nothing(tmp_path, status):
    job = describe_job(TrainingJobStatus=status, FailureReason="AlgorithmError: the loss is nan at epoch 1; lower lr")
    built = report.build(tmp_path / "nothing", job)
    page = render(built, tmp_path / "out")
    assert f"The job's status is {status}" in page.sections["curves"]
    for section in ("result", "classes", "calibration", "confusion", "mistakes"):
        assert "predictions.csv is not among the job's artifacts" in page.sections[section]
    assert "metrics.json is not among" in page.sections["time"]
    assert "There is no profiler-output" in page.sections["machine"]
    assert "There is no debug-output" in page.sections["tensors"]
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


def test_job_on_cached_features_has_a_test_split_without_a_channel(tmp_path):
    job = describe_job(InputDataConfig=[{"ChannelName": "features"}])
    features = {"fingerprint": "9f2c", "engine": "openvino f32", "views": 2}
    folder = write_artifacts(tmp_path / "a", features=features)
    assert report.build(folder, job).evaluation.split == "test"
    (folder / "predictions.csv").unlink()
    page = render(report.build(folder, job), tmp_path / "out")
    assert "no test channel" not in page.sections["result"]
    assert "predictions.csv is not among" in page.sections["result"]
    assert "fingerprint 9f2c, engine openvino f32, views 2" in page.sections["settings"]
    (folder / "metrics.json").unlink()
    assert "no test channel" not in report.build(folder, job).missing["evaluation"]


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
