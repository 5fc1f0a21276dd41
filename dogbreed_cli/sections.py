"""The sections of config.toml as frozen models: every key, its type, its default, what is allowed. See config.py."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from dogbreed_cli.hyperparameters import HYPERPARAMETERS
from dogbreed_cli.value_types import (
    Bucket,
    Fraction,
    InstanceType,
    KeyPrefix,
    KmsKey,
    Metric,
    NetworkId,
    Number,
    ProjectName,
    RoleArn,
    Seconds,
    Seed,
    SplitFraction,
    TagKey,
    TagValue,
    VariableName,
    VariableValue,
)


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
    kms_key: KmsKey | None = None
    volume_kms_key: KmsKey | None = None
    subnets: tuple[NetworkId, ...] = Field((), max_length=16)
    security_groups: tuple[NetworkId, ...] = Field((), max_length=5)
    network_isolation: bool = False
    encrypt_traffic: bool = False
    tags: dict[TagKey, TagValue] = Field(default_factory=dict, max_length=45)
    poll_seconds: float = Field(10, gt=0, le=300)

    @model_validator(mode="after")
    def check(self) -> Aws:
        if bool(self.subnets) != bool(self.security_groups):
            raise ValueError("give both subnets and security_groups, or neither")
        if wrong := [key for key in self.tags if key.lower().startswith(("aws:", "dogbreed:"))]:
            raise ValueError(f"the tag {wrong[0]} is not yours to give: aws: and dogbreed: are reserved")
        return self


class Local(Section):
    python: Path | None = None
    s3_endpoint: str | None = Field(None, pattern=r"^https?://[^\s/@]+/?$")


class Data(Section):
    valid_fraction: SplitFraction = 0.15
    test_fraction: SplitFraction = 0.15
    seed: Seed = 0


class Model(Section):
    backbone: str = "resnet50"
    weights: str = "DEFAULT"
    image_size: int = Field(224, ge=32, le=1024)


class Features(Section):
    enabled: bool = True
    views: int = Field(1, ge=0, le=32)
    engine: Literal["auto", "torch", "openvino"] = "auto"
    precision: Literal["auto", "fp32"] = "auto"
    max_gb: float = Field(20.0, gt=0)


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
    # Never 0: sagemaker.core would drop it from the request, and AWS would draw a seed of its own.
    seed: int = Field(1, ge=1, le=2**31 - 1)
    max_run: Seconds = 3600
    max_total_run: Annotated[int, Field(ge=120, le=15768000)] | None = None
    target_objective: Annotated[float, Field(gt=0)] | None = None
    max_jobs_not_improving: Annotated[int, Field(ge=3)] | None = None
    stop_on_convergence: bool = False
    warm_start_type: Literal["TransferLearning", "IdenticalDataAndAlgorithm"] = "TransferLearning"
    ranges: dict[str, Range] = Field(default_factory=lambda: {k: Range(**v) for k, v in DEFAULT_RANGES.items()})

    @model_validator(mode="after")
    def check(self) -> Tune:
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
        return self

    @property
    def combinations(self) -> int:
        """Of the values, which is what Grid tries."""
        return math.prod(len(span.values or ()) for span in self.ranges.values())

    @property
    def trials(self) -> int:
        """How many there are at most. AWS takes no other number for Grid."""
        return self.combinations if self.strategy == "Grid" else self.max_jobs


class Train(Section):
    epochs: int = Field(10, ge=1, le=1000)
    batch_size: int = Field(32, ge=1, le=4096)
    lr: float = Field(1e-3, gt=0, le=10)
    optimizer: Literal["adamw", "sgd", "lbfgs"] = "adamw"
    weight_decay: float = Field(1e-4, ge=0, le=1)
    patience: int = Field(5, ge=0, le=1000)
    class_weights: Literal["none", "balanced"] = "none"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    unfreeze: Literal["none", "layer4", "all"] = "none"
    seed: Seed = 0
    workers: int = Field(-1, ge=-1, le=64)
    instance_type: InstanceType = "ml.g4dn.xlarge"
    instance_count: int = Field(1, ge=1, le=100)
    processes_per_host: int = Field(1, ge=1, le=64)
    volume_size: int = Field(30, ge=1, le=16384)
    max_run: Seconds = 4 * 3600
    spot: bool = False
    max_wait: Seconds | None = None
    keep_alive: int = Field(0, ge=0, le=21600)
    max_retry_attempts: int = Field(0, ge=0, le=30)
    input_mode: Literal["File", "FastFile"] = "File"
    data_distribution: Literal["FullyReplicated", "ShardedByS3Key"] = "FullyReplicated"
    environment: dict[VariableName, VariableValue] = Field(default_factory=dict, max_length=48)

    @model_validator(mode="after")
    def check(self) -> Train:
        if self.max_wait is not None and not self.spot:
            raise ValueError("max_wait goes with spot = true: only spot instances are waited for")
        if self.max_wait is not None and self.max_wait < self.max_run:
            raise ValueError(f"max_wait ({self.max_wait}) holds the running too: at least max_run ({self.max_run})")
        if self.instance_count > 1 and self.data_distribution == "ShardedByS3Key":
            raise ValueError("train.py needs every image on every instance: set data_distribution = FullyReplicated")
        if self.spot and self.keep_alive:
            raise ValueError("keep_alive and spot exclude each other: spot instances are not kept warm")
        return self

    @property
    def is_distributed(self) -> bool:
        return self.instance_count * self.processes_per_host > 1


Reduction = Literal["mean", "abs_mean", "min", "max", "std", "l2"]


class Debugger(Section):
    enabled: bool = True
    collections: tuple[Literal["losses", "weights", "gradients", "biases", "custom"], ...] = Field(
        ("losses", "weights", "gradients", "biases"), min_length=1
    )
    include: str = ""
    save_interval: int = Field(0, ge=0)
    reductions: tuple[Reduction, ...] = ()
    profiler_interval: Literal[0, 100, 200, 500, 1000, 5000, 60000] = 500
    profiler_steps: str = Field("", pattern=r"^(\d+-\d+)?$")
    aws_rules: bool = False

    @model_validator(mode="after")
    def check(self) -> Debugger:
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
        return self


class Deploy(Section):
    container: Literal["pytorch", "ray"] = "pytorch"
    instance_type: InstanceType = "ml.m5.large"
    instance_count: int = Field(1, ge=1, le=100)
    serverless: bool = False
    memory: Literal[1024, 2048, 3072, 4096, 5120, 6144] = 4096
    max_concurrency: int = Field(5, ge=1, le=200)
    data_capture: int = Field(0, ge=0, le=100)
    max_instances: int = Field(0, ge=0, le=100)
    requests_per_minute: int = Field(1000, ge=1, le=1_000_000)
    expiry_role_arn: RoleArn | None = None
