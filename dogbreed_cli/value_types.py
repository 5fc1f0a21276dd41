"""What a key's value may look like, for the sections of config.toml: ranges of numbers, AWS's patterns of names."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictInt

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
KmsKey = Annotated[str, Field(pattern=r"^[a-zA-Z0-9:/_-]+$", max_length=2048)]
NetworkId = Annotated[str, Field(pattern=r"^[-0-9a-zA-Z]+$", max_length=32)]
TagText = r"^[\w\s.:/=+@-]*$"
TagKey = Annotated[str, Field(pattern=TagText, min_length=1, max_length=128)]
# Never empty: sagemaker.core would drop it from the request.
TagValue = Annotated[str, Field(pattern=TagText, min_length=1, max_length=256)]
VariableName = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", max_length=512)]
VariableValue = Annotated[str, Field(max_length=512)]
# METRICS of requests.py, which the script prints.
Metric = Literal["train:loss", "validation:loss", "validation:accuracy", "test:loss", "test:accuracy"]


def read_number(value: Any) -> Any:
    """An environment variable's "16" is a whole number, its "16.0" is not: the kind of range depends on it."""
    return int(value) if isinstance(value, str) and re.fullmatch(r"[-+]?\d+", value) else value


Number = Annotated[StrictInt | float, BeforeValidator(read_number)]
