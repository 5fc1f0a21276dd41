"""Commands where nothing is there yet, their one document with --json, and the requests that --dry-run prints."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from click.testing import CliRunner
from conftest import SMALL, Dogbreed
from json_documents import check_document

from dogbreed_cli import endpoint_requests, requests
from dogbreed_cli.cli import cli
from dogbreed_cli.config import Config
from dogbreed_cli.local import BUCKET, ROLE_ARN, Home, connect, wire


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image_python: Path) -> Path:
    """An empty working directory. `local.python` stands for the image, so that nothing has to be looked for."""
    monkeypatch.chdir(tmp_path)
    for name, value in {**SMALL, "DOGBREED_LOCAL__PYTHON": str(image_python)}.items():
        monkeypatch.setenv(name, value)
    for name in ("DOGBREED_HOME", "DOGBREED_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def invoke(*arguments: str, code: int = 0, **options: Any) -> Any:
    result = CliRunner().invoke(cli, list(arguments), **options)
    assert result.exit_code == code, f"{arguments}\n{result.stdout}\n{result.stderr}"
    return result


def document(*arguments: str, code: int = 0, **options: Any) -> dict[str, Any]:
    found = json.loads(invoke("--json", *arguments, code=code, **options).stdout)
    check_document(arguments, found)
    return found


def contents(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def created(folder: Path) -> list[str]:
    """All files but the home's own .gitignore."""
    return [name for name in contents(folder) if name != ".dogbreed/.gitignore"]


def make_model(folder: Path, name: str, by_hand: bool = False) -> Any:
    """A model as `deploy` leaves it behind, or one that somebody else made: without the tag. Returns the client."""
    boto = connect(Home(folder / ".dogbreed"))
    s3, client = boto.client("s3"), boto.client("sagemaker")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="model.tar.gz", Body=b"never served")
    # The image, which CreateModel looks for, is this interpreter.
    site = requests.Site(BUCKET, ROLE_ARN, Path(sys.executable).as_uri())
    request = endpoint_requests.model(Config(), site, name, f"s3://{BUCKET}/model.tar.gz")
    client.create_model(**{**request, "Tags": [] if by_hand else request["Tags"]})
    return client


# ---- nothing is there yet


@pytest.mark.parametrize(
    ("arguments", "what", "fix"),
    [
        (["predict", "dog.png"], "no endpoint dogbreed-endpoint", "dogbreed deploy"),
        (["train"], "s3://dogbreed-local/dogbreed/data", "upload"),
        (["train", "--dry-run"], "s3://dogbreed-local/dogbreed/data", "upload"),
        (["tune"], "s3://dogbreed-local/dogbreed/data", "upload"),
        (["tune", "--dry-run"], "s3://dogbreed-local/dogbreed/data", "upload"),
        (["train", "--from-best"], "no completed tuning job", "dogbreed tune"),
        (["train", "--tuning-job", "dogbreed-tune-1"], "no tuning job dogbreed-tune-1", "dogbreed status"),
        (["train", "--attach", "dogbreed-train-1"], "no training job dogbreed-train-1", "dogbreed status"),
        (["tune", "--attach", "dogbreed-tune-1"], "no tuning job dogbreed-tune-1", "dogbreed status"),
        (["report"], "no completed training job", "dogbreed train"),
        (["report", "--job", "x"], "no training job x", "dogbreed status"),
        (["deploy"], "no completed training job", "dogbreed train"),
        (["deploy", "--job", "x"], "no training job x", "dogbreed status"),
        (["logs"], "has no training job", "name a job"),
    ],
    ids=lambda it: " ".join(it) if isinstance(it, list) else "",
)
def test_what_is_missing_is_said_with_the_next_step(
    arguments: list[str], what: str, fix: str, folder: Path, dogs: Path
) -> None:
    dog = next(dogs.rglob("*.jpg"))
    arguments = [str(dog) if argument == "dog.png" else argument for argument in arguments]
    result = invoke(*arguments, code=1)
    assert result.stdout == ""
    assert what in result.stderr
    assert fix in result.stderr
    assert result.stderr.count("error:") == 1
    found = document(*arguments, code=1)
    assert what in found["error"]
    assert fix in found["fix"]
    assert created(folder) == []


def test_status_and_teardown_of_nothing(folder: Path) -> None:
    assert "nothing is running" in invoke("status").stdout
    assert document("status")["items"] == []
    for options in ([], ["--yes"], ["--dry-run"], ["--yes", "--data", "--logs"]):
        assert "is there to remove" in invoke("teardown", *options).stdout
        assert document("teardown", *options)["removed"] == []
    assert created(folder) == []


def test_upload_of_nothing(folder: Path) -> None:
    assert invoke("upload", "missing", code=2).stdout == ""
    (folder / "empty").mkdir()
    assert document("upload", "empty", code=2)["code"] == 2
    assert created(folder) == []


# ---- one document, or a quiet result


def test_upload_with_json_and_quiet(folder: Path, dogs: Path) -> None:
    found = document("upload", str(dogs))
    assert found["counts"] == {"train": 96, "valid": 36, "test": 36}
    assert (found["sent"], len(found["classes"])) == (168, 6)
    again = invoke("-q", "upload", str(dogs))
    assert again.stderr == ""
    assert "168 were there" in again.stdout


def test_predict_goes_on_after_a_bad_file(folder: Path) -> None:
    (folder / "notes.jpg").write_text("no image")
    found = document("predict", "notes.jpg", "missing.jpg", "http://127.0.0.1/a.jpg", "-", code=1, input=b"")
    said = [answer["error"] for answer in found["answers"]]
    assert [answer["image"] for answer in found["answers"]] == [
        "notes.jpg",
        "missing.jpg",
        "http://127.0.0.1/a.jpg",
        "-",
    ]
    for text, expected in zip(
        said, ("no JPEG", "no such file", "are fetched; download it", "an empty file"), strict=True
    ):
        assert expected in text


def test_teardown_where_nobody_can_be_asked(folder: Path) -> None:
    client = make_model(folder, "dogbreed-train-1")
    found = document("teardown", code=2)
    assert "--yes" in found["fix"]
    assert invoke("teardown", code=2).stdout == ""
    planned = document("teardown", "--dry-run")["planned"]
    (model,) = client.list_models()["Models"]
    assert [(item["kind"], item["name"]) for item in planned] == [("model", model["ModelName"])]
    assert [item["name"] for item in document("teardown", "--yes")["removed"]] == [model["ModelName"]]
    assert client.list_models()["Models"] == []


def test_teardown_leaves_what_is_another_s(folder: Path) -> None:
    client = make_model(folder, "dogbreed-by-hand", by_hand=True)
    assert document("teardown", "--yes")["removed"] == []
    assert len(client.list_models()["Models"]) == 1


def test_in_a_process_of_its_own_stdout_is_one_document(dogbreed: Dogbreed) -> None:
    assert dogbreed.json("status")["items"] == []
    done = dogbreed.run("--json", "teardown", "--yes")
    assert done.stderr == ""
    assert json.loads(done.stdout)["removed"] == []
    assert dogbreed.json("init")["written"] == "config.toml"
    assert "\x1b[" not in dogbreed.run("init", "--print").stdout


# ---- --dry-run

TRAINING, TUNING = "CreateTrainingJob", "CreateHyperParameterTuningJob"


def test_dry_run_prints_what_would_be_sent_and_sends_nothing(folder: Path, dogs: Path) -> None:
    invoke("-q", "upload", str(dogs))
    before = contents(folder)
    for arguments, operation in (
        ("train --dry-run", TRAINING),
        ("train --dry-run --lr 0.5 --epochs 2 --name dogbreed-mine", TRAINING),
        ("tune --dry-run", TUNING),
        ("tune --dry-run --strategy Random --max-jobs 9", TUNING),
        ("tune --dry-run --warm-start dogbreed-tune-1", TUNING),
    ):
        found = document(*arguments.split())
        [request] = found["dry_run"]
        model = botocore.session.get_session().get_service_model("sagemaker").operation_model(operation)
        report = ParamValidator().validate(request, model.input_shape)
        assert not report.has_errors(), report.generate_report()
        wire.validate(model, request)
    assert json.loads(invoke("tune", "--dry-run").stdout)["dry_run"]
    assert contents(folder) == before
