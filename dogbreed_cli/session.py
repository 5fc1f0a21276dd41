"""Config -> boto3 session and clients. The only place that asks which target it is: everything else just calls AWS."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from dogbreed_cli import names
from dogbreed_cli.errors import AccessError, UsageError
from dogbreed_cli.requests import Site
from dogbreed_cli.storage import default_bucket

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import boto3

    from dogbreed_cli.checks import Step
    from dogbreed_cli.config import Config
    from dogbreed_cli.console import Console


def open_session(config: Config, console: Console) -> Session:
    return LocalSession(config, console) if config.target == "local" else AwsSession(config, console)


class Session(ABC):
    """What differs between AWS and this machine: who answers the clients, whose bucket, role and images it is."""

    boto: boto3.Session
    bucket: str
    role_arn: str
    # Between two questions about a job: AWS throttles, this machine does not.
    poll_seconds: float
    is_free: bool
    # Whether an endpoint can have more instances when more is asked of it.
    scales: bool

    def __init__(self, config: Config, console: Console):
        self.settings, self.console = config, console
        self.client = cache(self.open_client)

    def open_client(self, service: str) -> Any:
        client = self.create_client(service)
        if service == "sagemaker":
            names.watch(client)
        return client

    def create_client(self, service: str) -> Any:
        return self.boto.client(service)

    @property
    def region(self) -> str:
        return self.boto.region_name

    @abstractmethod
    def training_image(self) -> str:
        """The URI that AlgorithmSpecification.TrainingImage gets."""

    @abstractmethod
    def inference_image(self) -> str:
        """The URI that PrimaryContainer.Image gets."""

    def training_site(self) -> Site:
        """Where training and tuning jobs are to run."""
        return Site(self.bucket, self.role_arn, self.training_image())

    def inference_site(self) -> Site:
        """Where endpoints are to run."""
        return Site(self.bucket, self.role_arn, self.inference_image())

    @abstractmethod
    def create(self, resource: str, request: Mapping[str, Any]) -> None:
        """Create a TrainingJob, HyperParameterTuningJob, Model, EndpointConfig or Endpoint. Raises ClientError."""

    @property
    @abstractmethod
    def expiry_role_arn(self) -> str:
        """The role under which EventBridge Scheduler deletes an endpoint. Raises UsageError."""

    @abstractmethod
    def prepare(self) -> None:
        """Make sure that jobs can start. Called just before one is created, never for a request that is only shown."""

    @abstractmethod
    def checks(self, policies: Path | None) -> tuple[Step, ...]:
        """What `check` looks at. With a folder `policies` it also writes the IAM policies there."""

    def confirm_charge(self, yes: bool) -> None:
        """Ask before something starts that is charged for. Raises Declined, or UsageError where nobody can answer."""
        if not self.is_free:
            self.console.confirm("AWS charges your account for this. Start it?", yes)

    def open_store(self, bucket: str) -> Any | None:
        """obstore's client of a bucket (object_store.py); None where boto3 is no slower."""
        return None

    @abstractmethod
    def describe_place(self, instance_type: str) -> str:
        """Where a job runs, in words."""


class LocalSession(Session):
    poll_seconds = 0.2
    is_free = True
    scales = False

    def __init__(self, config: Config, console: Console):
        from dogbreed_cli.local import BUCKET, ROLE_ARN, Home, connect

        super().__init__(config, console)
        self.boto = connect(Home.find(), config.local.s3_endpoint)
        self.bucket, self.role_arn = BUCKET, ROLE_ARN

    def training_image(self) -> str:
        from dogbreed_cli.local.image import interpreter

        python = self.settings.local.python
        if python is not None and not python.expanduser().is_file():
            raise UsageError(f"local.python names no interpreter: {python}", fix="name one, or remove the key")
        return (python.expanduser().absolute() if python else interpreter()).as_uri()

    inference_image = training_image

    @property
    def expiry_role_arn(self) -> str:
        return self.role_arn

    def create(self, resource: str, request: Mapping[str, Any]) -> None:
        create_with_client(self.client("sagemaker"), resource, request)

    def prepare(self) -> None:
        from dogbreed_cli.local.image import ensure

        if self.settings.local.python is None:
            ensure(self.console.note)

    def checks(self, policies: Path | None) -> tuple[Step, ...]:
        from dogbreed_cli.local import Home
        from dogbreed_cli.local.preflight import machine_steps
        from dogbreed_cli.preflight import storage_steps

        if policies:
            raise UsageError("this machine has no IAM policies", fix="say --target aws before the command")
        config = self.settings
        machine = machine_steps(Home.find(), config.local.python, config.model.backbone, config.model.weights)
        return (*machine, *storage_steps(self.client("s3"), self.bucket, self.region, config))

    def describe_place(self, instance_type: str) -> str:
        return "this machine"


class AwsSession(Session):
    is_free = False
    scales = True

    def __init__(self, config: Config, console: Console):
        super().__init__(config, console)
        self.poll_seconds = config.aws.poll_seconds

    @cached_property
    def boto(self) -> boto3.Session:
        import boto3
        from botocore.exceptions import ProfileNotFound

        aws = self.settings.aws
        try:
            session = boto3.Session(profile_name=aws.profile, region_name=aws.region)
        except ProfileNotFound as error:
            raise AccessError("no such AWS profile", str(error), "set aws.profile to one of ~/.aws/config") from None
        if session.region_name is None:
            raise UsageError("no AWS region", fix="set aws.region in config.toml, or AWS_DEFAULT_REGION")
        return session

    @property
    def region(self) -> str:
        return self.settings.aws.region or super().region

    def create_client(self, service: str) -> Any:
        from botocore.config import Config as ClientConfig

        attempts = os.environ.get("AWS_MAX_ATTEMPTS", "")
        settings = ClientConfig(
            # The only retries there are: sagemaker.core creates through these clients, too (sdk.py).
            retries={"mode": "adaptive", "total_max_attempts": int(attempts) if attempts.isdecimal() else 6},
            max_pool_connections=32,  # as many as storage and predict have threads
        )
        return self.boto.client(service, config=settings)

    def open_store(self, bucket: str) -> Any:
        from dogbreed_cli.aws_keys import find_keys
        from dogbreed_cli.object_store import open_store, open_store_of_session

        keys = find_keys(os.environ, self.settings.aws)
        return open_store(bucket, **keys) if keys else open_store_of_session(bucket, self.client("s3"), self.boto)

    @cached_property
    def account(self) -> str:
        return self.client("sts").get_caller_identity()["Account"]

    @cached_property
    def bucket(self) -> str:  # type: ignore[override]
        return self.settings.aws.bucket or default_bucket(self.region, self.account)

    @cached_property
    def role_arn(self) -> str:  # type: ignore[override]
        role = self.settings.aws.role_arn
        if role is None:
            raise UsageError("no execution role", fix="set aws.role_arn to the role that SageMaker's jobs run under")
        return role

    @property
    def expiry_role_arn(self) -> str:
        role = self.settings.deploy.expiry_role_arn
        if role is None:
            fix = "make one of iam/expiry-role.json and iam/expiry-trust.json, and set deploy.expiry_role_arn"
            raise UsageError("no role to end the endpoint with", "EventBridge Scheduler deletes it under one", fix)
        return role

    def training_image(self) -> str:
        from dogbreed_cli.container_images import training_image

        return training_image(self.settings, self.region)

    def inference_image(self) -> str:
        from dogbreed_cli.container_images import inference_image

        return inference_image(self.settings, self.region)

    def training_site(self) -> Site:
        from dogbreed_cli.container_images import find_image

        site = self.within_network(super().training_site())
        is_judged = self.settings.debugger.aws_rules
        return replace(site, rule_image=find_image("debugger", self.region)) if is_judged else site

    def inference_site(self) -> Site:
        return self.within_network(super().inference_site())

    def within_network(self, site: Site) -> Site:
        aws = self.settings.aws
        return replace(
            site,
            kms_key=aws.kms_key,
            volume_kms_key=aws.volume_kms_key,
            subnets=aws.subnets,
            security_groups=aws.security_groups,
            network_isolation=aws.network_isolation,
            encrypt_traffic=aws.encrypt_traffic,
        )

    def create(self, resource: str, request: Mapping[str, Any]) -> None:
        from dogbreed_cli.sdk import create

        # The SDK misspells a member of ServerlessConfig.
        if any("ServerlessConfig" in variant for variant in request.get("ProductionVariants", ())):
            create_with_client(self.client("sagemaker"), resource, request)
        else:
            create(self.boto, self.client("sagemaker"), resource, request)

    def prepare(self) -> None:
        """SageMaker pulls its images itself."""

    def checks(self, policies: Path | None) -> tuple[Step, ...]:
        from dogbreed_cli.preflight import account_steps

        return account_steps(self.boto, self.settings, self.training_image, self.inference_image, policies)

    def describe_place(self, instance_type: str) -> str:
        return f"{instance_type} in {self.region}"


def create_with_client(client: Any, resource: str, request: Mapping[str, Any]) -> None:
    from botocore import xform_name

    getattr(client, xform_name(f"Create{resource}"))(**request)
