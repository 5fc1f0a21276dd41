"""obstore's client of a bucket, for many small objects: compiled, where boto3 takes a millisecond of Python for each.

    store = open_store("dogs", region="us-east-1", **keys)
    found = list_folder(store, "dogbreed/data")
    put = put_bytes(client, store, b"...", "dogs", "dogbreed/data/train/poodle/1.jpg", "image/jpeg")

Nothing depends on it: what it cannot do, boto3 does, which also has AWS's own words for what is wrong.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

from dogbreed_cli.storage import S3Object, join_key

if TYPE_CHECKING:
    import boto3


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
