"""How sure and how right: the reliability curve, and the confusion of many classes as a map."""

from typing import TYPE_CHECKING

from markupsafe import Markup

from dogbreed_cli.report.calibration import BINS, Calibration
from dogbreed_cli.report.charts import FIRST, SOFT, draw_chart, finish
from dogbreed_cli.report.metrics import Confusion
from dogbreed_cli.report.wording import say_percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_reliability(calibration: Calibration) -> Markup:
    """A bar for each bin up to the share that was right, over the diagonal where it should end."""
    bins = calibration.bins
    most = max(one.count for one in bins)

    def draw(axes: "Axes") -> None:
        axes.plot([0, 100], [0, 100], "--", color=SOFT, linewidth=1, label="as sure as right")
        for number, one in enumerate(bins):
            # The more images, the darker: a bar of three images says little.
            axes.bar(
                100 * one.low,
                100 * one.accuracy,
                width=100 / BINS,
                align="edge",
                color=FIRST,
                alpha=0.25 + 0.6 * (one.count / most) ** 0.5,
                linewidth=0,
                label="right" if number == len(bins) - 1 else None,
            )
        axes.plot([100 * b.confidence for b in bins], [100 * b.accuracy for b in bins], "o", color=FIRST)
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 100)
        finish(axes, "Probability of the prediction, %")

    told = ", ".join(f"about {say_percent(b.confidence, 0)}: {say_percent(b.accuracy, 0)}" for b in bins)
    return draw_chart("reliability", f"Share of right predictions by their probability. {told}.", draw)


def draw_map(confusion: Confusion) -> Markup:
    """A confusion matrix of many classes as a map: a square for each cell that is not empty, its numbers on hovering.

    Drawn here, as rectangles in a grid: with matplotlib it were a picture whose colours and words are fixed.
    """
    names = confusion.classes
    squares = [
        Markup(
            '<rect class="{}" x="{}" y="{}" width="1" height="1" style="--share:{:.3f}"><title>{}</title></rect>'
        ).format(
            "right" if i == j else "wrong",
            j,
            i,
            share**0.5,
            f"{names[i]} taken for {names[j]}: {count} ({say_percent(share)})",
        )
        for i, (counts, shares) in enumerate(zip(confusion.counts, confusion.shares, strict=True))
        for j, (count, share) in enumerate(zip(counts, shares, strict=True))
        if count
    ]
    return Markup(
        '<svg class="map" role="img" aria-label="{}" viewBox="0 0 {} {}">'
        '<rect class="field" width="100%" height="100%"/>{}</svg>'
    ).format(
        f"Confusion matrix of {len(names)} classes, rows are the right class, columns the prediction. "
        "The table of most confused classes says the same in words.",
        len(names),
        len(names),
        Markup("").join(squares),
    )
