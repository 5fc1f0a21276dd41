"""The SageMaker of this machine: the operations that boto3's `sagemaker` and `sagemaker-runtime` clients can call.

Answers are records (see records.py); wire.py turns them into what AWS would have sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dogbreed_cli.local import endpoints, training_jobs, tuning_jobs
from dogbreed_cli.local.endpoints import Endpoints
from dogbreed_cli.local.errors import AwsError, refusal
from dogbreed_cli.local.home import Home
from dogbreed_cli.local.records import Record, Records
from dogbreed_cli.local.tuning_jobs import TuningJobs

KINDS = {
    "training-job": training_jobs.KIND,
    "hyper-parameter-tuning-job": tuning_jobs.KIND,
    "model": endpoints.MODEL,
    "endpoint-config": endpoints.CONFIG,
    "endpoint": endpoints.ENDPOINT,
}
MOST_TAGS = 50


class SageMaker(TuningJobs, Endpoints):
    def __init__(self, home: Home):
        self.home = home
        self.records = Records(home.records)

    def list_tags(self, request: Mapping[str, Any]) -> dict[str, Any]:
        kind, name = split_arn(request["ResourceArn"])
        return {"Tags": self.tagged(kind, name, lambda record: None).get("Tags", [])}

    def add_tags(self, request: Mapping[str, Any]) -> dict[str, Any]:
        kind, name = split_arn(request["ResourceArn"])

        def add(record: Record) -> None:
            tags = {tag["Key"]: tag["Value"] for tag in [*record.get("Tags", []), *request["Tags"]]}
            if len(tags) > MOST_TAGS:
                raise refusal(f"A resource has at most {MOST_TAGS} tags.")
            record["Tags"] = [{"Key": key, "Value": value} for key, value in tags.items()]

        return {"Tags": self.tagged(kind, name, add)["Tags"]}

    def delete_tags(self, request: Mapping[str, Any]) -> None:
        kind, name = split_arn(request["ResourceArn"])

        def drop(record: Record) -> None:
            record["Tags"] = [tag for tag in record.get("Tags", []) if tag["Key"] not in request["TagKeys"]]

        self.tagged(kind, name, drop)

    def tagged(self, kind: str, name: str, change: Any) -> Record:
        record = self.records.update(kind, name, change)
        if record is None:
            raise AwsError("ResourceNotFound", f"The resource {kind}/{name} does not exist.")
        return record


def split_arn(text: str) -> tuple[str, str]:
    kind, _, name = text.rpartition(":")[2].partition("/")
    if kind not in KINDS or not re.fullmatch("[a-zA-Z0-9-]+", name):
        raise refusal(f"The local SageMaker keeps no tags for {text!r}.")
    return KINDS[kind], name
