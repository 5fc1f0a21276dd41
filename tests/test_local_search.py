"""The search behind tuning jobs, without running any: ranges and scaling types, seeds, when to stop."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

import pytest
from local_trials import KINDS, LR, draw

from dogbreed_cli.local import tuning, tuning_criteria


def test_logarithmic_draws_evenly_over_the_magnitudes() -> None:
    drawn = [float(choice["lr"]) for choice in draw({"ContinuousParameterRanges": [LR]}, 200)]
    assert all(0.001 <= value <= 1 for value in drawn)
    assert 50 < sum(value < 0.01 for value in drawn) < 85  # a third; 2 of 200 on a linear scale


def test_reverse_logarithmic_draws_near_the_upper_end_and_inside_the_range() -> None:
    span = {"Name": "momentum", "MinValue": "0.5", "MaxValue": "0.9995", "ScalingType": "ReverseLogarithmic"}
    drawn = [float(choice["momentum"]) for choice in draw({"ContinuousParameterRanges": [span]}, 200)]
    assert all(0.5 <= value <= 0.9995 for value in drawn)
    assert 85 < sum(value > 0.98 for value in drawn) < 130  # half of them; 8 of 200 on a linear scale
    parameter = tuning.read_ranges({"ContinuousParameterRanges": [span]})["momentum"]
    assert parameter.read("0.9") == pytest.approx(0.1)
    assert parameter.write(parameter.distribution.low) == "0.9995"  # type: ignore[attr-defined]


def test_linear_integers_and_categories() -> None:
    whole = {"Name": "n", "MinValue": "1", "MaxValue": "4", "ScalingType": "Linear"}
    drawn = draw({"IntegerParameterRanges": [whole], "CategoricalParameterRanges": [KINDS]}, 100)
    assert {choice["n"] for choice in drawn} == {"1", "2", "3", "4"}
    assert {choice["kind"] for choice in drawn} == {'"good"', '"poor"'}
    assert json.loads(drawn[0]["kind"]) in ("good", "poor")


@pytest.mark.parametrize("strategy", ["Random", "Bayesian", "Hyperband"])
def test_a_seed_repeats_the_search_and_none_does_not(strategy: str) -> None:
    ranges = {"ContinuousParameterRanges": [LR]}
    assert draw(ranges, 12, strategy, 5) == draw(ranges, 12, strategy, 5)
    assert draw(ranges, 12, strategy, 5) != draw(ranges, 12, strategy, 6)
    assert draw(ranges, 12, strategy, None) != draw(ranges, 12, strategy, None)


def test_bayesian_closes_in() -> None:
    parameters = tuning.read_ranges({"ContinuousParameterRanges": [LR]})
    tried: dict[str, list[float]] = {}
    for strategy in ("Random", "Bayesian"):
        config = {
            "Strategy": strategy,
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "score"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 40},
            "RandomSeed": 0,
        }
        study = tuning.create_study(config, {})
        for _ in range(40):
            trial = study.ask({key: parameter.distribution for key, parameter in parameters.items()})
            away = abs(math.log10(trial.params["lr"]) + 1)
            tried.setdefault(strategy, []).append(away)
            study.tell(trial, -away)
    assert sum(tried["Bayesian"][20:]) < sum(tried["Random"][20:]) / 2


@pytest.mark.parametrize(
    ("scores", "met"),
    [
        ([], False),
        ([1.0, 1.1, 1.2], False),
        ([1.0, 1.1, 1.2, 1.3], True),
        ([1.0, 0.995, 0.994, 0.993], True),  # better, but by less than 1 %
        ([1.0, 1.1, 1.2, 0.9], False),
        ([0.9, 1.0, 0.8, 1.1, 1.1], False),
    ],
)
def test_three_that_do_not_improve_end_the_search(scores: list[float], met: bool) -> None:
    criteria = {"BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 3}}
    for kind, sign in (("Minimize", 1), ("Maximize", -1)):
        objective = {"Type": kind, "MetricName": "loss"}
        config = {"HyperParameterTuningJobObjective": objective, "TuningJobCompletionCriteria": criteria}
        assert tuning_criteria.criterion_met(config, timed(sign * score for score in scores)) is met


def timed(scores: Iterable[float]) -> list[tuple[float, float]]:
    return [(float(number), score) for number, score in enumerate(scores)]


@pytest.mark.parametrize("switch", ["Enabled", "Disabled"])
def test_ten_that_do_not_improve_are_convergence(switch: str) -> None:
    config = {
        "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
        "TuningJobCompletionCriteria": {"ConvergenceDetected": {"CompleteOnConvergence": switch}},
    }
    scores = timed([2.0, 1.0, *[0.995] * 10])
    assert not tuning_criteria.criterion_met(config, scores[:-1])
    assert "ConvergenceDetectedTime" not in tuning_criteria.completion_details(config, scores[:-1])
    assert tuning_criteria.criterion_met(config, scores) is (switch == "Enabled")
    later = [*scores, *timed([0.1])]
    told = {"NumberOfTrainingJobsObjectiveNotImproving": 0, "ConvergenceDetectedTime": 11.0}
    assert tuning_criteria.completion_details(config, later) == told
