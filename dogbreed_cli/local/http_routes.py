"""Which operation an HTTP request asks for, by what the models of botocore say of URLs, headers and forms.

    X-Amz-Target: SageMaker.CreateTrainingJob                       json (SageMaker, Logs)
    Action=GetCallerIdentity&Version=2011-06-15                     query (STS, IAM)
    POST /endpoints/dogs/invocations                                rest-json (SageMaker Runtime)
    GET /bucket/key, GET /bucket?list-type=2                        rest-xml (S3, with the bucket in path or host)

Whose request it is stands in the scope that it was signed for. An operation that nobody here knows is an operation all
the same, of the protocol that the request speaks: so that wire.py refuses it in words which its client can read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote

import botocore.session
from botocore.model import OperationModel, ServiceModel

from dogbreed_cli.local.wire_body import read_body

ORIGIN = "http://127.0.0.1"  # of the URLs that wire.py is given; it looks at path and query alone
SCOPE = re.compile(r"Credential=[^,\s]*/([^/,\s]+)/aws4_request")


@dataclass(frozen=True)
class Route:
    """What a request of a REST protocol must have to ask for the operation."""

    operation: OperationModel
    path: re.Pattern[str]
    query: Mapping[str, str | None]  # names; with the value that the parameter has to have
    headers: frozenset[str]

    def matches(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> bool:
        return (
            self.query.keys() <= query.keys()
            and self.headers <= headers.keys()
            and all(value in (None, query[name]) for name, value in self.query.items())
            and self.path.fullmatch(path) is not None
        )

    @property
    def weight(self) -> tuple[int, int, bool]:
        """Of several that match, the one that asks for most. (S3 has two names for some; one is deprecated.)"""
        return len(self.query) + len(self.headers), len(self.path.pattern), not self.operation.deprecated


@dataclass(frozen=True)
class Call:
    """What wire.respond wants to know."""

    operation: OperationModel
    url: str
    body: Any


class Routes:
    def __init__(self, services: Iterable[str]):
        session = botocore.session.Session()
        # Models of our own: boto3's S3 clients change theirs.
        self.models = {name: session.get_service_model(name) for name in services}
        self.targets = {model.metadata.get("targetPrefix"): model for model in self.of_protocol("json")}
        self.rest = [*self.of_protocol("rest-json"), *self.of_protocol("rest-xml")]
        self.routes = {
            (model.service_name, method): [route for route in found if route.operation.http["method"] == method]
            for model in self.rest
            for found in [list(read_routes(model))]
            for method in ("GET", "HEAD", "PUT", "POST", "DELETE")
        }

    def of_protocol(self, protocol: str) -> list[ServiceModel]:
        return [model for model in self.models.values() if model.resolved_protocol == protocol]

    def find(self, method: str, target: str, headers: Mapping[str, str], body: Any) -> Call:
        """`target` is the request line's, `headers` have lower-case names. A form's body is read, no other."""
        path, _, text = target.partition("?")
        path = add_bucket(headers.get("host", ""), path)
        query = {name: values[0] for name, values in parse_qs(text, keep_blank_values=True).items()}
        url = f"{ORIGIN}{path}?{text}"
        scope = read_scope(query, headers)
        if name := headers.get("x-amz-target"):
            return Call(self.find_target(name, scope), url, body)
        if protocol := headers.get("smithy-protocol"):
            return Call(self.find_smithy(protocol, path), url, body)
        if method == "POST" and headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            body = read_body(body)
            form = dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
            if "Action" in form:
                return Call(self.find_action(form, scope), url, body)
        elif "Action" in query and "Version" in query:
            return Call(self.find_action(query, scope), url, text.encode())
        return Call(self.find_route(method, path, query, headers, scope), url, body)

    def find_target(self, target: str, scope: str | None) -> OperationModel:
        prefix, _, name = target.rpartition(".")
        return pick(self.targets.get(prefix) or make_model("json", scope or prefix, jsonVersion="1.1"), name)

    def find_smithy(self, protocol: str, path: str) -> OperationModel:
        """None of the models here has this protocol, so none of its requests is ours."""
        parts = path.split("/")  # /service/<name>/operation/<name>
        service, name = (parts[2], parts[4]) if len(parts) == 5 else ("AWS", path)
        return pick(make_model("smithy-rpc-v2-cbor", service), f"{name} in the protocol {protocol}")

    def find_action(self, form: Mapping[str, str], scope: str | None) -> OperationModel:
        for model in self.of_protocol("query"):
            if scope == model.signing_name or (scope is None and form.get("Version") == model.api_version):
                return pick(model, form["Action"])
        made = make_model("query", scope or "AWS", xmlNamespace="https://aws.amazon.com/")
        return pick(made, form["Action"])

    def find_route(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], scope: str | None
    ) -> OperationModel:
        """Unsigned requests go to whom they fit."""
        models = [model for model in self.rest if scope in (None, model.signing_name)]
        for model in models:
            routes = self.routes.get((model.service_name, method), [])
            found = [route for route in routes if route.matches(path, query, headers)]
            if found:
                return max(found, key=lambda route: route.weight).operation
        wanted = f"{method} {path}"
        return pick(models[-1] if models else make_model("rest-json", scope or "AWS"), wanted, method)


def read_routes(model: ServiceModel) -> Iterable[Route]:
    for name in sorted(model.operation_names):
        operation = model.operation_model(name)
        path, _, literals = operation.http["requestUri"].partition("?")
        pattern = re.sub(r"\\{\w+(\\\+)?\\}", lambda label: ".+" if label[1] else "[^/]+", re.escape(path))
        query = {name: value or None for name, value in parse_qsl(literals, keep_blank_values=True)}
        shape = operation.input_shape
        places: dict[str, set[str]] = {"querystring": set(), "header": set()}
        for member_name in shape.required_members if shape else ():
            serialization = shape.members[member_name].serialization
            if (location := serialization.get("location")) in places:
                places[location].add(serialization["name"])
        query |= dict.fromkeys(places["querystring"])
        yield Route(
            operation,
            re.compile(pattern if "+}" in path or path.endswith("/") else pattern + "/?"),
            query,
            frozenset(name.lower() for name in places["header"]),
        )


def pick(model: ServiceModel, name: str, method: str = "POST") -> OperationModel:
    """The model's operation, or one that no service has: wire.respond refuses that in the model's protocol."""
    if name in model.operation_names:
        return model.operation_model(name)
    return OperationModel({"name": name, "http": {"method": method, "requestUri": "/"}}, model)


def make_model(protocol: str, name: str, **metadata: str) -> ServiceModel:
    """A service that nobody knows, without an operation."""
    return ServiceModel({"metadata": {"protocol": protocol, "serviceId": name, "endpointPrefix": name, **metadata}}, "")


def add_bucket(host: str, path: str) -> str:
    """http://bucket.localhost:8787/key -> /bucket/key: S3's other way to write it."""
    in_host = re.fullmatch(r"(.+)\.localhost(:\d+)?", host)
    return f"/{in_host[1]}{path}" if in_host else path


def read_scope(query: Mapping[str, str], headers: Mapping[str, str]) -> str | None:
    """The service that the request was signed for, in its header or its URL."""
    if signed := SCOPE.search(headers.get("authorization", "")):
        return signed[1]
    if credential := query.get("X-Amz-Credential"):
        return unquote(credential).split("/")[-2] if credential.count("/") >= 2 else None
    return None
