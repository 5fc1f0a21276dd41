"""dogbreed predict: ask the endpoint what is in an image."""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dogbreed_cli import requests
from dogbreed_cli.errors import DogbreedError, UsageError
from dogbreed_cli.image_files import in_parallel
from dogbreed_cli.masking import hide_url
from dogbreed_cli.pictures import Picture, open_source

if TYPE_CHECKING:
    from dogbreed_cli.context import App

BAR = 24  # columns of a probability of 1
AT_ONCE = 8


@dataclass(frozen=True)
class Answer:
    image: str
    predictions: tuple[dict[str, Any], ...] = ()
    milliseconds: float | None = None
    error: str | None = None


@click.command(
    epilog="""\b
Examples:
  dogbreed predict dog.jpg
  dogbreed predict photos/ other.png --top-k 3 --csv answers.csv
  dogbreed predict https://example.com/dog.jpg
  cat dog.jpg | dogbreed predict -"""
)
@click.argument("sources", metavar="IMAGE|DIR|URL|-...", nargs=-1, required=True)
@click.option("--top-k", type=click.IntRange(1, 20), default=5, show_default=True, help="Classes to show.")
@click.option("--endpoint", metavar="NAME", help="Endpoint (default: PROJECT-endpoint).")
@click.option(
    "--csv", "csv_file", type=click.Path(path_type=Path, dir_okay=False), help="Also write the answers to this file."
)
@click.pass_obj
def predict(app: App, sources: tuple[str, ...], top_k: int, endpoint: str | None, csv_file: Path | None) -> None:
    """Classify images: files, folders, https URLs, or - for stdin.

    Folders are searched through; what is hidden in them is left out.

    An image that cannot be read or is refused is reported, the others go on, and the exit code is 1 at the end.
    """
    config = app.config()
    session = app.session(config)
    name = endpoint or requests.endpoint_name(config)
    client = session.client("sagemaker-runtime")
    if csv_file and not csv_file.parent.is_dir():
        raise UsageError(f"no folder {csv_file.parent}", fix="create it, or name another file with --csv")
    found: dict[int, Answer] = {}
    for place, answer in ask_all(client, name, sources, top_k):
        found[place] = answer
        app.console.stream(draw(answer))
    answers = [found[place] for place in sorted(found)]
    if csv_file:
        write_csv(csv_file, answers)
    app.console.result({"endpoint": name, "answers": answers})
    if failed := sum(answer.error is not None for answer in answers):
        app.console.note(f"{failed} of {len(answers)} could not be classified")
        click.get_current_context().exit(1)


def ask_all(client: Any, endpoint: str, sources: tuple[str, ...], top_k: int) -> Iterator[tuple[int, Answer]]:
    """Answers as they come, each with its picture's place; several requests are under way at a time."""

    def answer(item: tuple[int, Picture | Answer]) -> tuple[int, Answer]:
        place, found = item
        return place, found if isinstance(found, Answer) else ask(client, endpoint, found, top_k)

    return in_parallel(answer, enumerate(read_all(sources)), AT_ONCE)


def read_all(sources: tuple[str, ...]) -> Iterator[Picture | Answer]:
    for source in sources:
        try:
            yield from open_source(source)
        except DogbreedError as error:
            yield Answer(hide_url(source) if "://" in source else source, error=str(error))


def ask(client: Any, endpoint: str, picture: Picture, top_k: int) -> Answer:
    from botocore.exceptions import ClientError

    try:
        body, content_type = picture.read()
        started = time.perf_counter()
        response = client.invoke_endpoint(
            EndpointName=endpoint,
            Body=body,
            ContentType=content_type,
            Accept="application/json",
            CustomAttributes=f"top_k={top_k}",
        )
        predictions = json.loads(response["Body"].read())["predictions"]
    except DogbreedError as error:
        return Answer(picture.name, error=str(error))
    except ClientError as error:
        said = error.response
        if said["Error"]["Code"] == "ModelError":
            lines = (said.get("OriginalMessage") or said["Error"]["Message"]).strip().splitlines() or [
                "no reason given"
            ]
            # A refusal is one sentence; of a traceback the last line says what went wrong.
            return Answer(picture.name, error=lines[0 if said.get("OriginalStatusCode", 500) < 500 else -1])
        if "not found" in said["Error"].get("Message", ""):
            raise DogbreedError(
                f"no endpoint {endpoint} in service", said["Error"]["Message"], "run `dogbreed deploy`"
            ) from None
        raise
    except (ValueError, KeyError, TypeError):
        raise DogbreedError(f"endpoint {endpoint} answers, but not as dogbreed's do", fix="name another one") from None
    milliseconds = 1000 * (time.perf_counter() - started)
    return Answer(picture.name, tuple(predictions[:top_k]), round(milliseconds, 1))


def draw(answer: Answer) -> str:
    """The image's name and a bar for each class."""
    if answer.error:
        return f"{answer.image}\n  {answer.error}"
    width = max(len(one["label"]) for one in answer.predictions)
    lines = [f"{answer.image}  ({answer.milliseconds:.0f} ms)"]
    full, empty = ("█", "·") if (sys.stdout.encoding or "").lower().startswith("utf") else ("#", ".")
    for one in answer.predictions:
        cells = round(BAR * one["probability"])
        lines.append(f"  {one['label']:<{width}}  {full * cells}{empty * (BAR - cells)} {one['probability']:6.1%}")
    return "\n".join(lines)


def write_csv(path: Path, answers: list[Answer]) -> None:
    """One line an image and class; an image that failed has one line with its error."""
    beside = path.with_name(path.name + ".tmp")
    with beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "rank", "label", "probability", "error"])
        for answer in answers:
            for rank, one in enumerate(answer.predictions, 1):
                writer.writerow([answer.image, rank, one["label"], one["probability"], ""])
            if answer.error:
                writer.writerow([answer.image, "", "", "", answer.error])
    beside.replace(path)
