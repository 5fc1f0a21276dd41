"""Endpoints of the local SageMaker, for its tests: a serve.py of a few lines, requests as small as they may be."""

from __future__ import annotations

from typing import Any

import psutil
from conftest import wait_for
from local_jobs import Machine, command

from dogbreed_cli.local import ROLE_ARN
from dogbreed_cli.source import pack

SERVE = """
import json, os, time
def model_fn(model_dir, context=None):
    print("loading", os.environ["FROM_MODEL"])
    with open(os.path.join(model_dir, "model.txt")) as file:
        return file.read()
def input_fn(body, content_type, context=None):
    from sagemaker_inference.errors import BaseInferenceToolkitError
    if content_type != "image/jpeg":
        raise BaseInferenceToolkitError(415, "only JPEG", "Unsupported Media Type")
    return bytes(body)
def predict_fn(data, model, context=None):
    if data == b"crash":
        raise RuntimeError("no dog can crash me")
    if data == b"exit":
        os._exit(7)
    if data == b"slow":
        time.sleep(3)
    return {"model": model, "bytes": len(data)}
def output_fn(prediction, accept, context=None):
    return json.dumps(prediction)
"""
ON_INSTANCES = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}


def make_config(
    machine: Machine, name: str, script: str = SERVE, archive: bytes | None = None, on: Any = ON_INSTANCES
) -> None:
    """A model that answers with its name, and an endpoint config of it."""
    folder = machine.folder / name
    (folder / "code").mkdir(parents=True)
    (folder / "model.txt").write_text(name)
    (folder / "code" / "serve.py").write_text(script)
    uri = machine.put(f"models/{name}/model.tar.gz", pack(folder) if archive is None else archive)
    machine.sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=ROLE_ARN,
        PrimaryContainer={
            "Image": machine.image,
            "ModelDataUrl": uri,
            "Environment": {
                "SAGEMAKER_PROGRAM": "serve.py",
                "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
                "FROM_MODEL": name,
            },
        },
    )
    variant = {"VariantName": "AllTraffic", "ModelName": name, **on}
    machine.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])


def create(machine: Machine, name: str, config: str = "") -> None:
    machine.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config or name)


def status(machine: Machine, name: str) -> str:
    return str(machine.sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"])


def settled(machine: Machine, name: str, seconds: float = 60) -> dict[str, Any]:
    wait_for(lambda: status(machine, name) in ("InService", "Failed"), seconds)
    return machine.sagemaker.describe_endpoint(EndpointName=name)


def invoke(machine: Machine, name: str, body: bytes = b"dog", content_type: str = "image/jpeg") -> str:
    answer = machine.runtime.invoke_endpoint(EndpointName=name, Body=body, ContentType=content_type)
    return str(answer["Body"].read().decode())


def delete(machine: Machine, name: str) -> None:
    """And see that neither record nor process is left."""
    machine.sagemaker.delete_endpoint(EndpointName=name)
    machine.sagemaker.get_waiter("endpoint_deleted").wait(
        EndpointName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 200}
    )
    wait_for(lambda: not processes(machine, name))


def processes(machine: Machine, name: str) -> list[psutil.Process]:
    return [one for one in machine.processes() if any(f"endpoint.{name}/" in a or a == name for a in command(one))]


def servers(machine: Machine, name: str) -> list[psutil.Process]:
    return [one for one in processes(machine, name) if any(a.endswith("serving_app.py") for a in command(one))]
