"""`subprocess.run([python, ...])` without the seconds that its imports take: as a fork of a process that has them.

There is one such process for an interpreter, started when it is first asked for, or before pytest-xdist starts the
workers, who share it; see fork_server.py.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import pytest

from dogbreed_cli.local.image import ensure

SERVER = Path(__file__).with_name("fork_server.py")
# What `dogbreed` imports when it needs it.
COMMANDS = (
    "dogbreed_cli.*", "boto3", "botocore.session", "matplotlib.pyplot", "obstore", "msgspec", "rich.live",
    "rich.progress", "rich.table", "sagemaker.core.resources", "sklearn.metrics", "read_once",
)  # fmt: skip
# What trainings and endpoints import, torch._dynamo with the first optimizer; but for what a test wants not imported.
TRAINING = (
    "torch._dynamo", "torch.distributed", "numpy", "safetensors.torch", "uvicorn", "starlette.applications",
    "boto3.s3.transfer", "inotify_simple", "paramiko", "psutil", "requests", "retrying", "six",
)  # fmt: skip


# Of the environment, for workers of pytest-xdist: the addresses of what the process that started them has, as JSON.
SHARED = "FORK_SERVERS"


class Forks:
    """A process of an interpreter with modules imported; it ends with the process that started it."""

    def __init__(self, python: str, modules: Sequence[str]):
        self.process = None
        if shared := json.loads(os.environ.get(SHARED, "{}")).get(python):
            self.address = shared
            return
        self.folder = tempfile.TemporaryDirectory(prefix="forks-")
        self.address = f"{self.folder.name}/socket"
        # One thread, as for all trainings of tests: it is asked for when a library is loaded.
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [python, str(SERVER), self.address, *modules]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, start_new_session=True)

    def connect(self) -> socket.socket:
        """Once all is imported."""
        end = time.monotonic() + 120
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(self.address)
                return connection
            except OSError:
                connection.close()
                has_ended = self.process is not None and self.process.poll() is not None
                assert not has_ended and time.monotonic() < end, "what forks has not started"
                time.sleep(0.05)

    def run(
        self, arguments: Sequence[Any], folder: Path, environment: Mapping[str, str], streams: Sequence[IO[Any]],
        *, encoding: str = "utf-8", timeout: float = 300,
    ) -> int:  # fmt: skip
        """Its exit code, as subprocess has it. Raises TimeoutError, and kills it."""
        request = {
            "arguments": [str(argument) for argument in arguments],
            "folder": str(folder),
            "environment": dict(environment),
            "encoding": encoding,
            "descriptors": [0, 1, 2],
        }
        with self.connect() as connection, connection.makefile() as answers:
            connection.settimeout(timeout)
            socket.send_fds(connection, [b" "], [stream.fileno() for stream in streams])
            connection.sendall(json.dumps(request).encode() + b"\n")
            answers.readline()
            return int(answers.readline())


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As a shell has it for what it starts in the background; and all that tests start would ignore it, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@functools.cache
def forks_of(python: str) -> Forks:
    return Forks(python, COMMANDS if python == sys.executable else TRAINING)


def pytest_configure(config: pytest.Config) -> None:
    """Before pytest-xdist starts its workers, who inherit the environment: a half minute of imports for each less."""
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        interpreters = (sys.executable, str(ensure(print)))
        os.environ[SHARED] = json.dumps({python: forks_of(python).address for python in interpreters})


def run_forked_python(
    python: Path | str,
    *arguments: Any,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: bytes = b"",
    merged: bool = False,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """`python *arguments` and what it said; with `merged`, all of that in stdout."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        code = forks_of(str(python)).run(
            arguments, cwd or Path.cwd(), env, (given, out, out if merged else err), timeout=timeout
        )
        said = []
        for stream in (out, err):
            stream.seek(0)
            said.append(stream.read().decode())
    return subprocess.CompletedProcess([str(python), *arguments], code, *said)


# ---- programs that others start, and that start at once

# It hands all it was given to the process that forks, and ends as its fork does.
STARTER = """#!{python} -IS
import fcntl, json, os, signal, socket, sys

def is_passed_on(descriptor):
    try:
        return descriptor < 3 or not fcntl.fcntl(descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    except OSError:  # that by which the list was read
        return False

forwarded = {{signal.SIGTERM, signal.SIGINT, signal.SIGHUP}}
signal.pthread_sigmask(signal.SIG_BLOCK, forwarded)
descriptors = sorted(filter(is_passed_on, map(int, os.listdir("/dev/fd"))))
request = dict({given!r}, folder=os.getcwd(), environment=dict(os.environ), descriptors=descriptors)
request["arguments"] = request["arguments"] + sys.argv[1:]
connection = socket.socket(socket.AF_UNIX)
connection.connect({address!r})
socket.send_fds(connection, [b" "], descriptors)
connection.sendall(json.dumps(request).encode() + b"\\n")
answers = connection.makefile()
program = int(answers.readline())

def forward(number, _):
    try:
        os.kill(program, number)
    except ProcessLookupError:  # it has ended, and its exit code is on its way
        pass

for number in forwarded:
    signal.signal(number, forward)
signal.pthread_sigmask(signal.SIG_UNBLOCK, forwarded)
code = int(answers.readline() or -9)
if code < 0:
    signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
    os.kill(os.getpid(), -code)
os._exit(code)
"""


def build_warm_image(python: Path, folder: Path) -> Path:
    """An interpreter like `python`, except that its programs begin with torch imported. They are killed with it."""
    warm = write_starter(folder / "bin" / "python", str(python), arguments=[], python=str(folder / "bin" / "python"))
    torchrun = warm.with_name("torchrun")  # AWS's toolkit looks for it beside the interpreter
    torchrun.write_text(f"#!{warm}\n" + Path(python).with_name("torchrun").read_text().partition("\n")[2])
    torchrun.chmod(0o755)
    return warm


def build_forked_command(folder: Path) -> Path:
    """A `dogbreed` for a shell, with everything imported."""
    return write_starter(folder / "bin" / "dogbreed", sys.executable, arguments=["-m", "dogbreed_cli"])


def write_starter(path: Path, interpreter: str, **given: Any) -> Path:
    forks = forks_of(interpreter)
    forks.connect().close()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(STARTER.format(python=sys.executable, address=forks.address, given=given))
    path.chmod(0o755)
    return path
