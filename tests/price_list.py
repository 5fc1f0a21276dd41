"""AWS's Price List for tests: products as GetProducts has them, and a server of them over HTTP."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


def product(use: str = "Training", usd: str = "0.7364000000", **changes: str) -> dict[str, Any]:
    """A product as GetProducts has it for AmazonSageMaker; `changes` of attributes, or of the term's unit."""
    name = changes.get("instanceName", "ml.g4dn.xlarge")
    unit = changes.pop("unit", "Hrs")
    word = {"Training": "Train", "Hosting": "Host"}[use]
    attributes = {
        "servicecode": "AmazonSageMaker",
        "servicename": "Amazon SageMaker",
        "regionCode": "us-east-1",
        "location": "US East (N. Virginia)",
        "locationType": "AWS Region",
        "instanceName": name,
        "instanceType": f"{name}-{use}",
        "component": use,
        "operation": "RunInstance",
        "usagetype": f"USE1-{word}:{name}",
        "computeType": "Accelerated Computing",
        "vCpu": "4",
        "memory": "16 GiB",
        "gpu": "1",
    }
    dimension = {
        "unit": unit,
        "beginRange": "0",
        "endRange": "Inf",
        "description": f"${usd} per {use} {name} hour in US East (N. Virginia)",
        "appliesTo": [],
        "rateCode": "A6XQYN3AXSU7Q8WC.JRTCKXETXF.6YS6EN2CT7",
        "pricePerUnit": {"USD": usd},
    }
    term = {
        "sku": "A6XQYN3AXSU7Q8WC",
        "offerTermCode": "JRTCKXETXF",
        "effectiveDate": "2026-11-01T00:00:00Z",
        "termAttributes": {},
        "priceDimensions": {dimension["rateCode"]: dimension},
    }
    return {
        "product": {
            "productFamily": "ML Instance",
            "attributes": {**attributes, **changes},
            "sku": "A6XQYN3AXSU7Q8WC",
        },
        "serviceCode": "AmazonSageMaker",
        "terms": {"OnDemand": {"A6XQYN3AXSU7Q8WC.JRTCKXETXF": term}},
        "version": "20261120184511",
        "publicationDate": "2026-11-20T18:45:11Z",
    }


UPFRONT = product(usd="0.3900000000", unit="Quantity", usagetype="USE1-TrainingPlanUpfrontFee:ml.g4dn.xlarge")


class PriceListServer(ThreadingHTTPServer):
    """AWS's Price List over HTTP, in AWS JSON 1.1: it filters and pages as AWS does, or refuses."""

    products: list[dict[str, Any]]
    asked: list[dict[str, Any]]
    refusal: tuple[int, str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class PriceListHandler(BaseHTTPRequestHandler):
    server: PriceListServer

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.headers["X-Amz-Target"] == "AWSPriceListService.GetProducts"
        self.server.asked.append(request)
        if self.server.refusal:
            status, code = self.server.refusal
            self.answer(status, {"__type": code, "Message": "User is not authorized to perform: pricing:GetProducts"})
            return
        found = [one for one in self.server.products if self.matches(one, request["Filters"])]
        page = int(request.get("NextToken", 0))
        more = {"NextToken": str(page + 1)} if page + 1 < len(found) else {}
        texts = [json.dumps(one) for one in found[page : page + 1]]
        self.answer(200, {"FormatVersion": "aws_v1", "PriceList": texts, **more})

    def matches(self, one: dict[str, Any], filters: list[dict[str, str]]) -> bool:
        return all(one["product"]["attributes"].get(term["Field"]) == term["Value"] for term in filters)

    def answer(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serve_prices() -> Iterator[PriceListServer]:
    """A server that knows no price yet."""
    server = PriceListServer(("127.0.0.1", 0), PriceListHandler)
    server.asked, server.products = [], []
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def name_in_environment(server: PriceListServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> PriceListServer:
    """The server, which knows two prices, named in the environment; an empty cache in `folder`."""
    server.asked, server.refusal = [], None
    server.products = [product(usd="0.75"), UPFRONT, product(use="Hosting", usd="0.8")]
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {**KEYS, "AWS_ENDPOINT_URL_PRICING": server.url, "DOGBREED_CACHE": str(folder)}.items():
        monkeypatch.setenv(name, value)
    return server
