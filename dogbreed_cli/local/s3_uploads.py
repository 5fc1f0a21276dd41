"""The local S3's multipart uploads: each a folder `.uploads/<bucket>/<id>/` with upload.json, `<part>-<md5>`."""

import hashlib
import json
import re
import shutil
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dogbreed_cli.local.errors import AwsError
from dogbreed_cli.local.s3_objects import (
    HEADERS,
    check_key,
    check_md5,
    check_parameters,
    check_read,
    chosen_headers,
    parse_copy_source,
    parse_range,
)
from dogbreed_cli.local.s3_store import CHUNK, Store, read_json
from dogbreed_cli.local.wire_body import ResponseBody

_SMALLEST_PART = 5 << 20


class Uploads:
    store: Store

    def create_multipart_upload(self, request: dict[str, Any]) -> dict[str, Any]:
        check_parameters(request, "Metadata " + " ".join(HEADERS))
        bucket, key = request["Bucket"], request["Key"]
        self.store.bucket(bucket)
        check_key(key)
        upload_id = uuid.uuid4().hex
        record = {"Key": key, "headers": chosen_headers(request), "metadata": request.get("Metadata", {})}
        folder = self.store.folder / ".uploads" / bucket / upload_id  # which nobody knows of until it is answered
        folder.mkdir(parents=True)
        (folder / "upload.json").write_text(json.dumps(record))
        return {"Bucket": bucket, "Key": key, "UploadId": upload_id}

    def _upload(self, request: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
        self.store.bucket(request["Bucket"])
        upload_id = request["UploadId"]
        folder = self.store.folder / ".uploads" / request["Bucket"] / upload_id
        record = read_json(folder / "upload.json") if re.fullmatch("[0-9a-f]{32}", upload_id) else {}
        if record.get("Key") != request["Key"]:
            message = (
                "The specified upload does not exist. The upload ID may be invalid, or the upload may have been "
                "aborted or completed."
            )
            raise AwsError("NoSuchUpload", message, 404, UploadId=upload_id)
        return folder, record

    def upload_part(self, request: dict[str, Any]) -> dict[str, Any]:
        check_parameters(request, "Body PartNumber UploadId")
        return {"ETag": self._receive_part(request, request["Body"])}

    def upload_part_copy(self, request: dict[str, Any]) -> dict[str, Any]:
        check_parameters(request, "CopySource CopySourceRange CopySourceIfMatch PartNumber UploadId")
        file, description = self.store.open(*parse_copy_source(request["CopySource"]))
        with file:
            check_read({"IfMatch": request["CopySourceIfMatch"]} if "CopySourceIfMatch" in request else {}, description)
            first, length = parse_range(request.get("CopySourceRange"), description.size) or (0, description.size)
            file.seek(first)
            etag = self._receive_part(request, ResponseBody(file, length))
        return {"CopyPartResult": {"ETag": etag, "LastModified": datetime.now(UTC)}}

    def _receive_part(self, request: dict[str, Any], body: Any) -> str:
        folder, _ = self._upload(request)
        number = request["PartNumber"]
        if not 1 <= number <= 10_000:
            raise AwsError("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
        with self.store.received(body) as (source, digest):
            check_md5(request, digest)
            name = f"{number:05}-{digest}"
            try:
                source.replace(folder / name)
            except FileNotFoundError:  # aborted meanwhile
                self._upload(request)
                raise
            for path in folder.glob(f"{number:05}-*"):
                if path.name != name:
                    path.unlink(missing_ok=True)  # sent again with other bytes
        return f'"{digest}"'

    def list_parts(self, request: dict[str, Any]) -> dict[str, Any]:
        check_parameters(request, "UploadId MaxParts PartNumberMarker")
        folder, _ = self._upload(request)
        limit, after = min(request.get("MaxParts", 1000), 1000), int(request.get("PartNumberMarker", 0))
        rest = [path for path in _parts(folder) if _number(path) > after]
        page = rest[:limit]
        return {
            "Bucket": request["Bucket"],
            "Key": request["Key"],
            "UploadId": request["UploadId"],
            "PartNumberMarker": after,
            "NextPartNumberMarker": _number(page[-1]) if page else 0,
            "MaxParts": limit,
            "IsTruncated": len(rest) > len(page),
            "Parts": [_describe(path) for path in page],
            "StorageClass": "STANDARD",
        }

    def complete_multipart_upload(self, request: dict[str, Any]) -> dict[str, Any]:
        check_parameters(request, "UploadId MultipartUpload")
        bucket, key = request["Bucket"], request["Key"]
        folder, record = self._upload(request)
        parts = _chosen_parts(folder, request.get("MultipartUpload", {}).get("Parts", []))
        digest = hashlib.md5(usedforsecurity=False)
        with self.store.temporary() as source:
            with source.open("wb") as whole:
                for path in parts:
                    digest.update(bytes.fromhex(path.name.partition("-")[2]))
                    with path.open("rb") as part:
                        shutil.copyfileobj(part, whole, CHUNK)
            etag = f"{digest.hexdigest()}-{len(parts)}"
            placed = self.store.place(bucket, key, source, etag, record["headers"], record["metadata"])
        shutil.rmtree(folder, ignore_errors=True)
        return {"Bucket": bucket, "Key": key, "ETag": placed.etag, "Location": f"/{bucket}/{key}"}

    def abort_multipart_upload(self, request: dict[str, Any]) -> None:
        check_parameters(request, "UploadId")
        folder, _ = self._upload(request)
        shutil.rmtree(folder, ignore_errors=True)


def _parts(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("?????-*"))


def _number(path: Path) -> int:
    return int(path.name.partition("-")[0])


def _describe(path: Path) -> dict[str, Any]:
    status = path.stat()
    return {
        "PartNumber": _number(path),
        "ETag": f'"{path.name.partition("-")[2]}"',
        "Size": status.st_size,
        "LastModified": datetime.fromtimestamp(status.st_mtime, UTC),
    }


def _chosen_parts(folder: Path, asked: list[dict[str, Any]]) -> list[Path]:
    if not asked:
        raise AwsError("MalformedXML", "The XML you provided was not well-formed or did not validate.")
    numbers = [part["PartNumber"] for part in asked]
    if numbers != sorted(set(numbers)):
        message = (
            "The list of parts was not in ascending order. The parts list must be specified in order by part number."
        )
        raise AwsError("InvalidPartOrder", message)
    paths = [folder / f"{part['PartNumber']:05}-{re.sub('[^0-9a-f]', '', part.get('ETag', ''))}" for part in asked]
    for path in paths:
        if not path.is_file():
            message = (
                "One or more of the specified parts could not be found. The part may not have been uploaded, or the "
                "specified entity tag may not match the part's entity tag."
            )
            raise AwsError("InvalidPart", message, PartNumber=_number(path))
    for path in paths[:-1]:
        if path.stat().st_size < _SMALLEST_PART:
            message = "Your proposed upload is smaller than the minimum allowed size"
            raise AwsError("EntityTooSmall", message, PartNumber=_number(path), MinSizeAllowed=_SMALLEST_PART)
    return paths
