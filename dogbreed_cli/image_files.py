"""The image files of a folder: find them, give each a name and a place below the data prefix. None is opened here."""

import itertools
import os
import re
import stat
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import NamedTuple

from dogbreed_cli.errors import UsageError

SPLITS = ("train", "valid", "test")
SPLIT_FOLDERS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}
CONTENT_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
SUFFIXES = {"JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"}, "PNG": {".png"}, "WEBP": {".webp"}}
STORED_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
# What a person takes for a picture: not being readable is worth a word for these, and for nothing else.
PICTURE_SUFFIXES = {*itertools.chain(*SUFFIXES.values()), ".gif", ".bmp", ".tif", ".tiff", ".heic", ".avif"}
# A byte of a file's name that is not UTF-8, as Python has it; the keys of S3 are UTF-8.
NO_TEXT = re.compile(r"[\udc80-\udcff]")
LITTER = {"thumbs.db", "desktop.ini", "__macosx"}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a scan or a sync is: files and bytes, done and in all."""

    done_files: int
    done_bytes: int
    total_files: int
    total_bytes: int


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class ImageFile:
    split: str
    label: str
    name: str
    file: str  # its absolute path; 100,000 objects of type Path would take most of a scan's memory
    size: int  # bytes
    md5: str  # hex; also S3's ETag of an object put in one part without KMS
    format: str  # JPEG, PNG or WEBP, by content
    width: int
    height: int
    look: int  # perceptual hash of 256 bits; 0 of a picture without anything to see

    @property
    def path(self) -> Path:
        return Path(self.file)

    @property
    def key(self) -> str:
        """Where the image stands below the data prefix."""
        return f"{self.split}/{self.label}/{self.name}"

    @property
    def content_type(self) -> str:
        return CONTENT_TYPES[self.format]


class Candidate(NamedTuple):
    """A file that may be an image: not yet opened."""

    split: str  # "" where it is still to be chosen
    label: str
    name: str
    file: str  # its absolute path
    size: int  # bytes
    changed: str  # of modification and of the inode, in nanoseconds: what was read before need not be read again


@dataclass(frozen=True, slots=True)
class Listing:
    """What a folder holds; paths of hidden and other files are relative to `top`."""

    top: Path  # the root of the data set, which may be a folder within the one that was named
    candidates: list[Candidate]
    hidden: list[str]
    outside: list[str]  # not in a class's folder
    changed: int  # when one of the candidates last did, in nanoseconds


def list_candidates(root: Path) -> Listing:
    """Raises UsageError where there is no such folder, or it is no data set."""
    if not root.is_dir():
        raise no_folder(root)
    top = root.absolute()
    # An unpacked archive often holds one folder with everything in it (dogImages/train/...).
    while len(inside := _list_folders(top)) == 1 and inside[0].name.lower() not in SPLIT_FOLDERS:
        if not _list_folders(inside[0]):
            break
        top = inside[0]

    splits = {SPLIT_FOLDERS[f.name.lower()]: f for f in inside if f.name.lower() in SPLIT_FOLDERS}
    if len(splits) < sum(f.name.lower() in SPLIT_FOLDERS for f in inside):
        raise UsageError(f"{top} has two folders for one split.", fix="Keep one of valid, val and validation.")
    if splits and "train" not in splits:
        raise UsageError(f"{top} has {', '.join(sorted(splits))} but no train.", fix="Add the folder train/.")

    candidates: list[Candidate] = []
    hidden: list[str] = []
    class_folders: set[str] = set()
    last = 0
    for part, folder in sorted(splits.items()) or [("", top)]:
        for class_folder in _list_folders(folder):
            label, where = class_folder.name, str(class_folder)
            if re.search(NO_TEXT, label):
                raise UsageError(f"The name of the class {class_folder} is not UTF-8.", fix="Rename the folder.")
            class_folders.add(where)
            visible, concealed = _walk(where)
            below = class_folder.relative_to(top).as_posix()
            hidden += [f"{below}/{relative}" for relative in concealed if _stat(f"{where}/{relative}")]
            for name, relative in _name_uniquely(visible):
                if (found := _stat(file := f"{where}/{relative}")) is not None:
                    modified, moved = found.st_mtime_ns, found.st_ctime_ns
                    candidates.append(Candidate(part, label, name, file, found.st_size, f"{modified}.{moved}"))
                    last = max(last, modified, moved)
    others, concealed = _walk(str(top), apart=class_folders)
    hidden += [relative for relative in concealed if _stat(f"{top}/{relative}")]
    return Listing(top, candidates, hidden, [relative for relative in others if _stat(f"{top}/{relative}")], last)


def list_files(folder: str) -> list[str]:
    """The paths of all that a folder holds, but for folders and what is hidden."""
    return [f"{folder}/{relative}" for relative in _walk(folder)[0]]


def no_folder(root: Path) -> UsageError:
    return UsageError(f"There is no folder {root}.", fix="Give the folder that holds the images.")


def _list_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path.name))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in LITTER


def _walk(folder: str, apart: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """(visible, hidden) files below a folder, relative to it, sorted, those next to the top first.

    A class may be a link to a folder, deeper ones not. Folders in `apart` are not entered.
    """
    visible: list[str] = []
    hidden: list[str] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if f"{parent}/{name}" not in apart]
        below = f"{parent[len(folder) :].strip('/')}/".lstrip("/")
        if any(map(_is_hidden, below.split("/"))):
            hidden += [below + name for name in names]
        else:
            for name in names:
                (hidden if _is_hidden(name) else visible).append(below + name)
    visible.sort(key=lambda relative: (relative.count("/"), relative.split("/")))
    return visible, hidden


def _stat(file: str) -> os.stat_result | None:
    """None for pipes and devices, which would never end; a link to nowhere stays, to be found unreadable."""
    try:
        found = os.stat(file)  # noqa: PTH116 - a Path for each of 100,000 files costs a second
    except OSError:
        found = os.lstat(file)
    return found if stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode) else None


def _name_uniquely(files: list[str]) -> Iterator[tuple[str, str]]:
    """(name, relative path). A class is flat where it is stored, so of two files of one name the deeper is renamed.

    So is a name that is no text, with a _ for each byte that is none.
    """
    taken: set[str] = set()
    for relative in files:
        text = NO_TEXT.sub("_", relative)
        name = text.rpartition("/")[2]
        if name in taken:
            long = PurePath(text.replace("/", "__"))
            numbered = (f"{long.stem}__{n}{long.suffix}" for n in itertools.count(2))
            name = next(name for name in itertools.chain((long.name,), numbered) if name not in taken)
        taken.add(name)
        yield name, relative
