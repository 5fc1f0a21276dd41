"""The REST protocols (rest-xml for S3, rest-json for SageMaker Runtime): members spread over URL, headers and body."""

import io
import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from botocore.model import OperationModel

from dogbreed_cli.local.errors import AwsError
from dogbreed_cli.local.wire_body import ChunkedReader, Response, ResponseBody, read_body
from dogbreed_cli.local.wire_rpc import parse_json, serialize_json
from dogbreed_cli.local.wire_text import parse_text, serialize_text
from dogbreed_cli.local.wire_xml import parse_xml, serialize_xml

# What S3 calls the documents of its answers: botocore does not read it, so its model does not say. Other clients may.
_ROOTS = {
    "ListBuckets": "ListAllMyBucketsResult",
    "ListObjects": "ListBucketResult",
    "ListObjectsV2": "ListBucketResult",
    "CreateMultipartUpload": "InitiateMultipartUploadResult",
    "DeleteObjects": "DeleteResult",
    "GetObjectTagging": "Tagging",
}
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


def parse_rest(
    operation_model: OperationModel, shape: Any, url: str, raw_headers: Mapping[str, str | bytes], body: Any
) -> dict[str, Any]:
    """The parameters of a request; the body is only read when it is no stream."""
    headers = _text_headers(raw_headers)
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    labels = _parse_labels(operation_model, parts.netloc, parts.path)
    if "aws-chunked" in headers.get("content-encoding", "") or "STREAMING-" in headers.get("x-amz-content-sha256", ""):
        body, headers = _decode_chunks(body, headers)
    request: dict[str, Any] = {}
    places = {"uri": labels, "querystring": query, "header": headers}
    for name, location, wire_name in _located_members(shape):
        if location == "headers":
            found = {key.removeprefix(wire_name): value for key, value in headers.items() if key.startswith(wire_name)}
            if found:
                request[name] = found
        elif (text := places[location].get(wire_name)) is not None:
            request[name] = _parse_listed(shape.members[name], text)
    payload = shape.serialization.get("payload")
    if payload and shape.members[payload].serialization.get("streaming"):
        request[payload] = body if hasattr(body, "read") else io.BytesIO(read_body(body))
    elif payload and shape.members[payload].type_name in ("blob", "string"):
        data = read_body(body)
        request[payload] = data if shape.members[payload].type_name == "blob" else data.decode()
    elif data := read_body(body):
        target = shape.members[payload] if payload else shape
        is_xml = operation_model.service_model.resolved_protocol == "rest-xml"
        parsed = parse_xml(target, data) if is_xml else parse_json(target, json.loads(data))
        request.update({payload: parsed} if payload else parsed)
    return request


@cache  # an object's write has 40 of them, most of which no request has
def _located_members(shape: Any) -> list[tuple[str, str, str]]:
    """(member, location, name there) of those that are not in the body; names of headers in lower case."""
    found = []
    for name, member in shape.members.items():
        location, wire_name = member.serialization.get("location"), member.serialization.get("name", name)
        if location in ("uri", "querystring"):
            found.append((name, location, wire_name))
        elif location in ("header", "headers"):
            found.append((name, location, wire_name.lower()))
    return found


def _parse_labels(operation_model: OperationModel, host: str, path: str) -> dict[str, str]:
    # botocore's S3 client takes {Bucket} out of requestUri and keeps the whole in authPath.
    http = operation_model.http
    template = http.get("authPath") or http["requestUri"].split("?")[0]
    if operation_model.service_model.service_name == "s3" and (in_host := re.match(r"(.+)\.(s3[.-]|localhost)", host)):
        path = f"/{in_host[1]}{path}"
    match = _template_pattern(template).fullmatch(path)
    if match is None:
        raise AwsError("InvalidURI", f"Couldn't parse the specified URI: {path}")
    return {name: unquote(text) for name, text in match.groupdict().items()}


@cache
def _template_pattern(template: str) -> re.Pattern[str]:
    pattern = re.sub(r"\\{(\w+)(\\\+)?\\}", _label_pattern, re.escape(template.rstrip("/")))
    return re.compile(pattern + ("" if "+}" in template else "/?"))


def _label_pattern(label: re.Match[str]) -> str:
    return f"(?P<{label[1]}>{'.+' if label[2] else '[^/]+'})"


def _parse_listed(shape: Any, text: str) -> Any:
    if shape.type_name == "list":
        return [parse_text(shape.member, part.strip()) for part in text.split(",")]
    return parse_text(shape, text)


def _decode_chunks(body: Any, headers: dict[str, str]) -> tuple[Any, dict[str, str]]:
    reader = ChunkedReader(body if hasattr(body, "read") else io.BytesIO(read_body(body)))
    encodings = [e.strip() for e in headers.get("content-encoding", "").split(",")]
    headers = headers | {"content-encoding": ",".join(e for e in encodings if e and e != "aws-chunked")}
    if not headers["content-encoding"]:
        del headers["content-encoding"]
    if "x-amz-decoded-content-length" in headers:
        headers["content-length"] = headers["x-amz-decoded-content-length"]
    return reader, headers


def _text_headers(headers: Mapping[str, str | bytes]) -> dict[str, str]:
    return {name.lower(): value.decode() if isinstance(value, bytes) else str(value) for name, value in headers.items()}


def serialize_rest(operation_model: OperationModel, shape: Any, output: dict[str, Any], response: Response) -> None:
    """Add the headers, the body and perhaps the status that carry `output`."""
    for name, value in output.items():
        member = shape.members[name]
        location, wire_name = member.serialization.get("location"), member.serialization.get("name", name)
        if value is None:
            continue
        if location == "header":
            response.headers[wire_name] = serialize_text(member, value, "rfc822")
        elif location == "headers":
            response.headers.update({f"{wire_name}{key}": str(text) for key, text in value.items()})
        elif location == "statusCode":
            response.status = value
    if "ContentRange" in output:
        response.status = 206
    payload = shape.serialization.get("payload")
    is_xml = operation_model.service_model.resolved_protocol == "rest-xml"
    if payload and shape.members[payload].type_name in ("blob", "string"):
        body = output.get(payload, b"")
        response.body = ResponseBody(body.encode() if isinstance(body, str) else body, output.get("ContentLength"))
    elif payload and payload in output:
        target = shape.members[payload]
        if is_xml:
            name = target.serialization.get("name", target.name)
            response.write_xml(_in_namespace(serialize_xml(target, output[payload], name)))
        else:
            response.write_json(serialize_json(target, output[payload]))
    elif any("location" not in member.serialization for member in shape.members.values()) and not payload:
        if operation_model.name == "GetBucketLocation":
            # Not as the model says: the document is one element with text (botocore reads it by hand as well).
            location = output.get("LocationConstraint") or ""
            response.write_xml(_in_namespace(f"<LocationConstraint>{location}</LocationConstraint>"))
        elif is_xml:
            root = _ROOTS.get(operation_model.name, shape.name.replace("Output", "Result"))
            response.write_xml(_in_namespace(serialize_xml(shape, output, root)))
        else:
            response.write_json(serialize_json(shape, _without_locations(shape, output)))
    if not payload or shape.members[payload].type_name not in ("blob", "string"):
        response.headers.setdefault("Content-Type", "application/xml" if is_xml else "application/json")


def _in_namespace(document: str) -> str:
    return re.sub(r"^<([^\s>]+)", rf'<\1 xmlns="{_NAMESPACE}"', document)


def _without_locations(shape: Any, output: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in output.items() if "location" not in shape.members[name].serialization}
