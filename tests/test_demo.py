"""A second `demo` ends what the first kept."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from local_jobs import Machine
from serving_machine import invoke

from dogbreed_cli.cli import cli
from dogbreed_cli.commands.demo import MARKER, choose_weights, prepare
from dogbreed_cli.console import Console
from dogbreed_cli.context import App


def test_a_second_demo_ends_what_the_first_kept(trained: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = trained.folder / "demo"
    (demo / "report").mkdir(parents=True)
    (demo / MARKER).touch()
    trained.home.root.rename(demo / ".dogbreed")
    monkeypatch.setenv("DOGBREED_HOME", str(demo / ".dogbreed"))
    invoke("--set", "project.name=demo", "deploy", "--name", "demo-kept", "--job", "dogbreed-one")
    assert trained.processes()
    # Whatever was said before `demo`, the demo stays on this trained.
    context = cli.make_context("dogbreed", ["--set", "target=aws", "demo"], obj=Console())
    prepare(context, App(Console()), demo)
    assert not trained.processes()
    assert sorted(path.name for path in demo.iterdir()) == [MARKER, ".gitignore"]


@pytest.mark.parametrize("python", [sys.executable, "/gone/python"])  # without torchvision; not there at all
def test_weights_are_looked_for_with_the_interpreter_that_is_named(
    python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOGBREED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DOGBREED_LOCAL__PYTHON", python)
    assert "model.weights=none" in choose_weights(App(Console()))
    assert not (tmp_path / "cache").exists(), "the container image was built, which nobody needs"
