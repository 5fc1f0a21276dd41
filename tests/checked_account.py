"""The account that `check` looks at in tests: roles, buckets and dogs on moto, aws_account.py for what moto lacks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import requests
from aws_account import Account
from moto_server import serve_moto
from settings import settings

from dogbreed_cli import checks, images, policies, sync
from dogbreed_cli.breeds import draw_breeds
from dogbreed_cli.checks import Check
from dogbreed_cli.console import Console
from dogbreed_cli.preflight import account_steps
from dogbreed_cli.session import open_session

NUMBER, REGION = "123456789012", "us-east-1"
BUCKET = f"sagemaker-{REGION}-{NUMBER}"
ROLE = f"arn:aws:iam::{NUMBER}:role/dogbreed"
DATA = "dogbreed/data"
# What the SDK would look up takes it four seconds.
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.8-gpu-py312"
PLENTY = {"ml.g4dn.xlarge for training job usage": 2.0, "ml.m5.large for endpoint usage": 4.0}
NAMES = [
    "region", "credentials", "role", "pass role", "permissions", "bucket", "data", "quota", "quota",
    "training image", "inference image", "debugger", "network", "payload", "tuning",
]  # fmt: skip
Look = Callable[..., list[Check]]


def open_client(moto: str, service: str, region: str = REGION, **keys: str) -> Any:
    keys = keys or {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return boto3.client(service, region, endpoint_url=moto, **keys)


def send(client: Any, pictures: Path, bucket: str) -> None:
    folder = images.scan(pictures)
    stored = sync.find_stored(client, bucket, DATA, sync.list_ours(client, bucket, DATA))
    plan = sync.plan_sync(folder, stored, DATA)
    sync.sync(client, folder, plan, bucket, DATA)


def draw_pictures(folder: Path) -> Path:
    draw_breeds(folder, seed=1, counts={"train": 2, "valid": 1, "test": 1}, size=(32, 32))
    return folder


@contextmanager
def serve_account(pictures: Path) -> Iterator[str]:
    """The URL of an account with a role, some dogs uploaded, a bucket elsewhere."""
    with serve_moto() as url:
        # Another file's tests may have been in the same process.
        requests.post(f"{url}/moto-api/reset", timeout=60).raise_for_status()
        roles = {
            "dogbreed": policies.trust(),
            "nobody": {
                "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "*"}]
            },
        }
        for name, trust in roles.items():
            open_client(url, "iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
        s3 = open_client(url, "s3")
        s3.create_bucket(Bucket=BUCKET)
        s3.create_bucket(Bucket="empty")
        west = {"LocationConstraint": "eu-west-1"}
        open_client(url, "s3", "eu-west-1").create_bucket(Bucket="west", CreateBucketConfiguration=west)
        send(s3, pictures, BUCKET)
        yield url


def allowed_all(moto: str) -> Account:
    """What moto lacks, for a caller with the policy in iam/ and quotas that suffice."""
    place = policies.Place(BUCKET, "dogbreed", "dogbreed", ROLE, REGION, NUMBER)
    return Account(moto, policies.caller(place), dict(PLENTY))


@contextmanager
def environment_of(account: Account, moto: str, folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which dogbreed finds both."""
    front = account.start()
    url = f"http://127.0.0.1:{front.server_port}"
    environment = {
        "AWS_ENDPOINT_URL": moto,
        "AWS_ENDPOINT_URL_IAM": url,
        "AWS_ENDPOINT_URL_SERVICE_QUOTAS": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": str(folder / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "DOGBREED_TARGET": "aws",
        "DOGBREED_AWS__REGION": REGION,
        "DOGBREED_AWS__ROLE_ARN": ROLE,
        "DOGBREED_AWS__TRAINING_IMAGE": IMAGE,
        "DOGBREED_AWS__INFERENCE_IMAGE": IMAGE,
    }
    try:
        yield environment
    finally:
        front.shutdown()
        front.server_close()


def look_here(*assignments: str) -> list[Check]:
    """All lines, in this process."""
    session = open_session(settings(*assignments), Console())
    return checks.run(session.checks(None), lambda done, total: None)


@cache
def boto() -> boto3.Session:
    """One for all: a new one reads a megabyte of service models."""
    return boto3.Session("test", "test", region_name=REGION)


def look_there(*assignments: str) -> list[Check]:
    """All lines of a check of the account that the environment names, with some settings."""
    steps = account_steps(boto(), settings(*assignments), lambda: IMAGE, lambda: IMAGE, None)
    return checks.run(steps, lambda done, total: None)


def only(found: list[Check], name: str) -> Check:
    (check,) = [check for check in found if check.name == name]
    return check
