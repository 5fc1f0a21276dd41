"""The files of `predict --csv` and `--jsonl`: in order, whole, beside nothing else and over nothing else."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import InProcess
from named_pipes import read_pipe
from PIL import Image

from dogbreed_cli.answer_files import answer_file, as_csv, as_json_lines
from dogbreed_cli.answers import Answer

BEST = ({"label": "Beagle", "probability": 0.75},)


def test_files_have_the_order_of_the_images_whatever_came_first(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with answer_file(path, as_json_lines) as write:
        for place in (2, 0, 3):
            write(place, Answer(f"{place}.jpg", BEST, 1.0))
        assert [json.loads(line)["image"] for line in Path(f"{path}.tmp").read_text().splitlines()] == ["0.jpg"]
        write(1, Answer("1.jpg", error="broken"))
        assert not path.exists()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["image"] for line in lines] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert lines[1] == {"image": "1.jpg", "predictions": [], "milliseconds": None, "error": "broken"}
    assert not Path(f"{path}.tmp").exists()


def test_a_file_that_was_broken_off_keeps_its_other_name(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("of yesterday")
    with pytest.raises(KeyboardInterrupt), answer_file(path, as_csv) as write:
        write(0, Answer("0.jpg", BEST, 1.0))
        raise KeyboardInterrupt
    assert path.read_text() == "of yesterday"
    assert "0.jpg,1,Beagle,0.75," in Path(f"{path}.tmp").read_text()


def test_answers_go_into_a_pipe_as_they_come_and_behind_a_link_into_its_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("a.jsonl")
    with read_pipe(tmp_path / "pipe") as read, answer_file(tmp_path / "pipe", as_json_lines) as write:
        write(0, Answer("0.jpg", BEST, 1.0))
        first = read()
        with answer_file(tmp_path / "link", as_json_lines) as write_too:
            write_too(0, Answer("0.jpg", BEST, 1.0))
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "link").is_symlink()
    assert (tmp_path / "a.jsonl").read_bytes() == first
    assert json.loads(first)["image"] == "0.jpg"
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("form", [as_csv, as_json_lines])
def test_a_name_that_is_no_text_can_be_read_back(tmp_path: Path, form: Any) -> None:
    path, name = tmp_path / "answers", os.fsdecode(b"caf\xe9-\xc3\xa9.jpg")
    with answer_file(path, form) as write:
        write(0, Answer(name, BEST, 1.0))
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        line = next(csv.DictReader(file)) if form is as_csv else json.loads(file.read())
    assert line["image"] == name
    assert (os.fsencode(name) in path.read_bytes()) == (form is as_csv)


def test_without_an_answer_nothing_is_left_of_a_file_that_was_broken_off(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("of yesterday")
    with pytest.raises(OSError), answer_file(path, as_csv):
        raise OSError
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.csv", "of yesterday")]


def test_no_file_is_written_twice_and_no_picture_overwritten(tmp_path: Path) -> None:
    for name in ("a.png", "b.png.tmp"):
        Image.new("RGB", (8, 8)).save(tmp_path / name, "PNG")
    (tmp_path / "link").symlink_to("a.png")
    (tmp_path / "answers").symlink_to("new")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.exists()}
    machine = InProcess(tmp_path, {"DOGBREED_HOME": str(tmp_path / "home")})
    for files in (("new", "./new"), ("new", "answers"), ("new", "new.tmp")):
        said = machine.run("predict", "a.png", "--csv", files[0], "--jsonl", files[1], code=2).stderr
        assert "written twice" in said
    for pictures, file in (("a.png", "a.png"), (".", "link"), ("link", "a.png"), ("b.png.tmp", "b.png")):
        assert "overwritten" in machine.run("predict", pictures, "--csv", file, code=2).stderr
    shutil.rmtree(tmp_path / "home")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.exists()} == before
