"""Every command line that a help page, the README or docs/github-actions.yml shows is one that the command takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from dogbreed_cli.cli import BESIDE, PIPELINE, cli
from dogbreed_cli.config import load, parse_assignment

ROOT = Path(__file__).parent.parent
WORKFLOW = ROOT / "docs" / "github-actions.yml"


def pages() -> Iterator[tuple[str, click.Command]]:
    yield "dogbreed", cli
    context = click.Context(cli)
    for name in [*PIPELINE, *BESIDE]:
        command = cli.get_command(context, name)
        assert command
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {below}", command.commands[below]) for below in command.commands)


def find_lines(text: str) -> Iterator[list[str]]:
    """The words after `dogbreed` in each shell command that begins with it, or with variables before it."""
    for line in text.splitlines():
        words = shlex.split(line.strip().removeprefix("$ "), comments=True)
        for part in split_at(words, {"&&", "|", "||", "&", ">"}):
            while part and re.fullmatch(r"[A-Z_]+=.*", part[0]):
                part = part[1:]
            if part and part[0] == "dogbreed":
                yield part[1:]


def split_at(words: list[str], marks: set[str]) -> Iterator[list[str]]:
    part: list[str] = []
    for word in words:
        if word in marks:
            yield part
            part = []
        else:
            part.append(word)
    yield part


def parse(arguments: list[str]) -> None:
    """Raises UsageError for what the command would refuse, and runs nothing."""
    context = cli.make_context("dogbreed", list(arguments))
    for text in context.params["assignments"]:
        load(None, {**parse_assignment(text), "target": "aws"} if "aws." in text else parse_assignment(text))
    command: click.Command = cli
    rest = [*context._protected_args, *context.args]
    while rest and isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, rest)
        assert found and name
        command = found
        context = command.make_context(name, rest, parent=context)
        rest = [*context._protected_args, *context.args] if isinstance(command, click.Group) else []
        command = found


@pytest.mark.parametrize(("name", "command"), list(pages()), ids=lambda it: it if isinstance(it, str) else "")
def test_the_examples_of_a_help_page_are_taken(name: str, command: click.Command, folder: Path) -> None:
    assert command.epilog and "Examples:" in command.epilog
    lines = list(find_lines(command.epilog.partition("Examples:")[2]))
    assert lines
    for line in lines:
        parse(line)
    if name != "dogbreed":
        assert any(" ".join(line).find(name) >= 0 for line in lines)


@pytest.mark.parametrize(("name", "command"), list(pages()), ids=lambda it: it if isinstance(it, str) else "")
def test_a_help_page_fits_a_terminal_of_80_columns(name: str, command: click.Command) -> None:
    page = command.get_help(click.Context(command, info_name=name, terminal_width=80, max_content_width=80))
    assert not [line for line in page.splitlines() if len(line) > 80]


def test_a_wrong_example_would_be_seen(folder: Path) -> None:
    (line,) = find_lines("  DOGBREED_X=1 dogbreed train --epoch 3  # no such option")
    with pytest.raises(click.UsageError):
        parse(line)
    with pytest.raises(click.UsageError):
        parse(["trian"])


def test_the_readme_s_command_lines_are_taken(folder: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in find_lines(block)]
    assert len(lines) > 10
    for line in lines:
        parse(line)


def test_the_workflow_s_command_lines_are_taken(folder: Path) -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    (job,) = workflow["jobs"].values()
    script = "\n".join(step.get("run", "") for step in job["steps"])
    lines = list(find_lines(script))
    said = [word for line in lines for word in line]
    for needed in ("upload", "tune", "train", "--min-accuracy", "report", "deploy", "predict", "teardown"):
        assert needed in said
    for line in lines:
        parse(line)
    uses = [step["uses"] for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", one) for one in uses)
    assert workflow["permissions"] == {"contents": "read"}
    assert "secrets." not in WORKFLOW.read_text(encoding="utf-8"), "no account is needed"
