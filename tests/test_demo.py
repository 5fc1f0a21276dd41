"""A second `demo` ends what the first kept."""

from __future__ import annotations

import pytest
from local_jobs import Machine
from serving_machine import invoke

from dogbreed_cli.cli import cli
from dogbreed_cli.commands.demo import MARKER, prepare
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
