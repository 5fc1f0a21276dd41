"""botocore looks for its descriptions of services and parses them, megabytes of JSON, for every session: here once.

Importing this does it. A command makes a session, and so does nearly every test, several thousand in all.
"""

from __future__ import annotations

from typing import Any

import boto3
from botocore.loaders import JSONFileLoader, Loader

SERVICES = ("iam", "logs", "pricing", "sagemaker", "sagemaker-runtime", "scheduler", "sts")
CHANGED = "/s3/"  # by its clients, which take the bucket out of paths: to each its own
read, list_services = JSONFileLoader.load_file, Loader.list_available_services
found: dict[str, Any] = {}
listed: dict[tuple[str, ...], list[str]] = {}


def load_file(loader: JSONFileLoader, file_path: str) -> Any:
    if CHANGED in file_path:
        return read(loader, file_path)
    if file_path not in found:
        found[file_path] = read(loader, file_path)
    return found[file_path]


def list_available_services(loader: Loader, type_name: str) -> list[str]:
    place = (*loader.search_paths, type_name)
    if place not in listed:
        listed[place] = list_services(loader, type_name)
    return listed[place]


JSONFileLoader.load_file = load_file  # type: ignore[method-assign]
Loader.list_available_services = list_available_services  # type: ignore[method-assign]
for service in SERVICES:
    boto3.Session("none", "none", region_name="us-east-1").client(service)
