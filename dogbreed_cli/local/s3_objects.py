"""The local S3's operations on one object, and on several by name (DeleteObjects)."""

import base64
import re
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import unquote

from dogbreed_cli.local.errors import AwsError
from dogbreed_cli.local.s3_names import find_file
from dogbreed_cli.local.s3_store import Description, Store

HEADERS = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType")
# What changes nothing on one machine with one owner; botocore adds checksums to most requests by itself.
_HARMLESS = {
    "Bucket",
    "Key",
    "ACL",
    "ContentLength",
    "ContentMD5",
    "ExpectedBucketOwner",
    "MpuObjectSize",
    "RequestPayer",
}
_CONDITIONS = "IfMatch IfNoneMatch IfModifiedSince IfUnmodifiedSince"
_OVERRIDES = {f"Response{name}": name for name in HEADERS}


def check_parameters(request: dict[str, Any], known: str = "") -> None:
    """Refuse what would otherwise be ignored, as S3 refuses a header that it does not implement."""
    for name, value in request.items():
        if name in _HARMLESS or name in known.split() or name.startswith("Checksum"):
            continue
        if (name, value) in (("ServerSideEncryption", "AES256"), ("StorageClass", "STANDARD")):
            continue
        message = "A header you provided implies functionality that is not implemented"
        raise AwsError("NotImplemented", f"{message} by the local S3: {name}", 501, Header=name)


def check_key(key: str) -> None:
    if len(key.encode()) > 1024:
        raise AwsError("KeyTooLongError", "Your key is too long", 400, Size=len(key.encode()), MaxSizeAllowed=1024)


class Objects:
    store: Store

    def put_object(self, request: dict[str, Any]) -> dict[str, Any]:
        check_parameters(request, "Body Metadata IfMatch IfNoneMatch " + " ".join(HEADERS))
        bucket, key = request["Bucket"], request["Key"]
        self.store.bucket(bucket)
        check_key(key)
        with self.store.received(request["Body"]) as (source, digest):
            check_md5(request, digest)
            headers, metadata = chosen_headers(request), request.get("Metadata", {})
            check = partial(self._check_write, request)
            placed = self.store.place(bucket, key, source, digest, headers, metadata, check)
        return {"ETag": placed.etag}

    def _check_write(self, request: dict[str, Any]) -> None:
        if "IfMatch" not in request and "IfNoneMatch" not in request:
            return
        path = find_file(self.store.bucket(request["Bucket"]), request["Key"])
        if request.get("IfNoneMatch") == "*" and path.is_file():
            raise _precondition_failed("If-None-Match")
        if request.get("IfNoneMatch", "*") != "*":
            raise AwsError("NotImplemented", "If-None-Match of a write takes only *", 501)
        if "IfMatch" in request:
            if not path.is_file():
                raise AwsError("NoSuchKey", "The specified key does not exist.", 404, Key=request["Key"])
            current = self.store.recall(request["Bucket"], request["Key"], path.stat())
            if current is None or not _etags_match(request["IfMatch"], current.etag):
                raise _precondition_failed("If-Match")

    def get_object(self, request: dict[str, Any]) -> dict[str, Any]:
        check_parameters(request, f"Range {_CONDITIONS} {' '.join(_OVERRIDES)}")
        file, description = self.store.open(request["Bucket"], request["Key"])
        try:
            check_read(request, description)
            response = _describe(request, description)
            first, length = 0, description.size
            if found := parse_range(request.get("Range"), description.size):
                first, length = found
                file.seek(first)
                response["ContentRange"] = f"bytes {first}-{first + length - 1}/{description.size}"
        except BaseException:
            file.close()
            raise
        return response | {"ContentLength": length, "Body": file}

    def head_object(self, request: dict[str, Any]) -> dict[str, Any]:
        response = self.get_object(request)
        response.pop("Body").close()
        return response

    def delete_object(self, request: dict[str, Any]) -> None:
        check_parameters(request)
        self.store.bucket(request["Bucket"])
        with self.store.lock(request["Bucket"]):
            self.store.delete(request["Bucket"], request["Key"])

    def delete_objects(self, request: dict[str, Any]) -> dict[str, Any]:
        check_parameters(request, "Delete")
        self.store.bucket(request["Bucket"])
        keys = [item["Key"] for item in request["Delete"]["Objects"]]
        if not 1 <= len(keys) <= 1000:
            raise AwsError("MalformedXML", "The XML you provided was not well-formed or did not validate.")
        with self.store.lock(request["Bucket"]):
            for key in keys:
                self.store.delete(request["Bucket"], key)
        return {} if request["Delete"].get("Quiet") else {"Deleted": [{"Key": key} for key in keys]}

    def get_object_tagging(self, request: dict[str, Any]) -> dict[str, Any]:
        """None: tags cannot be put here. `aws s3 cp` from one bucket to another asks for them."""
        check_parameters(request)
        self.store.open(request["Bucket"], request["Key"])[0].close()
        return {"TagSet": []}

    def copy_object(self, request: dict[str, Any]) -> dict[str, Any]:
        check_parameters(request, "CopySource Metadata MetadataDirective " + " ".join(HEADERS))
        bucket, key = request["Bucket"], request["Key"]
        self.store.bucket(bucket)
        check_key(key)
        from_bucket, from_key = parse_copy_source(request["CopySource"])
        replaces = request.get("MetadataDirective") == "REPLACE"
        if (bucket, key) == (from_bucket, from_key) and not replaces:
            message = (
                "This copy request is illegal because it is trying to copy an object to itself without changing the "
                "object's metadata, storage class, website redirect location or encryption attributes."
            )
            raise AwsError("InvalidRequest", message)
        file, description = self.store.open(from_bucket, from_key)
        headers, metadata = description.headers, description.metadata
        if replaces:
            headers, metadata = chosen_headers(request), request.get("Metadata", {})
        with file, self.store.received(file) as (source, digest):
            placed = self.store.place(bucket, key, source, digest, headers, metadata)
        return {"CopyObjectResult": {"ETag": placed.etag, "LastModified": last_modified(placed)}}


def chosen_headers(request: dict[str, Any]) -> dict[str, str]:
    return {"ContentType": "binary/octet-stream"} | {name: request[name] for name in HEADERS if name in request}


def check_md5(request: dict[str, Any], digest: str) -> None:
    if "ContentMD5" in request and base64.b64encode(bytes.fromhex(digest)).decode() != request["ContentMD5"]:
        raise AwsError("BadDigest", "The Content-MD5 you specified did not match what we received.")


def last_modified(description: Description) -> datetime:
    return datetime.fromtimestamp(description.mtime_ns / 1e9, UTC)


def parse_copy_source(source: str) -> tuple[str, str]:
    path, _, version = source.partition("?versionId=")
    bucket, _, key = unquote(path).lstrip("/").partition("/")
    if version not in ("", "null"):
        raise AwsError("NotImplemented", "The local S3 keeps no versions", 501)
    if not key:
        raise AwsError("InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
    return bucket, key


def _describe(request: dict[str, Any], description: Description) -> dict[str, Any]:
    overrides = {name: request[parameter] for parameter, name in _OVERRIDES.items() if parameter in request}
    return {
        "AcceptRanges": "bytes",
        "ContentLength": description.size,
        "ContentType": "binary/octet-stream",
        "ETag": description.etag,
        "LastModified": last_modified(description),
        "Metadata": description.metadata,
        **description.headers,
        **overrides,
    }


def check_read(request: dict[str, Any], description: Description) -> None:
    """RFC 9110's conditions; an ETag's verdict overrules the time's."""
    written = last_modified(description).replace(microsecond=0)
    if "IfMatch" in request:
        if not _etags_match(request["IfMatch"], description.etag):
            raise _precondition_failed("If-Match")
    elif "IfUnmodifiedSince" in request and written > request["IfUnmodifiedSince"]:
        raise _precondition_failed("If-Unmodified-Since")
    if "IfNoneMatch" in request:
        if _etags_match(request["IfNoneMatch"], description.etag):
            raise AwsError("NotModified", "Not Modified", 304)
    elif "IfModifiedSince" in request and written <= request["IfModifiedSince"]:
        raise AwsError("NotModified", "Not Modified", 304)


def _etags_match(condition: str, etag: str) -> bool:
    return any(part.strip().strip('"') in ("*", etag.strip('"')) for part in condition.split(","))


def _precondition_failed(condition: str) -> AwsError:
    message = "At least one of the pre-conditions you specified did not hold"
    return AwsError("PreconditionFailed", message, 412, Condition=condition)


def parse_range(text: str | None, size: int) -> tuple[int, int] | None:
    """(first byte, length). Anything but one range of bytes is ignored, as S3 does. Of all bytes it is a range, too."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", text or "")
    if not match or not (match[1] or match[2]):
        return None
    if match[1]:
        first, last = int(match[1]), min(int(match[2] or size), size - 1)
        if match[2] and int(match[2]) < first:
            return None
    else:
        first, last = max(0, size - int(match[2])), size - 1
    if first > last:
        message = "The requested range is not satisfiable"
        raise AwsError("InvalidRange", message, 416, ActualObjectSize=size, RangeRequested=text)
    return first, last - first + 1
