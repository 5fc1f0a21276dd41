"""A report -> one HTML page that needs nothing else: no network, no script, no file beside it.

The words stand in template.html.j2 and the *_section.html.j2 that it includes, their parts in macros.html.j2, the looks
in page.css, the charts in charts*.py. All text is escaped by jinja2.
"""

from pathlib import Path
from typing import Any

from markupsafe import Markup

from dogbreed_cli.report import charts_activity, charts_classes, charts_epochs, charts_trials, trials, wording
from dogbreed_cli.report.importance import ENOUGH_TRIALS, measured_trials, varied_names
from dogbreed_cli.report.job import Job
from dogbreed_cli.report.report import Report
from dogbreed_cli.report.rule_lines import line_up
from dogbreed_cli.report.settings import list_settings

# Above this the matrix is a map and the most confused pairs, not a table of numbers.
MOST_CELLS = 30
SECTIONS = (
    ("result", "Result"),
    ("trials", "Trials"),
    ("curves", "Learning curves"),
    ("classes", "Classes"),
    ("calibration", "Calibration"),
    ("confusion", "Confusion"),
    ("mistakes", "Mistakes"),
    ("rules", "Rules"),
    ("time", "Time"),
    ("machine", "Machine"),
    ("tensors", "Tensors"),
    ("settings", "Settings"),
    ("job", "Job"),
)


def render(report: Report) -> str:
    rows = report.tuning.trials if report.tuning else ()
    return render_template(
        "template.html.j2",
        report=report,
        sections=SECTIONS,
        job=report.job,
        training=report.training,
        evaluation=report.evaluation,
        tuning=report.tuning,
        missing=report.missing,
        best_hyperparameters=wording.say_best(report) if report.tuning else None,
        trial_columns=trials.columns(rows),
        as_row=trials.as_row,
        charts=draw_charts(report),
        enough_trials=ENOUGH_TRIALS,
        # Weakest first: what a reader looks for. None stands last.
        weakest=sorted(
            report.evaluation.per_class if report.evaluation else (),
            key=lambda score: (score.recall is None, score.recall or 0.0, score.f1 or 0.0, score.label),
        ),
        phase_shares=[(phase.name, phase.share) for phase in report.phases],
        places=place_phases(report),
        rules=line_up(report),
        rules_told=wording.say_rules(report),
        cost=wording.say_cost(report.cost),
        status_shares=share_statuses(report.job),
        settings=list_settings(report),
    )


def render_template(name: str, **values: Any) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=wording.say_percent,
        interval=wording.say_interval,
        number=wording.say_number,
        value=wording.say_value,
        duration=wording.say_duration,
        step=wording.say_step,
        metric=wording.say_metric,
        moment=wording.say_moment,
        split=wording.say_split,
        breakable=make_breakable,
    )
    return environment.get_template(name).render(values)


def make_breakable(name: str) -> Markup:
    """A class like 086.American_eskimo_dog may go on in the next line after `_`, where there is no room for it."""
    return Markup("_<wbr>").join(name.split("_"))


def draw_charts(report: Report) -> dict[str, Any]:
    """By name a chart, or a list of (title, chart)."""
    drawn: dict[str, Any] = {"slices": [], "activity": [], "steps": [], "tensors": []}
    if report.tuning and report.tuning.best:
        drawn["objective"] = charts_trials.draw_objective(report.tuning)
        if varied_names(measured_trials(report.tuning)):
            drawn["parallel"] = charts_trials.draw_parallel(report.tuning)
            drawn["slices"] = charts_trials.draw_slices(report.tuning)
    if report.epochs:
        best_epoch = report.training.best_epoch if report.training else None
        drawn["loss"] = charts_epochs.draw_loss(report.epochs, best_epoch)
        drawn["accuracy"] = charts_epochs.draw_accuracy(report.epochs, best_epoch)
    if report.evaluation and report.evaluation.calibration:
        drawn["reliability"] = charts_classes.draw_reliability(report.evaluation.calibration)
    if report.evaluation and len(report.evaluation.confusion.classes) > MOST_CELLS:
        drawn["map"] = charts_classes.draw_map(report.evaluation.confusion)
    if report.activity:
        drawn["activity"] = charts_activity.draw_activity(report.activity, place_phases(report))
        drawn["steps"] = [(steps.mode, charts_activity.draw_steps(steps)) for steps in report.activity.steps]
    drawn["tensors"] = charts_activity.draw_tensors(report.tensors)
    return drawn


def place_phases(report: Report) -> dict[str, int]:
    """Where each phase of the timeline stands among the tints: as in the table of phases, what is not there behind."""
    known = [phase.name for phase in report.phases]
    shown = list(dict.fromkeys(one.phase for one in report.activity.stretches)) if report.activity else []
    return {name: place for place, name in enumerate(dict.fromkeys([*known, *shown])) if name in shown}


def share_statuses(job: Job) -> list[tuple[str, float]]:
    """A part for each transition, as the table below it has them: a job that was interrupted has `Training` twice."""
    total = sum(step.seconds or 0.0 for step in job.transitions)
    return [(step.status, (step.seconds or 0.0) / total) for step in job.transitions] if total else []
