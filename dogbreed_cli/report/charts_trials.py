"""A tuning job in pictures: its history, all hyperparameters side by side, and each of them alone."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from dogbreed_cli.report.charts import BAD, FIRST, LINE, SECOND, SOFT, draw_chart, finish, finish_counted, label_decades
from dogbreed_cli.report.importance import is_number, measured_trials, varied_names
from dogbreed_cli.report.trials import Trial, Tuning, find_best
from dogbreed_cli.report.wording import say_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# A chart for each up to here; more would be a page of their own.
MOST_SLICES = 6
# Values of a hyperparameter that is no number, or ticks on an axis.
MOST_TICKS = 5
# Above this ratio of the largest to the smallest value an axis is logarithmic although the tuning job's was not.
WIDE = 50


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
        finish_counted(axes, "Trial, in order of start")

    winner = find_best(tuning.trials)
    told = f" The best of {len(started)} trials is {winner.name} with {say_value(winner.objective)}." if winner else ""
    return draw_chart("objective", f"{metric} by trial.{told}", draw)


def draw_parallel(tuning: Tuning) -> Markup:
    """A line for each trial through its hyperparameters to its objective; the best one in colour, the worse paler."""
    trials = measured_trials(tuning)
    names = varied_names(trials)
    metric = tuning.objective_metric or "objective"
    scales = [Scale([trial.hyperparameters[name] for trial in trials], is_log(tuning, name, trials)) for name in names]
    scales.append(Scale([trial.objective for trial in trials], log=False))
    labels = [*names, metric]

    def draw(axes: "Axes") -> None:
        for rank, trial in reversed(list(enumerate(trials))):
            values = [*(trial.hyperparameters[name] for name in names), trial.objective]
            heights = [scale.place(value) for scale, value in zip(scales, values, strict=True)]
            look: dict[str, Any] = (
                {"color": FIRST, "linewidth": 2.4} if rank == 0 else {"color": SECOND, "linewidth": 1}
            )
            fade = 1.0 if rank == 0 else 0.75 - 0.5 * rank / len(trials)
            axes.plot(range(len(values)), heights, alpha=fade, label="best" if rank == 0 else None, **look)
        for x, scale in enumerate(scales):
            axes.axvline(x, color=LINE, linewidth=1, zorder=1)
            for value in scale.ticks():
                axes.annotate(
                    say_value(value),
                    (x, scale.place(value)),
                    (4, 2),
                    textcoords="offset points",
                    fontsize=7.5,
                    color=SOFT,
                )
        axes.set_xticks(range(len(labels)), labels)
        axes.set_yticks([])
        axes.set_xlim(-0.15, len(labels) - 0.55)
        axes.margins(y=0.08)
        finish(axes, "")

    told = f"A line for each of {len(trials)} trials through {', '.join(labels)}. The table of trials has the numbers."
    return draw_chart("parallel", f"Parallel coordinates. {told}", draw)


def draw_slices(tuning: Tuning) -> list[tuple[str, Markup]]:
    """The objective over each hyperparameter that varied, by its name."""
    trials = measured_trials(tuning)
    return [(name, draw_slice(tuning, trials, name, i)) for i, name in enumerate(varied_names(trials)[:MOST_SLICES])]


def draw_slice(tuning: Tuning, trials: Sequence[Trial], name: str, number: int) -> Markup:
    values = [trial.hyperparameters[name] for trial in trials]
    objectives = [trial.objective for trial in trials if trial.objective is not None]
    numbers = all(map(is_number, values))
    shown = values if numbers else [str(value) for value in values]
    metric = tuning.objective_metric or "objective"

    def draw(axes: "Axes") -> None:
        if is_log(tuning, name, trials):
            axes.set_xscale("log")
            label_decades(axes.xaxis, values)
        axes.plot(shown[1:], objectives[1:], "o", color=SECOND, markersize=6, label="trial")
        axes.plot(shown[:1], objectives[:1], "o", color=FIRST, markersize=8, label="best")
        finish(axes, name)

    told = f"{len(trials)} trials, the best one with {say_value(values[0])}."
    return draw_chart(f"slice{number}", f"{metric} by {name}. {told}", draw)


def is_log(tuning: Tuning, name: str, trials: Sequence[Trial]) -> bool:
    """As the tuning job searched; without its ranges, where the values differ by orders of magnitude."""
    values = [trial.hyperparameters[name] for trial in trials]
    if not all(map(is_number, values)) or min(values) <= 0:
        return False
    span = tuning.ranges.get(name)
    return span.log if span else max(values) / min(values) > WIDE


class Scale:
    """An axis of the parallel coordinates: `place` says how high a value stands, from 0 to 1."""

    def __init__(self, values: Sequence[Any], log: bool):
        self.numbers = all(map(is_number, values))
        self.log = log
        self.values = sorted(set(values)) if self.numbers else sorted(set(values), key=str)
        self.low, self.high = (self.bend(self.values[0]), self.bend(self.values[-1])) if self.numbers else (0.0, 0.0)

    def bend(self, value: float) -> float:
        import math

        return math.log(value) if self.log else float(value)

    def place(self, value: Any) -> float:
        if not self.numbers:
            return (self.values.index(value) + 0.5) / len(self.values)
        return (self.bend(value) - self.low) / (self.high - self.low) if self.high > self.low else 0.5

    def ticks(self) -> list[Any]:
        if len(self.values) <= MOST_TICKS:
            return self.values
        return [self.values[0], self.values[len(self.values) // 2], self.values[-1]]
