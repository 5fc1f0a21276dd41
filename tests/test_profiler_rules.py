"""AWS's profiler rules: each on samples or steps that trigger it, on those that do not, and on none."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from observed_jobs import START, epochs, losses, metric, observe, parts, profile, steps

from dogbreed_cli.report.profile import Event, Sample
from dogbreed_cli.report.report import to_plain
from dogbreed_cli.report.rules import (
    NOT_EVALUATED,
    NOT_TRIGGERED,
    RULES,
    TRIGGERED,
    Verdict,
    evaluate_rule,
    evaluate_rules,
    to_aws_json,
)
from dogbreed_cli.report.verdict import scale_patience

GPU_RULES = ("BatchSize", "CPUBottleneck", "GPUMemoryIncrease", "IOBottleneck", "LoadBalancing", "LowGPUUtilization")
MEMORY, WAIT, CORE = "GPUMemoryUtilization", "I/OWaitPercentage", "CPUUtilization"


def judge(name: str, samples: Sequence[Sample] = (), events: Sequence[Event] = (), **known: object) -> Verdict:
    given = {"profile": profile(samples, events)} if samples or events else {}
    return evaluate_rule(name, observe(**{"has_gpu": True, **given, **known}))


def busy(share: float, high: float, low: float, total: int = 200) -> list[float]:
    """`high` in a share of the samples, spread evenly, `low` in the others."""
    return [high if (i * share) % 1 + share > 1 - 1e-9 else low for i in range(total)]


# ---- the GPU


@pytest.mark.parametrize("rule", GPU_RULES)
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_what_is_found_of_gpus_can_be_written(rule: str, share: float) -> None:
    samples = [
        sample
        for dimension, name in (("GPUUtilization", "gpu0"), ("GPUUtilization", "gpu1"), (MEMORY, "gpu0"),
                                (MEMORY, "gpu1"), (CORE, "cpu0"), (WAIT, "cpu0"))
        for sample in metric(busy(share, 99, 1), dimension, name)
    ]  # fmt: skip
    verdict = judge(rule, samples)
    assert verdict.state != NOT_EVALUATED
    assert json.loads(json.dumps(to_plain(verdict)))["rule"] == rule


@pytest.mark.parametrize(("rule", "dimension"), [("CPUBottleneck", CORE), ("IOBottleneck", WAIT)])
def test_bottlenecks(rule: str, dimension: str) -> None:
    idle, waiting = metric([5.0] * 200), metric([95.0] * 200, dimension, "cpu1", lag=0.004)
    verdict = judge(rule, idle + waiting)
    assert verdict.state == TRIGGERED
    assert (verdict.violations, verdict.datapoints) == (200, 200)
    assert "In 100 % of 200 samples a GPU was idle" in verdict.evidence
    assert verdict.parameters["patience"] == 50
    working = judge(rule, metric([80.0] * 200) + waiting)
    assert (working.state, working.violations) == (NOT_TRIGGERED, 0)
    calm = judge(rule, idle + metric([20.0] * 200, dimension, "cpu1"))
    assert (calm.state, calm.details["low_gpu_utilization"]) == (NOT_TRIGGERED, 200)
    assert judge(rule, idle + metric(busy(0.4, 95, 5), dimension, "cpu1")).state == NOT_TRIGGERED
    assert judge(rule, idle + metric(busy(0.6, 95, 5), dimension, "cpu1")).state == TRIGGERED
    assert judge(rule, idle).state == NOT_EVALUATED


def test_a_bottleneck_is_one_of_a_node() -> None:
    other = metric([99.0] * 200, CORE, "cpu0", "algo-2")
    assert judge("CPUBottleneck", metric([5.0] * 200) + metric([9.0] * 200, CORE, "cpu0") + other).violations == 0


def test_gpu_memory_increase() -> None:
    leak = judge("GPUMemoryIncrease", metric(np.linspace(5, 95, 100), MEMORY))
    assert leak.state == TRIGGERED
    assert "The largest growth is 9.1 percentage points" in leak.evidence
    assert leak.details["algo-1"]["gpu0"]["increase"] == pytest.approx(9.09, abs=0.01)
    start_up = [0.0] * 10 + [60.0] * 190
    assert judge("GPUMemoryIncrease", metric(start_up, MEMORY)).state == NOT_TRIGGERED
    assert judge("GPUMemoryIncrease", metric([50.0] * 10, MEMORY)).state == NOT_EVALUATED


def test_load_balancing() -> None:
    random = np.random.default_rng(0)
    one, same = (metric(random.normal(80, 5, 200), name=name) for name in ("gpu0", "gpu1"))
    assert judge("LoadBalancing", one + same).state == NOT_TRIGGERED
    verdict = judge("LoadBalancing", one + metric(random.normal(20, 5, 200), name="gpu1"))
    assert (verdict.state, verdict.violations, verdict.datapoints) == (TRIGGERED, 1, 1)
    assert "distance of 0.83" in verdict.evidence
    alone = judge("LoadBalancing", one)
    assert (alone.state, alone.evidence) == (NOT_EVALUATED, "The job has one GPU: there is nothing to balance.")
    of_nodes = judge("LoadBalancing", one + metric(random.normal(20, 5, 200), node="algo-2"))
    assert of_nodes.state == TRIGGERED


def test_low_gpu_utilization() -> None:
    low = judge("LowGPUUtilization", metric([50.0] * 200))
    assert (low.state, low.violations, low.datapoints) == (TRIGGERED, 1, 1)
    assert low.details == {"algo-1": {"gpu0": {"gpu_95": 50.0, "gpu_5": 50.0}}}
    assert low.parameters == {"threshold_p95": 70, "threshold_p5": 10, "window": 150, "patience": 50}
    assert "over 150 samples after the first 50" in low.threshold
    fluctuating = judge("LowGPUUtilization", metric(busy(0.5, 99, 0)))
    assert fluctuating.state == TRIGGERED
    start_up = [0.0] * 40 + [95.0] * 160
    assert judge("LowGPUUtilization", metric(start_up)).state == NOT_TRIGGERED
    # In a long job AWS's numbers hold, and a bad quarter of an hour in the middle is found.
    long = [95.0] * 2000 + [20.0] * 1000 + [95.0] * 2000
    verdict = judge("LowGPUUtilization", metric(long))
    assert (verdict.parameters["window"], verdict.parameters["patience"]) == (500, 1000)
    assert (verdict.violations, verdict.datapoints) == (2, 8)


def test_batch_size() -> None:
    small = metric([40.0] * 200) + metric([30.0] * 200, MEMORY) + metric([20.0] * 200, CORE, "cpu0")
    verdict = judge("BatchSize", small, batch_size=32)
    assert verdict.state == TRIGGERED
    assert "with a batch of 32" in verdict.evidence
    for full in (metric([90.0] * 200), metric([90.0] * 200, MEMORY)):
        others = [sample for sample in small if sample.dimension != full[0].dimension]
        assert judge("BatchSize", others + full).state == NOT_TRIGGERED
    cores = metric([100.0] * 200, CORE, "cpu0") + metric([80.0] * 200, CORE, "cpu1")  # 90 in the mean
    assert judge("BatchSize", small[:400] + cores).state == NOT_TRIGGERED
    assert judge("BatchSize", metric([40.0] * 200) + metric([30.0] * 200, MEMORY)).state == NOT_EVALUATED


@pytest.mark.parametrize("rule", GPU_RULES)
def test_rules_on_gpus_have_nothing_to_say_of_a_job_without_one(rule: str) -> None:
    cpu = metric([50.0] * 200, CORE, "cpu0")
    without = judge(rule, cpu, has_gpu=False)
    assert (without.state, without.evidence) == (NOT_EVALUATED, "The job ran without a GPU.")
    unseen = judge(rule, cpu)
    assert unseen.state == NOT_EVALUATED
    assert "no samples of GPU" in unseen.evidence
    assert judge(rule).evidence == "There is no profiler-output."


@pytest.mark.parametrize("rule", ["CPUBottleneck", "LowGPUUtilization"])
def test_a_job_of_seconds_is_not_judged(rule: str) -> None:
    verdict = judge(rule, metric([5.0] * 19) + metric([99.0] * 19, CORE, "cpu0"))
    assert verdict.state == NOT_EVALUATED
    assert "Only 19 samples were taken; 20 are the least" in verdict.evidence


def test_patience_is_a_quarter_of_the_job_and_at_most_that_of_aws() -> None:
    assert [scale_patience(1000, total) for total in (20, 100, 3999, 4000, 100_000)] == [5, 25, 999, 1000, 1000]


# ---- the timeline


def test_max_initialization_time() -> None:
    begin = [Event("initialize", "phase", "algo-1", START, 30.0)]
    quick = judge("MaxInitializationTime", events=begin + steps([0.1] * 5, start=START + 30))
    assert quick.state == NOT_TRIGGERED
    assert "The first training step began 30.0\N{NO-BREAK SPACE}s after the job's start." in quick.evidence
    slow = judge("MaxInitializationTime", events=begin + steps([0.1] * 5, start=START + 1201))
    assert (slow.state, slow.violations) == (TRIGGERED, 1)
    # Samples began before the script did.
    assert judge("MaxInitializationTime", metric([1.0]), steps([0.1], start=START + 1201)).state == TRIGGERED
    never = judge("MaxInitializationTime", metric([1.0] * 2500))
    assert (never.state, never.evidence[:24]) == (TRIGGERED, "No training step began i")
    assert judge("MaxInitializationTime", metric([1.0] * 100)).state == NOT_EVALUATED  # it failed before
    phases = {"initialize": 1100.0, "calibrate": 150.0, "forward": 5.0}
    assert judge("MaxInitializationTime", phases=phases).state == TRIGGERED
    assert judge("MaxInitializationTime", phases={"initialize": 9.0, "train": 5.0}).state == NOT_TRIGGERED
    assert judge("MaxInitializationTime").state == NOT_EVALUATED


def test_step_outlier() -> None:
    regular = [0.1 + 0.001 * (i % 3) for i in range(2000)]
    spiky = [lasted + (2.0 if i % 100 == 50 else 0) for i, lasted in enumerate(regular)]
    verdict = judge("StepOutlier", events=steps(spiky))
    assert (verdict.state, verdict.violations, verdict.datapoints) == (TRIGGERED, 20, 2000)
    assert "20 of 2,000 TRAIN steps on algo-1 took longer than" in verdict.evidence
    assert verdict.details["step_details"]["algo-1 TRAIN"]["step_numbers"][:2] == ["50", "150"]
    assert verdict.parameters["n_outliers"] == 10
    assert judge("StepOutlier", events=steps(regular)).state == NOT_TRIGGERED
    few = [0.1 + 0.001 * (i % 3) + (2.0 if i in (40, 50) else 0) for i in range(100)]
    assert judge("StepOutlier", events=steps(few)).state == TRIGGERED  # 1 % of a short job
    warm_up = [5.0, *regular[:99]]
    assert judge("StepOutlier", events=steps(warm_up)).violations == 0
    assert judge("StepOutlier", events=steps(regular[:19])).state == NOT_EVALUATED
    assert judge("StepOutlier").state == NOT_EVALUATED


def test_steps_of_training_and_evaluation_are_not_compared() -> None:
    both = steps([0.5] * 60) + steps([0.05] * 60, "EVAL")
    assert judge("StepOutlier", events=both).state == NOT_TRIGGERED


def test_dataloader() -> None:
    sleepy = judge("Dataloader", events=parts(40, data=0.6, forward=0.2, backward=0.1, optimizer=0.1))
    assert (sleepy.state, sleepy.datapoints) == (TRIGGERED, 40)
    assert "60 % of the time of the steps" in sleepy.evidence
    assert "600\N{NO-BREAK SPACE}ms a step in the median" in sleepy.evidence
    fast = parts(40, data=0.05, forward=0.5, backward=0.3, optimizer=0.1)
    assert judge("Dataloader", events=fast).state == NOT_TRIGGERED
    assert judge("Dataloader", phases={"data": 60.0, "forward": 20.0, "backward": 20.0}).state == TRIGGERED
    assert judge("Dataloader", phases={"data": 5.0, "forward": 60.0}).state == NOT_TRIGGERED
    assert judge("Dataloader", phases={"data": 5.0}).state == NOT_EVALUATED  # a share of what?
    assert judge("Dataloader").state == NOT_EVALUATED


@pytest.mark.parametrize(("processes", "expected"), [(1, TRIGGERED), (4, NOT_TRIGGERED), (9, TRIGGERED)])
def test_dataloader_counts_the_processes_that_aws_names(processes: int, expected: str) -> None:
    cores = [sample for i in range(4) for sample in metric([50.0] * 10, CORE, f"cpu{i}")]
    events = [
        Event("GetNext", "DataLoaderWorker", "algo-1", START + second, 0.5, {"pid": pid})
        for second in range(12)
        for pid in range(processes)
    ]
    assert judge("Dataloader", cores, events).state == expected


# ---- summaries


def test_overall_system_usage() -> None:
    samples = metric([40.0] * 40, CORE, "cpu0") + metric([60.0] * 40, CORE, "cpu1") + metric([3.0] * 40, WAIT, "cpu0")
    samples += [Sample("memory", "MemoryUsedPercent", "", "algo-1", 30.0, START + i) for i in range(40)]
    for name in ("ReceiveBytesPerSecond", "TransmitBytesPerSecond"):
        samples += [Sample("network", name, "Algorithm", "algo-1", 500.0, START + i) for i in range(40)]
    verdict = judge("OverallSystemUsage", samples, has_gpu=False)
    assert verdict.state == NOT_TRIGGERED
    assert verdict.details["CPU"]["algo-1"]["p50"] == 50.0
    assert verdict.details["CPU memory"]["algo-1"]["max"] == 30.0
    assert verdict.details["Network"]["algo-1"]["p95"] == 1000.0
    assert verdict.details.keys() == {"CPU", "CPU memory", "I/O", "Network"}
    assert "CPU 50 % (95th percentile 50 %)" in verdict.evidence
    assert judge("OverallSystemUsage").state == NOT_EVALUATED


def test_overall_framework_metrics() -> None:
    events = (
        steps([0.9] * 10) + steps([0.5] * 2, "EVAL", start=START + 9) + parts(10, data=0.3, forward=0.4, backward=0.2)
    )
    verdict = judge("OverallFrameworkMetrics", events=events)
    assert verdict.state == NOT_TRIGGERED
    assert verdict.details["phase"] == pytest.approx(
        {"Step:ModeKeys.TRAIN": 90, "Step:ModeKeys.EVAL": 10, "others": 0}, abs=0.001
    )
    assert verdict.details["forward_backward"] == pytest.approx({"Forward pass": 66.7, "Backward pass": 33.3}, abs=0.1)
    assert verdict.evidence.startswith("Of the time TRAIN took 90 %, EVAL took 10 %")
    of_phases = judge("OverallFrameworkMetrics", phases={"initialize": 4.0, "train": 6.0})
    assert of_phases.evidence == "Of the process train took 60 %, initialize took 40 %."
    assert judge("OverallFrameworkMetrics").state == NOT_EVALUATED


# ---- all of them


def test_an_hour_is_judged_by_every_rule() -> None:
    random = np.random.default_rng(0)
    names = [
        ("GPUUtilization", "gpu0"),
        (MEMORY, "gpu0"),
        *((kind, f"cpu{i}") for kind in (CORE, WAIT) for i in range(3)),
    ]
    samples = [s for kind, name in names for s in metric(random.uniform(0, 100, 1000), kind, name)]
    events = steps(random.uniform(0.1, 0.2, 4000)) + parts(4000, data=0.1, forward=0.3, backward=0.3, optimizer=0.1)
    observed = observe(
        profile=profile(samples, events), has_gpu=True, batch_size=32, tensors=losses(list(random.uniform(1, 5, 200))),
        epochs=epochs(list(random.uniform(1, 5, 50)), list(random.uniform(1, 5, 50))), label_counts={"a": 5, "b": 9},
    )  # fmt: skip
    assert (len(samples), len(events)) == (8_000, 20_000)
    verdicts = evaluate_rules(observed)
    documents = [to_aws_json(verdict) for verdict in verdicts]
    assert len(documents) == len(RULES) == 20
    assert {verdict.kind for verdict in verdicts} == {"debugger", "profiler"}
    assert not [v.evidence for v in verdicts if "nan" in v.evidence or "np." in v.evidence or math.isnan(v.violations)]
