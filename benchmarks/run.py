"""Measure dogbreed against its peers: `make bench`, or by hand, with the environment that it made:

    .venv/bin/python benchmarks/run.py                        # all, about a quarter of an hour on two cores
    .venv/bin/python benchmarks/run.py --only speed,overhead  # SECTIONS has all
    .venv/bin/python benchmarks/run.py --variants naive,"ours openvino" --rounds 5
    .venv/bin/python benchmarks/run.py --quick                # few pictures, one round: whether it runs at all

Prints one table and writes it to results.md and results.json here; README.md says what is measured, and how. A quick
or partial run writes to the work folder (.bench) instead. Ends with 1 where something that must hold does not.
"""

import argparse
import json
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import accuracy
import growth
import images
import job
import machine_rows
import overhead
import predict
import process
import profile_reading
import serving
import speed
import table
import tuning
import upload

SECTIONS = ("speed", "job", "memory", "machine", "accuracy", "tuning", "overhead", "profile",
            "serving", "predict", "upload")  # fmt: skip


@dataclass(frozen=True)
class Sizes:
    """How much is measured: pictures, rounds and epochs."""

    rounds: int
    photos: dict  # of the whole job
    part_train: int  # of an epoch of a peer
    part_valid: int
    memory: tuple  # pictures, few and many
    shapes: dict  # of each of 20 classes
    accuracy_epochs: int
    requests: int  # to an endpoint, by one client
    soak: int  # requests, by eight
    predicts: int  # runs of the command
    uploads: int  # files
    many: tuple  # tiny files, few and many

    @property
    def part(self):
        return {"train": self.part_train, "valid": self.part_valid}


FULL = Sizes(
    rounds=3,
    photos={"train": 600, "valid": 100, "test": 100},
    part_train=96,
    part_valid=64,
    memory=(500, 5000),
    shapes={"train": 20, "valid": 5, "test": 20},
    accuracy_epochs=6,
    requests=200,
    soak=20_000,
    predicts=20,
    uploads=5000,
    many=(1000, 100_000),
)
QUICK = Sizes(
    rounds=1,
    photos={"train": 48, "valid": 12, "test": 12},
    part_train=12,
    part_valid=6,
    memory=(40, 120),
    shapes={"train": 2, "valid": 1, "test": 2},
    accuracy_epochs=1,
    requests=20,
    soak=100,
    predicts=3,
    uploads=200,
    many=(100, 1000),
)


@dataclass(frozen=True)
class Work:
    """The folder where everything lies that a run makes, the pictures and the weights in it."""

    folder: Path
    photos: Path
    weights: Path


def main():
    args = parse_args()
    started = time.perf_counter()
    sizes = replace(QUICK if args.quick else FULL, **({"rounds": args.rounds} if args.rounds else {}))
    work = prepare(process.ROOT / ".bench" / ("quick" if args.quick else "full"), sizes)
    rows, about = measure(work, sizes, args.only, args.variants)
    about |= {"seconds": round(time.perf_counter() - started), "rounds": sizes.rounds, "quick": args.quick}
    whole = not args.quick and args.only == SECTIONS and args.variants == speed.VARIANTS
    folder = process.HERE if whole else work.folder
    (folder / "results.md").write_text(heading(about) + table.markdown(rows))
    (folder / "results.json").write_text(table.document(rows, about))
    print(table.text(rows))
    print(f"\n{about['seconds']} s; written to {folder / 'results.md'} and results.json", file=sys.stderr)
    sys.exit(any(row.holds is False for row in rows) and not args.quick)


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few pictures, one round; its numbers mean nothing")
    parser.add_argument("--only", type=names_of(SECTIONS), default=SECTIONS, help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--variants", type=names_of(speed.VARIANTS), default=speed.VARIANTS,
                        help=f"of {', '.join(speed.VARIANTS)}")  # fmt: skip
    parser.add_argument("--rounds", type=int)
    return parser.parse_args()


def names_of(known):
    def read(text):
        chosen = tuple(name for name in known if name in text.split(","))
        if len(chosen) != len(text.split(",")):
            raise argparse.ArgumentTypeError(f"{text}: use some of {', '.join(known)}")
        return chosen

    return read


def prepare(folder, sizes):
    """Pictures and weights, drawn and made once."""
    print(f"drawing pictures into {folder}", file=sys.stderr, flush=True)
    photos = images.photos(folder / "images" / "photos", sizes.photos)
    weights = folder / "weights" / "resnet50.pth"
    if not weights.exists():
        process.run([process.BENCH_PYTHON, process.HERE / "weights.py", "--images", photos / "train",
                     "--output", weights])  # fmt: skip
    return Work(folder, photos, weights)


def measure(work, sizes, sections, variants):
    """(rows, what they were measured on). A section that fails becomes a row that says so; the others go on."""
    rows, about, speeds, used = [], {}, {}, None

    @contextmanager
    def section(name):
        try:
            yield
        except process.Failed as error:
            print(error, file=sys.stderr)
            rows.append(table.Row(name, "", "", [], str(error).splitlines()[-1]).must("can be measured", False))

    if "speed" in sections or "job" in sections:  # the whole job of a peer is made of its speed
        speeds = speed.measure(work, sizes, variants)
        rows += speed.rows(speeds)
    if "memory" in sections:
        with section("memory"):
            used = growth.measure(work, sizes, variants)
    if "job" in sections:
        with section("whole job"):
            jobs = job.measure(work, sizes, variants)
            rows += job.rows(jobs, speeds, sizes.photos, used.head if used else None)
    rows += speed.peak_rows(speeds)
    if used:
        rows += growth.rows(used)
    if "machine" in sections:
        with section("machine"):
            said = json.loads(process.run([process.BENCH_PYTHON, process.HERE / "machine.py"]).stdout)
            rows += machine_rows.rows(said["rates"], speeds)
            about |= {"processor": said["processor"], "torch": said["torch"]}
    if "accuracy" in sections:
        with section("accuracy"):
            rows += accuracy.measure(work, sizes)
    if "tuning" in sections:
        with section("tuning"):
            rows += tuning.measure(work, sizes)
    if "overhead" in sections:
        with section("overhead"):
            rows += overhead.measure(work, sizes)
    if "profile" in sections:
        with section("profile"):
            rows += profile_reading.measure(work, sizes)
    if "serving" in sections:
        with section("serving"):
            rows += serving.measure(work, sizes)
    if "predict" in sections:
        with section("predict"):
            rows += predict.measure(work, sizes)
    if "upload" in sections:
        with section("upload"):
            rows += upload.measure(work, sizes)
    return rows, about


def heading(about):
    return "Made by `make bench`; README.md says how to read it.\n\n" + json.dumps(about) + "\n\n"


if __name__ == "__main__":
    main()
