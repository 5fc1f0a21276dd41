"""What is sent to SageMaker to serve a model, as data: pure functions, as in requests.py."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dogbreed_cli.requests import Site, network, tags

if TYPE_CHECKING:
    from dogbreed_cli.config import Config

VARIANT = "AllTraffic"
SCRIPT = "serve.py"
CODE = "/opt/ml/model/code"
# AWS's drivers of before are too old for the CUDA in the Ray Serve image:
# https://aws.github.io/deep-learning-containers/ray/deployment/sagemaker/
CUDA_HOST = "al2-ami-sagemaker-inference-gpu-3-1"


def model(config: Config, site: Site, job: str, artifact: str) -> dict[str, Any]:
    """CreateModel of a training job's model.tar.gz: serve.py inside it, under the container that was asked for."""
    content = {
        "PrimaryContainer": {
            "Image": site.image,
            "ModelDataUrl": artifact,
            "Environment": environment(config),
        },
        "ExecutionRoleArn": site.role_arn,
        **network(site),
    }
    return {"ModelName": name_by_content(job, content), **content, "Tags": tags(config)}


def environment(config: Config) -> dict[str, str]:
    found = {
        "SAGEMAKER_PROGRAM": SCRIPT,
        "SAGEMAKER_SUBMIT_DIRECTORY": CODE,
        "SAGEMAKER_CONTAINER_LOG_LEVEL": "20",
        # TorchServe starts one for each core, and each would load the model and want every core.
        "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
    }
    if config.deploy.container == "ray":
        # The image looks for modules beside the model. What lies in code/ is found by its own name: as `code.ray_app`
        # it would be taken for Python's module `code`.
        found |= {"SM_RAYSERVE_APP": "ray_app:app", "PYTHONPATH": CODE}
    return found


def endpoint_config(config: Config, site: Site, job: str, model_name: str) -> dict[str, Any]:
    """CreateEndpointConfig."""
    deploy = config.deploy
    variant: dict[str, Any] = {"VariantName": VARIANT, "ModelName": model_name, "InitialVariantWeight": 1.0}
    content: dict[str, Any] = {"ProductionVariants": [variant]}
    if deploy.serverless:
        variant["ServerlessConfig"] = {"MemorySizeInMB": deploy.memory, "MaxConcurrency": deploy.max_concurrency}
    else:
        variant |= {"InitialInstanceCount": deploy.instance_count, "InstanceType": deploy.instance_type}
        if "ray:serve-ml-sagemaker-cuda" in site.image:
            variant["InferenceAmiVersion"] = CUDA_HOST
        if site.volume_kms_key:
            content["KmsKeyId"] = site.volume_kms_key
    if deploy.data_capture:
        content["DataCaptureConfig"] = {
            "EnableCapture": True,
            "InitialSamplingPercentage": deploy.data_capture,
            "DestinationS3Uri": f"s3://{site.bucket}/{config.prefix}/captured",
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            **({"KmsKeyId": site.kms_key} if site.kms_key else {}),
        }
    return {"EndpointConfigName": name_by_content(job, content), **content, "Tags": tags(config)}


def endpoint(config: Config, name: str, endpoint_config_name: str) -> dict[str, Any]:
    """CreateEndpoint."""
    return {"EndpointName": name, "EndpointConfigName": endpoint_config_name, "Tags": tags(config)}


def at_most(config: Config, request: dict[str, Any]) -> dict[str, Any]:
    """The endpoint config with as many instances as it may ever scale to: what the most is that it can cost."""
    variants = [
        {**variant, "InitialInstanceCount": max(variant["InitialInstanceCount"], config.deploy.max_instances)}
        if "InstanceType" in variant
        else variant
        for variant in request["ProductionVariants"]
    ]
    return {**request, "ProductionVariants": variants}


def end(role_arn: str, name: str, at: datetime) -> dict[str, Any]:
    """CreateSchedule, and UpdateSchedule, of EventBridge Scheduler: delete the endpoint at that time, to the minute.

    The schedule has the endpoint's name and goes when it has run. It is retried for a day: AWS deletes no endpoint that
    is just being created or updated.
    https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-universal.html
    """
    partition = role_arn.split(":")[1]
    return {
        "Name": name,
        "ScheduleExpression": f"at({at.astimezone(UTC):%Y-%m-%dT%H:%M:%S})",
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "DELETE",
        "Target": {
            "Arn": f"arn:{partition}:scheduler:::aws-sdk:sagemaker:deleteEndpoint",
            "RoleArn": role_arn,
            "Input": json.dumps({"EndpointName": name}),
            "RetryPolicy": {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185},
        },
    }


def scaling_target(config: Config, name: str) -> dict[str, Any]:
    """RegisterScalableTarget of Application Auto Scaling."""
    return {
        **scaled(name),
        "MinCapacity": config.deploy.instance_count,
        "MaxCapacity": config.deploy.max_instances,
    }


def scaling_policy_name(name: str) -> str:
    """Of the endpoint's: by it ours are known."""
    return f"{name}-requests"


def scaling_policy(config: Config, name: str) -> dict[str, Any]:
    """PutScalingPolicy: as many instances as keep each at about that many requests a minute.

    Fewer only after ten minutes, since new instances take minutes to start.
    https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-add-code-define.html
    """
    return {
        "PolicyName": scaling_policy_name(name),
        **scaled(name),
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": float(config.deploy.requests_per_minute),
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
            "ScaleOutCooldown": 60,
            "ScaleInCooldown": 600,
        },
    }


def scaled(name: str) -> dict[str, Any]:
    """What Application Auto Scaling calls an endpoint's instances."""
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{name}/variant/{VARIANT}",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }


def name_by_content(job: str, content: dict[str, Any]) -> str:
    """`<job>-<hash>`, at most 63 characters: the same deployment is found and not made again, another one is not."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
    return f"{job[:54].rstrip('-')}-{digest}"
