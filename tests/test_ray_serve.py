"""ray_app.py under Ray Serve, started as AWS's Ray Serve image starts it, answers as the local endpoint does.

Where Ray is: in this environment, or in that of DOGBREED_CONTAINER_PYTHON (`make check-containers`).
"""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest
from answering_endpoint import Answer, Endpoint, free_ports, make_model, read, serve_model
from conftest import wait_for
from entrypoint_runs import ALONE, COLOURS, draw

from dogbreed_cli.config import Config
from dogbreed_cli.endpoint_requests import environment
from dogbreed_cli.local import serving
from dogbreed_cli.sections import Deploy

PYTHON = os.environ.get("DOGBREED_CONTAINER_PYTHON") or (find_spec("ray") and find_spec("torch") and sys.executable)
pytestmark = pytest.mark.skipif(not PYTHON, reason="no Ray")

# The image's `ray start`, `serve start` and `serve run $SM_RAYSERVE_APP` in one process, on ports that nobody has.
# https://github.com/aws/deep-learning-containers/blob/main/scripts/docker/ray/sagemaker_entrypoint.sh
START = """
import os, sys
import ray
from ray import serve
from ray.serve.scripts import cli

port, folder = sys.argv[1:]
memory = 100_000_000  # of its object store, bytes
ray.init(namespace="serve", num_cpus=2, include_dashboard=False, object_store_memory=memory, _temp_dir=folder)
serve.start(http_options={"host": "127.0.0.1", "port": int(port)})
cli(["run", os.environ["SM_RAYSERVE_APP"]])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, image_python: Path) -> Path:
    """model/, and a JPEG of each class in pictures/."""
    folder, rng = tmp_path_factory.mktemp("ray"), random.Random(0)
    for label in COLOURS:
        (folder / "pictures" / label).mkdir(parents=True)
        draw(rng, label).save(folder / "pictures" / label / "0.jpg", quality=90)
    make_model(image_python, folder / "model", folder / "pictures")
    return folder


@pytest.fixture(scope="module")
def local(image_python: Path, folder: Path) -> Iterator[Endpoint]:
    with serve_model(image_python, folder) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def ray(folder: Path) -> Iterator[Endpoint]:
    """As soon as the image's /ping, which is Ray's /-/healthz, is green."""
    (port,), sent = free_ports(1), environment(Config(deploy=Deploy(container="ray")))
    with tempfile.TemporaryDirectory(prefix="ray-") as short:  # Ray's sockets lie there, whose paths must be short
        process = subprocess.Popen(
            [str(PYTHON), "-c", START, str(port), short],
            env={**ALONE, "PYTHONUNBUFFERED": "1", "RAY_USAGE_STATS_ENABLED": "0", **serving.environment(sent, folder)},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        endpoint = Endpoint(process, port)
        reader = threading.Thread(target=lambda: endpoint.lines.extend(process.stdout or ()), daemon=True)
        reader.start()
        try:
            wait_for(lambda: endpoint.ready("/-/healthz"), 120)
            yield endpoint
        finally:
            process.send_signal(signal.SIGTERM)  # ends all that Ray has started, too
            process.wait(timeout=60)
            reader.join(timeout=60)
            print("".join(endpoint.lines), file=sys.stderr)  # shown when a test fails


def said(answer: Answer) -> object:
    """The answer without its probabilities' last digits: the two servers may have two versions of torch."""
    if answer.status != 200:
        return answer.status, answer.text
    if answer.headers["Content-Type"] != "application/json":
        return [line.split(",")[:2] for line in answer.text.splitlines()]
    return json.loads(answer.body, parse_float=lambda digits: round(float(digits), 4))


def probabilities(answer: Answer) -> dict[str, float]:
    return {one["label"]: one["probability"] for one in answer.predictions}


def test_answers_are_those_of_the_local_endpoint(ray: Endpoint, local: Endpoint, folder: Path) -> None:
    jpegs = [path.read_bytes() for path in sorted((folder / "pictures").rglob("*.jpg"))]
    listed = json.dumps([base64.b64encode(jpeg).decode() for jpeg in jpegs]).encode()
    requests: list[tuple[bytes, str | None, dict[str, str]]] = [
        *((jpeg, "image/jpeg", {}) for jpeg in jpegs),
        (jpegs[0], "application/x-image", {}),
        (jpegs[0], "image/jpeg", {"Accept": "text/csv"}),
        (jpegs[0], "image/jpeg", {"X_Amzn_SageMaker_Custom_Attributes": "top_k=2"}),
        (listed, "application/json", {}),
        (jpegs[0][:300], "image/jpeg", {}),
        (b"a dog", "image/png", {}),
        (b"\xff", "application/json", {}),
        (b"a dog", "text/plain", {}),
        (b"a dog", None, {}),
        (jpegs[0], "image/jpeg", {"Accept": "text/html"}),
        (jpegs[0], "image/jpeg", {"X_Amzn_SageMaker_Custom_Attributes": "top_k=no"}),
    ]
    for body, kind, headers in requests:  # the first of them is sent before the model is loaded, and waits
        found, wanted = ray.invoke(body, kind, **headers), local.invoke(body, kind, **headers)
        assert said(found) == said(wanted), (kind, headers)
        assert found.headers["Content-Type"] == wanted.headers["Content-Type"]
    assert ray.invoke(bytes(6_400_000)).status == 413


def test_many_at_once_are_answered_by_one_model_on_all_cores(ray: Endpoint, folder: Path) -> None:
    jpegs = [path.read_bytes() for path in sorted((folder / "pictures").rglob("*.jpg"))]
    alone = [probabilities(ray.invoke(jpeg)) for jpeg in jpegs]
    assert len({json.dumps(answer) for answer in alone}) == len(jpegs), "the model tells nothing apart"

    def ask(number: int) -> dict[str, float]:
        connection = ray.connect()
        connection.request("POST", "/", jpegs[number % len(jpegs)], {"Content-Type": "image/jpeg"})
        answer = read(connection)
        connection.close()
        return probabilities(answer)

    with ThreadPoolExecutor(8) as clients:
        for number, found in enumerate(clients.map(ask, range(64))):
            assert found == pytest.approx(alone[number % len(jpegs)], abs=1e-4)
    (loaded,) = [line for line in ray.lines if "serving with" in line]
    assert f"{len(os.sched_getaffinity(0))} threads" in loaded
