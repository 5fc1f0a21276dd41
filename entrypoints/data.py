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
from model import UserError, decode_image, normalise, plain_view, random_view
from torch.utils.data import DataLoader, Dataset, RandomSampler, Sampler

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
# Below this many images starting worker processes costs more than they bring (about 3 ms are spent on an image).
FEW_IMAGES = 256
# Processes that load images, at most. Beside an H100 4 made 1700 images/s for ResNet50, 14 on 16 cores 2500.
MOST_WORKERS, MOST_WORKERS_OF_GPU = 4, 14
SAMPLE_IMAGES, SAMPLE_BATCH = 128, 32


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
    """The images of a channel; `samples` holds (relative path, class index).

    Item `image * views + view` is (uint8 (3, size, size), class index): view 0 is the plain one, the others are random
    crops that depend on seed, path and view alone. views = 0: one item an image, a new crop each time.
    """

    def __init__(self, folder, channel, classes, args, views=1, fraction=1.0):
        images = list_images(folder, channel)
        unknown = sorted(set(images) - set(classes))
        if unknown:
            raise UserError(
                f"channel {channel} has {len(unknown)} classes that train does not have: {', '.join(unknown[:5])}"
            )
        self.folder, self.size, self.seed = Path(folder), args.image_size, args.seed
        self.fresh, self.views = views == 0, max(1, views)
        samples = [(path, classes.index(label)) for label, paths in images.items() for path in paths]
        self.samples = [samples[i] for i in choose_images([path for path, _ in samples], fraction, args.seed)]
        self.labels = torch.tensor([label for _, label in self.samples]).repeat_interleave(self.views)

    def __len__(self):
        return len(self.samples) * self.views

    def __getitem__(self, index):
        number, view = divmod(index, self.views)
        return self.look(self.decode(number), number, view), self.samples[number][1]

    def all_views(self, number):
        image = self.decode(number)
        return [self.look(image, number, view) for view in range(self.views)]

    def plain(self, number):
        return plain_view(self.decode(number), self.size)

    def look(self, image, number, view):
        if self.fresh:
            return random_view(image, self.size, int(torch.randint(2**62, ())))
        if view == 0:
            return plain_view(image, self.size)
        return random_view(image, self.size, f"{self.seed} {self.samples[number][0]} {view}")

    def decode(self, number):
        path = self.folder / self.samples[number][0]
        try:
            return decode_image(path)
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: {error}") from error


def choose_images(paths, fraction, seed):
    """The numbers of that fraction of each class's images, at least one; `paths` begin with the class's folder."""
    if fraction == 1:
        return list(range(len(paths)))
    classes = {}
    for path in paths:
        classes.setdefault(Path(path).parts[0], []).append(path)
    chosen = {path for label, some in classes.items() for path in sample(some, fraction, f"{seed} {label}")}
    return [i for i, path in enumerate(paths) if path in chosen]


def sample(paths, fraction, seed):
    """That fraction of the paths, at least one. A larger fraction with the same seed holds the smaller one."""
    shuffled = random.Random(seed).sample(paths, len(paths))
    return sorted(shuffled[: max(1, round(len(paths) * fraction))])


def chosen_images(dataset, seed):
    """The numbers of the images that are looked at before training: the same for a seed, whatever is learnt from."""
    return torch.randperm(len(dataset.samples), generator=torch.Generator().manual_seed(seed))[:SAMPLE_IMAGES]


def calibration_batches(dataset, args):
    """A function (mean, std) -> batches of some images, as they look in evaluation.

    Of a fixed size, or tuning the batch-size would tune the backbone; never of one image, which may not do.
    """

    def batches(mean, std):
        for some in chosen_images(dataset, args.seed).split(SAMPLE_BATCH):
            if len(some) > 1:
                yield normalise(torch.stack([dataset.plain(i) for i in some.tolist()]), mean, std)

    return batches


class ShuffledShare(Sampler):
    """This rank's part of each epoch: every step's images of all ranks are those that one process would take with
    batches that much larger. The shares are equally long, so up to world_size - 1 images sit out, others each time."""

    def __init__(self, size, generator):
        self.generator = generator
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


def make_sampler(size, seed):
    """This rank's share: shuffled from `seed`, or in order without one."""
    return ordered_share(size) if seed is None else ShuffledShare(size, torch.Generator().manual_seed(seed))


class FeatureBatches:
    """A loader of cached features, without processes: an epoch is gathered in one go where it fits into memory."""

    def __init__(self, split, batch_size, seed=None):
        self.split, self.batch_size = split, batch_size
        self.sampler = make_sampler(len(split), seed)

    def __len__(self):
        return -(-len(self.sampler) // self.batch_size)

    def __iter__(self):
        indices = torch.tensor(list(self.sampler), dtype=torch.long)
        if self.split.in_memory:
            values = self.split.gather(indices).split(self.batch_size)
        else:
            values = (self.split.gather(some) for some in indices.split(self.batch_size))
        return zip(values, self.split.labels[indices].split(self.batch_size), strict=True)


def make_loader(dataset, batch_size, workers, seed=None):
    """A DataLoader of this rank's share of the dataset: shuffled from `seed`, or in the order of the dataset without
    one. workers -1: as many as pay."""
    if workers < 0:
        cores = (os.cpu_count() or 1) // distributed.processes_here()
        most = MOST_WORKERS_OF_GPU if torch.cuda.is_available() else MOST_WORKERS
        workers = 0 if len(dataset) < FEW_IMAGES else min(most, max(1, cores))
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=make_sampler(len(dataset), seed),
        num_workers=workers,
        worker_init_fn=leave_group,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


def leave_group(_):
    # SIGTERM may come to the whole process group. Whoever trains hears it, and still needs those who load images.
    os.setpgid(0, 0)
    distributed.die_with_parent()
