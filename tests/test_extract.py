"""train.py --mode extract: the features are the network's, a killed job goes on, and foreign shards are refused."""

import json
import shutil

import pytest
from entrypoint_runs import ALONE, COMMON, ENTRYPOINTS, channels
from forked import run_forked_python

EXTRACT = ["--mode", "extract", *COMMON, "--weights", "none", "--views", "2", "--precision", "fp32"]
# The plain features of valid, image by image through the whole network without its head.
BY_NETWORK = """
import sys, torch, data, features, model
from arguments import parse_args
import backbone
folder, *argv = sys.argv[1:]
args = parse_args(argv)
classes = data.find_classes(args.train)
train = data.LabelledImages(args.train, "train", classes, args, views=2)
base = backbone.prepare(args, len(classes), data.calibration_batches(train, args))
base.network.fc = torch.nn.Identity()
found = features.Split(folder, features.read_description(folder), "train")
assert found.samples == train.samples and len(found) == len(train) and found.views == 2
with torch.inference_mode():
    for index in (0, 1, 7, len(train) - 1):
        wanted = base.network(model.normalise(train[index][0][None], base.mean, base.std))
        assert torch.allclose(found.gather(torch.tensor([index])), wanted, rtol=1e-3, atol=1e-3), index
        assert not torch.allclose(found.gather(torch.tensor([index ^ 1])), wanted, rtol=1e-3, atol=1e-3)
"""


def run(python, folder, *argv, code=0):
    """train.py in the folder; returns what it said."""
    environment = ALONE | {"SAGEMAKER_BASE_DIR": str(folder)}
    done = run_forked_python(python, ENTRYPOINTS / "train.py", *argv, env=environment, cwd=folder, merged=True)
    assert done.returncode == code, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def extracted(image_python, images, tmp_path_factory):
    """A folder with model/, output/ and checkpoints/ of a features job, and what it said."""
    folder = tmp_path_factory.mktemp("extract")
    return folder, run(image_python, folder, *EXTRACT, *channels(images), "--checkpoint-dir", "checkpoints")


def test_features_are_those_of_the_network(image_python, images, extracted):
    folder, log = extracted
    assert "engine openvino f32" in log
    argv = ["-c", BY_NETWORK, str(folder / "model"), *EXTRACT[2:], *channels(images)]
    environment = ALONE | {"PYTHONPATH": str(ENTRYPOINTS)}
    done = run_forked_python(image_python, *argv, env=environment)
    assert done.returncode == 0, done.stderr
    report = json.loads((folder / "output/metrics.json").read_text())
    assert (report["counts"], report["engine"]) == ({"train": 80, "valid": 28, "test": 18}, "openvino f32")


def test_a_restarted_job_goes_on_and_ends_with_the_same_files(image_python, images, extracted, tmp_path):
    folder, _ = extracted
    shutil.copytree(folder / "checkpoints", tmp_path / "checkpoints")
    (tmp_path / "checkpoints/valid-00000.safetensors").unlink()
    log = run(image_python, tmp_path, *EXTRACT, *channels(images), "--checkpoint-dir", "checkpoints")
    assert "going on after 2 of 3 shards" in log
    assert "extracted 28 images" in log
    for path in (folder / "model").iterdir():
        if path.suffix == ".safetensors":
            assert (tmp_path / "model" / path.name).read_bytes() == path.read_bytes()


def test_a_training_refuses_features_of_other_settings_and_broken_ones(image_python, extracted, tmp_path):
    shutil.copytree(extracted[0] / "model", tmp_path / "features")
    train = ["--features", "features", *COMMON, "--weights", "none", "--epochs", "1"]
    assert "of views 2, the training asks for 1" in run(image_python, tmp_path, *train, code=1)
    train += ["--views", "2"]
    run(image_python, tmp_path, *train)
    (tmp_path / "features/valid-00000.safetensors").unlink()
    assert "valid-00000.safetensors in channel features cannot be read" in run(image_python, tmp_path, *train, code=1)


def test_an_unreadable_image_is_named(image_python, images, tmp_path):
    shutil.copytree(images, tmp_path / "images")
    (tmp_path / "images/valid/003.Collie/02.jpg").write_bytes(b"a dog")
    said = run(image_python, tmp_path, *EXTRACT, *channels(tmp_path / "images"), code=1)
    assert "error: " in said and "003.Collie/02.jpg: not a readable image" in said
