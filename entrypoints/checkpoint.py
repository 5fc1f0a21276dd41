"""The checkpoint that a job writes after each epoch, and goes on from when it is started again.

SageMaker copies /opt/ml/checkpoints to S3 as it changes, and back before it starts a job with the same CheckpointConfig
again: one whose spot instance was taken away, or a later one with the same request. A run that goes on ends with the
numbers of one that was never interrupted, with --workers 0; processes that load images start anew, with other crops.
"""

import os
from pathlib import Path

import distributed
import torch
from model import first_line, written_beside


def find_folder():
    """Where checkpoints go, or None."""
    folder = os.environ.get("SM_CHECKPOINT_DIR")
    usual = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"), "checkpoints")
    return folder or (str(usual) if usual.is_dir() else None)


class Checkpoint:
    """One file, replaced after each epoch; nothing without a folder. `fingerprint` is all that decides the result."""

    def __init__(self, folder, fingerprint, learnt, parts, generator):
        self.path = Path(folder, "checkpoint.pt") if folder else None
        self.fingerprint = fingerprint
        self.learnt, self.parts = learnt, parts  # parameters by name; what has a state_dict
        self.generator = generator  # of the order in which images come

    def save(self, history, best):
        if not self.path:
            return
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state |= {"learnt": {name: value.detach() for name, value in self.learnt.items()}}
        state |= {"fingerprint": self.fingerprint, "history": history, "best": best}
        state |= {"order": self.generator.get_state(), "random": distributed.gather(torch.get_rng_state())}
        self.write(state)

    def finish(self):
        """Everything is saved: the next job with this request is to train again. SageMaker would not pass on that a
        file was removed, so a word takes the place of the checkpoint."""
        if self.path:
            self.write({"fingerprint": self.fingerprint, "finished": True})

    def write(self, state):
        if distributed.is_main():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with written_beside(self.path) as beside, beside.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())  # else a crash may leave the new name with nothing in it

    def restore(self):
        """Everything as it was after the last epoch that was saved. Returns (history, best), or ([], None)."""
        state = distributed.take_from_main(self.read() if self.path and distributed.is_main() else None)
        if state is None:
            return [], None
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        with torch.no_grad():
            for name, value in state["learnt"].items():
                self.learnt[name].copy_(value)
        self.generator.set_state(state["order"])
        torch.set_rng_state(state["random"][distributed.rank()])
        distributed.say(f"going on after epoch {len(state['history'])} of checkpoint {self.path}")
        return state["history"], state["best"]

    def read(self):
        if not self.path.exists():
            return None
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            found = state["fingerprint"]
        except Exception as error:  # a broken file fails in many ways: pickle, zip, EOF, ...
            why = first_line(error)
            distributed.say(f"WARNING: checkpoint {self.path} cannot be read, starting at epoch 1: {why}")
            return None
        other = sorted(name for name in self.fingerprint if found.get(name) != self.fingerprint[name])
        if other:
            distributed.say(
                f"checkpoint {self.path} is of another training, starting at epoch 1: not the same {', '.join(other)}"
            )
            return None
        return None if state.get("finished") else state
