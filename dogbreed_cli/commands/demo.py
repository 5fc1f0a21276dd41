"""dogbreed demo: the whole job on drawn pictures, on this machine, as a person would type it."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import shutil
import subprocess
import time
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dogbreed_cli.console import human_time
from dogbreed_cli.errors import DogbreedError, Interrupted, UsageError

if TYPE_CHECKING:
    from dogbreed_cli.context import App

MARKER = ".dogbreed-demo"
TEARDOWN = ("teardown", "--yes")
COUNTS = {"train": 24, "valid": 8, "test": 8}  # pictures of each of the six breeds
FETCH_SECONDS = 900
# In the container image, so that the weights land where the jobs will look for them.
FETCH_WEIGHTS = """
import socket
socket.setdefaulttimeout(20)
from torchvision.models import ResNet50_Weights
ResNet50_Weights.DEFAULT.get_state_dict(progress=False)
"""


@click.command(
    epilog="""\b
Examples:
  dogbreed demo
  dogbreed demo --output /tmp/demo --keep      # leaves the endpoint running"""
)
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("demo"), show_default=True, metavar="DIR",
    help="Pictures, models and report go there.",
)  # fmt: skip
@click.option("--keep", is_flag=True, help="Leave out the teardown.")
@click.pass_context
def demo(ctx: click.Context, output: Path, keep: bool) -> None:
    """Run all seven commands on drawn dogs, on this machine.

    Draws cartoon dogs of six breeds, tunes, trains, deploys and asks the endpoint about dogs that no job trained on.

    Needs no account and spends nothing. Tries ImageNet weights; where they cannot be downloaded it says so and goes on
    with a random network.
    """
    app: App = ctx.obj
    started = time.monotonic()
    # Its own home, so that it never meets the project in the working directory.
    os.environ["DOGBREED_HOME"] = str((output / ".dogbreed").absolute())
    prepare(ctx, app, output)
    images = draw(app, output / "images")
    backbone = choose_weights(app)
    steps: list[tuple[str, ...]] = [
        ("upload", str(output / "images"), "--report", str(output / "data-report.html")),
        (*backbone, "tune", "--max-jobs", "4", "--data-fraction", "0.5"),
        (*backbone, "train", "--from-best"),
        ("report", "--output", str(output / "report")),
        ("deploy",),
        ("predict", *map(str, images), "--top-k", "3", "--csv", str(output / "predictions.csv")),
    ]
    if not keep:
        steps += [TEARDOWN, ("status",)]
    try:
        results = [run(ctx, app, step) for step in steps]
    except BaseException as error:  # Ctrl-C too: nobody would look for a job or an endpoint of the demo's
        run(ctx, app, TEARDOWN)
        if isinstance(error, Interrupted):
            error.what, error.fix = "the demo was interrupted", "run `dogbreed demo` again"
        raise
    right = count_right(output / "predictions.csv")
    page = (output / "report" / "report.html").absolute()
    took = time.monotonic() - started
    app.console.result(
        {"steps": results, "right": right, "images": len(images), "report": page, "seconds": round(took, 1)},
        f"\n{right} of {len(images)} pictures that no job had trained on are recognised; all of it took "
        f"{human_time(took)}\nreport: {page}",
    )
    if not right:
        raise DogbreedError("not one picture was recognised", "the model learnt nothing", "look at the report")


def prepare(ctx: click.Context, app: App, output: Path) -> None:
    """An empty folder, or the one of an earlier demo, which is replaced. Nothing else is ever removed."""
    if output.exists():
        if not output.is_dir() or (any(output.iterdir()) and not (output / MARKER).exists()):
            raise UsageError(f"{output} is there already and is no demo", fix="choose another folder with --output")
        if (output / ".dogbreed").exists():  # after --keep, or a kill: what runs there would lose its home
            run(ctx, app, TEARDOWN)
        for found in output.iterdir():  # not the folder itself, which may be where we are
            shutil.rmtree(found) if found.is_dir() and not found.is_symlink() else found.unlink()
    output.mkdir(parents=True, exist_ok=True)
    (output / MARKER).touch()
    (output / ".gitignore").write_text("*\n")


def draw(app: App, folder: Path) -> list[Path]:
    """Draw the pictures; returns one of each breed's test pictures, which no job trains on."""
    from dogbreed_cli.breeds import draw_breeds

    app.console.note(f"drawing dogs into {folder}")
    paths = draw_breeds(folder, seed=0, counts=COUNTS)
    tests = [path for path in paths if path.relative_to(folder).parts[0] == "test"]
    return [min(path for path in tests if path.parent == breed) for breed in sorted({path.parent for path in tests})]


def choose_weights(app: App) -> tuple[str, ...]:
    """No option where ImageNet's weights are here or can be fetched (then they are); else random ones, said loudly.

    Whoever set model.weights themselves gets these.
    """
    from dogbreed_cli.local.image import ensure

    if app.config().model.weights != "DEFAULT":
        return ()
    app.console.note("looking for the ImageNet weights of ResNet50")
    python = app.config().local.python
    command = [str(python.expanduser() if python else ensure(app.console.note)), "-c", FETCH_WEIGHTS]
    try:
        tried = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS)
        if tried.returncode == 0:
            return ()
        reason = (tried.stderr.strip().splitlines() or ["no reason given"])[-1]
    except subprocess.TimeoutExpired:
        reason = f"not there after {FETCH_SECONDS} s"
    except OSError as error:  # local.python names no interpreter: the first job will say so
        reason = str(error)
    app.console.warn(f"NO PRETRAINED WEIGHTS: they could not be downloaded ({reason}).")
    app.console.warn(
        "The demo goes on with a RANDOM network, and with the smaller ResNet18 at 128 pixels: enough to tell cartoons "
        "apart now and then, never for photographs."
    )
    return ("--set", "model.weights=none", "--set", "model.backbone=resnet18", "--set", "model.image_size=128")


def run(ctx: click.Context, app: App, step: tuple[str, ...]) -> dict[str, Any]:
    """One command line, through the same group that a shell would reach. Returns its JSON document with --json."""
    app.console.note(f"\n$ dogbreed {shlex.join(step)}")
    given = ctx.find_root().params
    options = ["--config", str(given["config_file"])] if given["config_file"] else []
    options += [word for text in given["assignments"] for word in ("--set", text)]
    options += ["--set", "target=local", "--set", "project.name=demo"]  # after what was given: these have to win
    options += ["-q"] if app.console.verbosity < 0 else ["-v"] if app.console.verbosity > 0 else []
    group = ctx.find_root().command
    options += ["--json"] if app.console.as_json else []
    with redirect_stdout(io.StringIO()) if app.console.as_json else nullcontext() as said:
        code = group.main([*options, *step], prog_name="dogbreed", standalone_mode=False)
    if code:
        raise DogbreedError(f"`dogbreed {shlex.join(step)}` ended with exit code {code}")
    return {"command": shlex.join(step), "result": json.loads(said.getvalue()) if said else None}


def count_right(answers: Path) -> int:
    """How many of the pictures have their own breed, which is their folder's name, as the first answer."""
    with answers.open(encoding="utf-8") as file:
        best = [row for row in csv.DictReader(file) if row["rank"] == "1"]
    return sum(Path(row["image"]).parent.name == row["label"] for row in best)
