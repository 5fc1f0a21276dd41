"""Jobs that fail: the command shows the script's own words, exits with 5, and a fix is one setting away."""

from __future__ import annotations

from pathlib import Path

from conftest import Dogbreed, Forked
from entrypoint_runs import ALONE
from forked import run_forked_python


def test_a_failing_script_shows_its_own_error(project: Dogbreed) -> None:
    error = project.json("--set", "model.backbone=resnet19", "train", code=5)
    assert "unknown backbone 'resnet19'" in error["why"]
    assert "resnet18" in error["why"]
    assert error["code"] == 5
    assert error["fix"].startswith("see `dogbreed logs dogbreed-train-")


def test_weights_that_cannot_be_downloaded_are_told(project: Dogbreed, tmp_path: Path) -> None:
    # A proxy that refuses stands for a machine without a network, also where there is one.
    nobody = "http://127.0.0.1:9"
    offline = Forked(
        project.folder,
        {
            **project.environment,
            "DOGBREED_MODEL__WEIGHTS": "DEFAULT",
            "TORCH_HOME": str(tmp_path),
            "HTTPS_PROXY": nobody,
            "https_proxy": nobody,
        },
    )
    said = offline.run("train", code=5).stderr
    assert "weights IMAGENET1K_V1 of backbone resnet18 could not be downloaded" in said
    assert 'model.weights = "none"' in said


def test_a_file_of_weights_is_used(project: Dogbreed, image_python: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.pth"
    make = f"import torch, torchvision; torch.save(torchvision.models.resnet18().state_dict(), {str(file)!r})"
    assert run_forked_python(image_python, "-c", make, env=ALONE).returncode == 0
    trained = project.json("--set", f"model.weights={file}", "train", "--epochs", "1")
    assert trained["hyperparameters"]["weights"] == "pretrained"
    assert "loaded the backbone only, with a new head for 6 classes" in project.run("logs").stdout
    missing = project.run("--set", "model.weights=nosuch.pth", "train", code=2).stderr
    assert "nosuch.pth" in missing
