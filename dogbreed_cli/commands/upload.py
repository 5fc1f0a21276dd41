"""dogbreed upload: check a folder of labelled images and put it where the jobs read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dogbreed_cli.cache import cache_folder
from dogbreed_cli.console import human_size, human_time, table
from dogbreed_cli.errors import DogbreedError, UsageError, interrupted
from dogbreed_cli.masking import hide_source
from dogbreed_cli.parallel import meanwhile

if TYPE_CHECKING:
    from rich.console import RenderableType

    from dogbreed_cli.config import Config
    from dogbreed_cli.context import App
    from dogbreed_cli.image_files import Listing, OnProgress, Progress
    from dogbreed_cli.image_findings import Summary
    from dogbreed_cli.images import ImageFolder
    from dogbreed_cli.session import Session
    from dogbreed_cli.storage import S3Object
    from dogbreed_cli.sync import SyncPlan, SyncResult

# Of the files of a finding, in the table; -v lists all, as do --json and the page.
NAMED = 3


@click.command(
    epilog="""\b
Examples:
  dogbreed upload dogImages        # train/, valid/, test/ of a folder a class
  dogbreed upload photos           # a folder a class, which is split
  dogbreed upload dogImages.zip    # also .tar, .tar.gz, and https:// of one
  dogbreed upload photos --strict  # a leak or a broken file is an error"""
)
@click.argument("source", metavar="DIR|ARCHIVE|URL")
@click.option("--strict", is_flag=True, help="Send nothing while a warning stands (exit code 2).")
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("data-report.html"),
    show_default=True,
    metavar="FILE",
    help="Where the page with all findings goes.",
)
@click.option("--allow-private", is_flag=True, help="Fetch URLs of this machine and its network, too, also by http.")
@click.option("--yes", is_flag=True, help="Do not ask before something is sent that AWS charges for.")
@click.pass_obj
def upload(app: App, source: str, strict: bool, report: Path, allow_private: bool, yes: bool) -> None:
    """Check the images in DIR and upload them.

    DIR has train, valid (or val) and test with one folder of images a class, or just one folder a class, which is then
    split. It may be packed as .zip or .tar, and lie behind an https address. A second run reads and sends only what
    changed; one that was killed goes on where it stopped.
    """
    from dogbreed_cli.requests import data_prefix

    config, console = app.config(), app.console
    name = hide_source(source)
    folder = find_folder(app, source, allow_private)
    session = app.session(config)
    prefix, store = data_prefix(config), session.open_store(session.bucket)
    uri = f"s3://{session.bucket}/{prefix}"
    with resumable(), named(folder, name):
        listed = meanwhile(lambda: list_place(session, store, prefix))
        # While S3 lists what it has: imports, too, also of what shows tables.
        import rich.console
        import rich.table  # noqa: F401

        from dogbreed_cli.image_files import list_candidates
        from dogbreed_cli.receipts import (
            Receipt,
            digest_folder,
            digest_place,
            find_receipt,
            receipt_file,
            write_receipt,
        )
        from dogbreed_cli.sync import SyncResult

        listing, images = list_candidates(folder), None
        file, digest = receipt_file(folder, uri), digest_folder(listing, name, config.data)
        receipt = find_receipt(file, digest)
        objects = listed()  # or what is wrong with credentials or bucket, before all images are read
        if receipt is None or receipt.place != digest_place(objects or {}):
            from dogbreed_cli.data_report import render

            images = check(app, config, folder, listing)
            receipt = Receipt(digest, "", images.summary, render(images, name))
    page = write_page(report, receipt.page)
    show_findings(app, receipt.summary)
    console.note(f"findings and classes: {page}")
    if strict and (faults := receipt.summary.warnings):
        console.result({**to_json(receipt.summary, SyncResult(0, 0, 0, 0, 0.0), uri), "report": page})
        why = " ".join(fault.message for fault in faults)
        raise UsageError(f"{len(faults)} findings in {name}", why, "mend the data, or drop --strict")
    if images:
        result = send(app, session, store, images, objects, prefix, yes)
        write_receipt(file, replace(receipt, place=digest_place(result.objects)))
    else:
        result = SyncResult(0, sum(receipt.summary.counts.values()), 0, 0, 0.0)
    console.result({**to_json(receipt.summary, result, uri), "report": page}, describe(receipt.summary, result, uri))
    if receipt.summary.counts["train"] and receipt.summary.counts["valid"]:
        console.note("next: dogbreed tune, or dogbreed train")


@contextmanager
def resumable() -> Iterator[None]:
    """Ctrl-C and SIGTERM: what was read is remembered, and what was sent is there."""
    try:
        yield
    except KeyboardInterrupt as signal:
        raise interrupted(signal, "interrupted", "run it again: it goes on where it stopped") from None


@contextmanager
def named(path: Path, name: str) -> Iterator[None]:
    """What is wrong with a path in the cache folder is said of what the user gave, as which it came there."""
    try:
        yield
    except DogbreedError as error:
        if path.is_relative_to(cache_folder()):
            error.what, error.why = (text.replace(str(path), name) for text in (error.what, error.why))
        raise


def find_folder(app: App, source: str, allow_private: bool) -> Path:
    """The folder itself, or one in the cache folder with what the archive or the address holds."""
    path = Path(source)
    if path.is_dir():
        return path
    from dogbreed_cli.archives import is_archive, unpack_once
    from dogbreed_cli.downloads import download
    from dogbreed_cli.image_files import no_folder
    from dogbreed_cli.pictures import allow_any_address, check_address

    if "://" in source:
        with app.console.progress("Fetching") as show:
            path = download(source, on_progress=show, check=allow_any_address if allow_private else check_address)
    if not path.exists():
        raise no_folder(path)
    if not is_archive(path):
        why = "its bytes are no .zip, .tar or .tar.gz, or the beginning of one"
        raise UsageError(f"{hide_source(source)} is no folder and no archive", why, "give a folder, or a whole archive")
    with named(path, hide_source(source)), app.console.progress("Unpacking") as show:
        return unpack_once(path, on_progress=show)


def list_place(session: Session, store: Any | None, prefix: str) -> dict[str, S3Object] | None:
    """What an earlier upload left there; None where there is no bucket. boto3 is asked only where obstore fails."""
    from dogbreed_cli.object_store import list_folder

    found = list_folder(store, prefix) if store else None
    from dogbreed_cli.storage import has_bucket
    from dogbreed_cli.sync import choose_ours, list_ours

    if found is not None:
        return choose_ours(found, prefix)
    client = session.client("s3")
    return list_ours(client, session.bucket, prefix) if has_bucket(client, session.bucket, session.region) else None


def check(app: App, config: Config, folder: Path, listing: Listing) -> ImageFolder:
    from dogbreed_cli.image_cache import ImageCache
    from dogbreed_cli.images import scan

    with ImageCache.open(folder) as cache, app.console.progress_of_files("Checking") as show:
        images = scan(
            folder,
            seed=config.data.seed,
            valid_fraction=config.data.valid_fraction,
            test_fraction=config.data.test_fraction,
            on_progress=by_bytes(show),
            cache=cache,
            listing=listing,
        )
    if cache.trouble:
        app.console.warn(cache.trouble)
    return images


def send(
    app: App,
    session: Session,
    store: Any | None,
    images: ImageFolder,
    objects: Mapping[str, S3Object] | None,
    prefix: str,
    yes: bool,
) -> SyncResult:
    """Make the place what the folder is; `objects` are of list_place."""
    from dogbreed_cli.storage import ensure_bucket
    from dogbreed_cli.sync import Stored, find_stored, plan_sync, sync

    client, bucket, is_there = session.client("s3"), session.bucket, objects is not None
    stored = Stored() if objects is None else find_stored(client, bucket, prefix, objects)
    plan = plan_sync(images, stored, prefix)
    if not plan.is_current:
        show_plan(app, plan, bucket, prefix, is_there)
        session.confirm_charge(yes)
    if not is_there:
        ensure_bucket(client, bucket, session.region)
    with resumable(), app.console.progress_of_files("Sending") as show:
        return sync(client, images, plan, bucket, prefix, on_progress=by_bytes(show), store=store)


def write_page(path: Path, text: str) -> Path:
    from dogbreed_cli.whole_files import write_text

    try:
        return write_text(path, text).absolute()
    except OSError as error:
        raise DogbreedError(
            f"The page cannot be written to {path}.", f"{error.strerror or error}.", "Name another file with --report."
        ) from error


def by_bytes(show: Callable[[int, int, str], None]) -> OnProgress:
    """Bytes are what takes time; the files stand beside."""

    def tell(progress: Progress) -> None:
        files = f"{progress.done_files:,} of {count_images(progress.total_files)}"
        show(progress.done_bytes, progress.total_bytes, files)

    return tell


def show_findings(app: App, summary: Summary) -> None:
    """A table; with -q only what is wrong, in a line each."""
    if app.console.verbosity < 0:
        for finding in summary.warnings:
            app.console.warn(finding.message)
    elif summary.findings:
        app.console.show(draw_findings(summary))
    for finding in summary.findings:
        for line in finding.files if app.console.verbosity > 0 else ():
            app.console.detail(f"  {finding.kind}: {line}")


def draw_findings(summary: Summary) -> RenderableType:
    """The files stand below their finding: in a column of their own a narrow terminal would break their names."""
    rows = []
    for finding in summary.findings:
        more = [f"and {len(finding.files) - NAMED} more"] if len(finding.files) > NAMED else []
        rows.append([finding.severity, finding.kind, "\n".join([finding.message, *finding.files[:NAMED], *more])])
    return table(["", "finding", "what"], rows)


def show_plan(app: App, plan: SyncPlan, bucket: str, prefix: str, is_there: bool) -> None:
    sent = f"{count_images(len(plan.send))} ({human_size(sum(image.size for image in plan.send))}) to send"
    removed = f", {len(plan.delete)} to remove" if plan.delete else ""
    made = "" if is_there else "; the bucket is created"
    app.console.note(f"s3://{bucket}/{prefix}: {sent}{removed}{made}")


def count_images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"


def to_json(summary: Summary, result: SyncResult, uri: str) -> dict[str, Any]:
    return {
        "data": uri,
        "classes": list(summary.classes),
        "counts": summary.counts,
        "bytes": summary.size,
        "fingerprint": summary.fingerprint,
        "findings": list(summary.findings),
        "sent": result.sent,
        "unchanged": result.unchanged,
        "deleted": result.deleted,
        "bytes_sent": result.bytes_sent,
        "seconds": round(result.seconds, 3),
    }


def describe(summary: Summary, result: SyncResult, uri: str) -> Any:
    from rich.console import Group

    counts = table(["classes", *summary.counts], [[str(len(summary.classes)), *map(str, summary.counts.values())]])
    sent = f"sent {count_images(result.sent)} ({human_size(result.bytes_sent)}) in {human_time(result.seconds)}"
    return Group(counts, f"{uri}: {sent}, {result.unchanged} were there, {result.deleted} removed")
