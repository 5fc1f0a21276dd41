"""Runs Python programs in forks of one process that has imported what they import: that takes longer than most of them.

    python fork_server.py SOCKET MODULE PACKAGE.* ...          ends at the end of its stdin; forked.py talks to it

Each connection is for a program: over it come the program's descriptors and one line of JSON, {"arguments": what
follows `python`, "folder": ..., "environment": ..., "descriptors": the numbers that they have in the program} and
perhaps "encoding" and "python", what it finds in sys.executable. The answers are two lines: the program's process id,
and then its exit code. Whoever closes the connection before has it killed.
"""

import atexit
import contextlib
import fcntl
import gc
import io
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import sys
import threading
import traceback
from importlib import import_module
from pathlib import Path
from types import ModuleType


def import_modules(names):
    for name in names:
        try:
            package = import_module(name.removesuffix(".*"))
        except ImportError:  # the program that needs it will say so
            continue
        if name.endswith(".*"):
            found = [module.name for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
            # Two of these run in the container image only.
            skipped = ("__main__", "serving_app", "warm_interpreter")
            import_modules(module for module in found if not module.endswith(skipped))


def serve(listening):
    while listening in select.select([0, listening], [], [])[0]:
        with listening.accept()[0] as asked:
            if os.fork() == 0:
                listening.close()
                keep(asked)
        with contextlib.suppress(ChildProcessError):  # keepers leave no zombies, but for the last
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def keep(asked):
    """Start the program, and tell how it ended."""
    text, descriptors, _, _ = socket.recv_fds(asked, 1 << 16, 16)
    while not text.endswith(b"\n"):
        text += asked.recv(1 << 16) or os._exit(0)  # nobody asks any more
    request = json.loads(text)
    ended, end = os.pipe()  # a byte comes when the program has ended
    os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(end)
    program = os.fork()
    if program == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        asked.close()
        become(request, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    with contextlib.suppress(OSError):  # nobody waits any more
        asked.sendall(b"%d\n" % program)
        if ended not in select.select([asked, ended], [], [])[0]:
            os.killpg(program, signal.SIGKILL)
        asked.sendall(b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(program, 0)[1]))
    os._exit(0)


def become(request, descriptors):
    """What exec would have done; then the program, and what Python does at its end, but for taking modules apart."""
    os.setsid()
    # First away from the numbers that others shall have.
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 64) for descriptor in descriptors]
    os.closerange(3, 64)
    for number, descriptor in zip(request["descriptors"], high, strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    encoding = request.get("encoding", "utf-8")
    sys.executable = request.get("python", sys.executable)
    sys.stdin = sys.__stdin__ = os.fdopen(0, encoding=encoding, closefd=False)
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    output = os.fdopen(1, "wb", 0 if unbuffered else -1, closefd=False)
    sys.stdout = sys.__stdout__ = io.TextIOWrapper(output, encoding, write_through=unbuffered)
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", 1, encoding=encoding, errors="backslashreplace", closefd=False)
    if "numpy" in sys.modules:  # Python's own generator does it by itself
        sys.modules["numpy"].random.seed()
    code = 1
    try:
        run(request["arguments"])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if code and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            threading._shutdown()
            atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code & 0xFF)


def run(arguments):
    set_before_start = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    kind, *rest = arguments[1:] if arguments[0] in ("--", "-u") else arguments  # whose environment says -u, too
    if kind == "-m":
        sys.argv, sys.path[:0] = rest, [str(Path.cwd()), *set_before_start]
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv, sys.path[:0] = ["-c", *rest[1:]], ["", *set_before_start]
        sys.modules["__main__"] = module = ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec", dont_inherit=True), module.__dict__)
    else:
        folder = [] if os.environ.get("PYTHONSAFEPATH") else [str(Path(kind).resolve().parent)]
        sys.argv, sys.path[:0] = [kind, *rest], [*folder, *set_before_start]
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    address, *names = sys.argv[1:]
    import_modules(names)
    del sys.path[0]  # where tests lie
    gc.collect()
    gc.freeze()  # so that no collection in a fork copies the pages of all these objects
    with socket.socket(socket.AF_UNIX) as listening:
        if not Path(address).parent.exists():
            sys.exit()  # who started this has ended already
        listening.bind(address)
        listening.listen()
        serve(listening)
