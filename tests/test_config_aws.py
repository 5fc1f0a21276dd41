"""The settings of issue 3: what AWS would refuse is refused before anything is asked of it."""

from __future__ import annotations

import pytest
from settings import refused, settings

pytestmark = pytest.mark.usefixtures("folder")


@pytest.mark.parametrize(
    ("assignments", "said"),
    [
        (("train.max_wait=20000",), "spot = true"),
        (("train.spot=true", "train.max_wait=60"), "at least max_run"),
        (("train.spot=true", "train.keep_alive=60"), "exclude each other"),
        (("train.instance_count=2", "train.data_distribution=ShardedByS3Key"), "FullyReplicated"),
        (("aws.subnets=['subnet-1']",), "both subnets and security_groups"),
        (("aws.subnets=['subnet 1']", "aws.security_groups=['sg-1']"), "aws.subnets"),
        (("aws.tags={'dogbreed:project' = 'mine'}",), "reserved"),
        (("aws.tags={'AWS:x' = 'mine'}",), "reserved"),
        (("aws.tags={'Team' = 'a & b'}",), "aws.tags.Team"),
        (("aws.tags={'Team' = ''}",), "aws.tags.Team"),
        (("aws.tags={'T&m' = 'a'}",), "aws.tags.T&m = 'T&m' in command line cannot be used must be a tag's name"),
        ((f"aws.subnets={['s-1'] * 17}", "aws.security_groups=['g-1']"), "aws.subnets"),
        (("aws.subnets=['s-1']", f"aws.security_groups={['g-1'] * 6}"), "aws.security_groups"),
        (("debugger.collections=[]",), "debugger.collections"),
        (("aws.kms_key=not a key",), "aws.kms_key"),
        (("local.s3_endpoint=localhost:9000",), "local.s3_endpoint"),
        (("local.s3_endpoint=http://me:secret@localhost:9000",), "local.s3_endpoint"),
        (("tune.seed=0",), "tune.seed"),
        (("tune.max_jobs_not_improving=2",), "tune.max_jobs_not_improving"),
        (("tune.max_total_run=60",), "tune.max_total_run"),
        (("tune.target_objective=0",), "tune.target_objective"),
        (("train.environment={'1A' = 'x'}",), "train.environment"),
        (("train.input_mode=Pipe",), "train.input_mode"),
        (("debugger.profiler_interval=300",), "debugger.profiler_interval"),
        (("debugger.aws_rules=true", "debugger.enabled=false"), "enabled = true"),
        (("deploy.memory=1000",), "deploy.memory"),
        (("deploy.serverless=true", "deploy.data_capture=1"), "deploy.data_capture"),
        (("deploy.serverless=true", "aws.network_isolation=true"), "deploy.serverless"),
        (("deploy.serverless=true", "aws.subnets=['s-1']", "aws.security_groups=['g-1']"), "deploy.serverless"),
    ],
)
def test_what_aws_would_refuse_is_refused(assignments: tuple[str, ...], said: str) -> None:
    assert said in refused(*assignments)


def test_a_secret_in_a_wrong_environment_is_not_repeated() -> None:
    assert "hunter2" not in refused("train.environment={'1A' = 'hunter2'}")


def test_names_in_open_tables_keep_their_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOGBREED_TRAIN__ENVIRONMENT__HF_HOME", "/tmp")
    monkeypatch.setenv("DOGBREED_TRAIN__ENVIRONMENT__lower_Case", "x")
    monkeypatch.setenv("DOGBREED_TRAIN__ENVIRONMENT__A__B", "[1]")
    monkeypatch.setenv("DOGBREED_AWS__TAGS", '{"CostCenter": "dogs"}')
    config = settings(text="[train.environment]\nHF_HOME = '/data'\nMore = 'y'\n")
    assert config.train.environment == {"HF_HOME": "/tmp", "lower_Case": "x", "A__B": "[1]", "More": "y"}
    assert config.aws.tags == {"CostCenter": "dogs"}


def test_one_process_is_not_distributed() -> None:
    assert not settings().train.is_distributed
    assert settings("train.processes_per_host=2").train.is_distributed
    assert settings("train.instance_count=2").train.is_distributed
