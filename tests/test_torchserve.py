"""serve.py under TorchServe, which AWS's own code starts as in AWS's container."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from conftest import wait_for
from entrypoint_runs import ALONE, COLOURS, ENTRYPOINTS, draw

pytestmark = pytest.mark.skipif(shutil.which("java") is None, reason="no Java")

# What is in model.tar.gz, and what serve.py answers to the pictures when its functions are called directly.
SAVE_AND_ANSWER = """
import json, pathlib, sys
import torch
folder, *pictures = map(pathlib.Path, sys.argv[1:])
sys.path.insert(0, str(folder / "code"))
import model, serve

torch.manual_seed(0)
classes = json.loads(sys.stdin.read())
network, head = model.build_network("resnet18", 64)
model.replace_head(network, head, len(classes))
normalisation = {"mean": model.IMAGENET_MEAN, "std": model.IMAGENET_STD}
batch = torch.stack([model.plain_view(model.decode_image(picture), 64) for picture in pictures])
model.calibrate_batch_norm(network, [model.normalise(batch, **normalisation)])
description = {"classes": classes, "backbone": "resnet18", "image_size": 64, "normalisation": normalisation}
model.save_model(folder, network.state_dict(), description)

loaded = serve.model_fn(folder)
images = [serve.input_fn(picture.read_bytes(), "image/jpeg") for picture in pictures]
print(json.dumps([serve.output_fn(serve.predict_fn(image, loaded), "*/*")[0] for image in images]))
"""
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
            self.process.wait(timeout=30)
            wait_for(lambda: not self.processes(), 30)
        finally:
            for process in self.processes():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self.process.kill()
            self.process.wait()


def free_ports(count: int) -> list[int]:
    """Not such as the system gives to whoever asks for any, which other tests do before Java has started."""
    found: list[int] = []
    for port in random.sample(range(20000, 32000), 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
    return found[:count]


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
    folder = tmp_path_factory.mktemp("ts")
    (folder / "model/code").mkdir(parents=True)
    for name in ("serve.py", "model.py"):
        shutil.copy(ENTRYPOINTS / name, folder / "model/code")
    return folder


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    """A JPEG of each class."""
    rng = random.Random(0)
    files = []
    for label in COLOURS:
        draw(rng, label).save(file := io.BytesIO(), "JPEG", quality=90)
        files.append(file.getvalue())
    return files


@pytest.fixture(scope="module")
def answers(image_python: Path, folder: Path, pictures: list[bytes]) -> list[list[dict[str, Any]]]:
    """serve.py's own to the pictures, called directly. Makes the model."""
    paths = [folder / f"{number}.jpg" for number in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        path.write_bytes(picture)
    done = subprocess.run(
        [image_python, "-c", SAVE_AND_ANSWER, folder / "model", *paths],
        env=ALONE,
        input=json.dumps(list(COLOURS)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(answer)["predictions"] for answer in json.loads(done.stdout)]


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


def test_answers_are_those_of_serve_py(
    server: Server, pictures: list[bytes], answers: list[list[dict[str, Any]]]
) -> None:
    assert len({json.dumps(answer) for answer in answers}) == len(pictures), "the model tells no picture from another"
    for picture, wanted in zip(pictures, answers, strict=True):
        answer = server.invoke(picture)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json"), server.log()
        found = answer.json()["predictions"]
        assert [one["label"] for one in found] == [one["label"] for one in wanted]
        assert [one["probability"] for one in found] == pytest.approx([one["probability"] for one in wanted], abs=1e-5)


def test_top_k_comes_in_its_header(server: Server, pictures: list[bytes], answers: list[list[dict[str, Any]]]) -> None:
    attributes = {"X-Amzn-SageMaker-Custom-Attributes": "top_k=2"}
    found = server.invoke(pictures[0], **attributes).json()["predictions"]
    assert [one["label"] for one in found] == [one["label"] for one in answers[0][:2]]


@pytest.mark.parametrize(
    ("change", "headers", "status", "said"),
    [
        (lambda jpeg: b"a dog", {}, 400, "not a readable image: its format is unknown"),
        (lambda jpeg: jpeg[: len(jpeg) // 2], {}, 400, "not a readable image: "),
        (lambda jpeg: b"a dog", {"content_type": "text/plain"}, 415, "content type 'text/plain' is not supported"),
        (lambda jpeg: jpeg, {"Accept": "text/csv"}, 406, "only application/json"),
    ],
    ids=["no image", "half an image", "text", "wants csv"],
)
def test_errors_carry_their_status_and_the_server_answers_on(
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
