"""Weights that were learnt before: torchvision's by name, or a state_dict of one's own in the channel `pretrained`."""

import difflib
import re
import socket
from collections import OrderedDict
from pathlib import Path

import torch
from model import AUXILIARY_HEADS, UserError, first_line, replace_head

DOWNLOAD_TIMEOUT = 20  # seconds without a byte; a machine without a network must not hang for minutes


def find_weights(backbone, name):
    """Torchvision's weights of that name (DEFAULT, IMAGENET1K_V2, ...), or UserError with the names there are."""
    import torchvision

    known = torchvision.models.get_model_weights(backbone)
    if name not in known.__members__:
        names = [*known.__members__, "none", "pretrained"]
        near = difflib.get_close_matches(name, names, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise UserError(f"unknown weights {name!r} for backbone {backbone}{hint}: use one of {', '.join(names)}")
    return known[name]


def download_weights(backbone, weights):
    """The state_dict of torchvision's `weights`, from torch's cache or the network."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)  # torch.hub sets none
    try:
        return weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError, ValueError) as error:  # time-outs are OSErrors, a bad hash is a RuntimeError
        reason = " ".join(str(getattr(error, "reason", error)).split())
        raise UserError(
            f"the weights {weights.name} of backbone {backbone} could not be downloaded ({reason}); "
            'use model.weights = "none" to train with random weights, or a file or s3:// path to a state_dict'
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def read_state_dict(folder):
    """The one state_dict file in `folder` (the channel `pretrained`)."""
    files = sorted(p for p in Path(folder).rglob("*") if p.is_file() and not p.name.startswith("."))
    if len(files) != 1:
        raise UserError(f"channel pretrained must hold one state_dict file, it holds {len(files)}: {folder}")
    try:
        state = torch.load(files[0], map_location="cpu", weights_only=True)
    except Exception as error:  # a foreign file fails in many ways: pickle, zip, EOF, ...
        raise UserError(
            f"{files[0].name} in channel pretrained is not a state_dict of tensors: {first_line(error)}"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise UserError(f"{files[0].name} in channel pretrained is not a plain state_dict (names to tensors)")
    return state


def load_weights(network, head, state, classes):
    """Load `state` and give the network a head with `classes` outputs. Returns whether the head came along.

    A state_dict whose head has another number of classes, or none, gives its backbone only.
    """
    versions = getattr(state, "_metadata", None)  # of modules; mnasnet does not load without
    # Files on pytorch.org name densenet's layers as torch 0.4 did.
    state = {re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", name): value for name, value in state.items()}
    state = {name: value for name, value in state.items() if not name.startswith(AUXILIARY_HEADS)}
    replace_head(network, head, classes)
    wanted = network.state_dict()
    same_head = all(n in state and state[n].shape == wanted[n].shape for n in (f"{head}.weight", f"{head}.bias"))
    if not same_head:
        state = {name: value for name, value in state.items() if not name.startswith(f"{head}.")}
    missing = [n for n in wanted if n not in state and not n.startswith(f"{head}.") and "num_batches_tracked" not in n]
    wrong = [n for n, value in state.items() if n not in wanted or value.shape != wanted[n].shape]
    if missing or wrong:
        raise UserError(
            f"the state_dict does not fit the backbone: {len(missing)} tensors missing ({', '.join(missing[:3])}), "
            f"{len(wrong)} unknown or of another shape ({', '.join(wrong[:3])})"
        )
    state = OrderedDict(state)
    state._metadata = versions
    network.load_state_dict(state, strict=False)
    return same_head
