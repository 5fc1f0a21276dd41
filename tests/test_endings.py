"""How a command ends before its time: every exit code by a command that a person can type, signals, closed pipes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Dogbreed, Forked, clean_environment, read_until, wait_for
from failing_aws import failing_aws
from json_documents import check_document, schemas
from serving_machine import add_training_job, document, invoke, serving_image, trained_in


def on_aws(url: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/nowhere",
        "AWS_MAX_ATTEMPTS": "1",
        "DOGBREED_TARGET": "aws",
        "DOGBREED_AWS__BUCKET": "dogs",
    }


# Every exit code of the README, and the test that ends a real command with it.
ENDINGS = {
    0: "test_cli_commands.py::test_status_and_teardown_of_nothing",
    1: "test_cli_commands.py::test_what_is_missing_is_said_with_the_next_step",
    2: "test_cli.py::test_usage_errors",
    3: "test_terminal.py::test_on_a_terminal",
    4: "test_endings.py::test_access_and_quotas",
    5: "test_endings.py::test_a_failed_job_and_a_wait_that_is_over",
    6: "test_endings.py::test_a_model_that_is_not_good_enough",
    7: "test_endings.py::test_access_and_quotas",
    8: "test_endings.py::test_a_failed_job_and_a_wait_that_is_over",
    130: "test_cli.py::test_ctrl_c_is_130",
    141: "test_endings.py::test_a_closed_stderr_and_stdout_are_silent",
    143: "test_endings.py::test_sigterm_ends_as_ctrl_c_does_and_says_so",
}


def test_every_exit_code_has_its_test() -> None:
    tests = Path(__file__).parent
    table = (tests.parent / "README.md").read_text(encoding="utf-8").partition("| exit code")[2].partition("```")[0]
    assert {int(code) for code in re.findall(r"\b\d+\b", table)} == set(ENDINGS)
    assert set(ENDINGS) == {0, 141, 143} | set(schemas()["error.json"]["properties"]["code"]["enum"])
    for place in ENDINGS.values():
        file, _, name = place.partition("::")
        assert f"def {name}(" in (tests / file).read_text(encoding="utf-8"), place


def test_a_model_that_is_not_good_enough(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.MonkeyPatch.context() as patch, trained_in(tmp_path, serving_image(tmp_path_factory), patch):
        found = document("train", "--attach", "dogbreed-one", "--min-accuracy", "0.5", code=6)
        assert (found["code"], found["training_job"], found["status"]) == (6, "dogbreed-one", "Completed")
        said = invoke("train", "--attach", "dogbreed-one", "--min-accuracy", "0.5", code=6).stderr
        assert "`dogbreed report`" in said
        assert "next: " not in said, "nobody deploys what is not good enough"


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [(400, "AccessDeniedException", 4), (400, "ExpiredTokenException", 4), (400, "ResourceLimitExceeded", 7)],
)
def test_access_and_quotas(status: int, kind: str, code: int, tmp_path: Path) -> None:
    with failing_aws() as aws:
        aws.status, aws.code = status, kind
        assert Forked(tmp_path, on_aws(aws.url)).json("status", code=code)["code"] == code


def test_a_failed_job_and_a_wait_that_is_over(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.MonkeyPatch.context() as patch, trained_in(tmp_path, serving_image(tmp_path_factory), patch) as machine:
        add_training_job(machine, "dogbreed-bad", 1.0, file="nothing")
        assert document("deploy", "--job", "dogbreed-bad", code=5)["code"] == 5
        add_training_job(machine, "dogbreed-slow", 2.0, file="slow.pt")
        assert document("deploy", "--job", "dogbreed-slow", "--timeout", "0", code=8)["code"] == 8


def test_sigterm_ends_as_ctrl_c_does_and_says_so(dogbreed: Dogbreed) -> None:
    process = subprocess.Popen(
        dogbreed.command("--json", "predict", "-"),
        cwd=dogbreed.folder,
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_for((dogbreed.folder / ".dogbreed").exists)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    out, err = process.communicate()
    found = json.loads(out)
    check_document(["predict"], found)
    assert found == {"schema_version": 1, "error": "interrupted", "why": "SIGTERM", "fix": "", "code": 143}
    assert b"Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_is_told_to_end_has_done_its_work(number: int, dogbreed: Dogbreed) -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    assert "ended by Ctrl-C, by SIGTERM (`local serve`: 0)" in readme
    process = dogbreed.start("local", "serve", "--port", "0")
    assert process.stdout and process.stdout.readline().startswith("http://")
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said.splitlines()[-1]) == (0, "ended; what runs goes on")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_deploy_that_is_told_to_end_says_how_to_go_on(
    number: int, code: int, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.MonkeyPatch.context() as patch, trained_in(tmp_path, serving_image(tmp_path_factory), patch) as machine:
        add_training_job(machine, "dogbreed-slow", 2.0, file="slow.pt")
        command = [sys.executable, "-m", "dogbreed_cli", "deploy", "--job", "dogbreed-slow"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        read_until(process, r"\] (Creating)")
        process.send_signal(number)
        said = process.communicate(timeout=60)[1]
        assert process.returncode == code
        assert "to follow it again: dogbreed deploy --job dogbreed-slow" in said
        assert document("deploy", "--job", "dogbreed-slow")["status"] == "InService"


@pytest.mark.parametrize("delay", [0.02, 0.1, 0.2, 0.35])
def test_ctrl_c_at_any_moment_leaves_no_traceback(delay: float, dogbreed: Dogbreed) -> None:
    """Once Python runs our code: before that, the interpreter itself is interrupted."""
    process = dogbreed.start("init", "--print")
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode in (0, 143, -signal.SIGTERM), said
    assert "Traceback" not in said


def test_an_interrupt_is_none_the_less_when_it_comes_out_as_another_error(dogbreed: Dogbreed) -> None:
    """Python makes a RuntimeError of what `__set_name__` raises: here the signal comes while a class is made."""
    (dogbreed.folder / "tomllib.py").write_text(
        "import os, signal\n"
        "class Field:\n"
        "    def __set_name__(self, owner, name):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "class Model:\n"
        "    field = Field()\n"
    )
    line = ["--set", "train.epochs=1", "init", "--print"]
    process = replace(dogbreed, environment={"PYTHONPATH": str(dogbreed.folder)}).start(*line)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143, said
    assert said == "interrupted\n  why: SIGTERM\n"


def test_a_reader_that_goes_is_no_error(dogbreed: Dogbreed) -> None:
    """`| head -1`, also with stderr in the pipe."""
    for merged in ("", "2>&1"):
        line = f"{sys.executable} -m dogbreed_cli init --print {merged} | head -1; echo ${{PIPESTATUS[0]}} >&2"
        done = subprocess.run(
            ["bash", "-c", line], cwd=dogbreed.folder, env=clean_environment(), capture_output=True, text=True
        )
        assert done.stdout.count("\n") == 1
        assert done.stderr.strip() in ("141", "0")
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("predict - <&-", 1, "1 of 1 could not be classified"),
        ("upload dogs >&-", 2, "There is no folder dogs."),
        ("status <&- >&- 2>&-", 0, ""),
        ("init --print >/dev/full", 1, "No space left on device"),
        ("--json init --print >/dev/full", 1, "No space left on device"),
    ],
)
def test_streams_that_are_closed_or_full(line: str, code: int, said: str, dogbreed: Dogbreed) -> None:
    """A closed one is /dev/null: what is opened next must not get its number."""
    shell = ["bash", "-c", f"exec {sys.executable} -m dogbreed_cli {line}"]
    done = subprocess.run(shell, cwd=dogbreed.folder, env=clean_environment(), capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("arguments", [["stauts"], ["status"], ["--json", "stauts"]])
def test_a_closed_stderr_and_stdout_are_silent(arguments: list[str], dogbreed: Dogbreed) -> None:
    process = dogbreed.start(*arguments)
    assert process.stdout and process.stderr
    process.stdout.close()
    process.stderr.close()
    assert process.wait(60) == 141
