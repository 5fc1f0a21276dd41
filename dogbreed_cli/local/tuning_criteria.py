"""TuningJobCompletionCriteria: when the objectives of a tuning job's own trials end the search.

TargetObjectiveMetricValue: one of them is as good. BestObjectiveNotImproving: so many, one after the other, were not
better by 1 % than the best before them. ConvergenceDetected: AWS decides it by an unpublished estimate that less than
1 % is left to gain; here it is the same count as before, with ten trials. That is simpler, and no search of up to ten
trials ever gets there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Score = tuple[float, float]  # when a trial ended, and its objective
# AWS counts what is better by less as no improvement.
LEAST_GAIN = 0.01
CONVERGED_AFTER = 10


def criterion_met(config: Mapping[str, Any], scores: Sequence[Score]) -> bool:
    """`config` is HyperParameterTuningJobConfig; `scores` are in the order in which the trials ended."""
    criteria = config.get("TuningJobCompletionCriteria", {})
    target = criteria.get("TargetObjectiveMetricValue")
    if target is not None:
        minimize = is_minimized(config)
        if any(score <= target if minimize else score >= target for _, score in scores):
            return True
    patience = criteria.get("BestObjectiveNotImproving", {}).get("MaxNumberOfTrainingJobsNotImproving")
    if patience is not None and not_improving(config, scores) >= patience:
        return True
    converging = criteria.get("ConvergenceDetected", {}).get("CompleteOnConvergence") == "Enabled"
    return converging and convergence(config, scores) is not None


def is_minimized(config: Mapping[str, Any]) -> bool:
    return bool(config["HyperParameterTuningJobObjective"]["Type"] == "Minimize")


def not_improving(config: Mapping[str, Any], scores: Sequence[Score]) -> int:
    """How many of the last trials were no improvement."""
    best, since = None, 0
    for _, score in scores:
        value = -score if is_minimized(config) else score
        if best is None or (value - best >= LEAST_GAIN * abs(best) and value > best):
            since = 0
        else:
            since += 1
        best = value if best is None else max(best, value)
    return since


def convergence(config: Mapping[str, Any], scores: Sequence[Score]) -> float | None:
    """When the search had converged for the first time."""
    for count in range(1, len(scores) + 1):
        if not_improving(config, scores[:count]) >= CONVERGED_AFTER:
            return scores[count - 1][0]
    return None


def completion_details(config: Mapping[str, Any], scores: Sequence[Score]) -> dict[str, Any]:
    """TuningJobCompletionDetails of DescribeHyperParameterTuningJob."""
    details: dict[str, Any] = {"NumberOfTrainingJobsObjectiveNotImproving": not_improving(config, scores)}
    if (moment := convergence(config, scores)) is not None:
        details["ConvergenceDetectedTime"] = moment
    return details
