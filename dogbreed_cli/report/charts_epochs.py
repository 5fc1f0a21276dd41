"""Learning curves."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from dogbreed_cli.report.artifacts import Epoch
from dogbreed_cli.report.charts import FIRST, SECOND, SOFT, draw_chart, finish_counted, plot_curve, tell_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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


def finish_epochs(axes: "Axes", numbers: Sequence[int], best_epoch: int | None) -> None:
    if best_epoch is not None and best_epoch in numbers:
        axes.axvline(best_epoch, color=SOFT, linewidth=1, linestyle=":", label="best epoch", zorder=1)
    axes.set_xlim(min(numbers) - 0.5, max(numbers) + 0.5)
    finish_counted(axes, "Epoch")
