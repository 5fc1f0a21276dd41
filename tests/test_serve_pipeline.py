"""All seven commands with the target aws, over HTTP, on `dogbreed local serve`; then clients that nobody here wrote.

This is as near to AWS as it gets without an account: the requests that SageMaker's SDK and boto3 send are parsed from
the wire, jobs run from them, and what the clients read comes back over the wire.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import InProcess, processes_of, wait_for
from moto.server import ThreadedMotoServer
from served import OPERATIONS, Served, serve

from dogbreed_cli.local import ROLE_ARN, Home
from dogbreed_cli.local.logs import Logs

BUCKET = "sagemaker-us-east-1-000000000000"
ENDPOINT_LOGS = "/aws/sagemaker/Endpoints/dogbreed-endpoint"
# SageMaker's SDK in a script of its own, as a notebook would have it: its import takes seconds.
SDK = """
import json, sys
from sagemaker.core.analytics import HyperparameterTuningJobAnalytics
from sagemaker.core.resources import Endpoint, HyperParameterTuningJob, TrainingJob

training_job, tuning_job, endpoint, picture = sys.argv[1:]
job = TrainingJob.get(training_job_name=training_job)
job.training_job_status = "?"
job.refresh()
job.wait()
tuned = HyperParameterTuningJob.get(hyper_parameter_tuning_job_name=tuning_job)
answer = Endpoint.get(endpoint_name=endpoint).invoke(
    body=open(picture, "rb").read(), content_type="image/jpeg", accept="application/json"
)
frame = HyperparameterTuningJobAnalytics(tuning_job).dataframe()
found = {
    "status": job.training_job_status,
    "model": job.model_artifacts.s3_model_artifacts,
    "listed": [one.training_job_name for one in TrainingJob.get_all(name_contains="-train-")],
    "best": tuned.best_training_job.training_job_name,
    "answer": json.loads(answer.body.read()),
    "trials": json.loads(frame.to_json(orient="records")),
}
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Pipeline:
    dogbreed: InProcess
    served: Served
    results: dict[str, dict[str, Any]]
    called: list[tuple[str, int]]  # by the commands until then

    @property
    def training_job(self) -> str:
        return self.results["train"]["training_job"]

    @property
    def tuning_job(self) -> str:
        return self.results["tune"]["tuning_job"]


@pytest.fixture(scope="module")
def pipeline(dogs: Path, warm_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A project that was uploaded, tuned, trained, reported and deployed; the last test tears it down."""
    folder = tmp_path_factory.mktemp("pipeline")
    with serve(Home(folder / "aws")) as served:
        settings = {
            "DOGBREED_TARGET": "aws",
            "DOGBREED_AWS__ROLE_ARN": ROLE_ARN,
            "DOGBREED_AWS__TRAINING_IMAGE": warm_python.as_uri(),
            "DOGBREED_AWS__INFERENCE_IMAGE": warm_python.as_uri(),
            "DOGBREED_AWS__POLL_SECONDS": "0.3",
        }
        (folder / "project").mkdir()
        dogbreed = InProcess(folder / "project", {**served.environment, **settings})
        results = {
            "upload": dogbreed.json("upload", str(dogs), "--yes"),
            "tune": dogbreed.json("tune", "--max-jobs", "2", "--epochs", "2", "--yes"),
            "train": dogbreed.json("train", "--from-best", "--epochs", "4", "--yes"),
            "report": dogbreed.json("report"),
            "deploy": dogbreed.json("deploy", "--yes"),
            "predict": dogbreed.json("predict", str(dogs / "test")),
        }
        yield Pipeline(dogbreed, served, results, served.calls)
        dogbreed.run("teardown", "--yes")
        assert not processes_of(folder / "aws" / "jobs")
        assert served.end() == 0
        assert "Traceback" not in "".join(served.lines)
    assert not (folder / "project" / ".dogbreed").exists()


# ---- the commands


def test_every_job_has_completed(pipeline: Pipeline) -> None:
    client = pipeline.served.client("sagemaker")
    assert [trial["TrainingJobStatus"] for trial in pipeline.results["tune"]["trials"]] == ["Completed"] * 2
    tuned = client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=pipeline.tuning_job)
    assert tuned["HyperParameterTuningJobStatus"] == "Completed"
    best = pipeline.results["tune"]["best"]
    assert tuned["BestTrainingJob"]["TrainingJobName"] == best["training_job"]
    trained = client.describe_training_job(TrainingJobName=pipeline.training_job)
    assert (trained["TrainingJobStatus"], trained["RoleArn"]) == ("Completed", ROLE_ARN)
    sent = {name: json.loads(text) for name, text in trained["HyperParameters"].items()}
    assert {name: sent[name] for name in best["hyperparameters"]} == best["hyperparameters"]
    assert sent["epochs"] == 4
    listed = client.list_training_jobs(StatusEquals="Completed", MaxResults=100)["TrainingJobSummaries"]
    assert {job["TrainingJobName"] for job in listed} >= {pipeline.training_job, best["training_job"]}
    assert not client.list_training_jobs(StatusEquals="Failed")["TrainingJobSummaries"]


def test_results_agree(pipeline: Pipeline, dogs: Path) -> None:
    assert pipeline.results["upload"]["counts"] == {"train": 96, "valid": 36, "test": 36}
    accuracy = pipeline.results["train"]["metrics"]["test:accuracy"]
    assert pipeline.results["report"]["evaluation"]["accuracy"]["value"] == pytest.approx(accuracy, abs=1e-6)
    answers = pipeline.results["predict"]["answers"]
    assert len(answers) == 36
    right = [answer["predictions"][0]["label"] == Path(answer["image"]).parent.name for answer in answers]
    assert sum(right) / len(right) == pytest.approx(accuracy, abs=1e-6)


def test_every_creation_was_accepted(pipeline: Pipeline) -> None:
    created = [call for call in pipeline.called if call[0].startswith("sagemaker:Create")]
    kinds = ("HyperParameterTuningJob", "TrainingJob", "Model", "EndpointConfig", "Endpoint")
    assert created == [(f"sagemaker:Create{kind}", 200) for kind in kinds]
    assert not [call for call in pipeline.called if call[1] >= 500]


# ---- jobs on somebody else's S3


def test_the_same_on_motos_s3(pipeline: Pipeline, dogs: Path, warm_python: Path, tmp_path: Path) -> None:
    """All seven commands through the SDK, with jobs that read and write s3:// over HTTP: equal to the last digit."""
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    s3 = f"http://{host}:{port}"
    keys = {"AWS_ACCESS_KEY_ID": "moto", "AWS_SECRET_ACCESS_KEY": "moto"}
    try:
        with serve(Home(tmp_path / "aws"), DOGBREED_LOCAL__S3_ENDPOINT=s3, **keys) as served:
            over = {"AWS_ENDPOINT_URL": served.url, "AWS_ENDPOINT_URL_S3": s3}
            over |= {f"DOGBREED_AWS__{kind}_IMAGE": warm_python.as_uri() for kind in ("TRAINING", "INFERENCE")}
            dogbreed = InProcess(pipeline.dogbreed.folder, {**pipeline.dogbreed.environment, **over})
            dogbreed.run("upload", str(dogs), "--yes")
            tuned = dogbreed.json("tune", "--max-jobs", "1", "--epochs", "1", "--data-fraction", "0.1", "--yes")
            assert [trial["TrainingJobStatus"] for trial in tuned["trials"]] == ["Completed"]
            best = pipeline.results["tune"]["best"]["hyperparameters"]
            chosen = ("--lr", repr(best["lr"]), "--batch-size", str(best["batch-size"]), "--epochs", "4")
            trained = dogbreed.json("train", *chosen, "--yes")
            assert trained["metrics"] == pipeline.results["train"]["metrics"]
            report = dogbreed.json("report")
            assert report["evaluation"] == pipeline.results["report"]["evaluation"]
            dogbreed.run("deploy", "--yes")
            answers = dogbreed.json("predict", str(dogs / "test"))["answers"]
            assert [labels(answer) for answer in answers] == [
                labels(answer) for answer in pipeline.results["predict"]["answers"]
            ]
            removed = dogbreed.json("teardown", "--data", "--yes")["removed"]
            assert removed[-1]["kind"] == "S3 prefix"
            assert not (served.home.s3 / BUCKET).exists()
            wait_for(lambda: not processes_of(served.home.jobs))
    finally:
        moto.stop()


def labels(answer: dict[str, Any]) -> tuple[str, list[str]]:
    return answer["image"], [one["label"] for one in answer["predictions"][:1]]


# ---- clients that nobody here wrote, on what the commands made


def test_aws_asks_the_endpoint(pipeline: Pipeline, tmp_path: Path) -> None:
    expected = pipeline.results["predict"]["answers"][0]
    pipeline.served.aws(
        "sagemaker-runtime", "invoke-endpoint", "--endpoint-name", "dogbreed-endpoint",
        "--body", f"fileb://{expected['image']}", "--content-type", "image/jpeg", str(tmp_path / "answer.json"),
    )  # fmt: skip
    answer = json.loads((tmp_path / "answer.json").read_text())
    assert answer["predictions"][0]["label"] == expected["predictions"][0]["label"]


def test_aws_reads_what_there_is(pipeline: Pipeline) -> None:
    def sagemaker(*arguments: str) -> Any:
        return json.loads(pipeline.served.aws("sagemaker", *arguments))

    named = ("--hyper-parameter-tuning-job-name", pipeline.tuning_job)
    trials = sagemaker("list-training-jobs-for-hyper-parameter-tuning-job", *named)["TrainingJobSummaries"]
    assert {trial["TrainingJobName"] for trial in trials} == {
        trial["TrainingJobName"] for trial in pipeline.results["tune"]["trials"]
    }
    jobs = sagemaker("list-hyper-parameter-tuning-jobs", "--max-items", "1")["HyperParameterTuningJobSummaries"]
    assert [job["HyperParameterTuningJobName"] for job in jobs] == [pipeline.tuning_job]
    described = sagemaker("describe-endpoint", "--endpoint-name", "dogbreed-endpoint")
    assert described["EndpointStatus"] == "InService"
    config = sagemaker("describe-endpoint-config", "--endpoint-config-name", described["EndpointConfigName"])
    model = sagemaker("describe-model", "--model-name", config["ProductionVariants"][0]["ModelName"])
    uri = model["PrimaryContainer"]["ModelDataUrl"]
    assert pipeline.training_job in uri
    assert pipeline.served.aws("s3", "ls", uri).split()[-1] == "model.tar.gz"
    tags = sagemaker("list-tags", "--resource-arn", described["EndpointArn"])["Tags"]
    assert {"Key": "dogbreed:project", "Value": "dogbreed"} in tags
    log = ("--log-group-name", "/aws/sagemaker/TrainingJobs", "--log-stream-name-prefix", pipeline.training_job)
    said = json.loads(pipeline.served.aws("logs", "filter-log-events", *log, "--query", "events[].message"))
    assert any("test:accuracy=" in line for line in said)


def test_sagemakers_sdk(pipeline: Pipeline) -> None:
    expected = pipeline.results["predict"]["answers"][0]
    arguments = (pipeline.training_job, pipeline.tuning_job, "dogbreed-endpoint", expected["image"])
    found = json.loads(pipeline.served.run("-c", SDK, *arguments).splitlines()[-1])
    assert found["status"] == "Completed"
    assert found["model"].endswith(f"/{pipeline.training_job}/output/model.tar.gz")
    assert found["listed"] == [pipeline.training_job]
    best = pipeline.results["tune"]["best"]
    assert found["best"] == best["training_job"]
    assert found["answer"]["predictions"][0]["label"] == expected["predictions"][0]["label"]
    values = {trial["TrainingJobName"]: trial["FinalObjectiveValue"] for trial in found["trials"]}
    assert values == {
        trial["TrainingJobName"]: pytest.approx(trial["FinalObjectiveValue"])
        for trial in pipeline.results["tune"]["trials"]
    }
    assert {trial["TrainingJobStatus"] for trial in found["trials"]} == {"Completed"}
    assert all(trial["lr"] > 0 and trial["batch-size"] >= 16 for trial in found["trials"])


# ---- and the end


def test_teardown_leaves_nothing_behind(pipeline: Pipeline) -> None:
    before = len(pipeline.served.calls)
    # The server of an endpoint that is well says nothing; here is something for --logs.
    Logs(pipeline.served.home.logs).append(ENDPOINT_LOGS, "AllTraffic/i-0000", "so it was", 0)
    (item,) = pipeline.dogbreed.json("status")["items"]
    assert (item["kind"], item["status"]) == ("endpoint", "InService")
    assert "test:accuracy=" in pipeline.dogbreed.run("logs", pipeline.training_job).stdout
    removed = pipeline.dogbreed.json("teardown", "--data", "--logs", "--yes")["removed"]
    assert [item["kind"] for item in removed][:3] == ["endpoint", "endpoint-config", "model"]
    assert pipeline.dogbreed.json("status")["items"] == []

    def called() -> set[str]:
        return {name for name, _ in [*pipeline.called, *pipeline.served.calls[before:]]}

    wait_for(lambda: "logs:DeleteLogGroup" in called())
    assert sorted(called() ^ OPERATIONS) == [], "write down in tests/served.py what the commands call now"
    assert not pipeline.served.client("s3").list_objects_v2(Bucket=BUCKET)["KeyCount"]
    assert not processes_of(pipeline.served.home.jobs)
