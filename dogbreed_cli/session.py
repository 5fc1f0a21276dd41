"""Config -> boto3 session and clients. The only place that asks which target it is: everything else just calls AWS."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from dogbreed_cli.errors import AccessError, UsageError

if TYPE_CHECKING:
    import boto3

    from dogbreed_cli.config import Config
    from dogbreed_cli.console import Console


def open_session(config: Config, console: Console) -> Session:
    return LocalSession(config, console) if config.target == "local" else AwsSession(config, console)


class Session(ABC):
    """What differs between AWS and this machine: who answers the clients, whose bucket, role and images it is."""

    boto: boto3.Session
    bucket: str
    role_arn: str
    # Seconds between two questions about a job: AWS throttles, this machine does not.
    poll_seconds: float
    is_free: bool

    def __init__(self, config: Config, console: Console):
        self.settings, self.console = config, console
        self.client = cache(self.create_client)

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

    @abstractmethod
    def prepare(self) -> None:
        """Make sure that jobs can start. Called just before one is created, never for a request that is only shown."""

    def confirm_charge(self, yes: bool) -> None:
        """Ask before something starts that is charged for. Raises Declined, or UsageError where nobody can answer."""
        if not self.is_free:
            self.console.confirm("AWS charges your account for this. Start it?", yes)

    @abstractmethod
    def describe_place(self, instance_type: str) -> str:
        """Where a job runs, in words."""


class LocalSession(Session):
    poll_seconds = 0.2
    is_free = True

    def __init__(self, config: Config, console: Console):
        from dogbreed_cli.local import BUCKET, ROLE_ARN, Home, connect

        super().__init__(config, console)
        self.boto = connect(Home.find())
        self.bucket, self.role_arn = BUCKET, ROLE_ARN

    def training_image(self) -> str:
        from dogbreed_cli.local.image import interpreter

        python = self.settings.local.python
        if python is not None and not python.expanduser().is_file():
            raise UsageError(f"local.python names no interpreter: {python}", fix="name one, or remove the key")
        return (python.expanduser().absolute() if python else interpreter()).as_uri()

    inference_image = training_image

    def prepare(self) -> None:
        from dogbreed_cli.local.image import ensure

        if self.settings.local.python is None:
            ensure(self.console.note)

    def describe_place(self, instance_type: str) -> str:
        return "this machine"


class AwsSession(Session):
    poll_seconds = 10
    is_free = False

    def __init__(self, config: Config, console: Console):
        import boto3
        from botocore.exceptions import ProfileNotFound

        super().__init__(config, console)
        try:
            self.boto = boto3.Session(profile_name=config.aws.profile, region_name=config.aws.region)
        except ProfileNotFound as error:
            raise AccessError("no such AWS profile", str(error), "set aws.profile to one of ~/.aws/config") from None
        if self.boto.region_name is None:
            raise UsageError("no AWS region", fix="set aws.region in config.toml, or AWS_DEFAULT_REGION")

    def create_client(self, service: str) -> Any:
        from botocore.config import Config as ClientConfig

        settings = ClientConfig(
            retries={"mode": "adaptive", "total_max_attempts": 6},
            max_pool_connections=32,  # as many as storage and predict have threads
        )
        return self.boto.client(service, config=settings)

    @cached_property
    def account(self) -> str:
        return self.client("sts").get_caller_identity()["Account"]

    @cached_property
    def bucket(self) -> str:  # type: ignore[override]
        # The name that SageMaker's own SDK uses for its default bucket.
        return self.settings.aws.bucket or f"sagemaker-{self.region}-{self.account}"

    @cached_property
    def role_arn(self) -> str:  # type: ignore[override]
        role = self.settings.aws.role_arn
        if role is None:
            raise UsageError("no execution role", fix="set aws.role_arn to the role that SageMaker's jobs run under")
        return role

    def training_image(self) -> str:
        return self.settings.aws.training_image or self.retrieve_image("training", self.settings.train.instance_type)

    def inference_image(self) -> str:
        return self.settings.aws.inference_image or self.retrieve_image("inference", self.settings.deploy.instance_type)

    def retrieve_image(self, scope: str, instance_type: str) -> str:
        from sagemaker.core import image_uris

        # The last versions that the SDK's tables know (aws-facts.md); a newer image is named in the config.
        version = {"training": "2.8", "inference": "2.6"}[scope]
        return image_uris.retrieve(
            "pytorch", self.region, version=version, py_version="py312", instance_type=instance_type, image_scope=scope
        )

    def prepare(self) -> None:
        """SageMaker pulls its images itself."""

    def describe_place(self, instance_type: str) -> str:
        return f"{instance_type} in {self.region}"
