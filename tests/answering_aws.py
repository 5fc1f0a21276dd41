"""For the tests of teardown: a small account over HTTP, in which a test says what is there and what is refused.

moto's jobs have all ended, keep no instances warm, and cannot be stopped; this one answers what `teardown` asks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

ARN = "arn:aws:sagemaker:us-east-1:123456789012"
KINDS = {"Endpoint": "endpoint", "EndpointConfig": "endpoint-config", "Model": "model"}
EMPTY_BUCKET = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
CHANGES = ("Stop", "Update", "Delete")


@dataclass
class Account:
    """Names and statuses of what is there; operations that are refused; every call that changes something."""

    jobs: dict[str, str] = field(default_factory=dict)
    pools: dict[str, str] = field(default_factory=dict)
    things: dict[str, list[str]] = field(default_factory=lambda: {member: [] for member in KINDS})
    refused: set[str] = field(default_factory=set)
    changed: list[tuple[str, str]] = field(default_factory=list)
    reused_when_asked: bool = False

    def answer(self, operation: str, asked: dict[str, Any]) -> dict[str, Any]:
        """What SageMaker says; raises LookupError for what is not there, PermissionError for what is refused."""
        name = next((value for key, value in asked.items() if key.endswith("Name")), "")
        if operation.startswith(CHANGES):
            self.changed.append((operation, name))
        if operation == "UpdateTrainingJob" and self.reused_when_asked:
            self.pools[name] = "Reused"
        if operation in self.refused:
            raise PermissionError(operation)
        if operation == "ListTags":
            return {"Tags": [{"Key": "dogbreed:project", "Value": "dogbreed"}]}
        if operation == "ListTrainingJobs":
            return {"TrainingJobSummaries": [self.summarize(job) for job in self.select(asked)]}
        if operation == "DescribeTrainingJob":
            if self.pools.get(name) == "Terminating":  # it takes AWS a moment
                self.pools[name] = "Terminated"
                return self.describe(name, "Available")
            return self.describe(name, self.pools.get(name, ""))
        if operation == "StopTrainingJob":
            self.jobs[name] = "Stopped"
        if operation == "UpdateTrainingJob":
            assert asked["ResourceConfig"] == {"KeepAlivePeriodInSeconds": 0}
            self.pools[name] = "Terminating"
        member = operation.removeprefix("List").removeprefix("Describe").removeprefix("Delete")
        if operation.startswith("List"):
            member = member.removesuffix("s")
            there = [self.name(member, one) for one in self.things.get(member, [])]
            return {f"{member}s" if member in KINDS else f"{member}Summaries": there}
        if member in KINDS:
            if name not in self.things[member]:
                raise LookupError(name)
            if operation.startswith("Delete"):
                self.things[member].remove(name)
            return {**self.name(member, name), "EndpointConfigName": name, "ProductionVariants": []}
        return {}

    def select(self, asked: dict[str, Any]) -> list[str]:
        if "WarmPoolStatusEquals" in asked:
            return [job for job, status in self.pools.items() if status in ("Available", "Terminating")]
        return [job for job, status in self.jobs.items() if status == asked["StatusEquals"]]

    def summarize(self, job: str) -> dict[str, Any]:
        arn, status = f"{ARN}:training-job/{job}", self.jobs.get(job, "Completed")
        found = {"TrainingJobName": job, "TrainingJobArn": arn, "TrainingJobStatus": status, "CreationTime": 1}
        return {**found, "WarmPoolStatus": {"Status": "Available"}} if job in self.pools else found

    def describe(self, job: str, pool: str) -> dict[str, Any]:
        place = {"InstanceType": "ml.m5.2xlarge", "InstanceCount": 2, "VolumeSizeInGB": 1}
        times = {"TrainingStartTime": 1, "TrainingEndTime": 2}
        found = {**self.summarize(job), "ResourceConfig": place, **times}
        return {**found, "WarmPoolStatus": {"Status": pool}} if pool else found

    def name(self, member: str, name: str) -> dict[str, Any]:
        found = {f"{member}Name": name, f"{member}Arn": f"{ARN}:{KINDS[member]}/{name}", "CreationTime": 1}
        return {**found, "EndpointStatus": "InService"} if member == "Endpoint" else found


@contextmanager
def serve_account() -> Iterator[tuple[Account, str]]:
    """An account that is empty, and its URL."""
    account = Account()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            service, _, operation = self.headers.get("X-Amz-Target", "").rpartition(".")
            if self.path.startswith("/bucket"):
                self.send(200, EMPTY_BUCKET)
                return
            if service != "SageMaker":  # neither schedules nor scaling
                none = {"ScalingPolicies": []}
                self.reply(*((200, none) if "Policies" in operation else (404, fault("ResourceNotFoundException"))))
                return
            try:
                self.reply(200, account.answer(operation, json.loads(body)))
            except LookupError:
                self.reply(400, fault("ValidationException", "Could not find it."))
            except PermissionError:
                self.reply(400, fault("AccessDeniedException", f"not authorized to perform: sagemaker:{operation}"))

        def reply(self, status: int, answer: dict[str, Any]) -> None:
            self.send(status, json.dumps(answer).encode())

        def send(self, status: int, said: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = answer

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True  # a client keeps its connections
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield account, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def fault(code: str, message: str = "") -> dict[str, Any]:
    return {"__type": code, "message": message}
