"""Tuning jobs for the local SageMaker's tests: a script for their trials, ranges, requests as small as they may be."""

from __future__ import annotations

from typing import Any

from local_jobs import Machine

from dogbreed_cli.local import tuning

# The objective is best (0) at lr = 0.1 and batch 32. `steps` lines, `wait` seconds apart.
TRIAL = """
import argparse, math, time
parser = argparse.ArgumentParser()
for name in ("--lr", "--momentum", "--epochs", "--wait", "--bad"):
    parser.add_argument(name, type=float, default=0)
parser.add_argument("--batch-size", type=int, default=32)
parser.add_argument("--kind", default="good")
given = parser.parse_args()
if given.bad or given.kind == "bad":
    raise SystemExit("this trial is bad")
distance = abs(math.log10(given.lr or 0.1) + 1) + abs(math.log2(given.batch_size / 32))
if given.kind == "poor":
    distance += 100
for epoch in range(int(given.epochs) or 1):
    print(f"loss={distance + 1 / (epoch + 1)}", flush=True)
    time.sleep(given.wait)
"""
LR = {"Name": "lr", "MinValue": "0.001", "MaxValue": "1", "ScalingType": "Logarithmic"}
KINDS = {"Name": "kind", "Values": ['"good"', '"poor"']}
BATCH = {"Name": "batch-size", "MinValue": "8", "MaxValue": "128", "ScalingType": "Logarithmic"}


def request(machine: Machine, name: str, *, most: int | None = 4, parallel: int = 2, **more: Any) -> dict[str, Any]:
    """Minimise the loss over lr and batch-size. `static` hyperparameters and members of `config` over the defaults."""
    static, config = more.pop("static", {}), more.pop("config", {})
    definition = machine.training(
        name,
        metrics=["loss"],
        hyperparameters={
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": "s3://dogbreed-local/code/trial/sourcedir.tar.gz",
            **static,
        },
    )
    definition["StaticHyperParameters"] = definition.pop("HyperParameters")
    del definition["TrainingJobName"]
    limits = {"MaxParallelTrainingJobs": parallel} | ({"MaxNumberOfTrainingJobs": most} if most else {})
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": limits,
            "ParameterRanges": {"ContinuousParameterRanges": [LR], "IntegerParameterRanges": [BATCH]},
            "RandomSeed": 7,
            **config,
        },
        "TrainingJobDefinition": definition,
        **more,
    }


def start(machine: Machine, name: str, **more: Any) -> None:
    machine.sagemaker.create_hyper_parameter_tuning_job(**request(machine, name, **more))


def score(trial: dict[str, Any]) -> float:
    return float(trial["FinalHyperParameterTuningJobObjectiveMetric"]["Value"])


def draw(ranges: dict[str, Any], count: int, strategy: str = "Random", seed: int | None = 0) -> list[dict[str, str]]:
    """What the search would try first, without running anything."""
    parameters = tuning.read_ranges(ranges)
    config = {
        "Strategy": strategy,
        "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": count},
        **({} if seed is None else {"RandomSeed": seed}),
    }
    study = tuning.create_study(config, {})
    if strategy == "Grid":
        tuning.enqueue_grid(study, parameters, seed)
    found = []
    for number in range(count):
        trial = study.ask({key: parameter.distribution for key, parameter in parameters.items()})
        found.append({key: parameter.write(trial.params[key]) for key, parameter in parameters.items()})
        study.tell(trial, float(number))
    return found
