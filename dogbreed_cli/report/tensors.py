"""What smdebug's hook saved, read without smdebug: tensors of the losses, weights and gradients, step by step.

    <folder>/events/<step>/<step>_<worker>.tfevents     TFRecord frames, each a protobuf Event with one tensor
    <folder>/collections/<number>/<worker>_collections.json    which tensor belongs to which collection

Written by smdebug 1.0.34 (core/tfevent/event_file_writer.py, util.py; core/writer.py; core/reductions.py). An event
holds all that its index file would point at, so the index is not needed. A killed job leaves files cut off anywhere
and files that still end in `.tmp`: what can be read of them is read, the rest is said in `Tensors.problems`.
"""

import json
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MODES = {1: "TRAIN", 2: "EVAL", 3: "PREDICT", 4: "GLOBAL"}
REDUCTION = re.compile(r"smdebug/reductions/([^/]+)/(.+)", re.DOTALL)
# smdebug's own for PyTorch (pytorch/collection.py), for a job that was killed before it wrote its collections.
PATTERNS = {
    "losses": r"[Ll]oss_(?!input).*output",
    "gradients": r"^gradient",
    "weights": r"^(?!gradient).*weight",
    "biases": r"^(?!gradient).*bias",
}
# TensorFlow's types.proto. smdebug's reader has no more than these, and reads int8 as uint8.
DTYPES = {
    1: np.float32, 2: np.float64, 3: np.int32, 4: np.uint8, 5: np.int16, 6: np.int8, 8: np.complex64, 9: np.int64,
    10: np.bool_, 17: np.uint16, 18: np.complex128, 19: np.float16, 22: np.uint32, 23: np.uint64,
}  # fmt: skip


@dataclass(frozen=True)
class Point:
    """A tensor at one step. `step` counts the steps of `mode` (TRAIN, EVAL), as smdebug does.

    `value` is None where only reductions were saved; those have smdebug's names: mean, abs_mean, min, max, std, l2.
    """

    step: int
    mode: str
    value: np.ndarray | None
    reductions: Mapping[str, float]


@dataclass(frozen=True)
class Tensors:
    """By name of the tensor its points in the order of saving. `why`: why there are none."""

    points: Mapping[str, tuple[Point, ...]]
    collections: Mapping[str, tuple[str, ...]]
    why: str | None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Saved:
    """One tensor of an event file; `reduction` is None for the tensor itself."""

    name: str
    reduction: str | None
    mode: str
    step: int
    value: np.ndarray


def read_tensors(folder: Path) -> Tensors:
    if not folder.is_dir():
        return Tensors({}, {}, f"There is no {folder.name}: the job had no debugger hook, or saved nothing.")
    files = sorted(folder.glob("events/*/*.tfevents*"))
    problems: list[str] = []
    points: dict[str, dict[tuple[str, int], Point]] = {}
    for path in files:
        # Like smdebug: of several workers the first one's, within a file what was written last.
        of_file: dict[str, dict[tuple[str, int], Point]] = {}
        for saved in read_events(path, problems):
            add(of_file.setdefault(saved.name, {}), saved)
        for name, found in of_file.items():
            known = points.setdefault(name, {})
            for key, point in found.items():
                known.setdefault(key, point)
    names = {name: tuple(found.values()) for name, found in sorted(points.items())}
    why = None if names else explain(folder, files)
    return Tensors(names, read_collections(folder, names, problems), why, tuple(problems))


def explain(folder: Path, files: list[Path]) -> str:
    if files:
        return (
            f"The {len(files)} event file(s) in {folder.name} hold no whole tensor: the job ended while it wrote them."
        )
    return f"{folder.name} holds no tensors: the job ended before the first saving, or the hook saw no step."


def add(points: dict[tuple[str, int], Point], saved: Saved) -> None:
    key = (saved.mode, saved.step)
    known = points.get(key) or Point(saved.step, saved.mode, None, {})
    if saved.reduction is None:
        points[key] = Point(known.step, known.mode, saved.value, known.reductions)
    else:
        number = float(saved.value.reshape(-1)[0].real) if saved.value.size else float("nan")
        points[key] = Point(known.step, known.mode, known.value, {**known.reductions, saved.reduction: number})


def read_events(path: Path, problems: list[str]) -> Iterator[Saved]:
    """The tensors of one file, up to where it is cut off or broken."""
    try:
        data = memoryview(path.read_bytes())
        for frame in frames(data):
            yield from parse_event(frame)
    except (OSError, ValueError, TypeError, LookupError, OverflowError, struct.error) as error:
        problems.append(f"{path.name} could be read only in part ({error}).")


def frames(data: memoryview) -> Iterator[memoryview]:
    """TFRecord: length (8 bytes), its checksum (4), the payload, its checksum (4)."""
    at = 0
    while at < len(data):
        if len(data) - at < 12:
            raise ValueError("cut off in the head of a record")
        (length,) = struct.unpack_from("<Q", data, at)
        if length > len(data) - at - 16:
            raise ValueError("cut off within a record")
        yield data[at + 12 : at + 12 + length]
        at += 16 + length


def parse_event(data: memoryview) -> Iterator[Saved]:
    """Event{2: step, 5: Summary{1: Value{1: tag, 8: tensor, 9: metadata{1: PluginData{1: name, 2: content}}}}}."""
    event = dict(fields(data))
    for number, value in fields(event.get(5, b"")):
        found = dict(fields(value)) if number == 1 else {}
        if 8 not in found:
            continue
        step, mode = event.get(2, 0), 4
        for _, plugin in fields(found.get(9, b"")):
            said = dict(fields(plugin))
            if bytes(said.get(1, b"")) == b"mode_step":
                step = int(bytes(said[2]))
            elif bytes(said.get(1, b"")) == b"mode":
                mode = int(bytes(said[2]))
        array = parse_tensor(found[8])
        if array is not None:
            tag = bytes(found[1]).decode()
            match = REDUCTION.search(tag)
            name, reduction = (match[2], match[1]) if match else (tag, None)
            yield Saved(name, reduction, MODES[mode], step, array)


def parse_tensor(data: memoryview) -> np.ndarray | None:
    """TensorProto{1: dtype, 2: shape{2: Dim{1: size}}, 4: content}; None for text, which is no tensor of training."""
    found = dict(fields(data))
    if found.get(1) not in DTYPES:
        return None
    # A size of 0 is protobuf's default and not written.
    shape = [dict(fields(dim)).get(1, 0) for number, dim in fields(found.get(2, b"")) if number == 2]
    return np.frombuffer(found.get(4, b""), DTYPES[found[1]]).reshape(shape)


def fields(data: memoryview | bytes) -> Iterator[tuple[int, Any]]:
    """Protobuf's wire format: (field number, value); an int for varints, bytes for all else."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = varint(data, at)
            yield key >> 3, value
            continue
        if wire == 2:
            size, at = varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"a protobuf field of the unknown type {wire}")
        if size > len(data) - at:
            raise ValueError("cut off within a field")
        yield key >> 3, data[at : at + size]
        at += size


def varint(data: memoryview | bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def read_collections(
    folder: Path, names: Mapping[str, tuple[Point, ...]], problems: list[str]
) -> dict[str, tuple[str, ...]]:
    """Collections with a saved tensor. Like smdebug: the names that it noted, and those that match its patterns."""
    said: dict[str, tuple[set[str], list[str]]] = {}
    for path in sorted(folder.glob("collections/*/*_collections.json*")):
        try:
            for collection, content in json.loads(path.read_text(encoding="utf-8"))["collections"].items():
                noted, patterns = said.setdefault(collection, (set(), []))
                noted.update(content.get("tensor_names") or ())
                patterns.extend(content.get("include_regex") or ())
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            problems.append(f"{path.name} cannot be read ({error!r}).")
    if names and not said:
        problems.append("The job wrote no list of collections: tensors were told apart by their names.")
        said = {collection: (set(), [pattern]) for collection, pattern in PATTERNS.items()}
    found = {}
    for collection, (noted, patterns) in sorted(said.items()):
        members = tuple(name for name in names if name in noted or any(re.search(p, name) for p in patterns))
        if members:
            found[collection] = members
    return found
