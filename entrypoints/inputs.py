"""What a training learns from: images through the whole network, or cached features through its last part.

Either way train.py gets the same things: a network to call on batches, datasets whose `samples` are (file, label), and
loaders that shuffle alike. So with a frozen backbone both give the same losses, to within rounding.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import backbone
import data
import distributed
import features
import learning
import model
import torch
from distributed import say
from engine import Normalised, name_of
from model import UserError
from torch import nn


@dataclass
class Inputs:
    classes: list
    sets: dict  # by split: train, valid and perhaps test
    network: nn.Module  # batches of a loader -> logits
    head_name: str  # in that network
    same_head: bool
    sample: Callable  # () -> batches of some training samples as they look in evaluation
    load: Callable  # (dataset, batch size, seed or None) -> loader of this rank's share
    merge: Callable  # () -> the state_dict of the whole plain network
    files: str  # a checksum of what is learnt from
    about: dict  # for model.json: weights, calibrated, image_size, normalisation, the precision it was evaluated in
    features: dict | None  # for metrics.json


def open_images(args, device):
    channels = {name: getattr(args, name) for name in ("train", "valid", "test") if name != "test" or args.test}
    files = data.digest_channels(channels)
    if len(set(distributed.gather(files))) > 1:
        raise UserError('the hosts have different images: use train.data_distribution = "FullyReplicated"')
    classes = data.find_classes(args.train)
    views = 0 if args.unfreeze == "all" else args.views
    whole = data.LabelledImages(args.train, "train", classes, args, views)
    sets = {"train": data.LabelledImages(args.train, "train", classes, args, views, args.data_fraction)}
    for split in ("valid", "test"):
        if channels.get(split) or split == "valid":
            sets[split] = data.LabelledImages(getattr(args, split), split, classes, args)
    # On all training images, so that trials on a fraction have the backbone that the features job has.
    base = backbone.prepare(args, len(classes), data.calibration_batches(whole, args))
    network = base.network
    if args.unfreeze == "layer4":
        _, back = backbone.split(network, base.head_name, "layer4")  # refuses what has no such layer
        back.requires_grad_(True)
    elif args.unfreeze == "all":
        network.requires_grad_(True)
    chosen = data.chosen_images(sets["train"], args.seed)

    def sample():
        for some in chosen.split(data.SAMPLE_BATCH):
            if len(some) > 1:
                yield torch.stack([sets["train"].plain(i) for i in some.tolist()]).to(device)

    normalised = Normalised(network, base.mean, base.std).to(device)
    if args.unfreeze != "none" or device.type == "cuda":
        normalised.to(memory_format=torch.channels_last)
    return Inputs(
        classes=classes,
        sets=sets,
        network=normalised,
        head_name=f"front.{base.head_name}",
        same_head=base.same_head,
        sample=sample,
        load=lambda dataset, batch_size, seed=None: data.make_loader(dataset, batch_size, args.workers, seed),
        merge=network.state_dict,
        files=files,
        about={
            "weights": base.weights_name,
            "calibrated": base.calibrated,
            "image_size": args.image_size,
            "normalisation": {"mean": list(base.mean), "std": list(base.std)},
            "precision": name_of(learning.half_precision(args, device) or torch.float32),
        },
        features=None,
    )


def open_features(args, device):
    description = features.read_description(args.features)
    features.check_asked(description, args)
    classes = description["classes"]
    sets = {split: features.Split(args.features, description, split) for split in description["splits"]}
    sets["train"].keep(data.choose_images([path for path, _ in sets["train"].samples], args.data_fraction, args.seed))
    back, state = backbone.restore(args.features, description, len(classes), args.seed)
    back.requires_grad_(True).to(device)
    chosen = data.chosen_images(sets["train"], args.seed)
    say(f"features of {description['engine']}, {tuple(description['shape'])} each: no image is read")

    def sample():
        for some in chosen.split(data.SAMPLE_BATCH):
            if len(some) > 1:
                yield sets["train"].gather(some * sets["train"].views).to(device)

    def load(dataset, batch_size, seed=None):
        return data.FeatureBatches(dataset, len(dataset) if args.optimizer == "lbfgs" else batch_size, seed)

    return Inputs(
        classes=classes,
        sets=sets,
        network=back,
        head_name=backbone.HEAD,
        same_head=description["same_head"],
        sample=sample,
        load=load,
        merge=lambda: backbone.merge(state, back, description["head"]),
        files=description["fingerprint"],
        about={name: description[name] for name in ("weights", "calibrated", "image_size", "normalisation")}
        | {"precision": description["engine"].split()[-1]},
        features={name: description[name] for name in ("fingerprint", "engine", "views")},
    )


# What answers requests travels in model.tar.gz, whichever container will serve it.
SERVING = ("serve.py", "batches.py", "engine.py", "model.py", "ray_app.py")


def save(inputs, model_dir, description):
    (Path(model_dir) / "code").mkdir(parents=True, exist_ok=True)
    model.save_model(model_dir, inputs.merge(), description)
    for name in SERVING:
        with model.written_beside(Path(model_dir, "code", name)) as path:
            path.write_bytes(Path(__file__).with_name(name).read_bytes())
