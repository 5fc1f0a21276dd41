"""`dogbreed init` with settings: they stand in the file, in place, with every comment; on a terminal it asks."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import Dogbreed, clean_environment

from dogbreed_cli.cli import cli
from dogbreed_cli.config import Config, every_key, load, merge, parse_assignment
from dogbreed_cli.config_text import fill, find_comment, format_value

EXAMPLE = (Path(__file__).parent.parent / "config.example.toml").read_text(encoding="utf-8")
ROLE = "arn:aws:iam::123456789012:role/service-role/r"
# A value for every key, none of them the default's; what excludes another key stands in a set of its own.
SETS = [
    [
        "target=aws", "project.name=cats", "aws.profile=work", "aws.region=eu-west-1", "aws.bucket=my.bucket-1",
        "aws.prefix=a/b", f"aws.role_arn={ROLE}", "aws.training_image=1.dkr.ecr.eu-west-1.amazonaws.com/t:1",
        "aws.inference_image=i", "aws.kms_key=arn:aws:kms:eu-west-1:123456789012:key/k", "aws.volume_kms_key=alias/v",
        'aws.subnets=["subnet-1", "subnet-2"]', 'aws.security_groups=["sg-1"]', "aws.network_isolation=true",
        "aws.encrypt_traffic=true", "aws.tags.CostCenter=dogs", 'aws.tags.Owner="Ann Lee"',
        "local.python=/opt/my python/bin/python", "local.s3_endpoint=http://127.0.0.1:9000",
        "data.valid_fraction=0.2", "data.test_fraction=0.1", "data.seed=7",
        "model.backbone=resnet18", r'model.weights="C:\\weights \"#1\".pth"', "model.image_size=64",
        "tune.max_jobs=9", "tune.max_parallel_jobs=3", "tune.strategy=Random", "tune.objective=validation:accuracy",
        "tune.objective_type=Maximize", "tune.early_stopping=true", "tune.data_fraction=0.5", "tune.epochs=4",
        "tune.seed=11", "tune.max_run=60", "tune.max_total_run=7200", "tune.target_objective=0.9",
        "tune.max_jobs_not_improving=4", "tune.stop_on_convergence=true",
        "tune.warm_start_type=IdenticalDataAndAlgorithm",
        "train.epochs=3", "train.batch_size=8", "train.lr=1e-5", "train.optimizer=sgd", "train.weight_decay=0",
        "train.patience=2", "train.class_weights=balanced", "train.label_smoothing=0.1", "train.unfreeze=layer4",
        "features.enabled=false", "features.views=2", "features.engine=torch", "features.precision=fp32",
        "features.max_gb=5.5",
        "train.seed=5", "train.workers=0", "train.instance_type=ml.m5.xlarge", "train.instance_count=2",
        "train.processes_per_host=4", "train.volume_size=50", "train.max_run=600", "train.spot=true",
        "train.max_wait=1200", "train.max_retry_attempts=2", "train.input_mode=FastFile",
        "train.environment.HF_HOME=/tmp", 'train.environment.NAME="a = # é"',
        "debugger.save_interval=20", 'debugger.collections=["losses", "custom"]', "debugger.profiler_interval=1000",
        r'debugger.include="head.*weight\\b"', "debugger.reductions=['l2']", "debugger.profiler_steps=3-5",
        "debugger.aws_rules=true",
        "deploy.container=ray", "deploy.instance_type=ml.c5.large", "deploy.instance_count=2", "deploy.memory=2048",
        "deploy.max_concurrency=9", "deploy.data_capture=10", "deploy.max_instances=4",
        "deploy.requests_per_minute=60", "deploy.expiry_role_arn=arn:aws:iam::123456789012:role/e",
    ],
    ["train.keep_alive=600", "train.data_distribution=ShardedByS3Key", "aws.poll_seconds=2.5",
     "debugger.enabled=false", "deploy.serverless=true"],
    ["tune.ranges.lr.max=0.01"],
    ["tune.ranges.lr.values=[0.1, 0.2]", "tune.ranges.batch-size={min = 8, max = 64, scaling = 'Linear'}"],
    ["tune.ranges.weight-decay.min=0.0", "tune.ranges.weight-decay.max=0.5", "tune.ranges.epochs.values=[2, 4]"],
    ["tune={max_jobs = 2, ranges = {optimizer = {values = ['adamw', 'sgd']}}}", "tune.max_jobs=3"],
]  # fmt: skip

pytestmark = pytest.mark.usefixtures("folder")


def invoke(*arguments: str, code: int = 0) -> Any:
    result = CliRunner().invoke(cli, list(arguments))
    assert result.exit_code == code, result.output
    return result


def flags(assignments: list[str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for text in assignments:
        given = merge(given, parse_assignment(text))
    return given


def written(settings: dict[str, Any], path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """The keys that are said, sections and their keys only."""
    nested = {key: value for key, value in settings.items() if isinstance(value, dict) and not path}
    found = {(*path, key) for key in settings if key not in nested}
    return found.union(*(written(value, (*path, key)) for key, value in nested.items()))


@pytest.mark.parametrize("assignments", SETS, ids=lambda it: it[0].split("=")[0])
def test_the_file_gives_exactly_these_values_and_keeps_every_comment(assignments: list[str], folder: Path) -> None:
    options = [word for text in assignments for word in ("--set", text)]
    invoke(*options, "init")
    assert load() == load(folder / "config.toml") == load(None, flags(assignments)) != Config()
    text = (folder / "config.toml").read_text(encoding="utf-8")
    comments = [line for line in EXAMPLE.splitlines() if line.startswith("#") and " = " not in line]
    assert [line for line in text.splitlines() if line in comments] == comments
    for line in EXAMPLE.splitlines():
        if (found := re.fullmatch(r"(?:# )?([\w-]+) = (.*)", line)) and (comment := find_comment(found[2])):
            assert comment in text, "a comment is lost"
    assert [path.name for path in folder.iterdir()] == ["config.toml"]


def test_the_sets_hold_every_key() -> None:
    said = set[tuple[str, ...]]().union(*(written(flags(assignments)) for assignments in SETS))
    known = {("target",), *(tuple(key.split(".")) for key in every_key())}
    assert said == known


def test_only_the_lines_of_what_was_given_change(folder: Path) -> None:
    invoke("--target", "aws", "--set", "aws.region=eu-west-1", "--set", "train.epochs=3", "init")
    before, after = EXAMPLE.splitlines(), (folder / "config.toml").read_text(encoding="utf-8").splitlines()
    assert len(before) == len(after)
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [
        ('target = "local"', 'target = "aws"'),
        ('# region = "us-east-1"', 'region = "eu-west-1"'),
        ("epochs = 10", "epochs = 3"),
    ]


def test_a_value_keeps_its_comment_in_its_column() -> None:
    text = fill(EXAMPLE, {"train": {"optimizer": "sgd"}, "aws": {"bucket": "b" * 40}})
    assert 'optimizer = "sgd"                       # adamw, sgd, or lbfgs' in text
    assert f'bucket = "{"b" * 40}" # default: sagemaker-' in text


@pytest.mark.parametrize(
    "value", ["", 'a"b\\c', "tab\t, é, 🐕, \x7f, \x00", True, 0, -1, 1e-5, 1e300, ["a", 1], [], {}]
)
def test_values_are_written_as_toml(value: Any) -> None:
    for given in (value, [value], {"a b.c": value}):
        assert tomllib.loads(f"x = {format_value(given)}") == {"x": given}


def test_what_was_typed_as_text_is_written_as_its_kind(folder: Path) -> None:
    given = ["train.epochs='3'", "train.spot=1", "train.lr=.5", "deploy.memory='2048'", "project.name=p1"]
    invoke(*[word for text in given for word in ("--set", text)], "init")
    written = tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))
    train = written["train"]
    assert (train["epochs"], train["spot"], train["lr"], written["deploy"]["memory"]) == (3, True, 0.5, 2048)


def test_what_cannot_be_is_refused_and_nothing_is_written(folder: Path) -> None:
    for wrong, said in [
        ("train.epochs=0", "train.epochs = 0 in command line"),
        ("train.epoch=3", "did you mean train.epochs?"),
        ("aws.role_arn=me", "aws.role_arn = 'me'"),
        ("deploy.serverless=true", "deploy.data_capture cannot be used"),
    ]:
        error = json.loads(invoke("--json", "--set", "deploy.data_capture=5", "--set", wrong, "init", code=2).stdout)
        assert said in error["error"] + error["why"] + error["fix"]
    assert not list(folder.iterdir())


def test_a_broken_file_can_be_overwritten(folder: Path) -> None:
    (folder / "config.toml").write_text("no toml")
    invoke("--set", "train.epochs=3", "init", code=2)
    assert (folder / "config.toml").read_text() == "no toml"
    invoke("--set", "train.epochs=3", "init", "--force")
    assert load().train.epochs == 3


def test_the_command_that_is_advised_for_a_missing_file_creates_it(folder: Path) -> None:
    error = json.loads(invoke("--json", "--config", "a b/c/x.toml", "status", code=2).stdout)
    command = error["fix"].removeprefix("create it with `dogbreed ").removesuffix("`")
    invoke(*shlex.split(command))
    assert load(folder / "a b/c/x.toml") == Config()
    assert [path.name for path in folder.rglob("*")] == ["a b", "c", "x.toml"]


@pytest.mark.parametrize("command", ["status", "init", "init --force", "init --print"])
def test_a_folder_in_the_place_of_the_file_is_refused(folder: Path, command: str) -> None:
    (folder / "config.toml").mkdir()
    for options, said in [
        (["--config", "."], ". is a folder"),
        (["--config", "config.toml"], "config.toml is a folder"),
        ([], "config.toml is a folder"),
    ]:
        error = json.loads(invoke("--json", *options, *command.split(), code=2).stdout)
        assert (error["error"], error["fix"]) == (said, "name a file with --config")
    assert [path.name for path in folder.rglob("*")] == ["config.toml"]


def test_off_a_terminal_it_asks_nothing_and_says_what_is_missing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "aws"))
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    result = invoke("--json", "--target", "aws", "init")
    assert json.loads(result.stdout)["to_fill_in"] == ["aws.region", "aws.role_arn"]
    assert "still to fill in: aws.role_arn, the role" in result.stderr
    assert "next: dogbreed check" in result.stderr
    assert (load().target, load().aws.region) == ("aws", None)
    (folder / "aws").write_text("[default]\nregion = eu-west-1\n")
    shown = invoke("--json", "--target", "aws", "--set", f"aws.role_arn={ROLE}", "init", "--force").stdout
    assert json.loads(shown)["to_fill_in"] == []
    assert "still" not in invoke("init", "--force").stderr


def answer(dogbreed: Dogbreed, answers: str, *arguments: str) -> str:
    """What the command says on a terminal on which these answers are typed."""
    ours, its = pty.openpty()
    environment = clean_environment(**dogbreed.environment, TERM="dumb", COLUMNS="200")
    process = subprocess.Popen(
        dogbreed.command(*arguments), stdin=its, stderr=its, stdout=its, cwd=dogbreed.folder, env=environment
    )
    os.close(its)
    os.write(ours, answers.encode())
    said = b""
    try:
        while chunk := os.read(ours, 1024):
            said += chunk
    except OSError:  # how Linux says that the other side is closed
        pass
    os.close(ours)
    assert process.wait(60) == 0, said
    return said.decode()


def test_on_a_terminal_it_asks_for_what_is_missing(folder: Path) -> None:
    (folder / "aws").write_text("[default]\nregion = eu-west-1\n")
    dogbreed = Dogbreed(folder, {"AWS_CONFIG_FILE": str(folder / "aws")})
    said = answer(dogbreed, f"\nnonsense\n{ROLE}\nmy-bucket\n", "--target", "aws", "init")
    assert "[Enter: eu-west-1, from your AWS profile]" in said
    assert "warning: aws.role_arn = 'nonsense' in answer cannot be used" in said
    assert "still to fill in" not in said
    aws = load().aws
    assert (aws.region, aws.role_arn, aws.bucket) == (None, ROLE, "my-bucket")
    said = answer(dogbreed, "us-east-1\n\n", "--target", "aws", "--set", "aws.bucket=b-1", "init", "--force")
    assert "still to fill in: aws.role_arn" in said
    assert "S3 bucket" not in said
    assert (load().aws.region, load().aws.role_arn, load().aws.bucket) == ("us-east-1", None, "b-1")
