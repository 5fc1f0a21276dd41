"""The kinds of values that settings have, as types that msgspec takes: a value read as its kind, a kind in words.

read({"epochs": 3}, Train)                  -> Train(epochs=3, ...)
read_text("3", int)                         -> 3
next(find_mistakes({"epochs": 0}, Train))   -> epochs = 0: must be a whole number from 1 to 1000
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

from msgspec import Meta, Struct, ValidationError, convert
from msgspec.structs import fields

NOUNS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", tuple: "a list"}
LIMITS = {
    "gt": "greater than {}",
    "ge": "of at least {}",
    "lt": "less than {}",
    "le": "of at most {}",
    "min_length": "of at least {}",
    "max_length": "of at most {}",
}


class Mistake(NamedTuple):
    path: tuple[str, ...]
    value: Any
    why: str
    known: tuple[str, ...] = ()
    """The keys that are allowed, where this one is unknown."""


def read(value: Any, kind: Any) -> Any:
    """Raises msgspec's ValidationError, which does not say where in a dict: find_mistakes does."""
    try:
        return convert(value, kind, dec_hook=lambda kind, text: kind(text))
    except UnicodeError:  # a command line may hold bytes that are no text
        raise ValidationError("not UTF-8") from None


def read_text(value: Any, kind: Any) -> Any:
    """What was typed in a shell, as a number or as true or false where one is wanted: "3", ".5", "1_000", "True", "1".

    What cannot be read so stays as it is, for `read` to refuse.
    """
    if isinstance(value, Mapping):
        return {key: read_text(item, kind_below(kind, key)) for key, item in value.items()}
    bare, _ = unwrap(kind)
    members = get_args(bare) or (bare,)
    if isinstance(value, str) and (int in members or float in members) and str not in members:
        for number in (int, float):  # these know more of them than JSON
            with suppress(ValueError):
                value = number(value)
                break
    with suppress(ValidationError, UnicodeError):
        found = convert(value, kind, strict=False)
        return found if isinstance(found, int) else value  # or a bool, which Python counts among them
    return value


def find_mistakes(value: Any, kind: Any, path: tuple[str, ...] = ()) -> Iterator[Mistake]:
    """Where `value` is not of this kind, in the order in which it was given; what is in a table before the table."""
    try:
        read(value, kind)
    except ValidationError as error:
        bare, _ = unwrap(kind)
        if isinstance(value, Mapping) and is_table(kind):
            for key, item in value.items():
                if (inner := kind_below(kind, key)) is None:
                    yield Mistake((*path, key), item, "", bare.__struct_fields__)
                    continue
                if get_origin(bare) is dict:
                    yield from find_mistakes(key, get_args(bare)[0], (*path, key))
                yield from find_mistakes(item, inner, (*path, key))
        if isinstance(value, (list, tuple)) and get_origin(bare) is tuple:
            for item in value:
                yield from find_mistakes(item, get_args(bare)[0], path)
        check = error.__cause__  # of a __post_init__
        yield Mistake(path, value, str(check) if isinstance(check, ValueError) else f"must be {describe(kind)}")


def unwrap(kind: Any) -> tuple[Any, Meta | None]:
    """`Annotated[int, Meta(ge=1)] | None` -> int, Meta(ge=1)"""
    given = [member for member in get_args(kind) if member is not NoneType]
    if NoneType in get_args(kind) and len(given) == 1:
        return unwrap(given[0])
    return (given[0], given[1]) if get_origin(kind) is Annotated else (kind, None)


def is_table(kind: Any) -> bool:
    bare, _ = unwrap(kind)
    return get_origin(bare) is dict or (isinstance(bare, type) and issubclass(bare, Struct))


def is_list(kind: Any) -> bool:
    return get_origin(unwrap(kind)[0]) is tuple


def kind_below(kind: Any, key: str) -> Any:
    """Of what kind a key of a table is; None where there is no such key, or no table."""
    bare, _ = unwrap(kind)
    if get_origin(bare) is dict:
        return get_args(bare)[1]
    return kinds_of(bare).get(key) if is_table(bare) else None


@cache
def kinds_of(table: type[Struct]) -> dict[str, Any]:
    """The keys of a section, each with its kind."""
    return {field.name: field.type for field in fields(table)}


def describe(kind: Any) -> str:
    """What is allowed, in words that go on from "must be"."""
    bare, meta = unwrap(kind)
    if meta is not None and meta.description:
        return meta.description
    if get_origin(bare) is Literal:
        *most, last = map(repr, get_args(bare))
        return f"{', '.join(most)} or {last}"
    if isinstance(bare, type) and issubclass(bare, Struct):
        return f"a table, in which {fields(bare)[0].name} is a key"
    noun = "a table" if is_table(bare) else NOUNS.get(get_origin(bare) or bare, "a path")
    limits = {name: limit for name in LIMITS if (limit := getattr(meta, name, None)) is not None}
    if {"ge", "le"} <= limits.keys():
        return f"{noun} from {limits['ge']} to {limits['le']}"
    return f"{noun} {' and '.join(LIMITS[name].format(limit) for name, limit in limits.items())}".rstrip()
