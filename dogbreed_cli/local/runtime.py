"""InvokeEndpoint: one HTTP request to the endpoint's server on 127.0.0.1, answered as SageMaker's runtime answers."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from typing import Any

from dogbreed_cli.local.endpoints import ENDPOINT
from dogbreed_cli.local.errors import AwsError
from dogbreed_cli.local.home import ACCOUNT, Home
from dogbreed_cli.local.sagemaker import SageMaker
from dogbreed_cli.local.serving import log_group

# https://docs.aws.amazon.com/sagemaker/latest/dg/realtime-endpoints.html
MAX_BYTES = 6_291_456
TIMEOUT_SECONDS = 60


class Runtime:
    def __init__(self, home: Home):
        self.sagemaker = SageMaker(home)

    def invoke_endpoint(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name, body = request["EndpointName"], request.get("Body", b"")
        record = self.sagemaker.records.read(ENDPOINT, name)
        if record is not None:
            record = self.sagemaker.settled_endpoint(name)
        if record is None or record["EndpointStatus"] not in ("InService", "Updating"):
            raise AwsError("ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.")
        if len(body) > MAX_BYTES:
            raise AwsError("ValidationError", f"Request of {len(body)} bytes is larger than {MAX_BYTES}.", 413)
        headers = {
            "Content-Type": request.get("ContentType", "application/octet-stream"),
            "Accept": request.get("Accept", "*/*"),
        }
        if "CustomAttributes" in request:
            headers["X-Amzn-SageMaker-Custom-Attributes"] = request["CustomAttributes"]
        try:
            connection = http.client.HTTPConnection("127.0.0.1", record["Port"], timeout=TIMEOUT_SECONDS)
            connection.request("POST", "/invocations", body, headers)
            response = connection.getresponse()
            answer = response.read()
        except OSError as error:
            raise model_error(name, 500, f"the container did not answer: {error}") from None
        finally:
            connection.close()
        if response.status >= 300:
            raise model_error(name, response.status, answer.decode(errors="replace"))
        return {
            "Body": answer,
            "ContentType": response.headers.get("Content-Type", "application/octet-stream"),
            "InvokedProductionVariant": record["ProductionVariants"][0]["VariantName"],
        }


def model_error(name: str, status: int, message: str) -> AwsError:
    kind = "client" if status < 500 else "server"
    text = f'Received {kind} error ({status}) from primary with message "{message}". See {log_group(name)} for more.'
    fields = {"OriginalStatusCode": status, "OriginalMessage": message, "LogStreamArn": log_group(name)}
    return AwsError("ModelError", text, 424, **fields)
