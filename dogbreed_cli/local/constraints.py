"""What a service's model asks of a request beyond its types, checked and worded as SageMaker does.

botocore's client checks types, required members and minima; patterns, enums and maxima are left to the service.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from botocore.model import OperationModel, Shape

from dogbreed_cli.local.errors import AwsError


def validate(operation_model: OperationModel, request: dict[str, Any], code: str = "ValidationException") -> None:
    """Raise AwsError(code) that lists every member of `request` that breaks the operation's model."""
    if operation_model.input_shape is None:
        return
    errors = list(_violations(operation_model.input_shape, request, ""))
    if errors:
        count = f"{len(errors)} validation error{'s' * (len(errors) > 1)} detected"
        raise AwsError(code, f"{count}: {'; '.join(errors)}")


def _violations(shape: Any, value: Any, path: str) -> Iterator[str]:
    shown = "Value" if shape.metadata.get("sensitive") else f"Value '{_show(value)}'"
    for constraint in _broken(shape, value):
        yield f"{shown} at '{path}' failed to satisfy constraint: {constraint}"
    if shape.type_name == "structure":
        prefix = f"{path}." if path else ""
        for name in shape.required_members:
            if value.get(name) is None:
                member = prefix + _lower_first(name)
                yield f"Value null at '{member}' failed to satisfy constraint: Member must not be null"
        for name, member_value in value.items():
            if name in shape.members:
                yield from _violations(shape.members[name], member_value, prefix + _lower_first(name))
    elif shape.type_name == "list":
        for number, item in enumerate(value, 1):
            yield from _violations(shape.member, item, f"{path}.{number}.member")
    elif shape.type_name == "map":
        for key, item in value.items():
            # AWS prints the whole map here; values may be secrets (Environment), so only the key is shown.
            entry = f"Value '{{{key}=...}}' at '{path}' failed to satisfy constraint: "
            if any(_broken(shape.key, key)):
                yield f"{entry}Map keys must satisfy constraint: [{', '.join(_described(shape.key))}]"
            if isinstance(item, str):
                if any(_broken(shape.value, item)):
                    yield f"{entry}Map value must satisfy constraint: [{', '.join(_described(shape.value))}]"
            else:
                yield from _violations(shape.value, item, f"{path}.{key}.member")


def _broken(shape: Shape, value: Any) -> Iterator[str]:
    """The constraints of this shape itself (not of its members) that the value does not satisfy."""
    limits, type_name = shape.metadata, shape.type_name
    if type_name in ("integer", "long", "float", "double"):
        size, what = value, "value"
    elif type_name in ("string", "list", "map", "blob") and hasattr(value, "__len__"):
        size, what = len(value), "length"
    else:
        return
    if "max" in limits and size > limits["max"]:
        yield f"Member must have {what} less than or equal to {limits['max']}"
    if "min" in limits and size < limits["min"]:
        yield f"Member must have {what} greater than or equal to {limits['min']}"
    if type_name != "string":
        return
    enum = getattr(shape, "enum", None)
    if enum and value not in enum:
        yield f"Member must satisfy enum value set: [{', '.join(enum)}]"
    pattern = _compile(limits["pattern"]) if "pattern" in limits else None
    if pattern and not pattern.fullmatch(value):
        yield f"Member must satisfy regular expression pattern: {limits['pattern']}"


def _described(shape: Shape) -> Iterator[str]:
    """All constraints of a map's key or value: AWS lists them all, broken or not."""
    if "max" in shape.metadata:
        yield f"Member must have length less than or equal to {shape.metadata['max']}"
    if "min" in shape.metadata:
        yield f"Member must have length greater than or equal to {shape.metadata['min']}"
    if "pattern" in shape.metadata:
        yield f"Member must satisfy regular expression pattern: {shape.metadata['pattern']}"


@cache
def _compile(pattern: str) -> re.Pattern[str] | None:
    """None for what Java's regular expressions know and Python's do not (\\p{L}); AWS would check those, we do not."""
    try:
        return re.compile(pattern)
    except re.error:
        return None


def _show(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}=..." for key in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_show(item) for item in value) + "]"
    return str(value)


def _lower_first(name: str) -> str:
    return name[:1].lower() + name[1:]
