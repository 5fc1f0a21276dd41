"""The report's page and files: offline, accessible, safe from hostile names, of bounded size, written anew."""

import re
from collections import Counter
from pathlib import Path

import pytest
from report_artifacts import (
    build_full,
    describe_job,
    describe_trial,
    describe_tuning,
    read_rows,
    render,
    write_artifacts,
)
from report_watched import SEARCHED, draw_image, write_profile, write_tensors

from dogbreed_cli import report
from dogbreed_cli.errors import DogbreedError


@pytest.fixture
def full(tmp_path):
    return build_full(tmp_path)


def test_page_is_offline_accessible_and_whole(full, tmp_path):
    page = render(full, tmp_path / "out")
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert all(target.startswith("#") for target in page.fetches)
    assert not re.search(r"url\((?!#)|@import|<script|<link|<img|<iframe|\son\w+=", html)
    assert not re.search(r"https?://", html)
    assert [name for name, count in Counter(page.ids).items() if count > 1] == []
    assert {target[1:] for target in page.fetches} <= set(page.ids)
    assert page.tags["h1"] == 1 and page.tags["h2"] == 13 == len(page.sections) - 1 and page.tags["svg"] == 6
    assert re.findall(r'<th(?! scope="(?:col|row)")[ >].*', html) == []
    assert all('role="img" aria-label="' in svg for svg in re.findall(r"<svg[^>]*>", html))
    assert "currentColor" in html and "#010101" not in html
    assert "10 of" not in page.sections["job"]
    assert "ml.g4dn.xlarge" in page.sections["job"] and "66.7" in page.sections["job"]
    assert "AlgorithmError: the loss is nan" in page.sections["trials"]
    assert "Uploading" in page.sections["time"] and "torchvision" in page.sections["settings"]


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "$\\frac{1}{2}$",
    "a&b;'c",
    "{{ 7*7 }}",
    "犬 🐕",
)


def test_hostile_names_are_text(tmp_path):
    folder = write_artifacts(tmp_path / "a", classes=HOSTILE)
    name = '<b>"job"</b>'
    failure = "</pre><script>alert(2)</script>"
    tuned = [describe_trial(1, 0.5, TunedHyperParameters={"<i>lr</i>": '"<u>x</u>"'}, FailureReason=failure)]
    metric = {"Type": "Maximize", "MetricName": "$x$ <s>&"}
    tuning = describe_tuning(HyperParameterTuningJobConfig={"HyperParameterTuningJobObjective": metric})
    job = describe_job(TrainingJobName=name, TrainingJobStatus="Failed", FailureReason=failure)
    page = render(report.build(folder, job, tuning, tuned), tmp_path / "out")
    for tag in ("script", "img", "b", "i", "u", "s"):
        assert page.tags[tag] == 0
    for text in HOSTILE:
        assert text in page.sections["confusion"]
        assert text in page.sections["classes"]
    assert failure in page.sections["result"]
    assert "49" not in page.sections["classes"].split()
    assert [row["label"] for row in read_rows(tmp_path / "out" / "per_class.csv")] == list(HOSTILE)


def test_133_classes_and_8000_predictions(full, tmp_path):
    classes = [f"{i:03}.Breed_with_a_long_name_{i}" for i in range(1, 134)]
    folder = write_artifacts(tmp_path / "a", classes=classes, images=61, epochs=30)
    write_profile(folder / "profiler-output", seconds=1800)
    write_tensors(folder / "debug-output", steps=240)
    many = [describe_trial(n % 60 + 1, 0.5 + n / 100) for n in range(40)] + SEARCHED
    images = [draw_image(number) for number in range(25)]
    built = report.build(folder, describe_job(), describe_tuning(), many)
    shown = zip((row.file for row in built.evaluation.mistakes), images, strict=True)
    page = render(report.illustrate(built, dict(shown)), tmp_path / "out")
    assert len(built.predictions) == 8113
    assert (tmp_path / "out" / "report.html").stat().st_size < 2_000_000
    assert page.tags["rect"] > 133
    assert len(built.evaluation.pairs) == 20 and len(built.evaluation.mistakes) == 25
    assert "Breed_with_a_long_name_133" in page.sections["classes"]


def test_write_replaces_an_earlier_report(full, tmp_path):
    out = tmp_path / "out"
    render(full, out)
    render(report.build(tmp_path / "nothing", describe_job(TrainingJobStatus="Failed")), out)
    assert read_rows(out / "predictions.csv") == read_rows(out / "trials.csv") == read_rows(out / "history.csv") == []


def test_folder_that_cannot_be_written(full, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DogbreedError, match="cannot be written") as error:
        report.write(full, Path(tmp_path / "file"))
    assert "--output" in error.value.fix
