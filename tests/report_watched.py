"""For the tests of the report: what the hook and the profiler of a job leave, in smdebug's and AWS's formats, small."""

import io
import json
import math
import struct
from datetime import UTC, datetime

from PIL import Image
from report_artifacts import START, TRIALS, describe_job, describe_trial, describe_tuning, write_artifacts

from dogbreed_cli import report

SECONDS = 75
PHASES = (
    ("initialize", 0, 4),
    ("train", 4, 28),
    ("evaluate", 32, 5),
    ("train", 37, 30),
    ("evaluate", 67, 4),
    ("save", 71, 4),
)
STEPS = 60
# Twelve of them, all finished: enough for the importance to be trusted.
SEARCHED = [
    describe_trial(
        n % 5 + 1, 0.4 + (math.log10(lr) + 3) ** 2 / 10 + size / 5000, TrainingJobName=f"dogbreed-tune-{n:03}-ab12cd34",
        TunedHyperParameters={"lr": str(lr), "batch-size": str(size), "optimizer": json.dumps(optimizer)},
    )
    for n, (lr, size, optimizer) in enumerate(
        (10 ** -(1 + 4 * n / 11), (32, 64, 128, 256)[n * 7 % 4], ("adamw", "sgd")[n * 5 % 3 % 2]) for n in range(12)
    )
]  # fmt: skip
RANGES = {
    "ContinuousParameterRanges": [{"Name": "lr", "MinValue": "1e-5", "MaxValue": "0.1", "ScalingType": "Logarithmic"}],
    "CategoricalParameterRanges": [
        {"Name": "batch-size", "Values": ["32", "64", "128", "256"]},
        {"Name": "optimizer", "Values": ['"adamw"', '"sgd"']},
    ],
}


def build_watched(folder, **changes):
    """A good job with the debugger and the profiler on, found by a tuning job, with pictures of its mistakes."""
    artifacts = write_artifacts(
        folder / "artifacts",
        phases={"initialize": 4.0, "data": 3.0, "forward": 31.0, "backward": 20.0, "optimizer": 4.0, "evaluate": 9.0,
                "save": 4.0},
        label_counts={"corgi": 40, "dalmatian": 41, "husky": 38, "labrador": 40, "poodle": 42, "pug": 39},
        debugger={"hook": True, "why": None, "collections": ["losses", "gradients"], "save_interval": 5},
        profiler={"interval_ms": 500, "why": None, "files": 3},
        features={"fingerprint": "9f2c", "engine": "openvino f32", "views": 1},
        world_size=1,
    )  # fmt: skip
    write_profile(artifacts / "profiler-output")
    write_tensors(artifacts / "debug-output")
    config = describe_tuning()["HyperParameterTuningJobConfig"] | {"ParameterRanges": RANGES}
    tuning = describe_tuning(HyperParameterTuningJobConfig=config)
    built = report.build(artifacts, describe_job(**changes), tuning, [*SEARCHED, TRIALS[1]])
    return report.illustrate(built, {row.file: draw_image(i) for i, row in enumerate(built.evaluation.mistakes)})


def draw_image(number, size=(320, 240)):
    image = Image.new("RGB", size, (40 + number * 37 % 200, 60 + number * 91 % 180, 90 + number * 53 % 150))
    image.paste((250, 240, 220), (60, 60, 160, 160))
    packed = io.BytesIO()
    image.save(packed, "JPEG")
    return packed.getvalue()


# ---- the profiler's files


def write_profile(folder, seconds=SECONDS):
    began = START.timestamp()
    lines = []
    for tick in range(2 * seconds):
        moment = began + tick / 2
        busy = 92 if any(start <= tick / 2 < start + long for name, start, long in PHASES if name == "train") else 25
        for core in range(2):
            lines.append(sample("cpu", f"cpu{core}", "CPUUtilization", busy - core * 4, moment))
            lines.append(sample("cpu", f"cpu{core}", "I/OWaitPercentage", 2, moment))
        lines.append(sample("memory", "MemoryUsedPercent", "", 20 + 30 * tick / seconds / 2, moment))
        for number, name in enumerate(("IOPS", "ReadThroughputInBytesPerSecond", "WriteThroughputInBytesPerSecond")):
            lines.append(sample("i/o", name, "", (tick % 9) * 10 ** (number * 3), moment))
        lines.append(sample("network", "ReceiveBytesPerSecond", "Algorithm", 1.5e6, moment))
    write(folder / "system/incremental/2026112209/29729340.algo-1.json", "\n".join(map(json.dumps, lines)) + "\n")
    write(folder / "framework/pevents/2026112209/1795338000000000_algo-1_model_timeline.json", json.dumps(timeline()))


def sample(kind, name, dimension, value, moment):
    return {"Type": kind, "Name": name, "Dimension": dimension, "Value": value, "NodeId": "algo-1", "Timestamp": moment}


def timeline():
    micros = int(START.timestamp() * 1e6)
    events = [
        {"name": "process_name", "ph": "M", "pid": 0, "tid": 0, "args": {"name": "algo-1"}},
        {"name": "start_time", "ph": "M", "pid": 0, "tid": 0, "args": {"start_time_since_epoch_in_micros": micros}},
    ]
    events += [span(name, "phase", start, long, 0) for name, start, long in PHASES]
    for number in range(STEPS):
        start = 4 + number * 28 / 30 if number < 30 else 37 + (number - 30) * 1.0
        long = 2.4 if number == 41 else 0.8 + 0.1 * math.sin(number)
        events.append(span("Step:ModeKeys.TRAIN", "step", start, long, 1, step_num=str(number)))
    events += [span("Step:ModeKeys.EVAL", "step", 32 + n / 2, 0.4, 1, step_num=str(n)) for n in range(8)]
    return sorted(events, key=lambda event: event.get("ts", 0))


def span(name, category, start, seconds, thread, **more):
    times = {"ts": round(start * 1e6), "dur": round(seconds * 1e6), "pid": 0, "tid": thread}
    return {"name": name, "ph": "X", "cat": category, **times, "args": more}


# ---- the hook's files


def write_tensors(folder, steps=STEPS):
    for step in range(steps):
        events = [("CrossEntropyLoss_output_0", 1, [1.8 * 0.95**step])]
        if step % 5 == 0:
            events.append(("CrossEntropyLoss_output_0", 2, [1.9 * 0.96**step + 0.1]))
            events.append(("gradient/Linear_weight", 1, [0.2 / (step + 1), -0.1 / (step + 1)]))
            events.append(("smdebug/reductions/abs_mean/gradient/Linear_bias", 1, [0.02 / (step + 1)]))
        path = folder / f"events/{step:012}/{step:012}_worker_0.tfevents"
        write(path, b"".join(frame(event(name, step, mode, values)) for name, mode, values in events))
    names = {
        "losses": ["CrossEntropyLoss_output_0"],
        "gradients": ["gradient/Linear_weight", "gradient/Linear_bias"],
    }
    collections = {name: {"tensor_names": of, "include_regex": []} for name, of in names.items()}
    write(folder / "collections/000000000/worker_0_collections.json", json.dumps({"collections": collections}))


def event(tag, step, mode, values):
    """protobuf by hand: Event{2: step, 5: Summary{1: Value{1: tag, 8: tensor, 9: metadata}}}."""
    tensor = number(1, 1) + text(2, text(2, number(1, len(values)))) + text(4, struct.pack(f"<{len(values)}f", *values))
    plugins = text(1, text(1, b"mode_step") + text(2, str(step).encode()))
    plugins += text(1, text(1, b"mode") + text(2, str(mode).encode()))
    return number(2, step) + text(5, text(1, text(1, tag.encode()) + text(8, tensor) + text(9, plugins)))


def number(field, value):
    return varint(field << 3) + varint(value)


def text(field, value):
    return varint(field << 3 | 2) + varint(len(value)) + value


def varint(value):
    found = b""
    while value > 127:
        found += bytes([value & 127 | 128])
        value >>= 7
    return found + bytes([value])


def frame(data):
    return struct.pack("<Q", len(data)) + b"0000" + data + b"0000"


# ---- AWS's own report


def write_aws_report(folder):
    reports = folder / "rule-output/ProfilerReport-1234567890/profiler-output/profiler-reports"
    found = {"RuleTriggered": 3, "Violations": 3, "Details": {"cpu": 1}, "Datapoints": 1200, "RuleParameters": "a:50"}
    write(reports / "CPUBottleneck.json", json.dumps(found))
    write(reports / "StepOutlier.json", json.dumps({"RuleTriggered": 0, "Datapoints": 60, "Newest": 1}))


def rule_status(rule, status, details=""):
    moment = datetime(2026, 11, 22, 9, 5, tzinfo=UTC)
    found = {"RuleConfigurationName": rule, "RuleEvaluationStatus": status, "LastModifiedTime": moment}
    return found | ({"StatusDetails": details} if details else {})


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
