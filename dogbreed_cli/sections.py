"""The sections of config.toml as frozen structs: every key, its type, its default, what is allowed. See config.py.

Annotations are no strings here (`from __future__ import annotations`): msgspec would have to evaluate each.
"""

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from dogbreed_cli.hyperparameters import HYPERPARAMETERS
from dogbreed_cli.value_types import (
    Bucket,
    Choice,
    Fraction,
    InstanceType,
    KeyPrefix,
    KmsKey,
    Metric,
    NetworkId,
    Number,
    Positive,
    ProjectName,
    RoleArn,
    S3Endpoint,
    Seconds,
    Seed,
    SplitFraction,
    Steps,
    TagKey,
    TagValue,
    VariableName,
    VariableValue,
)


class Section(Struct, frozen=True, forbid_unknown_fields=True):
    """A check of several keys together is a `__post_init__` that raises ValueError."""


class Project(Section, frozen=True):
    name: ProjectName = "dogbreed"


class Aws(Section, frozen=True):
    profile: str | None = None
    region: str | None = None
    bucket: Bucket | None = None
    prefix: KeyPrefix | None = None
    role_arn: RoleArn | None = None
    training_image: str | None = None
    inference_image: str | None = None
    kms_key: KmsKey | None = None
    volume_kms_key: KmsKey | None = None
    subnets: Annotated[tuple[NetworkId, ...], Meta(max_length=16)] = ()
    security_groups: Annotated[tuple[NetworkId, ...], Meta(max_length=5)] = ()
    network_isolation: bool = False
    encrypt_traffic: bool = False
    tags: Annotated[dict[TagKey, TagValue], Meta(max_length=45)] = field(default_factory=dict)
    poll_seconds: Annotated[float, Meta(gt=0, le=300)] = 10.0

    def __post_init__(self) -> None:
        if bool(self.subnets) != bool(self.security_groups):
            raise ValueError("give both subnets and security_groups, or neither")
        if wrong := [key for key in self.tags if key.lower().startswith(("aws:", "dogbreed:"))]:
            raise ValueError(f"the tag {wrong[0]} is not yours to give: aws: and dogbreed: are reserved")


class Local(Section, frozen=True):
    python: Path | None = None
    s3_endpoint: S3Endpoint | None = None


class Data(Section, frozen=True):
    valid_fraction: SplitFraction = 0.15
    test_fraction: SplitFraction = 0.15
    seed: Seed = 0


class Model(Section, frozen=True):
    backbone: str = "resnet50"
    weights: str = "DEFAULT"
    image_size: Annotated[int, Meta(ge=32, le=1024)] = 224


class Features(Section, frozen=True):
    enabled: bool = True
    views: Annotated[int, Meta(ge=0, le=32)] = 1
    engine: Literal["auto", "torch", "openvino"] = "auto"
    precision: Literal["auto", "fp32"] = "auto"
    max_gb: Positive = 20.0


class Range(Section, frozen=True):
    """A tunable hyperparameter: `values` to choose from, or `min` and `max` (whole numbers: an integer range)."""

    values: tuple[Choice, ...] | None = None
    min: Number | None = None
    max: Number | None = None
    scaling: Literal["Auto", "Linear", "Logarithmic", "ReverseLogarithmic"] = "Auto"

    def __post_init__(self) -> None:
        if self.values is not None:
            if self.min is not None or self.max is not None:
                raise ValueError("give either values or min and max, not both")
            if not 1 <= len(self.values) <= 30:
                raise ValueError("give 1 to 30 values")
            if len(set(self.values)) < len(self.values):
                raise ValueError("give each value once")
            return
        if self.min is None or self.max is None:
            raise ValueError("give values = [...], or both min and max")
        if self.min >= self.max:
            raise ValueError(f"min ({self.min}) must be less than max ({self.max})")
        if self.scaling == "Logarithmic" and self.min <= 0:
            raise ValueError("scaling Logarithmic needs min > 0")
        if self.scaling == "ReverseLogarithmic" and not 0 <= self.min < self.max < 1:
            raise ValueError("scaling ReverseLogarithmic needs 0 <= min < max < 1")

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
    "batch-size": {"values": (16, 32, 64, 128)},
}


class Tune(Section, frozen=True):
    max_jobs: Annotated[int, Meta(ge=1, le=500)] = 4
    max_parallel_jobs: Annotated[int, Meta(ge=1, le=100)] = 2
    strategy: Literal["Bayesian", "Random", "Grid", "Hyperband"] = "Bayesian"
    objective: Metric = "validation:loss"
    objective_type: Literal["Minimize", "Maximize"] = "Minimize"
    early_stopping: bool = False
    data_fraction: Fraction = 0.25
    epochs: Annotated[int, Meta(ge=1, le=1000)] = 3
    # Never 0: sagemaker.core would drop it from the request, and AWS would draw a seed of its own.
    seed: Annotated[int, Meta(ge=1, le=2**31 - 1)] = 1
    max_run: Seconds = 3600
    max_total_run: Annotated[int, Meta(ge=120, le=15768000)] | None = None
    target_objective: Positive | None = None
    max_jobs_not_improving: Annotated[int, Meta(ge=3)] | None = None
    stop_on_convergence: bool = False
    warm_start_type: Literal["TransferLearning", "IdenticalDataAndAlgorithm"] = "TransferLearning"
    ranges: dict[str, Range] = field(default_factory=lambda: {k: Range(**v) for k, v in DEFAULT_RANGES.items()})

    def __post_init__(self) -> None:
        if self.strategy == "Grid" and any(r.values is None for r in self.ranges.values()):
            raise ValueError("strategy Grid takes values = [...] for every range, not min and max")
        if self.strategy == "Grid" and self.max_jobs < self.combinations:
            needed = self.combinations
            raise ValueError(f"strategy Grid tries all {needed} combinations: set max_jobs to {needed}, or give fewer")
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

    @property
    def combinations(self) -> int:
        """Of the values, which is what Grid tries."""
        return math.prod(len(span.values or ()) for span in self.ranges.values())

    @property
    def trials(self) -> int:
        """How many there are at most. AWS takes no other number for Grid."""
        return self.combinations if self.strategy == "Grid" else self.max_jobs


class Train(Section, frozen=True):
    epochs: Annotated[int, Meta(ge=1, le=1000)] = 10
    batch_size: Annotated[int, Meta(ge=1, le=4096)] = 32
    lr: Annotated[float, Meta(gt=0, le=10)] = 1e-3
    optimizer: Literal["adamw", "sgd", "lbfgs"] = "adamw"
    weight_decay: Annotated[float, Meta(ge=0, le=1)] = 1e-4
    patience: Annotated[int, Meta(ge=0, le=1000)] = 5
    class_weights: Literal["none", "balanced"] = "none"
    label_smoothing: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    unfreeze: Literal["none", "layer4", "all"] = "none"
    seed: Seed = 0
    workers: Annotated[int, Meta(ge=-1, le=64)] = -1
    instance_type: InstanceType = "ml.g4dn.xlarge"
    instance_count: Annotated[int, Meta(ge=1, le=100)] = 1
    processes_per_host: Annotated[int, Meta(ge=1, le=64)] = 1
    volume_size: Annotated[int, Meta(ge=1, le=16384)] = 30
    max_run: Seconds = 4 * 3600
    spot: bool = False
    max_wait: Seconds | None = None
    keep_alive: Annotated[int, Meta(ge=0, le=21600)] = 0
    max_retry_attempts: Annotated[int, Meta(ge=0, le=30)] = 0
    input_mode: Literal["File", "FastFile"] = "File"
    data_distribution: Literal["FullyReplicated", "ShardedByS3Key"] = "FullyReplicated"
    environment: Annotated[dict[VariableName, VariableValue], Meta(max_length=48)] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.max_wait is not None and not self.spot:
            raise ValueError("max_wait goes with spot = true: only spot instances are waited for")
        if self.max_wait is not None and self.max_wait < self.max_run:
            raise ValueError(f"max_wait ({self.max_wait}) holds the running too: at least max_run ({self.max_run})")
        if self.instance_count > 1 and self.data_distribution == "ShardedByS3Key":
            raise ValueError("train.py needs every image on every instance: set data_distribution = FullyReplicated")
        if self.spot and self.keep_alive:
            raise ValueError("keep_alive and spot exclude each other: spot instances are not kept warm")

    @property
    def is_distributed(self) -> bool:
        return self.instance_count * self.processes_per_host > 1


Collection = Literal["losses", "weights", "gradients", "biases", "custom"]
Reduction = Literal["mean", "abs_mean", "min", "max", "std", "l2"]


class Debugger(Section, frozen=True):
    enabled: bool = True
    collections: Annotated[tuple[Collection, ...], Meta(min_length=1)] = ("losses", "weights", "gradients", "biases")
    include: str = ""
    save_interval: Annotated[int, Meta(ge=0)] = 0
    reductions: tuple[Reduction, ...] = ()
    profiler_interval: Literal[0, 100, 200, 500, 1000, 5000, 60000] = 500
    profiler_steps: Steps = ""
    aws_rules: bool = False

    def __post_init__(self) -> None:
        if ("custom" in self.collections) != bool(self.include):
            raise ValueError(
                "the collection custom needs include, a regular expression of tensors' names, and it alone"
            )
        try:
            re.compile(self.include)
        except re.error as error:
            raise ValueError(f"include is no regular expression: {error}") from error
        if self.aws_rules and not self.enabled:
            raise ValueError("aws_rules read what the hook writes: set enabled = true")


class Deploy(Section, frozen=True):
    container: Literal["pytorch", "ray"] = "pytorch"
    instance_type: InstanceType = "ml.m5.large"
    instance_count: Annotated[int, Meta(ge=1, le=100)] = 1
    serverless: bool = False
    memory: Literal[1024, 2048, 3072, 4096, 5120, 6144] = 4096
    max_concurrency: Annotated[int, Meta(ge=1, le=200)] = 5
    data_capture: Annotated[int, Meta(ge=0, le=100)] = 0
    max_instances: Annotated[int, Meta(ge=0, le=100)] = 0
    requests_per_minute: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000
    expiry_role_arn: RoleArn | None = None
