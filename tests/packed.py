"""A folder as an archive, as people make them: one folder around all."""

import tarfile
import zipfile
from pathlib import Path


def pack_zip(folder: Path, to: Path) -> Path:
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(folder.rglob("*")):
            packed.write(path, Path("dogImages") / path.relative_to(folder))
    return to


def pack_tar(folder: Path, to: Path, mode: str) -> Path:
    with tarfile.open(to, mode) as tar:
        tar.add(folder, "./dogImages")
    return to
