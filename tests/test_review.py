"""Mistakes that were made once: what two endpoints share, two deploys at once, names and hints, a second demo."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import SMALL, wait_for
from local_jobs import Machine, build_quick_image, machine_in
from PIL import Image

from dogbreed_cli import endpoint_requests, requests, resources
from dogbreed_cli.cli import cli
from dogbreed_cli.commands.demo import MARKER, prepare
from dogbreed_cli.commands.deploy import create_missing, removed_on_failure
from dogbreed_cli.config import Config
from dogbreed_cli.console import Console
from dogbreed_cli.context import App
from dogbreed_cli.local import BUCKET, ROLE_ARN
from dogbreed_cli.local.home import arn
from dogbreed_cli.local.logs import Logs
from dogbreed_cli.local.records import Records
from dogbreed_cli.local.training_jobs import KIND
from dogbreed_cli.session import open_session

# An image's server that starts at once: what serving_app.py imports, with a model that answers without torch.
QUICK_SERVER = {
    "uvicorn.py": """
import http.server, json, socket
def run(app, fd, log_level):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer(200, b"")
        def do_POST(self):
            small = len(self.rfile.read(int(self.headers["Content-Length"]))) < 1200
            answers = [{"label": "Beagle", "probability": 1.0}]
            broken = b"Traceback (most recent call last):\\n  ...\\nMemoryError: too small\\n"
            self.answer(*((500, broken) if small else (200, json.dumps({"predictions": answers}).encode())))
        def answer(self, code, body):
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
    server.socket = socket.socket(fileno=fd)
    print("serving", flush=True)
    server.serve_forever()
""",
    "starlette/applications.py": "class Starlette:\n    def __init__(self, **routes): pass\n",
    "starlette/concurrency.py": "run_in_threadpool = None\n",
    "starlette/responses.py": "Response = None\n",
    "starlette/routing.py": "class Route:\n    def __init__(self, *path, **methods): pass\n",
    "sagemaker_pytorch_serving_container/handler_service.py": """
import os, time
class HandlerService:
    def initialize(self, context):
        found = os.listdir(context.system_properties["model_dir"])
        if "slow.pt" in found:
            time.sleep(4)
        elif "model.pt" not in found:
            raise RuntimeError("no model.pt")
""",
}


@pytest.fixture(scope="module")
def quick_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image that has neither torch nor toolkit."""
    folder = tmp_path_factory.mktemp("image")
    build_quick_image(folder)
    packages = next(folder.glob("lib/python*/site-packages"))
    for name, text in QUICK_SERVER.items():
        (packages / name).parent.mkdir(exist_ok=True)
        (packages / name).write_text(text)
    return folder / "bin" / "python"


@pytest.fixture
def machine(tmp_path: Path, quick_image: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A home with two training jobs that have completed."""
    with machine_in(tmp_path, quick_image.as_uri()) as machine:
        for name, value in {**SMALL, "DOGBREED_LOCAL__PYTHON": str(quick_image)}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("DOGBREED_HOME", str(machine.home.root))
        monkeypatch.chdir(tmp_path)
        for second, name in enumerate(("dogbreed-one", "dogbreed-two")):
            add_training_job(machine, name, time.time() - 100 + second)
        yield machine


def add_training_job(machine: Machine, name: str, created: float, file: str = "model.pt") -> None:
    """As `train` leaves it, with an archive that holds one file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo(file))
    times = dict.fromkeys(("CreationTime", "LastModifiedTime", "TrainingStartTime", "TrainingEndTime"), created)
    record = {
        **machine.training(name),
        **times,
        "TrainingJobArn": arn("training-job", name),
        "TrainingJobStatus": "Completed",
        "SecondaryStatus": "Completed",
        "SecondaryStatusTransitions": [],
        "ModelArtifacts": {"S3ModelArtifacts": machine.put(f"jobs/{name}/output/model.tar.gz", packed.getvalue())},
        "Tags": requests.tags(Config()),
    }
    Records(machine.home.records).create(KIND, name, record)


def invoke(*arguments: str, code: int = 0) -> Any:
    result = CliRunner().invoke(cli, list(arguments))
    assert result.exit_code == code, f"{arguments}\n{result.stdout}\n{result.stderr}"
    return result


def document(*arguments: str, code: int = 0) -> dict[str, Any]:
    return json.loads(invoke("--json", *arguments, code=code).stdout)


def models(machine: Machine) -> list[str]:
    """The training jobs that there are models of: a model is called `<job>-<hash>`."""
    return sorted(one["ModelName"].rpartition("-")[0] for one in machine.sagemaker.list_models()["Models"])


def configs(machine: Machine) -> list[str]:
    return sorted(one["EndpointConfigName"] for one in machine.sagemaker.list_endpoint_configs()["EndpointConfigs"])


# ---- deploy


def test_another_instance_type_keeps_the_model(machine: Machine) -> None:
    first = document("deploy")["endpoint_config"]
    second = document("deploy", "--instance-type", "ml.c5.large")["endpoint_config"]
    assert first != second
    assert (models(machine), configs(machine)) == (["dogbreed-two"], [second])


def test_an_update_keeps_what_another_endpoint_serves_with(machine: Machine) -> None:
    shared = [document("deploy", "--name", f"dogbreed-{it}", "--job", "dogbreed-one") for it in "ab"]
    new = document("deploy", "--name", "dogbreed-a", "--job", "dogbreed-two")
    assert models(machine) == ["dogbreed-one", "dogbreed-two"]
    assert configs(machine) == sorted({shared[1]["endpoint_config"], new["endpoint_config"]})


def test_two_deploys_at_once_both_end_well(machine: Machine) -> None:
    command = [sys.executable, "-m", "dogbreed_cli", "deploy"]
    both = []
    for pause in (0.3, 0):
        both.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        time.sleep(pause)
    said = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert (models(machine), len(configs(machine))) == (["dogbreed-two"], 1)


def test_what_a_failed_or_broken_off_deploy_made_is_removed(machine: Machine) -> None:
    add_training_job(machine, "dogbreed-bad", time.time(), file="nothing")
    failed = document("deploy", code=5)
    assert "no model.pt" in failed["why"]
    assert (models(machine), configs(machine), machine.sagemaker.list_endpoints()["Endpoints"]) == ([], [], [])

    session = open_session(Config(), Console())
    site = requests.Site(BUCKET, ROLE_ARN, machine.image)
    uri = f"s3://{BUCKET}/jobs/dogbreed-one/output/model.tar.gz"
    with pytest.raises(KeyboardInterrupt), removed_on_failure(machine.sagemaker, "dogbreed") as made:
        create_missing(session, "model", endpoint_requests.model(Config(), site, "dogbreed-m", uri), made)
        assert models(machine) == ["dogbreed-m"]
        raise KeyboardInterrupt
    assert models(machine) == []


def test_a_failed_endpoint_on_instances_is_made_anew_as_a_serverless_one(machine: Machine) -> None:
    add_training_job(machine, "dogbreed-bad", time.time(), file="nothing")
    invoke("deploy", "--no-wait")
    wait_for(lambda: machine.sagemaker.list_endpoints()["Endpoints"][0]["EndpointStatus"] == "Failed")
    assert document("deploy", "--job", "dogbreed-one", "--serverless")["status"] == "InService"


def test_a_failed_update_keeps_the_former_model(machine: Machine) -> None:
    before = document("deploy")
    add_training_job(machine, "dogbreed-bad", time.time(), file="nothing")
    assert before["endpoint_config"] in document("deploy", code=5)["error"]
    assert (models(machine), configs(machine)) == (["dogbreed-two"], [before["endpoint_config"]])


def test_an_endpoint_that_moves_is_waited_for_by_the_command_that_was_printed(machine: Machine) -> None:
    add_training_job(machine, "dogbreed-slow", time.time(), file="slow.pt")
    options = ("--target", "local", "--set", "train.epochs=2")
    left = document(*options, "deploy", "--instance-type", "ml.c5.large", "--timeout", "0", code=8)
    printed = "dogbreed --target local --set train.epochs=2 deploy --job dogbreed-slow --instance-type ml.c5.large"
    assert left["fix"].endswith(printed)
    assert "leave out --no-wait" in document("deploy", "--job", "dogbreed-one", "--no-wait", code=1)["fix"]
    assert document(*printed.split()[1:])["status"] == "InService"
    former = document("deploy", "--no-wait")["endpoint_config"]
    # The same again, while it is under way; and what it is about to serve is not taken from under it.
    assert document("deploy", "--no-wait")["status"] == "Updating"
    assert resources.is_used(machine.sagemaker, "endpoint-config", former, "dogbreed")
    said = invoke("deploy", "--job", "dogbreed-one").stderr
    assert "Updating: that has to end first" in said
    assert machine.sagemaker.list_endpoints()["Endpoints"][0]["EndpointStatus"] == "InService"


def test_an_endpoint_of_another_project_is_left_alone(machine: Machine) -> None:
    invoke("--set", "project.name=dogbreed-x", "deploy", "--job", "dogbreed-one")
    said = document("deploy", "--name", "dogbreed-x-endpoint", code=1)
    assert "not of project dogbreed" in said["error"]
    assert models(machine) == ["dogbreed-one"]
    invoke("--set", "project.name=dogbreed-x", "deploy", "--job", "dogbreed-one")


def test_a_deploy_whose_endpoint_vanishes_says_so(machine: Machine) -> None:
    process = subprocess.Popen([sys.executable, "-m", "dogbreed_cli", "deploy"], stderr=subprocess.PIPE, text=True)
    wait_for(lambda: machine.sagemaker.list_endpoints()["Endpoints"])
    machine.sagemaker.delete_endpoint(EndpointName="dogbreed-endpoint")
    said = process.communicate(timeout=60)[1]
    assert "deleted meanwhile" in said
    assert (process.returncode, models(machine), configs(machine)) == (1, [], [])


# ---- predict and logs


def test_an_image_that_breaks_the_model_is_reported_and_the_rest_goes_on(machine: Machine, dogs: Path) -> None:
    invoke("deploy")
    small, big = machine.folder / "small.png", next(dogs.rglob("*.jpg"))
    Image.new("RGB", (8, 8)).save(small)
    answers = document("predict", str(small), str(big), code=1)["answers"]
    assert [answer["error"] for answer in answers] == ["MemoryError: too small", None]
    assert invoke("logs", "dogbreed-endpoint").stdout.startswith("serving\n")
    assert "is a directory" in invoke("predict", str(big), "--csv", ".", code=2).stderr


def test_logs_of_a_tuning_job_are_its_trials(machine: Machine) -> None:
    definition = machine.training("x", "print('said loss=1.0')", metrics=["loss"])
    for member in ("TrainingJobName", "HyperParameters"):
        static = definition.pop(member)
    objective = {"Type": "Minimize", "MetricName": "loss"}
    limits = {"MaxNumberOfTrainingJobs": 1, "MaxParallelTrainingJobs": 1}
    ranges = {"CategoricalParameterRanges": [{"Name": "lr", "Values": ["1"]}]}
    search = {"Strategy": "Random", "HyperParameterTuningJobObjective": objective, "ResourceLimits": limits}
    machine.sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName="dogbreed-tune-1",
        HyperParameterTuningJobConfig={**search, "ParameterRanges": ranges},
        TrainingJobDefinition={**definition, "StaticHyperParameters": static},
        Tags=requests.tags(Config()),
    )
    assert "said loss=1.0" in invoke("logs", "dogbreed-tune-1", "-f").stdout
    assert "no job or endpoint dogbreed-tune-2" in invoke("logs", "dogbreed-tune-2", code=1).stderr
    assert "has said nothing" in invoke("logs", "dogbreed-endpoint").stderr


# ---- train, tune, report


def test_what_cannot_be_is_said_with_the_next_step(machine: Machine, dogs: Path) -> None:
    invoke("upload", str(dogs))
    for arguments, code, what in (
        ("train --name other-1", 2, "begin it with dogbreed-"),
        ("train --name dogbreed-tune-mine", 2, "but not dogbreed-tune-"),
        ("train --min-accuracy 0.5 --no-wait", 2, "--min-accuracy needs the end"),
        ("train --attach dogbreed-one --timeout -1", 2, "--timeout"),
        (f"train --name dogbreed-{'x' * 55} --dry-run", 2, "at most 63"),
        ("deploy --name dogbreed-a_b --dry-run", 2, "letters, digits and hyphens"),
        ("train --attach dogbreed-no --no-wait", 2, "leave one out"),
        ("tune --attach dogbreed-no --no-wait", 2, "leave one out"),
        ("deploy --name other", 2, "begin it with dogbreed-"),
        ("train --name dogbreed-one", 1, "train --attach dogbreed-one"),
        ("tune --warm-start dogbreed-tune-no", 1, "no tuning job dogbreed-tune-no"),
    ):
        assert what in invoke(*arguments.split(), code=code).stderr


def test_a_job_that_runs_is_not_said_to_have_ended(machine: Machine) -> None:
    machine.train("dogbreed-runs", "import time; time.sleep(60)", Tags=requests.tags(Config()))
    assert document("deploy", "--job", "dogbreed-runs", code=1)["error"].endswith("is InProgress")
    assert "still InProgress" in document("train", "--attach", "dogbreed-runs", "--timeout", "0", code=8)["error"]
    report = invoke("report", "--job", "dogbreed-runs")
    assert "dogbreed deploy" not in report.stderr
    invoke("teardown", "--yes")


# ---- status and teardown


def test_status_shows_a_running_job_that_is_older_than_many_others(machine: Machine) -> None:
    # A trial's name: those that a killed tuning job left behind are jobs that run, too.
    running = "dogbreed-tune-1-001-abc"
    machine.train(running, "import time; time.sleep(60)", Tags=requests.tags(Config()))
    for number in range(25):
        add_training_job(machine, f"dogbreed-done-{number}", time.time() + 1)
    assert [item["name"] for item in document("status")["items"]] == [running]
    assert [item["name"] for item in document("teardown", "--yes")["removed"]] == [running]
    assert document("status")["items"] == []


def test_teardown_takes_no_log_of_a_project_whose_name_begins_alike(machine: Machine) -> None:
    for name in ("dogbreed-endpoint", "dogbreed-x-endpoint"):
        Logs(machine.home.logs).append(f"/aws/sagemaker/Endpoints/{name}", "AllTraffic/i-0001", "said", 1)
    removed = document("teardown", "--logs", "--yes")["removed"]
    assert [item["name"] for item in removed] == ["/aws/sagemaker/Endpoints/dogbreed-endpoint"]
    assert document("teardown", "--logs", "--dry-run")["planned"] == []


# ---- demo


def test_a_second_demo_ends_what_the_first_kept(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = machine.folder / "demo"
    (demo / "report").mkdir(parents=True)
    (demo / MARKER).touch()
    machine.home.root.rename(demo / ".dogbreed")
    monkeypatch.setenv("DOGBREED_HOME", str(demo / ".dogbreed"))
    invoke("--set", "project.name=demo", "deploy", "--name", "demo-kept", "--job", "dogbreed-one")
    assert machine.processes()
    # Whatever was said before `demo`, the demo stays on this machine.
    context = cli.make_context("dogbreed", ["--set", "target=aws", "demo"], obj=Console())
    prepare(context, App(Console()), demo)
    assert not machine.processes()
    assert sorted(path.name for path in demo.iterdir()) == [MARKER, ".gitignore"]
