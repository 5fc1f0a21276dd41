"""Runs commands of dogbreed in forks of one process: importing boto3 and the like takes longer than most commands.

    python fork_commands.py          one JSON line on stdin for each; the answer is a line with its exit code

A line is {"arguments": [...], "folder": ..., "environment": {...}, "encoding": ...} with "terminal", the path of one,
or "stdout" and "stderr", paths of files.
"""

import contextlib
import gc
import json
import os
import pkgutil
import sys
from importlib import import_module
from typing import Any

import botocore.session
import matplotlib.pyplot
import msgspec
import rich.live
import rich.progress
import rich.table
import sklearn.metrics

import dogbreed_cli
from dogbreed_cli.cli import main

PRELOADED = (botocore.session, matplotlib.pyplot, msgspec, rich.live, rich.progress, rich.table, sklearn)


def import_all() -> None:
    for module in pkgutil.walk_packages(dogbreed_cli.__path__, "dogbreed_cli."):
        if not module.name.endswith(("__main__", "serving_app", "warm_interpreter")):
            import_module(module.name)
    gc.freeze()


def run(asked: dict[str, Any]) -> int:
    """In a fork. What exec would have done, then the command."""
    os.setsid()
    reading, writing = os.O_RDONLY, os.O_RDWR | os.O_CREAT | os.O_APPEND
    terminal = asked.get("terminal")
    paths = (terminal or os.devnull, terminal or asked["stdout"], terminal or asked["stderr"])
    for number, (path, mode) in enumerate(zip(paths, (reading, writing, writing), strict=True)):
        descriptor = os.open(path, mode)
        os.dup2(descriptor, number)
        os.close(descriptor)
    encoding = asked.get("encoding", "utf-8")
    sys.stdin = os.fdopen(0, encoding=encoding, closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding=encoding, closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding=encoding, errors="backslashreplace", closefd=False, buffering=1)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    try:
        main(asked["arguments"], prog_name="dogbreed")
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BrokenPipeError):
                stream.flush()
    raise AssertionError("main ends with an exit code")


if __name__ == "__main__":
    import_all()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 70
            try:
                code = run(json.loads(line))
            finally:
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
