"""What CreateHyperParameterTuningJob may ask of this machine, and the training job that a trial asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

from dogbreed_cli.local.errors import refusal
from dogbreed_cli.local.listing import refuse_others
from dogbreed_cli.local.records import Record
from dogbreed_cli.local.training_jobs import ENDED
from dogbreed_cli.local.training_request import check_training_request


def check_tuning_request(request: Mapping[str, Any]) -> None:
    """Raises ValidationException."""
    refuse_others(
        request,
        {
            "HyperParameterTuningJobName",
            "HyperParameterTuningJobConfig",
            "TrainingJobDefinition",
            "WarmStartConfig",
            "Tags",
        },
    )
    config = request["HyperParameterTuningJobConfig"]
    refuse_others(
        config,
        {"Strategy", "StrategyConfig", "HyperParameterTuningJobObjective", "ResourceLimits", "ParameterRanges",
         "TrainingJobEarlyStoppingType", "TuningJobCompletionCriteria", "RandomSeed"},
        "HyperParameterTuningJobConfig.",
    )  # fmt: skip
    refuse_others(
        config.get("TuningJobCompletionCriteria", {}),
        {"TargetObjectiveMetricValue", "BestObjectiveNotImproving", "ConvergenceDetected"},
        "TuningJobCompletionCriteria.",
    )
    definition = request.get("TrainingJobDefinition")
    if definition is None or "HyperParameterTuningJobObjective" not in config:
        raise refusal("TrainingJobDefinition and HyperParameterTuningJobObjective are required.")
    check_training_request(trial_request(definition, "trial", {}))
    metrics = {metric["Name"] for metric in definition["AlgorithmSpecification"].get("MetricDefinitions", [])}
    wanted = config["HyperParameterTuningJobObjective"]["MetricName"]
    if wanted not in metrics:
        raise refusal(
            f"The objective metric [{wanted}] is not in the metric definitions {sorted(metrics)}.",
        )
    names = check_ranges(config.get("ParameterRanges", {}), config["Strategy"])
    if clash := names & set(definition.get("StaticHyperParameters", {})):
        raise refusal(f"Hyperparameters are both static and tuned: {sorted(clash)}.")
    check_count(config)
    if config["Strategy"] == "Hyperband" and config.get("TrainingJobEarlyStoppingType") == "Auto":
        raise refusal("TrainingJobEarlyStoppingType must be Off when the strategy is Hyperband.")


def check_count(config: Mapping[str, Any]) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-how-it-works.html, Grid search."""
    most = config["ResourceLimits"].get("MaxNumberOfTrainingJobs")
    if config["Strategy"] != "Grid":
        if most is None:
            raise refusal("MaxNumberOfTrainingJobs is required unless the strategy is Grid.")
        return
    combinations = prod(len(set(r["Values"])) for r in config["ParameterRanges"]["CategoricalParameterRanges"])
    if most not in (None, combinations):
        raise refusal(
            f"MaxNumberOfTrainingJobs, if specified, must equal the total number of distinct categorical combinations "
            f"when the strategy is Grid: {combinations}, not {most}."
        )


def check_ranges(ranges: Mapping[str, Any], strategy: str) -> set[str]:
    """The names of what is tuned. Raises ValidationException."""
    kinds = ("CategoricalParameterRanges", "IntegerParameterRanges", "ContinuousParameterRanges")
    refuse_others(ranges, kinds, "ParameterRanges.")
    names = [entry["Name"] for kind in kinds for entry in ranges.get(kind, [])]
    if not names:
        raise refusal("At least one hyperparameter range is required.")
    if len(names) != len(set(names)):
        raise refusal(f"Hyperparameters have several ranges: {names}.")
    for kind, number in (("IntegerParameterRanges", int), ("ContinuousParameterRanges", float)):
        for entry in ranges.get(kind, []):
            if strategy == "Grid":
                raise refusal("Grid search strategy only supports categorical parameters.")
            check_range(entry, number)
    return set(names)


def check_range(entry: Mapping[str, Any], number: Callable[[str], float]) -> None:
    name, scaling = entry["Name"], entry.get("ScalingType", "Auto")
    try:
        low, high = number(entry["MinValue"]), number(entry["MaxValue"])
    except ValueError:
        raise refusal(f"The range of {name} is not of numbers of its kind: {entry}.") from None
    if not low < high:
        raise refusal(f"MinValue of {name} must be less than its MaxValue: {low}, {high}.")
    if scaling == "Logarithmic" and low <= 0:
        raise refusal(f"Logarithmic scaling of {name} needs a range above 0.")
    if scaling == "ReverseLogarithmic" and (number is int or low < 0 or high >= 1):
        raise refusal(f"Reverse logarithmic scaling of {name} needs a continuous range within 0 <= x < 1.0.")


def check_parent(parent: Record, request: Mapping[str, Any]) -> None:
    name = parent["HyperParameterTuningJobName"]
    if parent["HyperParameterTuningJobStatus"] not in ENDED:
        raise refusal(f"The parent tuning job {name} has not ended yet.")
    theirs, ours = (
        job["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"] for job in (parent, request)
    )
    if theirs != ours:
        raise refusal(f"The parent tuning job {name} has another objective metric: {theirs}, not {ours}.")
    if count_hyperparameters(parent) != count_hyperparameters(request):
        raise refusal(
            f"The parent tuning job {name} has {count_hyperparameters(parent)} static and tunable hyperparameters, not "
            f"{count_hyperparameters(request)}: their number must remain the same."
        )
    if request["WarmStartConfig"]["WarmStartType"] == "IdenticalDataAndAlgorithm":
        before, now = parent["TrainingJobDefinition"], request["TrainingJobDefinition"]
        images = {job["AlgorithmSpecification"]["TrainingImage"] for job in (before, now)}
        if before.get("InputDataConfig") != now.get("InputDataConfig") or len(images) > 1:
            raise refusal(
                f"IdenticalDataAndAlgorithm needs the input data and the training image of the parent job {name}."
            )


def count_hyperparameters(job: Mapping[str, Any]) -> int:
    """Static and tunable."""
    ranges = job["HyperParameterTuningJobConfig"]["ParameterRanges"].values()
    return len(job["TrainingJobDefinition"].get("StaticHyperParameters", {})) + sum(map(len, ranges))


def trial_request(definition: Mapping[str, Any], name: str, chosen: Mapping[str, str]) -> dict[str, Any]:
    """The training job that a tuning job's definition and one choice of hyperparameters ask for.

    Each trial has its checkpoints below a prefix of its own: one must not go on where another stopped.
    """
    copied = {k: v for k, v in definition.items() if k not in ("StaticHyperParameters", "DefinitionName")}
    if checkpoints := definition.get("CheckpointConfig"):
        copied["CheckpointConfig"] = {**checkpoints, "S3Uri": f"{checkpoints['S3Uri'].rstrip('/')}/{name}"}
    return {
        **copied,
        "TrainingJobName": name,
        "HyperParameters": {**definition.get("StaticHyperParameters", {}), **chosen},
    }
