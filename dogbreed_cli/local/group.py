"""The process group of a job's program: started, watched and ended as a whole, and found again when its worker died."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Thread
from typing import IO, Protocol

from dogbreed_cli.whole_files import written_beside

# What a program needs of the machine it runs on. Nothing else of the caller's environment reaches a job, as nothing
# would reach a container: no credentials, no PYTHONPATH.
PASSED_ON = (
    "HOME", "LANG", "LC_ALL", "TMPDIR", "TORCH_HOME", "XDG_CACHE_HOME", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
)  # fmt: skip


# The program starts only when its group has been written down, so none is ever lost that a worker started.
GATE = 'read -r go && exec "$@" </dev/null'


class Program(Protocol):
    """The leader of a new session, of which nothing has run until a line was written to its stdin."""

    @property
    def pid(self) -> int: ...

    @property
    def stdin(self) -> IO[bytes] | None: ...

    @property
    def stdout(self) -> IO[bytes] | None:
        """Its stdout and stderr."""

    def poll(self) -> int | None:
        """The exit code, -9 for one that SIGKILL ended; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""


# command, folder, environment -> the program
Launch = Callable[[list[str], Path, Mapping[str, str], tuple[int, ...]], Program]


def execute(
    command: list[str], folder: Path, environment: Mapping[str, str], pass_fds: tuple[int, ...] = ()
) -> Program:
    return subprocess.Popen(
        ["/bin/sh", "-c", GATE, "sh", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env=environment,
        start_new_session=True,
        pass_fds=pass_fds,
    )


def program_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """All that a program finds in its environment."""
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {**passed_on, "PYTHONUNBUFFERED": "1", **environment}


class Group:
    def __init__(
        self,
        command: list[str],
        folder: Path,
        environment: Mapping[str, str],
        on_line: Callable[[str], None],
        pass_fds: tuple[int, ...] = (),
        launch: Launch = execute,
    ):
        self.lines, self.last_line = 0, ""
        self.process = launch(command, folder, program_environment(environment), pass_fds)
        assert self.process.stdin is not None
        with self.process.stdin as gate:
            write_group(folder, self.process.pid)
            gate.write(b"\n")
        self.reader = Thread(target=self.read, args=(on_line,), daemon=True)
        self.reader.start()

    def read(self, on_line: Callable[[str], None]) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for raw in lines:
                line = raw.decode(errors="replace").rstrip("\r\n")
                self.lines, self.last_line = self.lines + 1, line.strip() or self.last_line
                try:
                    on_line(line)
                except Exception:  # A full disk, say. Who stopped reading here would block the program for ever.
                    traceback.print_exc()

    def exited(self, within: float = 0) -> bool:
        """Whether the leader has ended, or does so within some seconds."""
        self.reader.join(within)  # the end of its output, which mostly is its own end, wakes us at once
        if self.reader.is_alive():
            return self.process.poll() is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(within)
        return self.process.poll() is not None

    def stop(self, grace: float) -> int:
        """SIGTERM to everyone, SIGKILL to whoever is left after `grace` seconds. The leader's exit code."""
        signal_group(self.process.pid, signal.SIGTERM)
        wait_until(lambda: not has_members(self.process.pid), grace)
        return self.end()

    def end(self) -> int:
        """Kill what is left of the group, see it gone, read its last lines; the leader's exit code."""
        kill_group(self.process.pid)
        code, seen = self.process.wait(), -1
        for _ in range(30):
            # Only someone who left the group can keep the pipe open now: silence ends it, or a minute.
            if not self.reader.is_alive() or self.lines == seen:
                break
            seen = self.lines
            self.reader.join(timeout=2)
        return code


def signal_group(group: int, number: signal.Signals) -> bool:
    """False when nobody is left in it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS, for a group of zombies
        pass
    return True


def kill_group(group: int) -> None:
    # The signal is sent at once, but a busy machine may take a while to end them.
    if signal_group(group, signal.SIGKILL):
        wait_until(lambda: not has_members(group), 5)


def has_members(group: int) -> bool:
    """Whether anyone in the group lives. Zombies do not: in a container there may be no init to reap them."""
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


def write_group(folder: Path, group: int) -> None:
    import psutil

    # The leader may be gone already; then its start time does not matter, see kill_orphans.
    started = psutil.Process(group).create_time() if psutil.pid_exists(group) else 0
    with written_beside(folder / "group.json") as beside:
        beside.write_text(json.dumps({"group": group, "started": started}))


def kill_orphans(folder: Path) -> None:
    """End what a killed worker left running, and see it gone. `folder` is where it started its program."""
    import psutil

    try:
        found = json.loads((folder / "group.json").read_bytes())
    except FileNotFoundError:
        return
    # A group id is not given to a new process while anyone lives in the old group. So if its leader lives, it must
    # have our start time to be ours; if it does not, whoever is in the group is ours.
    try:
        if abs(psutil.Process(found["group"]).create_time() - found["started"]) > 1:
            return
    except psutil.NoSuchProcess:
        pass
    kill_group(found["group"])


def wait_until(condition: Callable[[], bool], seconds: float, step: float = 0.1) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(step)
    return True
