"""One process, or several that train together: what train.py needs of torch.distributed.

torchrun, which SageMaker's toolkit starts for `sagemaker_torch_distributed_enabled`, tells each process its RANK among
WORLD_SIZE. Without it a process is alone: rank 0 of 1, and nothing here does anything.
"""

import contextlib
import ctypes
import os
import signal
import sys
from datetime import timedelta

import torch
import torch.distributed as dist
from model import UserError
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

# How long a rank waits for the slowest other, which may be downloading weights. After that the job fails.
TIMEOUT = timedelta(minutes=5)
store = None  # what all ranks can write to and read from


def die_with_parent():
    """For a process outside the job's process group: a kill of the group would miss it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def join():
    """Meet the other processes of the job, if there are any."""
    global store
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return
    die_with_parent()  # torchrun, which starts each rank in a session of its own
    if "SM_NETWORK_INTERFACE_NAME" in os.environ:  # the toolkit tells NCCL, not gloo
        os.environ.setdefault("GLOO_SOCKET_IFNAME", os.environ["SM_NETWORK_INTERFACE_NAME"])
    store, rank_, world = next(rendezvous("env://", timeout=TIMEOUT))
    gpus = torch.cuda.device_count()
    if gpus:
        if processes_here() > gpus:
            raise UserError(
                f"{processes_here()} processes on a host with {gpus} GPU{'s' * (gpus > 1)}: "
                f"processes_per_host must be {gpus} at most"
            )
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # NCCL moves what lies on a GPU and nothing else; numbers, objects and a network still on the CPU go by gloo.
    backends = "cpu:gloo,cuda:nccl" if gpus else "gloo"
    dist.init_process_group(backends, store=store, rank=rank_, world_size=world, timeout=TIMEOUT)


def leave():
    if dist.is_initialized():
        dist.destroy_process_group()


def rank():
    return dist.get_rank() if dist.is_initialized() else 0


def world_size():
    return dist.get_world_size() if dist.is_initialized() else 1


def processes_here():
    """Processes on this host that share its cores and GPUs."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def is_main():
    """Whether this process is the one that speaks and writes."""
    return rank() == 0


def say(line):
    """Print, once for all ranks."""
    if is_main():
        try:
            print(line, flush=True)
        except BrokenPipeError:  # after SIGTERM the toolkit that read this is gone, and there is still a model to save
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# ---- every rank must call each of these, in the same order


def total(number):
    """The sum of a number over all ranks."""
    if not dist.is_initialized():
        return number
    tensor = torch.tensor(float(number), dtype=torch.float64)
    dist.all_reduce(tensor)
    return tensor.item()


def gather(thing):
    """What each rank gave, as a list in the order of ranks."""
    if not dist.is_initialized():
        return [thing]
    things = [None] * world_size()
    dist.all_gather_object(things, thing)
    return things


def take_from_main(thing):
    """What rank 0 gave."""
    things = [thing]
    if dist.is_initialized():
        dist.broadcast_object_list(things)
    return things[0]


def in_parallel(network, device):
    """The network with gradients that are averaged over the ranks, whose batches are equally long."""
    if not dist.is_initialized():
        return network
    ids = [device.index or torch.cuda.current_device()] if device.type == "cuda" else None
    return DistributedDataParallel(network, device_ids=ids)


def copy_from_main(network):
    """Rank 0's parameters and buffers for everybody: hosts may calculate differently in the last digit."""
    if dist.is_initialized():
        for tensor in [*network.parameters(), *network.buffers()]:
            dist.broadcast(tensor.data, 0)


@contextlib.contextmanager
def first_of_host_first():
    """For a download: one process a host does it, the others find it in the cache."""
    first = os.environ.get("LOCAL_RANK", "0") == "0"
    if dist.is_initialized() and not first:
        dist.barrier()
    yield
    if dist.is_initialized() and first:
        dist.barrier()


# ---- when one rank fails


def is_loss(error):
    """Whether a rank says so that another is gone, or was waited for in vain."""
    return isinstance(error, dist.DistError) or "gloo/" in str(error)


def first_failure(message):
    """(what failed first in the job, whether that was here): the others fail only because they lose that rank."""
    if store is None:
        return message, True
    mine = f"{os.environ['RANK']} {message}"
    try:
        first = store.compare_set("failure", "", mine).decode()
    except RuntimeError:  # the host that keeps the store is gone
        return message, True
    return first.partition(" ")[2], first == mine
