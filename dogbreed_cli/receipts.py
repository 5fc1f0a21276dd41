"""What an upload told when it was over, kept for the next one: its answer, too, where nothing has changed since.

    file = receipt_file(folder, "s3://dogs/dogbreed/data")
    write_receipt(file, Receipt(digest_folder(listing, name, data), digest_place(objects), summary, page))
    receipt = find_receipt(file, digest_folder(listing, name, data))    # None where there is none

That nothing has changed is not taken on trust: each time the files are listed with their sizes and times, as
image_cache.py knows them, and the objects with their sizes and ETags. But two digests are compared instead of each file
with its object, and nothing is imported that reads images or writes pages, which would take most of the time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from dogbreed_cli import __version__
from dogbreed_cli.cache import cache_folder, forget_unused
from dogbreed_cli.image_cache import KEPT_DAYS, SETTLED_SECONDS
from dogbreed_cli.image_files import Listing
from dogbreed_cli.image_findings import Finding, Summary
from dogbreed_cli.storage import S3Object
from dogbreed_cli.whole_files import write_text


@dataclass(frozen=True, slots=True)
class Receipt:
    folder: str  # of digest_folder
    place: str  # of digest_place
    summary: Summary
    page: str  # data-report.html


def digest_folder(listing: Listing, *looked_at: object) -> str:
    """SHA-256 of the files, by path, size and times, and of what else the answer depends on: settings, a name.

    "" while a file changed within the last seconds, which may change again within the same tick of the clock.
    """
    if listing.changed > (time.time() - SETTLED_SECONDS) * 1e9:
        return ""
    files = [f"{one.file}\0{one.size}\0{one.changed}\0" for one in listing.candidates]
    others = [*listing.hidden, "\0", *listing.outside, repr((__version__, *looked_at))]
    text = "".join(files) + "\0".join(others)
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def digest_place(objects: Mapping[str, S3Object]) -> str:
    """SHA-256 of what stands in S3."""
    rows = sorted("\0".join((key, str(item.size), item.etag)) for key, item in objects.items())
    return hashlib.sha256("\0".join(rows).encode(errors="surrogateescape")).hexdigest()


def receipt_file(folder: Path, uri: str) -> Path:
    """One for each folder and place."""
    name = hashlib.sha256(f"{folder.resolve()}\0{uri}".encode(errors="surrogateescape")).hexdigest()[:32]
    return cache_folder() / "receipts" / f"{name}.json"


def find_receipt(file: Path, folder: str) -> Receipt | None:
    """The last one, if it is of this folder as it is now. None also where it cannot be read: all is looked at anew."""
    try:
        value = json.loads(file.read_bytes())
        if not folder or value["folder"] != folder:
            return None
        summary = value["summary"]
        findings = tuple(
            Finding(one["kind"], one["severity"], one["message"], tuple(one["files"]), tuple(map(tuple, one["groups"])))
            for one in summary["findings"]
        )
        told = Summary(**{**summary, "classes": tuple(summary["classes"]), "findings": findings})
        return Receipt(**{**value, "summary": told})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_receipt(file: Path, receipt: Receipt) -> None:
    # A cache folder that cannot be written costs time, not the upload; image_cache.py has already said so.
    with contextlib.suppress(OSError):
        write_text(file, json.dumps(asdict(receipt)))
        forget_unused(file.parent, KEPT_DAYS)
