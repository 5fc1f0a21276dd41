"""What the profiler wrote: system metrics and the timeline, read back. In AWS's formats, so AWS's own files read too.

    <folder>/system/incremental/YYYYMMDDHH/<epoch minute>.<node>.json           one JSON object a line
    <folder>/framework/pevents/YYYYMMDDHH/<end, microseconds>_<node>_<kind>.json    Chrome trace events, a JSON array

System metrics are, as (type, name, dimension): (cpu, cpu0, CPUUtilization) and (cpu, cpu0, I/OWaitPercentage) per
core, (gpu, gpu0, GPUUtilization) and (gpu, gpu0, GPUMemoryUtilization), (memory, MemoryUsedPercent, ""),
(network, ReceiveBytesPerSecond, Algorithm), (i/o, ReadThroughputInBytesPerSecond, ""): percent, or bytes a second.
A killed job leaves a last line that is half a line, and an array without its end.
"""

import json
import math
import re
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

TIMELINE = re.compile(r"\d+_(?P<node>.+)_[a-z]+_?timeline\.json")


@dataclass(frozen=True, slots=True)
class Sample:
    """One number of one instance of a resource at `timestamp`, epoch seconds."""

    type: str
    name: str
    dimension: str
    node: str
    value: float
    timestamp: float


@dataclass(frozen=True, slots=True)
class Event:
    """What ran on `node` from `start`, epoch seconds, for `seconds`. Categories: phase, step, part."""

    name: str
    category: str
    node: str
    start: float
    seconds: float
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Profile:
    """Samples and events in the order of time. `why`: why there are none of either."""

    samples: tuple[Sample, ...]
    events: tuple[Event, ...]
    why: str | None
    problems: tuple[str, ...]

    @cached_property
    def metrics(self) -> dict[str, dict[tuple[str, str], "tuple[array[float], array[float]]"]]:
        """By dimension and then (node, name) the times and values; sorted out once for all rules."""
        found: dict[str, dict[tuple[str, str], tuple[array[float], array[float]]]] = {}
        for sample in self.samples:
            instances = found.setdefault(sample.dimension, {})
            times, values = instances.setdefault((sample.node, sample.name), (array("d"), array("d")))
            times.append(sample.timestamp)
            values.append(sample.value)
        return found


def read_profile(folder: Path) -> Profile:
    if not folder.is_dir():
        return Profile((), (), f"There is no {folder.name}: the job ran without the profiler.", ())
    problems: list[str] = []
    samples: list[Sample] = []
    events: list[Event] = []
    for path in sorted(folder.glob("system/**/*.json")):
        samples += read_samples(path, problems)
    for path in sorted(folder.glob("framework/pevents/**/*.json")):
        events += read_timeline(path, problems)
    samples.sort(key=lambda sample: sample.timestamp)
    events.sort(key=lambda event: event.start)
    why = None if samples or events else f"{folder.name} holds neither system metrics nor a timeline."
    return Profile(tuple(samples), tuple(events), why, tuple(problems))


def read_samples(path: Path, problems: list[str]) -> list[Sample]:
    found = []
    bad: list[int] = []
    lines = read_text(path, problems).splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            found.append(parse_sample(json.loads(line)))
        except (ValueError, KeyError, TypeError):
            bad.append(number)
    # The last line of a killed job is not worth a word, one in the middle is.
    lost = [number for number in bad if number != len(lines)]
    if lost:
        problems.append(f"{path.name}: {len(lost)} line(s) left out that cannot be read, the first is line {lost[0]}.")
    return found


def parse_sample(line: Mapping[str, Any]) -> Sample:
    value, timestamp = float(line["Value"]), float(line["Timestamp"])
    if not (math.isfinite(value) and math.isfinite(timestamp)):
        raise ValueError("not a finite number")
    return Sample(
        line["Type"], line.get("Name") or "", line.get("Dimension") or "", line.get("NodeId") or "", value, timestamp
    )


def read_timeline(path: Path, problems: list[str]) -> list[Event]:
    """Times in a file count from the start that its metadata events name; smdebug's file names the node."""
    match = TIMELINE.fullmatch(path.name)
    node, start = match["node"] if match else "", None
    processes: dict[Any, str] = {}
    found = []
    bad = 0
    for record in read_array(path, problems):
        try:
            args = record.get("args") or {}
            if record["ph"] == "M":
                start = args.get("start_time_since_epoch_in_micros", start)
                if record["name"] == "process_name" and "name" in args:
                    processes[record["pid"]] = args["name"]
            elif record["ph"] == "X" and start is not None:
                category = record.get("cat") or processes.get(record.get("pid"), "")
                began, lasted = (start + float(record["ts"])) / 1e6, float(record["dur"]) / 1e6
                found.append(Event(record["name"], category, node, began, lasted, args))
            elif record["ph"] == "X":
                bad += 1
        except (KeyError, TypeError, ValueError, AttributeError):
            bad += 1
    if bad:
        problems.append(f"{path.name}: {bad} event(s) left out that cannot be read or have no start time.")
    return found


def read_array(path: Path, problems: list[str]) -> list[Any]:
    text = read_text(path, problems)
    try:
        records = json.loads(text)
    except ValueError:
        records = list(whole_records(text))
        problems.append(f"{path.name} is cut off after {len(records)} records.")
    if isinstance(records, dict):  # the other form of Chrome's trace files
        records = records.get("traceEvents")
    if not isinstance(records, list):
        problems.append(f"{path.name} holds no list of trace events.")
        return []
    return records


def whole_records(text: str) -> Iterator[Any]:
    """The values of a JSON array that has no end, up to the first that is not whole."""
    decoder = json.JSONDecoder()
    at = text.find("[") + 1
    while at:
        while text[at : at + 1] in (",", " ", "\n", "\r", "\t"):
            at += 1
        try:
            value, at = decoder.raw_decode(text, at)
        except ValueError:
            return
        yield value


def read_text(path: Path, problems: list[str]) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        problems.append(f"{path.name} cannot be read ({error}).")
        return ""
