"""What the worker of a training job does: fetch, run AWS's own training toolkit, upload; and how the job then ended."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
import traceback
from pathlib import Path
from queue import SimpleQueue

from dogbreed_cli.errors import DogbreedError
from dogbreed_cli.local.artifacts import upload
from dogbreed_cli.local.checkpoints import open_checkpoints
from dogbreed_cli.local.container import environment, prepare
from dogbreed_cli.local.errors import AwsError, JobError
from dogbreed_cli.local.group import Group, execute
from dogbreed_cli.local.home import Home
from dogbreed_cli.local.metrics import Found, listen, save_metrics
from dogbreed_cli.local.records import Record, Records
from dogbreed_cli.local.s3_access import open_access
from dogbreed_cli.local.training_jobs import KIND, clear, end, move
from dogbreed_cli.local.training_request import image_python
from dogbreed_cli.local.warm import fork_by

# AWS kills 120 seconds after the SIGTERM of StopTrainingJob or of MaxRuntimeInSeconds.
GRACE_SECONDS = 120
# The toolkit imports torch to read its version, and so does smdebug, whose exceptions it wants the names of: that is
# two seconds of every job. Here it finds the version and nothing else; the script is a process of its own.
START_TOOLKIT = """
import importlib.metadata, sys, types
try:
    sys.modules["torch"] = types.SimpleNamespace(__version__=importlib.metadata.version("torch"))
except importlib.metadata.PackageNotFoundError:
    pass
from sagemaker_training.cli.train import main
main()
"""


def run(home: Home, name: str, warm: socket.socket | None = None) -> None:
    """`warm` is a trial's connection to the warm interpreter of its study."""
    records, folder = Records(home.records), home.jobs / name
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
        record, access = step("Downloading"), open_access(home)
        prepare(access, record, base, folder)
        checkpoints = open_checkpoints(access, record, base, folder / "fetched")
        if checkpoints:
            checkpoints.restore()
        step("Training")
        with checkpoints.kept() if checkpoints else contextlib.nullcontext():
            status, secondary, reason = train(home, records, record, base, folder, warm)
        step("Uploading")
        try:
            if checkpoints:
                checkpoints.sync()
            model = upload(access, record, base, with_model=status != "Failed")
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


def train(
    home: Home, records: Records, record: Record, base: Path, folder: Path, warm: socket.socket | None
) -> tuple[str, str, str]:
    """Run the program to its end. Returns the job's status, secondary status and failure reason."""
    name = record["TrainingJobName"]

    def asked_to_stop() -> bool:
        return (records.read(KIND, name) or {}).get("TrainingJobStatus") == "Stopping"

    if asked_to_stop():
        return "Stopped", "Stopped", ""
    python = image_python(record["AlgorithmSpecification"]["TrainingImage"])
    found: Found = SimpleQueue()
    group = Group(
        [str(python), "-c", START_TOOLKIT],
        folder,
        environment(record, base, python),
        listen(home, record, found),
        launch=fork_by(warm) if warm else execute,
    )
    limit = time.monotonic() + record["StoppingCondition"].get("MaxRuntimeInSeconds", 86400)
    stopped = ""
    while not stopped and not group.exited(within=0.1):
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


def failure_reason(base: Path, code: int, last_line: str) -> str:
    """As AWS words it: the program's own failure file, then its exit code. Without one, the last line it wrote."""
    if code < 0:
        number = signal.Signals(-code)
        return f"AlgorithmError: the training process was killed by {number.name}, exit code: {128 - code}"
    file = base / "output/failure"
    said = file.read_text(errors="replace").strip()[:900] if file.is_file() else ""
    return f"AlgorithmError: {said or last_line[:900] or 'the program said nothing'}, exit code: {code}"
