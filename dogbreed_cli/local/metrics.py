"""What a training job says: its lines go to CloudWatch Logs, and the metrics among them into its record."""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Callable
from queue import SimpleQueue

from dogbreed_cli.local.home import Home
from dogbreed_cli.local.logs import Logs
from dogbreed_cli.local.records import Record, Records
from dogbreed_cli.local.training_jobs import KIND

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
Found = SimpleQueue[tuple[str, float, float]]  # metric, value, time


def listen(home: Home, record: Record, found: Found) -> Callable[[str], None]:
    """Every line goes to the log; what matches a metric's regex is `found`, as CloudWatch would have it."""
    name, logs = record["TrainingJobName"], Logs(home.logs)
    definitions = record["AlgorithmSpecification"].get("MetricDefinitions", [])
    patterns = [(definition["Name"], re.compile(definition["Regex"])) for definition in definitions]
    stream = f"{name}/algo-1-{int(record['CreationTime'])}"

    def on_line(line: str) -> None:
        now = time.time()
        logs.append(LOG_GROUP, stream, line, int(now * 1000))
        hits = [(metric, pattern.search(line)) for metric, pattern in patterns]
        for metric, hit in hits:
            if hit and (value := read_number(hit)) is not None:
                found.put((metric, value, now))

    return on_line


def read_number(hit: re.Match[str]) -> float | None:
    """The first group, or None where it is no number that CloudWatch takes, which excludes NaN and infinity."""
    with contextlib.suppress(IndexError, TypeError, ValueError):
        value = float(hit[1])
        return value if math.isfinite(value) else None
    return None


def save_metrics(records: Records, name: str, found: Found) -> None:
    """Several at once: a program that prints them by the thousand must not wait for as many records."""
    new = [found.get() for _ in range(found.qsize())]
    if new:
        records.update(KIND, name, lambda record: add_metrics(record, new))


def add_metrics(record: Record, found: list[tuple[str, float, float]]) -> None:
    """The last value of each metric is its final one; all values stay in `Metrics`, for early stopping."""
    final = {metric["MetricName"]: metric for metric in record.get("FinalMetricDataList", [])}
    for name, value, moment in found:
        final[name] = {"MetricName": name, "Value": value, "Timestamp": moment}
        record.setdefault("Metrics", {}).setdefault(name, []).append(value)
    record["FinalMetricDataList"] = list(final.values())
