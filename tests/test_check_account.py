"""`dogbreed check` of an account: who you are, the role, the bucket and its data, quotas."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aws_account import Account
from checked_account import (
    BUCKET,
    DATA,
    NAMES,
    NUMBER,
    PLENTY,
    REGION,
    ROLE,
    Look,
    look_here,
    only,
    open_client,
)

from dogbreed_cli import checks, policies
from dogbreed_cli.checks import Check

# ---- who you are, and the role


def test_an_unknown_region_is_guessed_at(look: Look) -> None:
    found = look_here("aws.region=us-east-11")
    region = only(found, "region")
    assert region.status == "fail" and "did you mean us-east-1?" in region.found
    assert only(found, "bucket").found == "not checked: no region"
    assert checks.exit_code(found) == 1


def test_a_role_s_session_is_simulated_as_the_role_with_its_path(
    account: Account, look: Look, account_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    iam = open_client(account_url, "iam")
    arn = iam.create_role(RoleName="me", Path="/team/", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    keys = open_client(account_url, "sts").assume_role(RoleArn=arn, RoleSessionName="today")["Credentials"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys["SecretAccessKey"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", keys["SessionToken"])
    found = look_here()
    assert "assumed-role/me/today" in only(found, "credentials").found
    assert only(found, "permissions").status == "ok"
    assert account.principals == {f"arn:aws:iam::{NUMBER}:role/team/me"}


@pytest.mark.parametrize(
    ("role", "said"),
    [
        (f"arn:aws:iam::{NUMBER}:role/nobody", "does not trust sagemaker.amazonaws.com"),
        (f"arn:aws:iam::{NUMBER}:role/missing", "there is no role"),
        (f"arn:aws:iam::{NUMBER}:role/path/dogbreed", "there is no role"),
        ("arn:aws:iam::999999999999:role/dogbreed", "is not of your account"),
    ],
)
def test_a_role_that_cannot_be_used(look: Look, role: str, said: str) -> None:
    found = look(f"aws.role_arn={role}")
    check = only(found, "role")
    assert check.status == "fail" and said in check.found and check.fix
    assert checks.exit_code(found) == 4
    assert only(found, "data").status == "ok"


def test_no_role_is_named(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOGBREED_AWS__ROLE_ARN")
    found = look()
    assert only(found, "role").code == 4 and "aws.role_arn" in only(found, "role").fix
    assert only(found, "pass role").found == "not checked: no role"


@pytest.mark.parametrize(
    ("statements", "trusted"),
    [
        (policies.trust()["Statement"], True),
        (policies.trust()["Statement"][0], True),
        ([{"Effect": "Allow", "Principal": {"Service": ["a", policies.SERVICE]}, "Action": ["sts:AssumeRole"]}], True),
        ([{"Effect": "Allow", "Principal": "*", "Action": "sts:*"}], True),
        ([{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}], False),
        ([{"Effect": "Allow", "Principal": {"Service": policies.SERVICE}, "Action": "sts:TagSession"}], False),
        ([*policies.trust()["Statement"], {"Effect": "Deny", "Principal": "*", "Action": "*"}], False),
        ([], False),
    ],
)
def test_trust(statements: Any, trusted: bool) -> None:
    from dogbreed_cli.preflight.account import trusts_sagemaker

    assert trusts_sagemaker({"Statement": statements}) is trusted


def test_what_you_may_not_ask_is_a_warning(account: Account, look: Look) -> None:
    account.refused = {"iam:GetRole", "iam:SimulatePrincipalPolicy", "servicequotas:ListServiceQuotas"}
    found = look()
    assert {check.name: check.status for check in found if check.status != "ok"} == {
        "role": "warn", "permissions": "warn", "quotas": "warn"
    }  # fmt: skip
    assert "iam:GetRole" in only(found, "role").fix
    assert checks.exit_code(found) == 0


def test_missing_permissions_are_named(account: Account, look: Look) -> None:
    missing = {"s3:DeleteObject", "sagemaker:AddTags", "logs:GetLogEvents", "sagemaker:ListTags", "iam:GetRole"}
    for statement in account.policy["Statement"]:
        statement["Action"] = [name for name in statement["Action"] if name not in missing]
    check = only(found := look(), "permissions")
    assert check.status == "fail" and "iam/caller.json" in check.fix
    for action in ("s3:DeleteObject", "sagemaker:AddTags", "and 1 more"):
        assert action in check.found
    assert checks.exit_code(found) == 4
    assert only(found, "pass role").status == "ok"


def test_what_only_a_check_needs_is_not_missed(account: Account, look: Look) -> None:
    account.policy["Statement"] = [one for one in account.policy["Statement"] if "OnlyFor" not in one["Sid"]]
    assert only(look(), "permissions").status == "ok"


def test_pass_role_for_another_service_is_not_enough(account: Account, look: Look) -> None:
    (statement,) = [one for one in account.policy["Statement"] if one["Sid"] == "PassRole"]
    statement["Condition"]["StringEquals"]["iam:PassedToService"] = "ec2.amazonaws.com"
    check = only(look(), "pass role")
    assert (check.status, check.code) == ("fail", 4)


# ---- bucket and data


def test_a_bucket_that_is_not_there_yet(account: Account, look: Look) -> None:
    account.policy = policies.caller(policies.Place("nowhere-yet", "dogbreed", "dogbreed", ROLE, REGION, NUMBER))
    found = look("aws.bucket=nowhere-yet")
    assert only(found, "bucket").status == "warn" and "aws.bucket" in only(found, "bucket").fix
    assert "nothing has been uploaded" in only(found, "data").found
    assert checks.exit_code(found) == 0


def test_a_bucket_in_another_region(look: Look) -> None:
    found = look("aws.bucket=west")
    assert only(found, "bucket").code == 4 and "west is in eu-west-1" in only(found, "bucket").found
    assert only(found, "data").found == "not checked: no bucket"


def test_someone_else_s_bucket(
    look: Look, monkeypatch: pytest.MonkeyPatch, account_environment: dict[str, str]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", account_environment["AWS_ENDPOINT_URL_IAM"])
    assert only(look("aws.bucket=theirs"), "bucket").code == 4


def test_data(look: Look, account_url: str) -> None:
    s3 = open_client(account_url, "s3")
    assert only(look("aws.bucket=empty"), "data").status == "warn"
    for item in s3.list_objects_v2(Bucket=BUCKET, Prefix=DATA)["Contents"]:
        s3.copy_object(Bucket="empty", Key=item["Key"], CopySource={"Bucket": BUCKET, "Key": item["Key"]})
    assert only(look("aws.bucket=empty"), "data").status == "ok"

    keys = [item["Key"] for item in s3.list_objects_v2(Bucket="empty", Prefix=f"{DATA}/train/")["Contents"]]
    s3.put_object(Bucket="empty", Key=keys[0], Body=b"not that dog")
    s3.delete_object(Bucket="empty", Key=keys[-1])
    check = only(look("aws.bucket=empty"), "data")
    assert (check.status, check.code) == ("fail", 1)
    assert "2 images" in check.found and keys[0].removeprefix(f"{DATA}/") in check.found

    manifest = json.loads(s3.get_object(Bucket="empty", Key=f"{DATA}/manifest.json")["Body"].read())
    s3.put_object(Bucket="empty", Key=f"{DATA}/manifest.json", Body=json.dumps({**manifest, "complete": False}))
    assert "cut short" in only(look("aws.bucket=empty"), "data").found
    s3.put_object(Bucket="empty", Key=f"{DATA}/manifest.json", Body=b"{}")
    assert "no manifest of dogbreed" in only(look("aws.bucket=empty"), "data").found


# ---- quotas


def quotas(found: list[Check]) -> list[tuple[str, str]]:
    return [(check.found.partition(":")[0], check.status) for check in found if check.name == "quota"]


def test_a_quota_that_is_too_small(account: Account, look: Look) -> None:
    account.quotas = {"ml.g4dn.xlarge for training job usage": 1.0, "ml.m5.large for endpoint usage": 0.0}
    found = look()
    assert quotas(found) == [("ml.g4dn.xlarge for training job usage", "fail"),
                             ("ml.m5.large for endpoint usage", "fail")]  # fmt: skip
    assert "tune.max_parallel_jobs" in found[NAMES.index("quota")].fix
    assert checks.exit_code(found) == 7
    assert account.pages == 3
    # With one trial at a time there is enough for the training.
    assert quotas(look("tune.max_parallel_jobs=1"))[0][1] == "ok"
    assert quotas(look("tune.max_parallel_jobs=1", "train.instance_count=2"))[0][1] == "fail"
    # Grid may have fewer trials than it is allowed.
    one = ("tune.strategy=Grid", "tune.ranges.lr.values=[0.1]", "tune.ranges.batch-size.values=[32]")
    assert quotas(look("tune.max_parallel_jobs=4", *one))[0][1] == "ok"


def test_spot_and_warm_pools_and_serverless_have_quotas_of_their_own(account: Account, look: Look) -> None:
    account.quotas = {
        "ml.g4dn.xlarge for spot training job usage": 2.0,
        "ml.g4dn.xlarge for training job usage": 2.0,
        "ml.g4dn.xlarge for training warm pool usage": 0.0,
    }
    spot = quotas(look("train.spot=true", "deploy.serverless=true"))
    assert spot == [("ml.g4dn.xlarge for spot training job usage", "ok")]
    warm = look("train.keep_alive=600", "deploy.serverless=true")
    assert quotas(warm)[1] == ("ml.g4dn.xlarge for training warm pool usage", "warn")
    assert checks.exit_code(warm) == 0


def test_an_unknown_quota_is_a_warning(account: Account, look: Look) -> None:
    found = look("train.instance_type=ml.g99.xlarge")
    assert ("ml.g99.xlarge for training job usage", "warn") in quotas(found)
    assert checks.exit_code(found) == 0


def test_asking_for_quotas_ends_when_all_are_known(account: Account, look: Look) -> None:
    from aws_account import FILLER

    account.quotas = {}
    account.first = [{"QuotaName": name, "Value": value} for name, value in PLENTY.items()]
    assert len(FILLER) > 200 and {status for _, status in quotas(look())} == {"ok"}
    assert account.pages == 1
