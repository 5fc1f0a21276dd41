"""What an instance costs an hour: AWS's Price List, kept on disk for a day; a dated table where it cannot be asked.

    prices = open_prices(session)
    prices.find("ml.g4dn.xlarge", "Training")   # -> Price(usd_per_hour=0.7364, source="2026-08 list price")

A price that neither knows is None, never 0. Only on-demand prices: a spot discount is never assumed.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dogbreed_cli.cache import cache_folder
from dogbreed_cli.whole_files import written_beside

if TYPE_CHECKING:
    from dogbreed_cli.session import Session

Use = Literal["Training", "Hosting"]
# The word of each use in AWS's usage types, `USE1-Train:ml.m5.large`. Others (`TrainDebug`, `TrainingPlanUpfrontFee`)
# share instance names and components with these, at other prices.
USAGE: dict[Use, str] = {"Training": "Train", "Hosting": "Host"}
# The one Price List for all regions; the price's own region is a filter.
PRICE_LIST_REGION = "us-east-1"
TABLE = Path(__file__).with_name("prices.toml")
KEPT = timedelta(days=1)


@dataclass(frozen=True)
class Price:
    """Of one instance. `source` says where it comes from and of when it is; for an unknown one (None), why."""

    usd_per_hour: float | None
    source: str


@dataclass(frozen=True)
class KeptPrice:
    usd_per_hour: float
    asked: datetime

    @property
    def is_price(self) -> bool:
        return 0 < self.usd_per_hour < math.inf


def open_prices(session: Session) -> PriceList | None:
    """None where the session is free: there nothing has a price, and nothing is shown."""
    return None if session.is_free else PriceList(session)


class PriceList:
    """The prices of the session's region. Each is asked for once; after a refusal nothing is asked for any more."""

    def __init__(self, session: Session):
        self.session = session
        self.found: dict[tuple[str, Use], Price] = {}
        self.refusal = ""

    def find(self, instance_type: str, use: Use) -> Price:
        key = (instance_type, use)
        if key not in self.found:
            self.found[key] = self.look_up(instance_type, use)
        return self.found[key]

    def look_up(self, instance_type: str, use: Use) -> Price:
        region = self.session.region
        # The endpoint too: what something else than AWS said is not AWS's price.
        key = f"{self.client.meta.endpoint_url} {region} {use} {instance_type}"
        kept = read_kept().get(key)
        if kept is None and not self.refusal and (usd := self.ask(region, instance_type, use)) is not None:
            kept = KeptPrice(usd, datetime.now())
            keep(key, kept)
        if kept:
            return Price(kept.usd_per_hour, f"AWS Price List, {kept.asked:%Y-%m-%d}")
        if price := read_table(region).get((instance_type, use)):
            return price
        why = self.refusal or "AWS's Price List has no single hourly price"
        return Price(None, f"{why}, and no list price of {instance_type} ({use}) in {region} is kept here")

    def ask(self, region: str, instance_type: str, use: Use) -> float | None:
        from botocore.exceptions import BotoCoreError, ClientError

        filters = {"regionCode": region, "instanceName": instance_type, "component": use}
        try:
            pages = self.client.get_paginator("get_products").paginate(
                ServiceCode="AmazonSageMaker",
                FormatVersion="aws_v1",
                Filters=[{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in filters.items()],
            )
            return read_price([text for page in pages for text in page["PriceList"]], region, instance_type, use)
        except ClientError as error:
            self.refusal = f"AWS's Price List cannot be asked ({error.response['Error'].get('Code', 'no reason')})"
        except BotoCoreError as error:
            self.refusal = f"AWS's Price List cannot be asked ({type(error).__name__})"
        return None

    @cached_property
    def client(self) -> Any:
        from botocore.config import Config as ClientConfig

        # Prices are worth a few seconds, not the minutes that the session's other clients are ready to wait.
        patience = ClientConfig(
            connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2}
        )
        return self.session.boto.client("pricing", PRICE_LIST_REGION, config=patience)


def read_price(documents: list[str], region: str, instance_type: str, use: Use) -> float | None:
    """USD an hour out of the Price List's products, each a JSON document; None unless exactly one price fits."""
    usage = re.compile(rf"(?:.+-)?{USAGE[use]}:{re.escape(instance_type)}")
    wanted = {"regionCode": region, "instanceName": instance_type, "component": use}
    prices = set[float]()
    for text in documents:
        try:
            product = json.loads(text)
            attributes = product["product"]["attributes"]
            fits = all(attributes.get(name) == value for name, value in wanted.items())
            if fits and usage.fullmatch(attributes.get("usagetype", "")):
                prices.update(hourly_prices(product))
        except (ValueError, TypeError, KeyError, AttributeError):
            return None  # not the documents that we know: no guess
    return prices.pop() if len(prices) == 1 and 0 < min(prices) < math.inf else None


def hourly_prices(product: Mapping[str, Any]) -> Iterator[float]:
    for term in product["terms"]["OnDemand"].values():
        for dimension in term["priceDimensions"].values():
            if dimension["unit"] in ("Hrs", "Hours"):
                yield float(dimension["pricePerUnit"]["USD"])


def read_table(region: str) -> dict[tuple[str, Use], Price]:
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    if table["region"] != region:
        return {}
    return {
        (row["instance_type"], row["use"]): Price(row["usd_per_hour"], f"{row['month']} list price")
        for row in table["price"]
    }


def kept_file() -> Path:
    return cache_folder() / "prices.json"


def read_kept() -> dict[str, KeptPrice]:
    """What AWS said in the last day; nothing out of a file that is not there or not ours."""
    now = datetime.now()
    try:
        entries = json.loads(kept_file().read_text(encoding="utf-8")).items()
        read = {key: KeptPrice(float(usd), datetime.fromisoformat(asked)) for key, (usd, asked) in entries}
        return {key: kept for key, kept in read.items() if kept.is_price and now - KEPT < kept.asked <= now}
    except (OSError, ValueError, TypeError, AttributeError, OverflowError):
        return {}


def keep(key: str, kept: KeptPrice) -> None:
    """Where nothing can be kept, it is asked for again next time."""
    entries = {name: (one.usd_per_hour, one.asked.isoformat()) for name, one in {**read_kept(), key: kept}.items()}
    file = kept_file()
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with written_beside(file) as beside:
            beside.write_text(json.dumps(entries), encoding="utf-8")
