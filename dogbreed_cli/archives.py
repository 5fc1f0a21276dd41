"""A data set packed as .zip, .tar or .tar.gz, unpacked once into the cache folder.

folder = unpack_once(Path("dogImages.zip"))     # the same archive again is not unpacked again

Archives come from anywhere: nothing is written outside the folder, no link and no device is made, what is written is
counted as it is written, since a header may say anything, and what a tar's headers bring along is bounded.
"""

import hashlib
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO, NoReturn

from dogbreed_cli.cache import cache_folder, forget_unused
from dogbreed_cli.errors import DogbreedError

MAX_BYTES = 64 * 2**30  # of all files together
MAX_FILES = 2_000_000
# Pictures are packed already: 10 MB of them never come out of 10 kB.
MAX_RATIO, RATIO_FROM = 200, 64 * 2**20
CHUNK = 1 << 18
# Names and attributes of one file in a tar, which are read into memory; Go's archive/tar has the same bound.
MAX_HEADER = 2**20
EXTENDED = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
KEPT_DAYS = 14

ShowBytes = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Entry:
    """Something in an archive: `open` gives a file's bytes."""

    name: str
    kind: str  # file, folder, or what is refused: link, device
    open: Callable[[], IO[bytes]]


class Header(tarfile.TarInfo):
    """A tar's header, before tarfile reads what belongs to it: however much that is, from a small .tar.gz, too.

    _proc_member and those that it calls are made to be overridden: see the comments in tarfile.
    """

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        # The headers of one file follow each other from tar.offset on; a negative size would read all that is left.
        size = self.offset - tar.offset + self.size
        if self.size < 0 or (self.type in EXTENDED and size > MAX_HEADER):
            raise tarfile.TarError(f"a header of {size:,} bytes; {MAX_HEADER:,} are allowed")
        return super()._proc_member(tar)  # type: ignore[misc]

    def _refuse(self, *_: object) -> NoReturn:
        # Where the holes are may be a list without an end.
        raise tarfile.TarError("it has a sparse file; pack it without --sparse")

    _proc_sparse = _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse


def is_archive(path: Path) -> bool:
    return is_tar(path) or zipfile.is_zipfile(path)


def is_tar(path: Path) -> bool:
    try:
        with tarfile.open(path, tarinfo=Header):
            return True
    except tarfile.ReadError:
        return False
    except (tarfile.TarError, EOFError, ValueError, RuntimeError):  # one that is broken: `unpack` says what is wrong
        return True


def unpack_once(archive: Path, on_progress: ShowBytes | None = None) -> Path:
    """A folder in the cache folder with the archive's files. Raises DogbreedError.

    It is made beside and renamed when it is whole; it goes when it was not used for two weeks.
    """
    found = archive.stat()
    known = f"{archive.resolve()}\n{found.st_size}\n{found.st_mtime_ns}\n{found.st_ctime_ns}"
    store = cache_folder() / "unpacked"
    folder = store / hashlib.sha256(known.encode(errors="surrogateescape")).hexdigest()[:32]
    store.mkdir(parents=True, exist_ok=True)
    forget_unused(store, KEPT_DAYS)
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=store, prefix=".unpacking-") as scratch:
            unpack(archive, Path(scratch) / "images", on_progress=on_progress)
            try:
                (Path(scratch) / "images").rename(folder)
            except OSError:
                if not folder.exists():  # another upload of the same archive was quicker: fine
                    raise
    os.utime(folder)
    return folder


def unpack(
    archive: Path,
    folder: Path,
    *,
    max_bytes: int = MAX_BYTES,
    max_files: int = MAX_FILES,
    on_progress: ShowBytes | None = None,
) -> None:
    """Unpack into a new folder. Raises DogbreedError for what is broken, leads out, is a link or too large."""
    folder.mkdir(parents=True)
    packed = archive.stat().st_size
    most = min(max_bytes, max(RATIO_FROM, MAX_RATIO * packed), shutil.disk_usage(folder).free)
    written = 0
    with opened(archive) as (entries, position):
        for count, entry in enumerate(entries, 1):
            if count > max_files:
                raise DogbreedError(f"{archive} is too large to unpack.", f"It has more than {max_files:,} entries.")
            path = folder / place(archive, entry)
            if entry.kind == "folder":
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            # "x": of two entries of one name, or of one file and what claims to lie in it, neither is believed.
            with entry.open() as content, path.open("xb") as file:
                while chunk := content.read(CHUNK):
                    written += len(chunk)
                    if written > most:
                        raise DogbreedError(
                            f"{archive} is too large to unpack.",
                            f"{packed:,} bytes became more than {most:,}.",
                            "Free some space, or unpack it yourself and give the folder.",
                        )
                    file.write(chunk)
            if on_progress:
                on_progress(min(position(), packed), packed)


@contextmanager
def opened(archive: Path) -> Iterator[tuple[Iterator[Entry], Callable[[], int]]]:
    """The entries, and how many bytes of the archive are read; what is wrong with it becomes a DogbreedError."""
    broken = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, LZMAError, OSError, ValueError)
    try:
        # In this order: a tar file that ends with a zip file looks like one, but not the other way round.
        tarred = is_tar(archive)
        with archive.open("rb") as file:
            if tarred:
                with tarfile.open(fileobj=file, tarinfo=Header) as tar:
                    yield list_tar(tar), file.tell
            else:
                with zipfile.ZipFile(file) as packed:
                    yield list_zip(packed), file.tell
    except (*broken, NotImplementedError, RuntimeError) as error:  # an unknown compression; a password
        raise DogbreedError(f"{archive} cannot be unpacked.", f"{type(error).__name__}: {error}") from error


def list_zip(packed: zipfile.ZipFile) -> Iterator[Entry]:
    for member in packed.infolist():
        kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where the archive is not from Unix
        known = {0: "file", stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}.get(kind, "device")
        name = member.orig_filename  # zipfile itself would cut it at a NUL
        yield Entry(name, "folder" if member.is_dir() else known, partial(packed.open, member))


def list_tar(tar: tarfile.TarFile) -> Iterator[Entry]:
    while member := tar.next():
        linked = member.issym() or member.islnk()
        kind = "file" if member.isreg() else "folder" if member.isdir() else "link" if linked else "device"
        yield Entry(member.name, kind, partial(open_member, tar, member))
        # tarfile would keep every header, and whatever global ones say.
        tar.members, tar.pax_headers = [], {}  # type: ignore[attr-defined]


def open_member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(member)
    if content is None:
        raise tarfile.TarError(f"{member.name} has no content")
    return content


def place(archive: Path, entry: Entry) -> PurePosixPath:
    """Where an entry goes, below the folder. Raises DogbreedError for what must not be written."""
    name = entry.name
    fix = "Nothing of it is used. Unpack it yourself if you trust it, and give the folder."
    if entry.kind not in ("file", "folder"):
        raise DogbreedError(f"{archive} has a {entry.kind}: {name!r}.", "Only files and folders are unpacked.", fix)
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or ":" in name[:2]:
        raise DogbreedError(f"{archive} has a file that would be written outside the folder: {name!r}.", fix=fix)
    return path
