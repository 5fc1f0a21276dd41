"""The inside of a training job's container: the /opt/ml tree, its config files and the program's environment.

They are those of a SageMaker container; see https://github.com/aws/sagemaker-training-toolkit and
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from dogbreed_cli.local.channels import channel_configs, fetch_channel, fetch_source
from dogbreed_cli.local.checkpoints import checkpoint_folder
from dogbreed_cli.local.home import REGION
from dogbreed_cli.local.records import Record
from dogbreed_cli.local.s3_access import S3Access


def prepare(access: S3Access, record: Record, base: Path, folder: Path) -> None:
    """Make the /opt/ml tree. Raises JobError where AWS's download step would fail."""
    for part in ("code", "input/config", "input/data", "model", "output/data", "checkpoints"):
        (base / part).mkdir(parents=True, exist_ok=True)
    for channel in record.get("InputDataConfig", []):
        uri = channel["DataSource"]["S3DataSource"]["S3Uri"]
        fetch_channel(access, uri, base / "input/data" / channel["ChannelName"])
    hyperparameters = dict(record.get("HyperParameters", {}))
    if "sagemaker_submit_directory" in hyperparameters:
        uri = read_hyperparameter(hyperparameters["sagemaker_submit_directory"])
        source = fetch_source(access, uri, folder / "fetched", folder / "source")
        hyperparameters["sagemaker_submit_directory"] = json.dumps(str(source))
    write_config(base, "hyperparameters", hyperparameters)
    write_config(base, "resourceconfig", resource_config(record))
    write_config(base, "inputdataconfig", channel_configs(record))
    if "DebugHookConfig" in record:
        write_config(base, "debughookconfig", debug_hook_config(record["DebugHookConfig"], base / "output/tensors"))
    if "ProfilerConfig" in record:
        write_config(base, "profilerconfig", profiler_config(record["ProfilerConfig"]))
    if checkpoints := checkpoint_folder(record, base):
        write_config(base, "checkpointconfig", {**record["CheckpointConfig"], "LocalPath": str(checkpoints)})


def read_hyperparameter(text: str) -> str:
    """As the toolkit reads it: JSON, or else the text itself."""
    try:
        return str(json.loads(text))
    except ValueError:
        return text


def write_config(base: Path, name: str, content: dict[str, Any]) -> None:
    (base / "input/config" / f"{name}.json").write_text(json.dumps(content))


def resource_config(record: Record) -> dict[str, Any]:
    return {
        "current_host": "algo-1",
        "hosts": ["algo-1"],
        "current_instance_type": record["ResourceConfig"]["InstanceType"],
        "current_group_name": "homogeneousCluster",
        "network_interface_name": "lo",
    }


def debug_hook_config(request: dict[str, Any], tensors: Path) -> dict[str, Any]:
    return {
        "LocalPath": str(tensors),
        "HookParameters": request.get("HookParameters", {}),
        "CollectionConfigurations": request.get("CollectionConfigurations", []),
    }


def profiler_config(request: dict[str, Any]) -> dict[str, Any]:
    """For the script's own sampler. smdebug reads it too, and leaves its profiler off without ProfilingParameters."""
    return {"ProfilingIntervalInMilliseconds": 500, "DisableProfiler": False, **request}


def study_environment(definition: Record, python: Path, threads: int | None) -> dict[str, str]:
    """What does not differ between the trials of a study."""
    found = {"PATH": f"{python.parent}:{os.environ.get('PATH', os.defpath)}"}
    if threads is not None:
        found["OMP_NUM_THREADS"] = str(threads)
    return {**found, **definition.get("Environment", {})}


def environment(record: Record, base: Path, python: Path) -> dict[str, str]:
    config = base / "input/config"
    found = {
        "SAGEMAKER_BASE_DIR": str(base),
        # Without it the toolkit waits for the DNS name algo-1 of a cluster.
        "SM_STUDIO_LOCAL_MODE": "true",
        # torchrun takes any free port, so that two jobs may have it on this machine.
        "PET_STANDALONE": "1",
        "SAGEMAKER_TRAINING_MODULE": "sagemaker_pytorch_container.training:main",
        "TRAINING_JOB_NAME": record["TrainingJobName"],
        "TRAINING_JOB_ARN": record["TrainingJobArn"],
        "AWS_REGION": REGION,
        "SMDEBUG_CONFIG_FILE_PATH": str(config / "debughookconfig.json"),
        "SMPROFILER_CONFIG_PATH": str(config / "profilerconfig.json"),
        "CHECKPOINT_CONFIG_FILE_PATH": str(config / "checkpointconfig.json"),  # smdebug's name for it
    }
    if checkpoints := checkpoint_folder(record, base):
        found["SM_CHECKPOINT_DIR"] = str(checkpoints)  # on AWS it is /opt/ml/checkpoints itself
    return {**found, **study_environment(record, python, record.get("Threads"))}
