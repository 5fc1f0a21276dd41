"""AWS's profiler rules that look at the timeline: how long steps and their parts took, and what came before the first.

Steps are the events Step:ModeKeys.TRAIN and Step:ModeKeys.EVAL, parts are data, forward, backward and optimizer. A
timeline that grew too large has phases only; then, and without the profiler, the seconds by phase of metrics.json
are taken where they say enough.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dogbreed_cli.report.profiler_rules import percentiles
from dogbreed_cli.report.verdict import Finding, NotEvaluated, Observed, rule, say_share
from dogbreed_cli.report.wording import SPACE, count_noun, say_duration

if TYPE_CHECKING:
    from dogbreed_cli.report.profile import Event

STEP = "Step:ModeKeys."
PARTS = ("data", "forward", "backward", "optimizer")
BEFORE_TRAINING = ("initialize", "calibrate")
FIX = "Turn the profiler on (debugger.profiler_interval = 500)."
# Below this many steps of a mode a standard deviation says little. AWS wants more than 100.
FEWEST_STEPS = 20
# smdebug's names of what PyTorch's loader does, from AWS's own containers.
LOADERS = ("DataLoaderIter", "DataLoaderWorker")


def steps_of(observed: Observed) -> dict[tuple[str, str], list["Event"]]:
    """(node, mode) -> its steps in the order of time."""
    found: dict[tuple[str, str], list[Event]] = {}
    for event in observed.profile.events:
        if event.name.startswith(STEP):
            found.setdefault((event.node, event.name.removeprefix(STEP)), []).append(event)
    return found


def no_steps(observed: Observed) -> NotEvaluated:
    return NotEvaluated(observed.profile.why or "The timeline holds no training steps.", FIX)


@rule(
    "profiler",
    threshold="At most {n_outliers} steps of a mode may take longer than the mean and {stddev:g} standard deviations.",
    advice="Look at the timeline at those steps: a checkpoint, an evaluation, a slow read, or another process on the "
    "machine. Regular ones are the loader's: raise train.workers.",
)
def step_outlier(observed: Observed, stddev: float = 3, mode: str | None = None, n_outliers: int = 10) -> Finding:
    groups = {key: events for key, events in steps_of(observed).items() if mode in (None, key[1])}
    if not groups:
        raise no_steps(observed)
    groups = {key: events for key, events in groups.items() if len(events) >= FEWEST_STEPS}
    if not groups:
        raise NotEvaluated(f"No mode has {FEWEST_STEPS} steps: too few to call one an outlier.", "Train longer.")
    longest = max(len(events) for events in groups.values())
    # One in a hundred: AWS's 10 are 1 % of the 1,000 steps that it expects.
    allowed = min(n_outliers, max(1, longest // 100))
    details: dict[str, Any] = {}
    violations = 0
    said = []
    for (node, of_mode), events in sorted(groups.items()):
        seconds = np.array([event.seconds for event in events])
        limit = float(seconds.mean() + stddev * seconds.std())
        # The first step is warm-up; a hair more than the limit is rounding, where all steps take the same time.
        slow = [i for i in np.flatnonzero(seconds > limit * (1 + 1e-9)) if i > 0]
        violations += len(slow) if len(slow) > allowed else 0
        numbers = [str(events[i].args.get("step_num", i)) for i in slow]
        details.setdefault("step_details", {})[f"{node} {of_mode}"] = {
            "step_stats": percentiles(seconds), "mean": float(seconds.mean()), "stddev": float(seconds.std()),
            "number_of_outliers": len(slow), "phase": STEP + of_mode, "step_numbers": numbers,
        }  # fmt: skip
        said.append(
            f"{len(slow)} of {len(events):,} {of_mode} steps on {node or 'the node'} took longer than "
            f"{say_seconds(limit)} (mean {say_seconds(float(seconds.mean()))}, longest "
            f"{say_seconds(float(seconds.max()))})"
        )
    total = sum(len(events) for events in groups.values())
    return Finding(violations > 0, "; ".join(said) + ".", violations, total, details, {"n_outliers": allowed})


@rule(
    "profiler",
    threshold="The first training step has to begin within {threshold:g} minutes of the job's start.",
    advice="See what initialisation does: pip installs of requirements.txt, a download of weights, a copy of the data "
    "(input mode FastFile or Pipe starts at once), the extraction of features.",
)
def max_initialization_time(observed: Observed, threshold: float = 20) -> Finding:
    steps = [event for events in steps_of(observed).values() for event in events]
    profile = observed.profile
    began = min(
        [sample.timestamp for sample in profile.samples[:1]] + [event.start for event in profile.events[:1]], default=0
    )
    if steps:
        first = min(event.start for event in steps)
        waited, reached = first - began, True
    elif any(observed.phases.get(phase) for phase in ("train", *PARTS)):
        waited, reached = sum(observed.phases.get(phase, 0.0) for phase in BEFORE_TRAINING), True
    elif profile.samples or profile.events:
        ended = max(
            [s.timestamp for s in profile.samples[-1:]] + [e.start + e.seconds for e in profile.events], default=0
        )
        waited, reached = ended - began, False
    else:
        raise no_steps(observed)
    triggered = waited > 60 * threshold
    if not reached and not triggered:
        raise NotEvaluated(
            f"No training step began in the {say_seconds(waited)} that were recorded.", "See the job's log."
        )
    evidence = (
        f"The first training step began {say_seconds(waited)} after the job's start."
        if reached
        else f"No training step began in {say_seconds(waited)}."
    )
    details = {"seconds": waited, "step_num": {"first": began + waited} if reached and steps else {}}
    return Finding(triggered, evidence, int(triggered), len(steps), details)


@rule(
    "profiler",
    threshold="Training may wait for its next batch at most {max_wait:g} % of the time. Where AWS's own timeline "
    "names the loader's processes, {min_threshold:g} to {max_threshold:g} % as many as cores have to run.",
    advice="Raise train.workers towards the number of cores (not beyond), train on cached features (features.enabled), "
    "or store smaller images.",
)
def dataloader(
    observed: Observed, min_threshold: float = 70, max_threshold: float = 200, max_wait: float = 25
) -> Finding:
    if any(event.category in LOADERS for event in observed.profile.events):
        return judge_processes(observed, min_threshold, max_threshold)
    waits = np.array([event.seconds for event in observed.profile.events if event.name == "data"])
    seconds = seconds_of_parts(observed)
    total = sum(seconds.values())
    if not total or "data" not in seconds:
        raise NotEvaluated(
            observed.profile.why or "Neither the timeline nor metrics.json says how long training waited for data.", FIX
        )
    share = 100 * seconds["data"] / total
    evidence = f"{share:.0f} % of the time of the steps ({say_seconds(seconds['data'])}) went into waiting for data"
    evidence += f": {say_seconds(float(np.median(waits)))} a step in the median." if len(waits) else "."
    details: dict[str, Any] = {"wait_percent": share, "seconds": seconds}
    if len(waits):
        details["dataloading_time"] = percentiles(waits)
        slow = sum(1 for wait in waits if wait > max_wait / 100 * total / len(waits))
        return Finding(share > max_wait, evidence, slow, len(waits), details)
    return Finding(share > max_wait, evidence, int(share > max_wait), 1, details)


def judge_processes(observed: Observed, min_threshold: float, max_threshold: float) -> Finding:
    """AWS's measure: how many loader processes run within a second, in the median, against the number of cores."""
    running: dict[int, set[Any]] = {}
    for event in observed.profile.events:
        if event.category in LOADERS:
            running.setdefault(int(event.start), set()).add((event.node, event.args.get("pid")))
    processes = float(np.median([len(pids) for pids in running.values()]))
    cores = len({(s.node, s.name) for s in observed.profile.samples if s.dimension == "CPUUtilization"})
    if not cores:
        raise NotEvaluated("There are no samples of CPUUtilization to count the cores by.", FIX)
    wrong = not min_threshold <= 100 * processes / cores <= max_threshold
    evidence = f"{processes:g} loader processes ran side by side in the median, on {count_noun(cores, 'core')}."
    return Finding(wrong, evidence, int(wrong), len(running), {"cores": cores, "dataloaders": processes})


def seconds_of_parts(observed: Observed) -> dict[str, float]:
    seconds: dict[str, float] = defaultdict(float)
    for event in observed.profile.events:
        if event.name in PARTS and event.category in ("part", ""):
            seconds[event.name] += event.seconds
    # One part alone has no share of anything.
    if not seconds and "forward" in observed.phases:
        seconds.update({name: observed.phases[name] for name in PARTS if name in observed.phases})
    return dict(seconds)


@rule("profiler", threshold="None: this rule sums up and never triggers.", advice="")
def overall_framework_metrics(observed: Observed) -> Finding:
    modes: dict[str, float] = defaultdict(float)
    for (_, mode), events in steps_of(observed).items():
        modes[STEP + mode] += sum(event.seconds for event in events)
    parts = seconds_of_parts(observed)
    if not modes and not parts and not observed.phases:
        raise no_steps(observed)
    timeline = observed.profile.events
    begins = [event.start for event in timeline]
    whole = max([event.start + event.seconds for event in timeline], default=0.0) - min(begins, default=0.0)
    nodes = len({event.node for event in timeline}) or 1
    if modes:
        modes["others"] = max(0.0, whole * nodes - sum(modes.values()))
    said = [say_shares("Of the time", {key.removeprefix(STEP): value for key, value in modes.items()})] if modes else []
    if parts:
        said.append(say_shares("of the steps", parts))
    if not modes and observed.phases:
        said.append(say_shares("of the process", observed.phases))
    passes = {"Forward pass": parts.get("forward", 0.0), "Backward pass": parts.get("backward", 0.0)}
    details = {
        "phase": as_percent(modes), "general": as_percent(parts), "forward_backward": as_percent(passes),
        "seconds_by_phase": dict(observed.phases),
    }  # fmt: skip
    evidence = "; ".join(said)
    return Finding(
        False, f"{evidence[0].upper()}{evidence[1:]}.", 0, sum(map(len, steps_of(observed).values())), details
    )


def as_percent(seconds: Mapping[str, float]) -> dict[str, float]:
    total = sum(seconds.values())
    return {name: 100 * value / total for name, value in seconds.items()} if total else {}


def say_shares(of: str, seconds: Mapping[str, float]) -> str:
    total = sum(seconds.values())
    ranked = sorted(seconds.items(), key=lambda item: -item[1])
    return f"{of} " + ", ".join(f"{name} took {say_share(value, total)}" for name, value in ranked)


def say_seconds(seconds: float) -> str:
    """Steps on cached features take less than a millisecond."""
    return f"{1000 * seconds:.3g}{SPACE}ms" if 0 < seconds < 1 else say_duration(seconds)
