"""MODEL_CARD.md: metadata as the hub reads it, the report's own numbers, and no Markdown from hostile names."""

import pytest
import yaml
from report_artifacts import BREEDS, build_full, describe_job, write_artifacts
from report_watched import build_watched

from dogbreed_cli import report
from dogbreed_cli.report.model_card import to_text, write_model_card


def split_card(text):
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body


def test_metadata_is_that_of_the_hub(tmp_path):
    built = build_full(tmp_path)
    about, body = split_card(write_model_card(built))
    assert (about["license"], about["library_name"], about["pipeline_tag"]) == (
        "other",
        "pytorch",
        "image-classification",
    )
    assert {"image-classification", "resnet50"} <= set(about["tags"])
    assert about["datasets"] == ["imagefolder"] and "accuracy" in about["metrics"]
    (model,) = about["model-index"]
    assert model["name"] == built.job.name
    (result,) = model["results"]
    assert result["task"]["type"] == "image-classification"
    assert result["dataset"] == {"type": "imagefolder", "name": "imagefolder", "split": "test"}
    values = {metric["name"]: metric["value"] for metric in result["metrics"]}
    assert values == {
        "Accuracy": built.evaluation.accuracy.value,
        "Top-5 accuracy": built.evaluation.top5.value,
        "Macro precision": built.evaluation.macro.precision,
        "Macro recall": built.evaluation.macro.recall,
        "Macro F1": built.evaluation.macro.f1,
    }
    assert body.startswith("\n# dogbreed-train-261122-090000\n")


def test_card_shows_the_numbers_of_the_report(tmp_path):
    built = build_watched(tmp_path)
    text = report.write(built, tmp_path / "out")["MODEL_CARD.md"].read_text(encoding="utf-8")
    for label, said in report.summarize(built):
        assert f"| {to_text(label)} | {to_text(said)} |" in text
    for name in BREEDS:
        assert name in text
    assert "cached features: fingerprint 9f2c" in text
    assert "git commit" in text and "unknown" in text


def test_git_commit_is_that_of_the_job(tmp_path):
    folder = write_artifacts(tmp_path / "a")
    tagged = report.build(folder, describe_job(), tags={"dogbreed:git-commit": "abc1234"})
    assert "| git commit | abc1234 |" in write_model_card(tagged)
    write_artifacts(folder, git_commit="fed4321")
    assert "| git commit | fed4321 |" in write_model_card(report.build(folder, describe_job()))


def test_a_job_that_measured_nothing_claims_nothing(tmp_path):
    about, body = split_card(write_model_card(report.build(tmp_path, describe_job(TrainingJobStatus="Failed"))))
    assert "model-index" not in about
    assert "predictions.csv is not among" in body


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "a|b", "*x*_y_", "[a](https://b)", "# x", "`x`", "---", "a: b"]
)
def test_hostile_names_are_text(name, tmp_path):
    built = report.build(write_artifacts(tmp_path / "a", classes=(name, "pug")), describe_job(TrainingJobName=name))
    about, body = split_card(write_model_card(built))
    assert about["model-index"][0]["name"] == name
    assert f"# {to_text(name)}\n" in body
    assert "<script" not in body.replace("\\<script", "")
    rows = [line for line in body.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {3, 4}
