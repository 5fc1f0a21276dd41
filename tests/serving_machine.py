"""A machine of the local SageMaker whose image serves at once, with two trained models, and the commands run on it."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import SMALL
from json_documents import check_document
from local_jobs import Machine, build_quick_image, machine_in

from dogbreed_cli import requests
from dogbreed_cli.cli import cli
from dogbreed_cli.config import Config
from dogbreed_cli.local.home import arn
from dogbreed_cli.local.records import Records
from dogbreed_cli.local.training_jobs import KIND

# An image's server that starts at once: what serving_app.py imports, with a model that answers without torch.
QUICK_SERVER = {
    "uvicorn.py": """
import http.server, json
class Config:
    def __init__(self, app, log_level): pass
class Server:
    def __init__(self, config): pass
    def run(self, sockets):
        serve(*sockets)
def serve(listening):
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
    server.socket = listening
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
        elif "never.pt" in found:
            time.sleep(600)
        elif "model.pt" not in found:
            raise RuntimeError("no model.pt")
""",
}


def serving_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an image that has neither torch nor toolkit; built once a process."""
    folder = tmp_path_factory.getbasetemp() / "serving-image"
    python = folder / "bin" / "python"
    if folder.exists():
        return python
    build_quick_image(folder)
    packages = next(folder.glob("lib/python*/site-packages"))
    for name, text in QUICK_SERVER.items():
        (packages / name).parent.mkdir(exist_ok=True)
        (packages / name).write_text(text)
    return python


@contextmanager
def trained_in(folder: Path, python: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A home with two training jobs that have completed, in the environment of the commands."""
    with machine_in(folder, python.as_uri()) as machine:
        for name, value in {**SMALL, "DOGBREED_LOCAL__PYTHON": str(python)}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("DOGBREED_HOME", str(machine.home.root))
        monkeypatch.chdir(folder)
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
    found = json.loads(invoke("--json", *arguments, code=code).stdout)
    check_document(arguments, found)
    return found


def models(machine: Machine) -> list[str]:
    """The training jobs that there are models of: a model is called `<job>-<hash>`."""
    return sorted(one["ModelName"].rpartition("-")[0] for one in machine.sagemaker.list_models()["Models"])


def configs(machine: Machine) -> list[str]:
    return sorted(one["EndpointConfigName"] for one in machine.sagemaker.list_endpoint_configs()["EndpointConfigs"])
