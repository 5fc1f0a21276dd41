"""(a) One training step of each peer, and our pass from bytes to features, in images/s; all variants in turn.

Every round starts every variant as a fresh process, so that start-up and memory are measured too, and no variant sits
in memory while another is measured. A peer's first batch is not counted; of ours everything is.
"""

import sys
from dataclasses import dataclass, field
from statistics import median

import images
import ours
import process
from table import Row

PEERS = {
    "naive": ("naive.py", ()),
    "naive + mallopt": ("naive.py", ("--mallopt",)),
    "references": ("references.py", ()),
    "references bf16": ("references.py", ("--amp",)),
    "timm bf16": ("timm_peer.py", ("--amp",)),
    "fastai": ("fastai_peer.py", ()),
}
OURS = {"ours torch": "torch", "ours openvino": "openvino"}
VARIANTS = (*PEERS, *OURS)
# Times the naive step's images/s, with that engine.
LEAST = {"ours torch": 5.5, "ours openvino": 7.0}
LEAST_OVER_PEERS = 2.0


@dataclass
class Speed:
    """What the rounds gave for one variant; seconds, but for `train` and `evaluate`, which are seconds an image."""

    train: list[float] = field(default_factory=list)
    evaluate: list[float] = field(default_factory=list)
    startup: list[float] = field(default_factory=list)
    peak: list[float] = field(default_factory=list)
    precision: str = "f32"
    why_not: str = ""  # it could not be measured


def measure(work, sizes, variants):
    """{variant: Speed}."""
    part = images.subset(work.photos, work.folder / f"part-{sizes.part_train}", sizes.part)
    found = {name: Speed() for name in VARIANTS if name in variants}
    for number in range(sizes.rounds):
        for name, speed in found.items():
            if speed.why_not:
                continue
            print(f"round {number + 1} of {sizes.rounds}: {name}", file=sys.stderr, flush=True)
            try:
                measure_peer(speed, name, work, part) if name in PEERS else measure_ours(speed, name, work)
            except process.Failed as error:
                speed.why_not = str(error).splitlines()[-1]
                print(error, file=sys.stderr)
    return found


def measure_peer(speed, name, work, part):
    program, options = PEERS[name]
    done = process.run(
        [process.BENCH_PYTHON, process.HERE / program, "--train", part / "train", "--valid", part / "valid",
         "--weights", work.weights, "--warm-up", *options]
    )  # fmt: skip
    speed.train += [seconds / images.count(part / "train") for seconds in done.seconds_of("train")]
    speed.evaluate += [seconds / images.count(part / "valid") for seconds in done.seconds_of("evaluate")]
    speed.startup.append(done.ready)
    speed.peak.append(done.peak)
    speed.precision = "bf16" if "--amp" in options else "f32"


def measure_ours(speed, name, work):
    done = ours.extract(work.photos, work.folder / "extract", work.weights, OURS[name])
    total = images.count(work.photos)
    speed.train.append(1 / done.rate)
    speed.startup.append(done.seconds - total / done.rate)  # all but the pass over the images
    speed.peak.append(done.peak)
    speed.precision = done.engine.split()[-1]
    if done.engine.split()[0] != OURS[name]:
        raise process.Failed(f"engine {OURS[name]} was asked for, it ran {done.engine}")


def rows(found):
    measured = {name: speed for name, speed in found.items() if speed.train and not speed.why_not}
    made = [step_row(name, speed) for name, speed in measured.items()]
    by_name = {row.variant: row for row in made}
    naive, mallopt = by_name.get("naive"), by_name.get("naive + mallopt")
    rivals = [row for row in made if row.variant in PEERS and not row.variant.startswith("naive")]
    for row in made:
        row.against(naive, mallopt, more_is_better=True)
        if row.variant in OURS and naive:
            least = LEAST[row.variant]
            row.must(f">= {least} x naive", row.ratios[0] >= least)
    best = max(rivals, key=lambda row: row.median, default=None)
    for name in OURS:
        if best and name in by_name:
            over = [by_name[name].median / best.median]
            row = Row("images/s, times the best peer's", name, "x", over, f"the best peer is {best.variant}")
            made.append(row.must(f">= {LEAST_OVER_PEERS}", over[0] >= LEAST_OVER_PEERS))
    for name, speed in measured.items():
        made.append(Row("process start-up", name, "s", speed.startup))
    for name, speed in found.items():
        if speed.why_not:
            made.append(Row("images/s", name, "", [], f"not measured: {speed.why_not}"))
    return made


def step_row(name, speed):
    what = "bytes -> features" if name in OURS else "one training step"
    note = f"{what}, {speed.precision}, {median(speed.train) * 1000:.1f} ms an image"
    return Row("images/s", name, "images/s", [1 / seconds for seconds in speed.train], note)


def peak_rows(found):
    """Of the peers' epoch on 96 images and of our pass over all; see growth.py for what it grows with."""
    return [
        Row("peak memory of the process tree", name, "MB", [peak / 1e6 for peak in speed.peak])
        for name, speed in found.items()
        if speed.peak
    ]
