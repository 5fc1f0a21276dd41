"""Charts as small inline SVG drawn by matplotlib: real text, the page's colours in light and dark, unique ids.

What is drawn stands by noun in charts_epochs.py, charts_trials.py, charts_classes.py and charts_activity.py.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from dogbreed_cli.report.wording import say_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

# matplotlib knows no CSS: it draws in these colours, which are then replaced by the page's variables.
INK, SOFT, LINE = "#010101", "#020202", "#030303"
FIRST, SECOND, BAD = "#040404", "#050505", "#060606"
# For what has no order: phases, tensors.
TINTS = ("#070707", "#080808", "#090909", "#0a0a0a", "#0b0b0b", "#0c0c0c", "#0d0d0d", "#0e0e0e")
VARIABLES = {
    INK: "currentColor",
    SOFT: "var(--soft)",
    LINE: "var(--line)",
    FIRST: "var(--first)",
    SECOND: "var(--second)",
    BAD: "var(--bad)",
    **{colour: f"var(--tint{number})" for number, colour in enumerate(TINTS)},
}
FEW_DECADES = 1000
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
# Letters of a legend that fit into one line.
LONGEST_LEGEND = 40
# Inches at 72 points: as wide as a telephone's screen, so that text is never scaled down.
SIZE = (4.1, 2.75)


def plot_curve(axes: "Axes", x: Sequence[float], y: Sequence[float], colour: str, label: str, style: str) -> None:
    if any(map(math.isfinite, y)):
        axes.plot(x, y, style, marker="o" if len(x) <= 30 else None, color=colour, label=label)


def finish_counted(axes: "Axes", x_label: str) -> None:
    """For a horizontal axis of whole numbers: epochs, trials, steps."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    if axes.get_yscale() == "linear":
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    finish(axes, x_label)


def label_decades(axis: "Axis", values: Sequence[float]) -> None:
    """For a logarithmic axis. Where there are few decades 3 stands among 1 and 10: else one number may be all."""
    from matplotlib.ticker import LogLocator

    if max(values) / min(values) < FEW_DECADES:
        axis.set_major_locator(LogLocator(subs=(1, 3)))
    axis.set_major_formatter(lambda value, place: say_value(value))
    axis.set_minor_formatter("")


def finish(axes: "Axes", x_label: str) -> None:
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
            ncols=3 if sum(map(len, labels)) <= LONGEST_LEGEND else 1,
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
