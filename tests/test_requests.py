"""What is sent: accepted by botocore's own checks and by the service model's patterns, enums and lengths; readable."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from kept_files import compare
from sent_requests import CLOSED, EARLIER, FULL, INPUTS, JOB, LONGEST, SITE, WITH_WEIGHTS, serving
from settings import settings

from dogbreed_cli import hyperparameters, requests
from dogbreed_cli.local import wire
from dogbreed_cli.tags import TUNING_JOB_TAG

SNAPSHOTS = Path(__file__).parent / "snapshots"

pytestmark = pytest.mark.usefixtures("folder")


@cache
def service() -> Any:
    return botocore.session.get_session().get_service_model("sagemaker")


def check(operation: str, request: dict[str, Any]) -> None:
    model = service().operation_model(operation)
    report = ParamValidator().validate(request, model.input_shape)
    assert not report.has_errors(), report.generate_report()
    wire.validate(model, request)


# ---- every request is accepted


@pytest.mark.parametrize(
    "assignments",
    [
        (),
        ("debugger.enabled=false",),
        ('debugger.collections=["losses", "weights", "gradients", "biases"]', "debugger.save_interval=1"),
        (f"project.name={LONGEST}", "aws.prefix=/team/dogs/"),
        ("train.instance_type=ml.p4d.24xlarge", "train.max_run=2419200", "model.weights=IMAGENET1K_V2"),
        ("train.instance_count=100", "train.processes_per_host=8", "train.max_retry_attempts=30"),
        ("train.spot=true", "train.max_wait=14400", "train.input_mode=FastFile"),
        ("train.keep_alive=21600", "train.data_distribution=ShardedByS3Key", "debugger.aws_rules=true"),
        (
            "train.environment={A = 'b', _C1 = ''}",
            "aws.tags={Team = 'dogs + cats'}",
            "debugger.profiler_interval=60000",
        ),
    ],
)
@pytest.mark.parametrize("inputs", [INPUTS, WITH_WEIGHTS])
@pytest.mark.parametrize("site", [SITE, CLOSED], ids=["open", "closed"])
def test_training(assignments: tuple[str, ...], inputs: requests.Inputs, site: requests.Site) -> None:
    config = settings(*assignments)
    name = f"{config.project.name}-train-261122-194300"
    request = requests.training(
        config, site, inputs, name, {"lr": 0.01, "batch-size": 16}, {TUNING_JOB_TAG: "dogbreed-tune-1"}
    )
    check("CreateTrainingJob", request)
    assert not list(falsy(request)), "sagemaker.core would drop it"
    assert ("DebugHookConfig" in request) == config.debugger.aws_rules
    assert ("debug-collections" in request["HyperParameters"]) == config.debugger.enabled
    assert hyperparameters.decode(request["HyperParameters"])["lr"] == 0.01
    assert ("pretrained" in channels(request)) == (inputs.weights is not None)
    assert hyperparameters.decode(request["HyperParameters"])["weights"] == (
        "pretrained" if inputs.weights else config.model.weights
    )


@pytest.mark.parametrize(
    "assignments",
    [
        (),
        ("tune.strategy=Random", "tune.early_stopping=true", f"project.name={LONGEST}"),
        ("tune.strategy=Grid", "tune.ranges.lr.values=[0.1, 0.01]", "tune.max_jobs=8"),
        ("tune.strategy=Hyperband", "tune.epochs=9"),
        ("tune.ranges.batch-size={min = 8, max = 128, scaling = 'Logarithmic'}",),
        ("tune.ranges.weight-decay={min = 0.0, max = 0.5, scaling = 'ReverseLogarithmic'}",),
        ("tune.ranges.optimizer.values=['adamw', 'sgd']", "tune.ranges.backbone.values=['resnet18', 'resnet50']"),
        ("tune.ranges.epochs={min = 1, max = 9}", "tune.ranges.data-fraction={min = 0.1, max = 0.5}"),
        ("tune.max_jobs=1", "tune.max_parallel_jobs=100"),
        ("tune.objective=validation:accuracy", "tune.objective_type=Maximize"),
        ("tune.max_total_run=120", "tune.target_objective=0.5", "tune.max_jobs_not_improving=3"),
        ("tune.stop_on_convergence=true", "tune.warm_start_type=IdenticalDataAndAlgorithm", "train.spot=true"),
        ("train.keep_alive=60", "train.instance_count=2", "train.environment={A = 'b'}", "train.max_retry_attempts=1"),
    ],
)
@pytest.mark.parametrize("site", [SITE, CLOSED], ids=["open", "closed"])
@pytest.mark.parametrize("warm_start", [(), ("dogbreed-tune-261121-194300", "dogbreed-tune-261120-194300")])
def test_tuning(assignments: tuple[str, ...], warm_start: tuple[str, ...], site: requests.Site) -> None:
    config = settings(*assignments)
    name = f"{config.project.name}-tune-261122-194300"
    assert len(name) <= 32
    request = requests.tuning(config, site, INPUTS, name, warm_start)
    check("CreateHyperParameterTuningJob", request)
    assert not list(falsy(request)), "sagemaker.core would drop it"
    assert ("WarmStartConfig" in request) == bool(warm_start)
    definition, search = request["TrainingJobDefinition"], request["HyperParameterTuningJobConfig"]
    tuned = [one["Name"] for kind in search["ParameterRanges"].values() for one in kind]
    fixed = hyperparameters.decode(definition["StaticHyperParameters"])
    assert sorted(tuned) == sorted(config.tune.ranges)
    assert not set(tuned) & set(fixed), "AWS refuses what is tuned and static too"
    # What tuning tries and what training uses are the same set of hyperparameters, but for the trials' fraction.
    full = requests.training(config, site, INPUTS, "t", {})["HyperParameters"]
    learnt = {name for name in full if not name.startswith(("debug-", "profile-"))}
    assert {*tuned, *fixed} - {"data-fraction"} == learnt
    limits = search["ResourceLimits"]
    assert limits["MaxParallelTrainingJobs"] <= limits["MaxNumberOfTrainingJobs"] == config.tune.max_jobs
    metrics = {metric["Name"] for metric in definition["AlgorithmSpecification"]["MetricDefinitions"]}
    assert search["HyperParameterTuningJobObjective"]["MetricName"] in metrics


@pytest.mark.parametrize(
    "assignments",
    [
        (),
        ("deploy.instance_count=3", "deploy.instance_type=ml.g4dn.xlarge"),
        ("deploy.data_capture=100",),
        ("deploy.serverless=true", "deploy.memory=1024", "deploy.max_concurrency=200"),
        ("deploy.container=ray",),
    ],
)
@pytest.mark.parametrize("site", [SITE, CLOSED], ids=["open", "closed"])
@pytest.mark.parametrize("job", ["dogbreed-train-261122-194300", "j" * 63, "j" * 53 + "-" + "j" * 9])
def test_serving(assignments: tuple[str, ...], job: str, site: requests.Site) -> None:
    config = settings(*assignments)
    made = serving(config, site, job)
    for operation, request in made.items():
        check(operation, request)
        assert not list(falsy(request)), "sagemaker.core would drop it"
    variant = made["CreateEndpointConfig"]["ProductionVariants"][0]
    assert ("ServerlessConfig" in variant) != ("InstanceType" in variant)


def falsy(node: Any) -> Iterator[Any]:
    """What sagemaker.core drops: False, 0, "" and None as members. (Maps of strings keep their empty ones.)"""
    if isinstance(node, dict):
        for key, value in node.items():
            if key != "Environment":
                yield from falsy(value)
    elif isinstance(node, list):
        for value in node:
            yield from falsy(value)
    elif not node:
        yield node


def test_models_and_endpoint_configs_are_named_by_what_they_hold() -> None:
    def names(site: requests.Site, job: str, *assignments: str) -> tuple[str, str]:
        made = serving(settings(*assignments), site, job)
        return made["CreateModel"]["ModelName"], made["CreateEndpointConfig"]["EndpointConfigName"]

    model, config = names(SITE, "job-1")
    assert (model, config) == names(SITE, "job-1", "train.epochs=99")
    bigger = names(SITE, "job-1", "deploy.instance_count=2")
    assert bigger[0] == model and bigger[1] != config
    for other in (names(SITE, "job-2"), names(replace(SITE, image="newer"), "job-1"), names(CLOSED, "job-1")):
        assert other[0] != model and other[1] != config


def test_the_ray_container_is_told_where_its_app_is() -> None:
    registry = "763104351884.dkr.ecr.us-east-1.amazonaws.com"
    for kind in ("cpu", "cuda"):
        site = replace(SITE, image=f"{registry}/ray:serve-ml-sagemaker-{kind}-v1.1")
        made = serving(settings("deploy.container=ray"), site, "job-1")
        for operation, request in made.items():
            check(operation, request)
        environment = made["CreateModel"]["PrimaryContainer"]["Environment"]
        assert (environment["SM_RAYSERVE_APP"], environment["PYTHONPATH"]) == ("ray_app:app", "/opt/ml/model/code")
        (variant,) = made["CreateEndpointConfig"]["ProductionVariants"]
        assert ("InferenceAmiVersion" in variant) == (kind == "cuda")


def test_an_isolated_container_gets_its_scripts_as_a_channel() -> None:
    request = requests.training(settings(), CLOSED, INPUTS, "j", {})
    assert channels(request)["code"] == INPUTS.source
    submitted = hyperparameters.decode(request["HyperParameters"])["sagemaker_submit_directory"]
    assert submitted == "/opt/ml/input/data/code/sourcedir.tar.gz"
    assert request["EnableNetworkIsolation"] is True


def test_spot_waits_for_trials_as_long_as_for_the_training() -> None:
    config = settings("train.spot=true", "train.max_run=100", "train.max_wait=150", "tune.max_run=30")
    request = requests.training(config, SITE, INPUTS, "j", {})
    assert request["StoppingCondition"] == {"MaxRuntimeInSeconds": 100, "MaxWaitTimeInSeconds": 150}
    trial = requests.tuning(config, SITE, INPUTS, "t")["TrainingJobDefinition"]
    assert trial["StoppingCondition"] == {"MaxRuntimeInSeconds": 30, "MaxWaitTimeInSeconds": 80}
    assert trial["EnableManagedSpotTraining"] is True
    assert "CheckpointConfig" not in trial


def test_jobs_that_do_the_same_share_their_checkpoints() -> None:
    def place(name: str, *assignments: str, inputs: requests.Inputs = INPUTS, **given: Any) -> str:
        return requests.training(settings(*assignments), SITE, inputs, name, given)["CheckpointConfig"]["S3Uri"]

    first = place("j")
    assert re.fullmatch(rf"s3://{SITE.bucket}/dogbreed/checkpoints/dogbreed-train-[0-9a-f]{{12}}", first)
    assert place("k", "train.max_run=100", "train.spot=true") == first
    others = {place("j", lr=0.5), place("j", "train.seed=1"), place("j", inputs=replace(INPUTS, source="s3://b/c"))}
    assert len(others | {first}) == 4


def test_everything_carries_the_tag() -> None:
    config = settings("project.name=dogs")
    made = [
        requests.training(config, SITE, INPUTS, "j", {}, {TUNING_JOB_TAG: "tuning-1"}),
        requests.tuning(config, SITE, INPUTS, "j"),
        *serving(config, SITE, "j").values(),
    ]
    for request in made:
        assert {"Key": "dogbreed:project", "Value": "dogs"} in request["Tags"]
    assert {"Key": "dogbreed:tuning-job", "Value": "tuning-1"} in made[0]["Tags"]


def test_a_request_that_the_service_model_forbids_is_noticed() -> None:
    """The check itself: both of its halves see what they are for."""
    request = requests.training(settings(), SITE, INPUTS, "no spaces allowed", {})
    with pytest.raises(wire.AwsError, match="trainingJobName"):
        check("CreateTrainingJob", request)
    del request["RoleArn"]
    with pytest.raises(AssertionError, match="RoleArn"):
        check("CreateTrainingJob", request)


def channels(request: dict[str, Any]) -> dict[str, str]:
    return {one["ChannelName"]: one["DataSource"]["S3DataSource"]["S3Uri"] for one in request["InputDataConfig"]}


def test_only_splits_that_have_images_are_channels() -> None:
    found = channels(requests.training(settings(), SITE, WITH_WEIGHTS, "j", {}))
    assert found == {"train": f"{INPUTS.data}/train/", "pretrained": WITH_WEIGHTS.weights}


# ---- snapshots


@pytest.mark.parametrize("kind", ["training", "training-full", "tuning", "tuning-full", "endpoint", "endpoint-full"])
def test_snapshot(kind: str) -> None:
    """To accept a change: delete the file in tests/snapshots/, run this test twice, look at git's diff."""
    noun, _, full = kind.partition("-")
    config, site = (settings(*FULL), CLOSED) if full else (settings(), SITE)
    if noun == "training":
        request = requests.training(config, site, INPUTS, JOB, {"lr": 0.003}, {TUNING_JOB_TAG: "dogbreed-tune-1"})
    elif noun == "tuning":
        request = requests.tuning(config, site, WITH_WEIGHTS, "dogbreed-tune-261122-194300", [EARLIER])
    else:
        request = serving(config, site, JOB)
    difference = compare(SNAPSHOTS / f"{kind}.json", request)
    assert not difference, f"the {kind} request has changed:\n{difference}"
