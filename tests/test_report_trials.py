"""Which hyperparameters mattered: trials as Optuna sees them, and where nothing can be said."""

import json
import re

import pytest
from report_artifacts import TRIALS, build_full, describe_job, describe_trial, describe_tuning, render, write_artifacts
from report_watched import RANGES, build_watched

from dogbreed_cli import report
from dogbreed_cli.report.charts_trials import draw_slices
from dogbreed_cli.report.importance import measure_importance, why_no_importance
from dogbreed_cli.report.trials import Span, read_tuning


def tuned(*rows, **config):
    """A tuning job of trials given as (objective, hyperparameters)."""
    trials = [
        describe_trial(1, value, TrainingJobName=f"t-{n}", TunedHyperParameters={k: str(v) for k, v in given.items()})
        for n, (value, given) in enumerate(rows)
    ]
    settings = describe_tuning()["HyperParameterTuningJobConfig"] | config
    return read_tuning(describe_tuning(HyperParameterTuningJobConfig=settings), trials)


def test_the_hyperparameter_that_decides_is_the_most_important():
    rows = [((n % 4) ** 2, {"lr": 10.0 ** -(n % 4 + 1), "batch-size": 32 * (n % 3 + 1)}) for n in range(24)]
    found = measure_importance(tuned(*rows, ParameterRanges=RANGES))
    assert list(found.shares) == ["lr", "batch-size"]
    assert found.shares["lr"] > 0.9
    assert sum(found.shares.values()) == pytest.approx(1)
    assert (found.trials, found.trusted) == (24, True)
    assert found == measure_importance(tuned(*rows, ParameterRanges=RANGES))


def test_ranges_are_read_from_the_tuning_job():
    assert tuned(ParameterRanges=RANGES).ranges == {
        "lr": Span(1e-5, 0.1, log=True),
        "batch-size": Span(choices=(32, 64, 128, 256)),
        "optimizer": Span(choices=("adamw", "sgd")),
    }


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([(0.5, {"lr": 1, "b": 2})], "1 of 1 trials"),
        ([(0.5, {"lr": 1, "b": 2}), (None, {"lr": 2, "b": 3})], "1 of 2 trials"),
        ([(0.5, {"lr": 1}), (0.6, {"lr": 1})], "the same hyperparameters"),
        ([(0.5, {"lr": 1, "b": 2}), (0.6, {"lr": 2, "b": 2})], "Only one hyperparameter varied among the trials, lr"),
        ([(0.5, {"lr": 1, "b": 2}), (0.5, {"lr": 2, "b": 3})], "the same objective"),
    ],
)
def test_where_nothing_can_be_said_it_is_said(rows, why, tmp_path):
    assert why in why_no_importance(tuned(*rows))


def test_trials_outside_of_the_ranges_and_of_mixed_kinds_are_weighed_all_the_same():
    rows = [(n / 7 % 1, {"lr": 5.0 * (n + 1), "layers": "auto" if n % 2 else n}) for n in range(12)]
    found = measure_importance(tuned(*rows, ParameterRanges=RANGES))
    assert set(found.shares) == {"lr", "layers"}


def test_page_names_the_evaluator_and_what_is_too_few(tmp_path):
    watched = build_watched(tmp_path)
    shown = " ".join(render(watched, tmp_path / "out").sections["trials"].split())
    assert "fANOVA (optuna.importance.FanovaImportanceEvaluator)" in shown and "over 12 trials" in shown
    assert "Too few" not in shown
    document = json.loads((tmp_path / "out/metrics.json").read_text())
    assert next(iter(document["importance"]["shares"])) == "lr"
    rows = [
        describe_trial(n, n / 10, TunedHyperParameters={"lr": str(n), "batch-size": str(n % 2)}) for n in range(1, 5)
    ]
    few = report.build(write_artifacts(tmp_path / "b"), describe_job(), describe_tuning(), rows)
    assert few.importance.trusted is False
    assert "Too few trials to trust" in render(few, tmp_path / "few").sections["trials"]
    assert "Only one hyperparameter varied" in render(build_full(tmp_path / "c"), tmp_path / "one").sections["trials"]


def test_an_axis_of_little_more_than_a_decade_has_numbers_to_read_it_by():
    rows = [(lr, {"lr": lr, "batch-size": 32}) for lr in (1.2e-4, 4e-4, 4.1e-3)]
    [(name, chart)] = draw_slices(tuned(*rows, ParameterRanges=RANGES))
    shown = re.findall(r">(0\.0\d+)<", chart)
    assert name == "lr" and {"0.0003", "0.001", "0.003"} <= set(shown)


def test_charts_of_trials_with_words_for_hyperparameters(tmp_path):
    rows = [
        describe_trial(n, n / 10, TunedHyperParameters={"optimizer": f'"{name}"', "lr": str(n)})
        for n, name in enumerate(("adamw", "sgd", "$lbfgs$", "adamw"), 1)
    ]
    built = report.build(write_artifacts(tmp_path / "a"), describe_job(), describe_tuning(), [*rows, TRIALS[1]])
    page = render(built, tmp_path / "out")
    assert "$lbfgs$" in page.sections["trials"]
    assert sum(label.startswith("validation:loss by ") for label in page.labels) == 3
