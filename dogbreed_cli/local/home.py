"""Where this machine's SageMaker keeps its things: one folder, `.dogbreed/`, that a person can look into.

s3/<bucket>/<key>         objects as plain files
sagemaker/<kind>/<name>   records of jobs, models and endpoints (JSON)
logs/                     CloudWatch log streams (JSON lines)
jobs/<name>/              a running job's or endpoint's own folder: its /opt/ml tree, its lock, its worker's log
"""

from __future__ import annotations

import os
from pathlib import Path

from dogbreed_cli.errors import DogbreedError

ACCOUNT = "000000000000"
REGION = "us-east-1"
BUCKET = "dogbreed-local"
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/dogbreed-local"


class Home:
    """`s3_endpoint` is the URL of an S3 over HTTP that jobs read and write instead of the files in s3/."""

    def __init__(self, root: Path, s3_endpoint: str | None = None):
        self.root = root.absolute()
        self.s3_endpoint = s3_endpoint
        self.s3 = self.root / "s3"
        self.records = self.root / "sagemaker"
        self.logs = self.root / "logs"
        self.jobs = self.root / "jobs"

    @classmethod
    def find(cls, s3_endpoint: str | None = None) -> Home:
        """$DOGBREED_HOME, or .dogbreed/ in the working directory."""
        return cls(Path(os.environ.get("DOGBREED_HOME") or ".dogbreed"), s3_endpoint)

    def create(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            ignore = self.root / ".gitignore"
            if not ignore.exists():
                ignore.write_text("# dogbreed's local SageMaker; remove this folder to forget everything.\n*\n")
        except OSError as error:
            raise DogbreedError(
                f"this machine's SageMaker cannot keep its things in {self.root}",
                f"{error.strerror}: {error.filename}",
                "run it where you may write, or let DOGBREED_HOME name a folder where you may",
            ) from error


def arn(kind: str, name: str) -> str:
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name}"
