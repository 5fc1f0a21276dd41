"""What a training job leaves: archives of its model and output, the files of its debugger and profiler, in S3."""

from __future__ import annotations

import tarfile
from pathlib import Path

from dogbreed_cli.local.records import Record
from dogbreed_cli.local.s3_access import S3Access
from dogbreed_cli.storage import join_key, parse_s3_uri


def upload(access: S3Access, record: Record, base: Path, with_model: bool) -> str:
    """Put what the program left into S3, where AWS puts it. Returns the URI of model.tar.gz."""
    name = record["TrainingJobName"]
    bucket, prefix = parse_s3_uri(record["OutputDataConfig"]["S3OutputPath"])
    output = join_key(prefix, name, "output")
    made = []
    if any((base / "output/data").glob("*")):
        made.append((f"{output}/output.tar.gz", archive(base / "output/data", base / "output.tar.gz")))
    if with_model:
        made.append((f"{output}/model.tar.gz", archive(base / "model", base / "model.tar.gz")))
    access.put(bucket, made)
    if hook := record.get("DebugHookConfig"):
        put_folder(access, base / "output/tensors", hook["S3OutputPath"], name, "debug-output")
    profiler = record.get("ProfilerConfig", {"DisableProfiler": True})
    if not profiler.get("DisableProfiler"):
        put_folder(access, base / "output/profiler", profiler["S3OutputPath"], name, "profiler-output")
    return f"s3://{bucket}/{output}/model.tar.gz"


def put_folder(access: S3Access, folder: Path, uri: str, *below: str) -> None:
    bucket, prefix = parse_s3_uri(uri)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    access.put(bucket, [(join_key(prefix, *below, file.relative_to(folder).as_posix()), file) for file in files])


def archive(folder: Path, target: Path) -> Path:
    # Level 0: weights hardly shrink, and gzip would take longer than many a training.
    folder.mkdir(parents=True, exist_ok=True)  # A program may have removed it to make it anew.
    with tarfile.open(target, "w:gz", compresslevel=0) as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
    return target
