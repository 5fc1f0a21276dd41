"""`dogbreed check`: the command against an AWS over HTTP, how its lines are found, what the settings lead to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from checked_account import (
    BUCKET,
    NAMES,
    NUMBER,
    REGION,
    ROLE,
    Look,
    only,
    settings,
)
from conftest import Forked

from dogbreed_cli import checks, policies
from dogbreed_cli.checks import Check
from dogbreed_cli.commands import check as commands_check
from dogbreed_cli.console import Console
from dogbreed_cli.context import App
from dogbreed_cli.preflight import request
from dogbreed_cli.session import open_session

# ---- the command


def test_when_all_is_well(account_environment: dict[str, str], folder: Path) -> None:
    document = Forked(folder, account_environment).json("check")
    assert set(document) == {"schema_version", "checks"}
    lines = document["checks"]
    assert [line["name"] for line in lines] == NAMES
    for line in lines:
        assert set(line) == {"name", "status", "found", "fix"}
        assert (line["status"], line["fix"]) == ("ok", ""), line
    data = next(line for line in lines if line["name"] == "data")
    assert "6 classes (12 train, 6 valid, 6 test)" in data["found"]


def test_without_credentials_the_rest_is_still_said(account_environment: dict[str, str], folder: Path) -> None:
    without = {key: value for key, value in account_environment.items() if "KEY" not in key}
    done = Forked(folder, without).run("check", code=4)
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
    ends = f"arn:aws:iam::{NUMBER}:role/dogbreed-expiry"
    place = policies.Place(BUCKET, "dogbreed", "dogbreed", ROLE, REGION, NUMBER, ends)
    wanted = {
        "caller.json": policies.caller(place, (key,)),
        "execution-role.json": policies.execution_role(place, (key,), vpc=True),
        "trust.json": policies.trust(),
        "expiry-role.json": policies.expiry_role(place),
        "expiry-trust.json": policies.trust(policies.SCHEDULER),
    }
    assert {path.name: json.loads(path.read_text()) for path in (folder / "iam").iterdir()} == wanted


def test_a_folder_that_cannot_be_made_is_no_bug_of_ours(
    look: Look, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "file").write_text("in the way")
    steps = open_session(settings(), Console()).checks(folder / "file" / "iam")
    failed = only(checks.run(steps, lambda done, total: None), "policies")
    assert (failed.status, failed.found) == ("fail", f"Not a directory: {folder / 'file' / 'iam'}")
    assert failed.fix.startswith("a folder is needed there")
    assert "Traceback" not in capsys.readouterr().err


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
