"""(b) The whole job: 4 trials of 5 epochs on a quarter of the images, then 20 epochs on all, with evaluation.

Ours is run for real, through the command, in an empty project: upload, tune (with its features job), train. A peer's
is made of what speed.py measured of it, image by image, and says so: it would take the better part of an hour each.
"""

import sys
from dataclasses import dataclass, field
from statistics import median

import ours
from table import Row

TRIALS, TRIAL_EPOCHS, FRACTION, EPOCHS = 4, 5, 0.25, 20
LARGE = {"train": 6680, "valid": 835, "test": 836}  # the dog-breed data set
LEAST, MOST_SECONDS_A_TRIAL = 40, 1.5
EXTRAPOLATED = "extrapolated from measured parts"


@dataclass
class Job:
    """Seconds of each command in each round; `further` is what one more trial costs."""

    upload: list[float] = field(default_factory=list)
    tune: list[float] = field(default_factory=list)
    train: list[float] = field(default_factory=list)
    further: list[float] = field(default_factory=list)

    @property
    def whole(self):
        return [sum(parts) for parts in zip(self.upload, self.tune, self.train, strict=True)]


def measure(work, sizes, variants):
    """{variant: Job} of ours, engines in turn."""
    found = {name: Job() for name in ours_of(variants)}
    for number in range(sizes.rounds):
        for name, job in found.items():
            print(f"whole job, round {number + 1} of {sizes.rounds}: {name}", file=sys.stderr, flush=True)
            project = ours.Project(
                work.folder / "project", f"model.weights={work.weights}", f"features.engine={ours_of(variants)[name]}",
                "train.patience=0",
            )  # fmt: skip
            tune = ("tune", "--epochs", str(TRIAL_EPOCHS), "--data-fraction", str(FRACTION), "--max-jobs")
            job.upload.append(project("upload", str(work.photos))[0])
            job.tune.append(project(*tune, str(TRIALS))[0])
            job.train.append(project("train", "--from-best", "--epochs", str(EPOCHS))[0])
            # The features are there now, so these two differ by nothing but trials.
            few, many = project(*tune, str(TRIALS))[0], project(*tune, str(2 * TRIALS))[0]
            job.further.append((many - few) / TRIALS)
    return found


def ours_of(variants):
    from speed import OURS

    return {name: engine for name, engine in OURS.items() if name in variants}


def peer_seconds(speed, counts):
    """Of a peer, from seconds an image and the start-up of its five processes; one number a round."""
    seen = TRIALS * TRIAL_EPOCHS * FRACTION * counts["train"] + EPOCHS * counts["train"]
    judged = (TRIALS * TRIAL_EPOCHS + EPOCHS) * counts["valid"] + (TRIALS + 1) * counts["test"]
    rounds = zip(speed.train, speed.evaluate, speed.startup, strict=True)
    return [seen * train + judged * evaluate + (TRIALS + 1) * startup for train, evaluate, startup in rounds]


def our_seconds(job, speed, counts, head):
    """Of ours at LARGE: what the small job took, and what more images add to each part of it.

    `head` is the measured seconds of one epoch of the head for an image.
    """
    small, large = sum(counts.values()), sum(LARGE.values())
    epochs = TRIALS * TRIAL_EPOCHS * FRACTION + EPOCHS
    extra = (large - small) * median(speed.train) + epochs * (LARGE["train"] - counts["train"]) * head
    return [whole + upload * (large / small - 1) + extra for whole, upload in zip(job.whole, job.upload, strict=True)]


def rows(found, speeds, counts, head):
    made = []
    for wanted, of in ((counts, "N"), (LARGE, "LARGE")):
        measure = f"whole job, N = {wanted['train']:,}"
        block = []
        for name, speed in speeds.items():
            if speed.evaluate and not speed.why_not:
                block.append(Row(measure, name, "s", peer_seconds(speed, wanted), EXTRAPOLATED))
        for name, job in found.items():
            if of == "N":
                parts = f"upload {median(job.upload):.1f}, tune {median(job.tune):.1f}, train {median(job.train):.1f} s"
                block.append(Row(measure, name, "s", job.whole, f"measured through the command: {parts}"))
            elif name in speeds and speeds[name].train and head is not None:
                block.append(Row(measure, name, "s", our_seconds(job, speeds[name], counts, head), EXTRAPOLATED))
        by_name = {row.variant: row for row in block}
        for row in block:
            row.against(by_name.get("naive"), by_name.get("naive + mallopt"))
            if row.variant in found and row.ratios and of == "N":
                row.must(f">= {LEAST} x naive", row.ratios[0] >= LEAST)
        made += block
    for name, job in found.items():
        row = Row("a further trial", name, "s", job.further, "8 trials less 4, by four, features there")
        made.append(row.must(f"< {MOST_SECONDS_A_TRIAL} s", row.median < MOST_SECONDS_A_TRIAL))
    return made
