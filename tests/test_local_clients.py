"""botocore's clients on our services, without a network: answers, errors, waiters, AWS's constraints."""

import socket
import traceback
from datetime import UTC, datetime
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from dogbreed_cli.local import wire
from dogbreed_cli.local.identity import Iam, Sts

MODELS = botocore.session.get_session()
LOADER = MODELS.get_component("data_loader")  # models are read once, not once a client
TRAINING_JOB: dict[str, Any] = {
    "TrainingJobName": "dogbreed-train-1",
    "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
    "RoleArn": "arn:aws:iam::000000000000:role/dogbreed-local",
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
    "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
    "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
}


def make_client(service: str, services: dict[str, object], **config: Any) -> Any:
    session = botocore.session.Session()
    session.register_component("data_loader", LOADER)
    session.set_credentials("testing", "testing")
    wire.register(session, services)
    return boto3.Session(botocore_session=session, region_name="us-east-1").client(service, config=Config(**config))


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("something went out to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


class Recorder:
    """Answers CreateTrainingJob; keeps what it was asked."""

    asked: dict[str, Any]

    def create_training_job(self, request: dict[str, Any]) -> dict[str, Any]:
        self.asked = request
        return {"TrainingJobArn": "arn:aws:sagemaker:us-east-1:000000000000:training-job/x"}

    def describe_training_job(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"CreationTime": datetime(2026, 1, 2, 3, 4, 5, 678000, UTC), "TrainingJobStatus": "Completed"}

    def stop_training_job(self, request: dict[str, Any]) -> None:
        raise wire.AwsError("ResourceNotFound", "Requested resource not found.")

    def describe_model(self, request: dict[str, Any]) -> None:
        self.count = getattr(self, "count", 0) + 1
        raise ConnectionError("our own bug")

    def list_models(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"Models": [], "Internal": 1}


def test_a_client_and_its_waiter() -> None:
    recorder = Recorder()
    client = make_client("sagemaker", {"sagemaker": recorder})
    client.create_training_job(**TRAINING_JOB, Environment={"A": "ü"}, EnableManagedSpotTraining=False)
    assert recorder.asked == {**TRAINING_JOB, "Environment": {"A": "ü"}, "EnableManagedSpotTraining": False}
    client.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName="x")
    described = client.describe_training_job(TrainingJobName="x")
    assert described["CreationTime"] == datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
    assert described["ResponseMetadata"]["RequestId"]


def test_errors_are_botocores_own() -> None:
    client = make_client("sagemaker", {"sagemaker": Recorder()})
    with pytest.raises(client.exceptions.ResourceNotFound) as caught:
        client.stop_training_job(TrainingJobName="x")
    assert caught.value.response["Error"]["Message"] == "Requested resource not found."
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert caught.value.response["ResponseMetadata"]["RequestId"]


@pytest.mark.parametrize("mode", ["legacy", "standard", "adaptive"])
def test_our_own_bugs_keep_their_traceback_and_are_not_retried(mode: str) -> None:
    recorder = Recorder()
    client = make_client("sagemaker", {"sagemaker": recorder}, retries={"mode": mode, "max_attempts": 5})
    with pytest.raises(ConnectionError, match="our own bug") as caught:
        client.describe_model(ModelName="x")
    assert recorder.count == 1
    assert "describe_model" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]


def test_a_record_may_hold_more_than_an_answer_shows() -> None:
    assert "Internal" not in make_client("sagemaker", {"sagemaker": Recorder()}).list_models()


class Runtime:
    def invoke_endpoint(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["Body"] == b"bad":
            fields = {"OriginalStatusCode": 500, "OriginalMessage": "no picture"}
            raise wire.AwsError("ModelError", "Received server error (500)", 424, **fields)
        return {"Body": request["Body"] * 2, "ContentType": request["ContentType"]}


def test_blobs_and_modelled_error_fields() -> None:
    client = make_client("sagemaker-runtime", {"sagemaker-runtime": Runtime()})
    answer = client.invoke_endpoint(EndpointName="dogs", Body=b"\x00\xff", ContentType="image/jpeg")
    assert (answer["Body"].read(), answer["ContentType"]) == (b"\x00\xff\x00\xff", "image/jpeg")
    with pytest.raises(client.exceptions.ModelError) as caught:
        client.invoke_endpoint(EndpointName="dogs", Body=b"bad")
    assert caught.value.response["OriginalStatusCode"] == 500
    assert caught.value.response["OriginalMessage"] == "no picture"


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "code"),
    [
        ("sagemaker", "create_training_job", TRAINING_JOB, "UnknownOperationException"),
        ("sagemaker-runtime", "invoke_endpoint", {"EndpointName": "x", "Body": b""}, "UnknownOperationException"),
        ("logs", "describe_log_groups", {}, "UnknownOperationException"),
        ("s3", "list_buckets", {}, "NotImplemented"),
        ("sts", "get_caller_identity", {}, "InvalidAction"),
        ("iam", "list_roles", {}, "InvalidAction"),
        ("ec2", "describe_vpcs", {}, "InvalidAction"),
        ("service-quotas", "list_services", {}, "UnknownOperationException"),
        ("cloudwatch", "list_metrics", {}, "UnknownOperationException"),
        ("batch", "list_jobs", {}, "UnknownOperationException"),
    ],
)
def test_nothing_goes_out(service: str, operation: str, parameters: dict[str, Any], code: str) -> None:
    client = make_client(service, {})
    with pytest.raises(ClientError) as caught:
        getattr(client, operation)(**parameters)
    assert caught.value.response["ResponseMetadata"]["RetryAttempts"] == 0
    assert caught.value.response["Error"]["Code"] == code
    name = client.meta.method_to_api_mapping[operation]
    service_id = client.meta.service_model.service_id
    assert caught.value.response["Error"]["Message"] == f"The local {service_id} does not implement {name}."
    assert caught.value.response["ResponseMetadata"]["RetryAttempts"] == 0


def refusal(**changes: Any) -> str:
    client = make_client("sagemaker", {"sagemaker": Recorder()})
    with pytest.raises(ClientError) as caught:
        client.create_training_job(**(TRAINING_JOB | changes))
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    return str(caught.value.response["Error"]["Message"])


def test_constraints_are_worded_as_aws_does() -> None:
    assert refusal(TrainingJobName="a_b") == (
        "1 validation error detected: Value 'a_b' at 'trainingJobName' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
    )
    resources = {"InstanceType": "ml.toaster", "InstanceCount": 1, "VolumeSizeInGB": 30}
    assert refusal(ResourceConfig=resources).startswith(
        "1 validation error detected: Value 'ml.toaster' at 'resourceConfig.instanceType' failed to satisfy "
        "constraint: Member must satisfy enum value set: ["
    )
    both = refusal(TrainingJobName="x" * 64, HyperParameters={"k" * 257: "v"})
    assert both.startswith("3 validation errors detected: Value 'xxx")
    assert (
        "at 'trainingJobName' failed to satisfy constraint: Member must have length less than or equal to 63; " in both
    )
    assert (
        "at 'hyperParameters' failed to satisfy constraint: Map keys must satisfy constraint: [Member must have "
        in both
    )
    tags = [{"Key": "ok", "Value": "v"}, {"Key": "k" * 129, "Value": "v"}]
    assert "at 'tags.2.member.key' failed to satisfy constraint: Member must have length less" in refusal(Tags=tags)


def test_constraints_keep_secrets_and_skip_what_python_cannot_check() -> None:
    message = refusal(Environment={"TOKEN": "hunter2" * 200})
    assert "TOKEN" in message
    assert "hunter2" not in message
    # The tag patterns hold \\p{L}, which Python's re does not know.
    client = make_client("sagemaker", {"sagemaker": Recorder()})
    client.create_training_job(**TRAINING_JOB, Tags=[{"Key": "dogbreed:project", "Value": "ü"}])


def test_a_client_without_a_model_is_answered_too() -> None:
    operation = MODELS.get_service_model("sagemaker").operation_model("CreateTrainingJob")
    services = {"sagemaker": Recorder()}
    for body, code in [
        (b"{nonsense", "SerializationException"),
        (b'{"TrainingJobName": 5}', "SerializationException"),
        (b"[]", "SerializationException"),
        (b"{}", "ValidationException"),
    ]:
        response = wire.respond(services, operation, "http://127.0.0.1/", {}, body)
        assert response.status == 400
        assert code.encode() in response.body.read()
    response = wire.respond(services, operation, "http://127.0.0.1/", {}, b"")
    assert (
        b"Value null at 'trainingJobName' failed to satisfy constraint: Member must not be null" in response.body.read()
    )


def test_who_one_is() -> None:
    services = {"sts": Sts(), "iam": Iam()}
    identity = make_client("sts", services).get_caller_identity()
    assert identity["Account"] == "000000000000"
    assert ":000000000000:" in identity["Arn"]
    iam = make_client("iam", services)
    role = iam.get_role(RoleName="dogbreed-local")["Role"]
    assert role["Arn"] == "arn:aws:iam::000000000000:role/dogbreed-local"
    statement = role["AssumeRolePolicyDocument"]["Statement"][0]
    assert statement["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_role(RoleName="another")
