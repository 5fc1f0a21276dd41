"""What a job reads, put in its place: the uploaded images, the packed scripts, a file of weights."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from dogbreed_cli.errors import DogbreedError, UsageError
from dogbreed_cli.requests import Inputs, Site, data_prefix
from dogbreed_cli.weights import kind_of

if TYPE_CHECKING:
    from dogbreed_cli.config import Config
    from dogbreed_cli.session import Session
    from dogbreed_cli.sync import Manifest

# The toolkit installs this list before the script starts, which an isolated container cannot.
NEEDS_NETWORK = "requirements.txt"


def find_inputs(config: Config, session: Session, site: Site, manifest: Manifest) -> Inputs:
    """Where everything is or will be; sends nothing."""
    from dogbreed_cli.source import locate_source

    data = f"s3://{session.bucket}/{data_prefix(config)}"
    if lacking := [split for split in ("train", "valid") if not manifest.counts.get(split)]:
        raise UsageError(
            f"no {lacking[0]} images at {data}",
            "a training learns from train and chooses its best epoch by valid",
            "upload a folder that has both, or one folder a class with data.valid_fraction above 0",
        )
    weights = locate_weights(config, session)
    if site.network_isolation and kind_of(config.model.weights) == "name":
        raise UsageError(
            f"the weights {config.model.weights} cannot be downloaded by the job",
            "aws.network_isolation = true",
            "set model.weights to a file or s3:// URI of a state_dict",
        )
    return Inputs(
        source=locate_source(session.bucket, source_prefix(config), leave_out=left_out(site)),
        data=data,
        splits=tuple(split for split, count in manifest.counts.items() if count),
        weights=weights,
    )


def find_manifest(config: Config, session: Session) -> Manifest:
    """Raises DogbreedError when the images are not (all) uploaded."""
    from dogbreed_cli.sync import read_manifest

    manifest = read_manifest(session.client("s3"), session.bucket, data_prefix(config))
    if manifest is None:
        data = f"s3://{session.bucket}/{data_prefix(config)}"
        raise DogbreedError(
            f"no images at {data}", "nothing, or not all, has been uploaded", "run `dogbreed upload DIR`"
        )
    return manifest


def left_out(site: Site) -> tuple[str, ...]:
    return (NEEDS_NETWORK,) if site.network_isolation else ()


def send_inputs(config: Config, session: Session, site: Site, inputs: Inputs) -> None:
    """Send the scripts and the file of weights to where `find_inputs` said, unless they are there."""
    from dogbreed_cli.source import upload_source
    from dogbreed_cli.storage import list_objects, parse_s3_uri, put_file

    s3 = session.client("s3")
    upload_source(s3, session.bucket, source_prefix(config), leave_out=left_out(site))
    if inputs.weights and kind_of(config.model.weights) == "file":
        bucket, key = parse_s3_uri(inputs.weights)
        if not any(list_objects(s3, bucket, key)):
            put_file(s3, Path(config.model.weights).expanduser(), bucket, key)


def source_prefix(config: Config) -> str:
    return f"{config.prefix}/source"


def locate_weights(config: Config, session: Session) -> str | None:
    """The s3:// URI of `model.weights` when it is a file or such a URI; None when it is a name of torchvision's."""
    weights = config.model.weights
    kind, path = kind_of(weights), Path(weights).expanduser()
    if kind in ("none", "name"):
        return None
    if kind == "uri":
        return weights
    if not path.is_file():
        raise UsageError(f"no file {path}", "model.weights names it", "name a state_dict, a torchvision name, or none")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"s3://{session.bucket}/{config.prefix}/weights/{digest[:16]}/{path.name}"
