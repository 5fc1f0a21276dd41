"""A Python of the container image that has imported what every trial of a study imports, and forks trials.

    python warm_interpreter.py FOLDER        its stdin is a socket; FOLDER is for whoever reads `ps`

A trial's connection comes in over the socket; at its end of file, when the study's worker is gone, this process ends.
Only the standard library is used here, for the interpreter may be any. What is forked, for each trial:

    interpreter     imports and forks, and nothing else: threads do not survive a fork
      keeper        waits for the leader and tells the trial's worker its exit code; outlives the interpreter
        leader      a session of its own; runs the command that it would have been started with: AWS's toolkit
          script    forked before the toolkit is imported; becomes `python train.py ...` when the toolkit starts that

Trials share nothing but the modules and the hash seed of strings: environment, folder and descriptors are their own,
and the random generators of Python, NumPy and torch are seeded anew.
"""

from __future__ import annotations

import asyncio
import atexit
import builtins
import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

# What scripts import (torch._dynamo comes with the first optimizer), then what AWS's toolkit does. Nothing of a job's
# may be read while they are imported, so the toolkit itself and smdebug are not here.
MODULES = (
    "torch", "torch._dynamo", "numpy", "safetensors.torch",
    "boto3.s3.transfer", "inotify_simple", "paramiko", "psutil", "requests", "retrying", "six",
)  # fmt: skip
exit_code = 1


@atexit.register  # the first to be registered is the last to be called
def leave() -> None:
    """Python would now take a million objects apart, one by one: a second and more after a fork."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(exit_code)


def main() -> None:
    global exit_code
    with contextlib.suppress(ValueError):  # PYTHONSAFEPATH has left it out
        sys.path.remove(str(Path(__file__).resolve().parent))  # where files have names that scripts may have, too
    import_modules()
    arguments = serve(socket.socket(fileno=os.dup(0)))
    exit_code = run_python(arguments) if arguments else 0


def import_modules() -> None:
    if sys.platform != "linux":
        sys.exit("no warm interpreter: only on Linux do these libraries survive a fork")
    # CUDA that is initialised cannot be used after a fork; this way torch asks for GPUs without it.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    for name in MODULES:
        with contextlib.suppress(ImportError):  # the script that needs it will say so
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # so that no collection in a fork copies the pages of all these objects
    # OpenBLAS ends its threads when its process forks, and starts them again where they are used.
    if os.fork() == 0:
        os._exit(0)
    os.wait()
    threads = len(list(Path("/proc/self/task").iterdir()))
    torch = sys.modules.get("torch")
    if threads > 1 or (torch and torch.cuda.is_initialized()):
        sys.exit(f"the warm interpreter cannot be forked: it has {threads} threads, or has initialised CUDA")


def serve(study: socket.socket) -> list[str] | None:
    """Fork for each connection. Returns in a leader or a script, with Python's arguments; None at the study's end."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers leave no zombies
    while True:
        _, received, _, _ = socket.recv_fds(study, 1, 1)
        if not received:
            return None
        with socket.socket(fileno=received[0]) as trial:
            if os.fork() == 0:
                study.close()
                return keep(trial)


def keep(trial: socket.socket) -> list[str]:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request, (gate, output) = receive(trial)
    leader = os.fork()
    if leader == 0:
        os.setsid()
        trial.sendall(b"%d\n" % os.getpid())
        trial.close()
        return lead(request, gate, output)
    os.close(gate)
    os.close(output)
    status = os.waitpid(leader, 0)[1]
    with contextlib.suppress(OSError):  # the trial's worker is gone
        trial.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def lead(request: dict[str, Any], gate: int, output: int) -> list[str]:
    if not os.read(gate, 1):
        os._exit(1)  # the trial's worker died before it had written our group down
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    enter(request, output, os.dup(output))
    os.close(gate)
    ours, theirs = socket.socketpair()
    script = os.fork()
    if script == 0:
        ours.close()
        request, (stdout, stderr) = receive(theirs)
        theirs.close()
        enter(request, stdout, stderr)
        return request["arguments"]
    theirs.close()
    hand_over_the_script(script, ours)
    return request["arguments"]


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """One line of JSON and two descriptors. Ends this process when nobody is there to send them."""
    text, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 2)
    while text and not text.endswith(b"\n"):
        more = connection.recv(1 << 16)
        text = text + more if more else b""
    if not text:
        os._exit(1)
    return json.loads(text), descriptors


def enter(request: dict[str, Any], stdout: int, stderr: int) -> None:
    """What exec would have done: descriptors, folder, environment. And what it would have made unlike its siblings."""
    for descriptor, wanted in ((stdout, 1), (stderr, 2)):
        os.dup2(descriptor, wanted)
        os.close(descriptor)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    if "numpy" in sys.modules:  # Python's own generator does it by itself
        sys.modules["numpy"].random.seed()
    if "torch" in sys.modules:
        sys.modules["torch"].default_generator.seed()


def hand_over_the_script(script: int, connection: socket.socket) -> None:
    """Let asyncio, with which the toolkit starts the user's script, start it in the waiting fork."""
    start = asyncio.create_subprocess_exec

    async def create_subprocess_exec(*command: str, **options: Any) -> Any:
        asyncio.create_subprocess_exec = start
        with connection:
            piped = options.get("stdout") == options.get("stderr") == asyncio.subprocess.PIPE
            if command[:2] == (sys.executable, "--") and command[2].endswith(".py") and piped:
                return await Script.start(script, connection, command[2:], options["cwd"], options["env"])
        return await start(*command, **options)  # torchrun, a shell script; the waiting fork ends

    asyncio.create_subprocess_exec = create_subprocess_exec  # type: ignore[assignment]


class Script:
    """As much of an asyncio.subprocess.Process as the toolkit uses."""

    pid: int
    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader
    returncode: int | None = None

    @classmethod
    async def start(
        cls, pid: int, connection: socket.socket, arguments: tuple[str, ...], folder: str, environment: Any
    ) -> Script:
        script, ends = cls(), (os.pipe(), os.pipe())
        request = {"arguments": arguments, "folder": folder, "environment": dict(environment)}
        socket.send_fds(connection, [b" "], [write for _, write in ends])
        connection.sendall(json.dumps(request).encode() + b"\n")
        for _, write in ends:
            os.close(write)
        script.pid = pid
        script.stdout, script.stderr = [await open_reader(read) for read, _ in ends]
        return script

    async def wait(self) -> int:
        # Its output has ended, and nothing else is to be done: whoever waits here keeps nobody waiting.
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode


async def open_reader(descriptor: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    pipe = os.fdopen(descriptor, "rb", 0)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader


def run_python(arguments: list[str]) -> int:
    """What `python *arguments` does, for `-c text ...` and `script.py ...`. Returns the exit code."""
    module = ModuleType("__main__")
    module.__dict__["__builtins__"] = builtins
    if arguments[0] == "-c":
        name, text = "<string>", arguments[1].encode()
        sys.argv = ["-c", *arguments[2:]]
        sys.path.insert(0, "")
    else:
        path = Path(arguments[0]).absolute()
        name = module.__file__ = str(path)
        text = path.read_bytes()
        sys.argv = arguments
        set_before_start = os.environ.get("PYTHONPATH", "").split(os.pathsep)  # by the toolkit
        sys.path[:0] = [str(path.resolve().parent), *(str(Path(entry).absolute()) for entry in set_before_start)]
    sys.modules["__main__"] = module
    try:
        exec(compile(text, name, "exec", dont_inherit=True), module.__dict__)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return (end.code or 0) & 0xFF
        print(end.code, file=sys.stderr)
        return 1
    except BaseException as error:
        own_frame = error.__traceback__
        error = error.with_traceback(own_frame.tb_next if own_frame else None)
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    return 0


if __name__ == "__main__":
    main()
