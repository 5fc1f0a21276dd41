"""Calibration: the error by hand, bins at their edges, and what an exploded network leaves."""

import math

import pytest
from report_artifacts import build_full, describe_job, draw_predictions, read_rows, render, write_artifacts

from dogbreed_cli import report
from dogbreed_cli.report.artifacts import Prediction
from dogbreed_cli.report.calibration import calibrate, place


def predictions(*rows):
    return [Prediction("test", f"{n}.jpg", "a", "a" if hit else "b", p, p, 1) for n, (p, hit) in enumerate(rows)]


def test_error_by_hand():
    # Two images at 0.95, one right: off by 0.45. Two at 0.55, both right: off by 0.45. One at 0.32, wrong.
    found = calibrate(predictions((0.95, True), (0.95, False), (0.55, True), (0.55, True), (0.32, False)))
    assert found.error == pytest.approx((2 * 0.45 + 2 * 0.45 + 0.32) / 5)
    assert [(one.low, one.high, one.count) for one in found.bins] == [(0.3, 0.4, 1), (0.5, 0.6, 2), (0.9, 1.0, 2)]
    assert [one.accuracy for one in found.bins] == [0, 1, 0.5]
    assert (found.accuracy, found.confidence) == (0.6, pytest.approx(0.664))


def test_a_model_that_means_what_it_says_has_no_error():
    found = calibrate(predictions(*[(0.75, n < 75) for n in range(100)]))
    assert found.error == pytest.approx(0)


@pytest.mark.parametrize(("probability", "number"), [(0.0, 0), (0.1, 0), (0.1001, 1), (0.9, 8), (0.95, 9), (1.0, 9)])
def test_bins_at_their_edges(probability, number):
    assert place(probability) == number


def test_page_and_json_say_the_same_as_predictions_csv(tmp_path):
    built = build_full(tmp_path)
    page = render(built, tmp_path / "out")
    rows = read_rows(tmp_path / "out/predictions.csv")
    bins = {}
    for row in rows:
        bins.setdefault(math.ceil(float(row["probability"]) * 10), []).append(row)
    error = sum(
        abs(sum(r["label"] == r["prediction"] for r in of) - sum(float(r["probability"]) for r in of))
        for of in bins.values()
    ) / len(rows)
    found = report.to_json(built)["evaluation"]["calibration"]
    assert found["error"] == pytest.approx(error)
    assert found["error"] in page.values
    assert dict(report.summarize(built))["Calibration error"] in page.sections["calibration"]
    assert sum(one["count"] for one in found["bins"]) == len(rows)


def test_network_that_predicts_nan(tmp_path):
    rows = [row | {"probability": "nan"} for row in draw_predictions(("pug", "corgi"), 3)]
    built = report.build(write_artifacts(tmp_path / "a", predictions=rows), describe_job())
    assert built.evaluation.calibration is None
    assert "has a probability that is a number" in render(built, tmp_path / "out").sections["calibration"]
