"""(j) Reading an hour's profile, and judging it by every rule, beside smdebug's own readers of the same files."""

import json
import sys
from statistics import median

import ours
import process
from table import Row

SAMPLES, STEPS = 8_000, 5_000  # of the machine, and of the training, each with three parts
START = 1_700_000_000
OURS = """
import sys, time
from pathlib import Path
from dogbreed_cli.report.profile import read_profile
from dogbreed_cli.report.rules import evaluate_rules
from dogbreed_cli.report.tensors import Tensors
from dogbreed_cli.report.verdict import Observed
began = time.perf_counter()
profile = read_profile(Path(sys.argv[1]))
read = time.perf_counter()
evaluate_rules(Observed((), Tensors({}, {}, "none"), profile, {}, False, 32, {}))
print(len(profile.samples), len(profile.events), read - began, time.perf_counter() - began)
"""
SMDEBUG = """
import os, sys, time
os.environ["SMDEBUG_LOG_LEVEL"] = "error"
from smdebug.profiler.algorithm_metrics_reader import LocalAlgorithmMetricsReader
from smdebug.profiler.system_metrics_reader import LocalSystemMetricsReader
from smdebug.profiler.utils import TimeUnits
began = time.perf_counter()
found = [reader(sys.argv[1]).get_events(0, 4102444800, TimeUnits.SECONDS)
         for reader in (LocalSystemMetricsReader, LocalAlgorithmMetricsReader)]
print(*map(len, found), time.perf_counter() - began)
"""
READ, JUDGED, PEER = "ours", "ours, and 20 rules", "smdebug's readers"
MOST = 2  # times what the peer takes, which judges nothing


def measure(work, sizes):
    folder = work.folder / "profile"
    write(folder)
    seconds = {READ: [], JUDGED: [], PEER: []}
    for _ in range(sizes.rounds):
        for program, python, names in (
            (OURS, sys.executable, (READ, JUDGED)),
            (SMDEBUG, ours.container_python(), (PEER,)),
        ):
            samples, events, *taken = process.run([python, "-c", program, folder]).stdout.splitlines()[-1].split()
            if (int(samples), int(events)) != (SAMPLES, 4 * STEPS):
                raise process.Failed(f"{names[0]}: {samples} samples and {events} events were read")
            for name, value in zip(names, taken, strict=True):
                seconds[name].append(float(value))
    note = f"{SAMPLES} samples and {4 * STEPS} events; imports not counted"
    rows = [Row("an hour's profile", name, "s", values, note) for name, values in seconds.items()]
    peer = median(seconds[PEER])
    for row in rows[:2]:
        times = row.median / peer
        row.must(f"<= {MOST} x {PEER} ({times:.2f} x)", times <= MOST)
    return rows


def write(folder):
    """What `sampler.py` and `timeline.py` leave of an hour: a file a minute, and one timeline."""
    system = folder / "system" / "incremental" / "2023111422"
    pevents = folder / "framework" / "pevents" / "2023111422"
    for made in (system, pevents):
        made.mkdir(parents=True, exist_ok=True)
    minutes = {}
    for number in range(SAMPLES):
        since = number * 3600 / SAMPLES
        line = {
            "Type": "cpu", "Name": f"cpu{number % 8}", "Dimension": "CPUUtilization", "Value": number % 100,
            "NodeId": "algo-1", "Timestamp": START + since,
        }  # fmt: skip
        minutes.setdefault(int(START + since) // 60 * 60, []).append(json.dumps(line) + "\n")
    for minute, lines in minutes.items():
        (system / f"{minute}.algo-1.json").write_text("".join(lines))
    (pevents / f"{START + 3600}000000_algo-1_model_timeline.json").write_text(json.dumps(list(timeline())))


def timeline():
    micros = {"start_time_since_epoch_in_micros": START * 1_000_000}
    yield {"name": "process_name", "ph": "M", "pid": 0, "tid": 0, "args": {"name": "algo-1"}}
    yield {"name": "start_time", "ph": "M", "pid": 0, "tid": 0, "args": micros}
    each = 3600 * 1_000_000 // STEPS
    for number in range(STEPS):
        common = {"ph": "X", "pid": 0, "tid": 0, "dur": each // 4}
        yield {
            **common, "name": "Step:ModeKeys.TRAIN", "cat": "step", "ts": number * each, "dur": each - 1,
            "args": {"step_num": str(number)},
        }  # fmt: skip
        for place, part in enumerate(("data", "forward", "backward")):
            yield {**common, "name": part, "cat": "part", "ts": number * each + place * each // 4, "args": {}}
