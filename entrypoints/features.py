"""The cached features of a data set: what the frozen part of a network makes of each image, as a folder of files.

Written by extract.py (the features job), read by train.py as channel `features`.

    features.json                what was extracted, and how; written last
    backbone.pt                  the state_dict of the network that did it, without the tensors of a new head
    train-00000.safetensors ...  shards: features (images, views, *shape), labels (images,); in the metadata the files'
                                 names and the fingerprint of everything that decides the numbers
"""

import json
import os
from pathlib import Path

import torch
from model import UserError, written_beside
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

SCHEMA_VERSION = 1
DESCRIPTION = "features.json"
BACKBONE = "backbone.pt"
ABOUT = "dogbreed"
IN_MEMORY = 2 * 2**30  # bytes of a split; more stays on disk and is gathered batch by batch


def shard_name(split, number):
    return f"{split}-{number:05}.safetensors"


def write_shard(folder, split, number, features, labels, files, fingerprint):
    """features (n, views, *shape), labels (n,) int64, files n relative paths. Complete on disk, or not there at all."""
    # One entry: safetensors writes several in any order, and the same features are to be the same bytes.
    metadata = {ABOUT: json.dumps({"fingerprint": fingerprint, "split": split, "files": files})}
    content = save({"features": features.contiguous(), "labels": labels}, metadata)
    with written_beside(Path(folder, shard_name(split, number))) as beside, beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def read_about(shard):
    """A shard's fingerprint, split and files; nothing of a foreign file."""
    return json.loads((shard.metadata() or {}).get(ABOUT, "{}"))


def has_shard(folder, split, number, fingerprint):
    """Whether an earlier run of the same job finished this shard."""
    try:
        with safe_open(Path(folder, shard_name(split, number)), framework="pt") as shard:
            return read_about(shard).get("fingerprint") == fingerprint
    except (OSError, SafetensorError):
        return False


def read_description(folder):
    """features.json. Raises UserError where the folder is no features job's."""
    path = Path(folder, DESCRIPTION)
    if not path.is_file():
        raise UserError(f"channel features holds no {DESCRIPTION}: it must be the output of a features job ({folder})")
    try:
        description = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{DESCRIPTION} in channel features cannot be read: {error}") from error
    if description.get("schema_version") != SCHEMA_VERSION:
        raise UserError(
            f"the features in {folder} are of format {description.get('schema_version')}, this is {SCHEMA_VERSION}: "
            "run the features job again"
        )
    return description


def check_asked(description, args):
    """Raises UserError unless the features are those that the training's arguments ask for."""
    asked = {
        "backbone": args.backbone,
        "requested_weights": args.weights,
        "image_size": args.image_size,
        "views": args.views,
        "unfreeze": args.unfreeze,
    }
    if args.weights == "none" or args.views > 1:
        asked["seed"] = args.seed  # of the random weights, of the random crops
    for name, wanted in asked.items():
        if description[name] != wanted:
            option = name.replace("requested_", "").replace("_", "-")
            raise UserError(f"the features are of {option} {description[name]}, the training asks for {wanted}")


class Split:
    """A split's features. Sample `image * views + view` is one view of one image; `samples` holds (file, label)."""

    def __init__(self, folder, description, split):
        self.views = 1
        self.samples, self.shards = [], []
        for name in description["splits"][split]["shards"]:
            files, shard, labels = read_shard(folder, name, description["fingerprint"])
            self.views = shard.shape[1]
            self.samples += zip(files, labels.tolist(), strict=True)
            self.shards.append(shard.flatten(0, 1))
        wanted = description["splits"][split]["images"]
        if len(self.samples) != wanted:
            raise UserError(f"the features of {split} are of {len(self.samples)} images instead of {wanted}")
        self.labels = torch.tensor([label for _, label in self.samples]).repeat_interleave(self.views)
        self.starts = torch.tensor([0, *(len(shard) for shard in self.shards)]).cumsum(0)
        self.rows = torch.arange(len(self.labels))
        if sum(shard.nbytes for shard in self.shards) <= IN_MEMORY:
            self.shards = [torch.cat(self.shards)]
            self.starts = torch.tensor([0, len(self.shards[0])])

    def keep(self, images):
        """Of all images only these, by their numbers."""
        rows = torch.tensor(images)[:, None] * self.views + torch.arange(self.views)
        self.samples = [self.samples[i] for i in images]
        self.rows, self.labels = self.rows[rows.flatten()], self.labels[rows.flatten()]

    def __len__(self):
        return len(self.labels)

    @property
    def in_memory(self):
        return len(self.shards) == 1

    @property
    def shape(self):
        """Of one sample."""
        return self.shards[0].shape[1:]

    def gather(self, indices):
        """Samples (len(indices), *shape), float32, in that order."""
        indices = self.rows[indices]
        if self.in_memory:
            return self.shards[0][indices].float()
        numbers = torch.searchsorted(self.starts, indices, right=True) - 1
        places = (indices - self.starts[numbers]).tolist()
        pairs = zip(numbers.tolist(), places, strict=True)
        return torch.stack([self.shards[number][place] for number, place in pairs]).float()


def read_shard(folder, name, fingerprint):
    """(files, features mapped into memory, labels) of one file."""
    try:
        with safe_open(Path(folder, name), framework="pt") as shard:
            about = read_about(shard)
            features, labels = shard.get_tensor("features"), shard.get_tensor("labels")
    except (OSError, SafetensorError) as error:
        raise UserError(f"{name} in channel features cannot be read: {error}") from error
    if about.get("fingerprint") != fingerprint:
        raise UserError(f"{name} in channel features belongs to other features than {DESCRIPTION} beside it")
    return about["files"], features, labels
