"""dogbreed train: train on all images, by default or with what a tuning job found best."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from dogbreed_cli import jobs, requests
from dogbreed_cli.console import human_time, table
from dogbreed_cli.costs import JobCost, check_budget, price_training, say_cost
from dogbreed_cli.errors import DogbreedError, QualityGateMissed, UsageError
from dogbreed_cli.features import as_members, complete, features_option, plan_features, say_plan
from dogbreed_cli.following import follow
from dogbreed_cli.hyperparameters import decode, say_epochs
from dogbreed_cli.inputs import send_inputs
from dogbreed_cli.masking import hide_secrets
from dogbreed_cli.names import complete_names
from dogbreed_cli.options import Limit
from dogbreed_cli.pricing import open_prices
from dogbreed_cli.rule_watch import RuleWatch, rule_option
from dogbreed_cli.source import find_commit
from dogbreed_cli.tags import COMMIT_TAG, TUNING_JOB_TAG
from dogbreed_cli.waiting import Patience, check_attach, command_line, detachable, job_options

if TYPE_CHECKING:
    from dogbreed_cli.config import Config
    from dogbreed_cli.context import App
    from dogbreed_cli.session import Session


@click.command(
    epilog="""\b
Examples:
  dogbreed train --from-best
  dogbreed train --lr 0.003 --batch-size 64 --epochs 20
  dogbreed train --from-best --min-accuracy 0.8      # or exit code 6
  dogbreed train --epochs 50 --stop-on-rule Overfit  # then exit code 6
  dogbreed train --from-best --spot --budget 5 --yes # or exit code 7
  dogbreed train --attach dogbreed-train-261122-194300"""
)
@click.option("--from-best", is_flag=True, help="Use the best hyperparameters of the latest completed tuning job.")
@click.option(
    "--tuning-job", metavar="NAME", shell_complete=complete_names("tuning job"), help="Use the best of this tuning job."
)
@click.option("--epochs", type=int, help="At most; train.patience may end it earlier.")
@click.option("--lr", type=float, help="Learning rate.")
@click.option("--batch-size", type=int, help="Images in one step.")
@click.option("--unfreeze", type=click.Choice(["none", "layer4", "all"]), help="What learns beside the head.")
@features_option
@click.option("--instance-type", help="For example ml.g4dn.xlarge; of no effect on this machine.")
@click.option("--instance-count", type=int, help="More than one: torchrun; each process has batches of its own.")
@click.option("--spot/--no-spot", default=None, help="Spot instances: cheaper, may be interrupted.")
@click.option("--max-run", type=int, metavar="SECONDS", help="The job is stopped after this time.")
@click.option("--min-accuracy", type=Limit(0, 1), help="Quality gate on the test accuracy (exit code 6).")
@rule_option
@click.option("--name", help="The job's name (default: PROJECT-train-<time>).")
@job_options
@click.pass_obj
def train(
    app: App,
    from_best: bool,
    tuning_job: str | None,
    min_accuracy: float | None,
    stop_on_rule: tuple[str, ...],
    name: str | None,
    dry_run: bool,
    budget: float | None,
    yes: bool,
    features: bool | None,
    wait: bool,
    timeout: float | None,
    attach: str | None,
    **options: Any,
) -> None:
    """Train the classifier on all training images and test it.

    Hyperparameters come from the config; --from-best or --tuning-job puts the best trial's over them, and --lr,
    --batch-size and --epochs have the last word.
    """
    config = app.config(train=options, features={"enabled": features})
    if min_accuracy is not None and not wait:
        raise UsageError("--min-accuracy needs the end of the job", "--no-wait returns before it", "leave one out")
    if stop_on_rule and not wait:
        raise UsageError("--stop-on-rule judges the job while it runs", "--no-wait does not look", "leave one out")
    if name:
        jobs.check_name(name, config.project.name)
    check_attach(attach, wait)
    session = app.session(config)
    client = session.client("sagemaker")
    prices, cost, features_cost, patience = open_prices(session), None, None, Patience(timeout)
    if attach:
        name = attach
    else:
        if from_best and not tuning_job:
            tuning_job = jobs.latest_tuning_job(client, config.project.name)
        hyperparameters = choose_hyperparameters(app, client, tuning_job, options)
        origin = {TUNING_JOB_TAG: tuning_job, COMMIT_TAG: find_commit()}
        made_from = {tag: value for tag, value in origin.items() if value}
        site = session.training_site()
        plan = plan_features(config, session, site, set(hyperparameters), prices)

        def build(name: str) -> dict[str, Any]:
            return requests.training(config, site, plan.inputs, name, hyperparameters, made_from)

        stem = f"{config.project.name}-train"
        request = build(name or stem)
        cost, features_cost = price_training(prices, request), plan.cost
        members = as_members(request, cost, features_cost)
        check_budget(cost, budget, features_cost)
        if dry_run:
            sent = [hide_secrets(one) for one in (plan.request, request) if one]
            app.console.write_json({"dry_run": sent, **members})
            return
        say_plan(app, plan)
        show_plan(app, config, session, hyperparameters, cost)
        session.confirm_charge(yes)
        session.prepare()
        send_inputs(config, session, site, plan.inputs)
        complete(app, session, plan, patience, prices)
        if name:
            create(session, build(name))
        else:
            name = jobs.create_named(client, partial(session.create, "TrainingJob"), build, stem)
        app.console.note(f"training job {name}")
    again = command_line("train", "--attach", name)
    if not wait:
        data = {"training_job": name, "status": "InProgress", **members}
        app.console.result(data, name)
        app.console.note(f"to follow it: {again}")
        return
    watch = RuleWatch(stop_on_rule)
    with detachable(again):
        description = follow(app, session, name, patience, prices, watch)
    if watch.fired and description["TrainingJobStatus"] == "Stopped":
        raise QualityGateMissed(f"{watch.fired.rule} stopped {name}", watch.fired.evidence, watch.fired.advice)
    finish(app, description, min_accuracy, cost, features_cost)


def show_plan(
    app: App, config: Config, session: Session, hyperparameters: dict[str, Any], cost: JobCost | None
) -> None:
    place = session.describe_place(config.train.instance_type)
    epochs = hyperparameters.get("epochs", config.train.epochs)
    app.console.note(
        f"{config.model.backbone} (weights {config.model.weights}), {say_epochs(epochs)} on {place}, "
        f"at most {human_time(config.train.max_run)}"
    )
    if cost:
        app.console.note(say_cost(cost))


def create(session: Session, request: dict[str, Any]) -> None:
    if not jobs.create_job(session.client("sagemaker"), partial(session.create, "TrainingJob"), request):
        name = request["TrainingJobName"]
        fix = f"choose another --name, or follow that one: {command_line('train', '--attach', name)}"
        raise DogbreedError(f"there is a training job {name} already", "a name is used once", fix)


def choose_hyperparameters(app: App, client: Any, tuning_job: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those that the config does not say: the best of the tuning job, and over them what was given."""
    from dogbreed_cli.report.wording import say_values

    best = {}
    if tuning_job:
        best = best_hyperparameters(client, tuning_job)
        app.console.note(f"best of {tuning_job}: {say_values(best)}")
    given = {"lr": options["lr"], "batch-size": options["batch_size"], "epochs": options["epochs"]}
    return best | {key: value for key, value in given.items() if value is not None}


def best_hyperparameters(client: Any, tuning_job: str) -> dict[str, Any]:
    best = jobs.describe_tuning_job(client, tuning_job).get("BestTrainingJob")
    if not best:
        raise DogbreedError(f"tuning job {tuning_job} has no best trial", "no trial of it reached an objective")
    return decode(best["TunedHyperParameters"])


def finish(
    app: App,
    description: dict[str, Any],
    min_accuracy: float | None,
    cost: JobCost | None,
    features_cost: JobCost | None,
) -> None:
    name, metrics = description["TrainingJobName"], jobs.metrics(description)
    reason = description.get("FailureReason") or description["SecondaryStatus"]
    jobs.require_completed("training job", name, description["TrainingJobStatus"], reason)
    accuracy, split = metrics.get("test:accuracy"), "test"
    if accuracy is None:
        accuracy, split = metrics.get("validation:accuracy"), "validation"
    data = {
        "training_job": name,
        "status": "Completed",
        "metrics": metrics,
        "hyperparameters": decode(description["HyperParameters"]),
        "model": description["ModelArtifacts"]["S3ModelArtifacts"],
        "billable_seconds": description.get("BillableTimeInSeconds"),
        **as_members(description, cost, features_cost),
    }
    shown = table(["metric", "value"], [[key, f"{value:.4f}"] for key, value in sorted(metrics.items())])
    app.console.result(data, shown, f"model: {data['model']}")
    if min_accuracy is not None and (accuracy is None or accuracy < min_accuracy):
        found = "no accuracy" if accuracy is None else f"{split} accuracy {accuracy:.4f}"
        why, fix = "the model was saved all the same", "see `dogbreed report` for what it takes for what"
        raise QualityGateMissed(f"{found} is below --min-accuracy {min_accuracy}", why, fix)
    app.console.note("next: dogbreed report, then dogbreed deploy")
