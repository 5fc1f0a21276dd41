"""Shell completion: commands, options, and the names that the commands met in this folder, at once."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest
from conftest import clean_environment
from local_jobs import Machine
from serving_machine import invoke

from dogbreed_cli import names


@pytest.fixture
def machine(trained: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("DOGBREED_CACHE", str(trained.folder / "cache"))
    return trained


def complete(machine: Machine, *words: str) -> list[str]:
    """What bash is offered for the last word."""
    environment = clean_environment(
        DOGBREED_CACHE=str(machine.folder / "cache"),
        _DOGBREED_COMPLETE="bash_complete",
        COMP_WORDS=" ".join(["dogbreed", *words]),
        COMP_CWORD=str(len(words)),
    )
    program = "from dogbreed_cli.cli import main; main(prog_name='dogbreed')"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=machine.folder, capture_output=True, text=True
    )
    assert not done.stderr, done.stderr
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_names_are_offered_where_they_belong(machine: Machine) -> None:
    assert complete(machine, "deploy", "--job", "") == []
    invoke("status", "--all")
    assert complete(machine, "deploy", "--job", "dogbreed-") == ["dogbreed-two", "dogbreed-one"]
    assert complete(machine, "report", "--compare", "dogbreed-o") == ["dogbreed-one"]
    assert complete(machine, "train", "--attach", "dogbreed-t") == ["dogbreed-two"]
    assert complete(machine, "tune", "--attach", "dogbreed-t") == []
    invoke("deploy")
    assert complete(machine, "predict", "--endpoint", "d") == ["dogbreed-endpoint"]
    assert complete(machine, "logs", "dogbreed-e") == ["dogbreed-endpoint"]
    invoke("teardown", "--yes")
    assert complete(machine, "predict", "--endpoint", "d") == []


def test_commands_and_options_are_offered(machine: Machine) -> None:
    assert complete(machine, "te") == ["teardown"]
    assert "--expires" in complete(machine, "deploy", "--e")


def test_another_folder_has_names_of_its_own(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    invoke("status", "--all")
    (machine.folder / "other").mkdir()
    monkeypatch.chdir(machine.folder / "other")
    assert names.complete_names("training job")(None, None, "") == []  # type: ignore[arg-type]


def test_what_is_kept_has_bounds_and_what_is_broken_is_no_error(machine: Machine, monkeypatch) -> None:
    for number in range(names.FOLDERS + 5):
        folder = machine.folder / f"f{number}"
        folder.mkdir()
        monkeypatch.chdir(folder)
        names.remember({"TrainingJobName": f"job-{number}-{one}"} for one in range(names.NAMES + 5))
    kept = json.loads((machine.folder / "cache" / "names.json").read_text())
    assert len(kept) == names.FOLDERS
    assert all(len(found["training job"]) == names.NAMES for found in kept.values())
    for broken in ("[]", "{", ""):
        (machine.folder / "cache" / "names.json").write_text(broken)
        assert complete(machine, "deploy", "--job", "") == []
    (machine.folder / "cache" / "names.json").unlink()
    (machine.folder / "cache" / "names.json").mkdir()
    names.remember([{"TrainingJobName": "job"}])


def test_completion_asks_nobody_and_takes_no_time(machine: Machine) -> None:
    invoke("status", "--all")

    def measure() -> float:
        """Processor time: other work on the machine must not fail this."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        complete(machine, "deploy", "--job", "")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    measure()
    assert min(measure() for _ in range(5)) < 0.3
