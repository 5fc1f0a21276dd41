"""The local S3's ListObjectsV2 and ListObjects: pages of keys in the order of their bytes, rolled up by a delimiter."""

import base64
import binascii
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from dogbreed_cli.local.errors import AwsError
from dogbreed_cli.local.s3_names import walk_keys
from dogbreed_cli.local.s3_objects import check_parameters
from dogbreed_cli.local.s3_store import Store

_OWNER = {"DisplayName": "local", "ID": "0" * 64}
_PAST = b"\xff"  # after every key that begins with what stands before it: UTF-8 has no such byte


class Listing:
    store: Store

    def list_objects_v2(self, request: dict[str, Any]) -> dict[str, Any]:
        check_parameters(request, "Prefix Delimiter StartAfter MaxKeys ContinuationToken EncodingType FetchOwner")
        token = request.get("ContinuationToken")
        after = _parse_token(token) if token is not None else request.get("StartAfter", "").encode()
        contents, prefixes, last = self._read_page(request, after, bool(request.get("FetchOwner")))
        encode = _key_encoder(request)
        response = self._answer(request, contents, prefixes, last is not None)
        response |= {"KeyCount": len(contents) + len(prefixes), "ContinuationToken": token}
        response["StartAfter"] = encode(request["StartAfter"]) if "StartAfter" in request else None
        response["NextContinuationToken"] = _serialize_token(last) if last is not None else None
        return response

    def list_objects(self, request: dict[str, Any]) -> dict[str, Any]:
        check_parameters(request, "Prefix Delimiter Marker MaxKeys EncodingType")
        marker, delimiter = request.get("Marker", ""), request.get("Delimiter")
        # A marker that is a common prefix stands for all keys below it.
        after = marker.encode() + (_PAST if delimiter and marker.endswith(delimiter) else b"")
        contents, prefixes, last = self._read_page(request, after, with_owner=True)
        encode = _key_encoder(request)
        response = self._answer(request, contents, prefixes, last is not None)
        response["Marker"] = encode(marker)
        if delimiter and last is not None:
            response["NextMarker"] = encode(last.removesuffix(_PAST).decode())
        return response

    def _read_page(
        self, request: dict[str, Any], after: bytes, with_owner: bool
    ) -> tuple[list[dict[str, Any]], list[str], bytes | None]:
        """(objects, common prefixes, where the next page goes on: None at the end); keys as they are written there."""
        bucket, limit = request["Bucket"], min(request.get("MaxKeys", 1000), 1000)
        if limit < 0:
            raise AwsError("InvalidArgument", "Argument maxKeys must be an integer between 0 and 2147483647")
        folder = self.store.bucket(bucket)
        prefix, delimiter = request.get("Prefix", "").encode(), request.get("Delimiter", "").encode()
        encode = _key_encoder(request)
        contents: list[dict[str, Any]] = []
        prefixes: list[str] = []
        last = b""
        for key, path in _roll_up(walk_keys(str(folder), prefix, after), prefix, delimiter):
            if len(contents) + len(prefixes) >= limit:
                return contents, prefixes, last if limit else None
            if path is None:
                prefixes.append(encode(key.decode()))
                last = key + _PAST
                continue
            name = key.decode()
            try:
                description = self.store.describe(bucket, name, path)
            except OSError:
                continue  # deleted meanwhile
            found = {
                "Key": encode(name),
                "LastModified": datetime.fromtimestamp(description.mtime_ns / 1e9, UTC),
                "ETag": description.etag,
                "Size": description.size,
                "StorageClass": "STANDARD",
            }
            contents.append(found | {"Owner": _OWNER} if with_owner else found)
            last = key
        return contents, prefixes, None

    def _answer(
        self, request: dict[str, Any], contents: list[dict[str, Any]], prefixes: list[str], is_truncated: bool
    ) -> dict[str, Any]:
        encode = _key_encoder(request)
        return {
            "Name": request["Bucket"],
            "Prefix": encode(request.get("Prefix", "")),
            "Delimiter": encode(request["Delimiter"]) if "Delimiter" in request else None,
            "MaxKeys": request.get("MaxKeys", 1000),
            "EncodingType": request.get("EncodingType"),
            "IsTruncated": is_truncated,
            "Contents": contents,
            "CommonPrefixes": [{"Prefix": prefix} for prefix in prefixes],
        }


def _roll_up(keys: Iterator[tuple[bytes, str]], prefix: bytes, delimiter: bytes) -> Iterator[tuple[bytes, str | None]]:
    """(key, file) or (common prefix, None), each prefix once: keys come in order, so equal ones stand together."""
    rolled = None
    for key, path in keys:
        end = key.find(delimiter, len(prefix)) if delimiter else -1
        if end < 0:
            yield key, path
        elif key[: end + len(delimiter)] != rolled:
            rolled = key[: end + len(delimiter)]
            yield rolled, None


def _key_encoder(request: dict[str, Any]) -> Any:
    """XML cannot hold every character of a key: EncodingType=url, which boto3 sets and takes back by itself."""
    return (lambda text: quote(text, safe="/*-._~")) if request.get("EncodingType") == "url" else str


def _serialize_token(last: bytes) -> str:
    return base64.urlsafe_b64encode(last).decode()


def _parse_token(token: str) -> bytes:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise AwsError("InvalidArgument", "The continuation token provided is incorrect") from error
