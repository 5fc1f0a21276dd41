"""ResNet50 at 224 pixels from upload to predict, as small as that can be, with the default learning settings."""

from __future__ import annotations

from pathlib import Path

from conftest import Forked, processes_of

from dogbreed_cli.breeds import draw_breeds


def test_the_whole_job_with_resnet50(warm_python: Path, tmp_path: Path) -> None:
    draw_breeds(tmp_path / "dogs", seed=2, counts={"train": 4, "valid": 1, "test": 1}, size=(320, 240))
    resnet50 = {"DOGBREED_MODEL__BACKBONE": "resnet50", "DOGBREED_MODEL__IMAGE_SIZE": "224"}
    resnet50["DOGBREED_LOCAL__PYTHON"] = str(warm_python)
    dogbreed = Forked(tmp_path, resnet50)
    try:
        dogbreed.run("upload", "dogs")
        trained = dogbreed.json("train", "--epochs", "1")
        assert (trained["hyperparameters"]["backbone"], trained["hyperparameters"]["image-size"]) == ("resnet50", 224)
        dogbreed.run("report")
        dogbreed.run("deploy")
        (answer,) = dogbreed.json("predict", str(next((tmp_path / "dogs" / "test").rglob("*.jpg"))))["answers"]
        assert len(answer["predictions"]) == 5
    finally:
        dogbreed.run("teardown", "--yes")
    assert dogbreed.json("status")["items"] == []
    assert not processes_of(tmp_path)
