"""sync.py against an S3 server (moto) over HTTP: what is sent, in which order, what a kill leaves."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from moto_server import list_keys, open_client

from dogbreed_cli import storage
from dogbreed_cli.breeds import draw_breeds
from dogbreed_cli.errors import DogbreedError
from dogbreed_cli.image_files import Progress
from dogbreed_cli.images import scan
from dogbreed_cli.sync import MANIFEST, find_stored, list_ours, plan_sync, read_manifest, sync

PREFIX = "dogbreed/data"


@pytest.fixture
def dogs(tmp_path) -> Path:
    draw_breeds(tmp_path / "dogs", seed=2, counts={"train": 3, "valid": 1, "test": 1}, size=(32, 32))
    return tmp_path / "dogs"


def make_plan(client, folder, bucket, prefix):
    return plan_sync(folder, find_stored(client, bucket, prefix, list_ours(client, bucket, prefix)), prefix)


def synchronize(client, folder, bucket, prefix, *more, **options):
    plan = make_plan(client, folder, bucket, prefix)
    return sync(client, folder, plan, bucket, prefix, *more, **options)


def assert_holds(client, bucket, folder) -> None:
    """Below the prefix stand exactly the folder's images and a manifest that says so."""
    expected = {f"{PREFIX}/{image.key}": image.md5 for image in folder.images}
    there = list_keys(client, bucket, PREFIX)
    assert there.pop(f"{PREFIX}/{MANIFEST}") and there == expected
    manifest = read_manifest(client, bucket, PREFIX)
    assert manifest is not None and manifest.fingerprint == folder.fingerprint
    assert {key: entry.md5 for key, entry in manifest.files.items()} == {i.key: i.md5 for i in folder.images}


def test_first_sync_sends_all_and_second_nothing(client, bucket, dogs, requests):
    folder = scan(dogs)
    seen: list[Progress] = []
    result = synchronize(client, folder, bucket, PREFIX, seen.append)
    assert (result.sent, result.unchanged, result.deleted, result.bytes_sent) == (30, 0, 0, folder.size)
    assert seen[-1] == Progress(30, folder.size, 30, folder.size) and len(seen) == 30
    assert_holds(client, bucket, folder)
    manifest = read_manifest(client, bucket, PREFIX)
    assert manifest.classes == folder.classes and manifest.counts == {"train": 18, "valid": 6, "test": 6}
    head = client.head_object(Bucket=bucket, Key=f"{PREFIX}/{folder.images[0].key}")
    assert head["ContentType"] == "image/jpeg"

    requests.clear()
    again = synchronize(client, scan(dogs), bucket, PREFIX)
    assert (again.sent, again.unchanged, again.deleted, again.bytes_sent) == (0, 30, 0, 0)
    assert requests == {"ListObjectsV2": 1, "GetObject": 1}


def test_changed_added_and_removed_files(client, bucket, dogs, requests):
    synchronize(client, scan(dogs), bucket, PREFIX)
    client.put_object(Bucket=bucket, Key=f"{PREFIX}/features/kept.bin", Body=b"not ours")
    poodles = dogs / "train/124.Poodle"
    (poodles / "Poodle_00001.jpg").unlink()
    shutil.copy(dogs / "train/016.Beagle/Beagle_00001.jpg", poodles / "Poodle_00002.jpg")
    draw_breeds(dogs.parent / "more", seed=9, counts={"train": 1}, size=(32, 32))
    shutil.copy(dogs.parent / "more/train/124.Poodle/Poodle_00001.jpg", poodles / "new.jpg")

    folder = scan(dogs)
    plan = make_plan(client, folder, bucket, PREFIX)
    assert [image.name for image in plan.send] == ["Poodle_00002.jpg", "new.jpg"]
    assert plan.delete == (f"{PREFIX}/train/124.Poodle/Poodle_00001.jpg",)
    requests.clear()
    result = synchronize(client, folder, bucket, PREFIX)
    assert (result.sent, result.unchanged, result.deleted) == (2, 28, 1)
    assert requests["PutObject"] == 4  # the old manifest taken back, two images, the new manifest
    assert client.get_object(Bucket=bucket, Key=f"{PREFIX}/features/kept.bin")["Body"].read() == b"not ours"
    client.delete_object(Bucket=bucket, Key=f"{PREFIX}/features/kept.bin")
    assert_holds(client, bucket, folder)


def test_order_is_images_then_deletion_then_manifest(client, bucket, dogs):
    synchronize(client, scan(dogs), bucket, PREFIX)
    for path in list(dogs.glob("*/124.Poodle/*.jpg")):
        path.rename(path.with_name(f"new-{path.name}"))
    order = []
    client.meta.events.register(
        "before-send.s3", lambda request, event_name, **_: order.append((event_name.split(".")[-1], request.url))
    )
    synchronize(client, scan(dogs), bucket, PREFIX)
    writes = [(name, url.rpartition("/")[2]) for name, url in order if name in ("PutObject", "DeleteObjects")]
    assert writes[0] == writes[-1] == ("PutObject", MANIFEST)
    assert [name for name, _ in writes] == ["PutObject"] * 6 + ["DeleteObjects", "PutObject"]
    assert all(name.startswith("new-") for _, name in writes[1:6])


def test_manifest_is_taken_back_while_data_changes(client, bucket, dogs):
    synchronize(client, scan(dogs), bucket, PREFIX)
    (dogs / "train/124.Poodle/Poodle_00001.jpg").unlink()
    shutil.copy(dogs / "train/016.Beagle/Beagle_00001.jpg", dogs / "train/016.Beagle/more.jpg")
    folder = scan(dogs)
    (dogs / "train/016.Beagle/more.jpg").write_bytes(b"changed since the scan")
    with pytest.raises(DogbreedError, match="changed while"):
        synchronize(client, folder, bucket, PREFIX)
    assert read_manifest(client, bucket, PREFIX) is None
    assert f"{PREFIX}/train/124.Poodle/Poodle_00001.jpg" in list_keys(client, bucket)  # nothing is deleted before
    shutil.copy(dogs / "train/016.Beagle/Beagle_00002.jpg", dogs / "train/016.Beagle/more.jpg")
    synchronize(client, scan(dogs), bucket, PREFIX)
    assert_holds(client, bucket, scan(dogs))


def test_etags_that_are_no_md5_are_known_from_the_manifest(client, bucket, dogs, requests):
    """As under SSE-KMS: S3 gives another ETag than the MD5."""
    folder = scan(dogs)
    synchronize(client, folder, bucket, PREFIX)
    document = storage.read_json(client, bucket, f"{PREFIX}/{MANIFEST}")
    for image in folder.images[:5]:
        key = f"{PREFIX}/{image.key}"
        upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        place = {"Bucket": bucket, "Key": key, "UploadId": upload}
        part = client.upload_part(**place, PartNumber=1, Body=image.path.read_bytes())
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        etag = client.complete_multipart_upload(**place, MultipartUpload=parts)["ETag"].strip('"')
        assert etag != image.md5
        document["files"][image.key]["etag"] = etag
    assert len(make_plan(client, folder, bucket, PREFIX).send) == 5
    storage.put_json(client, document, bucket, f"{PREFIX}/{MANIFEST}")
    requests.clear()
    assert synchronize(client, folder, bucket, PREFIX).sent == 0
    assert requests["PutObject"] == 0


UPLOAD = """
import sys
import boto3
from pathlib import Path
from dogbreed_cli.images import scan
from dogbreed_cli.sync import find_stored, list_ours, plan_sync, sync
endpoint, bucket, prefix, folder = sys.argv[1:]
client = boto3.client("s3", "us-east-1", endpoint_url=endpoint, aws_access_key_id="t", aws_secret_access_key="t")
def show(progress):
    print(progress.done_files, flush=True)
    if progress.done_files == 9:
        sys.stdin.read()  # hold still, to be killed
images = scan(Path(folder))
plan = plan_sync(images, find_stored(client, bucket, prefix, list_ours(client, bucket, prefix)), prefix)
sync(client, images, plan, bucket, prefix, show, max_workers=2)
"""


def test_killed_upload_goes_on_where_it_stopped(client, s3_endpoint, bucket, dogs):
    args = [sys.executable, "-c", UPLOAD, s3_endpoint, bucket, PREFIX, str(dogs)]
    with subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert [process.stdout.readline().strip() for _ in range(9)] == [str(n) for n in range(1, 10)]
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    there = len(list_keys(client, bucket))
    assert 9 <= there < 30 and read_manifest(client, bucket, PREFIX) is None
    folder = scan(dogs)
    result = synchronize(client, folder, bucket, PREFIX)
    assert (result.sent, result.unchanged) == (30 - there, there)
    assert_holds(client, bucket, folder)


def test_first_error_stops_the_upload(s3_endpoint, client, bucket, dogs):
    folder = scan(dogs)
    dying = open_client(s3_endpoint)
    sent = []

    def lose_the_server(request, **_):
        sent.append(request.url)
        if len(sent) > 4:
            request.url = "http://127.0.0.1:9/"  # nobody listens there: a real connection error

    dying.meta.events.register("before-send.s3.PutObject", lose_the_server)
    with pytest.raises(DogbreedError, match=r"Sending .*\.jpg to s3://") as caught:
        synchronize(dying, folder, bucket, PREFIX, max_workers=2)
    assert type(caught.value.__cause__).__name__ == "EndpointConnectionError" and caught.value.fix
    assert len(sent) < 20
    assert synchronize(client, folder, bucket, PREFIX).unchanged == 4


def test_missing_bucket_is_explained(client, dogs):
    with pytest.raises(DogbreedError, match="NoSuchBucket") as caught:
        synchronize(client, scan(dogs), "no-such-bucket-here", PREFIX)
    assert "request" in caught.value.why and caught.value.fix


def test_manifest_of_another_schema(client, bucket, dogs):
    storage.put_json(client, {"schema_version": 99}, bucket, f"{PREFIX}/{MANIFEST}")
    with pytest.raises(DogbreedError, match="schema 99"):
        read_manifest(client, bucket, PREFIX)
    storage.put_json(client, ["odd"], bucket, f"{PREFIX}/{MANIFEST}")
    with pytest.raises(DogbreedError, match="no manifest"):
        read_manifest(client, bucket, PREFIX)
    assert read_manifest(client, bucket, "elsewhere") is None
