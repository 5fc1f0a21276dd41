"""Creation through SageMaker's own SDK: the classes of sagemaker.core.resources, with our client inside.

Its import takes four seconds and 200 MB, so only what creates something on AWS imports it, when it does. What the SDK
would change about a request on its way (it drops what is False or 0, and adds its own config file's defaults) is an
error here: what `--dry-run` showed is what is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dogbreed_cli.errors import DogbreedError

if TYPE_CHECKING:
    import boto3


def create(boto: boto3.Session, client: Any, resource: str, request: Mapping[str, Any]) -> None:
    """Create a `resource` (TrainingJob, Model, ...). Raises botocore's ClientError, as the client alone would."""
    from sagemaker.core import resources
    from sagemaker.core.utils.code_injection.codec import transform
    from sagemaker.core.utils.utils import SageMakerClient

    # The SDK keeps one client for each session and region, and would make it with retries of its own.
    SageMakerClient(session=boto, region_name=boto.region_name).sagemaker_client = client
    operation = f"Create{resource}"
    created = False

    def compare(params: Mapping[str, Any], **_: Any) -> None:
        if changed := sorted(key for key in {*params, *request} if params.get(key) != request.get(key)):
            raise DogbreedError(
                f"SageMaker's SDK changed {', '.join(changed)} of the request",
                "its config file (~/.config/sagemaker/config.yaml or the site's) has defaults of its own",
                "set them in config.toml, and SAGEMAKER_USER_CONFIG_OVERRIDE to an empty file",
            )

    def remember(http_response: Any, **_: Any) -> None:
        nonlocal created
        created = created or http_response.status_code < 300

    handlers: dict[str, Callable[..., None]] = {
        f"provide-client-params.sagemaker.{operation}": compare,
        f"after-call.sagemaker.{operation}": remember,
    }
    for event, handler in handlers.items():
        client.meta.events.register(event, handler)
    try:
        shape = client.meta.service_model.operation_model(operation).input_shape.name
        getattr(resources, resource).create(**transform(request, shape), session=boto, region=boto.region_name)
    except Exception:
        # The SDK describes what it created, and may not understand the answer. What is there is there.
        if not created:
            raise
    finally:
        for event, handler in handlers.items():
            client.meta.events.unregister(event, handler)
