"""InvokeEndpoint: one HTTP request to the endpoint's server on 127.0.0.1, answered as SageMaker's runtime answers."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from typing import Any

from dogbreed_cli.local.errors import AwsError
from dogbreed_cli.local.home import ACCOUNT, Home
from dogbreed_cli.local.records import Record
from dogbreed_cli.local.sagemaker import SageMaker
from dogbreed_cli.local.serving import TIMEOUT_SECONDS, log_group

SUPPORTED = ("EndpointName", "Body", "ContentType", "Accept", "CustomAttributes")


class Runtime:
    def __init__(self, home: Home):
        self.sagemaker = SageMaker(home)

    def invoke_endpoint(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name, body = request["EndpointName"], request.get("Body", b"")
        if unknown := [member for member in request if member not in SUPPORTED]:
            raise AwsError("ValidationError", f"The local SageMaker does not support {unknown[0]} in InvokeEndpoint.")
        record = self.find_serving(name)
        headers = {
            "Content-Type": request.get("ContentType", "application/octet-stream"),
            "Accept": request.get("Accept", "*/*"),
        }
        if "CustomAttributes" in request:
            headers["X-Amzn-SageMaker-Custom-Attributes"] = request["CustomAttributes"]
        try:
            status, content_type, answer = post(record["Port"], body, headers)
        except (OSError, http.client.HTTPException) as error:
            try:
                now = self.find_serving(name)
            except AwsError:  # its worker was faster to see that the server has ended
                now = record
            if now["Port"] == record["Port"]:
                raise model_error(name, 500, f"the container did not answer: {error!r}") from None
            # An update swapped the server just then.
            status, content_type, answer = post(now["Port"], body, headers)
        if status >= 300:
            raise model_error(name, status, answer.decode(errors="replace"))
        return {
            "Body": answer,
            "ContentType": content_type,
            "InvokedProductionVariant": record["ProductionVariants"][0]["VariantName"],
        }

    def find_serving(self, name: str) -> Record:
        try:
            record = self.sagemaker.settled_endpoint(name)
        except AwsError:
            record = {"EndpointStatus": "gone"}
        if record["EndpointStatus"] not in ("InService", "Updating"):
            raise AwsError("ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.")
        return record


def post(port: int, body: bytes, headers: dict[str, str]) -> tuple[int, str, bytes]:
    """Status, content type and body of the container's answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("POST", "/invocations", body, headers)
        response = connection.getresponse()
        return response.status, response.headers.get("Content-Type", "application/octet-stream"), response.read()
    finally:
        connection.close()


def model_error(name: str, status: int, message: str) -> AwsError:
    kind = "client" if status < 500 else "server"
    text = f'Received {kind} error ({status}) from primary with message "{message}". See {log_group(name)} for more.'
    fields = {"OriginalStatusCode": status, "OriginalMessage": message, "LogStreamArn": log_group(name)}
    return AwsError("ModelError", text, 424, **fields)
