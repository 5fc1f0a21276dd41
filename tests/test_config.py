"""Settings: which source wins, what a mistake says, and that config.example.toml tells the truth about all of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from settings import refused, settings

from dogbreed_cli import requests
from dogbreed_cli.config import Config, load
from dogbreed_cli.errors import UsageError
from dogbreed_cli.sections import HYPERPARAMETERS, Range

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "config.example.toml"

pytestmark = pytest.mark.usefixtures("folder")


# ---- precedence


def test_defaults_need_no_file() -> None:
    config = settings()
    assert (config.target, config.train.epochs, config.prefix) == ("local", 10, "dogbreed")


def test_flag_over_environment_over_file_over_default(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "[train]\nepochs = 11\nbatch_size = 12\nlr = 0.5\n"
    monkeypatch.setenv("DOGBREED_TRAIN__EPOCHS", "21")
    monkeypatch.setenv("DOGBREED_TRAIN__BATCH_SIZE", "22")
    train = settings("train.epochs=31", text=text).train
    assert (train.epochs, train.batch_size, train.lr, train.optimizer) == (31, 22, 0.5, "adamw")


def test_precedence_bound_by_bound_in_a_range(monkeypatch: pytest.MonkeyPatch) -> None:
    text = '[tune.ranges.lr]\nmin = 0.002\nmax = 0.003\nscaling = "Linear"\n'
    monkeypatch.setenv("DOGBREED_TUNE__RANGES__LR__MAX", "0.5")
    lr = settings("tune.ranges.lr.max=0.9", text=text).tune.ranges["lr"]
    assert (lr.min, lr.max, lr.scaling) == (0.002, 0.9, "Linear")
    assert settings(text=text).tune.ranges["lr"].max == 0.5
    monkeypatch.delenv("DOGBREED_TUNE__RANGES__LR__MAX")
    assert settings(text="").tune.ranges["lr"] == Range(min=1e-4, max=1e-1, scaling="Logarithmic")


def test_one_bound_alone_stands_over_the_default_range() -> None:
    ranges = settings("tune.ranges.lr.max=0.01").tune.ranges
    assert (ranges["lr"].min, ranges["lr"].max, ranges["lr"].scaling) == (1e-4, 0.01, "Logarithmic")
    assert ranges["batch-size"].values == (16, 32, 64, 128)


def test_values_replace_a_default_range_of_bounds_and_the_other_way_round() -> None:
    ranges = settings("tune.ranges.lr.values=[0.1, 0.2]", "tune.ranges.batch-size={min = 8, max = 64}").tune.ranges
    assert ranges["lr"].values == (0.1, 0.2)
    assert ranges["lr"].min is None
    assert (ranges["batch-size"].min, ranges["batch-size"].max) == (8, 64)


def test_an_environment_variable_reaches_a_hyphenated_range_and_keeps_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOGBREED_TUNE__RANGES__BATCH_SIZE__MIN", "8")
    monkeypatch.setenv("DOGBREED_TUNE__RANGES__BATCH_SIZE__MAX", "64")
    monkeypatch.setenv("DOGBREED_TUNE__RANGES__LR__MAX", "1.0")
    ranges = settings().tune.ranges
    assert [type(bound) for bound in (ranges["batch-size"].min, ranges["batch-size"].max)] == [int, int]
    assert isinstance(ranges["lr"].max, float)


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("DOGBREED_TRAIN__LR", ".5", 0.5),
        ("DOGBREED_TRAIN__EPOCHS", " 1_0 ", 10),
        ("DOGBREED_TRAIN__SPOT", "True", True),
        ("DOGBREED_TRAIN__SPOT", "1", True),
        ("DOGBREED_DEPLOY__MEMORY", "2048", 2048),
        ("DOGBREED_PROJECT__NAME", "123", "123"),
        ("DOGBREED_LOCAL__PYTHON", "/a b", Path("/a b")),
        ("dogbreed_Train__lr", "1", 1.0),
    ],
)
def test_text_in_the_environment_is_read_as_the_key_wants_it(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, value: Any
) -> None:
    monkeypatch.setenv(variable, text)
    section, key = variable.lower().removeprefix("dogbreed_").split("__")
    found = getattr(getattr(settings(), section), key)
    assert (found, type(found)) == (value, type(value))


def test_lists_and_sections_in_the_environment_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOGBREED_DEBUGGER__COLLECTIONS", '["losses"]')
    monkeypatch.setenv("DOGBREED_TRAIN", '{"epochs": "4"}')
    monkeypatch.setenv("DOGBREED_TRAIN__LR", "0.5")
    config = settings()
    assert (config.debugger.collections, config.train.epochs, config.train.lr) == (("losses",), 4, 0.5)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("model.weights=none", "none"),
        ("model.weights=s3://bucket/w.pt", "s3://bucket/w.pt"),
        ('project.name="123"', "123"),
        ("train.lr=1e-3", 1e-3),
        ("train.lr=.5", 0.5),
        ("tune.early_stopping=true", True),
        ("train.spot=1", True),
        ("train.epochs='3'", 3),
        ("deploy.memory='2048'", 2048),
        ('debugger.collections=["weights"]', ("weights",)),
    ],
)
def test_set_takes_toml_or_a_plain_word(text: str, value: Any) -> None:
    section, key = text.partition("=")[0].split(".")
    assert getattr(getattr(settings(text), section), key) == value


# ---- mistakes


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("train.epocs=3", "unknown key train.epocs in command line did you mean train.epochs?"),
        ("max_jobs=3", "unknown key max_jobs in command line did you mean tune.max_jobs?"),
        ("train.max_jobs=3", "unknown key train.max_jobs in command line did you mean tune.max_jobs?"),
        ("epochs=3", "unknown key epochs in command line did you mean tune.epochs or train.epochs?"),
        ("trian.epochs=3", "unknown key trian in command line did you mean train?"),
        ("tune.ranges.lr.maxx=3", "unknown key tune.ranges.lr.maxx in command line did you mean tune.ranges.lr.max?"),
        (
            "tune.ranges.batchsize.values=[1]",
            "unknown key tune.ranges.batchsize in command line did you mean tune.ranges.batch-size",
        ),
        (
            "deploy.xyzzy=3",
            "unknown key deploy.xyzzy in command line allowed are container, instance_type",
        ),
        ("_env_file=x", "unknown key _env_file in command line"),
        ("train.epochs=many", "train.epochs = 'many' in command line cannot be used"),
        ("train.epochs=true", "train.epochs = true in command line cannot be used true and false are no values"),
        ("train.epochs=2.5", "train.epochs = 2.5 in command line"),
        ("train.epochs=0", "must be a whole number from 1 to 1000"),
        ("train.lr=0.0", "must be a number greater than 0 and of at most 10"),
        ("train.label_smoothing=1.0", "must be a number of at least 0 and less than 1"),
        ("debugger.collections=[]", "must be a list of at least 1"),
        ("train.lr=nan", "train.lr = nan in command line"),
        ("train.epochs=\udcff", r"train.epochs = '\udcff' in command line cannot be used must be a whole number"),
        ("train=3", "train = 3 in command line cannot be used must be a table, in which epochs is a key"),
        ("train.epochs.x=3", "train.epochs in command line"),
        ("tune.strategy=Bayes", "'Bayesian', 'Random', 'Grid' or 'Hyperband'"),
        ("target=gcp", "target = 'gcp' in command line cannot be used must be 'local' or 'aws'"),
        ("tune.ranges=3", "tune.ranges = 3 in command line"),
        ("tune.ranges.lr=3", "tune.ranges.lr = 3 in command line"),
        (
            "tune.ranges.lr.min=1.0",
            "tune.ranges.lr in command line cannot be used min (1.0) must be less than max (0.1)",
        ),
        ("tune.ranges.lr.max=inf", "tune.ranges.lr.max = inf in command line cannot be used"),
        ("tune.ranges.lr.values=[nan]", "tune.ranges.lr.values = nan in command line cannot be used"),
        ("features.max_gb=inf", "features.max_gb = inf in command line cannot be used must be a finite number"),
        ("tune.target_objective=inf", "tune.target_objective = inf in command line"),
        ("tune.ranges.lr.min=0.0", "scaling Logarithmic needs min > 0"),
        ("tune.ranges.lr={values = [1.0], min = 0.1, max = 1.0}", "give either values or min and max, not both"),
        ("tune.ranges.seed.min=1", "give values = [...], or both min and max"),
        ("tune.ranges.batch-size.values=[]", "1 to 30 values"),
        ("tune.ranges.batch-size.values=[8, 8]", "each value once"),
        ("tune.ranges.batch-size.values=[true]", "tune.ranges.batch-size.values"),
        ("tune.ranges.batch-size={min = 0.5, max = 9.5}", "batch-size takes whole numbers only"),
        ("tune.ranges.weight-decay={min = 0, max = 1}", "write min = 0.0 and max = 1.0"),
        ("tune.ranges.lr.values=['a']", "lr takes numbers only"),
        ("tune.ranges.backbone={min = 1, max = 2}", "backbone takes values = [...] of names"),
        ("tune.objective=validation:acc", "'validation:accuracy'"),
        ("tune.objective=validation:accuracy", 'goes with objective_type = "Maximize"'),
        ("tune.strategy=Grid", "strategy Grid takes values = [...] for every range"),
        ("aws.role_arn=arn:aws:iam::1:role/r", "aws.role_arn = 'arn:aws:iam::1:role/r' in command line"),
        ("aws.bucket=My_Bucket", "aws.bucket"),
        (r'aws.bucket="my-bucket\n"', "aws.bucket = 'my-bucket\\n' in command line cannot be used"),
        ("aws.prefix=/", "aws.prefix"),
        ("project.name=ends-", "project.name"),
        ("project.name=fourteen-chars", "project.name"),
        ("train.instance_type=g4dn.xlarge", "train.instance_type"),
        ("debugger.collections=['relu']", "debugger.collections"),
        ("debugger.collections=['custom']", "needs include"),
        ("debugger.include='relu'", "needs include"),
        ("debugger.profiler_steps=10", "debugger.profiler_steps"),
        ("train.seed=4294967296", "train.seed"),
        ("train.epochs", "--set train.epochs has no value"),
        ("=3", "has no value"),
    ],
)
def test_a_mistake_names_the_key_its_source_and_what_is_allowed(assignment: str, said: str) -> None:
    assert said in refused(assignment)


def test_hyperband_contradictions() -> None:
    assert "early_stopping = false" in refused("tune.strategy=Hyperband", "tune.early_stopping=true")
    assert "remove ranges.epochs" in refused("tune.strategy=Hyperband", "tune.ranges.epochs.values=[1, 2]")


def test_the_file_is_named() -> None:
    assert "unknown key train.epocs in config.toml" in refused(text="[train]\nepocs = 3")
    assert "train.epochs = 'x' in config.toml" in refused(text="[train]\nepochs = 'x'")
    assert "config.toml is not valid TOML" in refused(text="[train\nepochs = 3")
    assert "line 2" in refused(text="[train]\nepochs = \nlr = 1")
    Path("config.toml").write_bytes(b"# \xff\n")
    assert "config.toml is not valid TOML" in refused()
    Path("config.toml").write_bytes(b"\xef\xbb\xbf[train]\nepochs = 3\n")  # as Windows' Notepad saves it
    assert settings().train.epochs == 3


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("train.epochs = '3'", "must be a whole number from 1 to 1000"),
        ("train.epochs = 3.0", "must be a whole number from 1 to 1000"),
        ("train.epochs = true", "true and false are no values for this key: it must be a whole number"),
        ("train.lr = '.5'", "must be a number greater than 0"),
        ("train.spot = 1", "must be true or false"),
        ("train.spot = 'true'", "must be true or false"),
        ("train.max_wait = 'null'", "must be a whole number"),
        ("deploy.memory = '2048'", "must be 1024, 2048"),
        ("local.python = 3", "must be a path"),
        ("tune.ranges.lr.max = '0.1'", "must be a finite number"),
    ],
)
def test_a_file_says_what_kind_a_value_is_and_has_to_say_it_right(line: str, why: str) -> None:
    assert f"{line} in config.toml cannot be used {why}" in refused(text=line)


def test_in_a_file_a_whole_number_is_a_number_too() -> None:
    assert settings(text="train.lr = 1").train.lr == 1.0


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("DOGBREED_TRIAN__EPOCHS", "3", "did you mean DOGBREED_TRAIN__EPOCHS?"),
        ("DOGBREED_TRAIN_EPOCHS", "3", "did you mean DOGBREED_TRAIN__EPOCHS?"),
        ("dogbreed_train_epochs", "3", "did you mean DOGBREED_TRAIN__EPOCHS?"),
        ("DOGBREED_DEPLOY_INSTANCE_TYPE", "3", "did you mean DOGBREED_DEPLOY__INSTANCE_TYPE?"),
        ("DOGBREED_EPOCHS", "3", "did you mean DOGBREED_TUNE__EPOCHS or DOGBREED_TRAIN__EPOCHS?"),
        ("DOGBREED_TRAIN_ENVIRONMENT__TOKEN", "3", "did you mean DOGBREED_TRAIN__ENVIRONMENT?"),
        ("DOGBREED_TARGTE", "aws", "did you mean DOGBREED_TARGET?"),
        ("DOGBREED_HOMES", "x", "did you mean DOGBREED_HOME?"),
        ("DOGBREED_XYZZY", "x", "write DOGBREED_SECTION__KEY, as in config.toml"),
        ("DOGBREED_TRAIN__EPOCS", "3", "unknown key train.epocs in environment did you mean train.epochs?"),
        ("DOGBREED_TUNE__RANGES__LR__MAXX", "3", "unknown key tune.ranges.lr.maxx in environment"),
        ("DOGBREED_TUNE__RANGES__BATCHSIZE__MAX", "3", "unknown key tune.ranges.batchsize in environment"),
        ("DOGBREED_TRAIN__EPOCHS", "many", "train.epochs = 'many' in environment"),
        ("DOGBREED_TRAIN__EPOCHS", "", "train.epochs = '' in environment"),
        ("DOGBREED_TRAIN", "many", "DOGBREED_TRAIN in environment cannot be read"),
        ("DOGBREED_TRAIN", "[1]", "DOGBREED_TRAIN in environment cannot be read a table is written as JSON"),
        ("DOGBREED_AWS__SUBNETS", "subnet-1", "write DOGBREED_AWS__SUBNETS='["),
        ("DOGBREED_TRAIN__SPOT", "maybe", "train.spot = 'maybe' in environment cannot be used must be true or false"),
        ("DOGBREED_PREFIX", "x", "unknown environment variable DOGBREED_PREFIX did you mean DOGBREED_AWS__PREFIX?"),
    ],
)
def test_the_environment_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str) -> None:
    monkeypatch.setenv(variable, value)
    assert said in refused()


def test_the_variables_that_others_read_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DOGBREED_HOME", "DOGBREED_CACHE", "DOGBREED_CONFIG", "dogbreed_home"):
        monkeypatch.setenv(name, "x")
    assert settings() == Config()


def test_a_file_that_was_named_must_be_there() -> None:
    with pytest.raises(UsageError, match=r"no config file other.toml.*--config other.toml init"):
        load(Path("other.toml"))


def test_the_config_is_frozen() -> None:
    config = settings()
    with pytest.raises(AttributeError):
        config.target = "aws"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        config.train.epochs = 3  # type: ignore[misc]


# ---- what the config repeats of others


def test_the_hyperparameters_are_those_of_the_script() -> None:
    script = (ROOT / "entrypoints" / "arguments.py").read_text()
    arguments = dict(re.findall(r'parser\.add_argument\("--([a-z-]+)"(?:, type=(\w+))?', script))
    kinds = {"int": int, "float": float, "": str}
    not_learnt = {"mode", "engine"}  # of the features job
    not_learnt |= {name for name in arguments if name.startswith(("debug-", "profile-"))}
    assert {name: kinds[kind] for name, kind in arguments.items() if name not in not_learnt} == HYPERPARAMETERS


def test_every_metric_of_the_requests_is_an_objective() -> None:
    for metric in requests.METRICS:
        kind = "Maximize" if metric.endswith("accuracy") else "Minimize"
        assert settings(f"tune.objective={metric}", f"tune.objective_type={kind}").tune.objective == metric
