"""serve.py under TorchServe, which AWS's own code starts as in AWS's container."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import requests
from answering_endpoint import free_ports, make_model
from conftest import wait_for
from entrypoint_runs import ALONE, COLOURS, draw

pytestmark = pytest.mark.skipif(shutil.which("java") is None, reason="no Java")

# AWS's start, but for where it writes TorchServe's config (/etc) and how it waits for TorchServe to end: it would take
# any TorchServe on the machine for its own.
START = """
import os, sys
from sagemaker_pytorch_serving_container import torchserve

torchserve.TS_CONFIG_FILE = sys.argv[1]
torchserve.subprocess.Popen = lambda command: os.execvp(command[0], [*command, "--foreground"])
torchserve.start_torchserve()
"""

DIRECT = requests.Session()
DIRECT.trust_env = False  # a developer's proxy


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[bytes]  # the first of a session (setsid) of its own
    port: int
    folder: Path

    def get(self, path: str) -> requests.Response | None:
        with contextlib.suppress(requests.RequestException):
            return DIRECT.get(f"http://127.0.0.1:{self.port}{path}", timeout=60)
        return None

    def invoke(self, body: bytes, content_type: str = "image/jpeg", **headers: str) -> requests.Response:
        url = f"http://127.0.0.1:{self.port}/invocations"
        return DIRECT.post(url, body, headers={"Content-Type": content_type, **headers}, timeout=60)

    def processes(self) -> list[psutil.Process]:
        """The launcher, Java and the Python that holds the model."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(OSError, psutil.Error):
                if os.getsid(process.pid) == self.process.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def is_ready(self) -> bool:
        """/ping is green before the model is loaded, so its worker is asked for too."""
        assert self.process.poll() is None, self.log()
        ping, model = self.get("/ping"), self.get("/models/model")
        if not ping or not model:  # no answer, or 4xx or 5xx
            return False
        return [worker["status"] for worker in model.json()[0]["workers"]] == ["READY"]

    def log(self) -> str:
        return (self.folder / "stdout.log").read_text()

    def end(self) -> None:
        """SIGTERM to all of them, as a container's end; SIGKILL when they do not obey."""
        try:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(timeout=60)
            wait_for(lambda: not self.processes())
        finally:
            for process in self.processes():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self.process.kill()
            self.process.wait()


def start(python: Path, folder: Path) -> Server:
    """TorchServe with the model in folder/model, which is AWS's /opt/ml/model; all that it writes is in the folder."""
    port, metrics, grpc, grpc_management = free_ports(4)
    temporary = folder / "tmp"  # its pid file and its workers' sockets
    temporary.mkdir()
    environment = {
        **ALONE,
        "PATH": f"{python.parent}:{os.environ['PATH']}",
        "TMPDIR": str(temporary),
        "TEMP": str(temporary),
        "SAGEMAKER_BASE_DIR": str(folder),
        "SAGEMAKER_PROGRAM": "serve.py",
        "SAGEMAKER_SUBMIT_DIRECTORY": str(folder / "model/code"),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
        # AWS's config lets TorchServe's variables override it: it would bind to 0.0.0.0 and to fixed ports.
        "TS_INFERENCE_ADDRESS": f"http://127.0.0.1:{port}",
        "TS_MANAGEMENT_ADDRESS": f"http://127.0.0.1:{port}",
        "TS_METRICS_ADDRESS": f"http://127.0.0.1:{metrics}",
        "TS_GRPC_INFERENCE_PORT": str(grpc),
        "TS_GRPC_MANAGEMENT_PORT": str(grpc_management),
        "TS_DISABLE_SYSTEM_METRICS": "true",  # a process more, now and then
    }
    with (folder / "stdout.log").open("wb") as log:
        process = subprocess.Popen(
            [python, "-c", START, str(folder / "ts.properties")],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Server(process, port, folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a JPEG of each class in pictures/."""
    folder, rng = tmp_path_factory.mktemp("ts"), random.Random(0)
    for label in COLOURS:
        (folder / "pictures" / label).mkdir(parents=True)
        draw(rng, label).save(folder / "pictures" / label / "0.jpg", quality=90)
    return folder


@pytest.fixture(scope="module")
def answers(image_python: Path, folder: Path) -> dict[bytes, dict[str, float]]:
    """{a picture's bytes: {class: probability}}, by training's own code. Makes the model."""
    found = make_model(image_python, folder / "model", folder / "pictures")
    return {(folder / "pictures" / path).read_bytes(): answer for path, answer in found.items()}


@pytest.fixture(scope="module")
def pictures(answers: dict[bytes, dict[str, float]]) -> list[bytes]:
    return list(answers)


@pytest.fixture(scope="module")
def server(image_python: Path, folder: Path, answers: object) -> Iterator[Server]:
    server = start(image_python, folder)
    try:
        wait_for(server.is_ready, 120)
        assert len(server.processes()) == 3
        yield server
    finally:
        print(server.log())  # shown when a test fails
        server.end()
    assert server.get("/ping") is None


def test_answers_are_those_of_training(server: Server, answers: dict[bytes, dict[str, float]]) -> None:
    assert len({json.dumps(answer) for answer in answers.values()}) == len(answers), "the model tells nothing apart"
    for picture, wanted in answers.items():
        answer = server.invoke(picture)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json"), server.log()
        found = {one["label"]: one["probability"] for one in answer.json()["predictions"]}
        assert found == pytest.approx(wanted, abs=1e-4)


def test_lists_headers_and_csv(server: Server, pictures: list[bytes]) -> None:
    alone = [server.invoke(picture).json() for picture in pictures]
    listed = json.dumps([base64.b64encode(picture).decode() for picture in pictures]).encode()
    assert server.invoke(listed, "application/json").json() == {"answers": alone}
    attributes = {"X-Amzn-SageMaker-Custom-Attributes": "top_k=2"}
    assert server.invoke(pictures[0], **attributes).json()["predictions"] == alone[0]["predictions"][:2]
    best = server.invoke(pictures[0], Accept="text/csv", **attributes).text.splitlines()
    assert [line.split(",")[1] for line in best[1:]] == [one["label"] for one in alone[0]["predictions"][:2]]


@pytest.mark.parametrize(
    ("change", "headers", "status", "said"),
    [
        (lambda jpeg: b"a dog", {}, 400, "not a readable image: its format is unknown"),
        (lambda jpeg: jpeg[: len(jpeg) // 2], {}, 400, "not a readable image: "),
        (lambda jpeg: b"a dog", {"content_type": "text/plain"}, 415, "content type 'text/plain' is not supported"),
        (lambda jpeg: b"\xff", {"content_type": "application/json"}, 400, "not JSON"),
        (lambda jpeg: jpeg, {"Accept": "text/html"}, 406, "only application/json and text/csv"),
        (lambda jpeg: jpeg + bytes(6_400_000), {}, 413, ""),
    ],
    ids=["no image", "half an image", "text", "no JSON", "wants html", "too large"],
)
def test_refusals_carry_their_status_and_the_server_answers_on(
    server: Server,
    pictures: list[bytes],
    change: Callable[[bytes], bytes],
    headers: dict[str, str],
    status: int,
    said: str,
) -> None:
    before = server.processes()
    refused = server.invoke(change(pictures[0]), **headers)
    assert (refused.status_code, said in refused.text) == (status, True), refused.text
    assert "Traceback" not in refused.text
    assert server.invoke(pictures[0]).status_code == 200
    assert server.processes() == before, "the model's process was started anew"


def test_it_listens_on_this_machine_only(server: Server) -> None:
    listening = [
        connection.laddr.ip
        for process in server.processes()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 2
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}
