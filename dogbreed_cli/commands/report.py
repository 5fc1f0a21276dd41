"""dogbreed report: what a training job says about itself, in the terminal and as one offline HTML page."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dogbreed_cli import jobs
from dogbreed_cli.errors import DogbreedError, UsageError
from dogbreed_cli.names import complete_names
from dogbreed_cli.parallel import in_parallel
from dogbreed_cli.requests import data_prefix
from dogbreed_cli.source import unpack
from dogbreed_cli.storage import explain_s3_errors, fetch, join_key, list_objects, make_s3_uri, parse_s3_uri
from dogbreed_cli.tags import TUNING_JOB_TAG

if TYPE_CHECKING:
    from rich.console import RenderableType

    from dogbreed_cli.config import Config
    from dogbreed_cli.context import App
    from dogbreed_cli.report import Comparison, Rate, Report
    from dogbreed_cli.report.artifacts import Prediction
    from dogbreed_cli.session import Session

# Of what AWS's Debugger or a user's own hook left; what dogbreed's leaves is a few MB.
LARGEST_FOLDER = 500_000_000
LARGEST_IMAGE = 64_000_000
# Of all classes, those that changed most, in the terminal.
CLASSES_SHOWN = 10


@click.command(
    epilog="""\b
Examples:
  dogbreed report
  dogbreed report --job dogbreed-train-261122-194300 --open
  dogbreed report --output reports/today
  dogbreed report --compare dogbreed-train-1 dogbreed-train-2"""
)
@click.option(
    "--job",
    metavar="NAME",
    shell_complete=complete_names("training job"),
    help="Training job (default: the latest completed one).",
)
@click.option(
    "--tuning-job",
    metavar="NAME",
    shell_complete=complete_names("tuning job"),
    help="Tuning job (default: the one that the training job was made from).",
)
@click.option(
    "--compare",
    "compared",
    nargs=2,
    metavar="JOB JOB",
    shell_complete=complete_names("training job"),
    help="Show two jobs side by side, as compare.html.",
)
@click.option("--output", type=click.Path(path_type=Path), default=Path("report"), show_default=True, metavar="DIR")
@click.option("--open", "open_page", is_flag=True, help="Open the page in a browser.")
@click.pass_obj
def report(
    app: App,
    job: str | None,
    tuning_job: str | None,
    compared: tuple[str, str] | None,
    output: Path,
    open_page: bool,
) -> None:
    """Write a page, metrics and tables about a training job.

    report.html is one file that needs no network; beside it stand metrics.json, MODEL_CARD.md, history.csv, trials.csv,
    per_class.csv, predictions.csv, and in profiler-reports/ and debugger-reports/ a JSON file for each rule, as AWS has
    them.
    """
    if compared and (job or tuning_job):
        raise UsageError("--compare names its jobs itself", fix="leave out --job and --tuning-job")
    config = app.config()
    session = app.session(config)
    page = (
        compare_jobs(app, config, session, compared, output)
        if compared
        else report_job(app, config, session, job, tuning_job, output)
    )
    if open_page:
        click.launch(page.as_uri())


def report_job(
    app: App, config: Config, session: Session, job: str | None, tuning_job: str | None, output: Path
) -> Path:
    from dogbreed_cli.report import illustrate, summarize, to_json, write

    client = session.client("sagemaker")
    description = describe_trained(client, config.project.name, job)
    built = build_report(app, session, description, tuning_job)
    if built.evaluation:
        split, mistakes = built.evaluation.split, built.evaluation.mistakes
        where = locate_images(config, session.bucket, description, split)
        built = illustrate(built, dict(read_images(session.client("s3"), where, mistakes)))
    page = write(built, output)["report.html"].absolute()
    lines = [f"{label + ':':<22}{text}" for label, text in summarize(built)]
    app.console.result({**to_json(built), "page": page}, "\n".join([*lines, f"{'Page:':<22}{page}"]))
    if description["TrainingJobStatus"] == "Completed":
        app.console.note("next: dogbreed deploy")
    return page


def describe_trained(client: Any, project: str, name: str | None) -> dict[str, Any]:
    description = jobs.describe_training_job(client, name or jobs.latest_training_job(client, project))
    if jobs.kind_of(description["TrainingJobName"], project) == jobs.FEATURES:
        raise UsageError(
            f"{name} is a features job, which trained nothing", fix="name a training job; dogbreed status shows them"
        )
    return description


def compare_jobs(app: App, config: Config, session: Session, names: tuple[str, str], output: Path) -> Path:
    from dogbreed_cli.report import compare, to_plain, write_comparison

    client = session.client("sagemaker")
    descriptions = [describe_trained(client, config.project.name, name) for name in names]
    first, second = (build_report(app, session, description) for description in descriptions)
    comparison = compare(first, second)
    page = write_comparison(comparison, output)["compare.html"].absolute()
    app.console.result({**to_plain(comparison), "page": page}, show_comparison(comparison, page))
    return page


def build_report(app: App, session: Session, description: dict[str, Any], tuning_job: str | None = None) -> Report:
    """From SageMaker's answers and from S3 alone: whoever may read those can make it, on any machine."""
    from dogbreed_cli.report import build

    client = session.client("sagemaker")
    tags = jobs.read_tags(client, description["TrainingJobArn"])
    tuning_job = tuning_job or tags.get(TUNING_JOB_TAG)
    tuning = jobs.describe_tuning_job(client, tuning_job) if tuning_job else None
    trials = jobs.list_trials(client, tuning_job) if tuning_job else []
    with tempfile.TemporaryDirectory() as scratch:
        artifacts = fetch_artifacts(app, session.client("s3"), description, Path(scratch))
        return build(artifacts, description, tuning, trials, find_rate(session, description), tags)


def find_rate(session: Session, description: dict[str, Any]) -> Rate:
    from dogbreed_cli.pricing import open_prices
    from dogbreed_cli.report import FREE, Rate

    prices = open_prices(session)
    if prices is None:
        return FREE
    price = prices.find(description["ResourceConfig"]["InstanceType"], "Training")
    return Rate(price.usd_per_hour, price.source)


def fetch_artifacts(app: App, s3: Any, description: dict[str, Any], scratch: Path) -> Path:
    """The job's output.tar.gz, unpacked, and beside it what AWS's Debugger and its rules left, if anything.

    A job that left nothing still gets a report, which says so.
    """
    from dogbreed_cli.report import PROFILE, RULES, TENSORS

    artifacts = scratch / "artifacts"
    artifacts.mkdir()
    name, root = description["TrainingJobName"], description["OutputDataConfig"]["S3OutputPath"]
    uri = f"{root.rstrip('/')}/{name}/output/output.tar.gz"
    if any(list_objects(s3, *parse_s3_uri(uri))):
        fetch(s3, uri, scratch)
        unpack(scratch / "output.tar.gz", artifacts)
    else:
        app.console.warn(f"there is no {uri}: the report has only what SageMaker says of the job")
    for folder, asked in ((TENSORS, "DebugHookConfig"), (PROFILE, "ProfilerConfig"), (RULES, "")):
        # What the job packed itself is whole; AWS's own copy of it, or sampling beside it, would count twice.
        if not (artifacts / folder).is_dir():
            base = (description.get(asked) or {}).get("S3OutputPath") or root
            fetch_folder(app, s3, f"{base.rstrip('/')}/{name}/{folder}/", artifacts / folder)
    return artifacts


def fetch_folder(app: App, s3: Any, uri: str, folder: Path) -> None:
    size = sum(found.size for found in list_objects(s3, *parse_s3_uri(uri)))
    if size > LARGEST_FOLDER:
        app.console.warn(f"{uri} holds {size / 1e9:.1f} GB and is left out: the report reads up to 0.5 GB of it")
    elif size:
        fetch(s3, uri, folder)


def locate_images(config: Config, bucket: str, description: dict[str, Any], split: str) -> str:
    """Where the job read the images of a split; one on cached features has no such channel, but the project has."""
    for channel in description.get("InputDataConfig", []):
        if channel["ChannelName"] == split and "S3DataSource" in channel["DataSource"]:
            return channel["DataSource"]["S3DataSource"]["S3Uri"]
    return make_s3_uri(bucket, data_prefix(config), split)


def read_images(s3: Any, where: str, rows: tuple[Prediction, ...]) -> Iterator[tuple[str, bytes | str]]:
    """Each row's file with its content, or with the reason why it cannot be had."""
    bucket, prefix = parse_s3_uri(where)

    def read(row: Prediction) -> tuple[str, bytes | str]:
        try:
            with explain_s3_errors("reading it"):
                answer = s3.get_object(Bucket=bucket, Key=join_key(prefix, row.file))
                small = answer["ContentLength"] <= LARGEST_IMAGE
                return row.file, answer["Body"].read() if small else "it is larger than 64 MB"
        except DogbreedError as error:
            return row.file, f"{error.what} {error.why}".rstrip(" .")

    return in_parallel(read, rows, max_workers=8)


def show_comparison(comparison: Comparison, page: Path) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from dogbreed_cli.report.comparison import list_rows, list_settings_rows, say_agreement

    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("", comparison.first, comparison.second, "difference"):
        table.add_column(head, justify="left" if not head else "right", overflow="fold")
    changed = [setting for setting in (*comparison.hyperparameters, *comparison.rules) if setting.differs]
    blocks = (
        list_rows(comparison.measures),
        list_rows(comparison.phases),
        list_settings_rows(changed),
        list_rows([one for one in comparison.classes if one.difference][:CLASSES_SHOWN]),
    )
    for block in blocks:
        for row in block:
            table.add_row(*map(Text, row))
        table.add_section()
    return Group(table, Text(f"\n{say_agreement(comparison)}\nPage: {page}"))
