"""TorchServe with the same model, started by AWS's own code as in AWS's image; it needs Java."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time

import endpoint
import ours

# AWS's start, but for where it writes TorchServe's config (/etc) and how it waits for TorchServe's end.
START = """
import os, sys
from sagemaker_pytorch_serving_container import torchserve

torchserve.TS_CONFIG_FILE = sys.argv[1]
torchserve.subprocess.Popen = lambda command: os.execvp(command[0], [*command, "--foreground"])
torchserve.start_torchserve()
"""


def why_not():
    return "" if shutil.which("java") else "no Java"


class TorchServe(endpoint.Endpoint):
    def __init__(self, folder):
        python = ours.container_python()
        self.port, metrics, grpc, management = free_ports(4)
        temporary = folder / "tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        address = f"http://127.0.0.1:{self.port}"
        started = time.perf_counter()
        self.process = subprocess.Popen(
            [python, "-c", START, str(folder / "ts.properties")],
            env={
                "PATH": f"{python.parent}:{os.environ['PATH']}",
                "TMPDIR": str(temporary),
                "TEMP": str(temporary),
                "SAGEMAKER_BASE_DIR": str(folder),
                "SAGEMAKER_PROGRAM": "serve.py",
                "SAGEMAKER_SUBMIT_DIRECTORY": str(folder / "model" / "code"),
                "SAGEMAKER_BIND_TO_PORT": str(self.port),
                "SAGEMAKER_MODEL_SERVER_WORKERS": "1",  # as in endpoint_requests.py
                "TS_INFERENCE_ADDRESS": address,
                "TS_MANAGEMENT_ADDRESS": address,
                "TS_METRICS_ADDRESS": f"http://127.0.0.1:{metrics}",
                "TS_GRPC_INFERENCE_PORT": str(grpc),
                "TS_GRPC_MANAGEMENT_PORT": str(management),
                "TS_DISABLE_SYSTEM_METRICS": "true",
            },
            cwd=temporary,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.wait_until("/ping")
        self.wait_until("/models/model", b'"READY"')  # /ping is green before the model is loaded
        self.cold_start = time.perf_counter() - started

    def end(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def free_ports(count):
    """Not such as the system gives to whoever asks for any."""
    found = []
    for port in random.sample(range(20000, 32000), 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
    return found[:count]
