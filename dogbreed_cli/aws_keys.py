"""AWS's keys without boto3, where it is plain what that would find: in the environment, or in `aws configure`'s files.

    keys = find_keys(os.environ, config.aws)    # arguments of object_store.open_store; None: ask boto3

To import boto3 and to make a client takes longer than to see that a data set is uploaded already. Whatever else those
places can say (roles, single sign-on, a program that gives keys, other endpoints), boto3 is left to understand.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dogbreed_cli.sections import Aws

# Variables that are understood here, or mean nothing for S3. What any other means (FIPS endpoints, a bundle of
# certificates), boto3 knows.
UNDERSTOOD = {
    "AWS_ACCESS_KEY_ID",
    "AWS_CONFIG_FILE",
    "AWS_DEFAULT_REGION",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_EXECUTION_ENV",
    "AWS_MAX_ATTEMPTS",
    "AWS_PAGER",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
}
# The same of a profile, in the file with the settings and in the one with the keys.
SETTINGS, KEYS = {"region", "output"}, {"aws_access_key_id", "aws_secret_access_key", "aws_session_token"}
# Regions whose endpoints do not end in amazonaws.com, which obstore takes for granted.
ELSEWHERE = ("cn-", "us-iso", "eu-iso", "eusc-")


def find_keys(environment: Mapping[str, str], aws: Aws) -> dict[str, Any] | None:
    """Region, endpoint and keys as boto3 would find them."""
    given = {name: value for name, value in environment.items() if name.startswith("AWS_") and value}
    endpoint = given.get("AWS_ENDPOINT_URL_S3") or given.get("AWS_ENDPOINT_URL") or ""
    if endpoint.startswith("http:"):
        given.pop("AWS_CA_BUNDLE", None)  # of no use there
    if not given.keys() <= UNDERSTOOD:
        return None
    named = aws.profile or given.get("AWS_PROFILE")
    keys = {name: given[name.upper()] for name in KEYS if name.upper() in given}
    if named and keys:  # which of them counts depends on who named the profile
        return None
    profile = read_profile(given, named or "default")
    if profile is None or (named and not profile):
        return None
    keys = keys or {name: profile[name] for name in KEYS if name in profile}
    region = aws.region or environment.get("AWS_DEFAULT_REGION", profile.get("region"))
    if not region or (not endpoint and region.startswith(ELSEWHERE)):
        return None
    if not {"aws_access_key_id", "aws_secret_access_key"} <= keys.keys():
        return None
    return {"region": region, "endpoint": endpoint, **{name.removeprefix("aws_"): keys[name] for name in keys}}


def read_profile(given: Mapping[str, str], name: str) -> dict[str, str] | None:
    """What the two files say of it, perhaps nothing; None where that has to be understood."""
    found: dict[str, str] = {}
    for file, section, understood in (
        (given.get("AWS_CONFIG_FILE", "~/.aws/config"), name if name == "default" else f"profile {name}", SETTINGS),
        (given.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"), name, KEYS),
    ):
        parser = configparser.RawConfigParser()  # as botocore has it, and its way of finding the file
        try:
            parser.read(Path(os.path.expandvars(file)).expanduser())
        except (configparser.Error, UnicodeError):
            return None
        said = dict(parser[section]) if section in parser else {}
        if not said.keys() <= understood or not all(said.values()) or "profile default" in parser:
            return None
        found |= said
    return found
