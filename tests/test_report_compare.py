"""Two jobs side by side: numbers, settings, classes, and whether the difference is more than chance."""

import json

import pytest
from report_artifacts import BREEDS, Page, build_full, describe_job, draw_predictions, write_artifacts

from dogbreed_cli import report
from dogbreed_cli.report.comparison import compare, list_rows, say_agreement, say_difference, weigh_sign


def job(name, **changes):
    return describe_job(TrainingJobName=name, **changes)


@pytest.fixture
def two(tmp_path):
    """The second job gets 12 images right that the first one did not, and loses 2."""
    rows = draw_predictions(BREEDS, 20)
    better = [dict(row) for row in rows]
    wrong = [row for row in better if row["label"] != row["prediction"]]
    for row in wrong[:12]:
        row["prediction"] = row["label"]
    right = [row for row in better if row not in wrong and row["label"] == row["prediction"]]
    for row in right[:2]:
        row["prediction"] = BREEDS[(BREEDS.index(row["label"]) + 1) % len(BREEDS)]
    first = report.build(write_artifacts(tmp_path / "1", predictions=rows), job("first"))
    given = {"batch-size": '"64"', "lr": "0.0042", "epochs": "8"}
    second = report.build(
        write_artifacts(tmp_path / "2", predictions=better, epochs=5, phases={"train": 30.0, "evaluate": 1.0}),
        job("second", HyperParameters=given, TrainingTimeInSeconds=60),
    )
    return first, second


def test_numbers_are_those_of_the_two_reports(two):
    first, second = two
    found = {measure.name: measure for measure in compare(first, second).measures}
    assert found["accuracy"].first == first.evaluation.accuracy.value
    assert found["accuracy"].second == second.evaluation.accuracy.value
    assert found["accuracy"].difference == pytest.approx(10 / 120)
    assert found["macro F1"].second == second.evaluation.macro.f1
    assert (found["training time"].first, found["training time"].second) == (93, 60)
    assert say_difference(found["accuracy"]) == "+8.3\N{NO-BREAK SPACE}points"
    assert say_difference(found["training time"]).startswith("\N{MINUS SIGN}33")


def test_hyperparameters_that_differ_come_first(two):
    settings = compare(*two).hyperparameters
    assert [(one.name, one.differs) for one in settings] == [("batch-size", True), ("epochs", False), ("lr", False)]


def test_classes_that_changed_most_come_first(two):
    classes = compare(*two).classes
    assert {one.name for one in classes} == set(BREEDS)
    changes = [abs(one.difference) for one in classes]
    assert changes == sorted(changes, reverse=True) and changes[0] > 0


def test_difference_is_tested_on_the_same_images(two):
    found = compare(*two)
    assert (found.agreement.images, found.agreement.only_first, found.agreement.only_second) == (120, 2, 12)
    # R: mcnemar.exact, or binom.test(2, 14)$p.value
    assert found.agreement.p_value == pytest.approx(0.01293945)
    assert "more than chance" in say_agreement(found)
    assert say_agreement(compare(two[0], two[0])) == "Both got the same of the 120 images right."


@pytest.mark.parametrize(
    ("one", "other", "p"), [(0, 0, 1.0), (1, 0, 1.0), (5, 5, 1.0), (0, 6, 0.03125), (10, 20, 0.0987)]
)
def test_sign_test(one, other, p):
    assert weigh_sign(one, other) == weigh_sign(other, one) == pytest.approx(p, abs=5e-5)


def test_why_two_jobs_cannot_be_tested_against_each_other(two, tmp_path):
    first, _ = two
    nothing = report.build(tmp_path / "none", job("third", TrainingJobStatus="Failed"))
    assert "third has no predictions" in say_agreement(compare(first, nothing))
    others = report.build(write_artifacts(tmp_path / "o", predictions=draw_predictions(BREEDS, 10)), job("others"))
    assert "not measured on the same test images" in say_agreement(compare(first, others))
    rows = [row | {"split": "valid"} for row in draw_predictions(BREEDS, 20)]
    valid = report.build(write_artifacts(tmp_path / "v", predictions=rows), job("valid"))
    assert "test images, the other on validation images" in say_agreement(compare(first, valid))


def test_page_and_json_have_the_same_rows(two, tmp_path):
    found = compare(*two)
    paths = report.write_comparison(found, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(paths) == {"compare.html", "compare.json"}
    html = paths["compare.html"].read_text(encoding="utf-8")
    page = Page(html)
    assert set(page.sections) == {"", "measures", "hyperparameters", "phases", "rules", "classes"}
    for part, measures in (("measures", found.measures), ("classes", found.classes), ("phases", found.phases)):
        for name, *texts in list_rows(measures):
            assert all(text in page.sections[part] for text in [name, *texts])
    document = json.loads(paths["compare.json"].read_text(), parse_constant=pytest.fail)
    assert document["measures"][0] == {
        "name": "accuracy", "unit": "share",
        "first": found.measures[0].first, "second": found.measures[0].second,
    }  # fmt: skip


def test_two_jobs_that_left_nothing_render(tmp_path):
    nothing = report.build(tmp_path, {})
    html = report.write_comparison(compare(nothing, nothing), tmp_path)["compare.html"].read_text()
    assert "Neither job has any" in Page(html).sections["classes"]


def test_hostile_names_are_text(tmp_path):
    built = build_full(tmp_path)
    odd = report.build(write_artifacts(tmp_path / "b", classes=("<b>x</b>", "pug")), job("<script>"))
    page = Page(report.write_comparison(compare(built, odd), tmp_path)["compare.html"].read_text())
    assert page.tags["script"] == page.tags["b"] == 0
    assert "<b>x</b>" in page.sections["classes"]
