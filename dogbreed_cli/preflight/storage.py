"""The bucket, and whether the data in it is what its manifest says."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from typing import Any

from dogbreed_cli.checks import Check, fail, ok, warn
from dogbreed_cli.errors import AccessError
from dogbreed_cli.images import SPLITS
from dogbreed_cli.parallel import in_parallel
from dogbreed_cli.storage import MISSING, join_key, list_objects, make_s3_uri
from dogbreed_cli.sync import Manifest, find_manifest

# Of each split: ten answers of S3, a second or two.
MOST = 10_000
UPLOAD = "run `dogbreed upload DIR`"


def check_bucket(client: Any, bucket: str, region: str, is_default: bool) -> Iterator[Check]:
    from botocore.exceptions import ClientError

    try:
        where = client.head_bucket(Bucket=bucket).get("BucketRegion", region)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in MISSING:
            found = f"{bucket} is not there yet: upload creates it"
            named = warn("bucket", found, "look at the spelling of aws.bucket if it should be there")
            yield ok("bucket", found) if is_default else named
        elif code in ("403", "AccessDenied"):
            fix = "name a bucket of yours in aws.bucket, or be allowed s3:ListBucket there"
            yield fail("bucket", f"{bucket} is someone else's, or closed to you", fix, AccessError.exit_code)
        else:
            raise
        return
    if where != region:
        found = f"{bucket} is in {where}: jobs in {region} read nothing from there"
        yield fail("bucket", found, f"name another aws.bucket, or set aws.region to {where}", AccessError.exit_code)
    else:
        yield ok("bucket", f"{bucket} in {where}")


def check_data(client: Any, bucket: str, prefix: str) -> Iterator[Check]:
    where = make_s3_uri(bucket, prefix)
    manifest = find_manifest(client, bucket, prefix)
    if manifest is None:
        yield warn("data", f"nothing has been uploaded to {where}", UPLOAD)
        return
    if not manifest.complete:
        yield fail("data", f"an upload to {where} was cut short", f"{UPLOAD} again: it goes on there")
        return
    wrong = list(compare(client, bucket, prefix, manifest))
    if wrong:
        found = f"{len(wrong)} images at {where} are missing or others than the manifest says, first {wrong[0]}"
        yield fail("data", found, f"{UPLOAD} again: it sends what differs")
        return
    counts = ", ".join(f"{count} {split}" for split, count in manifest.counts.items())
    if max(manifest.counts.values(), default=0) > MOST:
        counts += f"; the first {MOST} of each looked at"
    yield ok("data", f"{len(manifest.classes)} classes ({counts}) at {where}")


def compare(client: Any, bucket: str, prefix: str, manifest: Manifest) -> Iterator[str]:
    """The keys of images that are not there as the manifest says, of the first MOST of each split."""

    def ask(split: str) -> list[str]:
        # In S3's order, which is that of the bytes.
        noted = sorted((key for key in manifest.files if key.startswith(f"{split}/")), key=str.encode)[:MOST]
        if not noted:
            return []
        last = join_key(prefix, noted[-1]).encode()
        listed = list_objects(client, bucket, join_key(prefix, split) + "/")
        there = {
            found.key: (found.size, found.etag) for found in takewhile(lambda found: found.key.encode() <= last, listed)
        }
        files = {key: manifest.files[key] for key in noted}
        return [key for key, file in files.items() if there.get(join_key(prefix, key)) != (file.size, file.etag)]

    for wrong in in_parallel(ask, SPLITS, max_workers=len(SPLITS)):
        yield from wrong
