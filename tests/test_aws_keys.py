"""aws_keys.py: the keys that boto3 would find, or nothing, and then boto3 is asked."""

import os

import boto3
import pytest

from dogbreed_cli import object_store, storage
from dogbreed_cli.aws_keys import find_keys
from dogbreed_cli.sections import Aws

ALONE = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "eu-west-3"}
REGION_ALONE = {"AWS_DEFAULT_REGION": "eu-west-3"}
SERVER = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"}
KEYS = "aws_access_key_id = {0}1\naws_secret_access_key = {0}2\n"
DEFAULT = "[default]\n" + KEYS.format("default")
WORK = "[work]\n" + KEYS.format("work") + "aws_session_token = work3\n"
REGION = "[default]\nregion = eu-north-1\noutput = json\n[profile work]\nregion=sa-east-1\n"


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Sets AWS's variables and files, and nothing else of AWS is there."""

    def set_up(variables: dict[str, str], config: str = "", credentials: str = "") -> dict[str, str]:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name, value in {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true", **variables}.items():
            monkeypatch.setenv(name, value)
        (tmp_path / ".aws").mkdir()
        for name, text in (("config", config), ("credentials", credentials)):
            if text:
                (tmp_path / ".aws" / name).write_text(text)
        return dict(os.environ)

    return set_up


@pytest.mark.parametrize(
    ("variables", "config", "credentials", "aws"),
    [
        (ALONE, "", "", Aws()),
        (ALONE, "", "", Aws(region="us-west-2")),
        (ALONE | {"AWS_SESSION_TOKEN": "token"}, "", "", Aws()),
        (ALONE | SERVER, "", "", Aws()),
        (ALONE | SERVER | {"AWS_ENDPOINT_URL_S3": "https://s3.example"}, "", "", Aws()),
        (ALONE | SERVER | {"AWS_CA_BUNDLE": "/etc/ssl/own.pem"}, "", "", Aws()),
        (ALONE | {"AWS_CONFIG_FILE": "/nowhere", "AWS_REGION": "ap-south-1", "AWS_PAGER": ""}, "", "", Aws()),
        (ALONE, REGION, DEFAULT, Aws()),
        ({name: ALONE[name] for name in list(ALONE)[:2]}, REGION, "", Aws()),
        ({}, REGION, DEFAULT, Aws()),
        ({}, REGION, DEFAULT, Aws(region="us-west-2")),
        ({}, REGION, DEFAULT + WORK, Aws(profile="work")),
        ({"AWS_PROFILE": "work"}, REGION, DEFAULT + WORK, Aws()),
        ({"AWS_PROFILE": "work"}, REGION, DEFAULT + WORK, Aws(profile="default")),
        (REGION_ALONE, "", DEFAULT, Aws()),
        (
            {"AWS_SHARED_CREDENTIALS_FILE": "$HOME/.aws/config", "AWS_CONFIG_FILE": "~/none"},
            DEFAULT,
            "",
            Aws(region="us-west-2"),
        ),
        ({}, REGION, "[DEFAULT]\naws_session_token = for-all\n" + DEFAULT, Aws()),
        ({}, "[preview]\ns3 =\n  odd = 1\n" + REGION, "[other]\nrole_arn = a\n" + DEFAULT, Aws()),
    ],
)
def test_the_keys_are_those_that_boto3_finds(machine, variables, config, credentials, aws: Aws) -> None:
    found = find_keys(machine(variables, config, credentials), aws)
    assert found
    session = boto3.Session(profile_name=aws.profile, region_name=aws.region)
    keys = session.get_credentials().get_frozen_credentials()
    assert found == {
        "region": session.region_name,
        "endpoint": found["endpoint"],
        "access_key_id": keys.access_key,
        "secret_access_key": keys.secret_key,
        **({"session_token": keys.token} if keys.token else {}),
    }
    endpoint = found["endpoint"] or f"https://s3.{session.region_name}.amazonaws.com"
    assert session.client("s3").meta.endpoint_url == endpoint


@pytest.mark.parametrize(
    "more",
    [
        {"AWS_PROFILE": "work"},
        {"AWS_CA_BUNDLE": "/etc/ssl/own.pem"},
        {"AWS_USE_FIPS_ENDPOINT": "true"},
        {"AWS_SOMETHING_NEW": "1"},
        {"AWS_SECRET_ACCESS_KEY": ""},
        {"AWS_DEFAULT_REGION": ""},
        {"AWS_DEFAULT_REGION": "cn-north-1"},
    ],
)
def test_another_environment_is_for_boto3_to_understand(machine, more: dict[str, str]) -> None:
    assert find_keys(machine({**ALONE, **more}, REGION, WORK), Aws()) is None


@pytest.mark.parametrize(
    ("config", "credentials"),
    [
        ("[default]\nendpoint_url = http://127.0.0.1:9000\n", DEFAULT),
        ("[default]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = work\n", DEFAULT),
        ("[default]\nsso_session = own\n", DEFAULT),
        ("[default]\ns3 =\n  addressing_style = virtual\n", DEFAULT),
        ("[default]\ncredential_process = keys\n", ""),
        ("[profile default]\nregion = eu-west-1\n", DEFAULT),
        ("no section\n", DEFAULT),
        ("", "[default]\naws_access_key_id = default1\n"),
        ("", "[default]\naws_access_key_id =\naws_secret_access_key =\n"),
        ("", DEFAULT + "region = eu-west-2\n"),
        ("", ""),
    ],
)
def test_what_else_a_profile_says_is_for_boto3_to_understand(machine, config: str, credentials: str) -> None:
    assert find_keys(machine(REGION_ALONE, config, credentials), Aws()) is None


def test_a_profile_that_is_nowhere_is_for_boto3_to_refuse(machine) -> None:
    environment = machine(REGION_ALONE, REGION, DEFAULT)
    assert find_keys(environment, Aws(profile="play")) is None
    assert find_keys(environment | ALONE, Aws(profile="default")) is None  # boto3 takes the profile's


def test_a_store_with_such_keys_reads_and_writes(machine, s3_endpoint, client, bucket) -> None:
    keys = find_keys(machine({"AWS_ENDPOINT_URL": s3_endpoint}, REGION, DEFAULT), Aws(region="us-east-1"))
    assert keys
    store = object_store.open_store(bucket, **keys)
    assert not object_store.put_bytes(None, store, b"a dog", bucket, "p/a.jpg", "image/jpeg").is_slowed
    assert object_store.list_folder(store, "p") == list(storage.list_objects(client, bucket, "p/"))
