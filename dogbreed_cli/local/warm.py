"""A study's warm interpreter, from outside: started by the tuning job's worker, asked for forks by its trials' workers.

A trial's worker holds one end of a socket pair; the other end went to the interpreter. So nobody else can ask, nothing
lies in a folder, and each side sees at once that the other is gone. Why: importing torch takes longer than a trial on
cached features; see warm_interpreter.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from dogbreed_cli.local.group import Launch, Program, execute, program_environment

INTERPRETER = Path(__file__).with_name("warm_interpreter.py")
# The first trials wait until torch is imported.
PATIENCE = 120


class WarmInterpreter:
    """It ends with the `with`, and with the process that started it."""

    def __init__(self, python: Path, environment: Mapping[str, str], folder: Path):
        self.control, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [str(python), str(INTERPRETER), str(folder)],
                stdin=theirs.fileno(),
                cwd=folder,
                env=program_environment(environment),
                start_new_session=True,
            )

    def __enter__(self) -> WarmInterpreter:
        return self

    def __exit__(self, *_: object) -> None:
        self.control.close()
        try:
            self.process.wait(1)
        except subprocess.TimeoutExpired:  # still importing
            self.process.kill()
            self.process.wait()

    def connect(self) -> socket.socket:
        """For one trial. If the interpreter is gone, the trial's worker will see that, and say it."""
        ours, theirs = socket.socketpair()
        with theirs, contextlib.suppress(OSError):
            socket.send_fds(self.control, [b" "], [theirs.fileno()])
        return ours


def fork_by(trial: socket.socket) -> Launch:
    """Start a program, `python -c ...`, as a fork of the warm interpreter; as a new process if it cannot be had."""

    def launch(
        command: list[str], folder: Path, environment: Mapping[str, str], pass_fds: tuple[int, ...] = ()
    ) -> Program:
        try:
            return Forked(trial, command[1:], folder, environment)
        except OSError as error:
            print(f"no warm interpreter ({error}): this trial starts cold", file=sys.stderr, flush=True)
            return execute(command, folder, environment, pass_fds)

    return launch


class Forked:
    """A Program. Raises OSError when the interpreter is gone or does not answer."""

    def __init__(self, trial: socket.socket, arguments: list[str], folder: Path, environment: Mapping[str, str]):
        self.trial = trial
        self.returncode: int | None = None
        gate, gate_end = os.pipe()
        output, output_end = os.pipe()
        self.stdin: IO[bytes] = os.fdopen(gate_end, "wb")
        self.stdout: IO[bytes] = os.fdopen(output, "rb")
        request = {"arguments": arguments, "folder": str(folder), "environment": environment}
        try:
            trial.settimeout(PATIENCE)
            socket.send_fds(trial, [b" "], [gate, output_end])
            trial.sendall(json.dumps(request).encode() + b"\n")
            pid, _, self.said = trial.recv(64).partition(b"\n")
            if not pid:
                raise ConnectionError("it has ended")
            self.pid = int(pid)
        except OSError:
            self.stdin.close()
            self.stdout.close()
            raise
        finally:
            os.close(gate)
            os.close(output_end)

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self.trial.settimeout(timeout)
            try:
                said = self.said or self.trial.recv(64)
            except (BlockingIOError, TimeoutError):
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0) from None
            except ConnectionError:
                said = b""
            self.returncode = int(said or -9)  # only SIGKILL ends a keeper before it has told
        return self.returncode
