"""The reader of system metrics and timelines: AWS's names and layout, several nodes, what a killed job leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dogbreed_cli.report.profile import Event, Sample, read_profile

START = 1_591_160_699.457


def write_samples(folder: Path, node: str, lines: list[dict[str, Any]], minute: int = 1_591_160_640) -> Path:
    path = folder / f"system/incremental/2020060305/{minute}.{node}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def sample(node: str = "algo-1", **changed: Any) -> dict[str, Any]:
    line = {"Type": "cpu", "Name": "cpu0", "Dimension": "CPUUtilization", "Value": 4.76, "NodeId": node}
    return {**line, "Timestamp": START, **changed}


def write_timeline(folder: Path, node: str, events: list[dict[str, Any]], kind: str = "model_timeline") -> Path:
    path = folder / f"framework/pevents/2020060305/1591160700000000_{node}_{kind}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(events))
    return path


def metadata(node: str = "algo-1", start: float = START) -> list[dict[str, Any]]:
    micros = {"start_time_since_epoch_in_micros": round(start * 1e6)}
    return [
        {"name": "process_name", "ph": "M", "pid": 0, "tid": 0, "args": {"name": node}},
        {"name": "start_time", "ph": "M", "pid": 0, "tid": 0, "args": micros},
        {"name": "thread_name", "ph": "M", "pid": 0, "tid": 1, "args": {"name": "steps"}},
    ]


def step(number: int, ts: float, dur: float, mode: str = "TRAIN") -> dict[str, Any]:
    name = f"Step:ModeKeys.{mode}"
    args = {"step_num": str(number)}
    return {"name": name, "cat": "step", "ph": "X", "ts": ts, "dur": dur, "pid": 0, "tid": 1, "args": args}


def test_samples_of_all_nodes_in_the_order_of_time(tmp_path: Path) -> None:
    write_samples(tmp_path, "algo-2", [sample("algo-2", Timestamp=START + 1)])
    write_samples(tmp_path, "algo-1", [sample(Timestamp=START + 2), sample(Dimension="I/OWaitPercentage")])
    write_samples(tmp_path, "algo-1", [sample(Type="memory", Name="MemoryUsedPercent", Dimension="")], 1_591_160_700)
    found = read_profile(tmp_path)
    assert found.why is None
    assert not found.problems
    assert [(s.node, round(s.timestamp - START)) for s in found.samples] == [
        ("algo-1", 0), ("algo-1", 0), ("algo-2", 1), ("algo-1", 2),
    ]  # fmt: skip
    assert found.samples[0] == Sample("cpu", "cpu0", "I/OWaitPercentage", "algo-1", 4.76, START)
    assert found.samples[1].name == "MemoryUsedPercent"


def test_the_timeline_in_epoch_seconds(tmp_path: Path) -> None:
    part = {"name": "data", "cat": "part", "ph": "X", "ts": 2e6, "dur": 5e5, "pid": 0, "tid": 2}
    write_timeline(tmp_path, "algo-1", [*metadata(), part, step(12, 2e6, 1e6)])
    write_timeline(tmp_path, "algo-2-rank1", [*metadata("algo-2-rank1", START - 1), step(3, 1e6, 1e6, "EVAL")])
    found = read_profile(tmp_path)
    assert not found.problems
    assert [(event.node, event.name, event.category) for event in found.events] == [
        ("algo-2-rank1", "Step:ModeKeys.EVAL", "step"),
        ("algo-1", "data", "part"),
        ("algo-1", "Step:ModeKeys.TRAIN", "step"),
    ]
    last = found.events[-1]
    assert (last.start, last.seconds) == pytest.approx((START + 2, 1.0))
    assert last.args == {"step_num": "12"}


def test_a_timeline_of_smdebug(tmp_path: Path) -> None:
    """It has no categories, its processes are phases; the start time stands in the first of them."""
    micros = {"start_time_since_epoch_in_micros": round(START * 1e6)}
    events = [
        {"name": "process_name", "ph": "M", "pid": 0, "args": micros},
        {"name": "process_sort_index", "ph": "M", "pid": 0, "args": {"sort_index": 0}},
        {"name": "process_name", "ph": "M", "pid": 3, "args": {"name": "DataLoaderIter"}},
        {"name": "GetNext", "ph": "X", "ts": 5, "dur": 7, "pid": 3, "args": {"pid": 17}},
    ]
    write_timeline(tmp_path, "123-algo-1", events, "pythontimeline")
    (event,) = read_profile(tmp_path).events
    assert (event.node, event.category, event.args) == ("123-algo-1", "DataLoaderIter", {"pid": 17})
    assert event.seconds == pytest.approx(7e-6)


def test_half_a_last_line_is_no_problem_but_one_in_the_middle_is(tmp_path: Path) -> None:
    path = write_samples(tmp_path, "algo-1", [sample(), sample()])
    path.write_text(path.read_text() + json.dumps(sample())[:40])
    found = read_profile(tmp_path)
    assert (len(found.samples), found.problems) == (2, ())
    lines = [
        json.dumps(sample()),
        "{half",
        '{"Type": "cpu"}',
        json.dumps(sample(Value=float("nan"))),
        json.dumps(sample()),
    ]
    path.write_text("\n".join(lines) + "\n")
    found = read_profile(tmp_path)
    assert len(found.samples) == 2
    assert found.problems == ("1591160640.algo-1.json: 3 line(s) left out that cannot be read, the first is line 2.",)


@pytest.mark.parametrize("cut", range(1, 120, 7))
def test_an_array_cut_off_gives_its_whole_events(tmp_path: Path, cut: int) -> None:
    path = write_timeline(tmp_path, "algo-1", [*metadata(), step(0, 0, 10), step(1, 10, 10)])
    path.write_text(path.read_text()[:-cut])
    found = read_profile(tmp_path)
    assert len(found.events) == (2 if cut == 1 else 1)
    assert len(found.problems) == 1
    assert "cut off" in found.problems[0]


def test_events_without_a_start_are_left_out_aloud(tmp_path: Path) -> None:
    write_timeline(tmp_path, "algo-1", [step(0, 0, 10), {"ph": "X"}, 5, *metadata(), step(1, 10, 10)])  # type: ignore[list-item]
    found = read_profile(tmp_path)
    assert [event.args["step_num"] for event in found.events] == ["1"]
    assert "3 event(s) left out" in found.problems[0]
    write_timeline(tmp_path, "algo-1", {"traceEvents": [*metadata(), step(1, 10, 10)]})  # type: ignore[arg-type]
    assert len(read_profile(tmp_path).events) == 1
    write_timeline(tmp_path, "algo-1", 5)  # type: ignore[arg-type]
    assert "no list of trace events" in read_profile(tmp_path).problems[0]


def test_nothing_says_why(tmp_path: Path) -> None:
    assert "There is no profiler-output" in str(read_profile(tmp_path / "profiler-output").why)
    assert "holds neither" in str(read_profile(tmp_path).why)


def test_an_hour_is_read_whole(tmp_path: Path) -> None:
    lines = [sample(Name=f"cpu{i % 8}", Timestamp=START + i / 16) for i in range(8_000)]
    write_samples(tmp_path, "algo-1", lines)
    write_timeline(tmp_path, "algo-1", [*metadata(), *(step(i, i * 100, 90) for i in range(20_000))])
    found = read_profile(tmp_path)
    assert (len(found.samples), len(found.events)) == (8_000, 20_000)
    assert isinstance(found.events[0], Event)
