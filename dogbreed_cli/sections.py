"""The sections of config.toml as frozen models: every key, its type, its default, what is allowed. See config.py."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

Fraction = Annotated[float, Field(gt=0, le=1)]
SplitFraction = Annotated[float, Field(ge=0, le=0.5)]
Seconds = Annotated[int, Field(ge=1, le=28 * 24 * 3600)]
# The longest name we derive is `<project>-tune-yymmdd-hhmmss`, and a tuning job's name has at most 32 characters.
ProjectName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9](-?[a-zA-Z0-9]){0,12}$", max_length=13)]
InstanceType = Annotated[str, Field(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9-]+$")]
RoleArn = Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/[a-zA-Z_0-9+=,.@/-]+$")]
Bucket = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
KeyPrefix = Annotated[str, Field(pattern=r"^/*[a-zA-Z0-9_.-]+(/[a-zA-Z0-9_.-]+)*/*$")]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
# METRICS of requests.py, which the script prints.
Metric = Literal["train:loss", "validation:loss", "validation:accuracy", "test:loss", "test:accuracy"]
# Those of entrypoints/train.py, as they may be tuned.
HYPERPARAMETERS: dict[str, type] = {
    "batch-size": int,
    "lr": float,
    "epochs": int,
    "backbone": str,
    "weights": str,
    "data-fraction": float,
    "seed": int,
    "optimizer": str,
    "weight-decay": float,
    "image-size": int,
    "workers": int,
}


def read_number(value: Any) -> Any:
    """An environment variable's "16" is a whole number, its "16.0" is not: the kind of range depends on it."""
    return int(value) if isinstance(value, str) and re.fullmatch(r"[-+]?\d+", value) else value


Number = Annotated[StrictInt | float, BeforeValidator(read_number)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def refuse_truth(cls, value: Any, info: ValidationInfo) -> Any:
        """`epochs = true` would otherwise pass as 1."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("true and false are no values for this key")
        return value


class Project(Section):
    name: ProjectName = "dogbreed"


class Aws(Section):
    profile: str | None = None
    region: str | None = None
    bucket: Bucket | None = None
    prefix: KeyPrefix | None = None
    role_arn: RoleArn | None = None
    training_image: str | None = None
    inference_image: str | None = None


class Local(Section):
    python: Path | None = None


class Data(Section):
    valid_fraction: SplitFraction = 0.15
    test_fraction: SplitFraction = 0.15
    seed: Seed = 0


class Model(Section):
    backbone: str = "resnet50"
    weights: str = "DEFAULT"
    image_size: int = Field(224, ge=32, le=1024)


class Range(Section):
    """A tunable hyperparameter: `values` to choose from, or `min` and `max` (whole numbers: an integer range)."""

    values: tuple[StrictStr | StrictInt | StrictFloat, ...] | None = None
    min: Number | None = None
    max: Number | None = None
    scaling: Literal["Auto", "Linear", "Logarithmic", "ReverseLogarithmic"] = "Auto"

    @model_validator(mode="after")
    def check(self) -> Range:
        if self.values is not None:
            if self.min is not None or self.max is not None:
                raise ValueError("give either values or min and max, not both")
            if not 1 <= len(self.values) <= 30:
                raise ValueError("give 1 to 30 values")
            if len(set(self.values)) < len(self.values):
                raise ValueError("give each value once")
            return self
        if self.min is None or self.max is None:
            raise ValueError("give values = [...], or both min and max")
        if self.min >= self.max:
            raise ValueError(f"min ({self.min}) must be less than max ({self.max})")
        if self.scaling == "Logarithmic" and self.min <= 0:
            raise ValueError("scaling Logarithmic needs min > 0")
        if self.scaling == "ReverseLogarithmic" and not 0 <= self.min < self.max < 1:
            raise ValueError("scaling ReverseLogarithmic needs 0 <= min < max < 1")
        return self

    def contradicts(self, kind: type) -> str:
        """Why a hyperparameter of this kind cannot have this range; "" when it can."""
        given = self.values if self.values is not None else (self.min, self.max)
        if kind is int and not all(isinstance(value, int) for value in given):
            return "takes whole numbers only"
        if kind is float and any(isinstance(value, str) for value in given):
            return "takes numbers only"
        if kind is float and self.values is None and all(isinstance(value, int) for value in given):
            return f"takes fractions: write min = {self.min}.0 and max = {self.max}.0"
        if kind is str and not all(isinstance(value, str) for value in given):
            return "takes values = [...] of names"
        return ""


DEFAULT_RANGES: dict[str, dict[str, Any]] = {
    "lr": {"min": 1e-4, "max": 1e-1, "scaling": "Logarithmic"},
    "batch-size": {"values": [16, 32, 64, 128]},
}


class Tune(Section):
    max_jobs: int = Field(4, ge=1, le=500)
    max_parallel_jobs: int = Field(2, ge=1, le=100)
    strategy: Literal["Bayesian", "Random", "Grid", "Hyperband"] = "Bayesian"
    objective: Metric = "validation:loss"
    objective_type: Literal["Minimize", "Maximize"] = "Minimize"
    early_stopping: bool = False
    data_fraction: Fraction = 0.25
    epochs: int = Field(3, ge=1, le=1000)
    seed: Seed = 0
    max_run: Seconds = 3600
    ranges: dict[str, Range] = Field(default_factory=lambda: {k: Range(**v) for k, v in DEFAULT_RANGES.items()})

    @model_validator(mode="after")
    def check(self) -> Tune:
        if self.strategy == "Grid" and any(r.values is None for r in self.ranges.values()):
            raise ValueError("strategy Grid takes values = [...] for every range, not min and max")
        if self.strategy == "Hyperband" and self.early_stopping:
            raise ValueError("strategy Hyperband stops trials itself: set early_stopping = false")
        if self.strategy == "Hyperband" and "epochs" in self.ranges:
            raise ValueError("strategy Hyperband chooses the epochs itself: remove ranges.epochs")
        better = "Maximize" if self.objective.endswith("accuracy") else "Minimize"
        if self.objective_type != better:
            raise ValueError(f'objective {self.objective} goes with objective_type = "{better}"')
        for name, span in self.ranges.items():
            if name in HYPERPARAMETERS and (why := span.contradicts(HYPERPARAMETERS[name])):
                raise ValueError(f"ranges.{name}: {name} {why}")
        return self


class Train(Section):
    epochs: int = Field(10, ge=1, le=1000)
    batch_size: int = Field(32, ge=1, le=4096)
    lr: float = Field(1e-3, gt=0, le=10)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    weight_decay: float = Field(1e-4, ge=0, le=1)
    seed: Seed = 0
    workers: int = Field(-1, ge=-1, le=64)
    instance_type: InstanceType = "ml.g4dn.xlarge"
    volume_size: int = Field(30, ge=1, le=16384)
    max_run: Seconds = 4 * 3600


class Debugger(Section):
    enabled: bool = True
    save_interval: int = Field(10, ge=1)
    collections: tuple[Literal["losses", "weights", "gradients", "biases"], ...] = ("losses", "gradients")


class Deploy(Section):
    instance_type: InstanceType = "ml.m5.large"
    instance_count: int = Field(1, ge=1, le=100)
