"""Programs that are measured: started, timed and watched from outside. They are told nothing of it."""

import contextlib
import json
import os
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

HERE = Path(__file__).parent
ROOT = HERE.parent
DOGBREED = ROOT / ".venv" / "bin" / "dogbreed"
BENCH_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
WATCH_EVERY = 0.05  # seconds


@dataclass
class Finished:
    """What a program took: seconds and bytes; `steps` are the lines that a peer said (peer.py)."""

    seconds: float
    peak: int
    stdout: str
    ready: float = 0.0  # seconds until it said so
    steps: list[dict] = field(default_factory=list)

    def seconds_of(self, step):
        return [said["seconds"] for said in self.steps if said["step"] == step]


class Failed(Exception):
    """A measured program ended with an error; the text is the end of what it said."""


def run(command, cwd=ROOT, env=None):
    """Run to its end; raises Failed with the last lines where that is not 0."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONUNBUFFERED": "1", **(env or {})}
    started = time.perf_counter()
    with (
        subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
        Watch(process.pid) as watch,
    ):
        complaints = []
        reader = threading.Thread(target=lambda: complaints.extend(process.stderr), daemon=True)
        reader.start()
        finished = Finished(0.0, 0, "")
        for line in process.stdout:
            finished.stdout += line
            if line.startswith("MEASURED "):
                said = json.loads(line.removeprefix("MEASURED "))
                finished.steps.append(said)
                if said["step"] == "ready":
                    finished.ready = time.perf_counter() - started
        reader.join()
        process.wait()
        finished.seconds = time.perf_counter() - started
    finished.peak = watch.peak
    if process.returncode:
        last = (finished.stdout + "".join(complaints)).strip().splitlines()[-12:]
        raise Failed(f"{' '.join(map(str, command[:3]))} ended with {process.returncode}:\n" + "\n".join(last))
    return finished


class Watch(threading.Thread):
    """The largest resident memory of a process and its descendants together, in bytes.

    Pages that processes share count once for each, as everywhere where RSS is added up.
    """

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.root, self.peak, self.over = psutil.Process(pid), 0, threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()

    def run(self):
        while not self.over.wait(WATCH_EVERY):
            resident = 0
            with contextlib.suppress(psutil.Error):
                for process in [self.root, *self.root.children(recursive=True)]:
                    with contextlib.suppress(psutil.Error):
                        resident += process.memory_info().rss
            self.peak = max(self.peak, resident)
