"""AWS's profiler rules that look at system metrics: how busy processors, GPUs, memory, disk and network were.

Percent throughout, as AWS samples them. A moment is one sampling of a node; AWS's sampler and ours take the metrics
of a moment within some milliseconds of each other, so they are matched by the nearest time.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from dogbreed_cli.report.verdict import Finding, NotEvaluated, Observed, rule, say_share, scale_patience
from dogbreed_cli.report.wording import count_noun

# (node, instance) -> times, values; both of shape (samples,), in the order of time.
Series = dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]

NO_SAMPLES = "Turn the profiler on (debugger.profiler_interval = 500)."


def series_of(observed: Observed, dimension: str, name: str | None = None) -> Series:
    """A system metric of every instance of every node; by name where the dimension is empty."""
    found = observed.profile.metrics.get(dimension, {})
    return {
        key: (np.asarray(times), np.asarray(values))
        for key, (times, values) in sorted(found.items())
        if name in (None, key[1])
    }


def gpu_series(observed: Observed, dimension: str = "GPUUtilization") -> Series:
    if not observed.has_gpu:
        raise NotEvaluated("The job ran without a GPU.", "On an instance with a GPU this rule has something to judge.")
    found = series_of(observed, dimension)
    if not found:
        why = observed.profile.why or f"There are no samples of {dimension}."
        raise NotEvaluated(why, f"{NO_SAMPLES} GPU metrics need NVML (nvidia-ml-py) in the container.")
    return found


def node_mean(series: Series, node: str) -> np.ndarray:
    """The mean over a node's instances at each moment of the first of them."""
    own = of_node(series, node)
    return np.mean([at(own[0][0], *one) for one in own], axis=0)


def of_node(series: Series, node: str) -> list[tuple[np.ndarray, np.ndarray]]:
    return [times_values for (of, _), times_values in series.items() if of == node]


def at(moments: np.ndarray, times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The values that were sampled nearest to the moments."""
    after = np.clip(np.searchsorted(times, moments), 1, max(1, len(times) - 1))
    before = after - 1
    after = np.minimum(after, len(times) - 1)
    return np.where(moments - times[before] <= times[after] - moments, values[before], values[after])


def nodes(series: Series) -> list[str]:
    return sorted({node for node, _ in series})


def percentiles(values: np.ndarray) -> dict[str, float]:
    """As AWS's reports name them."""
    low, middle, high, highest = np.quantile(values, (0.05, 0.5, 0.95, 0.99))
    return {
        "max": float(values.max()), "p99": float(highest), "p95": float(high), "p50": float(middle),
        "p5": float(low), "min": float(values.min()),
    }  # fmt: skip


def windows(values: np.ndarray, window: int, patience: int) -> list[np.ndarray]:
    """The stretches of `window` samples that fit into what follows patience, counted back from the end."""
    ends = range(len(values), patience + window - 1, -window)
    return [values[end - window : end] for end in reversed(ends)]


def starve(observed: Observed, dimension: str, busy_above: float, idle_below: float) -> tuple[int, int, int]:
    """Moments at which a GPU idles, those of them at which a core's metric is high, and all moments."""
    gpus, cores = gpu_series(observed), series_of(observed, dimension)
    if not cores:
        raise NotEvaluated(f"There are no samples of {dimension}.", NO_SAMPLES)
    idle = starved = moments = 0
    for node in nodes(gpus):
        of_gpus, of_cores = of_node(gpus, node), of_node(cores, node)
        times = of_gpus[0][0]
        low = np.any([at(times, *one) < idle_below for one in of_gpus], axis=0)
        high = np.any([at(times, *one) > busy_above for one in of_cores], axis=0) if of_cores else np.zeros_like(low)
        moments, idle, starved = moments + len(times), idle + int(low.sum()), starved + int((low & high).sum())
    return idle, starved, moments


@rule(
    "profiler",
    threshold="In at most {threshold:g} % of the samples may a GPU be below {gpu_threshold:g} % busy while a processor "
    "core is above {cpu_threshold:g} %.",
    advice="The processor cannot feed the GPU: raise train.workers up to the number of cores, train on cached features "
    "(features.enabled), decode smaller images, or take an instance with more cores per GPU.",
)
def cpu_bottleneck(
    observed: Observed,
    threshold: float = 50,
    gpu_threshold: float = 10,
    cpu_threshold: float = 90,
    patience: int = 1000,
) -> Finding:
    idle, starved, moments = starve(observed, "CPUUtilization", cpu_threshold, gpu_threshold)
    return judge_bottleneck(idle, starved, moments, threshold, patience, "a processor core was busy")


@rule(
    "profiler",
    threshold="In at most {threshold:g} % of the samples may a GPU be below {gpu_threshold:g} % busy while a processor "
    "core waits for input and output more than {io_threshold:g} % of the time.",
    advice="The disk cannot feed the GPU: keep the images on the instance's own disk (input mode File), cache features "
    "(features.enabled), pack small files into shards, or take a faster volume.",
)
def io_bottleneck(
    observed: Observed, threshold: float = 50, gpu_threshold: float = 10, io_threshold: float = 50, patience: int = 1000
) -> Finding:
    idle, starved, moments = starve(observed, "I/OWaitPercentage", io_threshold, gpu_threshold)
    return judge_bottleneck(idle, starved, moments, threshold, patience, "a processor core waited for the disk")


def judge_bottleneck(idle: int, starved: int, moments: int, threshold: float, patience: int, meanwhile: str) -> Finding:
    scaled = {"patience": scale_patience(patience, moments)}
    evidence = (
        f"In {say_share(idle, moments)} of {count_noun(moments, 'sample')} a GPU was idle, "
        f"in {say_share(starved, moments)} a GPU was idle while {meanwhile}."
    )
    details = {"low_gpu_utilization": idle, "bottlenecks": starved}
    return Finding(100 * starved / moments > threshold, evidence, starved, moments, details, scaled)


@rule(
    "profiler",
    threshold="The memory in use on a GPU may grow by {increase:g} percentage points at most from one mean of {window} "
    "samples to the next, after the first {patience} samples.",
    advice="Something keeps tensors alive: look for lists that collect losses or outputs without .item() or .detach(), "
    "or for batches that grow. A job whose memory grows ends with out of memory.",
)
def gpu_memory_increase(observed: Observed, increase: float = 5, patience: int = 1000, window: int = 10) -> Finding:
    found = gpu_series(observed, "GPUMemoryUtilization")
    fewest = min(len(values) for _, values in found.values())
    patience = scale_patience(patience, fewest)
    details: dict[str, Any] = {}
    grown = total = 0
    largest = -np.inf
    for (node, gpu), (_, values) in found.items():
        means = np.array([part.mean() for part in windows(values, window, patience)])
        steps = np.diff(means) if len(means) > 1 else np.zeros(1)
        grown, total, largest = grown + int((steps > increase).sum()), total + len(steps), max(largest, steps.max())
        details.setdefault(node, {})[gpu] = {"increase": float(steps.max()), **percentiles(values)}
    highest = max(float(values.max()) for _, values in found.values())
    evidence = (
        f"The largest growth is {largest:.1f} percentage points; at most {highest:.0f} % of a GPU's memory were used."
    )
    return Finding(grown > 0, evidence, grown, total, details, {"patience": patience})


@rule(
    "profiler",
    threshold="The utilisation of two GPUs may be distributed at most {threshold:g} apart (0: alike, 0.83: never).",
    advice="Give each GPU the same share of work: equal batches per process, a DistributedSampler instead of "
    "DataParallel, and nothing but the training on GPU 0.",
)
def load_balancing(observed: Observed, threshold: float = 0.5, patience: int = 1000) -> Finding:
    found = gpu_series(observed)
    if len(found) < 2:
        raise NotEvaluated("The job has one GPU: there is nothing to balance.", "")
    patience = scale_patience(patience, min(len(values) for _, values in found.values()))
    spread = {key: np.histogram(values, np.arange(0, 102, 2))[0] / len(values) for key, (_, values) in found.items()}
    distances = {(a, b): jensen_shannon(spread[a], spread[b]) for a, b in combinations(spread, 2)}
    far = [pair for pair, distance in distances.items() if distance > threshold]
    (a, b), most = max(distances.items(), key=lambda item: item[1])
    means = {key: float(values.mean()) for key, (_, values) in found.items()}
    evidence = (
        f"The GPUs that differ most, {' '.join(a)} ({means[a]:.0f} % busy on average) and {' '.join(b)} "
        f"({means[b]:.0f} %), have a distance of {most:.2f}."
    )
    details = {"distances": {f"{' '.join(a)} - {' '.join(b)}": distance for (a, b), distance in distances.items()}}
    return Finding(bool(far), evidence, len(far), len(distances), details, {"patience": patience})


def jensen_shannon(a: np.ndarray, b: np.ndarray) -> float:
    """The distance of two distributions: 0 when they are the same, 0.83 (the root of ln 2) when they never meet."""
    middle = (a + b) / 2
    divergence = sum(float(np.sum(p[p > 0] * np.log(p[p > 0] / middle[p > 0]))) for p in (a, b)) / 2
    return float(np.sqrt(max(0.0, divergence)))


@rule(
    "profiler",
    threshold="The 95th percentile of a GPU's utilisation has to reach {threshold_p95:g} %, and where it does the 5th "
    "has to reach {threshold_p5:g} %, over {window} samples after the first {patience}.",
    advice="Raise the batch size, feed the GPU faster (train.workers, cached features), or pay for a smaller one. "
    "When it jumps between idle and busy, look at data wait and at evaluation first.",
)
def low_gpu_utilization(
    observed: Observed, threshold_p95: float = 70, threshold_p5: float = 10, window: int = 500, patience: int = 1000
) -> Finding:
    found = gpu_series(observed)
    fewest = min(len(values) for _, values in found.values())
    patience = scale_patience(patience, fewest)
    scaled = {"patience": patience, "window": min(window, fewest - patience)}
    details: dict[str, Any] = {}
    low = judged = 0
    said = []
    for (node, gpu), (_, values) in found.items():
        parts = [np.quantile(part, (0.95, 0.05)) for part in windows(values, scaled["window"], patience)]
        bad = [p95 < threshold_p95 or p5 < threshold_p5 for p95, p5 in parts]
        low, judged = low + int(sum(bad)), judged + len(bad)
        worst = min(parts, key=lambda pair: tuple(pair))
        details.setdefault(node, {})[gpu] = {"gpu_95": float(worst[0]), "gpu_5": float(worst[1])}
        said.append(f"{gpu} of {node}: 95th percentile {worst[0]:.0f} %, 5th {worst[1]:.0f} % at its worst")
    evidence = f"{low} of {count_noun(judged, 'window')} are beyond the threshold ({'; '.join(said[:4])})."
    return Finding(low > 0, evidence, low, judged, details, scaled)


@rule(
    "profiler",
    threshold="A larger batch would fit when over {window} samples the 95th percentiles are all low: processor below "
    "{cpu_threshold_p95:g} %, GPU below {gpu_threshold_p95:g} %, its memory below {gpu_memory_threshold_p95:g} %.",
    advice="Double train.batch_size (and the learning rate with it) until one of the three is busy, or take a smaller "
    "and cheaper instance.",
)
def batch_size(
    observed: Observed,
    cpu_threshold_p95: float = 70,
    gpu_threshold_p95: float = 70,
    gpu_memory_threshold_p95: float = 70,
    patience: int = 1000,
    window: int = 500,
) -> Finding:
    gpus, memory = gpu_series(observed), gpu_series(observed, "GPUMemoryUtilization")
    cores = series_of(observed, "CPUUtilization")
    if not cores:
        raise NotEvaluated("There are no samples of CPUUtilization.", NO_SAMPLES)
    fewest = min(len(values) for series in (gpus, memory) for _, values in series.values())
    patience = scale_patience(patience, fewest)
    scaled = {"patience": patience, "window": min(window, fewest - patience)}
    details: dict[str, Any] = {}
    said = []
    small = 0
    for node, gpu in gpus.keys() & memory.keys():
        if node not in nodes(cores):
            continue
        of = {"cpu": node_mean(cores, node), "gpu": gpus[node, gpu][1], "memory": memory[node, gpu][1]}
        p95 = {name: float(np.quantile(values[-scaled["window"] :], 0.95)) for name, values in of.items()}
        small += (
            p95["cpu"] < cpu_threshold_p95
            and p95["gpu"] < gpu_threshold_p95
            and p95["memory"] < gpu_memory_threshold_p95
        )
        details.setdefault(node, {})[gpu] = p95
        said.append(
            f"{gpu} of {node}: GPU {p95['gpu']:.0f} %, its memory {p95['memory']:.0f} %, processor {p95['cpu']:.0f} %"
        )
    known = f" with a batch of {observed.batch_size}" if observed.batch_size else ""
    evidence = f"The 95th percentiles{known} are, for {'; '.join(sorted(said)[:4])}."
    return Finding(small > 0, evidence, small, fewest, details, scaled)


@rule("profiler", threshold="None: this rule sums up and never triggers.", advice="")
def overall_system_usage(observed: Observed) -> Finding:
    metrics: Mapping[str, Series] = {
        "CPU": series_of(observed, "CPUUtilization"),
        "CPU memory": series_of(observed, "", "MemoryUsedPercent") or series_of(observed, "MemoryUsedPercent"),
        "GPU": series_of(observed, "GPUUtilization"),
        "GPU memory": series_of(observed, "GPUMemoryUtilization"),
        "I/O": series_of(observed, "I/OWaitPercentage"),
        "Network": series_of(observed, "Algorithm"),
    }
    if not any(metrics.values()):
        raise NotEvaluated(observed.profile.why or "There are no system metrics.", NO_SAMPLES)
    details: dict[str, Any] = {}
    said = []
    for name, series in metrics.items():
        for node in nodes(series):
            # Bytes received and sent add up; percentages of cores do not.
            instances = len(of_node(series, node)) if name == "Network" else 1
            details.setdefault(name, {})[node] = percentiles(instances * node_mean(series, node))
        if series and name != "Network":
            means = [node_mean(series, node) for node in nodes(series)]
            median, high = np.quantile(np.concatenate(means), (0.5, 0.95))
            said.append(f"{name} {median:.0f} % (95th percentile {high:.0f} %)")
    moments = max(len(times) for series in metrics.values() for times, _ in series.values())
    return Finding(False, f"Median use over {count_noun(moments, 'sample')}: {', '.join(said)}.", 0, moments, details)
