"""Images -> cached features (features.py): what `train.py --mode extract` does, the features job.

    python train.py --mode extract --train data/train --valid data/valid --test data/test --backbone resnet18

The front of the network sees each image (and each of its `views`) once; trainings then read what it made of them. The
images are dealt out to the processes in shards. Each finished shard goes to the checkpoint folder, if there is one, so
that a job which was killed goes on after its last finished shard. SIGTERM ends it at once: nothing is half-written.
"""

import hashlib
import json
import os
import platform
import shutil
import signal
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import backbone
import data
import distributed
import features
import model
import torch
from distributed import say
from model import UserError, written_beside
from noise import choose_engine
from profiler import Profiler

SAMPLE = 32  # images on which engines are compared
BATCH = 16  # images, views counted; more is no faster on a CPU, and takes more memory
GPU_BATCH = 128
SHARD_BYTES = 64 * 2**20  # what a kill may cost, and what is kept in memory until it is written
SHARD_IMAGES = 256
SAY_EVERY = 5  # seconds


def main(args):
    with Profiler(args) as profiler:
        extract(args, profiler)


def extract(args, profiler):
    timer = profiler.timer
    signal.signal(signal.SIGTERM, end_at_once)
    splits = {
        channel: getattr(args, channel) for channel in ("train", "valid", "test") if channel != "test" or args.test
    }
    if len(set(distributed.gather(data.digest_channels(splits)))) > 1:
        raise UserError('the hosts have different images: use train.data_distribution = "FullyReplicated"')
    classes = data.find_classes(args.train)
    sets = {
        channel: data.LabelledImages(folder, channel, classes, args, views=args.views if channel == "train" else 1)
        for channel, folder in splits.items()
    }
    counts = {channel: len(images.samples) for channel, images in sets.items()}
    say(f"{len(classes)} classes, images: {counts}, views of each training image: {args.views}")

    timer.switch("calibrate")
    base = backbone.prepare(args, len(classes), data.calibration_batches(sets["train"], args))
    timer.switch("initialize")
    front, back = backbone.split(base.network, base.head_name, args.unfreeze)
    sample = torch.stack([sets["train"][i][0] for i in data.chosen_images(sets["train"], args.seed)[:SAMPLE].tolist()])
    shape = check_cut(base, front, back, sample[:2])
    engine = choose_engine(front, sample, base.mean, base.std, args)

    description = {
        "schema_version": features.SCHEMA_VERSION,
        "classes": classes,
        "backbone": args.backbone,
        "requested_weights": args.weights,
        "weights": base.weights_name,
        "calibrated": base.calibrated,
        "image_size": args.image_size,
        "normalisation": {"mean": list(base.mean), "std": list(base.std)},
        "views": args.views,
        "unfreeze": args.unfreeze,
        "seed": args.seed,
        "head": base.head_name,
        "same_head": base.same_head,
        "shape": list(shape),
        "engine": engine.name,
        "precision": args.precision,
    }
    fingerprint = digest(description, sets, base.network)
    shards = plan_shards(sets, shape)
    folder = Path(args.checkpoint_dir or args.model_dir)
    folder.mkdir(parents=True, exist_ok=True)
    finished, todo = deal(shards, {n for n, s in enumerate(shards) if features.has_shard(folder, *s[:2], fingerprint)})
    there = len(shards) - sum(distributed.gather(len(todo)))
    if there:
        say(f"going on after {there} of {len(shards)} shards of an earlier run in {folder}")

    timer.switch("extract")
    started = time.perf_counter()
    work, images = extract_shards(todo, sets, engine, shape, folder, fingerprint), 0
    for _ in range(max(distributed.gather(len(todo)))):
        # After each shard, so that no rank waits longer for another than a shard takes, and a lost one is missed soon.
        images += sum(distributed.gather(next(work, 0)))
    seconds = time.perf_counter() - started
    rate = images / seconds
    say(f"extracted {images} images in {seconds:.1f} s, {rate:.1f} images/s, engine {engine.name}")

    timer.switch("save")
    model_dir = Path(args.model_dir)
    model_dir.mkdir(parents=True, exist_ok=True)
    for split, number, _ in finished + todo:
        place(folder / features.shard_name(split, number), model_dir)
    distributed.gather(None)  # features.json says that all is there
    if not distributed.is_main():
        return
    state = base.network.state_dict()  # with the versions of its modules, without which mnasnet does not load
    for name in [name for name in state if name.startswith(f"{base.head_name}.") and not base.same_head]:
        del state[name]
    with written_beside(model_dir / features.BACKBONE) as path:
        torch.save(state, path)
    versions = {"python": platform.python_version()} | {name: version(name) for name in ("torch", "torchvision")}
    names = {split: [features.shard_name(s, number) for s, number, _ in shards if s == split] for split in sets}
    description |= {
        "fingerprint": fingerprint,
        "splits": {split: {"images": counts[split], "shards": names[split]} for split in sets},
        "versions": versions,
    }
    with written_beside(model_dir / features.DESCRIPTION) as path:
        path.write_text(json.dumps(description, indent=2) + "\n")
    profiler.close()
    report = {
        "schema_version": 1,
        "mode": "extract",
        "counts": counts,
        "engine": engine.name,
        "images_per_second": round(rate, 1),
        "resumed_shards": there,
        "world_size": distributed.world_size(),
        "profiler": profiler.report(),
        "phases": {name: round(seconds, 3) for name, seconds in timer.seconds.items()},
        "versions": versions,
    }
    Path(args.output_data_dir).mkdir(parents=True, exist_ok=True)
    with written_beside(Path(args.output_data_dir, "metrics.json")) as path:
        path.write_text(json.dumps(report, indent=2) + "\n")


def end_at_once(*_):
    if distributed.is_main():  # not with print, which the signal may have interrupted
        os.write(1, b"SIGTERM: stopped; the shards that are finished are kept, where the job has checkpoints\n")
    os._exit(128 + signal.SIGTERM)


@torch.inference_mode()
def check_cut(base, front, back, images):
    """The shape of one sample's features. Raises UserError where the two parts are not the network."""
    images = model.normalise(images, base.mean, base.std)
    made = front(images)
    whole = base.network(images)
    if not (back(made) - whole).abs().max() <= 1e-3 * whole.abs().max():
        raise UserError("this backbone cannot be cut before its head: train with --no-features")
    return made.shape[1:]


def digest(description, sets, network):
    """A checksum of everything that decides the features: settings, files with their sizes, weights."""
    found = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for split, images in sets.items():
        files = [(path, label, (images.folder / path).stat().st_size) for path, label in images.samples]
        found.update(json.dumps([split, files]).encode())
    for name, tensor in network.state_dict().items():
        found.update(name.encode())
        found.update(tensor.cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def plan_shards(sets, shape):
    """[(split, number, image indices), ...] of all processes together."""
    shards = []
    for split, images in sets.items():
        of_an_image = images.views * shape.numel() * 4
        size = max(1, min(SHARD_IMAGES, SHARD_BYTES // of_an_image))
        whole = range(len(images.samples))
        shards += [(split, n, whole[n * size : (n + 1) * size]) for n in range(-(-len(whole) // size))]
    return shards


def deal(shards, there):
    """(finished, to do): this rank's part of the shards. `there` are the numbers of those that its host has already."""
    owners = {}
    for rank, numbers in reversed(list(enumerate(distributed.gather(there)))):
        owners |= dict.fromkeys(numbers, rank)  # of several that have it the first
    missing = [shard for number, shard in enumerate(shards) if number not in owners]
    mine = [shards[number] for number, rank in sorted(owners.items()) if rank == distributed.rank()]
    return mine, missing[distributed.rank() :: distributed.world_size()]


def extract_shards(shards, sets, engine, shape, folder, fingerprint):
    """Yields how many images it has in it, after each shard that is on disk."""
    progress = Progress(sum(len(indices) for _, _, indices in shards))
    dtype = torch.float32 if len(shape) == 1 else torch.bfloat16  # a stage's output is 400 kB an image even so
    items = ((sets[split], index) for split, _, indices in shards for index in indices)
    decoded = decode_ahead(items, [images.views for images in sets.values()])
    for split, number, indices in shards:
        images, found, batch = sets[split], [], []
        for done in range(1, len(indices) + 1):
            batch += next(decoded)
            if len(batch) >= (GPU_BATCH if torch.cuda.is_available() else BATCH) or done == len(indices):
                found.append(engine(torch.stack(batch)).to(dtype))
                batch = []
            progress.step()
        values = torch.cat(found).view(len(indices), images.views, *shape)
        chosen = [images.samples[i] for i in indices]
        labels = torch.tensor([label for _, label in chosen])
        features.write_shard(folder, split, number, values, labels, [path for path, _ in chosen], fingerprint)
        yield len(indices)


def decode_ahead(items, views):
    """Yield the views of each (dataset, image index) in order, decoded in threads a bounded number of images ahead."""
    cores = max(1, (os.cpu_count() or 1) // distributed.processes_here())
    # A forward pass on the same cores needs four times as long as the decoding; beside a GPU there is nothing else, but
    # Python's lock: on 16 cores 4 threads decoded 2050 images/s, 8 2380, 16 1970.
    threads = min(cores, 8) if torch.cuda.is_available() else max(1, cores // 4)
    ahead = max(2 * threads, (GPU_BATCH if torch.cuda.is_available() else 2 * BATCH) // max(views))
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting = deque()
        for images, index in items:
            waiting.append(pool.submit(images.all_views, index))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class Progress:
    """A line every few seconds, of this process's share."""

    def __init__(self, total):
        self.total, self.done = total, 0
        self.started = self.said = time.perf_counter()

    def step(self):
        self.done += 1
        now = time.perf_counter()
        if now - self.said >= SAY_EVERY:
            self.said, rate = now, self.done / (now - self.started)
            left = (self.total - self.done) / rate
            share = "" if distributed.world_size() == 1 else " of rank 0"
            say(
                f"extract images={self.done}/{self.total}{share} ({self.done / self.total:.0%}) "
                f"{rate:.1f} images/s, {left:.0f} s left"
            )


def place(shard, folder):
    """Into the model folder; the checkpoint stays."""
    target = folder / shard.name
    if target != shard:
        target.unlink(missing_ok=True)
        try:
            os.link(shard, target)
        except OSError:  # another disk
            shutil.copyfile(shard, target)
