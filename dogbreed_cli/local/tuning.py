"""What the worker of a tuning job does: Optuna behind AWS's strategies, each trial a training job of its own.

Bayesian is Optuna's TPE, Random its random sampler, Grid the product of the categories, Hyperband TPE with Optuna's
Hyperband pruner. TrainingJobEarlyStoppingType Auto is the median rule that AWS documents: a trial stops when its
objective is worse than the median of the earlier ones at the same epoch.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from dogbreed_cli.local import training_jobs
from dogbreed_cli.local.container import study_environment
from dogbreed_cli.local.home import Home
from dogbreed_cli.local.records import Record
from dogbreed_cli.local.sagemaker import SageMaker
from dogbreed_cli.local.training_request import image_python
from dogbreed_cli.local.tuning_criteria import Score, completion_details, criterion_met
from dogbreed_cli.local.tuning_jobs import KIND, end, objective, trials_of, tuning_folder
from dogbreed_cli.local.tuning_request import trial_request
from dogbreed_cli.local.warm import WarmInterpreter


@dataclass(frozen=True)
class Parameter:
    """A range of the request: where Optuna searches, and how a point there and AWS's string become each other."""

    distribution: BaseDistribution
    write: Callable[[Any], str]
    read: Callable[[str], Any]


@dataclass
class Running:
    trial: optuna.Trial
    reported: int = 0  # how many values of the objective the pruner has seen


def run(home: Home, name: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sagemaker = SageMaker(home)
    try:
        record = sagemaker.settled_tuning_job(name)
        with warm_interpreter(record, home.jobs / tuning_folder(name)) as warm:
            search(sagemaker, name, record, warm)
    except Exception as error:
        traceback.print_exc()  # Our bug: jobs/<name>/worker.log has it all.
        for trial in trials_of(sagemaker.records, name):
            sagemaker.records.update(training_jobs.KIND, trial["TrainingJobName"], training_jobs.ask_to_stop)
        reason = f"InternalServerError: {type(error).__name__}: {error}"
        sagemaker.records.update(KIND, name, lambda r: end(r, "Failed", reason))


def warm_interpreter(record: Record, folder: Path) -> WarmInterpreter:
    definition = record["TrainingJobDefinition"]
    python = image_python(definition["AlgorithmSpecification"]["TrainingImage"])
    return WarmInterpreter(python, study_environment(definition, python, threads(record)), folder)


def threads(record: Record) -> int:
    """Of each trial: those that run side by side share the processor instead of fighting for it."""
    parallel = record["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxParallelTrainingJobs"]
    return max(1, (os.cpu_count() or 1) // parallel)


def search(sagemaker: SageMaker, name: str, record: Record, warm: WarmInterpreter) -> None:
    """Ask, start, watch and tell until the trials are used up, a criterion is met or a stop is asked for."""
    config = record["HyperParameterTuningJobConfig"]
    limits, metric = config["ResourceLimits"], config["HyperParameterTuningJobObjective"]["MetricName"]
    parameters = read_ranges(config["ParameterRanges"])
    study = create_study(config, record["TrainingJobDefinition"])
    warm_start(study, parameters, sagemaker, record)
    left = limits.get("MaxNumberOfTrainingJobs", 0)
    if config["Strategy"] == "Grid":
        combinations = enqueue_grid(study, parameters, config.get("RandomSeed"))
        left = min(left or combinations, combinations)
    longest = limits.get("MaxRuntimeInSeconds", float("inf"))
    running: dict[str, Running] = {}
    scores: list[Score] = []
    numbers, news = itertools.count(1), Event()  # set when a trial has ended
    while True:
        news.clear()
        record = sagemaker.records.read(KIND, name) or record
        asked_to_stop = record["HyperParameterTuningJobStatus"] == "Stopping"
        if asked_to_stop or time.time() > record["CreationTime"] + longest or criterion_met(config, scores):
            left = 0
            for job in running:
                sagemaker.records.update(training_jobs.KIND, job, training_jobs.ask_to_stop)
        while left and len(running) < limits["MaxParallelTrainingJobs"]:
            trial = study.ask({key: parameter.distribution for key, parameter in parameters.items()})
            chosen = {key: parameter.write(trial.params[key]) for key, parameter in parameters.items()}
            running[start_trial(sagemaker, record, next(numbers), chosen, warm, news)] = Running(trial)
            left -= 1
        for job in [job for job, one in running.items() if watch(sagemaker, study, one, job, metric, scores)]:
            del running[job]
        if not running and not left:
            break
        news.wait(0.2)
    details = completion_details(config, scores)
    sagemaker.records.update(KIND, name, lambda record: record.update(TuningJobCompletionDetails=details))
    finish(sagemaker, name, stopped=asked_to_stop)


def read_ranges(ranges: Mapping[str, Any]) -> dict[str, Parameter]:
    parameters: dict[str, Parameter] = {}
    for entry in ranges.get("CategoricalParameterRanges", []):
        parameters[entry["Name"]] = Parameter(CategoricalDistribution(entry["Values"]), str, str)
    for entry in ranges.get("IntegerParameterRanges", []):
        log = entry.get("ScalingType") == "Logarithmic"
        whole = IntDistribution(int(entry["MinValue"]), int(entry["MaxValue"]), log=log)
        parameters[entry["Name"]] = Parameter(whole, str, int)
    for entry in ranges.get("ContinuousParameterRanges", []):
        low, high = float(entry["MinValue"]), float(entry["MaxValue"])
        if entry.get("ScalingType") == "ReverseLogarithmic":  # fine steps near 1: the logarithm of the distance to 1
            span = FloatDistribution(1 - high, 1 - low, log=True)

            def write(distance: float, low: float = low, high: float = high) -> str:
                return repr(min(max(1 - distance, low), high))

            parameters[entry["Name"]] = Parameter(span, write, lambda text: 1 - float(text))
        else:
            span = FloatDistribution(low, high, log=entry.get("ScalingType") == "Logarithmic")
            parameters[entry["Name"]] = Parameter(span, repr, float)
    return parameters


def create_study(config: Mapping[str, Any], definition: Mapping[str, Any]) -> optuna.Study:
    seed, strategy = config.get("RandomSeed"), config["Strategy"]  # without a seed no two searches are the same
    sampler: optuna.samplers.BaseSampler = optuna.samplers.RandomSampler(seed)
    if strategy in ("Bayesian", "Hyperband"):
        # Optuna's default of 10 random trials would make most tuning jobs random searches.
        first = max(3, config["ResourceLimits"].get("MaxNumberOfTrainingJobs", 1) // 4)
        # constant_liar: trials that run at the same time keep out of each other's way.
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=min(first, 10), constant_liar=True)
    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    if strategy == "Hyperband":
        own = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
        most = own.get("MaxResource") or int(definition.get("StaticHyperParameters", {}).get("epochs", 0)) or "auto"
        pruner = optuna.pruners.HyperbandPruner(min_resource=own.get("MinResource", 1), max_resource=most)
    elif config.get("TrainingJobEarlyStoppingType") == "Auto":
        pruner = optuna.pruners.MedianPruner(n_startup_trials=2)
    direction = config["HyperParameterTuningJobObjective"]["Type"].lower()
    # Hyperband deals trials out to its brackets by the study's name, which is random unless it is given.
    name = None if seed is None else f"seed-{seed}"
    return optuna.create_study(study_name=name, sampler=sampler, pruner=pruner, direction=direction)


def enqueue_grid(study: optuna.Study, parameters: Mapping[str, Parameter], seed: int | None) -> int:
    """Every combination of the categories, in an order drawn from the seed. Returns how many there are."""
    choices = [parameter.distribution.choices for parameter in parameters.values()]  # type: ignore[attr-defined]
    combinations = list(itertools.product(*choices))
    random.Random(seed).shuffle(combinations)
    for values in combinations:
        study.enqueue_trial(dict(zip(parameters, values, strict=True)))
    return len(combinations)


def warm_start(study: optuna.Study, parameters: Mapping[str, Parameter], sagemaker: SageMaker, record: Record) -> None:
    """Trials of the parent jobs count as seen, where they lie inside today's ranges."""
    spans = {key: parameter.distribution for key, parameter in parameters.items()}
    for parent in record.get("WarmStartConfig", {}).get("ParentHyperParameterTuningJobs", []):
        for trial in trials_of(sagemaker.records, parent["HyperParameterTuningJobName"]):
            tuned, value = trial["TunedHyperParameters"], objective(trial)
            if value is None or tuned.keys() != parameters.keys():
                continue
            with contextlib.suppress(ValueError):  # a category that is gone, or words where numbers are now
                point = {key: parameter.read(tuned[key]) for key, parameter in parameters.items()}
                if all(contains(span, point[key]) for key, span in spans.items()):
                    study.add_trial(optuna.trial.create_trial(params=point, distributions=spans, value=value))


def contains(span: BaseDistribution, value: Any) -> bool:
    if isinstance(span, CategoricalDistribution):
        return value in span.choices
    assert isinstance(span, (FloatDistribution, IntDistribution))
    return span.low <= value <= span.high


def start_trial(
    sagemaker: SageMaker, record: Record, number: int, chosen: dict[str, str], warm: WarmInterpreter, news: Event
) -> str:
    job = f"{record['HyperParameterTuningJobName']}-{number:03d}-{uuid.uuid4().hex[:8]}"
    more = {
        "Tags": record.get("Tags", []),
        "TuningJobArn": record["HyperParameterTuningJobArn"],
        "TuningJobName": record["HyperParameterTuningJobName"],
        "TunedHyperParameters": chosen,
        "ObjectiveStatus": "Pending",
        "Threads": threads(record),
    }
    request = trial_request(record["TrainingJobDefinition"], job, chosen)
    with warm.connect() as connection:
        sagemaker.start_training_job(request, more, connection, news.set)
    return job


def watch(
    sagemaker: SageMaker, study: optuna.Study, running: Running, job: str, metric: str, scores: list[Score]
) -> bool:
    """Report epochs to the pruner, stop the trial if it says so, tell the study how it ended. True once it has."""
    record, trial = sagemaker.settled_training_job(job), running.trial
    values = record.get("Metrics", {}).get(metric, [])
    for step in range(running.reported, len(values)):
        trial.report(values[step], step + 1)  # how many epochs it had
    news, running.reported = len(values) > running.reported, len(values)
    status = record["TrainingJobStatus"]
    if status not in training_jobs.ENDED:
        if status == "InProgress" and news and trial.should_prune():
            sagemaker.records.update(training_jobs.KIND, job, training_jobs.ask_to_stop)
        return False
    final = {entry["MetricName"]: entry["Value"] for entry in record.get("FinalMetricDataList", [])}.get(metric)
    if final is None or status == "Failed":
        study.tell(trial, state=TrialState.FAIL)
        score: dict[str, Any] = {"ObjectiveStatus": "Failed"}
    else:
        scores.append((time.time(), final))
        if status == "Completed":
            study.tell(trial, final)
        else:  # stopped early: the study keeps its last epoch
            study.tell(trial, state=TrialState.PRUNED)
        score = {
            "ObjectiveStatus": "Succeeded",
            "FinalHyperParameterTuningJobObjectiveMetric": {"MetricName": metric, "Value": final},
        }
    sagemaker.records.update(training_jobs.KIND, job, lambda record: record.update(score))
    return True


def finish(sagemaker: SageMaker, name: str, stopped: bool) -> None:
    trials = trials_of(sagemaker.records, name)
    failed = [trial for trial in trials if trial["TrainingJobStatus"] == "Failed"]
    status, reason = "Completed", ""
    if stopped:
        status = "Stopped"
    elif failed and len(failed) == len(trials):
        status, reason = "Failed", f"All training jobs failed. The first: {failed[0].get('FailureReason', 'no reason')}"
    elif all(objective(trial) is None for trial in trials):
        status = "Failed"
        reason = (
            f"No objective metrics found after running {len(trials)} training jobs. Please ensure that the custom "
            "algorithm is emitting the objective metric as defined by the regular expression provided."
        )
    sagemaker.records.update(KIND, name, lambda record: end(record, status, reason))
