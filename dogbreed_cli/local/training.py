"""What the worker of a training job does: the /opt/ml tree, AWS's own training toolkit, the artifacts.

The layout, the config files and the environment are those of a SageMaker container; see
https://github.com/aws/sagemaker-training-toolkit and https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tarfile
import time
import traceback
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from dogbreed_cli.errors import DogbreedError
from dogbreed_cli.local.errors import AwsError
from dogbreed_cli.local.home import REGION, Home
from dogbreed_cli.local.metrics import Found, listen, save_metrics
from dogbreed_cli.local.records import Record, Records
from dogbreed_cli.local.s3 import S3
from dogbreed_cli.local.training_jobs import KIND, clear, end, image_python, move
from dogbreed_cli.local.worker import Group
from dogbreed_cli.source import unpack
from dogbreed_cli.storage import parse_s3_uri

# AWS kills 120 seconds after the SIGTERM of StopTrainingJob or of MaxRuntimeInSeconds.
GRACE_SECONDS = 120
START_TOOLKIT = "from sagemaker_training.cli.train import main; main()"


class JobError(Exception):
    """The job ends Failed with this text as FailureReason."""


def run(home: Home, name: str) -> None:
    records, s3, folder = Records(home.records), S3(home.s3), home.jobs / name
    base = folder / "ml"

    def step(secondary: str) -> Record:
        def change(record: Record) -> None:
            record.setdefault("TrainingStartTime", time.time())
            if record["TrainingJobStatus"] == "InProgress":
                move(record, secondary)

        return records.update(KIND, name, change) or {}

    def finish(status: str, secondary: str, reason: str = "") -> None:
        records.update(KIND, name, lambda record: end(record, status, secondary, reason))

    try:
        record = step("Downloading")
        prepare(s3, record, base, folder)
        step("Training")
        status, secondary, reason = train(home, records, record, base, folder)
        step("Uploading")
        try:
            model = upload(s3, record, base, with_model=status != "Failed")
        except AwsError as error:
            raise JobError(reason or f"ClientError: Artifact upload failed: {error}") from error
        records.update(KIND, name, lambda record: record.update(ModelArtifacts={"S3ModelArtifacts": model}))
        finish(status, secondary, reason)
    except JobError as error:
        finish("Failed", "Failed", str(error))
    except (AwsError, DogbreedError) as error:
        finish("Failed", "Failed", f"ClientError: {error}")
    except Exception as error:
        traceback.print_exc()  # Our bug, or a full disk: jobs/<name>/worker.log has it all.
        finish("Failed", "Failed", f"InternalServerError: {type(error).__name__}: {error}")
    finally:
        clear(folder)


def prepare(s3: S3, record: Record, base: Path, folder: Path) -> None:
    """Make the /opt/ml tree. Raises JobError where AWS's download step would fail."""
    for part in ("code", "input/config", "input/data", "model", "output/data", "checkpoints"):
        (base / part).mkdir(parents=True, exist_ok=True)
    for channel in record.get("InputDataConfig", []):
        link_channel(s3, channel["DataSource"]["S3DataSource"]["S3Uri"], base / "input/data" / channel["ChannelName"])
    hyperparameters = dict(record.get("HyperParameters", {}))
    if "sagemaker_submit_directory" in hyperparameters:
        uri = read_hyperparameter(hyperparameters["sagemaker_submit_directory"])
        hyperparameters["sagemaker_submit_directory"] = json.dumps(str(fetch_source(s3, uri, folder / "source")))
    write_config(base, "hyperparameters", hyperparameters)
    write_config(base, "resourceconfig", resource_config(record))
    write_config(
        base, "inputdataconfig", {c["ChannelName"]: channel_config(c) for c in record.get("InputDataConfig", [])}
    )
    if "DebugHookConfig" in record:
        write_config(base, "debughookconfig", debug_hook_config(record["DebugHookConfig"], base / "output/tensors"))


def read_hyperparameter(text: str) -> str:
    """As the toolkit reads it: JSON, or else the text itself."""
    try:
        return str(json.loads(text))
    except ValueError:
        return text


def link_channel(s3: S3, uri: str, folder: Path) -> None:
    """Hard links, not copies: at once, and the job keeps what it started with while a new upload renames files in."""
    bucket, prefix = parse_s3_uri(uri)
    made: set[Path] = set()
    try:
        found = s3.keys(bucket, prefix)
    except AwsError:  # the bucket is not there
        found = iter(())
    for key, source in found:
        relative = key[len(prefix) :].lstrip("/") if key != prefix else key.rpartition("/")[2]
        if not relative or relative.endswith("/"):
            continue  # a folder marker
        target = folder / relative
        if ".." in target.parts:
            raise JobError(f"ClientError: Data download failed: the key {key!r} has no place in a channel")
        try:
            if target.parent not in made:
                target.parent.mkdir(parents=True, exist_ok=True)
                made.add(target.parent)
            link(source, target)
        except (FileExistsError, NotADirectoryError):  # `a` beside `a/b`, which S3 allows
            raise JobError(f"ClientError: Data download failed: the key {key!r} is in another key's way") from None
    if not made:
        raise JobError(
            f'ClientError: Data download failed: No S3 objects found under S3 URL "{uri}"'
            " given in input data source. Please ensure that the bucket exists in the selected region, that objects "
            "exist under that S3 prefix and that the role has s3:ListBucket permissions on it."
        )


def link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)


def fetch_source(s3: S3, uri: str, folder: Path) -> Path:
    archive = s3.path(*parse_s3_uri(uri))
    if not archive.is_file():
        raise JobError(f"ClientError: no source archive at {uri}")
    unpack(archive, folder)
    # The toolkit would pip-install it. The image is pinned and shared by all jobs, so nothing is installed into it;
    # what a script needs beyond it belongs into an interpreter of its own (local.python).
    (folder / "requirements.txt").unlink(missing_ok=True)
    return folder


def write_config(base: Path, name: str, content: dict[str, Any]) -> None:
    (base / "input/config" / f"{name}.json").write_text(json.dumps(content))


def resource_config(record: Record) -> dict[str, Any]:
    return {
        "current_host": "algo-1",
        "hosts": ["algo-1"],
        "current_instance_type": record["ResourceConfig"]["InstanceType"],
        "current_group_name": "homogeneousCluster",
        "network_interface_name": "lo",
    }


def channel_config(channel: dict[str, Any]) -> dict[str, str]:
    return {
        "ContentType": channel.get("ContentType", "application/octet-stream"),
        "TrainingInputMode": "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
    }


def debug_hook_config(request: dict[str, Any], tensors: Path) -> dict[str, Any]:
    return {
        "LocalPath": str(tensors),
        "HookParameters": request.get("HookParameters", {}),
        "CollectionConfigurations": request.get("CollectionConfigurations", []),
    }


def train(home: Home, records: Records, record: Record, base: Path, folder: Path) -> tuple[str, str, str]:
    """Run the program to its end. Returns the job's status, secondary status and failure reason."""
    name = record["TrainingJobName"]

    def asked_to_stop() -> bool:
        return (records.read(KIND, name) or {}).get("TrainingJobStatus") == "Stopping"

    if asked_to_stop():
        return "Stopped", "Stopped", ""
    python = image_python(record["AlgorithmSpecification"]["TrainingImage"])
    found: Found = SimpleQueue()
    group = Group(
        [str(python), "-c", START_TOOLKIT], folder, environment(record, base, python), listen(home, record, found)
    )
    limit = time.monotonic() + record["StoppingCondition"].get("MaxRuntimeInSeconds", 86400)
    stopped = ""
    while not group.exited() and not stopped:
        time.sleep(0.1)
        save_metrics(records, name, found)
        if asked_to_stop():
            stopped = "Stopped"
        elif time.monotonic() > limit:
            stopped = "MaxRuntimeExceeded"
    code = group.stop(GRACE_SECONDS) if stopped else group.end()
    save_metrics(records, name, found)
    if stopped:
        return "Stopped", stopped, ""
    if code == 0:
        return "Completed", "Completed", ""
    return "Failed", "Failed", failure_reason(base, code, group.last_line)


def environment(record: Record, base: Path, python: Path) -> dict[str, str]:
    name = record["TrainingJobName"]
    found = {
        "PATH": f"{python.parent}:{os.environ.get('PATH', os.defpath)}",
        "SAGEMAKER_BASE_DIR": str(base),
        # Without it the toolkit waits for the DNS name algo-1 of a cluster.
        "SM_STUDIO_LOCAL_MODE": "true",
        "SAGEMAKER_TRAINING_MODULE": "sagemaker_pytorch_container.training:main",
        "TRAINING_JOB_NAME": name,
        "TRAINING_JOB_ARN": record["TrainingJobArn"],
        "AWS_REGION": REGION,
        "SMDEBUG_CONFIG_FILE_PATH": str(base / "input/config/debughookconfig.json"),
    }
    if "Threads" in record:
        found["OMP_NUM_THREADS"] = str(record["Threads"])
    return {**found, **record.get("Environment", {})}


def failure_reason(base: Path, code: int, last_line: str) -> str:
    """As AWS words it: the program's own failure file, then its exit code. Without one, the last line it wrote."""
    if code < 0:
        number = signal.Signals(-code)
        return f"AlgorithmError: the training process was killed by {number.name}, exit code: {128 - code}"
    file = base / "output/failure"
    said = file.read_text(errors="replace").strip()[:900] if file.is_file() else ""
    return f"AlgorithmError: {said or last_line[:900] or 'the program said nothing'}, exit code: {code}"


def upload(s3: S3, record: Record, base: Path, with_model: bool) -> str:
    """Put what the program left into S3, where AWS puts it. Returns the URI of model.tar.gz."""
    name = record["TrainingJobName"]
    bucket, prefix = parse_s3_uri(record["OutputDataConfig"]["S3OutputPath"])
    output = "/".join(part for part in (prefix.strip("/"), name, "output") if part)
    if any((base / "output/data").glob("*")):
        s3.put_file(bucket, f"{output}/output.tar.gz", archive(base / "output/data", base / "output.tar.gz"))
    if with_model:
        s3.put_file(bucket, f"{output}/model.tar.gz", archive(base / "model", base / "model.tar.gz"))
    if "DebugHookConfig" in record:
        debug_bucket, prefix = parse_s3_uri(record["DebugHookConfig"]["S3OutputPath"])
        tensors = base / "output/tensors"
        for file in sorted(path for path in tensors.rglob("*") if path.is_file()):
            s3.put_file(
                debug_bucket, f"{prefix.strip('/')}/{name}/debug-output/{file.relative_to(tensors).as_posix()}", file
            )
    return f"s3://{bucket}/{output}/model.tar.gz"


def archive(folder: Path, target: Path) -> Path:
    # Level 0: weights hardly shrink, and gzip would take longer than many a training.
    folder.mkdir(parents=True, exist_ok=True)  # A program may have removed it to make it anew.
    with tarfile.open(target, "w:gz", compresslevel=0) as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
    return target
