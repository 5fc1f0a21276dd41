"""Worker processes: every local job and endpoint has one, detached from the command that started it.

    python -m dogbreed_cli.local.worker training|tuning|endpoint HOME NAME LOCK WARM [S3_ENDPOINT]

A worker holds a lock on jobs/<name>/worker.lock as long as it lives. The kernel frees the lock however the worker
dies, so whoever finds the lock free beside a record that is still InProgress knows that the worker was killed. No
process id is ever trusted for that. The lock is taken before the record is written and handed down to the worker, so
there is no moment in which a living job looks dead; and who ends a dead job's record holds it meanwhile, so that no
other can begin. WARM is the descriptor of a trial's connection to its study's warm interpreter, or a dash.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import IO

from dogbreed_cli.local.group import wait_until
from dogbreed_cli.local.home import Home


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


def start(
    home: Home,
    kind: str,
    name: str,
    lock: IO[bytes],
    warm: socket.socket | None = None,
    on_end: Callable[[], None] = lambda: None,
) -> None:
    """Start the worker that now owns `lock`. It outlives this process and hears no Ctrl-C of its terminal.

    While this process lives, it calls `on_end` in a thread when the worker has ended.
    """
    handed_down = [lock.fileno()] + ([warm.fileno()] if warm else [])
    command = [sys.executable, "-P", "-m", "dogbreed_cli.local.worker", kind, str(home.root), name, str(lock.fileno())]
    command.append(str(warm.fileno()) if warm else "-")
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
            pass_fds=handed_down,
        )

    def reap() -> None:  # whoever starts many and lives long (a tuning job's worker) keeps no zombies
        process.wait()
        on_end()

    Thread(target=reap, daemon=True).start()


def run() -> None:
    kind, root, name, lock, warm, *endpoint = sys.argv[1:]
    # The lock must die with this process, so nothing that it starts may inherit it.
    os.set_inheritable(int(lock), False)
    home = Home(Path(root), *endpoint)
    if kind == "training":
        from dogbreed_cli.local import training

        training.run(home, name, socket.socket(fileno=int(warm)) if warm != "-" else None)
    elif kind == "tuning":
        from dogbreed_cli.local import tuning

        tuning.run(home, name)
    else:
        from dogbreed_cli.local import serving

        serving.run(home, name)


if __name__ == "__main__":
    run()
