"""A report -> one HTML page that needs nothing else: no network, no script, no file beside it.

The words stand in template.html.j2 (its parts in macros.html.j2), the looks in page.css, the charts in charts.py.
All text is escaped by jinja2.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from dogbreed_cli.report import charts, trials, wording
from dogbreed_cli.report.artifacts import Training
from dogbreed_cli.report.job import Job
from dogbreed_cli.report.report import Report
from dogbreed_cli.report.wording import NOTHING, say_cost, say_duration, say_moment, say_percent, say_split, say_value

# Above this the matrix is a map and the most confused pairs, not a table of numbers.
MOST_CELLS = 30


def render(report: Report) -> str:
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
        moment=wording.say_moment,
        split=wording.say_split,
        breakable=make_breakable,
    )
    rows = report.tuning.trials if report.tuning else ()
    return environment.get_template("template.html.j2").render(
        report=report,
        job=report.job,
        training=report.training,
        evaluation=report.evaluation,
        tuning=report.tuning,
        missing=report.missing,
        best_hyperparameters=wording.say_best(report) if report.tuning else None,
        trial_columns=trials.columns(rows),
        as_row=trials.as_row,
        charts=draw_charts(report),
        most_cells=MOST_CELLS,
        # Weakest first: what a reader looks for. None stands last.
        weakest=sorted(
            report.evaluation.per_class if report.evaluation else (),
            key=lambda score: (score.recall is None, score.recall or 0.0, score.f1 or 0.0, score.label),
        ),
        phase_shares=[(phase.name, phase.share) for phase in report.phases],
        cost=say_cost(report.cost),
        status_shares=share_statuses(report.job),
        settings=list_settings(report),
    )


def make_breakable(name: str) -> Markup:
    """A class like 086.American_eskimo_dog may go on in the next line after `_`, where there is no room for it."""
    return Markup("_<wbr>").join(name.split("_"))


def draw_charts(report: Report) -> dict[str, Markup]:
    drawn: dict[str, Markup] = {}
    if report.tuning and report.tuning.best:
        drawn["objective"] = charts.draw_objective(report.tuning)
    if report.epochs:
        best_epoch = report.training.best_epoch if report.training else None
        drawn["loss"] = charts.draw_loss(report.epochs, best_epoch)
        drawn["accuracy"] = charts.draw_accuracy(report.epochs, best_epoch)
    if report.evaluation and len(report.evaluation.confusion.classes) > MOST_CELLS:
        drawn["map"] = charts.draw_map(report.evaluation.confusion)
    return drawn


def share_statuses(job: Job) -> list[tuple[str, float]]:
    """A part for each transition, as the table below it has them: a job that was interrupted has `Training` twice."""
    total = sum(step.seconds or 0.0 for step in job.transitions)
    return [(step.status, (step.seconds or 0.0) / total) for step in job.transitions] if total else []


def list_settings(report: Report) -> dict[str, list[tuple[str, str]]]:
    """The tables of names and values, by what they are about."""
    job, training = report.job, report.training
    given = job.hyperparameters or (training.hyperparameters if training else {})
    return {
        "hyperparameters": say_sorted(given),
        "platform": say_sorted(job.platform),
        "model": list_model(training) if training else [],
        "versions": say_sorted(training.versions) if training else [],
        "image": [("image", say_value(job.image))],
        "job": [*list_facts(job), ("cost", say_cost(report.cost))],
    }


def list_model(training: Training) -> list[tuple[str, str]]:
    hook = training.debugger
    return [
        ("backbone", say_value(training.backbone)),
        ("weights", say_value(training.weights)),
        ("classes", str(len(training.classes))),
        *((f"{say_split(split)} images", str(count)) for split, count in training.counts.items()),
        ("best epoch", say_value(training.best_epoch)),
        ("BatchNorm calibrated", NOTHING if training.calibrated is None else say_yes(training.calibrated)),
        (
            "debugger hook",
            "attached" if hook.get("hook") else f"not attached: {hook.get('why') or 'no reason recorded'}",
        ),
    ]


def list_facts(job: Job) -> list[tuple[str, str]]:
    instances = (
        f"{job.instance_count or 1} \N{MULTIPLICATION SIGN} {job.instance_type}" if job.instance_type else NOTHING
    )
    return [
        ("name", job.name),
        ("status", job.status),
        ("failure reason", job.failure_reason or "none"),
        ("instances", instances),
        ("created", say_moment(job.created)),
        ("started", say_moment(job.started)),
        ("ended", say_moment(job.ended)),
        ("training time", say_duration(job.training_seconds)),
        ("billable time", say_duration(job.billable_seconds)),
        ("spot", f"yes, {say_percent(job.spot_saving)} of the time not billed" if job.spot else "no"),
        ("model", say_value(job.model)),
    ]


def say_sorted(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, say_value(value)) for name, value in sorted(values.items())]


def say_yes(fact: bool) -> str:
    return "yes" if fact else "no"
