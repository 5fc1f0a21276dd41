"""(h) `dogbreed upload` beside `aws s3 sync`: the same files to the same server, first and again unchanged; its memory.

The server is `dogbreed local serve`, a process of its own. Ours also decodes every image, which the other does not.
"""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from random import Random
from statistics import median
from typing import NamedTuple

import images
import process
from PIL import Image
from table import Row

AWS = process.ROOT / ".venv" / "bin" / "aws"
CLASSES = 20
# Times `aws s3 sync`. AWS's keys stand in the environment, as on CI, or in the file that `aws configure` writes.
LEAST = {"first": 2, "unchanged": 5, "unchanged, keys in ~/.aws": 5}
MOST_GROWTH = 2  # of the memory, from few files to a hundred times as many
REGION = "us-east-1"


class Server(NamedTuple):
    """Its folder, and the environment with which a client reaches it."""

    folder: Path
    environment: dict[str, str]


def measure(work, sizes):
    folder = images.shapes(work.folder / "images" / "upload", {"train": sizes.uploads // CLASSES})
    size = sum(path.stat().st_size for path in folder.rglob("*.jpg")) / images.count(folder)
    print(f"uploading {images.count(folder)} files of {size / 1e3:.0f} kB", file=sys.stderr, flush=True)
    seconds = {(run, who): [] for run in LEAST for who in ("aws s3 sync", "ours")}
    with serving(work.folder / "upload") as server:
        for send in (sync, upload):  # of either command the second start counts: its modules are compiled
            send(server, tiny(work, min(sizes.many)), "warm")
        for number in range(sizes.rounds):
            for who, send in (("aws s3 sync", sync), ("ours", upload)):
                for run in LEAST:
                    place = with_keys_in_file(server) if "keys in" in run else server
                    seconds[run, who].append(send(place, folder, number).seconds)
        peaks = {count: upload(server, tiny(work, count), count).peak for count in sizes.many}
    return [*time_rows(seconds, f"{images.count(folder):,} files of {size / 1e3:.0f} kB"), *memory_rows(peaks)]


@contextmanager
def serving(folder):
    """An empty S3."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command = [process.DOGBREED, "-q", "local", "serve", "--port", "0"]
    server = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "DOGBREED_HOME": str(folder / "home")},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Server(
            folder,
            {
                "AWS_ENDPOINT_URL": server.stdout.readline().strip(),
                "AWS_ACCESS_KEY_ID": "local",
                "AWS_SECRET_ACCESS_KEY": "local",
                "AWS_DEFAULT_REGION": REGION,
                "AWS_CONFIG_FILE": str(folder / "none"),
                "AWS_EC2_METADATA_DISABLED": "true",
                # Compiled modules are kept, as on a user's machine.
                "PYTHONDONTWRITEBYTECODE": "",
                "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
            },
        )
    finally:
        server.terminate()
        server.wait()


def with_keys_in_file(server):
    file = server.folder / "credentials"
    file.write_text("[default]\naws_access_key_id = local\naws_secret_access_key = local\n")
    without = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    return server._replace(environment={**server.environment, **without, "AWS_SHARED_CREDENTIALS_FILE": str(file)})


def sync(server, folder, number):
    bucket = f"aws-{number}"
    if not (server.folder / "home" / "s3" / bucket).exists():
        process.run([AWS, "s3", "mb", f"s3://{bucket}"], env=server.environment)
    return process.run([AWS, "s3", "sync", folder, f"s3://{bucket}/data", "--only-show-errors"], env=server.environment)


def upload(server, folder, number):
    """With a cache folder of its own for each number: the first run knows nothing of the files."""
    place = server.folder / f"ours-{number}"
    place.mkdir(exist_ok=True)
    settings = [f"--set=aws.region={REGION}", f"--set=aws.bucket=ours-{number}"]
    command = [process.DOGBREED, "--target", "aws", *settings, "upload", folder, "--yes"]
    return process.run(command, place, {**server.environment, "DOGBREED_CACHE": str(place / "cache")})


def tiny(work, count):
    """So many different pictures of 32x32 pixels."""
    todo = [(work.folder / "images" / f"tiny-{count}" / f"{n % CLASSES:02}" / f"{n:06}.jpg", n) for n in range(count)]
    return images.draw_once(work.folder / "images" / f"tiny-{count}", save_tiny, todo)


def save_tiny(path, number):
    Image.frombytes("L", (8, 8), Random(number).randbytes(64)).resize((32, 32)).save(path, quality=75)


def time_rows(seconds, what):
    rows = []
    for run, least in LEAST.items():
        theirs, mine = seconds[run, "aws s3 sync"], seconds[run, "ours"]
        rows += [Row(f"upload of {what}, {run}", who, "s", seconds[run, who]) for who in ("aws s3 sync", "ours")]
        times = median(theirs) / median(mine)
        ratios = [their / my for their, my in zip(theirs, mine, strict=True)]
        note = "start-up of the command counted; the ratio of medians decides"
        rows.append(Row(f"times `aws s3 sync`, {run}", "ours", "x", ratios, note).must(f">= {least}", times >= least))
    return rows


def memory_rows(peaks):
    few, many = sorted(peaks)
    rows = [Row(f"peak memory of upload, N = {count:,}", "ours", "MB", [peaks[count] / 1e6]) for count in (few, many)]
    growth, each = peaks[many] / peaks[few], (peaks[many] - peaks[few]) / (many - few)
    row = Row("growth of that peak", "ours", "x", [growth], f"{each:,.0f} bytes for each file more")
    return [*rows, row.must(f"<= {MOST_GROWTH}", growth <= MOST_GROWTH)]
