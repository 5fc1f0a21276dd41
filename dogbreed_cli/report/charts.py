"""Charts as small inline SVG drawn by matplotlib: real text, the page's colours in light and dark, unique ids."""

import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from dogbreed_cli.report.artifacts import Epoch
from dogbreed_cli.report.metrics import Confusion
from dogbreed_cli.report.trials import Tuning, find_best
from dogbreed_cli.report.wording import say_percent, say_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# matplotlib knows no CSS: it draws in these colours, which are then replaced by the page's variables.
INK, SOFT, LINE = "#010101", "#020202", "#030303"
FIRST, SECOND, BAD = "#040404", "#050505", "#060606"
VARIABLES = {
    INK: "currentColor",
    SOFT: "var(--soft)",
    LINE: "var(--line)",
    FIRST: "var(--first)",
    SECOND: "var(--second)",
    BAD: "var(--bad)",
}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    # A class or a hyperparameter may be called "$x$": it is text.
    "text.parse_math": False,
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "lines.linewidth": 1.8,
    "lines.markersize": 4,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}
# Inches at 72 points: as wide as a telephone's screen, so that text is never scaled down.
SIZE = (4.1, 2.75)


def draw_loss(epochs: Sequence[Epoch], best_epoch: int | None) -> Markup:
    numbers = [row.epoch for row in epochs]
    train, valid = [row.train_loss for row in epochs], [row.validation_loss for row in epochs]

    def draw(axes: "Axes") -> None:
        plot_curve(axes, numbers, train, FIRST, "training", "-")
        plot_curve(axes, numbers, valid, SECOND, "validation", "--")
        finish_epochs(axes, numbers, best_epoch)

    return draw_chart("loss", f"Loss by epoch. {tell_curve('Training', train)} {tell_curve('Validation', valid)}", draw)


def draw_accuracy(epochs: Sequence[Epoch], best_epoch: int | None) -> Markup:
    numbers = [row.epoch for row in epochs]
    valid = [100 * row.validation_accuracy for row in epochs]

    def draw(axes: "Axes") -> None:
        plot_curve(axes, numbers, valid, SECOND, "validation", "--")
        finish_epochs(axes, numbers, best_epoch)

    return draw_chart("accuracy", f"Accuracy in percent by epoch. {tell_curve('Validation', valid)}", draw)


def draw_objective(tuning: Tuning) -> Markup:
    """Each trial's objective in the order they started, and the best so far."""
    started = sorted(tuning.trials, key=lambda trial: (trial.started is None, trial.started, trial.name))
    measured = [(i, trial.objective) for i, trial in enumerate(started, 1) if trial.objective is not None]
    x, y = [i for i, _ in measured], [value for _, value in measured]
    better = max if tuning.objective_type == "Maximize" else min
    best = [better(y[: i + 1]) for i in range(len(y))]
    metric = tuning.objective_metric or "objective"

    def draw(axes: "Axes") -> None:
        axes.step([*x, len(started)], [*best, best[-1]], where="post", color=FIRST, label="best so far")
        axes.plot(x, y, "o", color=SECOND, markersize=6, label="trial")
        without = [i for i, trial in enumerate(started, 1) if trial.objective is None]
        if without:
            floor = [0.0] * len(without)
            axes.plot(
                without,
                floor,
                "x",
                color=BAD,
                markersize=6,
                label="no objective",
                transform=axes.get_xaxis_transform(),
                clip_on=False,
            )
        axes.set_xlim(0.5, len(started) + 0.5)
        finish(axes, "Trial, in order of start")

    winner = find_best(tuning.trials)
    told = f" The best of {len(started)} trials is {winner.name} with {say_value(winner.objective)}." if winner else ""
    return draw_chart("objective", f"{metric} by trial.{told}", draw)


def plot_curve(axes: "Axes", x: Sequence[int], y: Sequence[float], colour: str, label: str, style: str) -> None:
    if any(map(math.isfinite, y)):
        axes.plot(x, y, style, marker="o" if len(x) <= 30 else None, color=colour, label=label)


def finish_epochs(axes: "Axes", numbers: Sequence[int], best_epoch: int | None) -> None:
    if best_epoch is not None and best_epoch in numbers:
        axes.axvline(best_epoch, color=SOFT, linewidth=1, linestyle=":", label="best epoch", zorder=1)
    axes.set_xlim(min(numbers) - 0.5, max(numbers) + 0.5)
    finish(axes, "Epoch")


def finish(axes: "Axes", x_label: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.grid(visible=False, axis="x")
    axes.tick_params(length=0, pad=5)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(x_label)
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.figure.legend(
            handles,
            labels,
            loc="outside upper left",
            ncols=3,
            borderpad=0,
            borderaxespad=0,
            handlelength=2,
            columnspacing=1.4,
        )


def tell_curve(name: str, values: Sequence[float]) -> str:
    """A chart in words, for those who do not see it."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return f"{name}: never measured."
    return f"{name}: {say_value(known[0])} at first, {say_value(known[-1])} at last."


def draw_chart(name: str, description: str, draw: Callable[["Axes"], None]) -> Markup:
    import io

    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # No pyplot: it would look for a display and keep every figure.
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=SIZE, layout="constrained")
        figure.patch.set_visible(False)
        axes = figure.add_subplot()
        axes.patch.set_visible(False)
        draw(axes)
        text = io.StringIO()
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None})
    return inline_svg(text.getvalue(), name, description)


def inline_svg(document: str, name: str, description: str) -> Markup:
    """matplotlib's SVG file as an element of an HTML page that holds others of its kind."""
    view_box = re.search(r'viewBox="([^"]+)"', document)
    body = document[document.index(">", document.index("<svg")) + 1 :]
    # The metadata is about matplotlib, and its <style> would apply to the whole page: the page has a rule instead.
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.DOTALL)
    # Every chart calls its parts axes_1, patch_2, ...: only those that something points to keep a name, of their own.
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', body))
    wanted = {one or other for one, other in used}
    body = re.sub(r' id="([^"]+)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in wanted else "", body)
    body = re.sub(r"(href=\"#|url\(#)", rf"\g<1>{name}-", body)
    body = re.sub("|".join(VARIABLES), lambda found: VARIABLES[found[0]], body)
    body = re.sub(r">\s+<", "><", body)
    # The font is the page's.
    body = re.sub(r"font: ([^;\"]*?)(\d+)px [^;\"]*", r"font-size: \2px", body)
    return Markup(
        f'<svg class="chart" role="img" aria-label="{escape(description)}" viewBox="{view_box[1] if view_box else ""}">'
        f"{body}"
    )


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
