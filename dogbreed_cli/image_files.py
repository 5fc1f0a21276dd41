"""The image files of a folder: find them, give each a name and a place, read and decode each one once, in parallel."""

import hashlib
import itertools
import os
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePath
from typing import TypeVar

from dogbreed_cli.errors import UsageError

SPLIT_FOLDERS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}
CONTENT_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
SUFFIXES = {"JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"}, "PNG": {".png"}, "WEBP": {".webp"}}
# What a person takes for a picture: not being readable is worth a word for these, and for nothing else.
PICTURE_SUFFIXES = {*itertools.chain(*SUFFIXES.values()), ".gif", ".bmp", ".tif", ".tiff", ".heic", ".avif"}
LITTER = {"thumbs.db", "desktop.ini", "__macosx"}

MIN_SIDE = 32  # pixels
MAX_FILE_BYTES = 64 * 2**20  # a file is held in memory while it is decoded, and again while it is sent

T = TypeVar("T")
R = TypeVar("R")


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
    path: Path
    size: int  # bytes
    md5: str  # hex; also S3's ETag of an object put in one part without KMS
    format: str  # JPEG, PNG or WEBP, by content
    width: int
    height: int

    @property
    def key(self) -> str:
        """Where the image stands below the data prefix."""
        return f"{self.split}/{self.label}/{self.name}"

    @property
    def content_type(self) -> str:
        return CONTENT_TYPES[self.format]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that may be an image: not yet opened."""

    split: str  # "" where it is still to be chosen
    label: str
    name: str
    path: Path
    size: int


def list_candidates(root: Path) -> tuple[Path, list[Candidate], int, list[str]]:
    """The root of the data set, its possible images, the number of hidden files and the paths of all other files."""
    if not root.is_dir():
        raise UsageError(f"There is no folder {root}.", fix="Give the folder that holds the images.")
    top = root
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
    seen: set[Path] = set()
    for part, folder in sorted(splits.items()) or [("", top)]:
        for class_folder in _list_folders(folder):
            for name, path in _name_uniquely(class_folder):
                candidates.append(Candidate(part, class_folder.name, name, path, _measure(path)))
                seen.add(path)
    everything = [path for path in _walk(top, hidden=True) if path not in seen]
    foreign = [path.relative_to(top).as_posix() for path in everything if not _is_hidden(path.relative_to(top))]
    return top, candidates, len(everything) - len(foreign), foreign


def _list_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path.relative_to(folder)))


def _is_hidden(relative: PurePath) -> bool:
    return any(part.startswith(".") or part.lower() in LITTER for part in relative.parts)


def _walk(folder: Path, hidden: bool = False) -> Iterator[Path]:
    """Files below a folder, sorted, those next to the top first. A class may be a link to a folder, deeper ones not."""
    found = (Path(parent) / name for parent, _, names in os.walk(folder) for name in names)
    keep = (path for path in found if hidden or not _is_hidden(path.relative_to(folder)))
    # No pipes and devices, which would never end; a link to nowhere stays, to be found unreadable.
    files = (path for path in keep if path.is_file() or not path.exists())
    return iter(sorted(files, key=lambda path: (len(path.parts), path)))


def _measure(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # A link to nowhere, say: reading it will tell.
        return 0


def _name_uniquely(folder: Path) -> Iterator[tuple[str, Path]]:
    """A class is flat where it is stored, so of two files of one name in nested folders the second is renamed."""
    taken: set[str] = set()
    for path in _walk(folder):
        relative = path.relative_to(folder)
        long = "__".join(relative.parts)
        numbered = (f"{PurePath(long).stem}__{n}{path.suffix}" for n in itertools.count(2))
        name = next(name for name in itertools.chain((path.name, long), numbered) if name not in taken)
        taken.add(name)
        yield name, path


def read_images(
    top: Path, candidates: list[Candidate], on_progress: OnProgress | None, max_workers: int
) -> tuple[list[ImageFile], dict[str, list[str]], list[str]]:
    """The readable images, the paths below `top` by what is wrong with them, and those of no images at all.

    What can be wrong: empty, truncated, unreadable, too-large (all left out); tiny, wrong-extension (kept).
    """
    images: list[ImageFile] = []
    foreign: list[str] = []
    faults: dict[str, list[str]] = defaultdict(list)
    total_bytes = sum(candidate.size for candidate in candidates)
    done_bytes = 0
    with warnings.catch_warnings():
        # Pillow warns on odd EXIF and large pictures; ours are findings. Set here: the filters are one for all threads.
        warnings.simplefilter("ignore")
        for done, (candidate, image, kind) in enumerate(in_parallel(_read, candidates, max_workers), 1):
            relative = candidate.path.relative_to(top).as_posix()
            if image:
                images.append(image)
            if kind == "foreign":
                foreign.append(relative)
            elif kind:
                faults[kind].append(relative)
            done_bytes += candidate.size
            if on_progress:
                on_progress(Progress(done, done_bytes, len(candidates), total_bytes))
    return images, faults, foreign


def _read(candidate: Candidate) -> tuple[Candidate, ImageFile | None, str]:
    """Hash and decode one file: the image, unless it is left out, and what is wrong, if anything is."""
    from PIL import Image, UnidentifiedImageError

    path = candidate.path
    looks_like_picture = path.suffix.lower() in PICTURE_SUFFIXES
    if candidate.size > MAX_FILE_BYTES:
        return candidate, None, "too-large" if looks_like_picture else "foreign"
    try:
        content = path.read_bytes()
        with Image.open(BytesIO(content), formats=("JPEG", "PNG", "WEBP")) as picture:
            width, height = picture.size
            # MPO is what Pillow calls a JPEG that some cameras append a second picture to.
            image_format = "JPEG" if picture.format == "MPO" else str(picture.format)
            if width * height > (Image.MAX_IMAGE_PIXELS or width * height):
                return candidate, None, "too-large"
            picture.load()
    except Image.DecompressionBombError:
        return candidate, None, "too-large"
    except UnidentifiedImageError:
        fault = "unreadable" if content else "empty"
        return candidate, None, fault if looks_like_picture else "foreign"
    except Exception as error:  # A decoder may raise anything on a broken file: OSError, ValueError, SyntaxError, ...
        return candidate, None, "truncated" if "truncated" in str(error).lower() else "unreadable"
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    place = candidate.split, candidate.label, candidate.name
    image = ImageFile(*place, path, len(content), md5, image_format, width, height)
    if min(width, height) < MIN_SIDE:
        return candidate, image, "tiny"
    return candidate, image, "" if path.suffix.lower() in SUFFIXES[image_format] else "wrong-extension"


def in_parallel(function: Callable[[T], R], items: Iterable[T], max_workers: int) -> Iterator[R]:
    """Results of `function`, as they come, from a pool of threads with a short queue.

    The first error (or Ctrl-C) drops what has not begun and is raised as soon as what has begun is over.
    """
    waiting: set[Future[R]] = set()
    items = iter(items)
    pool = ThreadPoolExecutor(max_workers)
    try:
        while True:
            for item in itertools.islice(items, 4 * max_workers - len(waiting)):
                waiting.add(pool.submit(function, item))
            if not waiting:
                return
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
