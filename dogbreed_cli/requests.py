"""What is sent to SageMaker, as data: pure functions from the Config and names to requests. No client in sight.

The contract with the container is script mode, for training and tuning alike: the scripts as `sourcedir.tar.gz`, every
hyperparameter a JSON-encoded string, the images as channels train, valid and test.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dogbreed_cli.config import Config, Range

TAG = "dogbreed:project"
TUNING_JOB_TAG = "dogbreed:tuning-job"
VARIANT = "AllTraffic"
NUMBER = r"([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)"
METRICS = ("train:loss", "validation:loss", "validation:accuracy", "test:loss", "test:accuracy")
SCRIPT, SERVE_SCRIPT = "train.py", "serve.py"


@dataclass(frozen=True)
class Site:
    """The place that a request is for: its bucket, its execution role, its container image."""

    bucket: str
    role_arn: str
    image: str


@dataclass(frozen=True)
class Inputs:
    """What a job reads, as s3:// URIs: the scripts, the images' prefix with its splits, perhaps a state_dict."""

    source: str
    data: str
    splits: tuple[str, ...]
    weights: str | None = None


def training(
    config: Config,
    site: Site,
    inputs: Inputs,
    name: str,
    hyperparameters: Mapping[str, Any],
    tuning_job: str | None = None,
) -> dict[str, Any]:
    """CreateTrainingJob. `hyperparameters` over those of the config; `tuning_job` is where they came from."""
    request = {
        "TrainingJobName": name,
        "AlgorithmSpecification": algorithm(site),
        "HyperParameters": encode({**static(config, inputs), **trained(config), **hyperparameters}),
        "StoppingCondition": {"MaxRuntimeInSeconds": config.train.max_run},
        "Tags": tags(config, {TUNING_JOB_TAG: tuning_job} if tuning_job else {}),
        **job(config, site, inputs),
    }
    if config.debugger.enabled:
        request["DebugHookConfig"] = debug_hook(config, site)
    return request


def tuning(config: Config, site: Site, inputs: Inputs, name: str, warm_start: Iterable[str] = ()) -> dict[str, Any]:
    """CreateHyperParameterTuningJob: every hyperparameter of the entry point that has a range is tuned."""
    tune = config.tune
    fixed = {
        **static(config, inputs),
        **trained(config),
        "epochs": tune.epochs,
        "data-fraction": tune.data_fraction,
    }
    search: dict[str, Any] = {
        "Strategy": tune.strategy,
        "HyperParameterTuningJobObjective": {"Type": tune.objective_type, "MetricName": tune.objective},
        "ResourceLimits": {
            "MaxNumberOfTrainingJobs": tune.max_jobs,
            "MaxParallelTrainingJobs": min(tune.max_parallel_jobs, tune.max_jobs),
        },
        "ParameterRanges": parameter_ranges(tune.ranges),
        "TrainingJobEarlyStoppingType": "Auto" if tune.early_stopping else "Off",
        "RandomSeed": tune.seed,
    }
    if tune.strategy == "Hyperband":
        search["StrategyConfig"] = {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": tune.epochs}}
    request: dict[str, Any] = {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": search,
        "TrainingJobDefinition": {
            "AlgorithmSpecification": algorithm(site),
            "StaticHyperParameters": encode({key: fixed[key] for key in fixed if key not in tune.ranges}),
            "StoppingCondition": {"MaxRuntimeInSeconds": tune.max_run},
            **job(config, site, inputs),
        },
        "Tags": tags(config),
    }
    if parents := [{"HyperParameterTuningJobName": parent} for parent in warm_start]:
        request["WarmStartConfig"] = {
            "ParentHyperParameterTuningJobs": parents,
            "WarmStartType": "TransferLearning",
        }
    return request


def model(config: Config, site: Site, name: str, artifact: str) -> dict[str, Any]:
    """CreateModel: serve.py inside model.tar.gz, under the PyTorch inference toolkit."""
    return {
        "ModelName": name,
        "PrimaryContainer": {
            "Image": site.image,
            "ModelDataUrl": artifact,
            "Environment": {
                "SAGEMAKER_PROGRAM": SERVE_SCRIPT,
                "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
                "SAGEMAKER_CONTAINER_LOG_LEVEL": "20",
            },
        },
        "ExecutionRoleArn": site.role_arn,
        "Tags": tags(config),
    }


def endpoint_config(config: Config, model_name: str) -> dict[str, Any]:
    """CreateEndpointConfig. Its name has the content's hash, so the same deployment is found and not made again."""
    variant = {
        "VariantName": VARIANT,
        "ModelName": model_name,
        "InitialInstanceCount": config.deploy.instance_count,
        "InstanceType": config.deploy.instance_type,
        "InitialVariantWeight": 1.0,
    }
    digest = hashlib.sha256(json.dumps(variant, sort_keys=True).encode()).hexdigest()[:8]
    return {
        "EndpointConfigName": f"{model_name[:54].rstrip('-')}-{digest}",  # at most 63 characters
        "ProductionVariants": [variant],
        "Tags": tags(config),
    }


def endpoint(config: Config, name: str, endpoint_config_name: str) -> dict[str, Any]:
    """CreateEndpoint."""
    return {"EndpointName": name, "EndpointConfigName": endpoint_config_name, "Tags": tags(config)}


def endpoint_name(config: Config) -> str:
    return f"{config.project.name}-endpoint"


def data_prefix(config: Config) -> str:
    return f"{config.prefix}/data"


def tags(config: Config, more: Mapping[str, str] | None = None) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in {TAG: config.project.name, **(more or {})}.items()]


def algorithm(site: Site) -> dict[str, Any]:
    return {
        "TrainingImage": site.image,
        "TrainingInputMode": "File",
        "MetricDefinitions": [{"Name": name, "Regex": f"{name}={NUMBER}"} for name in METRICS],
    }


def job(config: Config, site: Site, inputs: Inputs) -> dict[str, Any]:
    """What training jobs and the trials of tuning jobs have in common."""
    channels = [channel(split, f"{inputs.data}/{split}/") for split in inputs.splits]
    if inputs.weights:
        channels.append(channel("pretrained", inputs.weights))
    return {
        "RoleArn": site.role_arn,
        "InputDataConfig": channels,
        "OutputDataConfig": {"S3OutputPath": f"s3://{site.bucket}/{config.prefix}/jobs"},
        "ResourceConfig": {
            "InstanceType": config.train.instance_type,
            "InstanceCount": 1,
            "VolumeSizeInGB": config.train.volume_size,
        },
    }


def channel(name: str, uri: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def static(config: Config, inputs: Inputs) -> dict[str, Any]:
    return {
        "sagemaker_program": SCRIPT,
        "sagemaker_submit_directory": inputs.source,
        "sagemaker_container_log_level": 20,
        "backbone": config.model.backbone,
        "weights": "pretrained" if inputs.weights else config.model.weights,
        "image-size": config.model.image_size,
        "optimizer": config.train.optimizer,
        "weight-decay": config.train.weight_decay,
        "seed": config.train.seed,
        "workers": config.train.workers,
    }


def trained(config: Config) -> dict[str, Any]:
    return {"epochs": config.train.epochs, "batch-size": config.train.batch_size, "lr": config.train.lr}


def encode(hyperparameters: Mapping[str, Any]) -> dict[str, str]:
    """As the training toolkit reads them: each value a JSON document in a string."""
    return {name: json.dumps(value) for name, value in hyperparameters.items()}


def decode(hyperparameters: Mapping[str, str]) -> dict[str, Any]:
    """The opposite of `encode`; a value that is no JSON (a tuned category of others' making) stays a string."""
    decoded: dict[str, Any] = {}
    for name, text in hyperparameters.items():
        try:
            decoded[name] = json.loads(text)
        except json.JSONDecodeError:
            decoded[name] = text
    return decoded


def parameter_ranges(ranges: Mapping[str, Range]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {
        "CategoricalParameterRanges": [],
        "IntegerParameterRanges": [],
        "ContinuousParameterRanges": [],
    }
    for name, span in ranges.items():
        if span.values is not None:
            values = [json.dumps(value) for value in span.values]
            found["CategoricalParameterRanges"].append({"Name": name, "Values": values})
            continue
        whole = isinstance(span.min, int) and isinstance(span.max, int)
        bounds = {"Name": name, "MinValue": str(span.min), "MaxValue": str(span.max), "ScalingType": span.scaling}
        found["IntegerParameterRanges" if whole else "ContinuousParameterRanges"].append(bounds)
    return {kind: entries for kind, entries in found.items() if entries}


def debug_hook(config: Config, site: Site) -> dict[str, Any]:
    """Losses at every step, the other collections of the head every `save_interval` steps: about 2 % of the time."""
    every = str(config.debugger.save_interval)
    collections = [
        {"CollectionName": name, "CollectionParameters": {"save_interval": "1" if name == "losses" else every}}
        for name in config.debugger.collections
    ]
    return {
        "S3OutputPath": f"s3://{site.bucket}/{config.prefix}/jobs",
        "CollectionConfigurations": collections,
    }
