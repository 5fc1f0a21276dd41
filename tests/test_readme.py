"""The README and docs/github-actions.yml as a new user takes them: every block of commands is typed as it stands.

In a folder with images, in a terminal. Jobs run in a container that needs no torch (see
replayed_container.py); everything else is what a user has. Target aws is this machine's own SageMaker over HTTP.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml
from aws_account import Account
from checked_account import PLENTY
from conftest import SMALL, clean_environment, processes_of, wait_for
from forked import build_forked_command
from json_documents import check_document
from local_jobs import kill_below
from replayed_container import build_replayed_image
from served import serve
from terminal import open_terminal, read_screen

from dogbreed_cli import policies
from dogbreed_cli.config import load
from dogbreed_cli.local import ROLE_ARN, Home

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
WORKFLOW = ROOT / "docs" / "github-actions.yml"
# Commands that no test can run, and why. Everything else is run.
NOT_RUN = {
    "make demo": "builds the container image; test_demo.py and the demo itself are run by `make test` and by CI",
    "make test": "is what runs this",
    "pip install .": "the tests run what is installed; it needs a network",
}
BUCKET, NUMBER = "sagemaker-us-east-1-000000000000", "000000000000"


def blocks(language: str) -> list[tuple[str, str]]:
    """(the heading above it, its text), in the README's order."""
    found, heading = [], ""
    for part in re.finditer(rf"^#+ (?P<heading>[^\n]+)$|^```{language}\n(?P<text>.*?)^```$", README, re.M | re.S):
        heading = part["heading"] or heading
        if part["text"]:
            found.append((heading, part["text"]))
    return found


def commands(heading: str) -> str:
    """What is typed in a section. A line that is no command would be output, which nobody would compare."""
    lines = [line for section, text in blocks("console") if section == heading for line in text.splitlines()]
    assert all(line.startswith("$ ") for line in lines)
    typed = [line.removeprefix("$ ") for line in lines]
    return "\n".join(line for line in typed if line.partition("#")[0].strip() not in NOT_RUN)


SECTIONS = [heading for heading in dict.fromkeys(heading for heading, _ in blocks("console")) if commands(heading)]


@pytest.fixture(scope="module")
def image(dogs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_replayed_image(tmp_path_factory.mktemp("container") / "image", dogs)


@pytest.fixture
def project(dogs: Path, image: Path, tmp_path: Path) -> Iterator[Path]:
    """What the README says that the reader has: dogImages, photos and a dog, and a file of weights."""
    shutil.copytree(dogs, tmp_path / "dogImages")
    shutil.copytree(next((dogs / "test").iterdir()), tmp_path / "photos")
    shutil.copy(next((dogs / "test").rglob("*.jpg")), tmp_path / "dog.jpg")
    (tmp_path / "resnet50.pth").write_bytes(b"weights")
    yield tmp_path
    kill_below(tmp_path)


@pytest.fixture
def environment(image: Path, project: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{clean_environment()['PATH']}"
    settings = {"DOGBREED_LOCAL__PYTHON": str(image), "DOGBREED_CACHE": str(project / "cache"), "PATH": path}
    # Of a job's own settings only what keeps AWS's tables from being asked.
    return clean_environment(**{**SMALL, **settings, "AWS_CONFIG_FILE": str(project / "none"), "PAGER": ""})


@pytest.fixture
def quick(environment: dict[str, str], project: Path) -> dict[str, str]:
    """The same with a `dogbreed` that has everything imported."""
    return {**environment, "PATH": f"{build_forked_command(project / 'quick').parent}:{environment['PATH']}"}


def type_in(script: str, folder: Path, environment: dict[str, str], typed: bytes = b"") -> str:
    """In a terminal, stopping at the first command that fails. What is seen."""
    with open_terminal(100, typed) as (path, raw), Path(path).open("r+b", buffering=0) as terminal:
        shell = subprocess.Popen(
            ["bash", "-e", "-u", "-o", "pipefail", "-c", script],
            cwd=folder,
            env=environment,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        try:
            code = shell.wait(timeout=120)
        finally:
            with suppress(ProcessLookupError):  # what was started with & and runs on
                os.killpg(shell.pid, signal.SIGTERM)
    seen = read_screen(raw.decode(errors="replace"))
    assert code == 0, seen
    assert "Traceback" not in seen
    return seen


def test_from_top_to_bottom_the_commands_run_as_they_stand(
    project: Path, environment: dict[str, str], quick: dict[str, str]
) -> None:
    """In one folder, each section on what those above it left; but for the one on AWS."""
    assert len(SECTIONS) > 5
    for heading in SECTIONS:
        if heading == "On AWS":
            continue
        seen = type_in(commands(heading), project, quick)
        assert not re.search(r"^error:", seen, re.M), f"{heading}: {seen}"
    answers = (project / "answers.jsonl").read_text().splitlines()
    assert len(answers) == len(list((project / "photos").iterdir()))
    check_document(["train"], json.loads((project / "train.json").read_text()))
    # This one is the command that was installed, as it is.
    subprocess.run(["dogbreed", "-q", "teardown", "--yes"], cwd=project, env=environment, check=True)


@contextmanager
def account(project: Path, image: Path, environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """An AWS whose jobs really run: `dogbreed local serve`, and in front of it what that lacks of IAM and quotas."""
    with serve(Home(project / "aws")) as served:
        place = policies.Place(BUCKET, "dogbreed", "dogbreed", ROLE_ARN, "us-east-1", NUMBER)
        front = Account(served.url, policies.caller(place), dict(PLENTY)).start()
        url = f"http://127.0.0.1:{front.server_port}"
        kept = {name: value for name, value in environment.items() if name != "DOGBREED_LOCAL__PYTHON"}
        yield {
            **kept,
            **served.environment,
            "AWS_ENDPOINT_URL_IAM": url,
            "AWS_ENDPOINT_URL_SERVICE_QUOTAS": url,
            "AWS_ENDPOINT_URL_PRICING": "http://127.0.0.1:9",
            "DOGBREED_AWS__TRAINING_IMAGE": image.as_uri(),
            "DOGBREED_AWS__INFERENCE_IMAGE": image.as_uri(),
            "DOGBREED_AWS__POLL_SECONDS": "0.2",
        }
        front.shutdown()
        front.server_close()
        served.end()


def test_the_section_on_aws_runs_as_it_stands(project: Path, image: Path, quick: dict[str, str]) -> None:
    answers = f"us-east-1\n{ROLE_ARN}\n\n" + "y\n" * 3
    with account(project, image, quick) as aws:
        seen = type_in(commands("On AWS"), project, aws, answers.encode())
    assert not re.search(r"^error:", seen, re.M), seen
    assert (project / "config.toml").read_text().count(ROLE_ARN) == 1
    assert seen.count("AWS charges your account for this. Start it? [y/N]") == 3


def test_the_toml_blocks_are_configurations(folder: Path) -> None:
    for _, text in blocks("toml"):
        (folder / "config.toml").write_text(text)
        assert load().target == "aws"
    assert blocks("toml")


def test_few_commands_are_not_run_and_each_stands_there() -> None:
    typed = [line for _, text in blocks("console") for line in text.splitlines()]
    steps = [line for step in steps_of(WORKFLOW) for line in step.get("run", "").splitlines()]
    for command in NOT_RUN:
        assert any(line.removeprefix("$ ").partition("#")[0].strip() == command for line in typed + steps), command
    assert {language for language in re.findall(r"^```(\w*)$", README, re.M) if language} == {"console", "toml"}


# ---- docs/github-actions.yml


def steps_of(workflow: Path) -> list[dict[str, str]]:
    (job,) = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"].values()
    return job["steps"]


def test_the_workflow_runs_line_by_line(project: Path, quick: dict[str, str]) -> None:
    (job,) = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"].values()
    for step in steps_of(WORKFLOW):
        script = step.get("run", "")
        if not script or script.partition("#")[0].strip() in NOT_RUN:
            continue
        done = subprocess.run(  # as GitHub does it
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script],
            cwd=project, env={**quick, **job["env"], "CI": "true"}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    check_document(["upload"], json.loads((project / "upload.json").read_text()))
    check_document(["train"], json.loads((project / "train.json").read_text()))
    (uploaded,) = [step["with"]["path"] for step in steps_of(WORKFLOW) if "upload-artifact" in step.get("uses", "")]
    assert all(list(project.glob(path)) for path in uploaded.split())
    wait_for(lambda: not processes_of(project))
