"""Features jobs and trainings on features that are killed at any moment, or shared by two processes, end the same."""

import json
import random
import re
import signal

import pytest
from entrypoint_runs import COMMON, channels, run_forked, said

BASE = [*COMMON, "--weights", "none", "--precision", "fp32", "--engine", "torch"]
LEARN = [*BASE, "--epochs", "200", "--patience", "0", "--features", "whole/model"]
SHARDS = 17  # of 8 images or less: of 80, 28 and 18
KILLS = 5
EXTRACTS = "engine torch f32;"  # what is said just before


@pytest.fixture(scope="module")
def runs(image_python, images, tmp_path_factory):
    """({name: exit codes}, folder with <name>.log, <name>/model and <name>/output), in the order they ran."""
    out, rng = tmp_path_factory.mktemp("killed"), random.Random(0)
    small = {"set": {"extract.SHARD_IMAGES": 8}, "argv": ["--mode", "extract", *BASE, *channels(images)]}

    def keep(folder):
        return {"environment": {"SM_CHECKPOINT_DIR": str(out / folder)}}

    plan = {"whole": small, "two": small | {"world": 2}}
    for n in range(KILLS):
        # While it extracts, or soon after it began; each goes on with what the one before it left.
        words, most = (EXTRACTS, 0.5) if n % 2 else ("views of each", 0.3)
        plan[f"extract-{n}"] = small | keep("shards") | {"kill_after": ["SIGKILL", words, rng.uniform(0, most)]}
    halfway = {"set": {"extract.SHARD_IMAGES": 8, "extract.SAY_EVERY": 0}, "kill_after": ["SIGTERM", "images=30/", 0]}
    plan["two-terminated"] = small | keep("ranks") | halfway | {"world": 2}
    plan |= {"extract-end": small | keep("shards"), "two-end": small | keep("ranks") | {"world": 2}}
    plan["learnt"] = {"argv": LEARN}
    for n in range(KILLS):
        # After a step, or at any moment: before the first epoch, or in the middle of writing a checkpoint.
        after_step = {"kill": ["SIGKILL", 0, rng.randrange(6, 60)]}
        after_seconds = {"kill_after": ["SIGKILL", "classes, images", rng.uniform(0, 0.5)]}
        plan[f"train-{n}"] = {"argv": LEARN, **keep("epochs"), **(after_step if n % 2 else after_seconds)}
    plan["train-end"] = {"argv": LEARN, **keep("epochs")}
    plan["refused"] = {**small, "set": {"noise.MOST_NOISE": -1.0}}
    plan["refused"]["argv"] = [word if word != "torch" else "auto" for word in small["argv"]]
    return run_forked(image_python, out, plan)


def shards(runs, name):
    codes, out = runs
    assert set(codes[name]) == {0}, said(runs, name)
    return {path.name: path.read_bytes() for path in sorted((out / name / "model").glob("*.safetensors"))}


@pytest.mark.parametrize("name", ["extract-end", "two", "two-end"])
def test_features_are_the_same_bytes_however_they_came_about(runs, name):
    whole = shards(runs, "whole")
    assert len(whole) == SHARDS
    found = shards(runs, name)
    assert found.keys() == whole.keys()
    # In two processes a batch may be another, and then the last digit.
    assert name != "extract-end" or found == whole


def test_killed_features_jobs_do_no_image_twice(runs):
    codes, out = runs
    assert -signal.SIGKILL in [code for n in range(KILLS) for code in codes[f"extract-{n}"]]
    report = json.loads((out / "extract-end/output/metrics.json").read_text())
    assert report["resumed_shards"] > 0
    assert f"going on after {report['resumed_shards']} of {SHARDS} shards" in said(runs, "extract-end")


def test_two_processes_share_the_images(runs):
    report = json.loads((runs[1] / "two/output/metrics.json").read_text())
    assert report["world_size"] == 2
    assert "extracted 126 images" in said(runs, "two")


def test_sigterm_ends_a_features_job_at_once_and_keeps_its_shards(runs):
    codes, out = runs
    assert codes["two-terminated"] == [128 + signal.SIGTERM] * 2
    assert "SIGTERM: stopped; the shards that are finished are kept" in said(runs, "two-terminated")
    assert not (out / "two-terminated/model/features.json").exists()
    assert re.search(r"going on after (\d|1\d) of 17 shards", said(runs, "two-end"))


def test_a_training_killed_at_random_moments_ends_as_one_that_was_not(runs):
    def rows(name):
        assert runs[0][name] == [0], said(runs, name)
        lines = (runs[1] / name / "output/history.csv").read_text().splitlines()
        return [line.rpartition(",")[0] for line in lines]  # without the seconds

    assert -signal.SIGKILL in [code for n in range(KILLS) for code in runs[0][f"train-{n}"]]
    assert "going on after epoch" in said(runs, "train-end") + said(runs, f"train-{KILLS - 1}")
    assert rows("train-end") == rows("learnt")
    models = [(runs[1] / name / "model/model.pt").read_bytes() for name in ("train-end", "learnt")]
    assert models[0] == models[1]


def test_engines_that_are_not_exact_are_refused_in_words(runs):
    log = said(runs, "refused")
    assert "WARNING: not openvino f32: its noise is" in log
    assert "engine torch f32; on 32 images" in log
