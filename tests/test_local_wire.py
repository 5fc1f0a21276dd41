"""Request <-> operation: what botocore sends is parsed as it was given, what is answered as it was answered."""

import random
from typing import Any

import botocore.session
import pytest
from botocore.awsrequest import HeadersDict, create_request_object, prepare_request_dict
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from drawn_requests import SERVICES, draw

from dogbreed_cli.local import wire

# Event streams; S3's location, which is not as modelled; two members of one name.
UNUSUAL = {
    "SelectObjectContent",
    "InvokeEndpointWithResponseStream",
    "StartLiveTail",
    "GetLogObject",
    "GetBucketLocation",
    "PutBucketNotification",
    "GetBucketNotification",
}
MODELS = botocore.session.get_session()


def read_streams(value: dict[str, Any]) -> dict[str, Any]:
    return {name: item.read() if hasattr(item, "read") else item for name, item in value.items()}


def drop_empty(value: Any) -> Any:
    """Without empty lists, maps and structures, which some protocols cannot tell from none."""
    if isinstance(value, dict):
        pairs = {key: drop_empty(item) for key, item in value.items()}
        return {key: item for key, item in pairs.items() if item not in ({}, [])}
    return [drop_empty(item) for item in value] if isinstance(value, list) else value


def operations(service: str) -> list[Any]:
    model = MODELS.get_service_model(service)
    names = sorted(set(model.operation_names) - UNUSUAL)
    return [model.operation_model(name) for name in (names if len(names) < 120 else names[::4])]


@pytest.mark.parametrize("service", SERVICES)
def test_requests_are_parsed_as_they_were_given(service: str) -> None:
    rng = random.Random(service)
    for operation in operations(service):
        if operation.input_shape is None:
            continue
        for _ in range(3):
            given = draw(operation.input_shape, rng)
            serializer = create_serializer(operation.service_model.resolved_protocol, include_validation=False)
            request = serializer.serialize_to_request(given, operation)
            request["context"] = {}
            prepare_request_dict(request, "https://127.0.0.1", {})
            sent = create_request_object(request).prepare()
            parsed = wire.parse_request(operation, sent.url, sent.headers, sent.body)
            expected = no_payload(operation.input_shape) | drop_empty(given)
            if "ContentLength" not in given:
                parsed.pop("ContentLength", None)  # HTTP says it anyway
            assert drop_empty(read_streams(parsed)) == expected, operation.name


def no_payload(shape: Any) -> dict[str, Any]:
    """What a payload that was not given comes back as: HTTP cannot tell no body from an empty one."""
    payload = shape.serialization.get("payload")
    empty = {"blob": b"", "string": ""}.get(shape.members[payload].type_name) if payload else None
    return {} if empty is None else {payload: empty}


@pytest.mark.parametrize("service", SERVICES)
def test_responses_are_parsed_as_they_were_answered(service: str) -> None:
    rng = random.Random(service)
    for operation in operations(service):
        shape = operation.output_shape
        if shape is None:
            continue
        for _ in range(3):
            answered = {k: v for k, v in draw(shape, rng).items() if k not in ("ContentRange", "ContentLength")}
            response = wire.serialize_response(operation, answered, "request-1")
            payload = shape.serialization.get("payload")
            streams = payload and shape.members[payload].type_name == "blob"
            parsed = create_parser(operation.service_model.resolved_protocol).parse(
                {
                    "status_code": response.status,
                    "headers": HeadersDict(response.headers),
                    "body": response.body if streams else response.body.read(),
                },
                shape,
            )
            assert parsed.pop("ResponseMetadata")["HTTPStatusCode"] in (200, 202, 204, response.status)
            expected = no_payload(shape) | drop_empty(answered)
            assert drop_empty(read_streams(parsed)) == expected, operation.name
