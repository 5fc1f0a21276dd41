"""What AWS charges: prices out of the Price List's own documents, costs on tables of cases, budgets on moto's AWS."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from botocore.stub import Stubber
from click.testing import CliRunner
from moto.server import ThreadedMotoServer

from dogbreed_cli import costs, jobs, pricing, report, spending
from dogbreed_cli.cli import cli
from dogbreed_cli.config import load
from dogbreed_cli.console import Console
from dogbreed_cli.errors import LimitExceeded
from dogbreed_cli.pricing import Price, PriceList
from dogbreed_cli.report.job import read_job
from dogbreed_cli.report.wording import say_cost
from dogbreed_cli.session import open_session

ROLE = "arn:aws:iam::123456789012:role/dogbreed"
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.8-gpu-py312"
BUCKET = "sagemaker-us-east-1-123456789012"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


# ---- the Price List Query API


def product(use: str = "Training", usd: str = "0.7364000000", **changes: str) -> dict[str, Any]:
    """A product as GetProducts has it for AmazonSageMaker; `changes` of attributes, or of the term's unit."""
    name = changes.get("instanceName", "ml.g4dn.xlarge")
    unit = changes.pop("unit", "Hrs")
    word = {"Training": "Train", "Hosting": "Host"}[use]
    attributes = {
        "servicecode": "AmazonSageMaker",
        "servicename": "Amazon SageMaker",
        "regionCode": "us-east-1",
        "location": "US East (N. Virginia)",
        "locationType": "AWS Region",
        "instanceName": name,
        "instanceType": f"{name}-{use}",
        "component": use,
        "operation": "RunInstance",
        "usagetype": f"USE1-{word}:{name}",
        "computeType": "Accelerated Computing",
        "vCpu": "4",
        "memory": "16 GiB",
        "gpu": "1",
    }
    dimension = {
        "unit": unit,
        "beginRange": "0",
        "endRange": "Inf",
        "description": f"${usd} per {use} {name} hour in US East (N. Virginia)",
        "appliesTo": [],
        "rateCode": "A6XQYN3AXSU7Q8WC.JRTCKXETXF.6YS6EN2CT7",
        "pricePerUnit": {"USD": usd},
    }
    term = {
        "sku": "A6XQYN3AXSU7Q8WC",
        "offerTermCode": "JRTCKXETXF",
        "effectiveDate": "2026-11-01T00:00:00Z",
        "termAttributes": {},
        "priceDimensions": {dimension["rateCode"]: dimension},
    }
    return {
        "product": {
            "productFamily": "ML Instance",
            "attributes": {**attributes, **changes},
            "sku": "A6XQYN3AXSU7Q8WC",
        },
        "serviceCode": "AmazonSageMaker",
        "terms": {"OnDemand": {"A6XQYN3AXSU7Q8WC.JRTCKXETXF": term}},
        "version": "20261120184511",
        "publicationDate": "2026-11-20T18:45:11Z",
    }


UPFRONT = product(usd="0.3900000000", unit="Quantity", usagetype="USE1-TrainingPlanUpfrontFee:ml.g4dn.xlarge")


@pytest.mark.parametrize(
    ("products", "usd"),
    [
        ([product()], 0.7364),
        ([product(), UPFRONT], 0.7364),
        ([product(), product(usd="0", usagetype="USE1-TrainDebugFreeTier:ml.g4dn.xlarge")], 0.7364),
        ([product(), product(use="Hosting", usd="0.9")], 0.7364),
        ([product(), product(usd="9.9", instanceName="ml.g5.xlarge")], 0.7364),
        ([product(usagetype="Train:ml.g4dn.xlarge")], 0.7364),
        ([product(), product()], 0.7364),
        ([product(), product(usd="0.8")], None),
        ([], None),
        ([UPFRONT], None),
        ([product(usd="0.0000000000")], None),
        ([product(usd="NaN")], None),
        ([product(regionCode="eu-west-3")], None),
        ([product(unit="Seconds")], None),
        ([{"product": {}}], None),
        ([["no", "product"]], None),
    ],
)
def test_exactly_one_hourly_price_counts(products: list[Any], usd: float | None) -> None:
    documents = [json.dumps(one) for one in products]
    assert pricing.read_price(documents, "us-east-1", "ml.g4dn.xlarge", "Training") == usd


class PriceListServer(ThreadingHTTPServer):
    """AWS's Price List over HTTP, in AWS JSON 1.1: it filters and pages as AWS does, or refuses."""

    products: list[dict[str, Any]]
    asked: list[dict[str, Any]]
    refusal: tuple[int, str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class PriceListHandler(BaseHTTPRequestHandler):
    server: PriceListServer

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.headers["X-Amz-Target"] == "AWSPriceListService.GetProducts"
        self.server.asked.append(request)
        if self.server.refusal:
            status, code = self.server.refusal
            self.answer(status, {"__type": code, "Message": "User is not authorized to perform: pricing:GetProducts"})
            return
        found = [one for one in self.server.products if self.matches(one, request["Filters"])]
        page = int(request.get("NextToken", 0))
        more = {"NextToken": str(page + 1)} if page + 1 < len(found) else {}
        texts = [json.dumps(one) for one in found[page : page + 1]]
        self.answer(200, {"FormatVersion": "aws_v1", "PriceList": texts, **more})

    def matches(self, one: dict[str, Any], filters: list[dict[str, str]]) -> bool:
        return all(one["product"]["attributes"].get(term["Field"]) == term["Value"] for term in filters)

    def answer(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def serving() -> Iterator[PriceListServer]:
    server = PriceListServer(("127.0.0.1", 0), PriceListHandler)
    server.asked, server.products = [], []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def price_list(serving: PriceListServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> PriceListServer:
    """The server, which knows two prices, named in the environment; an empty cache."""
    serving.asked, serving.refusal = [], None
    serving.products = [product(usd="0.75"), UPFRONT, product(use="Hosting", usd="0.8")]
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {**KEYS, "AWS_ENDPOINT_URL_PRICING": serving.url, "DOGBREED_CACHE": str(folder)}.items():
        monkeypatch.setenv(name, value)
    return serving


def open_prices(region: str = "us-east-1") -> PriceList:
    prices = pricing.open_prices(open_session(load(None, {"target": "aws", "aws": {"region": region}}), Console()))
    assert prices is not None
    return prices


def test_this_machine_has_no_prices(folder: Path) -> None:
    assert pricing.open_prices(open_session(load(None, {"target": "local"}), Console())) is None


def test_the_price_list_is_asked_once_a_day(price_list: PriceListServer, folder: Path) -> None:
    prices = open_prices()
    found = prices.find("ml.g4dn.xlarge", "Training")
    assert found == Price(0.75, f"AWS Price List, {datetime.now():%Y-%m-%d}")
    assert prices.find("ml.g4dn.xlarge", "Hosting").usd_per_hour == 0.8
    first, more, hosting = price_list.asked
    assert {term["Field"]: term["Value"] for term in first["Filters"]} == {
        "regionCode": "us-east-1",
        "instanceName": "ml.g4dn.xlarge",
        "component": "Training",
    }
    assert (first["ServiceCode"], more["NextToken"], len(hosting["Filters"])) == ("AmazonSageMaker", "1", 3)
    assert prices.find("ml.g4dn.xlarge", "Training") is found
    assert open_prices().find("ml.g4dn.xlarge", "Training") == found  # another command: out of the file
    assert len(price_list.asked) == 3
    assert [file.name for file in folder.iterdir()] == ["prices.json"]

    kept = json.loads((folder / "prices.json").read_text())
    aged = {key: (usd, (datetime.now() - timedelta(hours=25)).isoformat()) for key, (usd, _) in kept.items()}
    (folder / "prices.json").write_text(json.dumps(aged))
    assert open_prices().find("ml.g4dn.xlarge", "Training") == found
    assert len(price_list.asked) == 5


HUGE = f'{{"a": [1{"0" * 400}, "2026-11-23"]}}'


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', '{"a": ["x", "y"]}', "\udcff", HUGE])
def test_a_broken_file_is_written_anew(text: str, price_list: PriceListServer, folder: Path) -> None:
    (folder / "prices.json").write_bytes(text.encode(errors="surrogateescape"))
    assert open_prices().find("ml.g4dn.xlarge", "Training").usd_per_hour == 0.75
    ((usd, asked),) = json.loads((folder / "prices.json").read_text()).values()
    assert usd == 0.75 and datetime.fromisoformat(asked) <= datetime.now()


def test_where_nothing_can_be_kept_a_price_is_found_all_the_same(
    price_list: PriceListServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("a file, no folder")
    monkeypatch.setenv("DOGBREED_CACHE", str(tmp_path / "file"))
    assert open_prices().find("ml.g4dn.xlarge", "Training").usd_per_hour == 0.75


@pytest.mark.parametrize(
    ("refusal", "why"),
    [((400, "AccessDeniedException"), "AccessDeniedException"), ((500, "InternalErrorException"), "InternalErrorExc")],
)
def test_without_the_price_list_a_figure_says_its_month(
    refusal: tuple[int, str], why: str, price_list: PriceListServer, folder: Path
) -> None:
    price_list.refusal = refusal
    prices = open_prices()
    assert prices.find("ml.g4dn.xlarge", "Training") == Price(0.7364, "2026-08 list price")
    asked = len(price_list.asked)
    assert prices.find("ml.m5.large", "Hosting") == Price(0.115, "2026-07 list price")
    unknown = prices.find("ml.g4dn.xlarge.unheard-of", "Training")
    assert unknown.usd_per_hour is None and why in unknown.source and "unheard-of" in unknown.source
    assert len(price_list.asked) == asked  # nobody waits for a second refusal
    assert not (folder / "prices.json").exists()


def test_without_a_network_a_figure_says_its_month(
    price_list: PriceListServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_PRICING", "http://127.0.0.1:9")
    assert open_prices().find("ml.g4dn.xlarge", "Training") == Price(0.7364, "2026-08 list price")


def test_a_price_of_one_region_is_none_of_another(price_list: PriceListServer) -> None:
    found = open_prices("eu-west-3").find("ml.g4dn.xlarge", "Training")
    assert found.usd_per_hour is None and "eu-west-3" in found.source


def test_every_price_of_the_table_has_its_month_and_source() -> None:
    rows = pricing.tomllib.loads(pricing.TABLE.read_text(encoding="utf-8"))["price"]
    for row in rows:
        assert set(row) == {"use", "instance_type", "usd_per_hour", "month", "source"}
        assert row["use"] in pricing.USAGE and row["usd_per_hour"] > 0 and row["source"]
        assert datetime.strptime(row["month"], "%Y-%m").year >= 2026
    assert len({(row["use"], row["instance_type"]) for row in rows}) == len(rows)
    assert pricing.read_table("eu-west-1") == {}


# ---- what a request can cost

HALF = Price(0.5, "2026-08 list price")
UNKNOWN = Price(None, "nobody knows")
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def training(max_run: int = 7200, count: int = 1, warm: int = 0, **more: Any) -> dict[str, Any]:
    place = {"InstanceType": "ml.g4dn.xlarge", "InstanceCount": count, "VolumeSizeInGB": 30}
    return {
        "TrainingJobName": "dogbreed-train",
        "HyperParameters": {"epochs": "10", "backbone": '"resnet50"', "image-size": "224"},
        "ResourceConfig": {**place, **({"KeepAlivePeriodInSeconds": warm} if warm else {})},
        "StoppingCondition": {"MaxRuntimeInSeconds": max_run},
        **more,
    }


def tuning(trials: int = 4, max_run: int = 3600, parallel: int = 2, count: int = 1, total: int = 0) -> dict[str, Any]:
    limits = {"MaxNumberOfTrainingJobs": trials, "MaxParallelTrainingJobs": parallel}
    static = {"epochs": "3", "data-fraction": "0.25", "backbone": '"resnet50"', "image-size": "224"}
    return {
        "HyperParameterTuningJobConfig": {
            "ResourceLimits": {**limits, **({"MaxRuntimeInSeconds": total} if total else {})}
        },
        "TrainingJobDefinition": {**training(max_run, count), "StaticHyperParameters": static},
    }


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


def described(**changes: Any) -> dict[str, Any]:
    """A trial that took 600 seconds for 3 epochs of a quarter of the images; spot left half of that unbilled."""
    return {
        **training(),
        "TrainingJobName": "dogbreed-tune-261122-083000-001-ab12cd34",
        "TrainingJobStatus": "Completed",
        "HyperParameters": {"epochs": "3", "data-fraction": "0.25", "backbone": '"resnet50"', "image-size": "224"},
        "TrainingTimeInSeconds": 600,
        "BillableTimeInSeconds": 300,
        **changes,
    }


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


INSTANCES = {"VariantName": "AllTraffic", "InstanceType": "ml.g4dn.xlarge", "InitialInstanceCount": 2}
SERVERLESS = {"VariantName": "AllTraffic", "ServerlessConfig": {"MemorySizeInMB": 4096, "MaxConcurrency": 5}}


def test_an_endpoint_costs_by_the_hour(price_list: PriceListServer) -> None:
    prices = open_prices()
    cost = costs.weigh_endpoint({"ProductionVariants": [INSTANCES]}, prices)
    assert (cost.usd_per_hour, cost.usd_per_day) == (1.6, pytest.approx(38.4))
    assert cost.usd_per_30_days == pytest.approx(1152)
    assert "38.40 USD a day, 1152.00 USD in 30 days" in costs.say_cost(cost)
    for variants, why in (
        ([SERVERLESS], "serverless"),
        ([INSTANCES, {**INSTANCES, "InstanceType": "ml.g5.xlarge"}], "several kinds"),
        ([{**INSTANCES, "InstanceType": "ml.unheard-of.large"}], "no single hourly price"),
    ):
        cost = costs.weigh_endpoint({"ProductionVariants": variants}, prices)
        assert (cost.usd_per_hour, cost.usd_per_day) == (None, None)
        assert why in costs.say_cost(cost)


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


@pytest.mark.parametrize("command", [["tune", "--budget"], ["train", "--min-accuracy"], ["deploy", "--timeout"]])
def test_nan_is_no_limit(command: list[str]) -> None:
    done = CliRunner().invoke(cli, [*command, "nan"])
    assert done.exit_code == 2 and "nan is not a number" in done.output


# ---- what runs has cost, and what was billed


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


# ---- the commands on moto's AWS, with the Price List beside it


@dataclass
class Aws:
    """`dogbreed ...` in this process, on moto's AWS: nothing here gets as far as to create anything with the SDK."""

    url: str
    capsys: pytest.CaptureFixture[str]

    def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """What it wrote to stdout and stderr."""
        with pytest.raises(SystemExit) as ended:
            cli.main(list(arguments))
        said = self.capsys.readouterr()
        assert ended.value.code == code, said
        return said.out, said.err

    def json(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        return json.loads(self.run("--json", *arguments, code=code)[0])

    def client(self, service: str) -> Any:
        return boto3.client(service, "us-east-1", endpoint_url=self.url)


@pytest.fixture
def aws(
    dogs: Path, price_list: PriceListServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Aws]:
    """A project with the dogs uploaded."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    aws = Aws(f"http://{host}:{port}", capsys)
    environment = {
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_CONFIG_FILE": "none",
        "DOGBREED_TARGET": "aws",
        "DOGBREED_AWS__REGION": "us-east-1",
        "DOGBREED_AWS__ROLE_ARN": ROLE,
        "DOGBREED_AWS__TRAINING_IMAGE": IMAGE,
        "DOGBREED_AWS__INFERENCE_IMAGE": IMAGE,
        "DOGBREED_MODEL__WEIGHTS": "none",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    # moto's state is this process's, not the server's: other tests have used it, and will.
    requests.post(f"{aws.url}/moto-api/reset", timeout=30).raise_for_status()
    aws.run("upload", str(dogs), "--yes")
    yield aws
    requests.post(f"{aws.url}/moto-api/reset", timeout=30).raise_for_status()
    server.stop()


TAGS = [{"Key": "dogbreed:project", "Value": "dogbreed"}]


def test_a_budget_stops_a_command_before_anything_is_made(aws: Aws) -> None:
    client, s3 = aws.client("sagemaker"), aws.client("s3")
    client.create_training_job(
        TrainingJobName="dogbreed-train-1",
        AlgorithmSpecification={"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        RoleArn=ROLE,
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/dogbreed/jobs"},
        ResourceConfig={"InstanceType": "ml.g4dn.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        StoppingCondition={"MaxRuntimeInSeconds": 3600},
        Tags=TAGS,
    )
    before = [one["Key"] for one in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]

    error = aws.json("tune", "--max-jobs", "4", "--budget", "2.99", "--yes", code=7)
    assert error["error"] == "this may cost 3.00 USD, the budget is 2.99 USD"
    assert f"AWS Price List, {datetime.now():%Y-%m}" in error["why"] and error["fix"]
    unknown = aws.json("train", "--instance-type", "ml.unheard-of.large", "--budget", "99", "--yes", code=7)
    assert "unknown" in unknown["error"] and "ml.unheard-of.large" in unknown["why"]
    refused = aws.json("deploy", "--instance-type", "ml.g4dn.xlarge", "--budget", "19", "--yes", code=7)
    assert refused["error"] == "this may cost 19.20 USD a day, the budget is 19.00 USD a day"
    # Within the budget it goes on: here to the question that nobody answers.
    _, asked = aws.run("train", "--budget", "3", code=2)
    assert "at most 3.00 USD" in asked and "AWS Price List, 20" in asked and "--yes" in asked
    shown = aws.json("train", "--dry-run", "--budget", "3")
    assert shown["cost"]["max_usd"] == 3.0 and shown["cost"]["estimate_usd"] is None

    assert [one["Key"] for one in s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == before
    assert len(client.list_training_jobs()["TrainingJobSummaries"]) == 1
    assert client.list_hyper_parameter_tuning_jobs()["HyperParameterTuningJobSummaries"] == []
    assert client.list_models()["Models"] == client.list_endpoint_configs()["EndpointConfigs"] == []


def test_status_has_the_price_of_an_endpoint(aws: Aws) -> None:
    client = aws.client("sagemaker")
    client.create_model(ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": IMAGE}, Tags=TAGS)
    variant = {**INSTANCES, "ModelName": "m"}
    client.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant], Tags=TAGS)
    client.create_endpoint(EndpointName="dogbreed-endpoint", EndpointConfigName="c", Tags=TAGS)
    (one,) = aws.json("status")["items"]
    assert one["kind"] == "endpoint" and one["usd_per_hour"] == 1.6
    assert 0 <= one["usd_so_far"] < 1.6 and one["price_source"].startswith("AWS Price List, 20")
    drawn, said = aws.run("status")
    assert "USD an hour" in drawn and "1.6000" in drawn and "not counted: storage" in said
