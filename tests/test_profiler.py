"""System metrics, timeline and phases of trainings: in AWS's files, whatever the end; smdebug's readers read them."""

import json
import subprocess
import time
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from entrypoint_runs import ALONE, ENTRYPOINTS, channels, run_forked, said
from forked import run_forked_python

READ = Path(__file__).with_name("read_metrics.py")
EPOCHS, STEPS, EVALUATIONS = 3, 5, 2  # 80 images in batches of 16, 28 to validate on
SMALL = ["--backbone", "resnet18", "--image-size", "32", "--weights", "none"]
LEARN = [*SMALL, "--epochs", str(EPOCHS), "--batch-size", "16", "--lr", "0.003", "--workers", "0"]
INTERVAL = 0.1
PROFILED = [*LEARN, "--profile-interval", "100"]
PARTS = {"data", "forward", "backward", "optimizer"}

TIMER = """
import json, time
began = time.perf_counter()
from profiler import PhaseTimer, seconds_since_process_start
timer = PhaseTimer("initialize")
imports = time.perf_counter() - began
timer.switch("train")
began = time.perf_counter()
for batch in timer.steps([0.02, 0.03], "TRAIN"):
    timer.part("forward")
    time.sleep(batch)
loop = time.perf_counter() - began
before = seconds_since_process_start()
timer.part(None)
ages = before, seconds_since_process_start()
print(json.dumps([timer.seconds, imports, loop, ages, timer.done]))
"""


@pytest.fixture(scope="module")
def runs(image_python, images, tmp_path_factory):
    """({name: exit codes}, folder with <name>.log and <name>/output, when it began)."""
    out = tmp_path_factory.mktemp("runs")
    pictures, features = channels(images), ["--features", str(out / "extract/model")]
    broken = out / "broken"
    (broken / "001.Affenpinscher").mkdir(parents=True)
    (broken / "001.Affenpinscher/00.jpg").write_bytes(b"no image")
    (out / "blocked/output").mkdir(parents=True)
    (out / "blocked/output/profiler-output").touch()  # where a folder must be
    plan = {
        "images": {"argv": [*PROFILED, *pictures, "--profile-torch", "6-7"]},
        "extract": {"argv": [*SMALL, "--mode", "extract", *pictures]},
        "features": {"argv": [*PROFILED, *features]},
        "two": {"argv": [*PROFILED, *pictures, "--batch-size", "8"], "world": 2},
        "stopped": {"argv": [*PROFILED, *pictures], "kill": ["SIGTERM", 0, STEPS + 2]},
        "killed": {"argv": [*PROFILED, *pictures], "kill": ["SIGKILL", 0, 2 * STEPS + 2]},
        "crashed": {"argv": [*PROFILED, *pictures[:2], "--valid", str(broken)]},
        "long": {
            "argv": [*PROFILED, *features, "--epochs", "12", "--patience", "0"],
            "set": {"timeline.FILE_EVENTS": 60, "timeline.MOST_BYTES": 20_000},
        },
        "blocked": {"argv": [*PROFILED, *features]},
        "none": {"argv": [*LEARN, *features]},
    }
    began = time.time()
    return *run_forked(image_python, out, plan), began


def metrics_of(runs, name):
    codes, out, _ = runs
    assert set(codes[name]) == {0}, said(runs, name)
    return json.loads((out / name / "output/metrics.json").read_text())


def samples_of(runs, name):
    """Every line, which must be whole."""
    files = sorted((runs[1] / name / "output/profiler-output/system/incremental").rglob("*.json"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def traces_of(runs, name):
    """[(path, events), ...], in the order of time."""
    files = (runs[1] / name / "output/profiler-output/framework/pevents").rglob("*_model_timeline.json")
    return [(file, json.loads(file.read_text())) for file in sorted(files)]


def events_of(runs, name, category):
    return [e for _, trace in traces_of(runs, name) for e in trace if e.get("cat") == category]


# ---- system metrics


@pytest.fixture(scope="module")
def read_back(image_python, runs):
    folder = runs[1] / "images/output/profiler-output"
    done = run_forked_python(image_python, READ, folder, env=ALONE)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_system_metrics_are_named_and_placed_as_aws_does(runs):
    _, out, began = runs
    files = sorted((out / "images/output/profiler-output/system/incremental").rglob("*.json"))
    assert files
    for file in files:
        minute = int(file.name.removesuffix(".algo-1.json"))
        assert minute % 60 == 0
        assert began - 60 < minute < time.time()
        assert file.parent.name == time.strftime("%Y%m%d%H", time.gmtime(minute))
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        assert all(minute <= line["Timestamp"] < minute + 60 for line in lines)
    found = {(line["Type"], line["Name"], line["Dimension"]) for line in samples_of(runs, "images")}
    cores = range(psutil.cpu_count())
    wanted = {("cpu", f"cpu{i}", name) for i in cores for name in ("CPUUtilization", "I/OWaitPercentage")}
    wanted |= {("memory", "MemoryUsedPercent", "")}
    wanted |= {("network", f"{way}BytesPerSecond", "Algorithm") for way in ("Receive", "Transmit")}
    if psutil.disk_io_counters():
        disk = ("IOPS", "ReadThroughputInBytesPerSecond", "WriteThroughputInBytesPerSecond")
        wanted |= {("i/o", name, "") for name in disk}
    assert {line for line in found if line[0] != "gpu"} == wanted


def test_system_metrics_are_plausible_and_regular(runs):
    lines = samples_of(runs, "images")
    assert {line["NodeId"] for line in lines} == {"algo-1"}
    assert all(0 <= line["Value"] <= 100 for line in lines if line["Type"] in ("cpu", "memory"))
    assert all(line["Value"] >= 0 for line in lines)
    assert any(line["Value"] > 20 for line in lines if line["Dimension"] == "CPUUtilization"), "nothing was at work"
    times = sorted({line["Timestamp"] for line in lines})
    gaps = sorted(b - a for a, b in pairwise(times))
    assert gaps[len(gaps) // 2] == pytest.approx(INTERVAL, rel=0.5)
    assert metrics_of(runs, "images")["profiler"]["interval_ms"] == 100


def test_smdebugs_reader_reads_every_sample(runs, read_back):
    mine = [tuple(line.values()) for line in samples_of(runs, "images")]
    assert sorted(map(tuple, read_back["system"])) == sorted(mine)


# ---- the timeline


@pytest.mark.parametrize("name", ["images", "features", "two", "stopped", "long"])
def test_traces_are_what_perfetto_opens(runs, name):
    traces = traces_of(runs, name)
    assert traces
    for path, events in traces:
        assert [event["name"] for event in events[:2]] == ["process_name", "start_time"]
        epoch = events[1]["args"]["start_time_since_epoch_in_micros"]
        spans = [event for event in events if event["ph"] != "M"]
        assert {event["ph"] for event in spans} == {"X"}
        for event in spans:
            assert all(isinstance(event[key], int) for key in ("ts", "dur", "pid", "tid"))
            assert event["dur"] >= 0
        times = [event["ts"] for event in spans]
        assert times == sorted(times)
        end = epoch + max(event["ts"] + event["dur"] for event in spans)
        assert path.name.partition("_")[0] == str(end)
        assert path.parent.name == time.strftime("%Y%m%d%H", time.gmtime(end / 1e6))


@pytest.mark.parametrize("name", ["images", "features"])
def test_steps_hold_their_parts_and_phases_follow_one_another(runs, name):
    steps = events_of(runs, name, "step")
    for mode, count in (("TRAIN", EPOCHS * STEPS), ("EVAL", EPOCHS * EVALUATIONS + 2)):
        found = [event["args"]["step_num"] for event in steps if event["name"] == f"Step:ModeKeys.{mode}"]
        assert found == list(map(str, range(count)))
    parts = events_of(runs, name, "part")
    assert {event["name"] for event in parts} == PARTS
    for step in [event for event in steps if event["name"] == "Step:ModeKeys.TRAIN"]:
        end = step["ts"] + step["dur"]
        inside = [e["name"] for e in parts if step["ts"] <= e["ts"] and e["ts"] + e["dur"] <= end]
        assert inside == ["data", "forward", "backward", "optimizer"]
    phases = events_of(runs, name, "phase")
    assert {event["name"] for event in phases} == {
        "initialize", "calibrate", "train", "evaluate", "checkpoint", "save"
    }  # fmt: skip
    assert (phases[0]["name"], phases[0]["ts"]) == ("initialize", 0)
    for before, after in pairwise(phases):
        assert after["ts"] == before["ts"] + before["dur"]


def test_phases_of_metrics_and_of_the_timeline_are_one_clock(runs):
    seconds = metrics_of(runs, "images")["phases"]
    phases = events_of(runs, "images", "phase")
    assert sum(seconds.values()) == pytest.approx(sum(e["dur"] for e in phases) / 1e6, abs=0.01)
    for name in PARTS:
        spans = sum(event["dur"] for event in events_of(runs, "images", "part") if event["name"] == name)
        assert seconds[name] == pytest.approx(spans / 1e6, abs=0.005)


def test_smdebugs_reader_reads_every_span(runs, read_back):
    spans = [e for _, trace in traces_of(runs, "images") for e in trace if e["ph"] == "X"]
    epoch = traces_of(runs, "images")[0][1][1]["args"]["start_time_since_epoch_in_micros"]
    mine = [[e["name"], e["ts"] + epoch, e["dur"] / 1e6, e.get("args", {}).get("step_num"), "algo-1"] for e in spans]
    assert sorted(read_back["framework"], key=str) == sorted(mine, key=str)


def test_torch_profiler_has_a_window_of_steps(runs):
    [trace] = (runs[1] / "images/output/profiler-output/framework/torch").iterdir()
    assert trace.name == "algo-1_steps_6-7.pt.trace.json"
    events = json.loads(trace.read_text())["traceEvents"]
    optimizer = [event for event in events if event["name"].startswith("Optimizer.step")]
    assert len(optimizer) == 2
    assert any(event["name"] == "aten::conv2d" for event in events)


# ---- several processes, ends of all kinds, bounds


def test_each_rank_has_a_timeline_and_each_host_one_sampler(runs):
    assert {path.name.partition("_")[2] for path, _ in traces_of(runs, "two")} == {
        "algo-1-rank0_model_timeline.json",
        "algo-1-rank1_model_timeline.json",
    }
    for rank in (0, 1):
        traces = [trace for path, trace in traces_of(runs, "two") if f"rank{rank}" in path.name]
        steps = [e for trace in traces for e in trace if e["name"] == "Step:ModeKeys.TRAIN"]
        assert len(steps) == EPOCHS * STEPS
    times = [line["Timestamp"] for line in samples_of(runs, "two") if line["Name"] == "MemoryUsedPercent"]
    assert len(times) == len(set(times))
    assert {line["NodeId"] for line in samples_of(runs, "two")} == {"algo-1"}


def test_a_stopped_job_keeps_all(runs):
    metrics = metrics_of(runs, "stopped")
    assert metrics["stopped"] is True
    steps = [e for e in events_of(runs, "stopped", "step") if e["name"] == "Step:ModeKeys.TRAIN"]
    assert len(steps) == STEPS + 2
    assert metrics["profiler"]["files"] == len(traces_of(runs, "stopped")) + len(
        list((runs[1] / "stopped/output/profiler-output/system").rglob("*.json"))
    )
    last = max(line["Timestamp"] for line in samples_of(runs, "stopped"))
    ends = max(int(path.name.partition("_")[0]) for path, _ in traces_of(runs, "stopped")) / 1e6
    assert last == pytest.approx(ends, abs=0.2)


def test_a_script_that_fails_keeps_all(runs):
    assert runs[0]["crashed"] == [1]
    assert len([e for e in events_of(runs, "crashed", "step") if "TRAIN" in e["name"]]) == STEPS
    assert events_of(runs, "crashed", "phase")[-1]["name"] == "evaluate"
    assert samples_of(runs, "crashed")


def test_a_kill_leaves_whole_lines(runs):
    assert runs[0]["killed"] == [-9]
    assert samples_of(runs, "killed")


def test_the_timeline_is_bounded_and_says_so(runs):
    traces = traces_of(runs, "long")
    assert len(traces) > 2
    assert sum(path.stat().st_size for path, _ in traces) < 40_000
    marked = [any(event["name"] == "truncated" for event in trace) for _, trace in traces]
    assert marked == sorted(marked), "whole files follow one that is not"
    assert marked[-1]
    assert not marked[0]
    for (_, trace), is_truncated in zip(traces, marked, strict=True):
        assert any(event.get("cat") == "step" for event in trace) is not is_truncated
    assert len([e for e in events_of(runs, "long", "phase") if e["name"] == "train"]) == 12


def test_a_profiler_that_cannot_write_fails_nothing_and_says_so(runs):
    metrics = metrics_of(runs, "blocked")
    assert "test:loss" in metrics
    assert metrics["profiler"]["files"] == 0
    for words in ("the timeline cannot be written", "system metrics end early"):
        assert words in metrics["profiler"]["why"]
    assert "WARNING: profiler: " in (runs[1] / "blocked.log").read_text()


def test_nothing_is_written_unless_asked_for(runs):
    assert metrics_of(runs, "none")["profiler"] == {"interval_ms": 0, "why": "profile-interval is 0", "files": 0}
    assert not (runs[1] / "none/output/profiler-output").exists()


def test_phases_add_up_to_the_age_of_the_process(image_python):
    done = subprocess.run(
        [image_python, "-c", TIMER],
        env=ALONE | {"PYTHONPATH": str(ENTRYPOINTS)}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    seconds, imports, loop, (before, after), counted = json.loads(done.stdout)
    clock = 0.02  # two ticks of the clock that says when a process began
    assert before - clock < sum(seconds.values()) < after + clock
    assert seconds["initialize"] > imports > 0.1, "importing torch is not counted"
    assert counted == {"TRAIN": 2}
    assert 0.05 <= seconds["forward"] <= loop
    assert set(seconds) == {"initialize", "train", "data", "forward"}
