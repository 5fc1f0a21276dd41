"""XML <-> boto3-style values, by a botocore shape: the bodies of S3 (rest-xml) and of STS and IAM (query answers)."""

import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from dogbreed_cli.local.wire_text import parse_text, serialize_text


def serialize_xml(shape: Any, value: Any, name: str) -> str:
    """One element (or several, for a flattened list or map) called `name`."""
    return "".join(_elements(shape, value, name))


def _elements(shape: Any, value: Any, name: str) -> Iterator[str]:
    flattened = shape.serialization.get("flattened")
    if shape.type_name == "structure":
        yield from _structure(shape, value, name)
    elif shape.type_name == "list":
        item_name = shape.member.serialization.get("name")
        items = name if flattened else item_name or "member"
        yield from _wrapped(name, flattened, (e for item in value for e in _elements(shape.member, item, items)))
    elif shape.type_name == "map":
        key_name = shape.key.serialization.get("name", "key")
        value_name = shape.value.serialization.get("name", "value")
        entry = name if flattened else "entry"
        yield from _wrapped(
            name,
            flattened,
            (
                f"<{entry}>{serialize_xml(shape.key, k, key_name)}{serialize_xml(shape.value, v, value_name)}</{entry}>"
                for k, v in value.items()
            ),
        )
    else:
        # A carriage return would be read back as a newline; S3's keys may hold one.
        text = escape(serialize_text(shape, value, "iso8601"), {"\r": "&#xD;"})
        yield f"<{name}>{text}</{name}>"


def _structure(shape: Any, value: dict[str, Any], name: str) -> Iterator[str]:
    attributes, children = "", []
    for key, member_value in value.items():
        member = shape.members[key]
        if member_value is None or "location" in member.serialization:
            continue
        if member.serialization.get("xmlAttribute"):
            attributes += f" {member.serialization['name']}={quoteattr(member_value)}"
        else:
            children.append(serialize_xml(member, member_value, element_name(member, key)))
    namespace = shape.serialization.get("xmlNamespace", {})
    if attributes and "prefix" in namespace:
        attributes = f" xmlns:{namespace['prefix']}={quoteattr(namespace['uri'])}{attributes}"
    yield f"<{name}{attributes}>{''.join(children)}</{name}>"


def _wrapped(name: str, flattened: bool, elements: Iterator[str]) -> Iterator[str]:
    if flattened:
        yield from elements
    else:
        yield f"<{name}>{''.join(elements)}</{name}>"


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
