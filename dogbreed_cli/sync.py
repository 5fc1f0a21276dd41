"""Make an s3:// prefix what an image folder is, and say so in a manifest.

    folder = images.scan(path)
    objects = list_ours(client, bucket, "dogbreed/data")
    plan = plan_sync(folder, find_stored(client, bucket, "dogbreed/data", objects), "dogbreed/data")
    result = sync(client, folder, plan, bucket, "dogbreed/data", on_progress=draw)
    manifest = read_manifest(client, bucket, "dogbreed/data")

Objects are prefix/{train,valid,test}/<class>/<image>; prefix/manifest.json is written when all of them are there.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from dogbreed_cli.errors import DogbreedError
from dogbreed_cli.image_files import SPLITS, ImageFile, OnProgress, Progress
from dogbreed_cli.object_store import put_bytes
from dogbreed_cli.parallel import Pace, in_parallel
from dogbreed_cli.storage import (
    S3Object,
    delete_objects,
    explain_s3_errors,
    join_key,
    list_objects,
    make_s3_uri,
    put_json,
    read_json,
)

if TYPE_CHECKING:
    from dogbreed_cli.images import ImageFolder

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1
# Requests in flight, to begin with and at most: as many as boto3 has connections (session.py).
LEAST, MOST = 4, 32
# Files of more bytes are sent one at a time, since each is held in memory.
LARGE_BYTES = 8 * 2**20
LARGE = threading.Lock()


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image as the manifest remembers it; under KMS the ETag is not the MD5, so both are kept."""

    md5: str
    size: int
    etag: str


@dataclass(frozen=True)
class Manifest:
    """What stands below a data prefix. It is written when everything else is there."""

    classes: tuple[str, ...]
    counts: dict[str, int]  # images per split
    fingerprint: str
    seed: int
    created: str  # ISO 8601, UTC
    files: dict[str, StoredImage]  # by key below the prefix
    complete: bool = True
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class Stored:
    """What stands below a data prefix; by default nothing."""

    manifest: Manifest | None = None  # of a whole upload or one that was cut short
    objects: Mapping[str, S3Object] = field(default_factory=dict)  # the images and the manifest, by whole key


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """What a sync will do, as data; `known` are the images already there, by key below the prefix."""

    send: tuple[ImageFile, ...]
    known: dict[str, StoredImage]
    delete: tuple[str, ...]  # whole keys
    stored: Stored  # what stands there now
    is_current: bool  # nothing to do at all


@dataclass(frozen=True, slots=True)
class SyncResult:
    sent: int
    unchanged: int
    deleted: int
    bytes_sent: int
    seconds: float
    objects: Mapping[str, S3Object] = field(default_factory=dict)  # what stands there now, as in Stored


def choose_ours(objects: Iterable[S3Object], prefix: str) -> dict[str, S3Object]:
    """Those that are an upload's, by whole key: what others put below the prefix is left alone."""
    ours = tuple(join_key(prefix, part) + "/" for part in SPLITS)
    manifest = join_key(prefix, MANIFEST)
    return {item.key: item for item in objects if item.key.startswith(ours) or item.key == manifest}


def list_ours(client: Any, bucket: str, prefix: str) -> dict[str, S3Object]:
    """Raises DogbreedError."""
    return choose_ours(list_objects(client, bucket, join_key(prefix) + "/"), prefix)


def find_stored(client: Any, bucket: str, prefix: str, objects: Mapping[str, S3Object]) -> Stored:
    """`objects` are those of `list_ours`. Raises DogbreedError."""
    return Stored(find_manifest(client, bucket, prefix) if join_key(prefix, MANIFEST) in objects else None, objects)


def plan_sync(folder: ImageFolder, stored: Stored, prefix: str) -> SyncPlan:
    """What makes the prefix what the folder is."""
    send, known, wanted = [], {}, set()
    for image in folder.images:
        key = join_key(prefix, image.key)
        wanted.add(key)
        there = stored.objects.get(key)
        noted = stored.manifest.files.get(image.key) if stored.manifest else None
        # The hash is the ETag, or the ETag is still the one that S3 gave when we sent this very content.
        if there and there.size == image.size and there.etag == image.md5:
            known[image.key] = StoredImage(image.md5, image.size, image.md5)
        elif there and noted == StoredImage(image.md5, image.size, there.etag) and there.size == image.size:
            known[image.key] = noted
        else:
            send.append(image)
    wanted.add(join_key(prefix, MANIFEST))
    gone = tuple(key for key in stored.objects if key not in wanted)
    manifest = stored.manifest
    # A change of nothing but the seed or the order of work is none; the fingerprint stands for all that matters.
    noted_all = manifest is not None and manifest.complete and manifest.fingerprint == folder.fingerprint
    return SyncPlan(tuple(send), known, gone, stored, not send and not gone and noted_all)


def sync(
    client: Any,
    folder: ImageFolder,
    plan: SyncPlan,
    bucket: str,
    prefix: str,
    on_progress: OnProgress | None = None,
    max_workers: int = MOST,
    store: Any | None = None,
) -> SyncResult:
    """Carry out a plan: make prefix/{train,valid,test}/ the folder's images, and then prefix/manifest.json.

    What is there unchanged is not sent; what is gone here is removed there once the rest is complete. After an error or
    a kill the next sync sends what is missing. `store` is that of put_bytes; `on_progress` counts what is to be sent.
    Raises DogbreedError.
    """
    started = time.monotonic()
    if plan.is_current:
        return SyncResult(0, len(plan.known), 0, 0, time.monotonic() - started, plan.stored.objects)
    before = plan.stored.manifest
    if before and before.complete and (plan.send or plan.delete):
        # From here until the end the old manifest would describe data that is half changed.
        _write_manifest(client, bucket, prefix, before, complete=False)

    stored = dict(plan.known)
    total_bytes = sum(image.size for image in plan.send)
    done_bytes, pace = 0, Pace(min(LEAST, max_workers), max_workers)

    def send(image: ImageFile) -> Sent:
        return _put_image(client, store, image, bucket, join_key(prefix, image.key))

    with contextlib.closing(in_parallel(send, plan.send, max_workers, pace)) as answers:
        for done, sent in enumerate(answers, 1):
            pace.note(sent.is_slowed)
            stored[sent.image.key] = sent.stored
            done_bytes += sent.image.size
            if on_progress:
                on_progress(Progress(done, done_bytes, len(plan.send), total_bytes))

    delete_objects(client, bucket, plan.delete)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    files = {image.key: stored[image.key] for image in folder.images}
    manifest = Manifest(folder.classes, folder.counts, folder.fingerprint, folder.seed, created, files)
    written = _write_manifest(client, bucket, prefix, manifest, complete=True)
    there = [S3Object(join_key(prefix, key), one.size, one.etag) for key, one in files.items()]
    objects = {one.key: one for one in (*there, written)}
    seconds = time.monotonic() - started
    return SyncResult(len(plan.send), len(plan.known), len(plan.delete), total_bytes, seconds, objects)


def read_manifest(client: Any, bucket: str, prefix: str) -> Manifest | None:
    """The manifest below a data prefix; None where there is none or where an upload over it was cut short."""
    manifest = find_manifest(client, bucket, prefix)
    return manifest if manifest and manifest.complete else None


class Sent(NamedTuple):
    image: ImageFile
    stored: StoredImage
    is_slowed: bool  # S3 had asked to slow down, or failed, before it took the image


def _put_image(client: Any, store: Any | None, image: ImageFile, bucket: str, key: str) -> Sent:
    with LARGE if image.size > LARGE_BYTES else contextlib.nullcontext():
        content = image.path.read_bytes()
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != image.md5:
            raise DogbreedError(f"{image.path} changed while it was being uploaded.", fix="Run the upload again.")
        with explain_s3_errors(f"Sending {image.path} to s3://{bucket}/{key}"):
            put = put_bytes(client, store, content, bucket, key, image.content_type)
    return Sent(image, StoredImage(image.md5, image.size, put.etag), put.is_slowed)


def find_manifest(client: Any, bucket: str, prefix: str) -> Manifest | None:
    """The manifest below a data prefix, of a whole upload or one that was cut short. Raises DogbreedError."""
    value = read_json(client, bucket, join_key(prefix, MANIFEST))
    if value is None:
        return None
    where = make_s3_uri(bucket, prefix, MANIFEST)
    fix = "Use the dogbreed that wrote it, or delete it and upload again."
    try:
        if value["schema_version"] != SCHEMA_VERSION:
            raise DogbreedError(f"{where} has schema {value['schema_version']}, not {SCHEMA_VERSION}.", fix=fix)
        files = {key: StoredImage(**entry) for key, entry in value["files"].items()}
        return Manifest(**{**value, "classes": tuple(value["classes"]), "files": files})
    except (KeyError, TypeError, AttributeError) as error:
        raise DogbreedError(f"{where} is no manifest of dogbreed.", f"{type(error).__name__}: {error}", fix) from error


def _write_manifest(client: Any, bucket: str, prefix: str, manifest: Manifest, *, complete: bool) -> S3Object:
    # asdict goes deep: it would copy 100,000 entries at once, where json asks for one after the other.
    document = {**asdict(replace(manifest, files={})), "files": manifest.files, "complete": complete}
    return put_json(client, document, bucket, join_key(prefix, MANIFEST), default=asdict)
