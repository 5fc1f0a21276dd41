"""dogbreed predict: ask the endpoint what is in an image."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dogbreed_cli.answer_files import answer_file, as_csv, as_json_lines, check_files, check_pictures
from dogbreed_cli.answers import Answer, ask, draw
from dogbreed_cli.errors import DogbreedError, NotFound
from dogbreed_cli.masking import hide_source
from dogbreed_cli.names import complete_names
from dogbreed_cli.parallel import in_parallel
from dogbreed_cli.pictures import Picture, allow_any_address, check_address, open_source
from dogbreed_cli.requests import endpoint_name

if TYPE_CHECKING:
    from dogbreed_cli.console import Console
    from dogbreed_cli.context import App

AT_ONCE = 8
FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(
    epilog="""\b
Examples:
  dogbreed predict dog.jpg
  dogbreed predict photos/ other.png --top-k 3 --csv answers.csv
  dogbreed predict photos/ --jsonl answers.jsonl --endpoint dogbreed-other
  dogbreed predict https://example.com/dog.jpg
  cat dog.jpg | dogbreed predict -"""
)
@click.argument("sources", metavar="IMAGE|DIR|URL|-...", nargs=-1, required=True)
@click.option("--top-k", type=click.IntRange(1, 20), default=5, show_default=True, help="Classes to show.")
@click.option(
    "--endpoint",
    metavar="NAME",
    shell_complete=complete_names("endpoint"),
    help="Any that answers as dogbreed's do (default: PROJECT-endpoint).",
)
@click.option("--csv", "csv_file", type=FILE, help="Also write the answers to this file (.tmp until all are there).")
@click.option("--jsonl", "jsonl_file", type=FILE, help="The same in JSON, one line an image.")
@click.option("--allow-private", is_flag=True, help="Fetch URLs of this machine and its network, too, also by http.")
@click.pass_obj
def predict(
    app: App,
    sources: tuple[str, ...],
    top_k: int,
    endpoint: str | None,
    csv_file: Path | None,
    jsonl_file: Path | None,
    allow_private: bool,
) -> None:
    """Classify images: files, folders, https URLs, or - for stdin.

    Folders are searched through; what is hidden in them is left out. Several images are under way at a time, answers
    are shown as they come. What is too large for the endpoint is sent smaller. Throttling and the endpoint's 502, 503
    and 504 are tried again, nothing else is.

    An image that cannot be read or is refused is reported, the others go on, and the exit code is 1 at the end.
    """
    config = app.config()
    session = app.session(config)
    client = session.client("sagemaker-runtime")
    name, answers = endpoint or endpoint_name(config), dict[int, Answer]()
    written = check_files(csv_file, jsonl_file)
    asked = list(read_all(sources, allow_any_address if allow_private else check_address))
    check_pictures(written, (found.name for found in asked if isinstance(found, Picture)))
    with ExitStack() as files:
        write_csv = files.enter_context(answer_file(csv_file, as_csv))
        write_json = files.enter_context(answer_file(jsonl_file, as_json_lines))

        def answer(item: tuple[int, Picture | Answer]) -> tuple[int, Answer]:
            place, found = item
            return place, found if isinstance(found, Answer) else ask(client, name, found, top_k)

        try:
            with progress(app.console, len(asked)) as show:
                for place, found in in_parallel(answer, enumerate(asked), AT_ONCE):
                    answers[place] = found
                    write_csv(place, found)
                    write_json(place, found)
                    app.console.stream(draw(found, app.console.stdout.width))
                    show(len(answers), len(asked))
        except NotFound as error:
            from dogbreed_cli.resources import explain_absence

            raise explain_absence(session, name, error) from None
        finally:  # what came before an error, or Ctrl-C, is one document with it
            app.console.result({"endpoint": name, "answers": [answers[place] for place in sorted(answers)]})
    if failed := sum(one.error is not None for one in answers.values()):
        app.console.note(f"{failed} of {len(answers)} could not be classified")
        click.get_current_context().exit(1)


def read_all(sources: tuple[str, ...], check: Callable[[str], None]) -> Iterator[Picture | Answer]:
    for source in sources:
        try:
            yield from open_source(source, check)
        except DogbreedError as error:
            yield Answer(hide_source(source), error=error.line)


@contextmanager
def progress(console: Console, total: int) -> Iterator[Callable[[int, int], None]]:
    """A bar, but where the answers themselves are seen to come, and for one picture."""
    if total == 1 or (sys.stdout.isatty() and not console.as_json):
        yield lambda done, total: None
    else:
        with console.progress("Classifying", "images") as show:
            yield show
