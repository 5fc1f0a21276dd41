"""What the tests share: the container image, drawn dogs, a `dogbreed` that runs in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest
import read_once  # noqa: F401
from click.testing import CliRunner
from entrypoint_runs import draw_images
from forked import build_warm_image, run_forked_python
from forked import pytest_configure as pytest_configure
from json_documents import check_document
from slowest_first import pytest_collection_modifyitems as pytest_collection_modifyitems

from dogbreed_cli.breeds import draw_breeds
from dogbreed_cli.cli import cli
from dogbreed_cli.local.image import ensure

# Small enough to train in a second; the ResNet50 of test_resnet50.py is the exception.
SMALL = {
    "DOGBREED_MODEL__BACKBONE": "resnet18",
    "DOGBREED_MODEL__IMAGE_SIZE": "64",
    "DOGBREED_MODEL__WEIGHTS": "none",
    "DOGBREED_TRAIN__WORKERS": "0",
    # One job less for whatever is tested; test_features_job.py has those on features.
    "DOGBREED_FEATURES__ENABLED": "false",
    # Two trainings side by side on two processors: their threads would mostly wait for each other.
    "DOGBREED_TRAIN__ENVIRONMENT__OMP_NUM_THREADS": "1",
}

# What no output and no file may hold, for those who set it.
PLANTED = "planted-"
SECRETS = {
    "DOGBREED_TRAIN__ENVIRONMENT": json.dumps({"HF_TOKEN": f"{PLANTED}hf-token"}),
    "AWS_ACCESS_KEY_ID": f"{PLANTED}access-key",
    "AWS_SECRET_ACCESS_KEY": f"{PLANTED}secret-key",
    "AWS_SESSION_TOKEN": f"{PLANTED}session-token",
}


def clean_environment(**more: str) -> dict[str, str]:
    """The machine's environment without what a developer may have set for dogbreed or AWS."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DOGBREED_", "AWS_")) or k == "DOGBREED_CACHE"}
    return {**kept, **more}


@dataclass(frozen=True)
class Dogbreed:
    """`dogbreed ...` in a process of its own, in a folder of its own."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "dogbreed_cli", *arguments]

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments), cwd=self.folder, env=clean_environment(**{**SMALL, **self.environment}),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
        )  # fmt: skip

    def run(self, *arguments: str, code: int = 0, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        """Fails the test, with both outputs, unless the exit code is `code`."""
        result = self.call(arguments, clean_environment(**{**SMALL, **self.environment}), stdin)
        assert result.returncode == code, f"{arguments}\n{result.stdout}\n{result.stderr}"
        assert PLANTED not in result.stdout + result.stderr, "a secret is shown"
        return result

    def call(self, arguments: Sequence[str], env: dict[str, str], stdin: bytes) -> subprocess.CompletedProcess[str]:
        command, cwd = self.command(*arguments), self.folder
        done = subprocess.run(command, cwd=cwd, env=env, input=stdin, capture_output=True, timeout=300)
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    def json(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """The one JSON document on stdout, which is as docs/json-schema/ says."""
        document = json.loads(self.run("--json", *arguments, code=code).stdout)
        check_document(arguments, document)
        return document


@dataclass(frozen=True)
class Forked(Dogbreed):
    """The same in forks of one process, which imports boto3 and SageMaker's SDK once for many commands."""

    def call(self, arguments: Sequence[str], env: dict[str, str], stdin: bytes) -> subprocess.CompletedProcess[str]:
        return run_forked_python(*self.command(*arguments), cwd=self.folder, env=env, stdin=stdin)


@dataclass(frozen=True)
class InProcess(Dogbreed):
    """The same in this process, which then imports boto3 and SageMaker's SDK once for many commands."""

    def run(self, *arguments: str, code: int = 0, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        wanted = clean_environment(**{**SMALL, **self.environment})
        environment = {name: wanted.get(name) for name in {*os.environ, *wanted}}
        with contextlib.chdir(self.folder):
            done = CliRunner(env=environment).invoke(cli, list(arguments), input=stdin)
        assert done.exit_code == code, f"{arguments}\n{done.output}\n{done.exception!r}"
        return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """The first true value of `condition()`."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return found


def read_until(process: subprocess.Popen[str], pattern: str) -> str:
    """The first group of `pattern` in the process's stderr, read line by line."""
    assert process.stderr
    for line in process.stderr:
        if found := re.search(pattern, line):
            return found[1]
    raise AssertionError(f"{pattern!r} was never said")


def processes_of(folder: Path) -> list[psutil.Process]:
    """Processes that belong to dogbreed homes below the folder: workers, trainings, endpoints."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(folder) in " ".join([*process.cmdline(), process.environ().get("SAGEMAKER_BASE_DIR", "")]):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return [process for process in found if process.pid != os.getpid()]


@pytest.fixture(scope="session")
def image_python() -> Path:
    """The interpreter of the container image, built on the first run on a machine."""
    return ensure(print)


@pytest.fixture(scope="session")
def warm_python(image_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, but torch is imported already when it starts: for jobs that are not what a test is about."""
    return build_warm_image(image_python, tmp_path_factory.mktemp("warm"))


@pytest.fixture(scope="session")
def dogs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six breeds, 64 pixels: 16 training, 6 validation and 6 test pictures each."""
    folder = tmp_path_factory.mktemp("dogs")
    draw_breeds(folder, seed=1, counts={"train": 16, "valid": 6, "test": 6}, size=(64, 64))
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of one colour a class, for the entry points to learn from."""
    root = tmp_path_factory.mktemp("images")
    draw_images(root)
    return root


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and no setting from the environment."""
    monkeypatch.chdir(tmp_path)
    for variable in [name for name in os.environ if name.startswith("DOGBREED_")]:
        monkeypatch.delenv(variable)
    return tmp_path


@pytest.fixture
def dogbreed(tmp_path: Path) -> Forked:
    return Forked(tmp_path)


@pytest.fixture(scope="module")
def project(dogs: Path, warm_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dogbreed]:
    """A folder with the dogs uploaded, and no debugger, whose import takes a second; all that runs there is ended."""
    settings = {"DOGBREED_DEBUGGER__ENABLED": "false", "DOGBREED_LOCAL__PYTHON": str(warm_python)}
    dogbreed = Forked(tmp_path_factory.mktemp("project"), {**settings, "DOGBREED_MODEL__IMAGE_SIZE": "32"})
    dogbreed.run("upload", str(dogs))
    yield dogbreed
    dogbreed.run("teardown", "--yes")
    assert not processes_of(dogbreed.folder)


# ---- what some files share: each imports what it needs itself, since most files need none of it


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    """The URL of moto's S3."""
    from moto_server import serve_moto

    with serve_moto() as url:
        yield url


@pytest.fixture
def client(s3_endpoint: str) -> Any:
    """boto3's, of moto's S3."""
    from moto_server import open_client

    return open_client(s3_endpoint)


@pytest.fixture
def bucket(client: Any) -> str:
    name = f"dogs-{uuid4().hex}"
    client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def requests(client: Any) -> Counter[str]:
    """How many of each operation the client has sent."""
    from moto_server import count_requests

    return count_requests(client)


@pytest.fixture(scope="module")
def account_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of an AWS with the account of checked_account.py."""
    from checked_account import draw_pictures, serve_account

    with serve_account(draw_pictures(tmp_path_factory.mktemp("dogs"))) as url:
        yield url


@pytest.fixture
def account(account_url: str) -> Any:
    from checked_account import allowed_all

    return allowed_all(account_url)


@pytest.fixture
def account_environment(account: Any, account_url: str, folder: Path) -> Iterator[dict[str, str]]:
    from checked_account import environment_of

    with environment_of(account, account_url, folder) as environment:
        yield environment


@pytest.fixture
def look(account_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """All lines of a check of the account, with some settings."""
    from checked_account import look_there

    for name, value in account_environment.items():
        monkeypatch.setenv(name, value)
    return look_there


@pytest.fixture(scope="module")
def price_server() -> Iterator[Any]:
    from price_list import serve_prices

    with serve_prices() as server:
        yield server


@pytest.fixture
def price_list(price_server: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from price_list import name_in_environment

    return name_in_environment(price_server, folder, monkeypatch)


@pytest.fixture
def trained(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A machine with a training job that has ended, and an image whose endpoints start at once."""
    from serving_machine import serving_image, trained_in

    with trained_in(tmp_path, serving_image(tmp_path_factory), monkeypatch) as machine:
        yield machine


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Every worker, training and endpoint that a test started has ended when the tests have."""
    yield
    base = tmp_path_factory.getbasetemp()
    wait_for(lambda: not processes_of(base))
