"""What the local SageMaker refuses of a job's request, as AWS does or because this machine cannot do it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from local_jobs import Machine, machine_in
from local_trials import BATCH, KINDS, LR, TRIAL, request, start

from dogbreed_cli.local import BUCKET

RESOURCES = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
CREATE, CREATE_TUNING = "create_training_job", "create_hyper_parameter_tuning_job"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine_in(tmp_path_factory.mktemp("refusals")) as machine:
        machine.put_code("trial", train=TRIAL)
        yield machine


# ---- of training


def test_names_must_be_new_known_and_well_formed(machine: Machine) -> None:
    machine.train("known", "print('done')")
    code, message = machine.error(CREATE, **machine.training("known"))
    assert (code, message) == ("ResourceInUse", "Training job names must be unique within an AWS account")
    # AWS's documentation promises ResourceNotFound here; its service answers this.
    missing = ("ValidationException", "Requested resource not found.")
    assert machine.error("describe_training_job", TrainingJobName="nobody") == missing
    assert machine.error("stop_training_job", TrainingJobName="nobody") == missing
    for name in ("under_score", "-dash", "a" * 64, "dot.dot", "../escape"):
        code, message = machine.error(CREATE, **machine.training(name))
        assert code == "ValidationException"
        assert "trainingJobName" in message
    assert machine.error("describe_training_job", TrainingJobName="../x")[0] == "ValidationException"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"AlgorithmSpecification": None}, "AlgorithmSpecification is required"),
        ({"ResourceConfig": None}, "ResourceConfig is required"),
        ({"StoppingCondition": None}, "StoppingCondition is required"),
        ({"RoleArn": "not-an-arn-at-all-but-long"}, "roleArn"),
        ({"EnableManagedSpotTraining": True}, "must be present"),
        (
            {
                "EnableManagedSpotTraining": True,
                "StoppingCondition": {"MaxRuntimeInSeconds": 9, "MaxWaitTimeInSeconds": 8},
            },
            "greater than or equal to MaxRuntimeInSeconds",
        ),
        ({"EnableNetworkIsolation": True}, "EnableNetworkIsolation"),
        ({"EnableInterContainerTrafficEncryption": True}, "EnableInterContainerTrafficEncryption"),
        ({"VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}}, "VpcConfig"),
        ({"CheckpointConfig": {"S3Uri": "https://b/c"}}, "Invalid S3 URI"),
        ({"CheckpointConfig": {"S3Uri": "s3://b/c", "LocalPath": "/opt/ml/model"}}, "/opt/ml/model"),
        ({"CheckpointConfig": {"S3Uri": "s3://b/c", "LocalPath": "/opt/ml/../etc"}}, "/opt/ml/../etc"),
        ({"CheckpointConfig": {"S3Uri": "s3://b/c", "LocalPath": "/checkpoints"}}, "/checkpoints"),
        ({"ProfilerConfig": {"ProfilingIntervalInMilliseconds": 500}}, "S3OutputPath is required"),
        (
            {"ProfilerConfig": {"S3OutputPath": "s3://b/c", "ProfilingIntervalInMilliseconds": 300}},
            "100, 200, 500, 1000, 5000, 60000",
        ),
        (
            {"ProfilerConfig": {"S3OutputPath": "s3://b/c", "ProfilingParameters": {"a": "b"}}},
            "ProfilerConfig.ProfilingParameters",
        ),
        (
            {"DebugHookConfig": {"S3OutputPath": "s3://b/c", "LocalPath": "/tmp/tensors"}},
            "/opt/ml/output/tensors",
        ),
        ({"DebugRuleConfigurations": [{"RuleConfigurationName": "r", "RuleEvaluatorImage": "i"}]}, "DebugRule"),
        ({"ProfilerRuleConfigurations": [{"RuleConfigurationName": "r", "RuleEvaluatorImage": "i"}]}, "ProfilerRule"),
        ({"RetryStrategy": {"MaximumRetryAttempts": 3}}, "RetryStrategy"),
        ({"OutputDataConfig": {"S3OutputPath": "s3://b/c", "KmsKeyId": "key"}}, "OutputDataConfig.KmsKeyId"),
        ({"OutputDataConfig": {"S3OutputPath": "https://b/c"}}, "Invalid S3 URI"),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": 9, "MaxWaitTimeInSeconds": 9}},
            "only supported when EnableManagedSpotTraining",
        ),
        ({"ResourceConfig": {**RESOURCES, "VolumeKmsKeyId": "key"}}, "ResourceConfig.VolumeKmsKeyId"),
        ({"ResourceConfig": {**RESOURCES, "InstanceCount": 2}}, "one instance"),
        ({"ResourceConfig": {**RESOURCES, "InstanceType": "ml.none"}}, "enum value set"),
        ({"AlgorithmSpecification": {"TrainingInputMode": "Pipe"}}, "input mode Pipe"),
        ({"AlgorithmSpecification": {"TrainingInputMode": "File", "TrainingImage": "pytorch:2.6"}}, "container image"),
        (
            {"AlgorithmSpecification": {"TrainingInputMode": "File", "TrainingImage": "file:///etc/passwd"}},
            "container image",
        ),
        ({"AlgorithmSpecification": {"TrainingInputMode": "File", "AlgorithmName": "mine"}}, "AlgorithmName"),
    ],
)
def test_what_aws_or_this_machine_cannot_do_is_refused(machine: Machine, change: dict[str, Any], words: str) -> None:
    request = machine.training("refused")
    if change.get("AlgorithmSpecification"):
        change = {"AlgorithmSpecification": {"TrainingImage": machine.image, **change["AlgorithmSpecification"]}}
    request = {key: value for key, value in {**request, **change}.items() if value is not None}
    code, message = machine.error(CREATE, **request)
    assert code == "ValidationException"
    assert words in message
    assert machine.error("describe_training_job", TrainingJobName="refused")[1] == "Requested resource not found."


def test_what_is_off_is_not_refused(machine: Machine) -> None:
    machine.train("off", "print('done')", EnableManagedSpotTraining=False, EnableNetworkIsolation=False)
    assert machine.ended("off")["TrainingJobStatus"] == "Completed"


def test_channels_and_metrics_are_checked(machine: Machine) -> None:
    request = machine.training("refused", channels={"train": f"s3://{BUCKET}/x"}, metrics=["loss"])
    twice = {**request, "InputDataConfig": request["InputDataConfig"] * 2}
    assert "must be unique" in machine.error(CREATE, **twice)[1]
    pipe = {**request["InputDataConfig"][0], "InputMode": "Pipe"}
    assert "input mode Pipe" in machine.error(CREATE, **{**request, "InputDataConfig": [pipe]})[1]
    request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3DataType"] = "ManifestFile"
    assert "S3Prefix" in machine.error(CREATE, **request)[1]
    request = machine.training("refused", metrics=["loss"])
    request["AlgorithmSpecification"]["MetricDefinitions"][0]["Regex"] = "loss=("
    assert "Invalid regex for metric loss" in machine.error(CREATE, **request)[1]


# ---- of tuning


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Strategy": "Grid"}, "only supports categorical"),
        ({"Strategy": "Hyperband", "TrainingJobEarlyStoppingType": "Auto"}, "must be Off"),
        ({"Strategy": "Guess"}, "enum value set"),
        ({"ParameterRanges": {}}, "At least one"),
        ({"ParameterRanges": {"AutoParameters": [{"Name": "lr", "ValueHint": "1"}]}}, "AutoParameters"),
        ({"ParameterRanges": {"ContinuousParameterRanges": [LR, LR]}}, "several ranges"),
        ({"ParameterRanges": {"ContinuousParameterRanges": [{**LR, "MinValue": "1"}]}}, "less than its MaxValue"),
        ({"ParameterRanges": {"ContinuousParameterRanges": [{**LR, "MinValue": "0"}]}}, "above 0"),
        ({"ParameterRanges": {"ContinuousParameterRanges": [{**LR, "MinValue": "small"}]}}, "not of numbers"),
        ({"ParameterRanges": {"IntegerParameterRanges": [{**BATCH, "MinValue": "1.5"}]}}, "not of numbers"),
        (
            {"ParameterRanges": {"ContinuousParameterRanges": [{**LR, "ScalingType": "ReverseLogarithmic"}]}},
            "0 <= x < 1.0",
        ),
        (
            {"ParameterRanges": {"IntegerParameterRanges": [{**BATCH, "ScalingType": "ReverseLogarithmic"}]}},
            "continuous range",
        ),
        ({"HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "los"}}, "[los]"),
        ({"ResourceLimits": {"MaxParallelTrainingJobs": 1}}, "MaxNumberOfTrainingJobs is required"),
        ({"Strategy": "Grid", "ParameterRanges": {"CategoricalParameterRanges": [KINDS]}}, "combinations when"),
        ({"TuningJobCompletionCriteria": {"ConvergenceDetected": {"CompleteOnConvergence": "Maybe"}}}, "enum value"),
    ],
)
def test_what_aws_refuses_of_a_search_is_refused(machine: Machine, change: dict[str, Any], words: str) -> None:
    code, message = machine.error(CREATE_TUNING, **request(machine, "refused", config=change))
    assert code == "ValidationException"
    assert words in message
    assert machine.error("describe_hyper_parameter_tuning_job", HyperParameterTuningJobName="refused")[0] == (
        "ResourceNotFound"
    )


def test_a_search_s_name_static_values_and_parents_are_checked(machine: Machine) -> None:
    assert "regular expression" in machine.error(CREATE_TUNING, **request(machine, "under_score"))[1]
    assert "length less than or equal to 32" in machine.error(CREATE_TUNING, **request(machine, "x" * 33))[1]
    assert "both static and tuned" in machine.error(CREATE_TUNING, **request(machine, "x", static={"lr": 1}))[1]
    parents = [{"HyperParameterTuningJobName": "nobody"}]
    warm = {"WarmStartType": "TransferLearning", "ParentHyperParameterTuningJobs": parents}
    assert machine.error(CREATE_TUNING, **request(machine, "x", WarmStartConfig=warm))[0] == "ResourceNotFound"
    start(machine, "taken", most=1)
    assert machine.error(CREATE_TUNING, **request(machine, "taken"))[0] == "ResourceInUse"
    # A training job is no tuning job: the name is free.
    machine.train("taken", "print('hello')")
    assert machine.ended("taken")["TrainingJobStatus"] == "Completed"
    assert machine.ended_tuning("taken")["HyperParameterTuningJobStatus"] == "Completed"
