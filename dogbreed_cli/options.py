"""A type of options that several commands share."""

from __future__ import annotations

import math
from typing import Any

import click


class Limit(click.FloatRange):
    """A number that something is compared with. NaN, which no comparison would ever reach, is refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not a number", param, ctx)
        return number
