"""What a rule sees, what it says, and how a rule is written down.

    @rule("debugger", threshold="a gradient whose mean size is below {threshold:g}", advice="Raise the learning rate.")
    def vanishing_gradient(observed: Observed, threshold: float = 1e-7) -> Finding: ...

The function's name in CamelCase is AWS's name of the rule, its keyword parameters and their defaults are AWS's. A rule
that lacks what it judges raises NotEvaluated: no data is never "no issue".

AWS's profiler rules wait for `patience` samples, 1000 of 500 ms, since a job that starts up leaves its GPU idle; so
none can fire within 8.3 minutes. Here patience is scaled to the job's length (`scale_patience`): a quarter of its
samples, at most AWS's number. As in AWS, what lies within patience counts where a rule counts all samples.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import TYPE_CHECKING, Any

from dogbreed_cli.report.wording import count_noun

if TYPE_CHECKING:
    from dogbreed_cli.report.artifacts import Epoch
    from dogbreed_cli.report.profile import Profile
    from dogbreed_cli.report.tensors import Tensors

TRIGGERED, NOT_TRIGGERED, NOT_EVALUATED = "triggered", "not triggered", "not evaluated"
# Below this many samples (10 s at the default interval) nothing is said about a job.
FEWEST_SAMPLES = 20


@dataclass(frozen=True)
class Observed:
    """All that is known of a job. `phases`: seconds by phase of the whole process; `label_counts`: training images."""

    epochs: tuple["Epoch", ...]
    tensors: "Tensors"
    profile: "Profile"
    label_counts: Mapping[str, int]
    has_gpu: bool
    batch_size: int | None
    phases: Mapping[str, float]


@dataclass(frozen=True)
class Verdict:
    """`evidence`, `threshold` and `advice` are sentences. `violations` of `datapoints` were beyond the threshold."""

    rule: str
    kind: str  # debugger | profiler
    state: str  # triggered | not triggered | not evaluated
    evidence: str
    threshold: str
    advice: str
    violations: int
    datapoints: int
    details: Mapping[str, Any]
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """What a rule found. `parameters`: those that were scaled to the job, in place of the defaults."""

    triggered: bool
    evidence: str
    violations: int
    datapoints: int
    details: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)


class NotEvaluated(Exception):
    """A rule lacks what it judges: why, and what to do to have it."""

    def __init__(self, why: str, fix: str = "") -> None:
        super().__init__(why)
        self.why, self.fix = why, fix


Rule = Callable[[Observed], Verdict]


def rule(kind: str, *, threshold: str, advice: str) -> Callable[[Callable[..., Finding]], Rule]:
    """`threshold` may name parameters, as str.format does."""

    def decorate(judge: Callable[..., Finding]) -> Rule:
        name = rule_name(judge.__name__)
        signature = inspect.signature(judge)
        defaults = {key: given.default for key, given in signature.parameters.items() if key != "observed"}

        @wraps(judge)
        def judged(observed: Observed) -> Verdict:
            blank = Verdict(name, kind, NOT_EVALUATED, "", threshold.format(**defaults), "", 0, 0, {}, defaults)
            try:
                found = judge(observed)
            except NotEvaluated as missing:
                return replace(blank, evidence=missing.why, advice=missing.fix)
            parameters = {**defaults, **found.parameters}
            return replace(
                blank,
                state=TRIGGERED if found.triggered else NOT_TRIGGERED,
                evidence=found.evidence,
                threshold=threshold.format(**parameters),
                advice=advice if found.triggered else "Nothing to do.",
                violations=found.violations,
                datapoints=found.datapoints,
                details=found.details,
                parameters=parameters,
            )

        return judged

    return decorate


def rule_name(function: str) -> str:
    """AWS's: cpu_bottleneck -> CPUBottleneck."""
    words = [word.upper() if word in ("cpu", "gpu", "io") else word.capitalize() for word in function.split("_")]
    return "".join(words)


def scale_patience(patience: int, datapoints: int) -> int:
    if datapoints < FEWEST_SAMPLES:
        raise NotEvaluated(
            f"Only {count_noun(datapoints, 'sample')} were taken; {FEWEST_SAMPLES} are the least to judge by.",
            "Let the job run longer, or sample more often (debugger.profiler_interval).",
        )
    return min(patience, datapoints // 4)


def say(value: float) -> str:
    """A number of a loss or a gradient, at four digits."""
    if math.isnan(value):
        return "not a number"
    return f"{value:.4g}" if math.isfinite(value) else "infinite"


def say_share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "none"


def to_aws_json(verdict: Verdict) -> dict[str, Any]:
    """As AWS's profiler-reports/<Rule>.json has it. What was not evaluated has no datapoints, and Details say why."""
    details = {"NotEvaluated": verdict.evidence} if verdict.state == NOT_EVALUATED else to_plain(verdict.details)
    return {
        "RuleTriggered": int(verdict.state == TRIGGERED),
        "Violations": verdict.violations,
        "Details": details,
        "Datapoints": verdict.datapoints,
        "RuleParameters": "\n".join(f"{name}:{value}" for name, value in verdict.parameters.items()),
    }


def to_plain(value: Any) -> Any:
    """For JSON, which has neither infinity nor numpy's numbers; those that are not finite become null."""
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return to_plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
