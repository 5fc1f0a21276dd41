"""CreateModel, CreateEndpointConfig, CreateEndpoint and their fellows: records. What serves them is in serving.py."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any

from dogbreed_cli.local import worker
from dogbreed_cli.local.errors import AwsError
from dogbreed_cli.local.home import Home, arn
from dogbreed_cli.local.listing import list_page, not_found, refuse_others
from dogbreed_cli.local.records import Record, Records
from dogbreed_cli.local.s3 import S3
from dogbreed_cli.local.training_jobs import image_python
from dogbreed_cli.storage import parse_s3_uri

MODEL, CONFIG, ENDPOINT = "model", "endpoint-config", "endpoint"


class Endpoints:
    home: Home
    records: Records

    def create_model(self, request: Mapping[str, Any]) -> dict[str, Any]:
        refuse_others(request, {"ModelName", "PrimaryContainer", "ExecutionRoleArn", "Tags"})
        container = request.get("PrimaryContainer") or {}
        refuse_others(container, {"Image", "ModelDataUrl", "Environment", "Mode"}, "PrimaryContainer.")
        image_python(container.get("Image", ""))
        uri = container.get("ModelDataUrl", "")
        if not uri or not S3(self.home.s3).path(*parse_s3_uri(uri)).is_file():
            raise AwsError("ValidationException", f"Could not find model data at {uri}.")
        return {"ModelArn": self.add(MODEL, "ModelName", request)["ModelArn"]}

    def create_endpoint_config(self, request: Mapping[str, Any]) -> dict[str, Any]:
        refuse_others(request, {"EndpointConfigName", "ProductionVariants", "Tags"})
        if len(request["ProductionVariants"]) != 1:
            raise AwsError("ValidationException", "The local SageMaker serves one production variant an endpoint.")
        variant = request["ProductionVariants"][0]
        refuse_others(
            variant, {"VariantName", "ModelName", "InitialInstanceCount", "InstanceType", "InitialVariantWeight"}
        )
        self.describe_model(variant)
        return {"EndpointConfigArn": self.add(CONFIG, "EndpointConfigName", request)["EndpointConfigArn"]}

    def add(self, kind: str, name_member: str, request: Mapping[str, Any]) -> Record:
        name, member = request[name_member], name_member.removesuffix("Name") + "Arn"
        record = {**request, member: arn(kind, name), "CreationTime": time.time()}
        try:
            self.records.create(kind, name, record)
        except FileExistsError:
            raise AwsError(
                "ValidationException", f'Cannot create already existing {kind.replace("-", " ")} "{record[member]}".'
            ) from None
        return record

    def describe_model(self, request: Mapping[str, Any]) -> Record:
        return self.find(MODEL, request["ModelName"])

    def describe_endpoint_config(self, request: Mapping[str, Any]) -> Record:
        return self.find(CONFIG, request["EndpointConfigName"])

    def find(self, kind: str, name: str) -> Record:
        record = self.records.read(kind, name)
        if record is None:
            raise not_found(kind.replace("-", " "), arn(kind, name))
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
        self.find(kind, name)
        self.records.delete(kind, name)

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
        with worker.claim(self.home, endpoint_folder(name)) as lock:
            try:
                if lock is None:
                    raise FileExistsError(name)
                self.records.create(ENDPOINT, name, record)
            except FileExistsError:
                raise AwsError(
                    "ValidationException", f'Cannot create already existing endpoint "{record["EndpointArn"]}".'
                ) from None
            worker.start(self.home, "endpoint", name, lock)
        return {"EndpointArn": record["EndpointArn"]}

    def describe_endpoint(self, request: Mapping[str, Any]) -> Record:
        return self.settled_endpoint(request["EndpointName"])

    def list_endpoints(self, request: Mapping[str, Any]) -> dict[str, Any]:
        settled = []
        for record in self.records.all(ENDPOINT):
            with contextlib.suppress(AwsError):  # deleted since the names were read
                settled.append(self.settled_endpoint(record["EndpointName"]))
        return list_page(settled, request, "Endpoints", "EndpointName", "EndpointStatus", order="Descending")

    def update_endpoint(self, request: Mapping[str, Any]) -> dict[str, Any]:
        refuse_others(request, {"EndpointName", "EndpointConfigName"})
        name = request["EndpointName"]
        config = self.describe_endpoint_config(request)
        record = self.settled_endpoint(name)
        if record["EndpointStatus"] != "InService":
            status, which = record["EndpointStatus"], record["EndpointArn"]
            raise AwsError("ValidationException", f'Cannot update endpoint "{which}" while it is {status}.')

        def ask_to_update(record: Record) -> None:
            record.update(EndpointStatus="Updating", NextEndpointConfigName=config["EndpointConfigName"])
            record["LastModifiedTime"] = time.time()
            record.pop("FailureReason", None)

        self.records.update(ENDPOINT, name, ask_to_update)
        return {"EndpointArn": record["EndpointArn"]}

    def delete_endpoint(self, request: Mapping[str, Any]) -> None:
        name = request["EndpointName"]
        record = self.settled_endpoint(name)
        if not worker.is_alive(self.home, endpoint_folder(name)):
            self.records.delete(ENDPOINT, record["EndpointName"])
            return
        self.records.update(ENDPOINT, name, lambda r: r.update(EndpointStatus="Deleting", LastModifiedTime=time.time()))

    def settled_endpoint(self, name: str) -> Record:
        """The record, after an endpoint whose worker was killed has been marked Failed (or, being deleted, is gone)."""
        record = self.records.read(ENDPOINT, name)
        if record is None:
            raise not_found("endpoint", arn(ENDPOINT, name))
        if record["EndpointStatus"] == "Failed" or worker.is_alive(self.home, endpoint_folder(name)):
            return record
        record = self.records.read(ENDPOINT, name)  # again: the worker may have ended in order in between
        if record is None:
            raise not_found("endpoint", arn(ENDPOINT, name))
        worker.kill_orphans(self.home.jobs / endpoint_folder(name))
        if record["EndpointStatus"] == "Deleting":
            self.records.delete(ENDPOINT, name)
            raise not_found("endpoint", arn(ENDPOINT, name))
        reason = "The endpoint's worker process on this machine was killed."
        return self.records.update(ENDPOINT, name, lambda record: fail(record, reason)) or record


def endpoint_folder(name: str) -> str:
    """Below jobs/. A dot can be in no job's name, so no training job can meet it."""
    return f"endpoint.{name}"


def running_variants(config: Record) -> list[dict[str, Any]]:
    variant = config["ProductionVariants"][0]
    count, weight = variant.get("InitialInstanceCount", 1), variant.get("InitialVariantWeight", 1.0)
    return [{"VariantName": variant["VariantName"], "CurrentWeight": weight, "DesiredWeight": weight,
             "CurrentInstanceCount": count, "DesiredInstanceCount": count}]  # fmt: skip


def fail(record: Record, reason: str) -> None:
    if record["EndpointStatus"] != "Failed":
        record.update(EndpointStatus="Failed", FailureReason=reason[:1024], LastModifiedTime=time.time())
