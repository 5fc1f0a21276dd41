"""(g) What watching a training costs: the debugger's hook, and sampler with timeline, with the command's defaults."""

import shutil
import sys
from statistics import median
from types import SimpleNamespace

import ours
import process
from table import Row

from dogbreed_cli.debugger_requests import debugged, profiled
from dogbreed_cli.sections import Debugger

EPOCHS = {"images": 2, "features": 20}
MOST = {"hook": 5.0, "sampler and timeline": 1.0}  # percent of a training
OFF = ("debugger.enabled=false", "debugger.profiler_interval=0")
SAMPLED = 10  # seconds
# What rounds of trainings cannot resolve: the machine's weather is several percent of them.
SAMPLER = f"""
import sys, time
sys.path.insert(0, {str(ours.TRAIN.parent)!r})
from sampler import Sampler
sampler = Sampler(sys.argv[1], "algo-1", float(sys.argv[2]))
began = time.process_time()
time.sleep({SAMPLED})
print(100 * (time.process_time() - began) / {SAMPLED})
"""
MORE_ROUNDS = 3  # of those on features: a percent of eight seconds is little beside what a machine's weather does


def measure(work, sizes):
    return [
        *compare("images", on_images(work, sizes)),
        *compare("features", on_features(work, sizes)),
        of_sampler(work, sizes),
    ]


def on_images(work, sizes):
    """{variant: seconds of a process of train.py}."""
    default = SimpleNamespace(debugger=Debugger())
    variants = {"plain": {}, "hook": debugged(default), "sampler and timeline": profiled(default)}
    splits = [word for split in ("train", "valid", "test") for word in (f"--{split}", work.photos / split)]
    few = ["--data-fraction", sizes.part_train / sizes.photos["train"], *splits]
    folder, seconds = work.folder / "overhead", {variant: [] for variant in variants}
    for number in range(sizes.rounds):
        print(f"overhead on images, round {number + 1} of {sizes.rounds}", file=sys.stderr, flush=True)
        for variant, options in variants.items():
            shutil.rmtree(folder, ignore_errors=True)
            watched = [word for option, value in options.items() for word in (f"--{option}", value)]
            done = process.run(
                [ours.container_python(), ours.TRAIN, *ours.network(work.weights, 224), *few, *watched,
                 "--epochs", EPOCHS["images"], "--patience", 0, "--workers", 0, "--model-dir", folder / "model",
                 "--output-data-dir", folder / "output"]
            )  # fmt: skip
            seconds[variant].append(done.seconds)
    return seconds


def on_features(work, sizes):
    """{variant: seconds of the command `train`}: the features are there, and the job starts as users' jobs do."""
    variants = {"plain": OFF, "hook": OFF[1:], "sampler and timeline": OFF[:1]}
    project = ours.Project(work.folder / "overhead-project", f"model.weights={work.weights}", "train.patience=0")
    project("upload", work.photos)
    project(*settings(OFF), "train", "--epochs", 1)  # makes the features
    seconds = {variant: [] for variant in variants}
    for number in range(sizes.rounds * MORE_ROUNDS):
        print(f"overhead on features, round {number + 1} of {sizes.rounds * MORE_ROUNDS}", file=sys.stderr, flush=True)
        for variant, given in variants.items():
            seconds[variant].append(project(*settings(given), "train", "--epochs", EPOCHS["features"])[0])
    return seconds


def of_sampler(work, sizes):
    """The processor time that samples take, in percent of one core's."""
    words = [ours.container_python(), "-c", SAMPLER, work.folder / "sampled", Debugger().profiler_interval / 1000]
    taken = [float(process.run(words).stdout) for _ in range(sizes.rounds)]
    row = Row("processor time of the sampler", "one core", "%", taken, f"in {SAMPLED} s without a training")
    return row.must("< 1 %", median(taken) < 1)


def settings(given):
    return [word for setting in given for word in ("--set", setting)]


def compare(name, seconds):
    """A row for each variant: how much longer it took than the plain training of the same round."""
    plain = seconds.pop("plain")
    for variant, taken in seconds.items():
        more = [100 * (with_it / without - 1) for with_it, without in zip(taken, plain, strict=True)]
        note = f"ResNet50, {EPOCHS[name]} epochs, {median(plain):.1f} s without it, start-up counted"
        row = Row(f"what a training on {name} takes longer", variant, "%", more, note)
        yield row.must(f"< {MOST[variant]:g} %", median(more) < MOST[variant])
