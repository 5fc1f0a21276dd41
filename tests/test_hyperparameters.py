"""Hyperparameters and metrics, on their way into a request and out of a job."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from sent_requests import INPUTS, SITE
from settings import settings

from dogbreed_cli import hyperparameters, requests

pytestmark = pytest.mark.usefixtures("folder")


def test_encode_and_decode_are_opposites() -> None:
    rng = random.Random(0)
    for _ in range(200):
        values: dict[str, Any] = {
            "text": "".join(chr(rng.choice([*range(32, 127), 228, 0x1F415])) for _ in range(rng.randint(0, 20))),
            "looks like a number": str(rng.randint(-9, 9)),
            "whole": rng.randint(-(2**40), 2**40),
            "fraction": rng.uniform(-1, 1) * 10.0 ** rng.randint(-12, 12),
            "truth": rng.random() < 0.5,
            "nothing": None,
            "several": [1, "2", 3.5],
        }
        encoded = hyperparameters.encode(values)
        assert all(isinstance(text, str) for text in encoded.values())
        assert hyperparameters.decode(encoded) == values


def test_decode_leaves_what_is_no_json() -> None:
    assert hyperparameters.decode({"optimizer": "sgd", "lr": "0.1"}) == {"optimizer": "sgd", "lr": 0.1}


def test_given_hyperparameters_have_the_last_word() -> None:
    config = settings("train.lr=0.5", "train.epochs=3")
    request = requests.training(config, SITE, INPUTS, "j", {"lr": 0.25, "backbone": "resnet18"})
    found = hyperparameters.decode(request["HyperParameters"])
    assert (found["lr"], found["epochs"], found["backbone"]) == (0.25, 3, "resnet18")


def test_categories_are_encoded_like_every_hyperparameter() -> None:
    config = settings("tune.ranges.optimizer.values=['adamw', 'sgd']")
    found = requests.parameter_ranges(config.tune.ranges)["CategoricalParameterRanges"]
    assert {"Name": "optimizer", "Values": ['"adamw"', '"sgd"']} in found


def test_the_kind_of_a_range() -> None:
    config = settings("tune.ranges.epochs={min = 1, max = 9}", "tune.ranges.batch-size={min = 8, max = 9}")
    found = requests.parameter_ranges(config.tune.ranges)
    assert {kind: [one["Name"] for one in entries] for kind, entries in found.items()} == {
        "IntegerParameterRanges": ["batch-size", "epochs"],
        "ContinuousParameterRanges": ["lr"],
    }


def test_the_regexes_read_the_script_s_lines() -> None:
    line = "epoch=3 train:loss=0.25 validation:loss=1e-05 validation:accuracy=1.0 test:loss=-3.5E+2 test:accuracy=.5"
    metrics = requests.algorithm(settings(), SITE)["MetricDefinitions"]
    found = {metric["Name"]: float(re.search(metric["Regex"], line)[1]) for metric in metrics}  # type: ignore[index]
    assert found == dict(zip(requests.METRICS, (0.25, 1e-05, 1.0, -350.0, 0.5), strict=True))
