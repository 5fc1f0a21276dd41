"""What a request can cost, on tables of cases: the most, an estimate by an earlier job, and budgets."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from priced_jobs import HALF, NOW, UNKNOWN, described, training, tuning

from dogbreed_cli import costs
from dogbreed_cli.errors import LimitExceeded


@pytest.mark.parametrize(
    ("request_", "usd"),
    [
        (training(), 1.0),
        (training(count=3), 3.0),
        (training(warm=1800), 1.25),
        (training(warm=1800, count=2), 2.5),
        # Neither spot nor another attempt changes what it can cost at most.
        (training(StoppingCondition={"MaxRuntimeInSeconds": 7200, "MaxWaitTimeInSeconds": 14400}), 1.0),
        (training(RetryStrategy={"MaximumRetryAttempts": 5}), 1.0),
        # AWS's own rules are free of charge.
        (training(DebugRuleConfigurations=[{"RuleConfigurationName": "Overfit"}]), 1.0),
    ],
)
def test_the_most_that_a_training_costs(request_: dict[str, Any], usd: float) -> None:
    job = costs.read_training(request_)
    assert costs.weigh_job(job, HALF).max_usd == pytest.approx(usd)
    assert costs.weigh_job(job, UNKNOWN).max_usd is None


@pytest.mark.parametrize(
    ("request_", "usd"),
    [
        (tuning(), 2.0),
        (tuning(count=2), 4.0),
        (tuning(trials=10, parallel=1), 5.0),
        (tuning(total=3600), 1.0),  # two at a time for an hour
        (tuning(total=86400), 2.0),  # more than the trials can take
    ],
)
def test_the_most_that_a_tuning_job_costs(request_: dict[str, Any], usd: float) -> None:
    assert costs.weigh_job(costs.read_tuning(request_), HALF).max_usd == pytest.approx(usd)


def test_jobs_on_features_say_nothing_about_jobs_on_images() -> None:
    on_features = {"InputDataConfig": [{"ChannelName": "features"}]}
    images, features = costs.read_training(training()), costs.read_training(training(**on_features))
    assert costs.read_earlier(described(), images) and costs.read_earlier(described(**on_features), features)
    assert not costs.read_earlier(described(**on_features), images)
    assert not costs.read_earlier(described(), features)


def test_the_features_job_counts_towards_the_budget() -> None:
    cost = costs.weigh_job(costs.read_training(training()), HALF)  # 1 USD at most
    costs.check_budget(cost, 2.0, cost)
    with pytest.raises(LimitExceeded) as refused:
        costs.check_budget(cost, 1.99, cost)
    assert "this may cost 2.00 USD, the budget is 1.99 USD" in str(refused.value)
    assert str(refused.value.why).startswith("the features job: 1 x ml.g4dn.xlarge")


def test_an_estimate_goes_by_the_epochs_of_an_earlier_job() -> None:
    job, trials = costs.read_training(training()), costs.read_tuning(tuning())
    earlier = costs.read_earlier(described(), job)
    assert earlier == costs.Earlier("dogbreed-tune-261122-083000-001-ab12cd34", 0, 800)
    steps = [
        {"Status": "Downloading", "StartTime": NOW, "EndTime": NOW + timedelta(seconds=150)},
        {"Status": "Training", "StartTime": NOW, "EndTime": NOW + timedelta(seconds=450)},
    ]
    slow = costs.read_earlier(described(SecondaryStatusTransitions=steps), job)
    assert slow and (slow.fixed_seconds, slow.seconds_per_epoch) == (150, 600)
    # 10 epochs and the 150 seconds around them; for a trial 3 epochs of a quarter, four times.
    long = costs.read_training(training(max_run=36000))
    assert costs.weigh_job(long, HALF, slow).estimate_usd == pytest.approx(6150 / 3600 * 0.5)
    assert costs.weigh_job(trials, HALF, slow).estimate_usd == pytest.approx(4 * 600 / 3600 * 0.5)
    # 10 epochs of all images, in hours, at half a dollar; but never more than the maximum.
    assert costs.weigh_job(costs.read_training(training(max_run=36000)), HALF, earlier).estimate_usd == pytest.approx(
        10 * 800 / 3600 * 0.5
    )
    assert costs.weigh_job(job, HALF, earlier).estimate_usd == 1.0
    cost = costs.weigh_job(trials, HALF, earlier)
    assert cost.estimate_usd == pytest.approx(4 * 600 / 3600 * 0.5)
    assert "about 0.33 USD, going by the time and epochs of dogbreed-tune-261122-083000-001" in costs.say_cost(cost)
    assert "2026-08 list price" in costs.say_cost(cost)
    nothing = costs.weigh_job(job, HALF)
    assert nothing.estimate_usd is None and "no earlier job to estimate from" in costs.say_cost(nothing)
    tuned = tuning()
    del tuned["TrainingJobDefinition"]["StaticHyperParameters"]["epochs"]
    assert costs.weigh_job(costs.read_tuning(tuned), HALF, earlier).estimate_usd is None


@pytest.mark.parametrize(
    "changes",
    [
        {"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1}},
        {"ResourceConfig": {"InstanceType": "ml.g4dn.xlarge", "InstanceCount": 2}},
        {"HyperParameters": {"epochs": "3", "backbone": '"resnet18"', "image-size": "224"}},
        {"HyperParameters": {"backbone": '"resnet50"', "image-size": "224"}},
        {"TrainingTimeInSeconds": 0},
    ],
)
def test_a_job_that_is_not_alike_says_nothing(changes: dict[str, Any]) -> None:
    assert costs.read_earlier(described(**changes), costs.read_training(training())) is None


def test_a_budget_is_kept_or_refused() -> None:
    job = costs.read_training(training())
    costs.check_budget(None, 0.0)  # on this machine
    costs.check_budget(costs.weigh_job(job, HALF), None)
    costs.check_budget(costs.weigh_job(job, HALF), 1.0)
    with pytest.raises(LimitExceeded) as over:
        costs.check_budget(costs.weigh_job(job, HALF), 0.99)
    assert (over.value.what, over.value.exit_code) == ("this may cost 1.00 USD, the budget is 0.99 USD", 7)
    assert "2 h 00 min" in over.value.why and "2026-08 list price" in over.value.why
    with pytest.raises(LimitExceeded) as unknown:
        costs.check_budget(costs.weigh_job(job, UNKNOWN), 1000.0)
    assert unknown.value.why == "nobody knows"


@pytest.mark.parametrize(
    ("usd", "shown"),
    [(5.001, "5.01 USD"), (1.1, "1.10 USD"), (2.9456, "2.95 USD"), (0.0644, "0.065 USD"), (0.05, "0.05 USD"),
     (0.0999, "0.10 USD"), (0.0, "0.00 USD"), (None, "unknown")],
)  # fmt: skip
def test_a_bound_is_never_shown_as_less_than_it_is(usd: float | None, shown: str) -> None:
    assert costs.say_most(usd) == shown
