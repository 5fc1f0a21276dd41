"""Object keys <-> file names: the key `data/train/x.jpg` is the file `data/train/x.jpg` under its bucket's folder.

A segment that is no file name is escaped as %XX, reversibly, so that no key leaves its folder. Three marks use bytes
that UTF-8 never has, so no key can produce them: %FF is an empty segment (`a//b`, `a/`), %FE at the end of a name an
object that stands beside a folder of the same name (`a` and `a/b`), %FD joins the pieces of an over-long segment.
"""

from __future__ import annotations

import os
import re
import time
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

EMPTY, BESIDE, JOIN = "%FF", "%FE", "%FD"
_LONGEST = 240  # bytes of a name: file systems take 255, marks and suffixes want some
_ESCAPE = re.compile(r"%([0-9A-F]{2})")
_PAGE = 1000  # keys that S3 lists at once
SETTLED_NS = 2_000_000_000  # longer than the steps in which any file system tells the time
_Entries = list[tuple[bytes, str, bool]]  # what the keys begin with, path, whether it is a folder
# Of the folder that is being listed page by page: what shows that it changed, and its entries.
_KEPT: dict[str, tuple[tuple[int, ...], tuple[_Entries, bool]]] = {}


def encode_key(key: str) -> str:
    """The path of a key, relative to its bucket's folder."""
    return "/".join(_encode_segment(segment) for segment in key.split("/"))


def _encode_segment(segment: str) -> str:
    if segment == "":
        return EMPTY
    if 4 * len(segment) <= _LONGEST and "%" not in segment and "\0" not in segment:  # most are: a hot loop
        return _encode_dots(segment)
    # A lone % stays as it is: only what would be read back as an escape needs one.
    name = re.sub(r"%(?=[0-9A-F]{2})", "%25", segment).replace("\0", "%00")
    if len(name.encode()) > _LONGEST:
        return f"{JOIN}/".join(_encode_dots(piece) for piece in _split_name(name))
    return _encode_dots(name)


def _encode_dots(name: str) -> str:
    return name.replace(".", "%2E") if name in (".", "..") else name


def _split_name(name: str) -> Iterator[str]:
    piece, size = "", 0
    for unit in re.findall(r"%[0-9A-F]{2}|.", name, re.DOTALL):
        if size + len(unit.encode()) > _LONGEST:
            yield piece
            piece, size = "", 0
        piece, size = piece + unit, size + len(unit.encode())
    yield piece


def _decode_name(name: str) -> bytes | None:
    """The bytes of a segment; None for a name that encode_key would never write (put there by hand)."""
    try:
        if "%" not in name:
            return name.encode()
        if name == EMPTY:
            return b""
        text = _ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), name)
        return text.encode() if _encode_segment(text) == name or _encode_dots(text) == name else None
    except UnicodeEncodeError:
        return None


def walk_keys(folder: str, prefix: bytes = b"", after: bytes = b"", base: bytes = b"") -> Iterator[tuple[bytes, str]]:
    """(key, file) of the objects under a folder, in the order of the keys' bytes as S3 has it.

    Only keys that begin with `prefix` and come after `after`; folders without any of those are not read. `base` is
    what the keys in `folder` begin with.
    """
    try:
        entries, is_ordered = _list_entries(folder, base)
    except (FileNotFoundError, NotADirectoryError):
        return  # removed meanwhile
    if is_ordered:
        # Past what comes before `after`, or before the folder here that it lies in.
        end = after.find(b"/", len(base))
        entries = entries[bisect_left(entries, (after if end < 0 else after[: end + 1],)) :]
    keys = _walk_entries(entries, prefix, after)
    yield from keys if is_ordered else sorted(keys)
    _KEPT.pop(folder, None)  # that was the last page


def _list_entries(folder: str, base: bytes) -> tuple[_Entries, bool]:
    """The entries of one folder in order, and whether that is the order of all keys below it.

    Of a folder with more than a page of them they are kept for the next page, until the folder changes.
    """
    status = os.stat(folder)  # noqa: PTH116 (a hot loop)
    mark = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
    kept = _KEPT.get(folder)
    if kept and kept[0] == mark:
        return kept[1]
    found = _read_entries(folder, base)
    # One that was changed just now may change again without another time.
    if len(found[0]) > _PAGE and time.time_ns() - status.st_ctime_ns > SETTLED_NS:
        _KEPT.clear()
        _KEPT[folder] = (mark, found)
    return found


def _read_entries(folder: str, base: bytes) -> tuple[_Entries, bool]:
    entries: _Entries = []
    is_ordered = True
    with os.scandir(folder) as found:
        for entry in found:
            name, is_folder = entry.name, entry.is_dir(follow_symlinks=False)
            end = b"/" if is_folder else b""
            if is_folder and name.endswith(JOIN):
                # What follows may sort before or after the folders beside it.
                name, end, is_ordered = name[: -len(JOIN)], b"", False
            elif not is_folder and name.endswith(BESIDE):
                name = name[: -len(BESIDE)]
                if os.path.isfile(os.path.join(folder, name)):  # noqa: PTH113, PTH118 (a hot loop)
                    continue
            segment = _decode_name(name)
            if segment is not None:
                entries.append((base + segment + end, entry.path, is_folder))
    entries.sort()
    return entries, is_ordered


def _walk_entries(entries: _Entries, prefix: bytes, after: bytes) -> Iterator[tuple[bytes, str]]:
    for key, path, is_folder in entries:
        if is_folder:
            may_match = key.startswith(prefix) or prefix.startswith(key)
            if may_match and (key > after or after.startswith(key)):
                yield from walk_keys(path, prefix, after, key)
        elif key.startswith(prefix) and key > after:
            yield key, path


def find_file(folder: Path, key: str) -> Path:
    """The file of a key; where there is none, the file that it would be."""
    path = folder / encode_key(key)
    beside = path.with_name(path.name + BESIDE)
    return beside if not path.is_file() and beside.is_file() else path
