"""What AWS charges an hour: prices out of the Price List's own documents, the kept table, an endpoint by them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from price_list import UPFRONT, PriceListServer, product
from priced_jobs import INSTANCES

from dogbreed_cli import costs, pricing
from dogbreed_cli.config import load
from dogbreed_cli.console import Console
from dogbreed_cli.pricing import Price, PriceList
from dogbreed_cli.session import open_session

# ---- one price out of many products


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


# ---- where a price comes from


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


# ---- an endpoint


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
