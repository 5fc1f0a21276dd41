"""`dogbreed check`: against an AWS over HTTP (moto, aws_account.py for what moto lacks), and on this machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from aws_account import Account
from conftest import Dogbreed
from moto.server import ThreadedMotoServer

from dogbreed_cli import checks, images, policies, sync
from dogbreed_cli.breeds import draw_breeds
from dogbreed_cli.checks import Check
from dogbreed_cli.commands import check as commands_check
from dogbreed_cli.config import Config, load, merge, parse_assignment
from dogbreed_cli.console import Console
from dogbreed_cli.context import App
from dogbreed_cli.errors import UsageError
from dogbreed_cli.local import BUCKET as LOCAL_BUCKET
from dogbreed_cli.local import Home, connect
from dogbreed_cli.local.preflight import check_weights
from dogbreed_cli.preflight import account_steps, request
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


def open_client(moto: str, service: str, region: str = REGION, **keys: str) -> Any:
    keys = keys or {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return boto3.client(service, region, endpoint_url=moto, **keys)


def send(client: Any, pictures: Path, bucket: str) -> None:
    folder = images.scan(pictures)
    sync.sync(client, folder, sync.plan_sync(client, folder, bucket, DATA), bucket, DATA)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dogs")
    draw_breeds(folder, seed=1, counts={"train": 2, "valid": 1, "test": 1}, size=(32, 32))
    return folder


@pytest.fixture(scope="module")
def moto(pictures: Path) -> Iterator[str]:
    """An account with a role, some dogs uploaded, a bucket elsewhere."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    roles = {
        "dogbreed": policies.trust(),
        "nobody": {"Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "*"}]},
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
    server.stop()


@pytest.fixture
def account(moto: str) -> Account:
    place = policies.Place(BUCKET, "dogbreed", "dogbreed", ROLE, REGION, NUMBER)
    return Account(moto, policies.caller(place), dict(PLENTY))


@pytest.fixture
def environment(account: Account, moto: str, folder: Path) -> Iterator[dict[str, str]]:
    front = account.start()
    url = f"http://127.0.0.1:{front.server_port}"
    yield {
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
    front.shutdown()
    front.server_close()


def settings(*assignments: str) -> Config:
    flags: dict[str, Any] = {}
    for assignment in assignments:
        flags = merge(flags, parse_assignment(assignment))
    return load(None, flags)


def look_here(*assignments: str) -> list[Check]:
    """All lines, in this process."""
    session = open_session(settings(*assignments), Console())
    return checks.run(session.checks(None), lambda done, total: None)


@pytest.fixture(scope="module")
def boto() -> boto3.Session:
    """One for all: a new one reads a megabyte of service models."""
    return boto3.Session("test", "test", region_name=REGION)


Look = Callable[..., list[Check]]


@pytest.fixture
def look(environment: dict[str, str], boto: boto3.Session, monkeypatch: pytest.MonkeyPatch) -> Look:
    """All lines of a check of the account, with some settings."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def run(*assignments: str) -> list[Check]:
        steps = account_steps(boto, settings(*assignments), lambda: IMAGE, lambda: IMAGE, None)
        return checks.run(steps, lambda done, total: None)

    return run


def only(found: list[Check], name: str) -> Check:
    (check,) = [check for check in found if check.name == name]
    return check


# ---- the command


def test_when_all_is_well(environment: dict[str, str], folder: Path) -> None:
    document = Dogbreed(folder, environment).json("check")
    assert set(document) == {"schema_version", "checks"}
    lines = document["checks"]
    assert [line["name"] for line in lines] == NAMES
    for line in lines:
        assert set(line) == {"name", "status", "found", "fix"}
        assert (line["status"], line["fix"]) == ("ok", ""), line
    data = next(line for line in lines if line["name"] == "data")
    assert "6 classes (12 train, 6 valid, 6 test)" in data["found"]


def test_without_credentials_the_rest_is_still_said(environment: dict[str, str], folder: Path) -> None:
    without = {key: value for key, value in environment.items() if "KEY" not in key}
    done = Dogbreed(folder, without).run("check", code=4)
    assert "no AWS credentials" in done.stdout and "fix:" in done.stdout
    for name in ("role", "permissions", "bucket", "data", "quotas"):
        assert f"{name} " in done.stdout
    assert done.stdout.count("not checked: no credentials") == 5
    assert "Bayesian, 4 trials" in done.stdout and "debugger" in done.stdout
    assert "1 failed" in done.stderr


def test_without_a_region_nobody_can_be_asked(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOGBREED_AWS__REGION")
    found = commands_check.look(App(Console()), None)
    assert [(check.name, check.status) for check in found] == [("session", "fail")]
    assert "aws.region" in found[0].fix and checks.exit_code(found) == 1


def test_the_policies_are_written_with_the_account_s_names(look: Look, folder: Path) -> None:
    key = f"arn:aws:kms:us-east-1:{NUMBER}:key/1234"
    flags = settings(f"aws.kms_key={key}", "aws.subnets=['subnet-1']", "aws.security_groups=['sg-1']")
    steps = open_session(flags, Console()).checks(folder / "iam")
    assert only(checks.run(steps, lambda done, total: None), "policies").status == "ok"
    place = policies.Place(BUCKET, "dogbreed", "dogbreed", ROLE, REGION, NUMBER)
    wanted = {
        "caller.json": policies.caller(place, (key,)),
        "execution-role.json": policies.execution_role(place, (key,), vpc=True),
        "trust.json": policies.trust(),
    }
    assert {path.name: json.loads(path.read_text()) for path in (folder / "iam").iterdir()} == wanted


def test_a_folder_that_cannot_be_made_is_no_bug_of_ours(
    look: Look, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "file").write_text("in the way")
    steps = open_session(settings(), Console()).checks(folder / "file" / "iam")
    failed = only(checks.run(steps, lambda done, total: None), "policies")
    assert (failed.status, failed.found) == ("fail", f"Not a directory: {folder / 'file' / 'iam'}")
    assert failed.fix == "mend that path"
    assert "Traceback" not in capsys.readouterr().err


# ---- who you are, and the role


def test_an_unknown_region_is_guessed_at(look: Look) -> None:
    found = look_here("aws.region=us-east-11")
    region = only(found, "region")
    assert region.status == "fail" and "did you mean us-east-1?" in region.found
    assert only(found, "bucket").found == "not checked: no region"
    assert checks.exit_code(found) == 1


def test_a_role_s_session_is_simulated_as_the_role_with_its_path(
    account: Account, look: Look, moto: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    iam = open_client(moto, "iam")
    arn = iam.create_role(RoleName="me", Path="/team/", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    keys = open_client(moto, "sts").assume_role(RoleArn=arn, RoleSessionName="today")["Credentials"]
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


def test_someone_else_s_bucket(look: Look, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", environment["AWS_ENDPOINT_URL_IAM"])
    assert only(look("aws.bucket=theirs"), "bucket").code == 4


def test_data(look: Look, moto: str) -> None:
    s3 = open_client(moto, "s3")
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


# ---- what the settings lead to


@pytest.mark.parametrize(
    ("assignments", "name", "status", "said"),
    [
        (("debugger.aws_rules=true",), "debugger", "warn", "2026-07-30"),
        (("debugger.enabled=false",), "debugger", "ok", "off"),
        (("aws.network_isolation=true",), "network", "fail", "download the weights DEFAULT"),
        (("aws.network_isolation=true", "model.weights=none"), "network", "warn", "smdebug"),
        (("aws.network_isolation=true", "model.weights=none", "debugger.enabled=false"), "network", "ok", "isolated"),
        (("aws.subnets=['subnet-1']", "aws.security_groups=['sg-1']"), "network", "warn", "VPC"),
        (("tune.max_parallel_jobs=11", "tune.max_jobs=20"), "tuning", "warn", "11 at a time"),
        (("tune.max_parallel_jobs=11",), "tuning", "ok", "4 at a time"),
    ],
)
def test_settings(folder: Path, assignments: tuple[str, ...], name: str, status: str, said: str) -> None:
    (check,) = getattr(request, f"check_{name}")(settings(*assignments))
    assert (check.name, check.status, said in check.found) == (name, status, True), check
    assert bool(check.fix) == (status != "ok")


# ---- how the lines are found


def test_a_failure_blocks_what_needs_it_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[tuple[int, int]] = []

    def break_down() -> Iterator[Check]:
        raise KeyError("oops")

    steps = [
        checks.Step("one", lambda: [checks.fail("one", "no", "mend it", 7)]),
        checks.Step("two", lambda: [checks.ok("two", "yes")], ("one",)),
        checks.Step("three", lambda: [checks.ok("three", "yes")], ("two",)),
        checks.Step("four", lambda: [checks.warn("four", "so so"), checks.ok("more", "yes")]),
        checks.Step("five", break_down, ("four",)),
    ]
    found = checks.run(steps, lambda done, total: seen.append((done, total)))
    assert [(check.name, check.status) for check in found] == [
        ("one", "fail"), ("two", "warn"), ("three", "warn"), ("four", "warn"), ("more", "ok"), ("five", "fail"),
    ]  # fmt: skip
    assert found[2].found == "not checked: no one"
    assert "KeyError" in capsys.readouterr().err and "a bug" in found[-1].fix
    assert seen == [(number, 5) for number in range(1, 6)]


@pytest.mark.parametrize(
    ("codes", "expected"), [((), 0), ((1,), 1), ((1, 7), 7), ((7, 4, 1), 4), ((4,), 4), ((7, 7), 7)]
)
def test_exit_codes(codes: tuple[int, ...], expected: int) -> None:
    found = [checks.ok("a", ""), checks.warn("b", ""), *(checks.fail("c", "", "", code) for code in codes)]
    assert checks.exit_code(found) == expected


# ---- this machine


def test_on_this_machine(image_python: Path, folder: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = connect(Home.find()).client("s3")
    s3.create_bucket(Bucket=LOCAL_BUCKET)
    send(s3, pictures, LOCAL_BUCKET)
    monkeypatch.setenv("TORCH_HOME", str(folder))
    cached = folder / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    cached.parent.mkdir(parents=True)
    cached.touch()
    found = look_here("model.backbone=resnet18")
    assert [check.name for check in found] == [
        "image", "libraries", "weights", "disk: home", "disk: cache", "bucket", "data"
    ]  # fmt: skip
    assert {check.status for check in found if "disk" not in check.name} == {"ok"}
    assert str(image_python.parent.parent) in only(found, "image").found
    for library in ("torch 2", "torchvision 0", "smdebug 1"):
        assert library in only(found, "libraries").found
    assert str(cached) in only(found, "weights").found
    assert "12 train" in only(found, "data").found


@pytest.mark.parametrize(
    ("weights", "cached", "status", "said"),
    [
        ("none", None, "ok", "random"),
        ("s3://bucket/dogs.pt", None, "ok", "the job reads"),
        ("gone.pt", None, "fail", "no file gone.pt"),
        ("dogs.pt", None, "ok", "dogs.pt"),
        ("DEFAULT", {"file": "x", "there": False}, "warn", "downloads them"),
        ("IMAGENET1K_V9", {"unknown": "'IMAGENET1K_V9'"}, "fail", "no weights IMAGENET1K_V9"),
    ],
)
def test_weights(folder: Path, weights: str, cached: dict[str, Any] | None, status: str, said: str) -> None:
    (folder / "dogs.pt").touch()
    (check,) = check_weights(weights, cached)
    assert (check.status, said in check.found) == (status, True), check


def test_an_interpreter_without_the_libraries(folder: Path) -> None:
    bare = folder / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    found = look_here(f"local.python={bare}")
    assert only(found, "libraries").status == "fail" and "torch" in only(found, "libraries").found
    assert "local.python" in only(found, "libraries").fix
    assert only(found, "weights").status == "warn"
    bare.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    assert "does not run: broken" in only(look_here(f"local.python={bare}"), "image").found
    assert "names no interpreter" in only(look_here("local.python=gone"), "image").found


def test_an_image_that_is_not_built(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOGBREED_CACHE", str(folder / "cache"))
    found = look_here()
    assert only(found, "image").status == "warn" and "not built" in only(found, "image").found
    assert only(found, "weights").found == "DEFAULT: not checked: no image"
    assert "nothing has been uploaded" in only(found, "data").found
    assert not (folder / "cache").exists()


def test_this_machine_has_no_policies(folder: Path) -> None:
    with pytest.raises(UsageError, match="--target aws"):
        commands_check.look(App(Console()), folder / "iam")
    assert not (folder / "iam").exists()
