"""`dogbreed check` of this machine: its image, the weights, the data."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from checked_account import (
    draw_pictures,
    look_here,
    only,
    send,
)

from dogbreed_cli.commands import check as commands_check
from dogbreed_cli.console import Console
from dogbreed_cli.context import App
from dogbreed_cli.errors import DogbreedError, UsageError
from dogbreed_cli.local import BUCKET as LOCAL_BUCKET
from dogbreed_cli.local import Home, connect
from dogbreed_cli.local.preflight import check_disk, check_weights


def test_on_this_machine(
    image_python: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3 = connect(Home.find()).client("s3")
    s3.create_bucket(Bucket=LOCAL_BUCKET)
    send(s3, draw_pictures(tmp_path_factory.mktemp("dogs")), LOCAL_BUCKET)
    monkeypatch.setenv("TORCH_HOME", str(folder))
    cached = folder / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    cached.parent.mkdir(parents=True)
    cached.touch()
    found = look_here("model.backbone=resnet18")
    assert [check.name for check in found] == [
        "image", "libraries", "weights", "disk: home", "disk: cache", "bucket", "data"
    ]  # fmt: skip
    assert {check.status for check in found if "disk" not in check.name} == {"ok"}
    assert str(image_python.parent.parent) in only(found, "image").found
    for library in ("torch 2", "torchvision 0", "smdebug 1"):
        assert library in only(found, "libraries").found
    assert str(cached) in only(found, "weights").found
    assert "12 train" in only(found, "data").found


@pytest.mark.parametrize(
    ("weights", "cached", "status", "said"),
    [
        ("none", None, "ok", "random"),
        ("s3://bucket/dogs.pt", None, "ok", "the job reads"),
        ("gone.pt", None, "fail", "no file gone.pt"),
        ("dogs.pt", None, "ok", "dogs.pt"),
        ("DEFAULT", {"file": "x", "there": False}, "warn", "downloads them"),
        ("IMAGENET1K_V9", {"unknown": "'IMAGENET1K_V9'"}, "fail", "no weights IMAGENET1K_V9"),
    ],
)
def test_weights(folder: Path, weights: str, cached: dict[str, Any] | None, status: str, said: str) -> None:
    (folder / "dogs.pt").touch()
    (check,) = check_weights(weights, cached)
    assert (check.status, said in check.found) == (status, True), check


@pytest.mark.parametrize("name", ["home", "cache"])
def test_a_file_where_a_folder_belongs(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "file").touch()
    monkeypatch.setenv(f"DOGBREED_{name.upper()}", str(folder / "file"))
    found = {check.name: check for check in check_disk(Home.find(), Path(sys.executable))}
    failed = found.pop(f"disk: {name}")
    assert (failed.status, failed.found) == ("fail", f"{folder / 'file'} is no folder")
    assert f"DOGBREED_{name.upper()}" in failed.fix
    assert "fail" not in {check.status for check in found.values()}


def test_a_home_that_cannot_be_made_says_where_it_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "file").touch()
    monkeypatch.setenv("DOGBREED_HOME", "file")
    with pytest.raises(DogbreedError, match="cannot keep its things") as caught:
        look_here()
    assert "DOGBREED_HOME" in caught.value.fix


def test_an_interpreter_without_the_libraries(folder: Path) -> None:
    bare = folder / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    found = look_here(f"local.python={bare}")
    assert only(found, "libraries").status == "fail" and "torch" in only(found, "libraries").found
    assert "local.python" in only(found, "libraries").fix
    assert only(found, "weights").status == "warn"
    bare.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    assert "does not run: broken" in only(look_here(f"local.python={bare}"), "image").found
    assert "names no interpreter" in only(look_here("local.python=gone"), "image").found


def test_an_image_that_is_not_built(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOGBREED_CACHE", str(folder / "cache"))
    found = look_here()
    assert only(found, "image").status == "warn" and "not built" in only(found, "image").found
    assert only(found, "weights").found == "DEFAULT: not checked: no image"
    assert "nothing has been uploaded" in only(found, "data").found
    assert not (folder / "cache").exists()


def test_this_machine_has_no_policies(folder: Path) -> None:
    with pytest.raises(UsageError, match="--target aws"):
        commands_check.look(App(Console()), folder / "iam")
    assert not (folder / "iam").exists()
