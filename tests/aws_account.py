"""An AWS account's front door for tests: what moto lacks of IAM and Service Quotas, over HTTP; the rest goes to moto.

IAM's simulation is answered from a real policy document, by the rules of IAM that our policies use: an action is
allowed where a statement names it, its resource and its condition's value.
"""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs

FILLER = [{"QuotaName": f"something else {number}", "Value": 1.0} for number in range(230)]
RESULT = (
    "<member><EvalActionName>{}</EvalActionName><EvalResourceName>*</EvalResourceName>"
    "<EvalDecision>{}</EvalDecision></member>"
)
DENIED = (
    "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"
)


@dataclass
class Account:
    """What the account has; tests change it. `refused` are actions that the caller is denied, as calls."""

    moto: str
    policy: dict[str, Any] = field(default_factory=lambda: {"Statement": []})
    quotas: dict[str, float] = field(default_factory=dict)
    first: list[dict[str, Any]] = field(default_factory=list)  # quotas on the first page
    refused: set[str] = field(default_factory=set)
    principals: set[str] = field(default_factory=set)  # that a simulation was asked for
    pages: int = 0  # of quotas that were asked for

    def start(self) -> ThreadingHTTPServer:
        account = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                """Nothing."""

            def answer(self, status: int, body: str, content_type: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body.encode())))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body.encode())

            def do_HEAD(self) -> None:  # a bucket of someone else's
                self.answer(403, "", "application/xml")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if target := self.headers.get("X-Amz-Target"):
                    self.answer(*account.answer_quotas(target.partition(".")[2], json.loads(body)))
                else:
                    self.answer(*account.answer_iam(parse_qs(body.decode()), body, dict(self.headers)))

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    def answer_quotas(self, operation: str, request: dict[str, Any]) -> tuple[int, str, str]:
        kind = "application/x-amz-json-1.1"
        if f"servicequotas:{operation}" in self.refused:
            return 400, json.dumps({"__type": "AccessDeniedException", "Message": "no"}), kind
        assert (operation, request["ServiceCode"]) == ("ListServiceQuotas", "sagemaker")
        self.pages += 1
        every = self.first + FILLER + [{"QuotaName": name, "Value": value} for name, value in self.quotas.items()]
        start, most = int(request.get("NextToken", 0)), request["MaxResults"]
        more = {"NextToken": str(start + most)} if start + most < len(every) else {}
        return 200, json.dumps({"Quotas": every[start : start + most], **more}), kind

    def answer_iam(self, form: dict[str, list[str]], body: bytes, headers: dict[str, str]) -> tuple[int, str, str]:
        action = form["Action"][0]
        if f"iam:{action}" in self.refused:
            return 403, DENIED, "text/xml"
        if action != "SimulatePrincipalPolicy":
            return self.forward(body, headers)
        self.principals.add(form["PolicySourceArn"][0])
        actions = [form[key][0] for key in sorted(form) if key.startswith("ActionNames.")]
        (resource,) = [form[key][0] for key in form if key.startswith("ResourceArns.")]
        values = {value for key, found in form.items() if "ContextKeyValues" in key for value in found}
        results = "".join(
            RESULT.format(name, "allowed" if self.allows(name, resource, values) else "implicitDeny")
            for name in actions
        )
        inner = f"<EvaluationResults>{results}</EvaluationResults><IsTruncated>false</IsTruncated>"
        outer = "SimulatePrincipalPolicyRe"
        return 200, f"<{outer}sponse><{outer}sult>{inner}</{outer}sult></{outer}sponse>", "text/xml"

    def allows(self, action: str, resource: str, values: set[str]) -> bool:
        for statement in self.policy["Statement"]:
            wanted = {value for keys in statement.get("Condition", {}).values() for value in keys.values()}
            if (
                action in statement["Action"]
                and any(fnmatchcase(resource, pattern) for pattern in statement["Resource"])
                and wanted <= values
            ):
                return True
        return False

    def forward(self, body: bytes, headers: dict[str, str]) -> tuple[int, str, str]:
        kept = {name: headers[name] for name in ("Authorization", "Content-Type") if name in headers}
        try:
            with urllib.request.urlopen(urllib.request.Request(self.moto, body, kept)) as response:
                return response.status, response.read().decode(), "text/xml"
        except HTTPError as error:
            return error.code, error.read().decode(), "text/xml"
