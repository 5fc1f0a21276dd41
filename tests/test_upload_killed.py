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
# `dogbreed upload`, once for each line of stdin: it kills itself as its n-th request leaves, 0 for never, while others
# are on their way. Each is a fork of a process that has imported everything.
UPLOADS = """
import itertools, os, signal, sys
import boto3, imagehash, jinja2, obstore
from botocore.httpsession import URLLib3Session
from dogbreed_cli.cli import main
from dogbreed_cli.commands import upload
sent = itertools.count(1)
def or_die(send):
    def send_or_die(*args, **options):
        if next(sent) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return send(*args, **options)
    return send_or_die
URLLib3Session.send, obstore.put = or_die(URLLib3Session.send), or_die(obstore.put)
sys.argv = ["dogbreed", "-q", "upload", sys.argv[1], "--yes"]
for last in map(int, sys.stdin):
    if not (child := os.fork()):
        main()
    print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
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
    command = [sys.executable, "-c", UPLOADS, str(dogs)]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as uploads:
        for number in range(KILLS):
            # Three kills among the first 30 images; each later upload has little to send, but 8 requests at least.
            assert run(uploads, random.randrange(5, 14) if number < 3 else random.randrange(1, 9)) == -signal.SIGKILL
            manifest = read_manifest(client, bucket, PREFIX)
            if manifest is not None:  # whoever reads it now finds just what it says
                assert {key: entry.md5 for key, entry in manifest.files.items()} == read_images(client, bucket)
            change(dogs, store, random)
        assert run(uploads, 0) == 0
        uploads.stdin.close()
    folder = scan(dogs)
    assert read_images(client, bucket) == {image.key: image.md5 for image in folder.images}
    manifest = read_manifest(client, bucket, PREFIX)
    assert manifest is not None and manifest.fingerprint == folder.fingerprint


def run(uploads: subprocess.Popen[str], last: int) -> int:
    """The exit code of an upload that dies with that request."""
    print(last, file=uploads.stdin, flush=True)
    return next(int(line.removeprefix("ended")) for line in uploads.stdout if line.startswith("ended"))


def read_images(client, bucket: str) -> dict[str, str]:
    keys = list_keys(client, bucket)
    keys.pop(f"{PREFIX}/{MANIFEST}", None)
    return {key.removeprefix(f"{PREFIX}/"): etag for key, etag in keys.items()}
