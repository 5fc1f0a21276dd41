"""Which hyperparameters mattered: a tuning job's trials as an Optuna study, judged by one of Optuna's evaluators."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dogbreed_cli.report.trials import Trial, Tuning

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

EVALUATOR = "fANOVA (optuna.importance.FanovaImportanceEvaluator)"
# Below this the forest that fANOVA fits has next to nothing to learn from: chance decides.
ENOUGH_TRIALS = 10


@dataclass(frozen=True)
class Importance:
    """`shares` of the objective's variance by hyperparameter, most first; they add up to 1."""

    evaluator: str
    trials: int
    trusted: bool
    shares: Mapping[str, float]


def why_no_importance(tuning: Tuning) -> str:
    """Why nothing can be said of these trials; "" where it can."""
    measured = measured_trials(tuning)
    if len(measured) < 2:
        return f"{len(measured)} of {len(tuning.trials)} trials reported an objective: there is nothing to compare."
    varied = varied_names(measured)
    if not varied:
        return "All trials had the same hyperparameters."
    if len(varied) == 1:
        return f"Only one hyperparameter varied among the trials, {varied[0]}: there is nothing to compare it with."
    if len({trial.objective for trial in measured}) == 1:
        return "All trials reached the same objective, so no hyperparameter made a difference."
    return ""


def measure_importance(tuning: Tuning) -> Importance:
    """Only where `why_no_importance` has nothing to say."""
    import optuna
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    measured = measured_trials(tuning)
    names = varied_names(measured)
    distributions = {name: find_distribution(name, tuning, measured) for name in names}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize" if tuning.objective_type == "Maximize" else "minimize")
    for trial in measured:
        params = {name: encode(trial.hyperparameters[name], distributions[name]) for name in names}
        study.add_trial(optuna.create_trial(params=params, distributions=distributions, value=trial.objective))
    # The seed: the same trials give the same page.
    shares = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    ranked = dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))
    return Importance(EVALUATOR, len(measured), len(measured) >= ENOUGH_TRIALS, ranked)


def measured_trials(tuning: Tuning) -> list[Trial]:
    return [trial for trial in tuning.trials if trial.objective is not None]


def varied_names(trials: list[Trial]) -> list[str]:
    """The hyperparameters that every one of the trials has, and not all the same; in the order of the alphabet."""
    shared = set(trials[0].hyperparameters).intersection(*(trial.hyperparameters for trial in trials))
    return sorted(name for name in shared if len({str(trial.hyperparameters[name]) for trial in trials}) > 1)


def find_distribution(name: str, tuning: Tuning, trials: list[Trial]) -> "BaseDistribution":
    """What the tuning job could have chosen. Trials of a parent job (warm start) may lie outside of it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    values = [trial.hyperparameters[name] for trial in trials]
    span = tuning.ranges.get(name)
    if not all(map(is_number, values)) or (span and span.choices):
        return CategoricalDistribution(tuple(sorted({str(value) for value in values})))
    low = min([*values, *([span.low] if span else [])])
    high = max([*values, *([span.high] if span else [])])
    return FloatDistribution(low, high, log=bool(span and span.log and low > 0))


def encode(value: Any, distribution: "BaseDistribution") -> Any:
    from optuna.distributions import CategoricalDistribution

    return str(value) if isinstance(distribution, CategoricalDistribution) else float(value)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
