"""For the tests of serve.py: a small model that tells four colours apart, and a local endpoint's server with it."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conftest import wait_for
from entrypoint_runs import ALONE, COLOURS, ENTRYPOINTS
from forked import run_forked_python

from dogbreed_cli.local.serving import APP, environment

# What is in model.tar.gz; and what training's own reading and the float32 network make of the pictures in a channel.
MAKE = """
import argparse, json, pathlib, sys
import torch
entrypoints, folder, channel = sys.argv[1:]
sys.path.insert(0, entrypoints)
import data, inputs, model

torch.manual_seed(0)
classes = json.loads(sys.stdin.read())
dataset = data.LabelledImages(channel, "test", classes, argparse.Namespace(image_size=64, seed=0))
batch = torch.stack([image for image, _ in dataset])
normalisation = {"mean": model.IMAGENET_MEAN, "std": model.IMAGENET_STD}
network, head = model.build_network("resnet18", 64)
model.replace_head(network, head, len(classes))
model.calibrate_batch_norm(network, [model.normalise(batch, **normalisation)])
description = {"classes": classes, "backbone": "resnet18", "image_size": 64, "normalisation": normalisation}
with torch.inference_mode():
    found = network(model.normalise(batch, **normalisation)).softmax(1)
print(json.dumps({path: dict(zip(classes, row.tolist())) for (path, _), row in zip(dataset.samples, found)}))
for name in inputs.SERVING:
    target = pathlib.Path(folder, "code", name)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(pathlib.Path(entrypoints, name).read_bytes())
model.save_model(folder, network.state_dict(), description)
"""


def make_model(python: Path, folder: Path, channel: Path) -> dict[str, dict[str, float]]:
    """Write the model into `folder`. {a picture's path in the channel: {class: its probability}}."""
    classes = json.dumps(list(COLOURS)).encode()
    done = run_forked_python(python, "-c", MAKE, ENTRYPOINTS, folder, channel, env=ALONE, stdin=classes)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def free_ports(count: int) -> list[int]:
    """Not such as the system gives to whoever asks for any, which other tests do before a slow server has it."""
    found: list[int] = []
    for port in random.sample(range(20000, 32000), 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
    return found[:count]


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def predictions(self) -> list[dict[str, Any]]:
        assert self.status == 200, self.text
        return json.loads(self.body)["predictions"]


@dataclass
class Endpoint:
    process: subprocess.Popen[str]
    port: int
    lines: list[str] = field(default_factory=list)  # its log
    connection: http.client.HTTPConnection | None = None

    def invoke(self, body: bytes, content_type: str | None = "image/jpeg", **headers: str) -> Answer:
        """With the header Accept or X_Amzn_..., as the arguments are named; over a connection that is kept."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if content_type is not None:
            named["Content-Type"] = content_type
        if self.connection is None:
            self.connection = self.connect()
        self.connection.request("POST", "/invocations", body, named)
        return read(self.connection)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ready(self, path: str = "/ping") -> bool:
        assert self.process.poll() is None, "".join(self.lines)
        connection = self.connect()
        try:
            connection.request("GET", path)
            return read(connection).status == 200
        except OSError:
            return False
        finally:
            connection.close()


def read(connection: http.client.HTTPConnection) -> Answer:
    response = connection.getresponse()
    return Answer(response.status, response.headers, response.read())  # type: ignore[arg-type]


@contextmanager
def serve_model(python: Path, folder: Path) -> Iterator[Endpoint]:
    """serving_app.py, started as an endpoint's worker does it, with the model in folder/model."""
    given = {
        "SAGEMAKER_PROGRAM": "serve.py",
        "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
        "OMP_NUM_THREADS": "1",
    }
    with socket.create_server(("127.0.0.1", 0)) as listening:
        process = subprocess.Popen(
            [python, APP, str(listening.fileno()), folder / "model"],
            env=environment(given, folder),
            cwd=folder,
            pass_fds=(listening.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        endpoint = Endpoint(process, listening.getsockname()[1])
    assert process.stdout
    reader = threading.Thread(target=lambda: endpoint.lines.extend(process.stdout or ()), daemon=True)
    reader.start()
    try:
        wait_for(endpoint.ready, 120)
        yield endpoint
    finally:
        process.kill()
        process.wait()
        reader.join(timeout=60)
        process.stdout.close()
        print("".join(endpoint.lines), file=sys.stderr)  # shown when a test fails
