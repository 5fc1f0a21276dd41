"""The command line: help at once, exit codes, one JSON document, and every kind of error as a person meets it."""

from __future__ import annotations

import errno
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from botocore.exceptions import ClientError, NoCredentialsError, NoRegionError, ParamValidationError
from click.testing import CliRunner
from conftest import Dogbreed, clean_environment, wait_for

from dogbreed_cli import errors
from dogbreed_cli.cli import BESIDE, PIPELINE, cli, explain

COMMANDS = [*PIPELINE, *BESIDE]
HEAVY = {"boto3", "botocore", "msgspec", "pydantic", "rich", "torch", "sagemaker", "optuna", "PIL", "numpy",
         "sklearn", "matplotlib", "jinja2", "requests", "urllib3", "psutil", "platformdirs"}  # fmt: skip
LEAVES: dict[type[errors.DogbreedError], int] = {
    errors.DogbreedError: 1,
    errors.NotFound: 1,
    errors.UsageError: 2,
    errors.Declined: 3,
    errors.AccessError: 4,
    errors.JobFailed: 5,
    errors.QualityGateMissed: 6,
    errors.LimitExceeded: 7,
    errors.WaitTimedOut: 8,
    errors.Interrupted: 130,
}


@pytest.fixture
def raising() -> Iterator[list[BaseException]]:
    """Adds a command `raise` that raises what the list holds."""
    raised: list[BaseException] = []

    @click.command(name="raise")
    @click.pass_obj
    def command(app: Any) -> None:
        raise raised[0]

    BESIDE["raise"] = "Only in this test."
    sys.modules["dogbreed_cli.commands.raise"] = type(sys)("dogbreed_cli.commands.raise")
    setattr(sys.modules["dogbreed_cli.commands.raise"], "raise", command)
    yield raised
    del BESIDE["raise"], sys.modules["dogbreed_cli.commands.raise"]


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(cli, list(arguments))


def contents(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


# ---- help


@pytest.mark.parametrize("arguments", [[], *([name] for name in COMMANDS)], ids=lambda it: " ".join(it) or "dogbreed")
def test_help_imports_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    program = (
        "import sys\nfrom dogbreed_cli.cli import main\n"
        f"try: main({[*arguments, '--help']!r}, prog_name='dogbreed')\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, env=clean_environment()
    )
    assert done.returncode == 0, done.stderr
    assert "Examples:" in done.stdout
    loaded = {name.split(".")[0] for name in done.stderr.split()}
    assert not loaded & HEAVY
    if not arguments:
        assert not [name for name in done.stderr.split() if name.startswith("dogbreed_cli.commands.")]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.name == name
    first = (command.callback.__doc__ or "").strip().splitlines()[0]
    assert first == {**PIPELINE, **BESIDE}[name], "cli.py says something else than the docstring"
    assert len(first) <= 66, "would not fit beside the command's name on 80 columns"
    assert command.epilog and f"dogbreed {name}" in command.epilog
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.name


def test_the_overview_has_every_command_and_cuts_nothing() -> None:
    page = invoke("--help").stdout
    assert page.count("...") == 1, "but for the usage line's [ARGS]..."
    for name, text in {**PIPELINE, **BESIDE}.items():
        assert re.search(rf"^  {name} +{re.escape(text)}$", page, re.MULTILINE), name
    assert cli.list_commands(click.Context(cli)) == COMMANDS


def test_every_module_of_commands_is_a_command() -> None:
    folder = Path(errors.__file__).parent / "commands"
    assert sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__") == sorted(COMMANDS)


def test_no_arguments_show_the_help() -> None:
    result = invoke()
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Usage:")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_offered(shell: str, dogbreed: Dogbreed) -> None:
    environment = clean_environment(_DOGBREED_COMPLETE=f"{shell}_source")
    done = subprocess.run(dogbreed.command(), capture_output=True, text=True, env=environment)
    assert done.returncode == 0
    assert "_DOGBREED_COMPLETE" in done.stdout


# ---- exit codes, one document


def test_the_tree_of_errors_is_complete() -> None:
    assert set(LEAVES) == {errors.DogbreedError, *errors.DogbreedError.__subclasses__()}
    for kind, code in LEAVES.items():
        assert re.search(rf"{kind.__name__} +{code} ", errors.__doc__ or "")


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_every_error_has_its_exit_code(kind: type[errors.DogbreedError], raising: list[BaseException]) -> None:
    raising.append(kind("what", "why", "fix"))
    result = invoke("raise")
    assert (result.exit_code, result.stdout) == (LEAVES[kind], "")
    assert "what\n  why: why\n  fix: fix" in result.stderr
    result = invoke("--json", "raise")
    expected = {"schema_version": 1, "error": "what", "why": "why", "fix": "fix", "code": LEAVES[kind]}
    assert json.loads(result.stdout) == expected
    assert result.exit_code == LEAVES[kind]


def refusal(code: str, message: str = "no") -> ClientError:
    said = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"RequestId": "id-1"}}
    return ClientError(said, "CreateTrainingJob")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (refusal("AccessDeniedException", "iam:PassRole"), 4, "CreateTrainingJob was refused: iam:PassRole"),
        (refusal("ExpiredTokenException"), 4, "ExpiredTokenException, request id-1"),
        (refusal("ResourceLimitExceeded", "is 0 Instances"), 7, "is 0 Instances"),
        (refusal("ValidationException"), 1, "ValidationException, request id-1"),
        (NoCredentialsError(), 4, "aws configure"),
        (NoRegionError(), 1, "AWS could not be asked"),
        (ParamValidationError(report="too long"), 2, "too long"),
        (PermissionError(13, "Permission denied", "/some/file"), 1, "Permission denied: /some/file"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (click.Abort(), 130, "interrupted"),
        (click.FileError("f", "hint"), 2, "f"),
    ],
)
def test_other_errors_are_translated(error: BaseException, code: int, said: str, raising: list[BaseException]) -> None:
    raising.append(error)
    result = invoke("--json", "raise")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["code"]) == (code, code)
    assert said in str(found)
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("error", "fix"),
    [
        (FileExistsError(errno.EEXIST, "File exists", "/some/file"), "a folder is needed there"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "/some/file"), "a file is needed there"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/some/file"), "name another path"),
        (OSError(errno.ENOSPC, "No space left on device"), "make room"),
        (OSError(errno.EROFS, "Read-only file system", "/some/file"), "run it elsewhere"),
        (OSError(errno.ELOOP, "Too many levels of symbolic links", "/some/file"), "mend that path"),
    ],
)
def test_an_error_of_a_path_says_what_to_do_with_it(error: OSError, fix: str, raising: list[BaseException]) -> None:
    raising.append(error)
    found = json.loads(invoke("--json", "raise").stdout)
    assert found["error"].startswith(error.strerror) and fix in found["fix"]


def test_a_bug_keeps_its_traceback(raising: list[BaseException]) -> None:
    raising.append(KeyError("oops"))
    result = invoke("raise")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Traceback" in result.stderr
    assert "raise raised[0]" in result.stderr
    found = json.loads(invoke("--json", "raise").stdout)
    assert found["error"] == "KeyError: 'oops'"
    assert found["fix"].startswith("report it")
    assert isinstance(explain(ValueError("x")), errors.DogbreedError)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--nonsense"],
        ["stauts"],
        ["tune", "--nonsense"],
        ["tune", "--max-jobs", "many"],
        ["predict"],
        ["upload"],
        ["train", "--min-accuracy", "2"],
        ["tune", "--max-jobs", "0"],
        ["--set", "x", "status"],
        ["--target", "moon", "status"],
        ["predict", "a.jpg", ""],
        ["upload", ""],
        ["predict", "a.jpg", "--csv="],
        ["report", "--output", ""],
        ["deploy", "--job", ""],
    ],
)
def test_usage_errors(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    for position in {0, len(arguments)}:
        result = invoke(*arguments[:position], "--json", *arguments[position:])
        found = json.loads(result.stdout)
        assert set(found) == {"schema_version", "error", "why", "fix", "code"}
        assert (result.exit_code, found["code"]) == (2, 2)
    assert not list(tmp_path.iterdir())


def test_where_a_program_reads_a_missing_command_is_an_error_and_not_the_help() -> None:
    for arguments, known in (["--json"], "dogbreed"), (["--json", "local"], "dogbreed local"):
        result = invoke(*arguments)
        found = {"error": "Missing command.", "why": "", "fix": f"see `{known} --help`", "code": 2}
        assert (result.exit_code, json.loads(result.stdout)) == (2, {"schema_version": 1, **found})
        assert "Usage" not in result.stderr
    result = invoke("local")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Usage: ")


def test_a_usage_error_says_what_was_meant() -> None:
    assert "no command stauts: did you mean status?" in invoke("stauts").stderr
    said = invoke("train", "--json").stderr
    assert "write it before the command: dogbreed --json ..." in said
    assert "Did you mean" not in said, "--spot is not meant"
    assert "see `dogbreed report --help`" in invoke("report", "--compare", "one").stderr
    assert "see `dogbreed tune --help`" in invoke("tune", "--nonsense").stderr
    assert "nothing was named" in invoke("predict", "").stderr


def test_a_closed_pipe_is_silent(dogbreed: Dogbreed) -> None:
    shown = ["--help"], ["--version"], ["train", "--help"], ["init", "--print"]
    for arguments in (*shown, ["--json", "init", "--print"], ["--json", "stauts"]):
        process = dogbreed.start(*arguments)
        assert process.stdout and process.stderr
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(60) == 141
        assert "Traceback" not in said and "BrokenPipe" not in said


def test_ctrl_c_is_130(dogbreed: Dogbreed) -> None:
    """While it waits for a picture that never comes on standard input."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        dogbreed.command("--json", "predict", "-"),
        cwd=dogbreed.folder,
        env=clean_environment(),
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
    )
    wait_for((dogbreed.folder / ".dogbreed").exists)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130  # with standard input still open
    out, err = process.communicate()
    assert json.loads(out) == {"schema_version": 1, "error": "interrupted", "why": "Ctrl-C", "fix": "", "code": 130}
    assert b"Traceback" not in err
