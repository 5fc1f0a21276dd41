"""The IAM policies: the files in iam/ are those of policies.py, and they allow what the commands do and no more."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import served
from botocore import xform_name
from kept_files import compare

from dogbreed_cli import policies, resources
from dogbreed_cli.policies import CALLER, EXECUTION_ROLE, FREE, Place

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "dogbreed_cli"
# botocore's name of each service that the commands call, and IAM's.
SERVICES = {
    "s3": "s3", "sagemaker": "sagemaker", "sagemaker-runtime": "sagemaker", "logs": "logs", "sts": "sts", "iam": "iam",
    "pricing": "pricing", "service-quotas": "servicequotas", "scheduler": "scheduler",
    "application-autoscaling": "application-autoscaling",
}  # fmt: skip
DOCUMENTS = {
    "caller.json": policies.caller(Place()),
    "execution-role.json": policies.execution_role(Place()),
    "trust.json": policies.trust(),
    "expiry-role.json": policies.expiry_role(Place()),
    "expiry-trust.json": policies.trust(policies.SCHEDULER),
}
PLACE = Place("dogs", "team/dogs", "dogs", "arn:aws:iam::123456789012:role/r", "eu-west-1", "123456789012")
# What boto3's upload_file sends, by the file's size.
UPLOAD_FILE = ("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "AbortMultipartUpload")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_file(name: str) -> None:
    """To accept a change: delete the file in iam/, run this test twice, look at git's diff."""
    difference = compare(ROOT / "iam" / name, DOCUMENTS[name])
    assert not difference, f"iam/{name} is not what policies.py makes:\n{difference}"


# ---- what the code calls


def methods() -> dict[str, set[str]]:
    """boto3's method names of the services, each with the operations that it may mean: `service:Operation`."""
    found: dict[str, set[str]] = {}
    session = botocore.session.get_session()
    for service, prefix in SERVICES.items():
        for operation in session.get_service_model(service).operation_names:
            found.setdefault(xform_name(operation), set()).add(f"{prefix}:{operation}")
    return found


def called(path: Path, known: dict[str, set[str]]) -> Iterator[str]:
    """The operations that a file calls: `client.method`, `get_paginator("method")`, `create("Resource", ...)`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and not is_module(node.value):
            if node.attr in known:
                yield from known[node.attr]
            elif node.attr == "upload_file":
                yield from (f"s3:{operation}" for operation in UPLOAD_FILE)
        if isinstance(node, ast.Call):
            for argument in node.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    name, function = argument.value, ast.unparse(node)
                    if "get_paginator" in ast.unparse(node.func):
                        yield from known[name]
                    elif re.match(r"(\w+\.)?session\.create\(|partial\(\w*\.?session\.create\b", function):
                        yield from known.get(xform_name(f"Create{name}"), ())


def is_module(node: ast.expr) -> bool:
    """`jobs.describe_training_job` is our own function, which is looked at where it stands; `re.search` is no call."""
    return isinstance(node, ast.Name) and (node.id in sys.stdlib_module_names or (PACKAGE / f"{node.id}.py").is_file())


def read_code() -> set[str]:
    known = methods()
    # local/ is the other side of the calls; report/ knows no client, but a study of Optuna's, which has trials too.
    files = [path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in ("local", "report")]
    found = {operation for path in files for operation in called(path, known)}
    # resources.py and deploy.py put these together from KINDS.
    for method, _ in resources.KINDS.values():
        for name in (f"describe_{method}", f"list_{method}s", f"delete_{method}", f"create_{method}"):
            found |= known[name]
    return found


def allowed() -> set[str]:
    return {call for operation in CALLER for call in operation.calls} | set(FREE)


def test_every_call_in_the_code_is_allowed() -> None:
    found = read_code()
    assert len(found) > 30
    assert found <= allowed(), "an operation has no IAM action in policies.py"


def test_nothing_is_allowed_that_the_code_does_not_call() -> None:
    assert allowed() <= read_code()


def test_what_a_whole_run_sent_is_allowed() -> None:
    """From upload to teardown over HTTP: test_serve_pipeline.py keeps the list true."""
    sent = {f"{SERVICES[service]}:{name}" for service, name in (one.split(":") for one in served.OPERATIONS)}
    assert "sagemaker:CreateHyperParameterTuningJob" in sent
    assert sent <= allowed()


def test_calls_and_actions_are_aws_s() -> None:
    operations = {operation for names in methods().values() for operation in names}
    assert allowed() <= operations
    actions = [operation.action for operation in CALLER]
    assert len(set(actions)) == len(actions)
    for action in actions + [operation.action for operation in EXECUTION_ROLE] + [*policies.VPC, *policies.KMS]:
        assert re.fullmatch(r"[a-z0-9-]+:[A-Z][A-Za-z]+", action)


# ---- the documents


def statements(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {statement["Sid"]: statement for statement in document["Statement"]}


@pytest.mark.parametrize("document", [policies.caller(PLACE, ("alias/k",)), policies.execution_role(PLACE, (), True)])
def test_a_document_is_small_and_names_no_service_whole(document: dict[str, Any]) -> None:
    # A managed policy has at most 6,144 characters, white space not counted.
    assert len(re.sub(r"\s", "", json.dumps(document))) < 6144
    found = statements(document)
    assert len(found) == len(document["Statement"])
    for sid, statement in found.items():
        assert re.fullmatch(r"[A-Za-z0-9]+", sid)
        assert not [action for action in statement["Action"] if "*" in action]
        assert statement["Action"] == sorted(set(statement["Action"]))


def test_what_is_bound_to_names_is() -> None:
    found = statements(policies.caller(PLACE))
    assert found["Objects"]["Resource"] == ["arn:aws:s3:::dogs/team/dogs/*"]
    assert found["Endpoints"]["Resource"] == ["arn:aws:sagemaker:eu-west-1:123456789012:endpoint/dogs-*"]
    assert found["PassRole"]["Resource"] == [PLACE.role_arn]
    assert found["PassRole"]["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    everywhere = {sid for sid, statement in found.items() if statement["Resource"] == ["*"]}
    assert everywhere == {"Lists", "OnlyForScalingTargets", "OnlyForPrices", "OnlyForCheckQuotas"}
    for action in found["Lists"]["Action"]:
        assert re.match(r"\w+:(List|DescribeLogGroups)", action), "more than a list is allowed everywhere"


def test_aws_writes_names_in_arns_in_lower_case() -> None:
    found = statements(policies.caller(Place("b", "p", "Dogs", PLACE.role_arn, "eu-west-1", "123456789012")))
    assert [arn.rpartition("/")[2] for arn in found["Models"]["Resource"]] == ["Dogs-*", "dogs-*"]


def test_other_partitions() -> None:
    china = Place("b", "p", "dogs", "arn:aws-cn:iam::123456789012:role/r", "cn-north-1", "123456789012")
    for document in (policies.caller(china), policies.execution_role(china)):
        assert "arn:aws:" not in json.dumps(document)


def test_keys_and_networks_are_asked_for_only_where_there_are_some() -> None:
    key = "arn:aws:kms:eu-west-1:123456789012:key/1"
    plain = statements(policies.execution_role(PLACE))
    full = statements(policies.execution_role(PLACE, (key, key), vpc=True))
    assert full.keys() - plain.keys() == {"Keys", "Network"}
    assert full["Keys"]["Resource"] == [key]
    assert statements(policies.caller(PLACE, (key, "alias/mine")))["Keys"]["Resource"] == ["*", key]
