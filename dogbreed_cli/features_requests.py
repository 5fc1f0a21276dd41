"""The request of the features job: a training job that only looks, once, so that no other has to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dogbreed_cli.debugger_requests import profiled
from dogbreed_cli.hyperparameters import encode
from dogbreed_cli.requests import Inputs, Site, job, network_of, stopping, tags, toolkit

if TYPE_CHECKING:
    from dogbreed_cli.config import Config


def features(config: Config, site: Site, inputs: Inputs, name: str, stem: str) -> dict[str, Any]:
    """CreateTrainingJob of the features job. All attempts at it share the checkpoints of their `stem`."""
    request = {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": site.image, "TrainingInputMode": config.train.input_mode},
        "HyperParameters": encode(
            {
                **toolkit(config, site, inputs),
                **network_of(config, inputs),
                "mode": "extract",
                "engine": config.features.engine,
                **profiled(config),
            }
        ),
        "StoppingCondition": stopping(config, config.train.max_run),
        "Tags": tags(config),
        "CheckpointConfig": {"S3Uri": f"s3://{site.bucket}/{config.prefix}/checkpoints/{stem}"},
        **job(config, site, inputs),
    }
    request["OutputDataConfig"]["CompressionType"] = "NONE"  # many jobs read it, none of them should unpack it
    return request


def features_stem(config: Config, decisive: Mapping[str, Any]) -> str:
    """The features job's name without the number of the attempt: the same for all that decides the features."""
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
    return f"{config.project.name}-features-{digest[:12]}"
