"""The URIs of AWS's container images, as SageMaker's SDK knows them, unless the config names others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dogbreed_cli.errors import DogbreedError

if TYPE_CHECKING:
    from dogbreed_cli.config import Config

# The last versions that the SDK's tables know (aws-facts.md); a newer image is named in the config.
TRAINING, INFERENCE, PYTHON = "2.8", "2.6", "py312"
# https://aws.github.io/deep-learning-containers/ray/
RAY = "ray:serve-ml-sagemaker-{}-v1.1"


def training_image(config: Config, region: str) -> str:
    """Raises DogbreedError."""
    instance_type = config.train.instance_type
    return config.aws.training_image or find_image(
        "pytorch", region, version=TRAINING, instance_type=instance_type, py_version=PYTHON, image_scope="training"
    )


def inference_image(config: Config, region: str) -> str:
    """Raises DogbreedError."""
    deploy = config.deploy
    if config.aws.inference_image:
        return config.aws.inference_image
    # A serverless endpoint has no GPU.
    instance_type = "ml.m5.large" if deploy.serverless else deploy.instance_type
    image = find_image(
        "pytorch", region, version=INFERENCE, instance_type=instance_type, py_version=PYTHON, image_scope="inference"
    )
    if deploy.container == "pytorch":
        return image
    # The SDK's tables have no Ray Serve. It lies in the same registry.
    return f"{image.partition('/')[0]}/{RAY.format('cuda' if '-gpu-' in image else 'cpu')}"


def find_image(framework: str, region: str, **options: str) -> str:
    """Raises DogbreedError for a region or an instance type that the SDK does not know."""
    from sagemaker.core import image_uris

    try:
        return image_uris.retrieve(framework, region, **options)
    except ValueError as error:
        what = f"SageMaker's SDK knows no {framework} image for {region}"
        fix = "name one (aws.training_image, aws.inference_image), or set another aws.region"
        raise DogbreedError(what, str(error), fix) from None
