"""What CreateTrainingJob, and the definition of a tuning job's trials, may ask of this machine.

What AWS would refuse is refused in its words; what only AWS can do is refused as not supported, never ignored.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from dogbreed_cli.errors import DogbreedError
from dogbreed_cli.local.checkpoints import CONTAINER_ROOT, DEFAULT_PATH
from dogbreed_cli.local.errors import refusal
from dogbreed_cli.local.listing import refuse_others
from dogbreed_cli.storage import parse_s3_uri

SUPPORTED = {
    "TrainingJobName", "HyperParameters", "AlgorithmSpecification", "RoleArn", "InputDataConfig", "OutputDataConfig",
    "ResourceConfig", "StoppingCondition", "Tags", "Environment", "DebugHookConfig", "ProfilerConfig",
    "CheckpointConfig", "EnableManagedSpotTraining",
}  # fmt: skip
INTERVALS = (100, 200, 500, 1000, 5000, 60000)
TENSORS = f"{CONTAINER_ROOT}/output/tensors"
# Folders of /opt/ml that have another use than checkpoints.
TAKEN = {"code", "input", "model", "output"}


def check_training_request(request: Mapping[str, Any]) -> None:
    """Raises ValidationException."""
    refuse_others(request, SUPPORTED)
    for member in ("AlgorithmSpecification", "ResourceConfig", "StoppingCondition"):
        if member not in request:
            raise refusal(f"{member} is required.")
    check_algorithm(request["AlgorithmSpecification"])
    check_resources(request["ResourceConfig"])
    check_stopping(request)
    refuse_others(request["OutputDataConfig"], {"S3OutputPath", "CompressionType"}, "OutputDataConfig.")
    check_s3_uri(request["OutputDataConfig"]["S3OutputPath"])
    channels = [channel["ChannelName"] for channel in request.get("InputDataConfig", [])]
    if len(channels) != len(set(channels)):
        raise refusal(f"Channel names must be unique: {channels}")
    for channel in request.get("InputDataConfig", []):
        check_channel(channel)
    if "DebugHookConfig" in request:
        check_debug_hook(request["DebugHookConfig"])
    if "ProfilerConfig" in request:
        check_profiler(request["ProfilerConfig"])
    if "CheckpointConfig" in request:
        check_checkpoints(request["CheckpointConfig"])


def check_algorithm(algorithm: Mapping[str, Any]) -> None:
    refuse_others(algorithm, {"TrainingImage", "TrainingInputMode", "MetricDefinitions"}, "AlgorithmSpecification.")
    check_input_mode(algorithm.get("TrainingInputMode", "File"))
    image_python(algorithm.get("TrainingImage", ""))
    for metric in algorithm.get("MetricDefinitions", []):
        try:
            re.compile(metric["Regex"])
        except re.error as error:
            raise refusal(f"Invalid regex for metric {metric['Name']}: {error}") from None


def check_input_mode(mode: str) -> None:
    if mode == "Pipe":
        raise refusal("The local SageMaker does not support the input mode Pipe: use File, FastFile or the target aws.")


def check_resources(resources: Mapping[str, Any]) -> None:
    """KeepAlivePeriodInSeconds has no effect: a machine that is always there needs no warm pool."""
    members = {"InstanceType", "InstanceCount", "VolumeSizeInGB", "KeepAlivePeriodInSeconds"}
    refuse_others(resources, members, "ResourceConfig.")
    if resources.get("InstanceCount", 1) != 1:
        raise refusal("The local SageMaker runs jobs on one instance: InstanceCount must be 1.")


def check_stopping(request: Mapping[str, Any]) -> None:
    """A spot job is never interrupted here, and waits for nothing."""
    stopping, spot = request["StoppingCondition"], request.get("EnableManagedSpotTraining", False)
    refuse_others(stopping, {"MaxRuntimeInSeconds", "MaxWaitTimeInSeconds"}, "StoppingCondition.")
    longest, most = stopping.get("MaxRuntimeInSeconds", 86400), stopping.get("MaxWaitTimeInSeconds")
    if not spot and most is not None:
        raise refusal(
            "Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining is set to true"
        )
    if spot and (most is None or most < longest):
        raise refusal(
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds"
        )
    if spot and request["ResourceConfig"].get("KeepAlivePeriodInSeconds"):
        raise refusal("KeepAlivePeriodInSeconds is not supported with managed spot training.")


def check_channel(channel: Mapping[str, Any]) -> None:
    refuse_others(channel, {"ChannelName", "DataSource", "ContentType", "InputMode"}, "InputDataConfig.")
    refuse_others(channel["DataSource"], {"S3DataSource"}, "DataSource.")
    check_input_mode(channel.get("InputMode", "File"))
    source = channel["DataSource"]["S3DataSource"]
    refuse_others(source, {"S3DataType", "S3Uri", "S3DataDistributionType"}, "S3DataSource.")
    if source["S3DataType"] != "S3Prefix":
        raise refusal("The local SageMaker supports only the S3DataType S3Prefix.")
    check_s3_uri(source["S3Uri"])


def check_debug_hook(hook: Mapping[str, Any]) -> None:
    check_s3_uri(hook["S3OutputPath"])
    if hook.get("LocalPath", TENSORS).rstrip("/") != TENSORS:
        raise refusal(f"The local SageMaker supports only the DebugHookConfig.LocalPath {TENSORS}.")


def check_profiler(profiler: Mapping[str, Any]) -> None:
    members = {"S3OutputPath", "ProfilingIntervalInMilliseconds", "DisableProfiler"}
    refuse_others(profiler, members, "ProfilerConfig.")
    interval = profiler.get("ProfilingIntervalInMilliseconds", 500)
    if interval not in INTERVALS:
        known = ", ".join(map(str, INTERVALS))
        raise refusal(f"Invalid ProfilingIntervalInMilliseconds {interval}. Available values are {known}.")
    if "S3OutputPath" in profiler:
        check_s3_uri(profiler["S3OutputPath"])
    elif not profiler.get("DisableProfiler"):
        raise refusal("ProfilerConfig.S3OutputPath is required unless DisableProfiler is true.")


def check_checkpoints(config: Mapping[str, Any]) -> None:
    check_s3_uri(config["S3Uri"])
    path = PurePosixPath(config.get("LocalPath", DEFAULT_PATH))
    inside = path.parts[3:] if path.is_relative_to(CONTAINER_ROOT) else ()
    if not inside or inside[0] in TAKEN or ".." in inside:
        raise refusal(
            f"The local SageMaker keeps checkpoints in a folder of their own below {CONTAINER_ROOT}, not in {path}."
        )


def check_s3_uri(uri: str) -> None:
    try:
        parse_s3_uri(uri)
    except DogbreedError as error:
        raise refusal(f"Invalid S3 URI {uri!r}: {error}") from None


def image_python(image: str) -> Path:
    """The interpreter that an image URI of this machine (file:///.../bin/python) stands for."""
    parts = urlsplit(image)
    python = Path(unquote(parts.path))
    if parts.scheme != "file" or not python.is_file() or not os.access(python, os.X_OK):
        raise refusal(f"No container image {image!r} on this machine.")
    return python
