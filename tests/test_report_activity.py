"""What the profiler and the hook wrote, from files to page: metrics over time, phases, steps, tensors."""

import json

import numpy as np
import pytest
from report_artifacts import START, describe_job, render, write_artifacts
from report_watched import SECONDS, STEPS, build_watched, write_profile, write_tensors

from dogbreed_cli import report
from dogbreed_cli.report.activity import POINTS, find_quantile, trace_activity
from dogbreed_cli.report.profile import Event, Profile, Sample
from dogbreed_cli.report.series import trace_tensors
from dogbreed_cli.report.tensors import Point, Tensors


@pytest.fixture
def watched(tmp_path):
    return build_watched(tmp_path)


def test_system_metrics_are_means_of_percentages_and_sums_of_the_rest(watched):
    lines = {line.metric: line for line in watched.activity.lines}
    assert list(lines)[:3] == ["CPUUtilization", "I/OWaitPercentage", "MemoryUsedPercent"]
    cpu = lines["CPUUtilization"]
    # 58 of 75 seconds in training: 92 and 88 % on the two cores, 25 and 21 else.
    assert cpu.mean == pytest.approx((58 * 90 + 17 * 23) / 75)
    assert (cpu.highest, cpu.unit, cpu.moments) == (90, "%", 2 * SECONDS)
    assert len(cpu.values) == len(cpu.seconds) <= POINTS
    assert lines["WriteThroughputInBytesPerSecond"].unit == "B/s"
    assert lines["IOPS"].unit == ""
    assert lines["ReceiveBytesPerSecond"].mean == 1.5e6


def test_bytes_of_two_nodes_are_added(tmp_path):
    samples = tuple(
        Sample("network", "ReceiveBytesPerSecond", "Algorithm", node, 5.0, 100 + second + late)
        for second in range(4)
        for node, late in (("algo-1", 0.0), ("algo-2", 0.004))
    )
    (line,) = trace_activity(Profile(samples, (), None, ())).lines
    assert (line.moments, line.mean) == (4, 10.0)


def test_phases_and_steps(watched):
    activity = watched.activity
    assert activity.began == START.timestamp() and activity.seconds == pytest.approx(SECONDS)
    assert [one.phase for one in activity.stretches] == ["initialize", "train", "evaluate", "train", "evaluate", "save"]
    train, evaluation = activity.steps
    assert (train.mode, train.count, train.longest) == ("TRAIN", STEPS, pytest.approx(2.4))
    assert (evaluation.mode, evaluation.count, evaluation.median) == ("EVAL", 8, pytest.approx(0.4))
    assert train.p95 <= 0.9 < train.longest


def test_long_jobs_are_thinned_and_short_phases_left_out():
    events = [Event("Step:ModeKeys.TRAIN", "step", "algo-1", n / 10, 0.09) for n in range(5000)]
    events += [Event(("train", "evaluate")[n % 2], "phase", "algo-1", n / 10, 0.1) for n in range(5000)]
    events.append(Event("save", "phase", "algo-1", 500, 50))
    activity = trace_activity(Profile((), tuple(events), None, ()))
    assert [one.phase for one in activity.stretches] == ["save"]
    assert len(activity.steps[0].points) <= POINTS
    assert activity.steps[0].points[-1][0] <= 5000


@pytest.mark.parametrize(("share", "expected"), [(0.95, 95), (0.5, 50), (1.0, 100)])
def test_quantile(share, expected):
    assert find_quantile(list(range(100, 0, -1)), share) == expected


def test_time_by_phase_tells_the_parts_of_training(watched, tmp_path):
    phases = {phase.name: phase for phase in watched.phases}
    assert list(phases) == ["initialize", "data", "train", "evaluate", "save"]
    assert phases["train"].seconds == 55.0
    assert [part.name for part in phases["train"].parts] == ["forward", "backward", "optimizer"]
    assert sum(part.seconds for part in phases["train"].parts) == 55.0
    assert sum(phase.share for phase in watched.phases) == pytest.approx(1)
    assert "train 73\N{NO-BREAK SPACE}%" in dict(report.summarize(watched))["Time"]
    page = render(watched, tmp_path / "out")
    assert "backward" in page.sections["time"]


def test_every_number_of_the_watching_is_in_page_and_json(watched, tmp_path):
    page = render(watched, tmp_path / "out")
    document = json.loads((tmp_path / "out/metrics.json").read_text(), parse_constant=pytest.fail)
    for line in document["activity"]["lines"]:
        assert {line["mean"], line["p95"], line["highest"]} <= set(page.values)
    for steps in document["activity"]["steps"]:
        assert {steps["median"], steps["longest"], steps["total"]} <= set(page.values)
    # history, parallel coordinates, three slices; loss, accuracy, reliability; two of steps; cpu, memory, two of disk,
    # network; losses and gradients.
    assert page.tags["svg"] == 5 + 3 + 2 + 5 + 2
    assert "CPU 7" in dict(report.summarize(watched))["Use on average"]


def test_tensors_from_files_of_the_hook(watched):
    found = {(one.tensor, one.mode): one for one in watched.tensors}
    loss = found["CrossEntropyLoss_output_0", "TRAIN"]
    assert (loss.collection, loss.measure, len(loss.steps)) == ("losses", "value", STEPS)
    assert loss.values[10] == pytest.approx(1.8 * 0.95**10)
    assert found["gradient/Linear_weight", "TRAIN"].measure == "abs_mean"
    assert found["gradient/Linear_weight", "TRAIN"].values[0] == pytest.approx(0.15)
    assert found["gradient/Linear_bias", "TRAIN"].values[1] == pytest.approx(0.02 / 6)
    assert next(iter(watched.tensors)).collection == "losses"


def test_tensors_by_whatever_was_saved_of_them():
    many = {f"w{n}": (Point(0, "TRAIN", None, {"l2": 2.0, "max": 9.0}),) for n in range(9)}
    points = {"empty": (Point(0, "TRAIN", np.zeros(0), {}),), **many}
    found = trace_tensors(Tensors(points, {"weights": tuple(many), "odd": ("empty", "gone")}, None))
    assert [(one.tensor, one.measure, one.values) for one in found] == [(f"w{n}", "l2", (2.0,)) for n in range(6)]


def test_the_reason_is_the_scripts_own_where_it_has_one(tmp_path):
    hook = {"hook": False, "why": "smdebug cannot be imported"}
    profiler = {"interval_ms": 0, "why": "psutil cannot be imported", "files": 0}
    folder = write_artifacts(tmp_path / "a", debugger=hook, profiler=profiler)
    page = render(report.build(folder, describe_job()), tmp_path / "out")
    assert "Smdebug cannot be imported." in page.sections["tensors"]
    assert "Psutil cannot be imported." in page.sections["machine"]
    assert "off: psutil cannot be imported" in page.sections["settings"]


def test_a_profile_cut_off_is_read_as_far_as_it_goes(tmp_path):
    folder = write_artifacts(tmp_path / "a")
    write_profile(folder / "profiler-output")
    write_tensors(folder / "debug-output")
    for name in ("profiler-output/system", "profiler-output/framework", "debug-output/events"):
        path = sorted(path for path in (folder / name).rglob("*") if path.is_file())[-1]
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    built = report.build(folder, describe_job(TrainingJobStatus="Stopped"))
    render(built, tmp_path / "out")
    assert built.activity.lines and built.activity.stretches and built.tensors
    assert (
        sum("cut off" in note or "in part" in note or "left out" in note for note in built.notes) == 2
    )  # the last line of a file of metrics is not worth a word
