"""XML <-> boto3-style values, by a botocore shape: the bodies of S3 (rest-xml) and of STS and IAM (query answers)."""

import re
from functools import cache
from typing import Any, NamedTuple
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from dogbreed_cli.local.wire_text import parse_text, serialize_text

_PLAIN = {"boolean", "integer", "long", "float", "double", "timestamp"}
_SPECIAL = re.compile("[&<>\r]")


def serialize_xml(shape: Any, value: Any, name: str) -> str:
    """One element (or several, for a flattened list or map) called `name`."""
    match shape.type_name:
        case "structure":
            return _structure(shape, value, name)
        case "list":
            flattened = shape.serialization.get("flattened")
            item_name = name if flattened else shape.member.serialization.get("name") or "member"
            return _wrapped(name, flattened, [serialize_xml(shape.member, item, item_name) for item in value])
        case "map":
            flattened = shape.serialization.get("flattened")
            key_name = shape.key.serialization.get("name", "key")
            value_name = shape.value.serialization.get("name", "value")
            entry = name if flattened else "entry"
            entries = (serialize_xml(shape.key, k, key_name) + serialize_xml(shape.value, v, value_name)
                       for k, v in value.items())  # fmt: skip
            return _wrapped(name, flattened, [f"<{entry}>{both}</{entry}>" for both in entries])
    return f"<{name}>{_escape(serialize_text(shape, value, 'iso8601'))}</{name}>"


def _escape(text: str) -> str:
    # A carriage return would be read back as a newline; S3's keys may hold one.
    return escape(text, {"\r": "&#xD;"}) if _SPECIAL.search(text) else text


def _structure(shape: Any, value: dict[str, Any], name: str) -> str:
    attributes, children = "", ""
    members = _members(shape)
    for key, member_value in value.items():
        member = members[key]
        if member_value is None or member.is_elsewhere:
            continue
        if member.attribute:
            attributes += f" {member.attribute}={quoteattr(member_value)}"
        elif isinstance(member_value, str):  # most are: a hot loop
            children += f"<{member.element}>{_escape(member_value)}</{member.element}>"
        elif member.is_plain:
            children += f"<{member.element}>{serialize_text(member.shape, member_value, 'iso8601')}</{member.element}>"
        else:
            children += serialize_xml(member.shape, member_value, member.element)
    namespace = shape.serialization.get("xmlNamespace", {})
    if attributes and "prefix" in namespace:
        attributes = f" xmlns:{namespace['prefix']}={quoteattr(namespace['uri'])}{attributes}"
    return f"<{name}{attributes}>{children}</{name}>"


class Member(NamedTuple):
    shape: Any
    element: str
    attribute: str  # its name, of one that stands in the structure's own tag
    is_plain: bool  # a number, a truth value or a time, whose text has nothing to escape
    is_elsewhere: bool  # in a header, say


@cache  # a listing has a thousand structures of one shape
def _members(shape: Any) -> dict[str, Member]:
    return {
        key: Member(
            member,
            element_name(member, key),
            member.serialization["name"] if member.serialization.get("xmlAttribute") else "",
            member.type_name in _PLAIN,
            "location" in member.serialization,
        )
        for key, member in shape.members.items()
    }


def _wrapped(name: str, flattened: bool, elements: list[str]) -> str:
    return "".join(elements) if flattened else f"<{name}>{''.join(elements)}</{name}>"


def element_name(shape: Any, member_name: str) -> str:
    """What a structure calls a member's element: a flattened list goes by the name of its items."""
    if shape.type_name == "list" and shape.serialization.get("flattened"):
        item_name = shape.member.serialization.get("name")
        if item_name:
            return str(item_name)
    return str(shape.serialization.get("name", member_name))


def parse_xml(shape: Any, text: bytes) -> Any:
    """The value of a document's root element. Raises ElementTree.ParseError."""
    return _parse_element(shape, ElementTree.fromstring(text))


def _parse_element(shape: Any, element: Any) -> Any:
    if shape.type_name == "structure":
        return _parse_structure(shape, element)
    if shape.type_name == "list":
        # A flattened list is given as the list of its elements, another one as the element around them.
        return [_parse_element(shape.member, item) for item in element]
    if shape.type_name == "map":
        key_name = shape.key.serialization.get("name", "key")
        value_name = shape.value.serialization.get("name", "value")
        entries = ({_tag(child): child for child in entry} for entry in element)
        return {
            _parse_element(shape.key, entry[key_name]): _parse_element(shape.value, entry[value_name])
            for entry in entries
        }
    return parse_text(shape, element.text or "")


def _parse_structure(shape: Any, element: Any) -> dict[str, Any]:
    children: dict[str, list[Any]] = {}
    for child in element:
        children.setdefault(_tag(child), []).append(child)
    parsed = {}
    for name, member in shape.members.items():
        if member.serialization.get("xmlAttribute"):
            wanted = member.serialization["name"].split(":")[-1]
            found = [text for key, text in element.attrib.items() if re.sub(r"{.*}", "", key) == wanted]
            if found:
                parsed[name] = found[0]
            continue
        elements = children.get(element_name(member, name))
        if elements:
            flattened = member.serialization.get("flattened")
            parsed[name] = _parse_element(member, elements if flattened else elements[0])
    return parsed


def _tag(element: Any) -> str:
    return re.sub(r"{.*}", "", element.tag)
