"""The network of a job and where it is cut: a frozen front, whose features can be cached, and a back that learns.

Used by train.py and extract.py, which must begin with the same network: for one seed the same random weights, the same
calibration, the same new head.
"""

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import distributed
import features
import model
import pretrained
import torch
from distributed import say
from model import UserError
from torch import nn

# The last layer's name in every back, whatever it is called in the network.
HEAD = "head"


@dataclass
class Backbone:
    """A network in eval mode, its head's name, and how its input is normalised."""

    network: nn.Module
    head_name: str
    same_head: bool  # the weights came with a head for as many classes
    weights_name: str
    calibrated: bool
    mean: tuple
    std: tuple


def prepare(args, class_count, sample):
    """Build the network and load its weights. `sample(mean, std)` gives normalised batches of training images."""
    weights_name, mean, std = args.weights, model.IMAGENET_MEAN, model.IMAGENET_STD
    weights = None
    if args.weights not in ("none", "pretrained"):
        weights = pretrained.find_weights(args.backbone, args.weights)
        weights_name = weights.name  # DEFAULT is an alias
        mean, std = weights.transforms().mean, weights.transforms().std
    torch.manual_seed(args.seed)
    network, head_name = model.build_network(args.backbone, args.image_size)
    same_head, calibrated = False, False
    if args.weights == "none":
        damp_residual_branches(network)
        plant_head(network, head_name, class_count, args.seed)
    else:
        if weights is None:
            state = pretrained.read_state_dict(args.pretrained)
        else:
            with distributed.first_of_host_first():
                state = pretrained.download_weights(args.backbone, weights)
        torch.manual_seed(args.seed)
        same_head = pretrained.load_weights(network, head_name, state, class_count)
        what = "backbone and head" if same_head else f"backbone only, with a new head for {class_count} classes"
        say(f"weights {weights_name}: loaded the {what}")
    network.eval().requires_grad_(False)
    if args.weights == "none":
        calibrated = model.calibrate_batch_norm(network, sample(mean, std))
        how = "BatchNorm calibrated on training images" if calibrated else "there is no BatchNorm to calibrate"
        say(f"WARNING: random weights: the backbone has learnt nothing, expect poor accuracy; {how}")
    distributed.copy_from_main(network)
    return Backbone(network, head_name, same_head, weights_name, calibrated, tuple(mean), tuple(std))


def damp_residual_branches(network, scale=0.2):
    """Make each block of a random ResNet nearly the identity, as a trained one's is; torchvision's zero_init_residual
    goes all the way (arXiv:1706.02677, section 5.1).

    Else every layer makes small differences larger: a head on features of random weights was right on 50 % of the
    demo's pictures instead of 82 %, and bfloat16 left half of its answers to chance. Of 1, 0.5, 0.2 and 0.05, 0.2 was
    the best for ResNet18 and ResNet50.
    """
    for module in network.modules():
        last = getattr(module, "bn3", None) or getattr(module, "bn2", None)
        if hasattr(module, "downsample") and last is not None:  # BasicBlock or Bottleneck
            nn.init.constant_(last.weight, scale)


def plant_head(network, head_name, class_count, seed):
    """A new head that depends on the seed alone, so that a training on features begins with the same one."""
    torch.manual_seed(seed)
    return model.replace_head(network, head_name, class_count)


def split(network, head_name, unfreeze):
    """(front, back) with back(front(images)) == network(images). They share the network's modules.

    unfreeze none: the back is the head alone, with the pooling of a convolutional one; layer4: the last stage too.
    Raises UserError for a network that cannot be cut there.
    """
    if unfreeze == "layer4":
        parts = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "fc")
        if [name for name, _ in network.named_children()] != list(parts):
            raise UserError("unfreeze layer4 needs a ResNet; for other backbones use unfreeze all")
        front = nn.Sequential(OrderedDict((name, getattr(network, name)) for name in parts[:7]))
        back = [("layer4", network.layer4), ("avgpool", network.avgpool), ("flatten", nn.Flatten()), (HEAD, network.fc)]
        return front, nn.Sequential(OrderedDict(back))
    head = network.get_submodule(head_name)
    if isinstance(head, nn.Conv2d):  # squeezenet: features, then classifier = (dropout, head, relu, pool)
        after = list(network.get_submodule(head_name.rpartition(".")[0]).children())
        after = after[after.index(head) + 1 :]
        back = [(HEAD, head), *((f"after{i}", module) for i, module in enumerate(after)), ("flatten", nn.Flatten())]
        return network.features, nn.Sequential(OrderedDict(back))
    return Front(network, head_name), nn.Sequential(OrderedDict([(HEAD, head)]))


class Front(nn.Module):
    """A network without its head: an Identity stands in its place while this runs."""

    def __init__(self, network, head_name):
        super().__init__()
        # Shallow copies down to the head's parent: the modules are shared, the network keeps its head.
        self.network = shallow_copy(network)
        parent = self.network
        for name in head_name.split(".")[:-1]:
            child = shallow_copy(parent.get_submodule(name))
            setattr(parent, name, child)
            parent = child
        setattr(parent, head_name.rpartition(".")[2], nn.Identity())

    def forward(self, images):
        return self.network(images)


def shallow_copy(module):
    copied = module.__new__(type(module))
    copied.__dict__ = {**module.__dict__, "_modules": dict(module._modules)}
    return copied


def restore(folder, description, class_count, seed):
    """(the back, with a new head unless the features came with one; the network's state_dict) of a features folder.

    A linear head needs neither the network's definition nor torchvision, whose import costs seconds.
    """
    path = Path(folder, features.BACKBONE)
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    head_name = description["head"]
    if description["unfreeze"] == "none" and len(description["shape"]) == 1:
        torch.manual_seed(seed)
        back = nn.Sequential(OrderedDict([(HEAD, nn.Linear(description["shape"][0], class_count))]))
    else:
        network, _ = model.build_network(description["backbone"], description["image_size"])
        plant_head(network, head_name, class_count, seed)
        network.load_state_dict(state, strict=False)
        _, back = split(network.eval(), head_name, description["unfreeze"])
    if description["same_head"]:
        names = {f"{HEAD}.{name}": state[f"{head_name}.{name}"] for name in ("weight", "bias")}
        back.load_state_dict(names, strict=False)
    return back.eval().requires_grad_(False), state


def merge(state, back, head_name):
    """The whole network's state_dict: that of the backbone, with the tensors of the back in it."""
    learnt = back.state_dict()
    for name in [name for name in learnt if name.startswith(f"{HEAD}.")]:
        learnt[head_name + name.removeprefix(HEAD)] = learnt.pop(name)
    merged = OrderedDict({**state, **learnt})
    merged._metadata = getattr(state, "_metadata", None)
    return merged
