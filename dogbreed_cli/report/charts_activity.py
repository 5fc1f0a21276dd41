"""What the profiler and the hook saw, over time: system metrics in the phases of the job, steps, tensors."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from dogbreed_cli.report.activity import Activity, Line, Steps
from dogbreed_cli.report.charts import (
    FIRST,
    SECOND,
    TINTS,
    draw_chart,
    finish,
    finish_counted,
    label_decades,
    plot_curve,
    tell_curve,
)
from dogbreed_cli.report.series import LOSSES, Series
from dogbreed_cli.report.wording import name_kind, say_amount, say_metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MILLI = 1000
# Seconds above which an axis of time is in minutes.
LONG = 600
# Lines in one chart; beyond, they cannot be told apart.
MOST_LINES = len(TINTS)
# The end of a tensor's name tells more than its beginning: gradient/ResNet_fc_weight.
LONGEST_NAME = 34


def draw_activity(activity: Activity, places: Mapping[str, int]) -> list[tuple[str, Markup]]:
    """A chart for each kind of metric, by the kind's name; `places` are those of phases among the tints."""
    kinds = list(dict.fromkeys((line.kind, line.unit) for line in activity.lines))
    return [
        (name_kind(kind, unit), draw_kind(activity, places, kind, unit, number))
        for number, (kind, unit) in enumerate(kinds)
    ]


def draw_kind(activity: Activity, places: Mapping[str, int], kind: str, unit: str, number: int) -> Markup:
    scale, scale_name = (60, "Minutes") if activity.seconds > LONG else (1, "Seconds")
    lines = [line for line in activity.lines if (line.kind, line.unit) == (kind, unit)][:MOST_LINES]

    def draw(axes: "Axes") -> None:
        for stretch in activity.stretches:
            axes.axvspan(
                stretch.start / scale,
                (stretch.start + stretch.seconds) / scale,
                color=TINTS[places[stretch.phase] % len(TINTS)],
                alpha=0.16,
                linewidth=0,
                zorder=0,
            )
        for style, colour, line in zip(
            ("-", "--", "-.", ":", "-", "--"), (FIRST, SECOND, *TINTS[2:]), lines, strict=False
        ):
            axes.plot(
                [second / scale for second in line.seconds],
                line.values,
                style,
                color=colour,
                label=line.metric,
                linewidth=1.5,
            )
        axes.set_xlim(0, max(activity.seconds, 1e-3) / scale)
        axes.set_ylim(0, 100 if unit == "%" else None)
        if unit != "%":
            axes.yaxis.set_major_formatter(lambda value, place: say_amount(value))
        finish(axes, scale_name)

    return draw_chart(
        f"activity{number}", f"{name_kind(kind, unit)} over time. {' '.join(map(tell_line, lines))}", draw
    )


def tell_line(line: Line) -> str:
    return (
        f"{line.metric}: {say_metric(line.mean, line.unit)} on average, {say_metric(line.highest, line.unit)} at most."
    )


def draw_steps(steps: Steps) -> Markup:
    numbers = [number for number, _, _ in steps.points]
    middle = [MILLI * value for _, value, _ in steps.points]
    longest = [MILLI * value for _, _, value in steps.points]

    def draw(axes: "Axes") -> None:
        if longest != middle:
            axes.plot(numbers, longest, "-", color=SECOND, linewidth=1, label="longest")
        axes.plot(numbers, middle, "-", color=FIRST, label="median" if longest != middle else "step")
        axes.set_ylim(bottom=0)
        finish_counted(axes, "Step")

    told = f"{steps.count} steps, {MILLI * steps.median:.3g} ms in the median, {MILLI * steps.longest:.3g} ms at most."
    return draw_chart(f"steps-{steps.mode.lower()}", f"Duration of steps in mode {steps.mode}, in ms. {told}", draw)


def draw_tensors(series: Sequence[Series]) -> list[tuple[str, Markup]]:
    """A chart for each collection, by its name."""
    collections = list(dict.fromkeys(one.collection for one in series))
    return [
        (name, draw_collection(name, [one for one in series if one.collection == name], number))
        for number, name in enumerate(collections)
    ]


def draw_collection(name: str, series: Sequence[Series], number: int) -> Markup:
    shown = series[:MOST_LINES]

    def draw(axes: "Axes") -> None:
        for one, colour in zip(shown, (FIRST, SECOND, *TINTS[2:]), strict=False):
            style = "--" if one.mode == "EVAL" else "-"
            plot_curve(axes, one.steps, one.values, colour, f"{one.tensor[-LONGEST_NAME:]} ({one.mode})", style)
        values = [value for one in shown for value in one.values if value > 0]
        # Gradients shrink by orders of magnitude.
        if name != LOSSES and values and max(values) / min(values) > MILLI:
            axes.set_yscale("log")
            label_decades(axes.yaxis, values)
        finish_counted(axes, "Step")

    told = " ".join(tell_curve(f"{one.tensor} in mode {one.mode}", one.values) for one in shown)
    return draw_chart(f"tensors{number}", f"Collection {name} by step. {told}", draw)
