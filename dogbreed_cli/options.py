"""Types of options."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Any

import click


class Limit(click.FloatRange):
    """A number that something is compared with. NaN, which no comparison would ever reach, is refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not a number", param, ctx)
        return number


class Duration(click.ParamType):
    """`90m`, `2h`, `1h30m`, `1d`; `never` is NEVER."""

    name = "time"
    least, most = timedelta(seconds=1), timedelta(days=365)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        if value == "never":
            return NEVER
        found = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", value)
        if not found or not value:
            self.fail(f"{value!r} is no time: write 90m, 2h, 1h30m or 1d, or never", param, ctx)
        days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
        try:
            duration = timedelta(days, hours=hours, minutes=minutes, seconds=seconds)
        except OverflowError:
            duration = timedelta.max
        if not self.least <= duration <= self.most:
            self.fail(f"{value} is not from 1s to {self.most.days}d", param, ctx)
        return duration


# That an end is wanted no more, which is not the same as not having been asked for one.
NEVER = timedelta(0)


def write_duration(duration: timedelta) -> str:
    """As it is typed: 1d2h."""
    minutes, seconds = divmod(int(duration.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s"))
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "never"
