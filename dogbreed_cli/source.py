"""Pack the entry points as sourcedir.tar.gz; unpack archives that others made (output.tar.gz).

uri = upload_source(client, bucket, "dogbreed/source")
unpack(Path("output.tar.gz"), Path("output"))
"""

import contextlib
import gzip
import hashlib
import io
import lzma
import os
import shutil
import stat
import subprocess
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from dogbreed_cli.errors import DogbreedError

ARCHIVE = "sourcedir.tar.gz"
MAX_BYTES = 16 * 2**30  # of an unpacked archive
MAX_MEMBERS = 100_000


def find_entrypoints() -> Path:
    """The scripts that run in the containers: in the wheel inside the package, in a checkout beside it."""
    package = Path(__file__).resolve().parent
    for folder in (package / "_entrypoints", package.parent / "entrypoints"):
        if folder.is_dir():
            return folder
    raise DogbreedError(f"The entry points are missing beside {package}.", fix="Install dogbreed again.")


def find_commit() -> str | None:
    """The git commit of the folder that a command runs in, with -dirty where tracked files were changed since."""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):  # no git, no repository, or a very large one
        return None
    return said.stdout.strip() or None


def pack(folder: Path, leave_out: tuple[str, ...] = ()) -> bytes:
    """A tar.gz of the folder's files whose bytes depend on names, contents and the executable bit alone."""
    return gzip.compress(_pack_tar(folder, leave_out), mtime=0)


def locate_source(bucket: str, prefix: str, folder: Path | None = None, leave_out: tuple[str, ...] = ()) -> str:
    """The s3:// address that `upload_source` sends the entry points to; the same code has the same address."""
    from dogbreed_cli.storage import make_s3_uri

    # Hashed before compression: another zlib may compress the same code to other bytes.
    digest = hashlib.sha256(_pack_tar(folder or find_entrypoints(), leave_out)).hexdigest()
    return make_s3_uri(bucket, prefix, digest[:16], ARCHIVE)


def upload_source(
    client: Any, bucket: str, prefix: str, folder: Path | None = None, leave_out: tuple[str, ...] = ()
) -> str:
    """Send the entry points, unless the same code is there already; gives the s3:// address of the archive."""
    from dogbreed_cli.storage import explain_s3_errors, list_objects, parse_s3_uri

    uri = locate_source(bucket, prefix, folder, leave_out)
    key = parse_s3_uri(uri).key
    if not any(found.key == key for found in list_objects(client, bucket, key)):
        with explain_s3_errors(f"Sending the code to s3://{bucket}/{key}"):
            body = pack(folder or find_entrypoints(), leave_out)
            client.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/gzip")
    return uri


def unpack(archive: Path, folder: Path, *, max_bytes: int = MAX_BYTES, max_members: int = MAX_MEMBERS) -> None:
    """Unpack a tar archive of unknown origin into a folder, which is made.

    Only files and folders arise: a link within the archive becomes a copy of what it names. Raises DogbreedError for
    paths and links that lead out, devices, and archives over the bounds; what was unpacked by then stays in the folder.
    """
    size = 0
    written: set[Path] = set()
    links: list[tuple[Path, Path]] = []  # (where it stands, what it names), both below the folder
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with _open(archive) as tar:
        for count, member in enumerate(tar, 1):
            size += member.size
            if size > max_bytes or count > max_members:
                _refuse_size(archive, max_bytes, max_members)
            # Python's filter refuses paths and links that lead out and devices, and drops owners and odd modes.
            safe = tarfile.data_filter(member, str(folder))
            path = Path(os.path.normpath(folder / safe.name))
            if safe.isdir():
                path.mkdir(parents=True, exist_ok=True)
            elif safe.issym():
                links.append((path, Path(os.path.normpath(path.parent / safe.linkname))))
            elif safe.islnk():
                links.append((path, Path(os.path.normpath(folder / safe.linkname))))
            elif (file := tar.extractfile(member)) is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as to:
                    shutil.copyfileobj(file, to)
                path.chmod(0o755 if (safe.mode or 0) & stat.S_IXUSR else 0o644)
                written.add(path)

        # No link is ever made on disk, for a later entry could write through it.
        while links:
            ready = [(path, target) for path, target in links if target in written and path not in written]
            if not ready:
                path, target = links[0]
                names = f"{path.relative_to(folder)} -> {target.relative_to(folder)}"
                raise DogbreedError(f"{archive} has a link that stands for no file in it.", names)
            for path, target in ready:
                size += target.stat().st_size
                if size > max_bytes:
                    _refuse_size(archive, max_bytes, max_members)
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(target, path)
                written.add(path)
            links = [(path, target) for path, target in links if path not in written]


def _refuse_size(archive: Path, max_bytes: int, max_members: int) -> NoReturn:
    raise DogbreedError(
        f"{archive} is too large to unpack.", f"It may hold {max_members} entries and {max_bytes} bytes."
    )


@contextlib.contextmanager
def _open(archive: Path) -> Iterator[tarfile.TarFile]:
    """An archive to read from; whatever is wrong with it, or with the disk, becomes a DogbreedError."""
    try:
        with tarfile.open(archive) as tar:
            yield tar
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError, ValueError) as error:
        raise DogbreedError(f"{archive} cannot be unpacked.", f"{type(error).__name__}: {error}") from error


def _pack_tar(folder: Path, leave_out: tuple[str, ...]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
            relative = path.relative_to(folder)
            left_out = any(part.startswith(".") or part == "__pycache__" for part in relative.parts)
            left_out = left_out or relative.as_posix() in leave_out
            if left_out or not path.is_file() or path.suffix == ".pyc":
                continue
            data = path.read_bytes()
            member = tarfile.TarInfo(relative.as_posix())
            member.size = len(data)
            member.mode = 0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644
            tar.addfile(member, io.BytesIO(data))
    return content.getvalue()
