"""What runs has cost so far, warm pools too, and what the report says was billed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
from botocore.stub import Stubber
from priced_jobs import HALF, NOW, TAGS, UNKNOWN, described, training

from dogbreed_cli import jobs, report, spending
from dogbreed_cli.report.job import read_job
from dogbreed_cli.report.wording import say_cost


def test_what_runs_has_cost_since_its_start() -> None:
    job = training(count=2, TrainingJobStatus="InProgress", TrainingStartTime=NOW - timedelta(hours=3))
    found = spending.spend_on_training(job, HALF, NOW)
    assert (found.usd_per_hour, found.usd_so_far, found.price_source) == (1.0, 3.0, "2026-08 list price")
    waiting = spending.spend_on_training(training(TrainingJobStatus="InProgress"), HALF, NOW)
    assert (waiting.usd_per_hour, waiting.usd_so_far) == (0.5, 0.0)
    assert spending.spend_on_training(job, HALF, NOW - timedelta(hours=4)).usd_so_far == 0.0  # a clock that is behind
    assert spending.spend_on_training(job, UNKNOWN, NOW) == spending.Spending(None, None, "nobody knows")
    trials = [
        {"TrainingJobStatus": "Completed", "TrainingStartTime": NOW - timedelta(hours=2), "TrainingEndTime": NOW},
        {"TrainingJobStatus": "InProgress", "TrainingStartTime": NOW - timedelta(hours=1)},
        {"TrainingJobStatus": "InProgress"},
    ]
    both = spending.spend_on_trials(trials, 1, HALF, NOW)
    assert (both.usd_per_hour, both.usd_so_far) == (1.0, 1.5)


def test_instances_that_are_kept_warm_cost_from_the_end_of_their_job() -> None:
    client = boto3.client("sagemaker", "us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    job = {
        "TrainingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/dogbreed-train-1",
        "TrainingJobStatus": "Completed",
        "CreationTime": NOW,
    }
    warm, cold = (
        {**job, "TrainingJobName": f"dogbreed-train-{status}", "WarmPoolStatus": {"Status": status}}
        for status in ("Available", "Terminated")
    )
    with Stubber(client) as stubber:
        wanted = {"NameContains": "dogbreed-", "SortBy": "CreationTime", "SortOrder": "Descending"}
        stubber.add_response(
            "list_training_jobs",
            {"TrainingJobSummaries": [warm, cold]},
            {**wanted, "MaxResults": 100, "WarmPoolStatusEquals": "Available"},
        )
        for _ in range(2):
            stubber.add_response("list_tags", {"Tags": TAGS}, {"ResourceArn": job["TrainingJobArn"]})
        assert [one["TrainingJobName"] for one in jobs.list_warm_pools(client, "dogbreed")] == [
            "dogbreed-train-Available"
        ]
    ended = training(count=2, TrainingStartTime=NOW - timedelta(hours=9), TrainingEndTime=NOW - timedelta(hours=3))
    found = spending.spend_on_warm_pool(ended, HALF, NOW)
    assert (found.usd_per_hour, found.usd_so_far) == (1.0, 3.0)


def test_a_report_says_what_was_billed(tmp_path: Path) -> None:
    job = described(
        TrainingTimeInSeconds=7200, BillableTimeInSeconds=3600, EnableManagedSpotTraining=True,
        WarmPoolStatus={"Status": "Terminated", "ResourceRetainedBillableTimeInSeconds": 1800},
    )  # fmt: skip
    rate = report.Rate(0.5, "2026-08 list price")
    built = report.build(tmp_path, job, rate=rate)
    assert (built.cost.usd, built.cost.spot_saving_usd, built.cost.seconds) == (0.75, 0.5, 5400)
    words = dict(report.summarize(built))["Cost"].replace("\N{NO-BREAK SPACE}", " ")
    assert words == "0.75 USD: 1 h 30 min at 0.5 USD an hour (2026-08 list price); spot saved 0.50 USD"
    assert report.to_json(built)["cost"]["rate"] == {"usd_per_hour": 0.5, "source": "2026-08 list price"}
    page = report.write(built, tmp_path / "out")["report.html"].read_text(encoding="utf-8")
    assert page.count("2026-08 list price") == 2

    def say(rate: report.Rate, **changes: Any) -> str:
        return say_cost(report.cost.weigh(read_job({**described(), **changes}), rate))

    assert say(report.FREE) == "free (it ran on this machine)"
    assert "nobody knows" in say(report.Rate(None, "nobody knows"))
    assert "does not say" in say(rate, BillableTimeInSeconds=None)
