"""JSON bodies and forms <-> boto3-style values, by a botocore shape: SageMaker, Logs (json), STS and IAM (query)."""

import base64
from typing import Any

from dogbreed_cli.local.wire_text import parse_text, parse_time, serialize_time


def parse_json(shape: Any, value: Any) -> Any:
    """What a client was given. Members that the model does not have are left out, as AWS does, and so are nulls."""
    match shape.type_name:
        case "structure":
            members = ((name, member, member.serialization.get("name", name)) for name, member in shape.members.items())
            return {
                name: parse_json(member, value[wire_name])
                for name, member, wire_name in members
                if value.get(wire_name) is not None
            }
        case "list":
            return [parse_json(shape.member, item) for item in value]
        case "map":
            return {key: parse_json(shape.value, item) for key, item in value.items()}
        case "timestamp":
            return parse_time(value)
        case "blob":
            return base64.b64decode(value)
        case "string" if not isinstance(value, str):
            raise ValueError(f"{type(value).__name__} can not be converted to a String")
        case "integer" | "long":
            return int(value)
        case "float" | "double":
            return float(value)  # also the words NaN, Infinity and -Infinity
    return value


def serialize_json(shape: Any, value: Any) -> Any:
    """The JSON for a boto3-style value; None stands for a member that is not there.

    Members that the shape does not have are left out: a service's records hold more than any one answer shows.
    """
    match shape.type_name:
        case "structure":
            members = shape.members
            return {
                members[name].serialization.get("name", name): serialize_json(members[name], item)
                for name, item in value.items()
                if item is not None and name in members
            }
        case "list":
            return [serialize_json(shape.member, item) for item in value]
        case "map":
            return {key: serialize_json(shape.value, item) for key, item in value.items()}
        case "timestamp":
            return serialize_time(value, shape.serialization.get("timestampFormat", "unixtimestamp"))
        case "blob":
            return base64.b64encode(value).decode()
        case "float" | "double":
            # JSON has no such numbers; AWS writes words.
            return value if value - value == 0 else {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    return value


def parse_form(shape: Any, form: dict[str, str], prefix: str = "") -> Any:
    """The value under `prefix` in a query request, such as Tags.member.1.Key; None where there is nothing."""
    if shape.type_name == "structure":
        dotted = f"{prefix}." if prefix else ""
        members = (
            (name, parse_form(member, form, dotted + member.serialization.get("name", name)))
            for name, member in shape.members.items()
        )
        found = {name: value for name, value in members if value is not None}
        return found if found or not prefix else None
    if shape.type_name == "list":
        if form.get(prefix) == "":
            return []
        item_name = shape.member.serialization.get("name", "member")
        if not shape.serialization.get("flattened"):
            prefix = f"{prefix}.{item_name}"
        elif "name" in shape.member.serialization:
            prefix = ".".join([*prefix.split(".")[:-1], item_name])
        return [parse_form(shape.member, form, f"{prefix}.{n}") for n in _numbers(form, prefix)] or None
    if shape.type_name == "map":
        if not shape.serialization.get("flattened"):
            prefix = f"{prefix}.entry"
        key_name, value_name = (
            shape.key.serialization.get("name", "key"),
            shape.value.serialization.get("name", "value"),
        )
        return {
            form[f"{prefix}.{n}.{key_name}"]: parse_form(shape.value, form, f"{prefix}.{n}.{value_name}")
            for n in _numbers(form, prefix)
        } or None
    return parse_text(shape, form[prefix]) if prefix in form else None


def _numbers(form: dict[str, str], prefix: str) -> list[int]:
    dotted = f"{prefix}."
    return sorted({int(key[len(dotted) :].split(".")[0]) for key in form if key.startswith(dotted)})


def serialize_cbor_error(code: str, message: str) -> bytes:
    """Enough CBOR (RFC 8949) for {"__type": code, "message": message}: no service here speaks it, a refusal must."""
    texts = (text.encode() for text in ("__type", code, "message", message))
    return b"\xa2" + b"".join(b"\x79" + len(text).to_bytes(2, "big") + text for text in texts)
