"""obstore's client of a bucket, for many small objects: compiled, where boto3 takes a millisecond of Python for each.

    store = open_store("dogs", region="us-east-1", **keys)
    found = list_folder(store, "dogbreed/data")
    put = put_bytes(client, store, b"...", "dogs", "dogbreed/data/train/poodle/1.jpg", "image/jpeg")

Nothing depends on it: what it cannot do, boto3 does, which also has AWS's own words for what is wrong.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dogbreed_cli.storage import S3Object, join_key

if TYPE_CHECKING:
    import boto3

    from dogbreed_cli.sections import Aws

# What the environment may say of AWS for its keys to be understood without boto3. What anything else means (a profile,
# FIPS endpoints, a bundle of certificates, AWS's own files), boto3 knows.
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
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
}


# Regions whose endpoints do not end in amazonaws.com, which obstore takes for granted.
ELSEWHERE = ("cn-", "us-iso", "eu-iso", "eusc-")


def find_keys(environment: Mapping[str, str], aws: Aws) -> dict[str, Any] | None:
    """Arguments of `open_store`, where the environment alone says all that boto3 would find: on CI, mostly.

    To import boto3 and to make a client takes longer than to see that a data set is uploaded already.
    """
    given = {name: value for name, value in environment.items() if name.startswith("AWS_") and value}
    files = (
        given.get("AWS_CONFIG_FILE", "~/.aws/config"),
        given.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
    )
    region = aws.region or given.get("AWS_DEFAULT_REGION")
    endpoint = given.get("AWS_ENDPOINT_URL_S3") or given.get("AWS_ENDPOINT_URL") or ""
    if endpoint.startswith("http:"):
        given.pop("AWS_CA_BUNDLE", None)  # of no use there
    if aws.profile or not region or not given.keys() <= UNDERSTOOD:
        return None
    if not endpoint and region.startswith(ELSEWHERE):
        return None
    if any(Path(file).expanduser().exists() for file in files):
        return None
    if not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= given.keys():
        return None
    return {
        "region": region,
        "endpoint": endpoint,
        "access_key_id": given["AWS_ACCESS_KEY_ID"],
        "secret_access_key": given["AWS_SECRET_ACCESS_KEY"],
        **({"session_token": given["AWS_SESSION_TOKEN"]} if "AWS_SESSION_TOKEN" in given else {}),
    }


def open_store(bucket: str, endpoint: str, **credentials: Any) -> Any:
    """`credentials` are those of obstore's S3Store. Without an endpoint ("") it is AWS's own of the region."""
    from obstore.store import S3Store

    place: dict[str, Any] = {"endpoint": endpoint} if endpoint else {}
    return S3Store(
        bucket,
        virtual_hosted_style_request=False,
        client_options={"allow_http": endpoint.startswith("http:")},
        retry_config={"max_retries": 0},  # put_bytes has boto3 try again
        **place,
        **credentials,
    )


def open_store_of_session(bucket: str, client: Any, boto: boto3.Session) -> Any:
    """At the endpoint of a boto3 client, with the credentials of its session, renewed as that does it."""
    from obstore.auth.boto3 import Boto3CredentialProvider

    return open_store(bucket, client.meta.endpoint_url, credential_provider=Boto3CredentialProvider(boto))


def list_folder(store: Any, prefix: str) -> list[S3Object] | None:
    """All objects in the folder `prefix`; None where obstore cannot say, and boto3 has to be asked.

    obstore has no name for some keys that S3 takes: those it refuses, but for a folder's own mark (`dogs/`, always
    empty), which it lists without the slash.
    """
    import obstore

    try:
        # Ten of S3's pages at once: between two of them Python's lock is waited for.
        pages = obstore.list(store, join_key(prefix) + "/", chunk_size=10_000)
        found = [S3Object(item["path"], item["size"], str(item["e_tag"]).strip('"')) for page in pages for item in page]
    except Exception:
        return None
    return found if all(item.size for item in found) else None


class Put(NamedTuple):
    etag: str  # without the quotes
    is_slowed: bool  # it took more than one try


def put_bytes(client: Any, store: Any | None, content: bytes, bucket: str, key: str, content_type: str) -> Put:
    """Write an object by obstore, if there is a store, and else by boto3.

    obstore tries once. Whatever hinders it, boto3 then meets, too: it tries again as it does everywhere, and has AWS's
    own words where that does not help.
    """
    if store is not None:
        import obstore

        with contextlib.suppress(Exception):
            attributes = {"Content-Type": content_type}
            answer = obstore.put(store, key, content, attributes=attributes, use_multipart=False)
            if answer["e_tag"]:
                return Put(answer["e_tag"].strip('"'), False)
    answer = client.put_object(Bucket=bucket, Key=key, Body=content, ContentType=content_type)
    retried = answer["ResponseMetadata"].get("RetryAttempts", 0) > 0
    return Put(answer["ETag"].strip('"'), retried or store is not None)
