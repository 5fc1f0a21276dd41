"""The reader of tensors against smdebug itself, and against what a killed job leaves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import clean_environment
from forked import run_forked_python

from dogbreed_cli.report.tensors import Tensors, read_tensors

SAVE = Path(__file__).with_name("save_tensors.py")


@pytest.fixture(scope="module")
def saved(image_python: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("tensors")
    done = run_forked_python(image_python, SAVE, folder, env=clean_environment())
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def copied(saved: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved[0] / "whole", tmp_path / "debug-output"))


def keys(tensors: Tensors) -> dict[str, list[str]]:
    return {name: [f"{point.mode} {point.step}" for point in points] for name, points in tensors.points.items()}


def test_whole_tensors_are_those_that_smdebug_reads(saved: tuple[Path, dict[str, Any]]) -> None:
    folder, expected = saved
    tensors = read_tensors(folder / "whole")
    assert tensors.why is None
    assert not tensors.problems
    points = expected["whole"]["points"]
    assert {name: sorted(steps) for name, steps in keys(tensors).items()} == {n: sorted(p) for n, p in points.items()}
    for name, found in tensors.points.items():
        for point in found:
            theirs = np.array(points[name][f"{point.mode} {point.step}"], np.float32)
            assert point.value is not None
            np.testing.assert_array_equal(point.value, theirs)
            assert point.value.shape == theirs.shape
            assert not point.reductions
    assert {name: sorted(names) for name, names in tensors.collections.items()} == expected["whole"]["collections"]


def test_reductions_are_put_back_onto_their_tensors(saved: tuple[Path, dict[str, Any]]) -> None:
    folder, expected = saved
    tensors = read_tensors(folder / "reductions")
    points = expected["reductions"]["points"]
    assert keys(tensors).keys() == points.keys()
    kinds = {"mean", "abs_mean", "min", "max", "std", "l2"}
    for name, found in tensors.points.items():
        for point in found:
            theirs = points[name][f"{point.mode} {point.step}"]
            if name in tensors.collections["losses"]:
                assert point.value is not None  # smdebug never reduces a loss
                assert float(point.value) == pytest.approx(theirs, nan_ok=True)
            else:
                assert point.value is None
                assert point.reductions.keys() == kinds
                assert dict(point.reductions) == pytest.approx(theirs, nan_ok=True)


def test_steps_are_counted_by_mode_and_come_in_the_order_of_training(saved: tuple[Path, dict[str, Any]]) -> None:
    (loss,) = [
        points
        for name, points in read_tensors(saved[0] / "whole").points.items()
        if "Loss" in name and "output" in name
    ]
    modes = [(point.mode, point.step) for point in loss]
    assert modes == [(mode, step) for step in range(5) for mode in ("TRAIN", "EVAL")]
    assert np.isnan(loss[-1].value).all()


def test_what_a_killed_job_left_is_read(saved: tuple[Path, dict[str, Any]]) -> None:
    tensors = read_tensors(saved[0] / "killed")
    assert tensors.why is None
    assert set(tensors.collections) >= {"losses", "weights", "gradients", "biases"}
    (loss,) = tensors.collections["losses"]
    assert len(tensors.points[loss]) >= 5


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9, 0.999])
def test_a_file_cut_off_anywhere_gives_what_is_before_the_cut(copied: Path, share: float) -> None:
    whole = read_tensors(copied)
    path = min(copied.glob("events/*/*.tfevents"))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    cut = read_tensors(copied)
    assert len(cut.problems) == 1
    assert path.name in cut.problems[0]
    of_step_0 = [name for name, points in cut.points.items() if points[0].step == 0 and points[0].mode == "TRAIN"]
    assert len(of_step_0) < len([n for n, p in whole.points.items() if p[0].step == 0 and p[0].mode == "TRAIN"])
    for name in of_step_0:
        np.testing.assert_array_equal(cut.points[name][0].value, whole.points[name][0].value)


def test_noise_in_a_file_is_a_problem_and_not_an_error(copied: Path) -> None:
    random = np.random.default_rng(0)
    path = min(copied.glob("events/*/*.tfevents"))
    whole = path.read_bytes()
    problems = 0
    for _ in range(100):
        content = bytearray(whole)
        for at in random.integers(0, len(content), 4):
            content[at] = int(random.integers(0, 256))
        path.write_bytes(bytes(content))
        problems += len(read_tensors(copied).problems)
    assert 20 < problems <= 100


def test_the_first_of_several_workers_counts_as_in_smdebug(copied: Path) -> None:
    whole = read_tensors(copied)
    (loss,) = whole.collections["losses"]
    for path in list(copied.glob("events/*/*_worker_0.tfevents")):
        content = path.read_bytes()
        for point in whole.points[loss]:
            assert point.value is not None
            content = content.replace(point.value.tobytes(), (point.value + 1).tobytes())
        path.with_name(path.name.replace("worker_0", "worker_1")).write_bytes(content)
    both = read_tensors(copied).points[loss]
    assert [float(point.value) for point in both] == pytest.approx(
        [float(point.value) for point in whole.points[loss]], nan_ok=True
    )
    for path in copied.glob("events/*/*_worker_0.tfevents"):
        path.unlink()
    assert float(read_tensors(copied).points[loss][0].value) == pytest.approx(1 + float(both[0].value))


def test_without_the_list_of_collections_names_tell_them_apart(copied: Path) -> None:
    before = read_tensors(copied).collections
    shutil.rmtree(copied / "collections")
    after = read_tensors(copied)
    assert [problem for problem in after.problems if "list of collections" in problem]
    for collection in ("losses", "weights", "gradients", "biases"):
        assert after.collections[collection] == before[collection]


def test_no_tensors_say_why(tmp_path: Path) -> None:
    assert "There is no debug-output" in str(read_tensors(tmp_path / "debug-output").why)
    (tmp_path / "debug-output/events/000000000000").mkdir(parents=True)
    assert "holds no tensors" in str(read_tensors(tmp_path / "debug-output").why)
    (tmp_path / "debug-output/events/000000000000/000000000000_worker_0.tfevents.tmp").write_bytes(b"")
    empty = read_tensors(tmp_path / "debug-output")
    assert "hold no whole tensor" in str(empty.why)
    assert not empty.points
    assert not empty.collections
