"""Two reports side by side: what was measured, what was given, where time went, which classes got better or worse.

Whether the difference in accuracy is more than chance is tested on the images that both jobs were measured on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import comb
from typing import Any

from dogbreed_cli.report.page import render_template
from dogbreed_cli.report.report import Report
from dogbreed_cli.report.wording import (
    NOTHING,
    SPACE,
    count_noun,
    say_duration,
    say_number,
    say_percent,
    say_split,
    say_usd,
    say_value,
)

LIKELY_CHANCE = 0.05
SAY: Mapping[str, Callable[[float], str]] = {
    "share": say_percent,
    "number": say_number,
    "seconds": say_duration,
    "usd": say_usd,
}


@dataclass(frozen=True)
class Measure:
    """A number of both jobs, None where one has none. `unit`: share (0 to 1), number, seconds or usd."""

    name: str
    unit: str
    first: float | None
    second: float | None

    @property
    def difference(self) -> float | None:
        return None if self.first is None or self.second is None else self.second - self.first


@dataclass(frozen=True)
class Setting:
    name: str
    first: Any
    second: Any

    @property
    def differs(self) -> bool:
        return self.first != self.second


@dataclass(frozen=True)
class Agreement:
    """Of the same `images`, how many only one of the jobs got right. `p_value` is McNemar's, exact and two-sided:

    how likely chance alone makes a difference this large between equally good models.
    """

    images: int
    only_first: int
    only_second: int
    p_value: float


@dataclass(frozen=True)
class Comparison:
    """`classes` are recalls, those that changed most first. Without `agreement`, `why` says why there is none."""

    created: datetime
    first: str
    second: str
    measures: tuple[Measure, ...]
    phases: tuple[Measure, ...]
    hyperparameters: tuple[Setting, ...]
    classes: tuple[Measure, ...]
    rules: tuple[Setting, ...]
    agreement: Agreement | None
    why: str


def compare(first: Report, second: Report) -> Comparison:
    agreement, why = find_agreement(first, second)
    return Comparison(
        created=datetime.now(UTC),
        first=first.job.name,
        second=second.job.name,
        measures=tuple(
            Measure(name, unit, a, b)
            for (name, unit, a), (_, _, b) in zip(list_numbers(first), list_numbers(second), strict=True)
        ),
        phases=measure_both(share_seconds(first), share_seconds(second), "seconds"),
        hyperparameters=settle_both(first.hyperparameters, second.hyperparameters),
        classes=compare_classes(first, second),
        rules=settle_both(
            {verdict.rule: verdict.state for verdict in first.rules},
            {verdict.rule: verdict.state for verdict in second.rules},
        ),
        agreement=agreement,
        why=why,
    )


def list_numbers(report: Report) -> list[tuple[str, str, float | None]]:
    evaluation = report.evaluation
    calibration = evaluation.calibration if evaluation else None
    job = report.job
    return [
        ("accuracy", "share", evaluation.accuracy.value if evaluation else None),
        ("top-5 accuracy", "share", evaluation.top5.value if evaluation and evaluation.top5 else None),
        ("loss", "number", evaluation.loss if evaluation else None),
        ("macro precision", "number", evaluation.macro.precision if evaluation else None),
        ("macro recall", "number", evaluation.macro.recall if evaluation else None),
        ("macro F1", "number", evaluation.macro.f1 if evaluation else None),
        ("weighted F1", "number", evaluation.weighted.f1 if evaluation else None),
        ("calibration error", "share", calibration.error if calibration else None),
        ("training time", "seconds", job.training_seconds),
        ("billable time", "seconds", job.billable_seconds),
        ("cost", "usd", report.cost.usd),
    ]


def share_seconds(report: Report) -> dict[str, float]:
    return {phase.name: phase.seconds for phase in report.phases}


def measure_both(first: Mapping[str, float], second: Mapping[str, float], unit: str) -> tuple[Measure, ...]:
    return tuple(Measure(name, unit, first.get(name), second.get(name)) for name in dict.fromkeys([*first, *second]))


def settle_both(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[Setting, ...]:
    """What differs first, then in the order of the alphabet."""
    settings = [Setting(name, first.get(name), second.get(name)) for name in sorted({*first, *second})]
    return tuple(sorted(settings, key=lambda setting: not setting.differs))


def compare_classes(first: Report, second: Report) -> tuple[Measure, ...]:
    measures = measure_both(find_recalls(first), find_recalls(second), "share")
    return tuple(sorted(measures, key=lambda m: (m.difference is None, -abs(m.difference or 0.0), m.name)))


def find_recalls(report: Report) -> dict[str, float]:
    scores = report.evaluation.per_class if report.evaluation else ()
    return {score.label: score.recall for score in scores if score.recall is not None}


def find_agreement(first: Report, second: Report) -> tuple[Agreement | None, str]:
    """Or why the two cannot be tested against each other."""
    if not first.evaluation or not second.evaluation:
        lacking = first.job.name if not first.evaluation else second.job.name
        return None, f"{lacking} has no predictions."
    split, other = first.evaluation.split, second.evaluation.split
    if split != other:
        return None, f"One was measured on {say_split(split)} images, the other on {say_split(other)} images."
    hits = [
        {(row.file, row.label): row.label == row.prediction for row in report.predictions if row.split == split}
        for report in (first, second)
    ]
    if hits[0].keys() != hits[1].keys():
        return None, f"They were not measured on the same {say_split(split)} images."
    only_first = sum(right and not hits[1][file] for file, right in hits[0].items())
    only_second = sum(right and not hits[0][file] for file, right in hits[1].items())
    return Agreement(len(hits[0]), only_first, only_second, weigh_sign(only_first, only_second)), ""


def weigh_sign(one: int, other: int) -> float:
    """The exact two-sided sign test: how likely a fair coin falls as unevenly as `one` to `other`, or more so."""
    tosses = one + other
    tail = sum(comb(tosses, k) for k in range(min(one, other) + 1))
    return min(1.0, 2 * tail / 2**tosses)


# ---- in words


def say_measure(value: float | None, unit: str) -> str:
    if value is None:
        return NOTHING
    return SAY[unit](value)


def say_difference(measure: Measure) -> str:
    """`+1.2 points`: of the second job, against the first."""
    change = measure.difference
    if change is None:
        return NOTHING
    if not change:
        return "same"
    sign = "+" if change > 0 else "\N{MINUS SIGN}"
    if measure.unit == "share":
        return f"{sign}{100 * abs(change):.1f}{SPACE}points"
    return f"{sign}{say_measure(abs(change), measure.unit)}"


def say_agreement(comparison: Comparison) -> str:
    found = comparison.agreement
    if found is None:
        return f"Not tested: {comparison.why}"
    if not found.only_first and not found.only_second:
        return f"Both got the same of the {count_noun(found.images, 'image')} right."
    verdict = (
        "chance alone makes a difference like this"
        if found.p_value >= LIKELY_CHANCE
        else "more than chance makes of equally good models"
    )
    return (
        f"Of the same {count_noun(found.images, 'image')} only {comparison.first} got {found.only_first} right and "
        f"only {comparison.second} {found.only_second}: {verdict} (McNemar's exact test, p = {found.p_value:.2g})."
    )


def list_rows(measures: Sequence[Measure]) -> list[tuple[str, str, str, str]]:
    return [(m.name, say_measure(m.first, m.unit), say_measure(m.second, m.unit), say_difference(m)) for m in measures]


def list_settings_rows(settings: Sequence[Setting]) -> list[tuple[str, str, str, str]]:
    return [(s.name, say_value(s.first), say_value(s.second), "differs" if s.differs else "same") for s in settings]


def render_comparison(comparison: Comparison) -> str:
    return render_template(
        "comparison.html.j2",
        comparison=comparison,
        agreement=say_agreement(comparison),
        tables=(
            ("measures", "Measured", list_rows(comparison.measures)),
            ("hyperparameters", "Hyperparameters", list_settings_rows(comparison.hyperparameters)),
            ("phases", "Time by phase of the script", list_rows(comparison.phases)),
            ("rules", "Rules", list_settings_rows(comparison.rules)),
            ("classes", "Recall by class, what changed most first", list_rows(comparison.classes)),
        ),
    )
