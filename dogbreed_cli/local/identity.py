"""Who one is on this machine: STS GetCallerIdentity and IAM GetRole, with an account that AWS can never give."""

from datetime import UTC, datetime
from typing import Any

from dogbreed_cli.local.errors import AwsError
from dogbreed_cli.local.home import ACCOUNT, ROLE_ARN

_ROLE = ROLE_ARN.rpartition("/")[2]
# IAM answers with a percent-encoded JSON document, which botocore decodes.
_TRUST = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", '
    '"Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}]}'
)


class Sts:
    def get_caller_identity(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"Account": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:user/local", "UserId": "AIDALOCAL"}


class Iam:
    def get_role(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["RoleName"]
        if name != _ROLE:
            raise AwsError("NoSuchEntity", f"The role with name {name} cannot be found.", 404)
        return {
            "Role": {
                "Path": "/",
                "RoleName": _ROLE,
                "RoleId": "AROALOCAL",
                "Arn": ROLE_ARN,
                "CreateDate": datetime(2026, 1, 1, tzinfo=UTC),
                "AssumeRolePolicyDocument": _TRUST,
                "Description": "The execution role of jobs on this machine.",
                "MaxSessionDuration": 3600,
            }
        }
