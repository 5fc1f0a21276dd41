"""What a training job leaves in S3: its model and output, as archives or as files; its debugger's and profiler's files.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-train-storage.html, and for the CompressionType NONE
https://docs.aws.amazon.com/sagemaker/latest/dg/model-train-storage-uncompressed.html
"""

from __future__ import annotations

import tarfile
from pathlib import Path

from dogbreed_cli.local.records import Record
from dogbreed_cli.local.s3_access import S3Access
from dogbreed_cli.storage import make_s3_uri, parse_s3_uri


def upload(access: S3Access, record: Record, base: Path, with_model: bool) -> str:
    """Put what the program left into S3, where AWS puts it. Returns the URI of the model artifacts."""
    name, config = record["TrainingJobName"], record["OutputDataConfig"]
    output, is_plain = below(config["S3OutputPath"], name, "output"), config.get("CompressionType") == "NONE"
    model = below(output, "model" if is_plain else "model.tar.gz")
    if is_plain:
        put_folder(access, base / "output/data", below(output, "data"))
    elif any((base / "output/data").glob("*")):
        put_archive(access, base / "output/data", below(output, "output.tar.gz"))
    if with_model:
        (put_folder if is_plain else put_archive)(access, base / "model", model)
    if hook := record.get("DebugHookConfig"):
        put_folder(access, base / "output/tensors", below(hook["S3OutputPath"], name, "debug-output"))
    profiler = record.get("ProfilerConfig", {"DisableProfiler": True})
    if not profiler.get("DisableProfiler"):
        put_folder(access, base / "output/profiler", below(profiler["S3OutputPath"], name, "profiler-output"))
    return model


def below(uri: str, *parts: str) -> str:
    bucket, key = parse_s3_uri(uri)
    return make_s3_uri(bucket, key, *parts)


def put_folder(access: S3Access, folder: Path, uri: str) -> None:
    bucket, prefix = parse_s3_uri(uri)
    files = [path for path in folder.rglob("*") if path.is_file()]
    files.sort(key=lambda path: (not path.is_symlink(), path))  # before what they link to is moved away
    access.put(bucket, [(f"{prefix}/{file.relative_to(folder).as_posix()}", file) for file in files])


def put_archive(access: S3Access, folder: Path, uri: str) -> None:
    bucket, key = parse_s3_uri(uri)
    access.put(bucket, [(key, archive(folder, folder.parent / Path(key).name))])


def archive(folder: Path, target: Path) -> Path:
    # Level 0: weights hardly shrink, and gzip would take longer than many a training.
    folder.mkdir(parents=True, exist_ok=True)  # A program may have removed it to make it anew.
    with tarfile.open(target, "w:gz", compresslevel=0) as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
    return target
