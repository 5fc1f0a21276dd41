"""botocore reads and parses its description of a service, megabytes of JSON, for every session: here once a process.

Importing this does it. A command makes a session, and so does nearly every test, several thousand in all.
"""

from __future__ import annotations

from typing import Any

import boto3
from botocore.loaders import JSONFileLoader

SERVICES = ("iam", "logs", "pricing", "sagemaker", "sagemaker-runtime", "scheduler", "sts")
CHANGED = "/s3/"  # by its clients, which take the bucket out of paths: to each its own
read = JSONFileLoader.load_file
found: dict[str, Any] = {}


def load_file(loader: JSONFileLoader, file_path: str) -> Any:
    if CHANGED in file_path:
        return read(loader, file_path)
    if file_path not in found:
        found[file_path] = read(loader, file_path)
    return found[file_path]


JSONFileLoader.load_file = load_file  # type: ignore[method-assign]
for service in SERVICES:
    boto3.Session("none", "none", region_name="us-east-1").client(service)
