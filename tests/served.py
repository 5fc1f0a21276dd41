"""`dogbreed local serve` for tests: the local SageMaker over HTTP, and which operations the clients called.

OPERATIONS are those of the seven commands, status and logs with the target aws, when nothing fails: the API's names
behind IAM's prefixes. (IAM's actions have names of their own in S3: HeadObject needs s3:GetObject.) What is stopped,
updated or serverless comes on top. test_serve_pipeline.py runs the commands and compares, so that others (the policies
in iam/) can trust the list.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
from conftest import clean_environment

from dogbreed_cli.local import Home

OPERATIONS = {
    "application-autoscaling:DescribeScalingPolicies",
    "logs:DeleteLogGroup",
    "logs:DescribeLogGroups",
    "logs:DescribeLogStreams",
    "logs:GetLogEvents",
    "pricing:GetProducts",
    "s3:CreateBucket",
    "s3:DeleteObjects",
    "s3:GetObject",
    "s3:HeadBucket",
    "s3:ListObjectsV2",
    "s3:PutObject",
    "sagemaker:CreateEndpoint",
    "sagemaker:CreateEndpointConfig",
    "sagemaker:CreateHyperParameterTuningJob",
    "sagemaker:CreateModel",
    "sagemaker:CreateTrainingJob",
    "sagemaker:DeleteEndpoint",
    "sagemaker:DeleteEndpointConfig",
    "sagemaker:DeleteModel",
    "sagemaker:DescribeEndpoint",
    "sagemaker:DescribeEndpointConfig",
    "sagemaker:DescribeHyperParameterTuningJob",
    "sagemaker:DescribeModel",
    "sagemaker:DescribeTrainingJob",
    "sagemaker:InvokeEndpoint",
    "sagemaker:ListEndpointConfigs",
    "sagemaker:ListEndpoints",
    "sagemaker:ListHyperParameterTuningJobs",
    "sagemaker:ListModels",
    "sagemaker:ListTags",
    "sagemaker:ListTrainingJobs",
    "sagemaker:ListTrainingJobsForHyperParameterTuningJob",
    "scheduler:GetSchedule",
    "sts:GetCallerIdentity",
}
# Reads the arguments of one `aws` a line, as JSON; answers with its exit code and what it said.
AWS = """
import contextlib, io, json, sys
from awscli.clidriver import create_clidriver

for line in sys.stdin:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = create_clidriver().main(json.loads(line))
    print(json.dumps([code, said.getvalue()]), flush=True)
"""


@dataclass
class Served:
    """A running server, and what a client's environment needs to find it."""

    process: subprocess.Popen[str]
    url: str
    home: Home
    lines: list[str] = field(default_factory=list)  # of its stderr
    shell: subprocess.Popen[str] | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def calls(self) -> list[tuple[str, int]]:
        """(operation, HTTP status) in the order of their answers: ("sagemaker:CreateTrainingJob", 200)."""
        found = (re.fullmatch(r"([\w.-]+:\w+) (\d{3})\n?", line) for line in list(self.lines))
        return [(match[1], int(match[2])) for match in found if match]

    @property
    def operations(self) -> set[str]:
        return {name for name, _ in self.calls}

    def client(self, service: str, **options: Any) -> Any:
        session = boto3.Session("local", "local", region_name="us-east-1")
        return session.client(service, endpoint_url=self.url, **options)

    def run(self, *arguments: str, code: int = 0, **options: Any) -> str:
        """Run a Python program with the environment that `serve` tells to export; its stdout."""
        done = subprocess.run(
            [sys.executable, *arguments],
            env=clean_environment(**self.environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            **options,
        )
        assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout if code == 0 else done.stdout + done.stderr

    def aws(self, *arguments: str, code: int = 0) -> str:
        """PyPI's `aws`: what it says. One process runs many, for importing it takes longer than what it does here."""
        if self.shell is None:
            self.shell = subprocess.Popen(
                [sys.executable, "-c", AWS],
                env=clean_environment(**self.environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self.shell.stdin
        assert self.shell.stdout
        self.shell.stdin.write(json.dumps(arguments) + "\n")
        self.shell.stdin.flush()
        ended, said = json.loads(self.shell.stdout.readline())
        assert ended == code, f"aws {arguments}\n{said}"
        return said

    def end(self) -> int:
        """SIGTERM; its exit code."""
        self.process.terminate()
        return self.process.wait(timeout=60)


@contextmanager
def serve(home: Home, **environment: str) -> Iterator[Served]:
    """`dogbreed -v local serve` on a free port, in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dogbreed_cli", "-v", "local", "serve", "--port", "0"],
        env=clean_environment(DOGBREED_HOME=str(home.root), **environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stderr
    served = Served(process, "", home)
    reader = threading.Thread(target=lambda: served.lines.extend(process.stderr or ()), daemon=True)
    reader.start()
    try:
        served.url = process.stdout.readline().strip()
        assert served.url.startswith("http://127.0.0.1:"), served.lines
        yield served
    finally:
        for one in (served.shell, process):
            if one is not None:
                end(one)
        reader.join(timeout=60)
        process.stderr.close()


def end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(timeout=60)
    finally:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()
