"""Trains three tiny networks under smdebug's hook and says what smdebug itself reads back. Run by test_tensors.py.

    python save_tensors.py FOLDER

Leaves FOLDER/{whole,reductions,killed}; prints {"whole": {tensor: {"TRAIN 0": values, ...}}, ...} as its last line.
"""

import json
import os
import pathlib
import sys

os.environ.update(SMDEBUG_LOG_LEVEL="error", TRAINING_END_DELAY_REFRESH="0")
os.environ.pop("TRAINING_JOB_NAME", None)

import smdebug.pytorch as smd
import torch
from smdebug.core.modes import ModeKeys
from smdebug.trials import create_trial

REDUCTIONS = smd.ReductionConfig(reductions=["mean", "min", "max", "std"], abs_reductions=["mean"], norms=["l2"])
folder = pathlib.Path(sys.argv[1])


def train(name, reductions=None, steps=5):
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))
    loss_fn = torch.nn.CrossEntropyLoss()
    hook = smd.Hook(
        out_dir=str(folder / name),
        save_config=smd.SaveConfig(save_interval=2),
        include_collections=["losses", "weights", "biases", "gradients", "custom"],
        reduction_config=reductions,
    )
    hook.get_collection("custom").include("relu|1_output|ReLU")
    hook.get_collection("losses").save_config = smd.SaveConfig(save_interval=1)
    hook.register_module(network)
    hook.register_loss(loss_fn)
    for step in range(steps):
        for mode in (ModeKeys.TRAIN, ModeKeys.EVAL):
            hook.set_mode(mode)
            if step == 4:
                with torch.no_grad():
                    network[2].weight[0, 0] = float("nan")
            loss = loss_fn(network(torch.randn(6, 4)), torch.tensor([0, 1, 2, 0, 1, 2]))
            if mode == ModeKeys.TRAIN:
                loss.backward()
    return hook


def read(name):
    trial = create_trial(str(folder / name))
    found = {}
    for tensor_name in trial.tensor_names():
        tensor = trial.tensor(tensor_name)
        for mode in (ModeKeys.TRAIN, ModeKeys.EVAL):
            for step in tensor.steps(mode=mode):
                key = f"{mode.name} {step}"
                reduced = tensor.reduction_values(step, mode=mode)
                if reduced:
                    value = {("abs_" if of_abs else "") + kind: float(v) for (kind, of_abs), v in reduced.items()}
                else:
                    value = tensor.value(step, mode=mode).tolist()
                found.setdefault(tensor_name, {})[key] = value
    names = ("losses", "weights", "biases", "gradients", "custom")
    return {"points": found, "collections": {name: sorted(trial.tensor_names(collection=name)) for name in names}}


train("whole").close()
train("reductions", REDUCTIONS).close()
expected = {name: read(name) for name in ("whole", "reductions")}
train("killed", steps=3)
print(json.dumps(expected), flush=True)
os._exit(0)  # as a killed job: nothing is closed
