"""dogbreed upload: check a folder of labelled images and put it where the jobs read it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dogbreed_cli.console import human_size, human_time, table
from dogbreed_cli.errors import UsageError

if TYPE_CHECKING:
    from dogbreed_cli.context import App
    from dogbreed_cli.images import ImageFolder
    from dogbreed_cli.sync import SyncPlan, SyncResult


@click.command(
    epilog="""\b
Examples:
  dogbreed upload dogImages              # train/, valid/ and test/, each with one folder a class
  dogbreed upload photos                 # one folder a class: split 70/15/15, always in the same way
  dogbreed upload photos --strict        # a leak or a broken file is an error"""
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Send nothing when the check finds anything.")
@click.option("--yes", is_flag=True, help="Do not ask before something is sent that AWS charges for.")
@click.pass_obj
def upload(app: App, folder: Path, strict: bool, yes: bool) -> None:
    """Check the images in DIR and upload them.

    DIR has train, valid (or val) and test with one folder of images a class, or just one folder a class, which is then
    split. A second run sends only what changed.
    """
    from dogbreed_cli.images import scan
    from dogbreed_cli.requests import data_prefix
    from dogbreed_cli.storage import ensure_bucket, has_bucket
    from dogbreed_cli.sync import plan_first, plan_sync, sync

    config, console = app.config(), app.console
    with console.progress("Checking", "images") as show:
        images = scan(
            folder,
            seed=config.data.seed,
            valid_fraction=config.data.valid_fraction,
            test_fraction=config.data.test_fraction,
            on_progress=lambda progress: show(progress.done_files, progress.total_files),
        )
    show_findings(app, images)
    faults = [finding for finding in images.findings if finding.severity == "warning"]
    if strict and faults:
        raise UsageError(f"{len(faults)} findings in {folder}", faults[0].message, "mend the data, or drop --strict")
    session = app.session(config)
    client, prefix = session.client("s3"), data_prefix(config)
    is_there = has_bucket(client, session.bucket, session.region)
    plan = plan_sync(client, images, session.bucket, prefix) if is_there else plan_first(images)
    if not plan.is_current:
        show_plan(app, plan, session.bucket, prefix, is_there)
        session.confirm_charge(yes)
    if not is_there:
        ensure_bucket(client, session.bucket, session.region)
    with console.progress("Sending") as show:
        result = sync(
            client,
            images,
            plan,
            session.bucket,
            prefix,
            on_progress=lambda progress: show(progress.done_bytes, progress.total_bytes),
        )
    uri = f"s3://{session.bucket}/{prefix}"
    console.result(to_json(images, result, uri), describe(images, result, uri))
    console.note("next: dogbreed tune, or dogbreed train")


def show_findings(app: App, images: ImageFolder) -> None:
    for finding in images.findings:
        (app.console.warn if finding.severity == "warning" else app.console.note)(finding.message)
        for name in finding.files:
            app.console.detail(f"  {name}")


def show_plan(app: App, plan: SyncPlan, bucket: str, prefix: str, is_there: bool) -> None:
    sent = f"{len(plan.send)} images ({human_size(sum(image.size for image in plan.send))}) to send"
    removed = f", {len(plan.delete)} to remove" if plan.delete else ""
    made = "" if is_there else "; the bucket is created"
    app.console.note(f"s3://{bucket}/{prefix}: {sent}{removed}{made}")


def to_json(images: ImageFolder, result: SyncResult, uri: str) -> dict[str, Any]:
    return {
        "data": uri,
        "classes": list(images.classes),
        "counts": images.counts,
        "bytes": images.size,
        "fingerprint": images.fingerprint,
        "findings": list(images.findings),
        "sent": result.sent,
        "unchanged": result.unchanged,
        "deleted": result.deleted,
        "bytes_sent": result.bytes_sent,
        "seconds": round(result.seconds, 3),
    }


def describe(images: ImageFolder, result: SyncResult, uri: str) -> Any:
    from rich.console import Group

    counts = table(["classes", *images.counts], [[str(len(images.classes)), *map(str, images.counts.values())]])
    sent = f"sent {result.sent} images ({human_size(result.bytes_sent)}) in {human_time(result.seconds)}"
    return Group(counts, f"{uri}: {sent}, {result.unchanged} were there, {result.deleted} removed")
