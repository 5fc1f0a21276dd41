"""(c) What extraction's memory grows with: the same job on few and on many pictures."""

import sys
from dataclasses import dataclass
from statistics import median

import images
import ours
from table import Row

IMAGE_SIZE = 112  # a quarter of the work of 224; only the batch's share of memory is smaller, not the data set's
MOST_GROWTH = 1.15
EPOCHS = 20


@dataclass
class Memory:
    peaks: dict[str, dict[int, float]]  # variant -> pictures -> bytes
    head: float  # seconds of one epoch of the head for one image


def measure(work, sizes, variants):
    peaks, features = {}, {}
    for name, engine in ours_engines(variants).items():
        peaks[name] = {}
        for count in sizes.memory:
            print(f"memory of {name}, N = {count}", file=sys.stderr, flush=True)
            train = images.repeated(work.photos / "train", work.folder / f"repeated-{count}", count)
            folder = work.folder / f"memory-{count}"
            done = ours.extract(work.photos, folder, work.weights, engine, image_size=IMAGE_SIZE, train=train)
            peaks[name][count], features[count] = done.peak, done.folder
    return Memory(peaks, measure_head(work, features))


def ours_engines(variants):
    from speed import OURS

    return {name: engine for name, engine in OURS.items() if name in variants}


def measure_head(work, features):
    """Seconds of an epoch for one image more: two trainings on features, which differ by their number of images."""
    few, many = sorted(features)
    seconds = {}
    for count in (few, many):
        folder = work.folder / "head"
        rounds = [ours.train(features[count], folder, work.weights, EPOCHS, IMAGE_SIZE).seconds for _ in range(3)]
        seconds[count] = median(rounds)
    return max(0.0, (seconds[many] - seconds[few]) / (many - few) / EPOCHS)


def rows(found):
    made = []
    for name, peaks in found.peaks.items():
        few, many = sorted(peaks)
        for count in (few, many):
            made.append(Row(f"peak memory of extraction, N = {count:,}", name, "MB", [peaks[count] / 1e6]))
        growth = peaks[many] / peaks[few]
        note = f"{many:,} pictures over {few:,}, at {IMAGE_SIZE} pixels to keep the time down"
        row = Row("growth of that peak", name, "x", [growth], note)
        made.append(row.must(f"<= {MOST_GROWTH}", growth <= MOST_GROWTH))
    return made
