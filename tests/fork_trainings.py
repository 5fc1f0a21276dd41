"""Runs train.py many times, several ranks at once, in forks of one process: importing torch takes seconds.

    python fork_trainings.py ENTRYPOINTS FOLDER '{"name": {"argv": [...], ...}, ...}'

A run may have "world" (2: as torchrun would start two ranks), "environment" (a list: one for each rank), "set"
({"module.CONSTANT": value}) and be killed: "kill" ([signal, rank, step]), when that rank's process group gets that
signal after so many steps of its optimizer, and whoever reads the log is gone then, as AWS's toolkit is; or
"kill_after" ([signal, words, seconds]), when all ranks get it so long after the log has these words. Prints
{"name": [exit code of each rank]}; FOLDER/<name>.log has what was said.
"""

import contextlib
import importlib
import json
import os
import runpy
import signal
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, sys.argv[1])

import torch._dynamo  # which the first optimizer of a process imports: seconds, here once for all forks
import torch.distributed
import train  # noqa: F401
from torch.optim.optimizer import register_optimizer_step_post_hook


def kill_at(number, victim, rank, step):
    """After `step` steps send the signal if this rank is the one, and let nobody read the log any more."""
    os.setpgid(0, 0)
    seen = []

    def count(*_):
        seen.append(1)
        if len(seen) == step:
            reader, writer = os.pipe()
            os.close(reader)
            os.dup2(writer, 1)
            if rank == victim:
                os.killpg(0, number)

    register_optimizer_step_post_hook(count)


def train_rank(name, run, rank, world, port):
    with Path(f"{name}.log").open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    environment = run.get("environment", {})
    os.environ.update(environment[rank] if isinstance(environment, list) else environment)
    if world > 1:
        # As torchrun does, whose own process keeps the store in which the ranks meet.
        os.environ.update(
            RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), LOCAL_WORLD_SIZE=str(world),
            MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), TORCHELASTIC_USE_AGENT_STORE="True",
        )  # fmt: skip
    if "kill" in run:
        number, victim, step = run["kill"]
        kill_at(signal.Signals[number], victim, rank, step)
    for constant, value in run.get("set", {}).items():
        module, _, constant = constant.rpartition(".")
        setattr(importlib.import_module(module), constant, value)
    sys.argv = ["train.py", *run["argv"], "--model-dir", f"{name}/model", "--output-data-dir", f"{name}/output"]
    code = 1
    try:
        runpy.run_path(f"{sys.path[0]}/train.py", run_name="__main__")
        with contextlib.suppress(BrokenPipeError):  # nobody reads the log any more, see kill_at
            print("torchvision was", "imported" if "torchvision" in sys.modules else "not needed", flush=True)
        code = 0
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            print(code, flush=True)
            code = 1
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def fork(name, run):
    world = run.get("world", 1)
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False) if world > 1 else None
    pids = []
    for rank in range(world):
        pids.append(os.fork())
        if not pids[-1]:
            train_rank(name, run, rank, world, store.port if store else 0)
    if "kill_after" in run:
        number, words, seconds = run["kill_after"]
        wait_for(Path(f"{name}.log"), words)
        time.sleep(seconds)
        for pid in pids:
            os.kill(pid, signal.Signals[number])
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def wait_for(log, words):
    end = time.monotonic() + 60
    while not (log.exists() and words in log.read_text()) and time.monotonic() < end:
        time.sleep(0.005)


Path(sys.argv[2]).mkdir(exist_ok=True)
os.chdir(sys.argv[2])
print(json.dumps({name: fork(name, run) for name, run in json.loads(sys.argv[3]).items()}))
