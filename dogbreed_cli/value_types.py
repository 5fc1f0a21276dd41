"""What a key's value may look like, for the sections of config.toml: ranges of numbers, AWS's patterns of names.

A `description` goes on from "must be" in an error. A pattern ends in \\Z: before $ a line feed could stand.
"""

import sys
from typing import Annotated, Literal

from msgspec import Meta

LARGEST = sys.float_info.max  # no infinity, and no NaN either
Finite = Annotated[float, Meta(ge=-LARGEST, le=LARGEST)]
Positive = Annotated[float, Meta(gt=0, le=LARGEST, description="a finite number greater than 0")]
# 16 and 16.0 differ: the kind of range depends on it.
Number = Annotated[int | Finite, Meta(description="a finite number")]
Choice = Annotated[str | int | Finite, Meta(description="text or a finite number")]
Fraction = Annotated[float, Meta(gt=0, le=1)]
SplitFraction = Annotated[float, Meta(ge=0, le=0.5)]
Seconds = Annotated[int, Meta(ge=1, le=28 * 24 * 3600)]
Seed = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Steps = Annotated[str, Meta(pattern=r"^(\d+-\d+)?\Z", description='the first step and the last, as in "10-20"')]
# The longest name we derive is `<project>-tune-yymmdd-hhmmss`, and a tuning job's name has at most 32 characters.
ProjectName = Annotated[str, Meta(
    pattern=r"^[a-zA-Z0-9](-?[a-zA-Z0-9]){0,12}\Z", max_length=13,
    description="at most 13 letters and digits, with single hyphens between them",
)]  # fmt: skip
InstanceType = Annotated[str, Meta(
    pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9-]+\Z", description="an instance type such as ml.m5.large",
)]  # fmt: skip
RoleArn = Annotated[str, Meta(
    pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/[a-zA-Z_0-9+=,.@/-]+\Z",
    description="a role's ARN such as arn:aws:iam::123456789012:role/NAME",
)]  # fmt: skip
Bucket = Annotated[str, Meta(
    pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z",
    description="a bucket's name: 3 to 63 small letters, digits, dots and hyphens, a letter or digit at either end",
)]  # fmt: skip
KeyPrefix = Annotated[str, Meta(
    pattern=r"^/*[a-zA-Z0-9_.-]+(/[a-zA-Z0-9_.-]+)*/*\Z",
    description="a key prefix such as a/b: letters, digits, dots, hyphens and underscores between slashes",
)]  # fmt: skip
S3Endpoint = Annotated[str, Meta(
    pattern=r"^https?://[^\s/@]+/?\Z", description="a URL such as http://127.0.0.1:9000, without a user or a path",
)]  # fmt: skip
KmsKey = Annotated[str, Meta(
    pattern=r"^[a-zA-Z0-9:/_-]{1,2048}\Z", description="a KMS key's id or ARN, or alias/NAME",
)]  # fmt: skip
NetworkId = Annotated[str, Meta(
    pattern=r"^[-0-9a-zA-Z]{1,32}\Z", description="an id of at most 32 letters, digits and hyphens",
)]  # fmt: skip
TagKey = Annotated[str, Meta(
    pattern=r"^[\w\s.:/=+@-]{1,128}\Z", description="a tag's name: 1 to 128 letters, digits, spaces and _.:/=+@-",
)]  # fmt: skip
# Never empty: sagemaker.core would drop it from the request.
TagValue = Annotated[str, Meta(
    pattern=r"^[\w\s.:/=+@-]{1,256}\Z", description="a tag's value: 1 to 256 letters, digits, spaces and _.:/=+@-",
)]  # fmt: skip
VariableName = Annotated[str, Meta(
    pattern=r"^[a-zA-Z_][a-zA-Z0-9_]{0,511}\Z",
    description="a variable's name: at most 512 letters, digits and underscores, the first no digit",
)]  # fmt: skip
VariableValue = Annotated[str, Meta(max_length=512, description="text of at most 512 characters")]
# METRICS of requests.py, which the script prints.
Metric = Literal["train:loss", "validation:loss", "validation:accuracy", "test:loss", "test:accuracy"]
