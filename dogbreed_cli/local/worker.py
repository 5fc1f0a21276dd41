"""Worker processes: every local job and endpoint has one, detached from the command that started it.

    python -m dogbreed_cli.local.worker training|tuning|endpoint HOME NAME LOCK [S3_ENDPOINT]

A worker holds a lock on jobs/<name>/worker.lock as long as it lives. The kernel frees the lock however the worker
dies, so whoever finds the lock free beside a record that is still InProgress knows that the worker was killed. No
process id is ever trusted for that. The lock is taken before the record is written and handed down to the worker, so
there is no moment in which a living job looks dead; and who ends a dead job's record holds it meanwhile, so that no
other can begin.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from threading import Thread
from typing import IO

from dogbreed_cli.local.home import Home

# What a program needs of the machine it runs on. Nothing else of the caller's environment reaches a job, as nothing
# would reach a container: no credentials, no PYTHONPATH.
PASSED_ON = (
    "HOME", "LANG", "LC_ALL", "TMPDIR", "TORCH_HOME", "XDG_CACHE_HOME", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
)  # fmt: skip


# The program starts only when its group has been written down, so none is ever lost that a worker started.
GATE = 'read -r go && exec "$@" </dev/null'


@contextlib.contextmanager
def claim(home: Home, name: str, seconds: float = 0) -> Iterator[IO[bytes] | None]:
    """Hold the lock in jobs/<name>/, or None when a living worker holds it, and still does after `seconds`."""
    folder = home.jobs / name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "worker.lock").open("ab") as lock:
        yield lock if wait_until(lambda: try_lock(lock), seconds) else None


def try_lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def start(home: Home, kind: str, name: str, lock: IO[bytes]) -> None:
    """Start the worker that now owns `lock`. It outlives this process and hears no Ctrl-C of its terminal."""
    command = [sys.executable, "-P", "-m", "dogbreed_cli.local.worker", kind, str(home.root), name, str(lock.fileno())]
    if home.s3_endpoint:
        command.append(home.s3_endpoint)
    with Path(lock.name).with_name("worker.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=home.root,
            start_new_session=True,
            pass_fds=[lock.fileno()],
        )
    # Whoever starts many and lives long (a tuning job's worker) keeps no zombies.
    Thread(target=process.wait, daemon=True).start()


class Group:
    """The process group of a job's program: started, watched and ended as a whole."""

    def __init__(
        self,
        command: list[str],
        folder: Path,
        environment: Mapping[str, str],
        on_line: Callable[[str], None],
        pass_fds: tuple[int, ...] = (),
    ):
        passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        self.lines, self.last_line = 0, ""
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", GATE, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**passed_on, "PYTHONUNBUFFERED": "1", **environment},
            start_new_session=True,
            pass_fds=pass_fds,
        )
        assert self.process.stdin is not None
        with self.process.stdin as gate:
            write_group(folder, self.process.pid)
            gate.write(b"\n")
        self.reader = Thread(target=self.read, args=(on_line,), daemon=True)
        self.reader.start()

    def read(self, on_line: Callable[[str], None]) -> None:
        assert self.process.stdout is not None
        for raw in self.process.stdout:
            line = raw.decode(errors="replace").rstrip("\r\n")
            self.lines, self.last_line = self.lines + 1, line.strip() or self.last_line
            try:
                on_line(line)
            except Exception:  # A full disk, say. Who stopped reading here would block the program for ever.
                traceback.print_exc()

    def exited(self) -> bool:
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


def signal_group(group: int, number: signal.Signals) -> None:
    # Neither is trouble: nobody is left in it. (macOS says PermissionError for a group of zombies.)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def kill_group(group: int) -> None:
    # The signal is sent at once, but a busy machine may take a while to end them.
    signal_group(group, signal.SIGKILL)
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
    beside = folder / "group.json.tmp"
    beside.write_text(json.dumps({"group": group, "started": started}))
    beside.replace(folder / "group.json")


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


def run() -> None:
    kind, root, name, descriptor, *endpoint = sys.argv[1:]
    # The lock must die with this process, so nothing that it starts may inherit it.
    os.set_inheritable(int(descriptor), False)
    home = Home(Path(root), *endpoint)
    if kind == "training":
        from dogbreed_cli.local import training

        training.run(home, name)
    elif kind == "tuning":
        from dogbreed_cli.local import tuning

        tuning.run(home, name)
    else:
        from dogbreed_cli.local import serving

        serving.run(home, name)


if __name__ == "__main__":
    run()
