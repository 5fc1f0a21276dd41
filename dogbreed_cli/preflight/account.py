"""Who asks, where, and what they and the jobs' role are allowed: credentials, region, role, permissions."""

from __future__ import annotations

import difflib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dogbreed_cli.checks import Check, fail, ok, warn
from dogbreed_cli.errors import AccessError
from dogbreed_cli.parallel import in_parallel
from dogbreed_cli.policies import CALLER, SCHEDULER, SERVICE, Place, caller, execution_role, expiry_role, trust
from dogbreed_cli.storage import default_bucket
from dogbreed_cli.whole_files import written_beside

if TYPE_CHECKING:
    import boto3

    from dogbreed_cli.config import Config

DENIED = ("AccessDenied", "AccessDeniedException", "403", "UnauthorizedOperation")
POLICIES = "`dogbreed check --policies DIR` writes the policies"
CONNECT_SECONDS, READ_SECONDS = 5, 10


@dataclass(frozen=True)
class Caller:
    arn: str
    account: str

    @property
    def role_name(self) -> str | None:
        """The role of a session: arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION."""
        assumed = re.fullmatch(r"arn:[^:]+:sts::\d+:assumed-role/([^/]+)/.+", self.arn)
        return assumed[1] if assumed else None

    @property
    def is_root(self) -> bool:
        return self.arn.endswith(":root")


class Account:
    """Clients that give up soon, and what they say of the account."""

    def __init__(self, boto: boto3.Session, config: Config):
        self.boto, self.config = boto, config
        self.region: str = boto.region_name
        self.lock, self.clients = threading.Lock(), dict[str, Any]()

    def client(self, service: str) -> Any:
        from botocore.config import Config as ClientConfig

        patience = ClientConfig(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": 3},
        )
        with self.lock:  # a boto3 session makes one client at a time
            if service not in self.clients:
                self.clients[service] = self.boto.client(service, config=patience)
            return self.clients[service]

    @cached_property
    def caller(self) -> Caller:
        answer = self.client("sts").get_caller_identity()
        return Caller(answer["Arn"], answer["Account"])

    @property
    def bucket(self) -> str:
        return self.config.aws.bucket or default_bucket(self.region, self.caller.account)

    @property
    def place(self) -> Place:
        project = self.config.project.name
        suggested = f"arn:{self.caller.arn.split(':')[1]}:iam::{self.caller.account}:role/{project}-jobs"
        return Place(
            self.bucket,
            self.config.prefix,
            project,
            self.config.aws.role_arn or suggested,
            self.region,
            self.caller.account,
            self.config.deploy.expiry_role_arn or suggested.replace("-jobs", "-expiry"),
        )


def check_credentials(account: Account) -> Iterator[Check]:
    caller = account.caller
    if caller.is_root:
        fix = "use a role or a user that has only what iam/caller.json allows"
        yield warn("credentials", f"the root user of account {caller.account}, who may do everything", fix)
    else:
        yield ok("credentials", f"{caller.arn} (account {caller.account})")


def check_region(account: Account) -> Iterator[Check]:
    partitions = account.boto.get_available_partitions()
    known = [r for p in partitions for r in account.boto.get_available_regions("sagemaker", partition_name=p)]
    if account.region in known:
        yield ok("region", account.region)
        return
    close = difflib.get_close_matches(account.region, known, 1)
    near = f": did you mean {close[0]}?" if close else ""
    yield fail("region", f"boto3 knows no SageMaker in {account.region}{near}", "set aws.region")


def check_role(account: Account) -> Iterator[Check]:
    from botocore.exceptions import ClientError

    arn = account.config.aws.role_arn
    if arn is None:
        fix = f"set aws.role_arn to the role that SageMaker's jobs are to run under; {POLICIES} for one"
        yield fail("role", "aws.role_arn is not set", fix, AccessError.exit_code)
        return
    if arn.split(":")[4] != account.caller.account:
        found = f"{arn} is not of your account {account.caller.account}: SageMaker takes no other's"
        yield fail("role", found, "set aws.role_arn to a role of this account", AccessError.exit_code)
        return
    try:
        role = account.client("iam").get_role(RoleName=arn.rpartition("/")[2])["Role"]
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in DENIED:
            yield warn("role", f"{arn}: you may not look at it", "allow iam:GetRole to have it checked")
        elif code == "NoSuchEntity":
            yield fail("role", f"there is no role {arn}", f"create it; {POLICIES}", AccessError.exit_code)
        else:
            raise
        return
    if role["Arn"] != arn:
        yield fail("role", f"there is no role {arn}", f"set aws.role_arn to {role['Arn']}", AccessError.exit_code)
    elif not trusts_sagemaker(role["AssumeRolePolicyDocument"]):
        fix = f"make the role's trust policy iam/trust.json; {POLICIES}"
        yield fail("role", f"{arn} does not trust {SERVICE}", fix, AccessError.exit_code)
    else:
        yield ok("role", f"{arn} trusts SageMaker")


def trusts_sagemaker(policy: dict[str, Any]) -> bool:
    """Whether a trust policy lets SageMaker assume the role. Conditions are not weighed, but for a plain refusal."""

    def concerns(statement: dict[str, Any]) -> bool:
        principal, actions = statement.get("Principal", {}), several(statement.get("Action"))
        services = several(principal.get("Service")) if isinstance(principal, dict) else several(principal)
        return bool({SERVICE, "*"} & set(services)) and bool({"sts:AssumeRole", "sts:*", "*"} & set(actions))

    effects = {
        statement["Effect"]
        for statement in several(policy.get("Statement"))
        if concerns(statement) and (statement["Effect"] == "Allow" or not statement.get("Condition"))
    }
    return effects == {"Allow"}


def several(value: Any) -> list[Any]:
    """In a policy one thing stands for a list of one."""
    return value if isinstance(value, list) else [] if value is None else [value]


def check_permissions(account: Account) -> Iterator[Check]:
    """PassRole, and every action that the commands need: as IAM simulates them."""
    from botocore.exceptions import ClientError

    if account.caller.is_root:
        yield warn("permissions", "not checked: IAM simulates no root user, who may do everything")
        return
    if ":federated-user/" in account.caller.arn:
        yield warn("permissions", "not checked: IAM simulates no federated user")
        return
    try:
        denied = simulate(account)
    except ClientError as error:
        if error.response["Error"]["Code"] not in (*DENIED, "NoSuchEntity"):
            raise
        fix = "allow iam:SimulatePrincipalPolicy (and iam:GetRole) to have it checked"
        yield warn("permissions", "you may not ask what you may do", fix)
        return
    role, fix = account.config.aws.role_arn, f"attach iam/caller.json to whoever you are; {POLICIES}"
    if role is None:
        yield warn("pass role", "not checked: no role")
    elif "iam:PassRole" in denied:
        found = f"you may not give {role} to SageMaker (iam:PassRole)"
        yield fail("pass role", found, fix, AccessError.exit_code)
    else:
        yield ok("pass role", "you may give the role to SageMaker's jobs")
    needed = [operation for operation in CALLER if operation.action in denied and operation.action != "iam:PassRole"]
    if needed := [operation for operation in needed if not operation.is_optional]:
        named = ", ".join(f"{operation.action} ({operation.purpose})" for operation in needed[:3])
        more = f" and {len(needed) - 3} more" if len(needed) > 3 else ""
        yield fail("permissions", f"you lack {named}{more}", fix, AccessError.exit_code)
    else:
        yield ok("permissions", "everything that the commands need is allowed")


def simulate(account: Account) -> set[str]:
    """The actions of the caller's policy that are refused in one of their scopes. Raises ClientError."""
    client, place, principal = account.client("iam"), account.place, find_principal(account)

    def ask(scope: str) -> set[str]:
        actions = [operation.action for operation in CALLER if scope in operation.scopes]
        if not actions or (scope == "PassRole" and account.config.aws.role_arn is None):
            return set()
        context = {"ContextKeyName": "iam:PassedToService", "ContextKeyType": "string", "ContextKeyValues": [SERVICE]}
        pages = client.get_paginator("simulate_principal_policy").paginate(
            PolicySourceArn=principal,
            ActionNames=actions,
            ResourceArns=place.resources(scope)[:1],
            ContextEntries=[context] if scope == "PassRole" else [],
        )
        results = [result for page in pages for result in page["EvaluationResults"]]
        return {result["EvalActionName"] for result in results if result["EvalDecision"] != "allowed"}

    needed = [operation for operation in CALLER if not operation.is_optional]
    scopes = dict.fromkeys(scope for one in needed for scope in one.scopes if not scope.startswith("OnlyFor"))
    return set().union(*in_parallel(ask, scopes, max_workers=8))


def find_principal(account: Account) -> str:
    """The ARN that IAM simulates: of a session its role's, whose path only IAM knows."""
    name = account.caller.role_name
    return account.client("iam").get_role(RoleName=name)["Role"]["Arn"] if name else account.caller.arn


def write_policies(account: Account, folder: Path) -> Iterator[Check]:
    """The files of iam/ with the account's own names, and what KMS and the VPC of the settings need besides."""
    aws, place = account.config.aws, account.place
    keys = tuple(key for key in (aws.kms_key, aws.volume_kms_key) if key)
    documents = {
        "caller.json": caller(place, keys),
        "execution-role.json": execution_role(place, keys, vpc=bool(aws.subnets)),
        "trust.json": trust(),
        "expiry-role.json": expiry_role(place),
        "expiry-trust.json": trust(SCHEDULER),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, document in documents.items():
        with written_beside(folder / name) as beside:
            beside.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    yield ok("policies", f"wrote {', '.join(documents)} to {folder}, for the role {place.role_arn}")
