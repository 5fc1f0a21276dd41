"""Jobs and endpoints as the API describes them, and prices, for the tests of what they cost."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from dogbreed_cli.pricing import Price

HALF = Price(0.5, "2026-08 list price")
UNKNOWN = Price(None, "nobody knows")
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
TAGS = [{"Key": "dogbreed:project", "Value": "dogbreed"}]
INSTANCES = {"VariantName": "AllTraffic", "InstanceType": "ml.g4dn.xlarge", "InitialInstanceCount": 2}


def training(max_run: int = 7200, count: int = 1, warm: int = 0, **more: Any) -> dict[str, Any]:
    place = {"InstanceType": "ml.g4dn.xlarge", "InstanceCount": count, "VolumeSizeInGB": 30}
    return {
        "TrainingJobName": "dogbreed-train",
        "HyperParameters": {"epochs": "10", "backbone": '"resnet50"', "image-size": "224"},
        "ResourceConfig": {**place, **({"KeepAlivePeriodInSeconds": warm} if warm else {})},
        "StoppingCondition": {"MaxRuntimeInSeconds": max_run},
        **more,
    }


def tuning(trials: int = 4, max_run: int = 3600, parallel: int = 2, count: int = 1, total: int = 0) -> dict[str, Any]:
    limits = {"MaxNumberOfTrainingJobs": trials, "MaxParallelTrainingJobs": parallel}
    static = {"epochs": "3", "data-fraction": "0.25", "backbone": '"resnet50"', "image-size": "224"}
    return {
        "HyperParameterTuningJobConfig": {
            "ResourceLimits": {**limits, **({"MaxRuntimeInSeconds": total} if total else {})}
        },
        "TrainingJobDefinition": {**training(max_run, count), "StaticHyperParameters": static},
    }


def described(**changes: Any) -> dict[str, Any]:
    """A trial that took 600 seconds for 3 epochs of a quarter of the images; spot left half of that unbilled."""
    return {
        **training(),
        "TrainingJobName": "dogbreed-tune-261122-083000-001-ab12cd34",
        "TrainingJobStatus": "Completed",
        "HyperParameters": {"epochs": "3", "data-fraction": "0.25", "backbone": '"resnet50"', "image-size": "224"},
        "TrainingTimeInSeconds": 600,
        "BillableTimeInSeconds": 300,
        **changes,
    }
