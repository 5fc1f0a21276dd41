"""config.example.toml with settings written into it: in place, every comment kept, the rest as it stands there.

text = fill(example, {"target": "aws", "train": {"epochs": 3}, "tune": {"ranges": {"lr": {"min": 0.1, "max": 0.2}}}})
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

Path = tuple[str, ...]
HEADER = re.compile(r"\[([\w.-]+)\]")
SETTING = re.compile(r"(?:# )?([\w-]+) = (.*)")
COMMENT_COLUMN = 40
RANGES = ("tune", "ranges")


def fill(example: str, settings: Mapping[str, Any]) -> str:
    """`settings` are nested as in the file. A range that is given is the whole range: other keys are commented out."""
    lines = example.splitlines()
    for table, values in tables(settings, ()):
        is_range = table[: len(RANGES)] == RANGES
        if is_range:
            comment_out(lines, table, values)
        for key, value in values.items():
            write(lines, table, key, format_value(value))
    return "\n".join(lines) + "\n"


def tables(settings: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """(name, own keys) of every table. Below the sections only ranges are tables; tags, say, stand in one line."""
    nested = {
        key: value
        for key, value in settings.items()
        if isinstance(value, Mapping) and (not path or (*path, key)[: len(RANGES)] == RANGES)
    }
    if own := {key: value for key, value in settings.items() if key not in nested}:
        yield path, own
    for key, value in nested.items():
        yield from tables(value, (*path, key))


def find_table(lines: list[str], table: Path) -> range | None:
    """Its lines without the header, up to the last that is not empty."""
    starts = {(): 0} | {
        tuple(header[1].split(".")): place for place, line in enumerate(lines, 1) if (header := HEADER.fullmatch(line))
    }
    if table not in starts:
        return None
    end = min((start - 1 for start in starts.values() if start > starts[table]), default=len(lines))
    while end > starts[table] and not lines[end - 1].strip():
        end -= 1
    return range(starts[table], end)


def write(lines: list[str], table: Path, key: str, value: str) -> None:
    """Set a key where it stands, perhaps in a comment; else at the end of its table, which is made if need be."""
    found = find_table(lines, table)
    if found is None:
        last = max(place for place, line in enumerate(lines) if line.startswith(f"[{'.'.join(table[:-1])}."))
        end = find_table(lines, tuple(lines[last].strip("[]").split(".")))
        assert end is not None
        lines[end.stop : end.stop] = ["", f"[{'.'.join(table)}]", f"{key} = {value}"]
        return
    for place in found:
        if (setting := SETTING.fullmatch(lines[place])) and setting[1] == key:
            lines[place] = f"{key} = {value}"
            if comment := find_comment(setting[2]):
                lines[place] = f"{lines[place]:<{COMMENT_COLUMN - 1}} {comment}"
            return
    lines.insert(found.stop, f"{key} = {value}")


def comment_out(lines: list[str], table: Path, kept: Mapping[str, Any]) -> None:
    for place in find_table(lines, table) or ():
        setting = SETTING.fullmatch(lines[place])
        if setting and setting[1] not in kept and not lines[place].startswith("#"):
            lines[place] = f"# {lines[place]}"


def find_comment(text: str) -> str:
    """What follows the value in `"a # b" # comment`."""
    for place in (match.start() for match in re.finditer("#", text)):
        try:
            tomllib.loads(f"value = {text[:place]}")
        except tomllib.TOMLDecodeError:
            continue
        return text[place:]
    return ""


def format_value(value: Any) -> str:
    """A value in TOML, on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{format_value(str(key))} = {format_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(format_value, value)) + "]"
    if isinstance(value, str):  # JSON's escapes are TOML's, which has one more
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)
