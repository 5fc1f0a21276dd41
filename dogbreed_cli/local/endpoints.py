"""CreateModel, CreateEndpointConfig, CreateEndpoint and their fellows: records. What serves them is in serving.py."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Mapping
from typing import Any

from dogbreed_cli.errors import DogbreedError
from dogbreed_cli.local import worker
from dogbreed_cli.local.errors import AwsError, refusal
from dogbreed_cli.local.group import kill_orphans
from dogbreed_cli.local.home import Home, arn
from dogbreed_cli.local.listing import list_page, not_found, refuse_others
from dogbreed_cli.local.records import Record, Records
from dogbreed_cli.local.s3_access import open_access
from dogbreed_cli.local.training_request import image_python
from dogbreed_cli.storage import parse_s3_uri

MODEL, CONFIG, ENDPOINT = "model", "endpoint-config", "endpoint"
WORDS = {MODEL: "model", CONFIG: "endpoint configuration", ENDPOINT: "endpoint"}


class Endpoints:
    home: Home
    records: Records

    def create_model(self, request: Mapping[str, Any]) -> dict[str, Any]:
        refuse_others(request, {"ModelName", "PrimaryContainer", "ExecutionRoleArn", "Tags"})
        container = request.get("PrimaryContainer") or {}
        refuse_others(container, {"Image", "ModelDataUrl", "Environment", "Mode"}, "PrimaryContainer.")
        image_python(container.get("Image", ""))
        uri = container.get("ModelDataUrl", "")
        try:
            found = open_access(self.home).exists(*parse_s3_uri(uri))
        except DogbreedError:  # no s3:// address
            found = False
        except AwsError as error:
            if error.code != "NoSuchBucket":
                raise refusal(f"Could not access model data at {uri}. {error}") from None
            found = False
        if not found:
            raise refusal(f"Could not find model data at {uri}.")
        return {"ModelArn": self.add(MODEL, "ModelName", request)["ModelArn"]}

    def create_endpoint_config(self, request: Mapping[str, Any]) -> dict[str, Any]:
        variant = check_endpoint_config(request)
        self.describe_model(variant)
        return {"EndpointConfigArn": self.add(CONFIG, "EndpointConfigName", request)["EndpointConfigArn"]}

    def add(self, kind: str, name_member: str, request: Mapping[str, Any]) -> Record:
        name, member = request[name_member], name_member.removesuffix("Name") + "Arn"
        record = {**request, member: arn(kind, name), "CreationTime": time.time()}
        try:
            self.records.create(kind, name, record)
        except FileExistsError:
            raise already_there(kind, name) from None
        return record

    def describe_model(self, request: Mapping[str, Any]) -> Record:
        return self.find(MODEL, request["ModelName"])

    def describe_endpoint_config(self, request: Mapping[str, Any]) -> Record:
        return self.find(CONFIG, request["EndpointConfigName"])

    def find(self, kind: str, name: str) -> Record:
        record = self.records.read(kind, name)
        if record is None:
            raise not_found(WORDS[kind], arn(kind, name))
        return record

    def list_models(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return list_page(self.records.all(MODEL), request, "Models", "ModelName", order="Descending")

    def list_endpoint_configs(self, request: Mapping[str, Any]) -> dict[str, Any]:
        configs = self.records.all(CONFIG)
        return list_page(configs, request, "EndpointConfigs", "EndpointConfigName", order="Descending")

    def delete_model(self, request: Mapping[str, Any]) -> None:
        self.remove(MODEL, request["ModelName"])

    def delete_endpoint_config(self, request: Mapping[str, Any]) -> None:
        self.remove(CONFIG, request["EndpointConfigName"])

    def remove(self, kind: str, name: str) -> None:
        try:
            self.records.delete(kind, name)
        except FileNotFoundError:
            raise not_found(WORDS[kind], arn(kind, name)) from None

    def create_endpoint(self, request: Mapping[str, Any]) -> dict[str, Any]:
        refuse_others(request, {"EndpointName", "EndpointConfigName", "Tags"})
        name, now = request["EndpointName"], time.time()
        config = self.describe_endpoint_config(request)
        record = {
            **request,
            "EndpointArn": arn(ENDPOINT, name),
            "EndpointStatus": "Creating",
            "ProductionVariants": running_variants(config),
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        with contextlib.suppress(AwsError):
            self.settled_endpoint(name)  # one whose worker was killed while it was deleted makes room
        if self.records.read(ENDPOINT, name):
            raise already_there(ENDPOINT, name)
        # The worker of one that was just deleted may still be on its way out.
        with worker.claim(self.home, endpoint_folder(name), seconds=10) as lock:
            try:
                if lock is None:
                    raise FileExistsError(name)
                self.records.create(ENDPOINT, name, record)
            except FileExistsError:
                raise already_there(ENDPOINT, name) from None
            worker.start(self.home, "endpoint", name, lock)
        return {"EndpointArn": record["EndpointArn"]}

    def describe_endpoint(self, request: Mapping[str, Any]) -> Record:
        record = self.settled_endpoint(request["EndpointName"])
        if coming := record.get("NextEndpointConfigName"):
            record["PendingDeploymentSummary"] = {"EndpointConfigName": coming}
        return record

    def list_endpoints(self, request: Mapping[str, Any]) -> dict[str, Any]:
        settled = []
        for name in self.records.names(ENDPOINT):
            with contextlib.suppress(AwsError):  # deleted since the names were read
                settled.append(self.settled_endpoint(name))
        return list_page(settled, request, "Endpoints", "EndpointName", "EndpointStatus", order="Descending")

    def update_endpoint(self, request: Mapping[str, Any]) -> dict[str, Any]:
        # There is one instance, so none to retain.
        refuse_others(request, {"EndpointName", "EndpointConfigName", "RetainAllVariantProperties"})
        name = request["EndpointName"]
        config = self.describe_endpoint_config(request)
        self.settled_endpoint(name)
        is_serverless = "ServerlessConfig" in config["ProductionVariants"][0]

        def ask_to_update(record: Record) -> None:
            if record["EndpointStatus"] != "InService":
                status, which = record["EndpointStatus"], record["EndpointArn"]
                raise refusal(f'Cannot update endpoint "{which}" while it is {status}.')
            if is_serverless and "CurrentServerlessConfig" not in record["ProductionVariants"][0]:
                raise refusal("An endpoint on instances cannot be updated to a serverless one.")
            record.update(EndpointStatus="Updating", NextEndpointConfigName=config["EndpointConfigName"])
            record["LastModifiedTime"] = time.time()
            record.pop("FailureReason", None)

        if self.records.update(ENDPOINT, name, ask_to_update) is None:
            raise not_found(ENDPOINT, arn(ENDPOINT, name))
        return {"EndpointArn": arn(ENDPOINT, name)}

    def delete_endpoint(self, request: Mapping[str, Any]) -> None:
        name = request["EndpointName"]
        self.settled_endpoint(name)
        with worker.claim(self.home, endpoint_folder(name)) as lock:
            if lock is None:  # its worker will see it, end the server and remove the record
                deleting = {"EndpointStatus": "Deleting", "LastModifiedTime": time.time()}
                self.records.update(ENDPOINT, name, lambda record: record.update(deleting))
            else:
                with contextlib.suppress(FileNotFoundError):
                    self.records.delete(ENDPOINT, name)

    def settled_endpoint(self, name: str) -> Record:
        """The record, after an endpoint whose worker was killed has been marked Failed (or, being deleted, is gone)."""
        record = self.records.read(ENDPOINT, name)
        if record is None:
            raise not_found(ENDPOINT, arn(ENDPOINT, name))
        if record["EndpointStatus"] == "Failed":
            return record
        with worker.claim(self.home, endpoint_folder(name)) as lock:
            if lock is None:
                return record
            for server in (self.home.jobs / endpoint_folder(name)).glob("server-*"):
                kill_orphans(server)
                shutil.rmtree(server, ignore_errors=True)
            record = self.records.read(ENDPOINT, name)  # again: the worker may have ended in order in between
            if record is None:
                raise not_found(ENDPOINT, arn(ENDPOINT, name))
            if record["EndpointStatus"] == "Deleting":
                self.records.delete(ENDPOINT, name)
                raise not_found(ENDPOINT, arn(ENDPOINT, name))
            reason = "The endpoint's worker process on this machine was killed."
            return self.records.update(ENDPOINT, name, lambda record: fail(record, reason)) or record


def already_there(kind: str, name: str) -> AwsError:
    return refusal(f'Cannot create already existing {WORDS[kind]} "{arn(kind, name)}".')


def endpoint_folder(name: str) -> str:
    """Below jobs/. A dot can be in no job's name, so no training job can meet it."""
    return f"endpoint.{name}"


def check_endpoint_config(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """The one production variant. Raises ValidationException for what AWS would refuse or this machine cannot do."""
    refuse_others(request, {"EndpointConfigName", "ProductionVariants", "Tags", "DataCaptureConfig"})
    if request.get("DataCaptureConfig", {"EnableCapture": False}).get("EnableCapture", True):
        raise refusal(
            "The local SageMaker does not support DataCaptureConfig unless "
            "EnableCapture is false: use the target aws for it."
        )
    if len(request["ProductionVariants"]) != 1:
        raise refusal("The local SageMaker serves one production variant an endpoint.")
    variant = request["ProductionVariants"][0]
    instances = {"InitialInstanceCount", "InstanceType"}
    members = {"VariantName", "ModelName", "InitialVariantWeight", "ServerlessConfig", *instances}
    refuse_others(variant, members, "ProductionVariants.")
    given = [member for member in sorted(instances) if variant.get(member)]
    if "ServerlessConfig" in variant:
        if given:
            raise refusal(f"{given[0]} must not be given together with ServerlessConfig.")
        refuse_others(variant["ServerlessConfig"], {"MemorySizeInMB", "MaxConcurrency"}, "ServerlessConfig.")
        if (memory := variant["ServerlessConfig"]["MemorySizeInMB"]) % 1024:
            raise refusal(f"Invalid MemorySizeInMB {memory}: valid values are 1024, 2048, 3072, 4096, 5120 and 6144.")
    elif len(given) < len(instances):
        raise refusal("Either ServerlessConfig, or InitialInstanceCount and InstanceType, are required.")
    return variant


def running_variants(config: Record) -> list[dict[str, Any]]:
    """A serverless variant is served as any other; only its description differs."""
    variant = config["ProductionVariants"][0]
    weight = variant.get("InitialVariantWeight", 1.0)
    running = {"VariantName": variant["VariantName"], "CurrentWeight": weight, "DesiredWeight": weight}
    if "ServerlessConfig" in variant:
        return [{**running, "CurrentServerlessConfig": variant["ServerlessConfig"]}]
    count = variant["InitialInstanceCount"]
    return [{**running, "CurrentInstanceCount": count, "DesiredInstanceCount": count}]


def fail(record: Record, reason: str) -> None:
    if record["EndpointStatus"] not in ("Failed", "Deleting"):
        record.update(EndpointStatus="Failed", FailureReason=reason[:1024], LastModifiedTime=time.time())
