"""dogbreed tune: try hyperparameters on a fraction of the images, several trials at a time."""

from __future__ import annotations

import re
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from dogbreed_cli import jobs, requests
from dogbreed_cli.console import human_time, table
from dogbreed_cli.costs import JobCost, check_budget, price_tuning, say_cost
from dogbreed_cli.errors import JobFailed, NotFound, UsageError
from dogbreed_cli.features import (
    as_members,
    complete,
    features_job_of,
    features_option,
    plan_features,
    say_plan,
)
from dogbreed_cli.following import poll
from dogbreed_cli.hyperparameters import say_epochs
from dogbreed_cli.inputs import send_inputs
from dogbreed_cli.masking import hide_secrets
from dogbreed_cli.names import complete_names
from dogbreed_cli.pricing import open_prices
from dogbreed_cli.report.trials import Trial, as_row, columns, read_trial, read_trials
from dogbreed_cli.waiting import Patience, check_attach, command_line, detachable, job_options

if TYPE_CHECKING:
    from dogbreed_cli.config import Config
    from dogbreed_cli.context import App
    from dogbreed_cli.session import Session

# Columns of a terminal: for the whole table, and for the short one with its times.
WIDE, MEDIUM = 170, 95


@click.command(
    epilog="""\b
Examples:
  dogbreed tune --max-jobs 4
  dogbreed tune --max-jobs 8 --max-parallel-jobs 2 --strategy Random
  dogbreed --set tune.ranges.lr.max=0.01 tune --no-wait
  dogbreed tune --attach dogbreed-tune-261122-194300"""
)
@click.option("--max-jobs", type=int, help="Trials in all.")
@click.option("--max-parallel-jobs", type=int, help="Trials at a time.")
@click.option("--strategy", type=click.Choice(["Bayesian", "Random", "Grid", "Hyperband"]))
@click.option("--data-fraction", type=float, help="Share of the training images each trial sees.")
@click.option("--epochs", type=int, help="Epochs of each trial.")
@click.option("--early-stopping/--no-early-stopping", default=None, help="Stop trials worse than the median.")
@click.option(
    "--warm-start",
    multiple=True,
    metavar="JOB",
    shell_complete=complete_names("tuning job"),
    help="Learn from an earlier tuning job; up to five times.",
)
@features_option
@click.option("--spot/--no-spot", default=None, help="Spot instances: cheaper, may be interrupted.")
@job_options
@click.pass_obj
def tune(
    app: App,
    warm_start: tuple[str, ...],
    features: bool | None,
    spot: bool | None,
    dry_run: bool,
    budget: float | None,
    yes: bool,
    wait: bool,
    timeout: float | None,
    attach: str | None,
    **options: Any,
) -> None:
    """Find good hyperparameters.

    Every hyperparameter that has a range in the config (lr and batch-size by default) is tuned; the trials see only a
    fraction of the training images. `dogbreed train --from-best` then uses what was found.
    """
    config = app.config(tune=options, train={"spot": spot}, features={"enabled": features})
    check_attach(attach, wait)
    session = app.session(config)
    client = session.client("sagemaker")
    prices, cost, features_cost, patience = open_prices(session), None, None, Patience(timeout)
    if attach:
        name = attach
    else:
        check_ranges(config)
        site = session.training_site()
        plan = plan_features(config, session, site, set(config.tune.ranges), prices)

        def build(name: str) -> dict[str, Any]:
            return requests.tuning(config, site, plan.inputs, name, warm_start)

        stem = f"{config.project.name}-tune"
        request = build(stem)
        cost, features_cost = price_tuning(prices, request), plan.cost
        members = as_members(request["TrainingJobDefinition"], cost, features_cost)
        check_budget(cost, budget, features_cost)
        if dry_run:
            sent = [hide_secrets(one) for one in (plan.request, request) if one]
            app.console.write_json({"dry_run": sent, **members})
            return
        for parent in warm_start:
            jobs.describe_tuning_job(client, parent)  # says which one is not there, before anything is sent
        say_plan(app, plan)
        show_plan(app, config, session, cost)
        session.confirm_charge(yes)
        session.prepare()
        send_inputs(config, session, site, plan.inputs)
        complete(app, session, plan, patience, prices)
        name = jobs.create_named(client, partial(session.create, "HyperParameterTuningJob"), build, stem)
        app.console.note(f"tuning job {name}")
    again = command_line("tune", "--attach", name)
    if not wait:
        data = {"tuning_job": name, "status": "InProgress", **members}
        app.console.result(data, name)
        app.console.note(f"to follow it: {again}")
        return
    with detachable(again):
        description, features_job = follow(app, session, name, patience)
    finish(app, session, description, features_job, cost, features_cost)


def check_ranges(config: Config) -> None:
    """Raises UsageError for a search among trainings that are all the same."""
    if config.train.optimizer == "lbfgs" and (vain := sorted({"lr", "batch-size"} & set(config.tune.ranges))):
        fix = "give tune.ranges others, such as weight-decay, or take another train.optimizer"
        raise UsageError(
            f"optimizer lbfgs has no {' and no '.join(vain)} to tune", "it finds the optimum by itself", fix
        )


def show_plan(app: App, config: Config, session: Session, cost: JobCost | None) -> None:
    tune, place = config.tune, session.describe_place(config.train.instance_type)
    app.console.note(
        f"{tune.trials} trial{'s' * (tune.trials != 1)} ({tune.strategy}), "
        f"{min(tune.max_parallel_jobs, tune.trials)} at a time on {place}, "
        f"{say_epochs(tune.epochs)} on {tune.data_fraction:.0%} of the training images, at most "
        f"{human_time(tune.max_run)} each; {tune.objective_type.lower()} {tune.objective}"
    )
    if cost:
        app.console.note(say_cost(cost))


def follow(app: App, session: Session, name: str, patience: Patience) -> tuple[dict[str, Any], tuple[Trial, ...]]:
    """A live table on a terminal; elsewhere a line for each trial that ends. The last description, and the row of the
    features job."""
    client, told = session.client("sagemaker"), set[str]()

    def describe() -> dict[str, Any]:
        return jobs.describe_tuning_job(client, name)

    description: dict[str, Any] = {}
    features_job: tuple[Trial, ...] | None = None
    with app.console.live() as redraw:
        for description in poll(describe, "HyperParameterTuningJobStatus", session.poll_seconds, patience):
            if features_job is None:
                features_job = find_features_job(client, description)
            trials = trials_of(client, description)
            redraw(draw(features_job + trials, app.console.stderr.width, f"{name}: {progress(description)}"))
            for trial in trials:
                # A trial's objective is known a moment after its end.
                known = trial.objective is not None or trial.status in ("Failed", "Stopped")
                if known and trial.status in jobs.ENDED and trial.name not in told:
                    told.add(trial.name)
                    app.console.note(say(trial, description))
    return description, features_job or ()


def progress(description: dict[str, Any]) -> str:
    counters = description["TrainingJobStatusCounters"]
    ended = sum(counters[kind] for kind in ("Completed", "Stopped", "NonRetryableError"))
    total = description["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"]
    return f"{description['HyperParameterTuningJobStatus']}, {ended} of {total} trials ended"


def say(trial: Trial, description: dict[str, Any]) -> str:
    metric = description["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"]
    chosen = say_choice(trial)
    if trial.objective is None:
        return f"{trial.name} {trial.status}: {chosen}  {jobs.explain_failure(trial.failure_reason or '')[0]}"
    took = human_time(trial.elapsed_seconds or 0)
    return f"{trial.name} {trial.status}: {chosen}  {metric}={trial.objective:.4f}  ({took})"


def say_choice(trial: Trial) -> str:
    return " ".join(f"{key}={show(value)}" for key, value in trial.hyperparameters.items())


def trials_of(client: Any, description: dict[str, Any]) -> tuple[Trial, ...]:
    kind = description["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["Type"]
    return read_trials(jobs.list_trials(client, description["HyperParameterTuningJobName"]), kind)


def find_features_job(client: Any, description: dict[str, Any]) -> tuple[Trial, ...]:
    """The job whose features the trials read, as a row of the table; none where they read images."""
    name = features_job_of(description["TrainingJobDefinition"])
    try:
        return (read_trial(jobs.describe_training_job(client, name)),) if name else ()
    except NotFound:  # of another account's making
        return ()


def draw(trials: tuple[Trial, ...], width: int, title: str | None = None) -> Any:
    """The original project's table, best first; on a narrow terminal with shorter heads, names and times."""
    names = list(columns(trials))
    if width >= WIDE:
        return table(names, [[show(as_row(trial).get(name)) for name in names] for trial in trials], title)
    if width < MEDIUM:
        names = [name for name in names if name not in ("TrainingStartTime", "TrainingEndTime")]
    heads = [re.sub(r"(?<=[a-z])(?=[A-Z])", "\n", name) for name in names]
    return table(heads, [[show_short(as_row(trial).get(name)) for name in names] for trial in trials], title)


def show_short(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value.astimezone():%H:%M:%S}"
    # A trial's name is the tuning job's, its number and eight characters.
    return show(re.sub(r"^.*-(\d{3}-\w{8}|features-\w{12}(-\d+)?)$", r"\1", value) if isinstance(value, str) else value)


def show(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.5g}"
    return f"{value.astimezone():%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else str(value)


def finish(
    app: App,
    session: Session,
    description: dict[str, Any],
    features_job: tuple[Trial, ...],
    cost: JobCost | None,
    features_cost: JobCost | None,
) -> None:
    name, status = description["HyperParameterTuningJobName"], description["HyperParameterTuningJobStatus"]
    trials = trials_of(session.client("sagemaker"), description)
    # SageMaker's word, which `train --from-best` takes: a trial that was stopped is never the best, however good.
    named = description.get("BestTrainingJob", {}).get("TrainingJobName")
    best = next((trial for trial in trials if trial.name == named), None)
    if status == "Failed" or best is None:
        reason = description.get("FailureReason") or next((t.failure_reason for t in trials if t.failure_reason), "")
        log = f"see `dogbreed logs {trials[0].name if trials else name}`"
        raise jobs.failed(f"tuning job {name} ended {status}", reason, log)
    data = {
        "tuning_job": name,
        "status": status,
        "best": {"training_job": best.name, "hyperparameters": best.hyperparameters, "objective": best.objective},
        "trials": [as_row(trial) for trial in trials],
        **as_members(description["TrainingJobDefinition"], cost, features_cost),
    }
    shown = draw(features_job + trials, app.console.stdout.width)
    app.console.result(data, shown, f"best: {say_choice(best)}")
    app.console.note("next: dogbreed train --from-best")
    if status != "Completed":
        raise JobFailed(f"tuning job {name} ended {status}", "the trials above are what it got to")
