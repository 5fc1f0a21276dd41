"""Uploads that are killed at random moments, while the folder changes between them, end with exactly the right objects.

Over HTTP, against moto and against `dogbreed local serve`; the moment is the n-th request that the upload sends.
"""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from conftest import clean_environment
from local_server import serving
from moto_server import list_keys, open_client, serve_moto

from dogbreed_cli.breeds import draw_breeds
from dogbreed_cli.images import scan
from dogbreed_cli.sync import MANIFEST, read_manifest

KILLS = 10
PREFIX = "dogbreed/data"
# All of `dogbreed upload`; besides, it says each request to S3 as it leaves.
UPLOAD = """
import sys
from botocore.hooks import HierarchicalEmitter
emit = HierarchicalEmitter.emit_until_response
def say(self, event_name, **values):
    if event_name.startswith("before-send.s3."):
        print(event_name, flush=True)
    return emit(self, event_name, **values)
HierarchicalEmitter.emit_until_response = say
from dogbreed_cli.cli import main
sys.argv = ["dogbreed", "-q", "upload", sys.argv[1], "--yes"]
main()
"""


@pytest.fixture(params=["moto", "local serve"])
def endpoint(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "moto":
        with serve_moto() as url:
            yield url
    else:
        with serving(tmp_path) as server:
            yield server.url


def change(folder: Path, store: list[Path], random: Random) -> None:
    """A file goes, one comes, one is another picture under its old name."""
    files = sorted(folder.rglob("*.jpg"))
    random.choice([path for path in files if "train" in path.parts]).unlink()
    files = sorted(folder.rglob("*.jpg"))
    shutil.copy(store.pop(), random.choice(files))
    shutil.copy(store.pop(), random.choice(files).parent / f"new-{random.randrange(10**9)}.jpg")


def test_killed_at_ten_random_moments(endpoint: str, tmp_path: Path) -> None:
    random = Random(6)
    client, bucket, dogs = open_client(endpoint), "dogs-killed", tmp_path / "dogs"
    client.create_bucket(Bucket=bucket)
    draw_breeds(dogs, seed=2, counts={"train": 3, "valid": 1, "test": 1}, size=(32, 32))
    store = sorted(draw_breeds(tmp_path / "store", seed=5, counts={"train": 2 * KILLS}, size=(32, 32)))
    environment = clean_environment(
        AWS_ENDPOINT_URL=endpoint,
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
        AWS_CONFIG_FILE=str(tmp_path / "none"),
        DOGBREED_TARGET="aws",
        DOGBREED_AWS__REGION="us-east-1",
        DOGBREED_AWS__BUCKET=bucket,
        DOGBREED_CACHE=str(tmp_path / "cache"),
    )
    start = {"cwd": tmp_path, "env": environment, "stdout": subprocess.PIPE, "text": True}
    command, killed = [sys.executable, "-c", UPLOAD, str(dogs)], 0
    for number in range(KILLS):
        # The first ones early, so that there is something left to do; each later one has little to send.
        moment = random.randrange(6, 36) if number < 4 else random.randrange(2, 8)
        with subprocess.Popen(command, **start) as process:
            for _ in range(moment):
                if not process.stdout.readline():
                    break
            process.send_signal(signal.SIGKILL)
            process.stdout.read()
            killed += process.wait() == -signal.SIGKILL
        manifest = read_manifest(client, bucket, PREFIX)
        if manifest is not None:  # whoever reads it now finds just what it says
            assert {key: entry.md5 for key, entry in manifest.files.items()} == read_images(client, bucket)
        change(dogs, store, random)
    assert killed >= KILLS - 3
    subprocess.run(command, **start, check=True)
    folder = scan(dogs)
    assert read_images(client, bucket) == {image.key: image.md5 for image in folder.images}
    manifest = read_manifest(client, bucket, PREFIX)
    assert manifest is not None and manifest.fingerprint == folder.fingerprint


def read_images(client, bucket: str) -> dict[str, str]:
    keys = list_keys(client, bucket)
    keys.pop(f"{PREFIX}/{MANIFEST}", None)
    return {key.removeprefix(f"{PREFIX}/"): etag for key, etag in keys.items()}
