"""AWS's own rule reports: the schema, fields nobody told us of, fields that lack, files that broke."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dogbreed_cli.report.aws_report import read_aws_report

# As AWS's CPUBottleneck writes it, with its keys of timestamps.
CPU = {
    "RuleTriggered": 2,
    "Violations": 640,
    "Details": {"1591160699.457": {"CPUs": 3, "GPUs": 1}, "low_gpu_utilization": 700},
    "Datapoints": 1200,
    "RuleParameters": "threshold:50\ncpu_threshold:90\ngpu_threshold:10\npatience:1000",
}


def write(folder: Path, name: str, content: Any) -> Path:
    path = folder / f"ProfilerReport-1633/profiler-output/profiler-reports/{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_the_known_fields(tmp_path: Path) -> None:
    write(tmp_path, "CPUBottleneck", CPU)
    write(tmp_path, "OverallSystemUsage", {**CPU, "RuleTriggered": 0, "RuleParameters": ""})
    cpu, usage = read_aws_report(tmp_path)
    assert (cpu.name, cpu.triggered, cpu.rule_triggered, cpu.violations, cpu.datapoints) == (
        "CPUBottleneck", True, 2, 640, 1200,
    )  # fmt: skip
    assert cpu.details == CPU["Details"]
    assert cpu.parameters == {"threshold": "50", "cpu_threshold": "90", "gpu_threshold": "10", "patience": "1000"}
    assert (cpu.missing, dict(cpu.more), cpu.problem) == ((), {}, None)
    assert cpu.path == "ProfilerReport-1633/profiler-output/profiler-reports/CPUBottleneck.json"
    assert (usage.triggered, usage.parameters) == (False, {})


def test_unknown_fields_are_kept_and_missing_ones_named(tmp_path: Path) -> None:
    write(
        tmp_path, "Dataloader", {"Violations": 0, "Datapoints": 12, "Details": {}, "Recommendation": "more", "Of": [1]}
    )
    (rule,) = read_aws_report(tmp_path)
    assert rule.more == {"Recommendation": "more", "Of": [1]}
    assert rule.missing == ("RuleTriggered", "RuleParameters")
    assert rule.triggered is None  # not: no
    assert rule.problem is None


def test_broken_files_are_said(tmp_path: Path) -> None:
    write(tmp_path, "BatchSize", json.dumps(CPU)[:60])
    write(tmp_path, "IOBottleneck", [CPU])
    write(tmp_path, "StepOutlier", {**CPU, "Violations": "many", "RuleParameters": {"stddev": 3}})
    write(tmp_path, "LoadBalancing", "").write_bytes(b"\xff\xfe")
    batch, disk, balance, outlier = read_aws_report(tmp_path)
    for rule in (batch, disk, balance):
        assert rule.problem
        assert rule.name in rule.problem
        assert rule.triggered is None
        assert len(rule.missing) == 5
    assert outlier.problem == "StepOutlier.json: Violations is not a number and was left out."
    assert (outlier.violations, outlier.triggered, outlier.parameters) == (None, True, {"stddev": "3"})


def test_no_report_is_no_rule(tmp_path: Path) -> None:
    assert read_aws_report(tmp_path) == ()
    assert read_aws_report(tmp_path / "rule-output") == ()
