"""What is sent to SageMaker, as data: pure functions from the Config and names to requests. No client in sight.

Here are those of jobs; those of models and endpoints are in endpoint_requests.py. What is False, 0 or empty is left
out: AWS takes it for the same, and sagemaker.core would drop it.

The contract with the container is script mode, for training and tuning alike: the scripts as `sourcedir.tar.gz`, every
hyperparameter a JSON-encoded string, the images as channels train, valid and test.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dogbreed_cli.debugger_requests import aws_debugging, debugged, profiled
from dogbreed_cli.hyperparameters import encode
from dogbreed_cli.tags import TAG

if TYPE_CHECKING:
    from dogbreed_cli.config import Config
    from dogbreed_cli.sections import Range, Tune

NUMBER = r"([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)"
METRICS = ("train:loss", "validation:loss", "validation:accuracy", "test:loss", "test:accuracy")
SCRIPT = "train.py"
# The channel of the scripts where the container may not fetch them itself, as SageMaker's SDK does it, too.
CODE = "code"


@dataclass(frozen=True)
class Site:
    """The place that a request is for: its bucket, its execution role, its container image, its network and keys."""

    bucket: str
    role_arn: str
    image: str
    rule_image: str = ""
    kms_key: str | None = None
    volume_kms_key: str | None = None
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    network_isolation: bool = False
    encrypt_traffic: bool = False


@dataclass(frozen=True)
class Inputs:
    """What a job reads, as s3:// URIs: the scripts, the images' prefix with its splits, perhaps a state_dict.

    With `features`, the output of a features job, the images and the state_dict stay where they are.
    """

    source: str
    data: str
    splits: tuple[str, ...]
    weights: str | None = None
    features: str | None = None


def training(
    config: Config,
    site: Site,
    inputs: Inputs,
    name: str,
    hyperparameters: Mapping[str, Any],
    made_from: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """CreateTrainingJob. `hyperparameters` over those of the config; `made_from`: tags that say what led to it."""
    request = {
        "TrainingJobName": name,
        "AlgorithmSpecification": algorithm(config, site),
        "HyperParameters": encode(
            {
                **static(config, site, inputs),
                **trained(config),
                **debugged(config),
                **profiled(config),
                **hyperparameters,
            }
        ),
        "StoppingCondition": stopping(config, config.train.max_run),
        "Tags": tags(config, made_from),
        **job(config, site, inputs),
    }
    if config.train.keep_alive:
        request["ResourceConfig"]["KeepAlivePeriodInSeconds"] = config.train.keep_alive
    # Not for trials: AWS does not say that those of one tuning job would keep apart below one prefix.
    request["CheckpointConfig"] = {"S3Uri": checkpoints(config, site, request)}
    return request | (aws_debugging(config, site) if config.debugger.aws_rules else {})


def checkpoints(config: Config, site: Site, request: Mapping[str, Any]) -> str:
    """The same for all jobs that do the same, so that one which was killed is gone on with by the next."""
    does = json.dumps([request["HyperParameters"], request["InputDataConfig"]], sort_keys=True)
    digest = hashlib.sha256(does.encode()).hexdigest()[:12]
    return f"s3://{site.bucket}/{config.prefix}/checkpoints/{config.project.name}-train-{digest}"


def tuning(config: Config, site: Site, inputs: Inputs, name: str, warm_start: Iterable[str] = ()) -> dict[str, Any]:
    """CreateHyperParameterTuningJob: every hyperparameter of the entry point that has a range is tuned."""
    tune = config.tune
    fixed = {
        **static(config, site, inputs),
        **trained(config),
        "epochs": tune.epochs,
        "data-fraction": tune.data_fraction,
    }
    search: dict[str, Any] = {
        "Strategy": tune.strategy,
        "HyperParameterTuningJobObjective": {"Type": tune.objective_type, "MetricName": tune.objective},
        "ResourceLimits": {
            "MaxNumberOfTrainingJobs": tune.trials,
            "MaxParallelTrainingJobs": min(tune.max_parallel_jobs, tune.trials),
            **({"MaxRuntimeInSeconds": tune.max_total_run} if tune.max_total_run else {}),
        },
        "ParameterRanges": parameter_ranges(tune.ranges),
        "TrainingJobEarlyStoppingType": "Auto" if tune.early_stopping else "Off",
        "RandomSeed": tune.seed,
    }
    if tune.strategy == "Hyperband":
        search["StrategyConfig"] = {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": tune.epochs}}
    if criteria := completion_criteria(tune):
        search["TuningJobCompletionCriteria"] = criteria
    request: dict[str, Any] = {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": search,
        "TrainingJobDefinition": {
            "AlgorithmSpecification": algorithm(config, site),
            "StaticHyperParameters": encode({key: fixed[key] for key in fixed if key not in tune.ranges}),
            "StoppingCondition": stopping(config, tune.max_run),
            **job(config, site, inputs),
        },
        "Tags": tags(config),
    }
    if parents := [{"HyperParameterTuningJobName": parent} for parent in warm_start]:
        request["WarmStartConfig"] = {
            "ParentHyperParameterTuningJobs": parents,
            "WarmStartType": tune.warm_start_type,
        }
    return request


def endpoint_name(config: Config) -> str:
    return f"{config.project.name}-endpoint"


def data_prefix(config: Config) -> str:
    return f"{config.prefix}/data"


def tags(config: Config, more: Mapping[str, str] | None = None) -> list[dict[str, str]]:
    found = {TAG: config.project.name, **(more or {}), **config.aws.tags}
    return [{"Key": key, "Value": value} for key, value in found.items()]


def algorithm(config: Config, site: Site) -> dict[str, Any]:
    return {
        "TrainingImage": site.image,
        "TrainingInputMode": config.train.input_mode,
        "MetricDefinitions": [{"Name": name, "Regex": f"{name}={NUMBER}"} for name in METRICS],
    }


def job(config: Config, site: Site, inputs: Inputs) -> dict[str, Any]:
    """What training jobs and the trials of tuning jobs have in common."""
    train, spread = config.train, config.train.data_distribution
    channels = [channel(split, f"{inputs.data}/{split}/", spread) for split in inputs.splits]
    if inputs.features:
        channels = [channel("features", inputs.features, InputMode="File")]
    elif inputs.weights:
        channels.append(channel("pretrained", inputs.weights, InputMode="File"))
    if site.network_isolation:
        channels.append(channel(CODE, inputs.source, InputMode="File"))
    request: dict[str, Any] = {
        "RoleArn": site.role_arn,
        "InputDataConfig": channels,
        "OutputDataConfig": {"S3OutputPath": f"s3://{site.bucket}/{config.prefix}/jobs"},
        "ResourceConfig": {
            "InstanceType": train.instance_type,
            "InstanceCount": train.instance_count,
            "VolumeSizeInGB": train.volume_size,
        },
        **network(site),
    }
    if site.kms_key:
        request["OutputDataConfig"]["KmsKeyId"] = site.kms_key
    if site.volume_kms_key:
        request["ResourceConfig"]["VolumeKmsKeyId"] = site.volume_kms_key
    if site.encrypt_traffic:
        request["EnableInterContainerTrafficEncryption"] = True
    if train.spot:
        request["EnableManagedSpotTraining"] = True
    if train.max_retry_attempts:
        request["RetryStrategy"] = {"MaximumRetryAttempts": train.max_retry_attempts}
    if train.environment:
        request["Environment"] = dict(train.environment)
    return request


def network(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if site.subnets:
        found["VpcConfig"] = {"SecurityGroupIds": list(site.security_groups), "Subnets": list(site.subnets)}
    if site.network_isolation:
        found["EnableNetworkIsolation"] = True
    return found


def stopping(config: Config, max_run: int) -> dict[str, int]:
    """A trial may wait for spot capacity as long as the training may, and run as long as trials may."""
    limits = {"MaxRuntimeInSeconds": max_run}
    if config.train.spot:
        waiting = (config.train.max_wait or 2 * config.train.max_run) - config.train.max_run
        limits["MaxWaitTimeInSeconds"] = max_run + waiting
    return limits


def channel(name: str, uri: str, distribution: str = "FullyReplicated", **more: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": distribution}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, **more}


def static(config: Config, site: Site, inputs: Inputs) -> dict[str, Any]:
    train = config.train
    return {
        **toolkit(config, site, inputs),
        **network_of(config, inputs),
        "optimizer": train.optimizer,
        "weight-decay": train.weight_decay,
        "patience": train.patience,
        "class-weights": train.class_weights,
        "label-smoothing": train.label_smoothing,
    }


def toolkit(config: Config, site: Site, inputs: Inputs) -> dict[str, Any]:
    # The toolkit in an isolated container cannot fetch from S3; SageMaker can, as a channel.
    archive = inputs.source.rpartition("/")[2]
    source = f"/opt/ml/input/data/{CODE}/{archive}" if site.network_isolation else inputs.source
    found = {
        "sagemaker_program": SCRIPT,
        "sagemaker_submit_directory": source,
        "sagemaker_container_log_level": 20,
    }
    if config.train.is_distributed:
        found["sagemaker_torch_distributed_enabled"] = True
        found["sagemaker_mpi_num_of_processes_per_host"] = config.train.processes_per_host
    return found


def network_of(config: Config, inputs: Inputs) -> dict[str, Any]:
    """The hyperparameters that decide the features, too."""
    return {
        "backbone": config.model.backbone,
        "weights": "pretrained" if inputs.weights else config.model.weights,
        "image-size": config.model.image_size,
        "views": config.features.views,
        "unfreeze": config.train.unfreeze,
        "precision": config.features.precision,
        "seed": config.train.seed,
        "workers": config.train.workers,
    }


def trained(config: Config) -> dict[str, Any]:
    return {"epochs": config.train.epochs, "batch-size": config.train.batch_size, "lr": config.train.lr}


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


def completion_criteria(tune: Tune) -> dict[str, Any]:
    criteria: dict[str, Any] = {}
    if tune.target_objective is not None:
        criteria["TargetObjectiveMetricValue"] = tune.target_objective
    if tune.max_jobs_not_improving is not None:
        patience = tune.max_jobs_not_improving
        criteria["BestObjectiveNotImproving"] = {"MaxNumberOfTrainingJobsNotImproving": patience}
    if tune.stop_on_convergence:
        criteria["ConvergenceDetected"] = {"CompleteOnConvergence": "Enabled"}
    return criteria
