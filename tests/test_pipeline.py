"""The main job as users run it: seven commands, each in a process of its own, on real images, with no config file.

One run of the pipeline is shared by the tests of this file; each looks at another part of what it left.
"""

from __future__ import annotations

import csv
import gzip
import http.server
import json
import re
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from conftest import PLANTED, SECRETS, Dogbreed, Forked, processes_of

from dogbreed_cli.local import BUCKET, Home, connect

COLUMNS = [
    "TrainingJobName",
    "TrainingJobStatus",
    "FinalObjectiveValue",
    "TrainingStartTime",
    "TrainingEndTime",
    "TrainingElapsedTimeSeconds",
]


@dataclass(frozen=True)
class Pipeline:
    dogbreed: Dogbreed
    results: dict[str, dict[str, Any]]
    tune_text: str

    @property
    def boto(self) -> boto3.Session:
        return connect(Home(self.dogbreed.folder / ".dogbreed"))


@pytest.fixture(scope="session")
def pipeline(dogs: Path, image_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """upload, upload again, tune, train, report and deploy; torn down after the last test."""
    dogbreed = Dogbreed(tmp_path_factory.mktemp("pipeline"), {"OMP_NUM_THREADS": "1", **SECRETS})
    (dogbreed.folder / ".env").write_text(f"AWS_SECRET_ACCESS_KEY={PLANTED}dotenv")
    results = {"upload": dogbreed.json("upload", str(dogs)), "upload again": dogbreed.json("upload", str(dogs))}
    tuned = dogbreed.run("tune", "--max-jobs", "4")
    name = re.search(r"tuning job (\S+)", tuned.stderr)
    assert name
    results["tune"] = dogbreed.json("tune", "--attach", name[1])
    results["train"] = dogbreed.json("-v", "train", "--from-best", "--epochs", "12")
    results["report"] = dogbreed.json("report")
    results["deploy"] = dogbreed.json("deploy")
    yield Pipeline(Forked(dogbreed.folder, dogbreed.environment), results, tuned.stdout)
    dogbreed.run("teardown", "--yes")
    assert not processes_of(dogbreed.folder)


def test_upload_counts_and_sends_once(pipeline: Pipeline, dogs: Path) -> None:
    first, second = pipeline.results["upload"], pipeline.results["upload again"]
    assert first["counts"] == {"train": 96, "valid": 36, "test": 36}
    assert (first["sent"], second["sent"], second["unchanged"]) == (168, 0, 168)
    stored = Home(pipeline.dogbreed.folder / ".dogbreed").s3 / BUCKET / "dogbreed" / "data" / "train"
    local = sorted(path.relative_to(dogs / "train") for path in (dogs / "train").rglob("*.jpg"))
    assert [path.relative_to(stored) for path in sorted(stored.rglob("*.jpg"))] == local
    assert all((stored / path).read_bytes() == (dogs / "train" / path).read_bytes() for path in local)


def test_tune_shows_the_original_projects_table(pipeline: Pipeline) -> None:
    head = next(line for line in pipeline.tune_text.splitlines() if "batch-size" in line)
    assert head.split() == ["batch-size", "lr", *COLUMNS]
    trials = pipeline.results["tune"]["trials"]
    assert len(trials) == 4
    assert all(list(trial) == ["batch-size", "lr", *COLUMNS] for trial in trials)
    assert {trial["TrainingJobStatus"] for trial in trials} == {"Completed"}
    values = [trial["FinalObjectiveValue"] for trial in trials]
    assert values == sorted(values)
    assert all(1e-4 <= trial["lr"] <= 1e-1 and trial["batch-size"] in (16, 32, 64, 128) for trial in trials)
    best = pipeline.results["tune"]["best"]
    assert best["objective"] == values[0]
    assert best["hyperparameters"] == {name: trials[0][name] for name in ("batch-size", "lr")}


def test_train_uses_the_best_and_learns(pipeline: Pipeline) -> None:
    best, trained = pipeline.results["tune"]["best"], pipeline.results["train"]
    assert trained["hyperparameters"] | best["hyperparameters"] == trained["hyperparameters"]
    assert trained["hyperparameters"]["epochs"] == 12
    # Six breeds: one in six by chance. With shuffled labels 36 pictures give over 0.4 once in two thousand times.
    assert trained["metrics"]["test:accuracy"] > 0.4


def test_report_agrees_with_the_job(pipeline: Pipeline) -> None:
    folder = pipeline.dogbreed.folder / "report"
    shown = json.loads((folder / "metrics.json").read_text())
    accuracy = pipeline.results["train"]["metrics"]["test:accuracy"]
    assert shown["evaluation"]["accuracy"]["value"] == pytest.approx(accuracy, abs=1e-6)
    assert pipeline.results["report"]["evaluation"] == shown["evaluation"]
    with (folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(row["label"] == row["prediction"] for row in rows) / len(rows) == pytest.approx(accuracy, abs=1e-6)
    assert len(list(csv.DictReader((folder / "history.csv").open()))) == len(shown["epochs"]) > 5
    assert len(list(csv.DictReader((folder / "trials.csv").open()))) == 4
    page = (folder / "report.html").read_text()
    assert pipeline.results["train"]["training_job"] in page
    assert all(trial["TrainingJobName"] in page for trial in pipeline.results["tune"]["trials"])


def test_predict_agrees_with_the_job(pipeline: Pipeline, dogs: Path) -> None:
    with (pipeline.dogbreed.folder / "report" / "predictions.csv").open() as file:
        expected = {str(dogs / "test" / row["file"]): row for row in csv.DictReader(file)}
    answers = pipeline.dogbreed.json("predict", str(dogs / "test"))["answers"]
    assert {answer["image"] for answer in answers} == expected.keys()
    for answer in answers:
        row, best = expected[answer["image"]], answer["predictions"][0]
        # Two classes may be level to the last digit; then either may stand first.
        assert best["probability"] == pytest.approx(float(row["probability"]), abs=1e-3)
        assert len(answer["predictions"]) == 5


def test_predict_takes_files_stdin_and_goes_on_after_a_bad_one(pipeline: Pipeline, dogs: Path, tmp_path: Path) -> None:
    image = next((dogs / "test" / "057.Dalmatian").iterdir())
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(image.read_bytes()[:300])
    text = pipeline.dogbreed.run("predict", "-", "--top-k", "2", stdin=image.read_bytes()).stdout
    assert re.search(r"^- +\(\d+ ms\)\n( +\d{3}\.\w+ .*%\n){2}$", text)
    sources = [str(image), str(broken), "nosuch.jpg"]
    answers = pipeline.dogbreed.json("predict", *sources, "--csv", str(tmp_path / "a.csv"), code=1)["answers"]
    assert [answer["image"] for answer in answers] == sources
    assert [answer["error"] is None for answer in answers] == [True, False, False]
    assert "not a readable image" in answers[1]["error"]
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 1 + 5 + 2


def test_predict_refuses_a_url_on_this_machine(pipeline: Pipeline) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
        url = f"https://127.0.0.1:{server.server_port}/dog.jpg"
        (answer,) = pipeline.dogbreed.json("predict", url, code=1)["answers"]
    assert "private network" in answer["error"]


def test_a_second_deploy_changes_nothing_and_another_job_updates(pipeline: Pipeline) -> None:
    client = pipeline.boto.client("sagemaker")
    before = client.describe_endpoint(EndpointName="dogbreed-endpoint")
    pipeline.dogbreed.run("deploy")
    assert client.describe_endpoint(EndpointName="dogbreed-endpoint") | {"ResponseMetadata": 0} == before | {
        "ResponseMetadata": 0
    }
    trial = pipeline.results["tune"]["trials"][0]["TrainingJobName"]
    updated = pipeline.dogbreed.json("deploy", "--job", trial)
    assert updated["status"] == "InService"
    after = client.describe_endpoint(EndpointName="dogbreed-endpoint")
    assert after["EndpointConfigName"] == updated["endpoint_config"] != before["EndpointConfigName"]
    # What served before is gone, and only that.
    (model,) = client.list_models()["Models"]
    assert model["ModelName"].startswith(f"{trial}-")
    assert [c["EndpointConfigName"] for c in client.list_endpoint_configs()["EndpointConfigs"]] == [
        updated["endpoint_config"]
    ]
    pipeline.dogbreed.run("deploy")


def test_plain_boto3_sees_all_of_it(pipeline: Pipeline) -> None:
    client = pipeline.boto.client("sagemaker")
    tuning_job = pipeline.results["tune"]["tuning_job"]
    described = client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=tuning_job)
    assert described["BestTrainingJob"]["TrainingJobName"] == pipeline.results["tune"]["best"]["training_job"]
    assert described["TrainingJobStatusCounters"]["Completed"] == 4
    pages = client.get_paginator("list_training_jobs").paginate(MaxResults=2)
    listed = [job["TrainingJobName"] for page in pages for job in page["TrainingJobSummaries"]]
    assert pipeline.results["train"]["training_job"] in listed
    assert {trial["TrainingJobName"] for trial in pipeline.results["tune"]["trials"]} < set(listed)
    for name in listed:
        job = client.describe_training_job(TrainingJobName=name)
        statuses = [transition["Status"] for transition in job["SecondaryStatusTransitions"]]
        assert statuses == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    tags = client.list_tags(ResourceArn=described["HyperParameterTuningJobArn"])["Tags"]
    assert tags == [{"Key": "dogbreed:project", "Value": "dogbreed"}]


def test_debugger_tensors_are_in_s3_for_the_training_and_not_for_trials(pipeline: Pipeline) -> None:
    jobs = Home(pipeline.dogbreed.folder / ".dogbreed").s3 / BUCKET / "dogbreed" / "jobs"
    watched = set()
    for path in jobs.glob("*/output/output.tar.gz"):
        with tarfile.open(path) as archive:
            names = archive.getnames()
        tensors = any(re.search(r"debug-output/events/.*\.tfevents", name) for name in names)
        assert tensors == any("profiler-output/system/" in name for name in names)
        watched |= {path.parts[-3]} if tensors else set()
    assert watched == {pipeline.results["train"]["training_job"]}


def test_status_and_logs_find_it_from_a_new_process(pipeline: Pipeline) -> None:
    items = pipeline.dogbreed.json("status")["items"]
    assert [(item["kind"], item["status"]) for item in items] == [("endpoint", "InService")]
    kinds = [item["kind"] for item in pipeline.dogbreed.json("status", "--all")["items"]]
    assert sorted(kinds) == ["endpoint", "training job", "tuning job"]
    assert "test:accuracy=" in pipeline.dogbreed.run("logs").stdout
    trial = pipeline.results["tune"]["trials"][0]["TrainingJobName"]
    assert "epoch=3" in pipeline.dogbreed.run("logs", trial, "-f").stdout


def test_no_secret_is_in_anything_that_the_jobs_left(pipeline: Pipeline) -> None:
    """Logs, archives, the page; but a job's record has its Environment, as AWS's has: for its owner alone."""
    folder, trained, records = pipeline.dogbreed.folder, pipeline.results["train"]["training_job"], 0
    described = pipeline.boto.client("sagemaker").describe_training_job(TrainingJobName=trained)
    assert PLANTED in described["Environment"]["HF_TOKEN"], "the job had none to tell"
    for path in folder.rglob("*"):
        if not path.is_file() or path.name == ".env":
            continue
        data = path.read_bytes()
        if path.suffix == ".json" and "sagemaker" in path.relative_to(folder).parts:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            records += PLANTED.encode() in data
        else:  # a tar's members lie in it as they are
            assert PLANTED.encode() not in (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data), path
    assert records == 6, "the tuning job, its four trials and the training job"
    assert "Environment variables:" in pipeline.dogbreed.run("logs").stdout, "what the toolkit prints of it"


def test_quality_gate(pipeline: Pipeline) -> None:
    done = pipeline.dogbreed.run(
        "train", "--attach", pipeline.results["train"]["training_job"], "--min-accuracy", "1", code=6
    )
    assert "below --min-accuracy" in done.stderr


def test_teardown_plans_asks_removes_and_leaves_others_alone(pipeline: Pipeline) -> None:
    client = pipeline.boto.client("sagemaker")
    model = client.describe_model(ModelName=client.list_models()["Models"][0]["ModelName"])
    foreign = {"ModelName": "dogbreed-of-somebody-else", "ExecutionRoleArn": model["ExecutionRoleArn"]}
    client.create_model(**foreign, PrimaryContainer=model["PrimaryContainer"])
    planned = pipeline.dogbreed.json("teardown", "--dry-run")["planned"]
    assert [item["kind"] for item in planned] == ["endpoint", "endpoint-config", "model"]
    assert "--yes" in pipeline.dogbreed.run("teardown", code=2).stderr
    assert client.list_endpoints()["Endpoints"]
    removed = pipeline.dogbreed.json("teardown", "--yes")["removed"]
    assert removed == planned
    assert not processes_of(pipeline.dogbreed.folder)
    assert pipeline.dogbreed.json("teardown", "--yes")["removed"] == []
    assert pipeline.dogbreed.json("status")["items"] == []
    assert [m["ModelName"] for m in client.list_models()["Models"]] == ["dogbreed-of-somebody-else"]
    client.delete_model(ModelName="dogbreed-of-somebody-else")
    # The images and models in S3 are the user's: only --data takes them.
    assert pipeline.boto.client("s3").list_objects_v2(Bucket=BUCKET, MaxKeys=1)["KeyCount"] == 1
