"""A second `demo` ends what the first kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from local_jobs import Machine
from serving_machine import invoke, serving_image, trained_in

from dogbreed_cli.cli import cli
from dogbreed_cli.commands.demo import MARKER, prepare
from dogbreed_cli.console import Console
from dogbreed_cli.context import App


@pytest.fixture
def machine(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Machine]:
    with trained_in(tmp_path, serving_image(tmp_path_factory), monkeypatch) as machine:
        yield machine


def test_a_second_demo_ends_what_the_first_kept(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = machine.folder / "demo"
    (demo / "report").mkdir(parents=True)
    (demo / MARKER).touch()
    machine.home.root.rename(demo / ".dogbreed")
    monkeypatch.setenv("DOGBREED_HOME", str(demo / ".dogbreed"))
    invoke("--set", "project.name=demo", "deploy", "--name", "demo-kept", "--job", "dogbreed-one")
    assert machine.processes()
    # Whatever was said before `demo`, the demo stays on this machine.
    context = cli.make_context("dogbreed", ["--set", "target=aws", "demo"], obj=Console())
    prepare(context, App(Console()), demo)
    assert not machine.processes()
    assert sorted(path.name for path in demo.iterdir()) == [MARKER, ".gitignore"]
