"""Scalars <-> text, by a botocore shape: what stands in headers, in URLs, in forms and in XML elements."""

import base64
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from botocore.utils import parse_timestamp


def parse_text(shape: Any, text: str) -> Any:
    match shape.type_name:
        case "boolean":
            return text.lower() == "true"
        case "integer" | "long":
            return int(text)
        case "float" | "double":
            return float(text)
        case "timestamp":
            return parse_time(text)
        case "blob":
            return base64.b64decode(text)
    return text


def serialize_text(shape: Any, value: Any, time_format: str) -> str:
    """`time_format` is the one that the place asks for (iso8601, rfc822) when the shape itself names none."""
    match shape.type_name:
        case "boolean":
            return "true" if value else "false"
        case "timestamp":
            return str(serialize_time(value, shape.serialization.get("timestampFormat", time_format)))
        case "blob":
            return base64.b64encode(value).decode()
    return str(value)


def parse_time(value: str | int | float) -> datetime:
    """Any of AWS's three formats; aware, in UTC."""
    return in_utc(parse_timestamp(value))


def in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is UTC:
        return moment
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def serialize_time(moment: datetime | float, time_format: str) -> str | float:
    if isinstance(moment, int | float):
        moment = datetime.fromtimestamp(moment, UTC)
    moment = in_utc(moment)
    match time_format.lower():
        case "rfc822":
            return format_datetime(moment.replace(microsecond=0), usegmt=True)
        case "iso8601":
            return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    return round(moment.timestamp(), 3)
