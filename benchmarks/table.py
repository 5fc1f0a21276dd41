"""The rows of the one table: medians with their spread, ratios against the naive loop, and what must hold."""

import json
from dataclasses import asdict, dataclass, field
from statistics import median

HEADS = ("measure", "variant", "median", "spread", "x naive", "x naive + mallopt", "must hold", "note")


@dataclass
class Row:
    """One measure of one variant. `values` has one number a round; `ratios` likewise, round against round."""

    measure: str
    variant: str
    unit: str
    values: list[float]
    note: str = ""
    ratios: list[float] = field(default_factory=list)  # how many times better than the naive loop
    mallopt_ratios: list[float] = field(default_factory=list)  # than the naive loop with mallopt
    threshold: str = ""
    holds: bool | None = None

    @property
    def median(self):
        return median(self.values) if self.values else None

    def against(self, naive, mallopt, more_is_better=False):
        """Fill in the ratios from two rows of the same measure, where they were measured."""
        self.ratios = ratios(self.values, naive, more_is_better)
        self.mallopt_ratios = ratios(self.values, mallopt, more_is_better)
        return self

    def must(self, threshold, holds):
        """The threshold as it is read, and whether the number beside it keeps it."""
        self.threshold, self.holds = threshold, bool(holds)
        return self

    def cells(self):
        verdict = "" if self.holds is None else f"{self.threshold}: {'holds' if self.holds else 'MISSES'}"
        return (
            self.measure,
            self.variant,
            f"{number(self.median)} {self.unit}".strip() if self.values else "",
            spread(self.values, number),
            ratio(self.ratios),
            ratio(self.mallopt_ratios),
            verdict,
            self.note,
        )


def ratios(values, base, more_is_better):
    """The ratio of medians first, then that of each round, since rounds are interleaved and have the same weather."""
    if base is None:
        return []
    pairs = [(median(values), base.median), *zip(values, base.values, strict=False)]
    return [mine / theirs if more_is_better else theirs / mine for mine, theirs in pairs]


def ratio(found):
    if not found:
        return ""
    rounds = spread(found[1:], lambda value: f"{value:.1f}")
    return f"{found[0]:.1f} ({rounds})" if rounds else f"{found[0]:.1f}"


def spread(values, show):
    return f"{show(min(values))}-{show(max(values))}" if len(values) > 1 else ""


def number(value):
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def markdown(rows):
    lines = [HEADS, ["---"] * len(HEADS), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def text(rows):
    """For a terminal: the same without notes, in columns."""
    lines = [HEADS[:-1], *(row.cells()[:-1] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADS) - 1)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def document(rows, about):
    """results.json: every number that the table is made of."""
    return json.dumps({"about": about, "rows": [asdict(row) | {"median": row.median} for row in rows]}, indent=2) + "\n"
