"""Channels (folders of class folders) -> datasets and loaders. Run by train.py.

torchvision's ImageFolder numbers the classes of each folder by itself; here train alone decides, so that a class that
is missing in valid or test does not shift the others.
"""

import hashlib
import json
import os
import random
from pathlib import Path

import distributed
import torch
from model import UserError, decode_image
from torch.utils.data import DataLoader, Dataset, RandomSampler, Sampler

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
# Below this many images starting worker processes costs more than they bring (about 3 ms are spent on an image).
FEW_IMAGES = 256


def list_images(folder, channel):
    """{class name: [path relative to folder, ...]}, both sorted; classes without images are left out."""
    if not folder:
        raise UserError(f"channel {channel} is missing: give it as input, or --{channel} FOLDER when run by hand")
    if not Path(folder).is_dir():
        raise UserError(f"channel {channel}: there is no folder {folder}")
    images = {}
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        relative = Path(parent).relative_to(folder)
        if relative.parts:  # files beside the class folders (a manifest, a README) are no images of a class
            found = [str(relative / f) for f in files if f.lower().endswith(EXTENSIONS) and not f.startswith(".")]
            images.setdefault(relative.parts[0], []).extend(found)
    images = {label: sorted(images[label]) for label in sorted(images) if images[label]}
    if not images:
        raise UserError(
            f"channel {channel} holds no images: it must be a folder of class folders with images ({folder})"
        )
    return images


def digest_channels(channels):
    """A checksum of the images' names in {channel: folder or None}."""
    names = {channel: list_images(folder, channel) for channel, folder in channels.items() if folder}
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()


def find_classes(folder):
    """The class names of the channel train, in the order of the network's outputs."""
    classes = list(list_images(folder, "train"))
    if len(classes) < 2:
        raise UserError(f"channel train has one class only ({classes[0]}): two or more are needed")
    return classes


class LabelledImages(Dataset):
    """The images of a channel; an item is (transformed image, class index), `samples` holds (relative path, index)."""

    def __init__(self, folder, channel, classes, transform, fraction=1.0, seed=0):
        images = list_images(folder, channel)
        unknown = sorted(set(images) - set(classes))
        if unknown:
            raise UserError(
                f"channel {channel} has {len(unknown)} classes that train does not have: {', '.join(unknown[:5])}"
            )
        if fraction < 1:
            images = {label: sample(paths, fraction, f"{seed} {label}") for label, paths in images.items()}
        self.folder = Path(folder)
        self.transform = transform
        self.samples = [(path, classes.index(label)) for label, paths in images.items() for path in paths]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        path, label = self.samples[index]
        try:
            image = decode_image(self.folder / path)
        except ValueError as error:
            raise UserError(f"{self.folder / path}: {error}") from error
        return self.transform(image), label


def sample(paths, fraction, seed):
    """That fraction of the paths, at least one. A larger fraction with the same seed holds the smaller one."""
    shuffled = random.Random(seed).sample(paths, len(paths))
    return sorted(shuffled[: max(1, round(len(paths) * fraction))])


class ShuffledShare(Sampler):
    """This rank's part of each epoch: every step's images of all ranks are those that one process would take with
    batches that much larger. The shares are equally long, so up to world_size - 1 images sit out, others each time."""

    def __init__(self, size, generator):
        self.all = RandomSampler(range(size), generator=generator)
        self.size = size // distributed.world_size()
        if not self.size:
            raise UserError(f"channel train has {size} images only for {distributed.world_size()} processes")

    def __len__(self):
        return self.size

    def __iter__(self):
        world = distributed.world_size()
        return iter(list(self.all)[distributed.rank() : self.size * world : world])


def ordered_share(size):
    """This rank's part of a dataset: one after the other the ranks' parts are the whole of it, nothing twice."""
    rank, world = distributed.rank(), distributed.world_size()
    return range(size * rank // world, size * (rank + 1) // world)


def make_loader(dataset, batch_size, workers, seed=None, whole=False):
    """A DataLoader of this rank's share of the dataset, or the whole of it: shuffled from `seed`, or in the order of
    the dataset without one. workers -1: as many as pay."""
    if workers < 0:
        cores = (os.cpu_count() or 1) // distributed.processes_here()
        workers = 0 if len(dataset) < FEW_IMAGES else min(4, max(1, cores))
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    share = range(len(dataset)) if whole else ordered_share(len(dataset))
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=share if seed is None else ShuffledShare(len(dataset), generator),
        generator=generator,
        num_workers=workers,
        worker_init_fn=leave_group,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


def leave_group(_):
    # SIGTERM may come to the whole process group. Whoever trains hears it, and still needs those who load images.
    os.setpgid(0, 0)
    distributed.die_with_parent()
