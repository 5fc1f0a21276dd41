"""Tuning jobs that begin with what others found."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from local_jobs import Machine, machine_in
from local_trials import BATCH, KINDS, LR, TRIAL, request, score, start

from dogbreed_cli.local import tuning
from dogbreed_cli.local.sagemaker import SageMaker


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine_in(tmp_path_factory.mktemp("warm")) as machine:
        machine.put_code("trial", train=TRIAL)
        yield machine


def test_a_warm_start_on_identical_data(machine: Machine) -> None:
    parents = {"ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "first"}]}
    warm = {**parents, "WarmStartType": "IdenticalDataAndAlgorithm"}
    kinds = {"ParameterRanges": {"CategoricalParameterRanges": [KINDS]}}
    start(machine, "first", most=None, config={"Strategy": "Grid", **kinds})
    machine.ended_tuning("first")
    poor = {"ParameterRanges": {"CategoricalParameterRanges": [{**KINDS, "Values": ['"poor"']}]}}
    start(machine, "second", most=None, config={"Strategy": "Grid", **poor}, WarmStartConfig=warm)
    job = machine.ended_tuning("second")
    assert job["BestTrainingJob"]["TunedHyperParameters"] == {"kind": '"poor"'}
    assert job["OverallBestTrainingJob"]["TunedHyperParameters"] == {"kind": '"good"'}
    assert job["OverallBestTrainingJob"]["TuningJobName"] == "first"
    create = "create_hyper_parameter_tuning_job"
    other = request(machine, "third", config=kinds, WarmStartConfig=warm)
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://dogbreed-local/other"}}
    other["TrainingJobDefinition"]["InputDataConfig"] = [{"ChannelName": "train", "DataSource": source}]
    assert "input data and the training image" in machine.error(create, **other)[1]
    for kind in ("IdenticalDataAndAlgorithm", "TransferLearning"):
        more = request(machine, "third", WarmStartConfig={**parents, "WarmStartType": kind})
        assert "must remain the same" in machine.error(create, **more)[1]


def test_warm_start_learns_from_its_parents_and_searches_on(machine: Machine) -> None:
    start(machine, "parent", most=3, parallel=3, config={"RandomSeed": 3})
    kinds = {"CategoricalParameterRanges": [{"Name": "kind", "Values": ['"good"', '"poor"']}]}
    start(machine, "parent-2", most=None, config={"Strategy": "Grid", "ParameterRanges": kinds})
    warm = {
        "WarmStartType": "TransferLearning",
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "parent"}],
    }
    code, message = machine.error(
        "create_hyper_parameter_tuning_job", **request(machine, "child", WarmStartConfig=warm)
    )
    assert (code, "not ended" in message) == ("ValidationException", True)
    machine.ended_tuning("parent")
    machine.ended_tuning("parent-2")
    # The parent's best already reached the child's target: that must not end the child before it began.
    criteria = {"TuningJobCompletionCriteria": {"TargetObjectiveMetricValue": 100.0}}
    start(machine, "child", most=1, config={"Strategy": "Bayesian", **criteria}, WarmStartConfig=warm)
    warm_2 = {**warm, "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "parent-2"}]}
    # A category of the parent that is gone is no trouble.
    new_kinds = {"CategoricalParameterRanges": [{"Name": "kind", "Values": ['"good"', '"other"']}]}
    start(machine, "child-2", most=2, config={"ParameterRanges": new_kinds}, WarmStartConfig=warm_2)
    for name, count in (("child", 1), ("child-2", 2)):
        assert machine.ended_tuning(name)["HyperParameterTuningJobStatus"] == "Completed"
        assert len(machine.trials(name)) == count
    best = {"HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "loss"}}
    refused = request(machine, "child-3", config=best, WarmStartConfig=warm)
    assert "another objective" in machine.error("create_hyper_parameter_tuning_job", **refused)[1]


def test_parents_trials_are_told_to_the_study(machine: Machine) -> None:
    start(machine, "told", most=3, parallel=3)
    machine.ended_tuning("told")
    parameters = tuning.read_ranges({"ContinuousParameterRanges": [LR], "IntegerParameterRanges": [BATCH]})
    config = request(machine, "x")["HyperParameterTuningJobConfig"]
    study = tuning.create_study(config, {})
    record = {"WarmStartConfig": {"ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "told"}]}}
    tuning.warm_start(study, parameters, SageMaker(machine.home), record)
    assert sorted(trial.values[0] for trial in study.trials) == pytest.approx(
        sorted(map(score, machine.trials("told")))
    )
    narrow = {"ContinuousParameterRanges": [{**LR, "MinValue": "0.9999"}], "IntegerParameterRanges": [BATCH]}
    study = tuning.create_study(config, {})
    tuning.warm_start(study, tuning.read_ranges(narrow), SageMaker(machine.home), record)
    assert study.trials == []
