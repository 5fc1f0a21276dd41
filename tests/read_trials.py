"""What smdebug's own reader finds in folders of tensors. Run by test_debug_hook.py with the container image's Python.

    python read_trials.py FOLDER ...

Prints {folder: {"tensors": {name: {mode: {step: value or null}}}, "reductions": {name: {step: {name: value}}},
"collections": {name: [tensor, ...]}, "global": [step, ...]}} as its last line; values as nested lists.
"""

import importlib.metadata
import json
import os
import sys

os.environ["SMDEBUG_LOG_LEVEL"] = "error"
if importlib.metadata.version("protobuf") > "4":  # as a container that smdebug was not made for
    import smdebug_shim

    smdebug_shim.load()

from smdebug import modes
from smdebug.exceptions import TensorUnavailableForStep
from smdebug.trials import create_trial

MODES = {"TRAIN": modes.TRAIN, "EVAL": modes.EVAL}


def read(folder):
    trial = create_trial(folder)
    found = {"tensors": {}, "reductions": {}, "global": trial.steps()}
    for name in trial.tensor_names():
        tensor = trial.tensor(name)
        steps = {mode: tensor.steps(mode=key) for mode, key in MODES.items()}
        found["tensors"][name] = {
            mode: {step: value_of(tensor, step, MODES[mode]) for step in numbers} for mode, numbers in steps.items()
        }
        found["reductions"][name] = {
            step: {
                ("abs_" if is_abs else "") + kind: float(value)
                for is_abs, kinds in enumerate((values.get(False, {}), values.get(True, {})))
                for kind, value in kinds.items()
            }
            for step in steps["TRAIN"]
            if (values := group(tensor.reduction_values(step, mode=modes.TRAIN)))
        }
    collections = trial.collections()
    found["collections"] = {name: sorted(trial.tensor_names(collection=name)) for name in collections}
    return found


def value_of(tensor, step, mode):
    try:
        return tensor.value(step, mode=mode).tolist()
    except TensorUnavailableForStep:  # its reductions were saved
        return None


def group(values):
    """{(reduction, absolute): value} as {absolute: {reduction: value}}."""
    grouped = {}
    for (kind, is_abs), value in values.items():
        grouped.setdefault(is_abs, {})[kind] = value
    return grouped


print(json.dumps({folder: read(folder) for folder in sys.argv[1:]}))
