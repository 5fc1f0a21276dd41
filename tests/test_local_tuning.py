"""Tuning jobs on this machine: every strategy with real trials."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from conftest import wait_for
from local_jobs import Machine, machine_in
from local_trials import KINDS, TRIAL, draw, request, score, start

from dogbreed_cli.local import tuning_jobs
from dogbreed_cli.local.records import Records


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine_in(tmp_path_factory.mktemp("tuning")) as machine:
        machine.put_code("trial", train=TRIAL)
        yield machine


def tuned(machine: Machine, name: str) -> list[dict[str, str]]:
    return [trial["TunedHyperParameters"] for trial in machine.trials(name, SortBy="Name")]


def expected(choice: dict[str, str]) -> float:
    return abs(math.log10(float(choice["lr"])) + 1) + abs(math.log2(int(choice["batch-size"]) / 32)) + 1


def test_two_tuning_jobs_at_once_finish_with_their_own_trials(machine: Machine) -> None:
    start(machine, "random-a", config={"Strategy": "Random"}, Tags=[{"Key": "mine", "Value": "yes"}])
    start(machine, "random-b", config={"Strategy": "Random"})
    start(machine, "random-a-1", config={"Strategy": "Bayesian", "RandomSeed": 8})
    for name in ("random-a", "random-b", "random-a-1"):
        job = machine.ended_tuning(name)
        assert job["HyperParameterTuningJobStatus"] == "Completed"
        trials = machine.trials(name)
        assert len(trials) == 4
        assert job["TrainingJobStatusCounters"] == {
            "Completed": 4, "InProgress": 0, "RetryableError": 0, "NonRetryableError": 0, "Stopped": 0
        }  # fmt: skip
        assert job["ObjectiveStatusCounters"] == {"Succeeded": 4, "Pending": 0, "Failed": 0}
        for trial in trials:
            assert trial["TrainingJobName"].startswith(f"{name}-0")
            assert score(trial) == pytest.approx(expected(trial["TunedHyperParameters"]))
        best = min(trials, key=score)
        assert job["BestTrainingJob"]["TrainingJobName"] == best["TrainingJobName"]
        assert job["BestTrainingJob"]["TunedHyperParameters"] == best["TunedHyperParameters"]
        assert score(job["BestTrainingJob"]) == score(best)
        assert job["CreationTime"] < job["HyperParameterTuningEndTime"]
    # The same seed draws the same; the trials of the job `random-a-1` are none of `random-a`'s.
    assert tuned(machine, "random-a") == tuned(machine, "random-b")
    trial = machine.describe(machine.trials("random-a")[0]["TrainingJobName"])
    assert trial["TuningJobArn"].endswith(":hyper-parameter-tuning-job/random-a")
    assert trial["HyperParameters"]["sagemaker_program"] == '"train.py"'
    assert trial["HyperParameters"]["lr"] in [choice["lr"] for choice in tuned(machine, "random-a")]
    tags = machine.sagemaker.list_tags(ResourceArn=trial["TrainingJobArn"])["Tags"]
    assert tags == [{"Key": "mine", "Value": "yes"}]


def test_trials_are_listed_by_objective_and_in_pages(machine: Machine) -> None:
    start(machine, "listed", parallel=4)
    machine.ended_tuning("listed")
    by = {"SortBy": "FinalObjectiveMetricValue"}
    scores = [score(trial) for trial in machine.trials("listed", **by, PaginationConfig={"PageSize": 1})]
    assert len(scores) == 4
    assert scores == sorted(scores)
    assert [score(trial) for trial in machine.trials("listed", **by, SortOrder="Descending")] == scores[::-1]
    names = [trial["TrainingJobName"] for trial in machine.trials("listed")]
    assert names == sorted(names)
    assert machine.trials("listed", StatusEquals="Failed") == []
    code, message = machine.error(
        "list_training_jobs_for_hyper_parameter_tuning_job", HyperParameterTuningJobName="no-such"
    )
    assert (code, "can't find a tuning job" in message) == ("ResourceNotFound", True)


def test_grid_tries_every_combination_once(machine: Machine) -> None:
    sizes = {"Name": "batch-size", "Values": ["16", "32", "64"]}
    ranges = {"ParameterRanges": {"CategoricalParameterRanges": [KINDS, sizes]}}
    start(machine, "grid", most=None, parallel=3, config={"Strategy": "Grid", **ranges})
    few = {"ParameterRanges": {"CategoricalParameterRanges": [KINDS]}}
    start(machine, "grid-2", most=2, config={"Strategy": "Grid", **few})
    assert machine.ended_tuning("grid")["HyperParameterTuningJobStatus"] == "Completed"
    found = sorted((choice["kind"], choice["batch-size"]) for choice in tuned(machine, "grid"))
    assert found == [(kind, size) for kind in ('"good"', '"poor"') for size in ("16", "32", "64")]
    best = machine.describe_tuning("grid")["BestTrainingJob"]["TunedHyperParameters"]
    assert best == {"kind": '"good"', "batch-size": "32"}
    machine.ended_tuning("grid-2")
    assert len(machine.trials("grid-2")) == 2


def test_hyperband_stops_poor_trials_early(machine: Machine) -> None:
    config = {
        "Strategy": "Hyperband",
        "ParameterRanges": {"CategoricalParameterRanges": [KINDS]},
        "StrategyConfig": {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 9}},
        "RandomSeed": 4,  # deals a poor trial into a bracket that has seen good ones, twice
    }
    start(machine, "hyperband", most=6, parallel=1, config=config, static={"epochs": 9, "wait": 0.2})
    job = machine.ended_tuning("hyperband")
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert job["TrainingJobStatusCounters"]["Stopped"] >= 1
    assert job["BestTrainingJob"]["TrainingJobStatus"] == "Completed"


def test_early_stopping_stops_what_is_worse_than_the_median(machine: Machine) -> None:
    # One after the other in the order of the seed: two that are good, then some that are poor.
    config = {
        "Strategy": "Grid",
        "TrainingJobEarlyStoppingType": "Auto",
        "ParameterRanges": {"CategoricalParameterRanges": [KINDS, {"Name": "batch-size", "Values": ["32", "64"]}]},
        "RandomSeed": good_first_seed(),
    }
    start(machine, "median", most=None, parallel=1, config=config, static={"epochs": 5, "wait": 0.25})
    machine.ended_tuning("median")
    found = {
        (trial["TunedHyperParameters"]["kind"], trial["TrainingJobStatus"], trial["ObjectiveStatus"])
        for trial in machine.trials("median")
    }
    assert found == {('"good"', "Completed", "Succeeded"), ('"poor"', "Stopped", "Succeeded")}


def good_first_seed() -> int:
    """A seed whose grid begins with both good combinations."""
    ranges = {"CategoricalParameterRanges": [KINDS, {"Name": "batch-size", "Values": ["32", "64"]}]}
    for seed in range(100):
        if [choice["kind"] for choice in draw(ranges, 4, strategy="Grid", seed=seed)][:2] == ['"good"'] * 2:
            return seed
    raise AssertionError("no such seed")


def test_a_failed_trial_does_not_fail_the_study(machine: Machine) -> None:
    kinds = {"CategoricalParameterRanges": [{"Name": "kind", "Values": ['"good"', '"bad"']}]}
    start(machine, "half-bad", most=None, config={"Strategy": "Grid", "ParameterRanges": kinds})
    job = machine.ended_tuning("half-bad")
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert job["TrainingJobStatusCounters"]["NonRetryableError"] == 1
    assert job["ObjectiveStatusCounters"] == {"Succeeded": 1, "Pending": 0, "Failed": 1}
    assert job["BestTrainingJob"]["TunedHyperParameters"] == {"kind": '"good"'}
    assert len(machine.trials("half-bad", SortBy="FinalObjectiveMetricValue")) == 1


def test_all_failed_or_none_with_the_metric_is_failed(machine: Machine) -> None:
    start(machine, "all-bad", most=2, static={"bad": 1})
    mute = request(machine, "mute", most=2)
    mute["TrainingJobDefinition"]["AlgorithmSpecification"]["MetricDefinitions"][0]["Regex"] = "mute=(.*)"
    machine.sagemaker.create_hyper_parameter_tuning_job(**mute)
    all_bad, silent = machine.ended_tuning("all-bad"), machine.ended_tuning("mute")
    assert all_bad["HyperParameterTuningJobStatus"] == "Failed"
    assert all_bad["FailureReason"].startswith("All training jobs failed.")
    assert silent["HyperParameterTuningJobStatus"] == "Failed"
    assert silent["FailureReason"].startswith("No objective metrics found after running 2 training jobs.")
    assert "BestTrainingJob" not in silent


def test_stop_stops_the_trials(machine: Machine) -> None:
    start(machine, "stopped", most=20, static={"wait": 600})
    wait_for(lambda: machine.describe_tuning("stopped")["TrainingJobStatusCounters"]["InProgress"] == 2)
    machine.sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="stopped")
    assert machine.describe_tuning("stopped")["HyperParameterTuningJobStatus"] == "Stopping"
    job = machine.ended_tuning("stopped")
    assert job["HyperParameterTuningJobStatus"] == "Stopped"
    assert job["TrainingJobStatusCounters"]["Stopped"] == len(machine.trials("stopped")) == 2
    for trial in machine.trials("stopped"):
        steps = [step["Status"] for step in machine.describe(trial["TrainingJobName"])["SecondaryStatusTransitions"]]
        assert steps.count("Stopping") == 1
    code, _ = machine.error("stop_hyper_parameter_tuning_job", HyperParameterTuningJobName="stopped")
    assert code == "ValidationException"


def test_a_reached_target_ends_the_search(machine: Machine) -> None:
    criteria = {"TuningJobCompletionCriteria": {"TargetObjectiveMetricValue": 100.0}}
    start(machine, "target", most=20, parallel=1, config=criteria)
    assert machine.ended_tuning("target")["HyperParameterTuningJobStatus"] == "Completed"
    assert len(machine.trials("target")) < 3


def test_the_longest_runtime_ends_the_search(machine: Machine) -> None:
    """Two minutes are the shortest that AWS takes: the job is made two minutes older."""
    limits = {"MaxNumberOfTrainingJobs": 50, "MaxParallelTrainingJobs": 2, "MaxRuntimeInSeconds": 120}
    start(machine, "too-long", config={"ResourceLimits": limits}, static={"wait": 600})
    wait_for(lambda: machine.log("too-long-").count("loss=") == 2 if machine.said("too-long-", "loss=") else False)
    age = lambda record: record.update(CreationTime=record["CreationTime"] - 120)  # noqa: E731
    Records(machine.home.records).update(tuning_jobs.KIND, "too-long", age)
    job = machine.ended_tuning("too-long")
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert job["TrainingJobStatusCounters"]["Stopped"] == len(machine.trials("too-long")) == 2
    assert job["ConsumedResources"]["RuntimeInSeconds"] >= 120
    assert job["TuningJobCompletionDetails"]["NumberOfTrainingJobsObjectiveNotImproving"] <= 1
