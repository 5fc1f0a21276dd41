"""The server of a local endpoint, started as dogbreed_cli/local/serving.py does, and clients that ask it."""

import http.client
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median, quantiles

import ours
import process
import psutil

from dogbreed_cli.local.serving import APP, environment

START_SECONDS = 120
TIMEOUT = 60


@dataclass
class Load:
    """What clients saw: the seconds of each answer, how long all took, and what was no 200."""

    seconds: list = field(default_factory=list)
    wall: float = 0.0
    errors: list = field(default_factory=list)

    @property
    def p50(self):
        return median(self.seconds)

    @property
    def p95(self):
        return quantiles(self.seconds, n=20)[-1]

    @property
    def rate(self):
        return len(self.seconds) / self.wall


class Endpoint:
    def __init__(self, folder):
        """`folder` has the unpacked model.tar.gz as model/."""
        given = {"SAGEMAKER_PROGRAM": "serve.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
        started = time.perf_counter()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.port = listening.getsockname()[1]
            self.process = subprocess.Popen(
                [ours.container_python(), str(APP), str(listening.fileno()), str(folder / "model")],
                env=environment(given, folder),
                cwd=folder,
                pass_fds=(listening.fileno(),),
                stdout=subprocess.DEVNULL,
            )
        self.wait_until("/ping")
        self.cold_start = time.perf_counter() - started

    def wait_until(self, path, said=b""):
        """It answers that path with 200 and those words."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            connection = self.connect()
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                if answer.status == 200 and said in answer.read():
                    return
            except OSError:
                pass
            finally:
                connection.close()
            time.sleep(0.02)
        self.end()
        raise process.Failed(f"the endpoint's server did not answer {path}")

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)

    def ask(self, bodies, count, clients=1):
        """Load of `count` requests by that many clients at once, each over one connection; bodies take turns."""
        load, left, lock = Load(), iter(range(count)), threading.Lock()

        def client():
            connection = self.connect()
            while True:
                with lock:
                    number = next(left, None)
                if number is None:
                    return connection.close()
                started = time.perf_counter()
                try:
                    headers = {"Content-Type": "image/jpeg", "Accept": "application/json"}
                    connection.request("POST", "/invocations", bodies[number % len(bodies)], headers)
                    answer = connection.getresponse()
                    said = answer.read()
                    if answer.status != 200:
                        load.errors.append(said)
                except (OSError, http.client.HTTPException) as error:
                    load.errors.append(repr(error))
                    connection.close()
                load.seconds.append(time.perf_counter() - started)

        threads = [threading.Thread(target=client) for _ in range(clients)]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        load.wall = time.perf_counter() - started
        return load

    def resident(self):
        return psutil.Process(self.process.pid).memory_info().rss

    def end(self):
        self.process.kill()
        self.process.wait()


@contextmanager
def started(folder, server=Endpoint):
    endpoint = server(folder)
    try:
        yield endpoint
    finally:
        endpoint.end()
