"""Scan, validate, split and fingerprint a folder of labelled images.

    folder = scan(Path("dogImages"), seed=0, valid_fraction=0.15, test_fraction=0.15)
    folder.classes, folder.counts, folder.fingerprint, folder.findings

Each file is read once: the same bytes give the hash, the real type and a full decode; with a cache (image_cache.py), an
unchanged one not even that. Nothing else is written.
"""

import hashlib
import json
import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePath

from dogbreed_cli.errors import UsageError
from dogbreed_cli.image_cache import ImageCache
from dogbreed_cli.image_files import (
    PICTURE_SUFFIXES,
    SPLITS,
    STORED_SUFFIXES,
    Candidate,
    ImageFile,
    Listing,
    OnProgress,
    Progress,
    list_candidates,
)
from dogbreed_cli.image_findings import (
    Finding,
    Summary,
    cluster_by_look,
    find_case_clashes,
    find_copies,
    find_faults,
    find_gaps,
    find_look_alikes,
    name_files,
    shorten,
)
from dogbreed_cli.image_readers import image_readers
from dogbreed_cli.image_reading import Reading, name_faults, read
from dogbreed_cli.parallel import in_parallel

FEW = 500  # files
EACH = 250  # files that a process is started for, at least
AT_ONCE = 16  # files that it is given to read
MOST_WORKERS = 16  # a process takes 60 MB


@dataclass(frozen=True)
class ImageFolder:
    """The readable images of a folder, each in its split, sorted by key; `classes` are sorted by name."""

    root: Path
    classes: tuple[str, ...]
    images: tuple[ImageFile, ...]
    findings: tuple[Finding, ...]
    ignored: int  # hidden and foreign files
    seed: int  # of the splits made here, where any was made

    @property
    def counts(self) -> dict[str, int]:
        """Images per split."""
        found = Counter(image.split for image in self.images)
        return {split: found[split] for split in SPLITS}

    @property
    def class_counts(self) -> dict[str, dict[str, int]]:
        """Images per class and split."""
        found = Counter((image.label, image.split) for image in self.images)
        return {label: {split: found[label, split] for split in SPLITS} for label in self.classes}

    @property
    def size(self) -> int:
        """Bytes of all images."""
        return sum(image.size for image in self.images)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of what is in which split and class under which name: the same on every machine."""
        rows = sorted((image.split, image.label, image.name, image.md5) for image in self.images)
        return hashlib.sha256(json.dumps(rows, ensure_ascii=True, separators=(",", ":")).encode()).hexdigest()

    @property
    def summary(self) -> Summary:
        return Summary(self.classes, self.counts, self.size, self.fingerprint, self.findings)


def scan(
    root: Path,
    *,
    seed: int = 0,
    valid_fraction: float = 0.15,
    test_fraction: float = 0.15,
    on_progress: OnProgress | None = None,
    max_workers: int | None = None,
    cache: ImageCache | None = None,
    listing: Listing | None = None,
) -> ImageFolder:
    """Read a folder with train, valid (val, validation) and test, or one folder of class folders.

    A missing valid is split off train; a folder of classes is split into all three (see `split`). `listing` is the
    folder's, where it was made already. Raises UsageError where there is nothing to train on: no such folder, no
    readable image, fewer than two classes.
    """
    if valid_fraction < 0 or test_fraction < 0 or valid_fraction + test_fraction >= 1:
        raise UsageError(
            f"The fractions valid {valid_fraction} and test {test_fraction} leave nothing to train on.",
            fix="Choose two numbers from 0 that add up to less than 1.",
        )
    listing = listing or list_candidates(root)
    top, faults = listing.top, defaultdict[str, list[str]](list, hidden=listing.hidden)
    images = []
    readings = read_all(
        top, listing.candidates, cache, on_progress, max_workers or min(os.cpu_count() or 4, MOST_WORKERS)
    )
    with closing(readings):  # on Ctrl-C no process goes on reading
        for candidate, reading in readings:
            if not reading.fault:
                images.append(name_image(candidate, reading))
            for kind in name_faults(reading, candidate.file):
                faults[kind].append(candidate.file[len(str(top)) + 1 :])
    for path in listing.outside:
        faults["misplaced" if PurePath(path).suffix.lower() in PICTURE_SUFFIXES else "foreign"].append(path)
    if not images:
        found = (finding.message for finding in find_faults(faults) if finding.severity == "warning")
        raise UsageError(
            f"There is no readable image in {root}.",
            " ".join(found) or "JPEG, PNG and WebP are read.",
            "Give a folder with train/, valid/ and test/, or a folder with one folder of images per class.",
        )
    images, left_out = _without_untrained(top, images)
    classes = tuple(sorted({image.label for image in images}))
    if len(classes) < 2:
        raise UsageError(
            f"A classifier needs at least two classes; {root} has {len(classes)}: {', '.join(classes) or 'none'}.",
            fix="Put the images of each class into a folder of its own, named as the class.",
        )
    clusters = cluster_by_look(images)
    groups = {image.md5: cluster[0].md5 for cluster in clusters for image in cluster}
    images = split(images, groups, seed=seed, valid_fraction=valid_fraction, test_fraction=test_fraction)
    images.sort(key=lambda image: image.key)
    placed = _regroup(images, groups)
    findings = [
        *find_faults(faults),
        *left_out,
        *find_copies(top, images),
        *find_look_alikes(top, placed),
        *find_case_clashes(top, images),
        *find_gaps(classes, images),
    ]
    ignored = len(faults["hidden"]) + len(faults["foreign"])
    return ImageFolder(top, classes, tuple(images), tuple(findings), ignored, seed)


def read_all(
    top: Path,
    candidates: list[Candidate],
    cache: ImageCache | None,
    on_progress: OnProgress | None,
    max_workers: int,
) -> Generator[tuple[Candidate, Reading], None, None]:
    """Each file with what it is: remembered, or read in parallel; in no order."""
    begin = len(str(top)) + 1
    total_bytes = sum(candidate.size for candidate in candidates)
    done_files = done_bytes = 0

    def count(candidate: Candidate) -> None:
        nonlocal done_files, done_bytes
        done_files, done_bytes = done_files + 1, done_bytes + candidate.size
        if on_progress:
            on_progress(Progress(done_files, done_bytes, len(candidates), total_bytes))

    unknown = []
    for candidate in candidates:
        known = cache.find(candidate.file[begin:], candidate.size, candidate.changed) if cache else None
        if known:
            yield candidate, known
            count(candidate)
        else:
            unknown.append(candidate)
    for candidate, reading in read_unknown(unknown, max_workers):
        if cache:
            cache.keep(candidate.file[begin:], candidate.size, candidate.changed, reading)
        yield candidate, reading
        count(candidate)


def read_unknown(candidates: list[Candidate], max_workers: int) -> Iterator[tuple[Candidate, Reading]]:
    """In parallel: few in threads; many in processes, whose start takes as long as to read EACH."""
    with warnings.catch_warnings():
        # Pillow warns on odd EXIF and large pictures; ours are findings. Set here: the filters are one for all threads.
        warnings.simplefilter("ignore")
        if len(candidates) < FEW:
            yield from in_parallel(lambda one: (one, read(one.file, one.size)), candidates, max_workers)
            return
        parts = [candidates[start : start + AT_ONCE] for start in range(0, len(candidates), AT_ONCE)]
        count = min(max_workers, len(candidates) // EACH)
        with image_readers(count) as read_files:

            def read_part(part: list[Candidate]) -> list[tuple[Candidate, Reading]]:
                return list(zip(part, read_files([(one.file, one.size) for one in part]), strict=True))

            for part in in_parallel(read_part, parts, count):
                yield from part


def name_image(candidate: Candidate, reading: Reading) -> ImageFile:
    return ImageFile(
        split=candidate.split,
        label=candidate.label,
        name=name_stored(candidate.name, reading),
        file=candidate.file,
        size=candidate.size,
        md5=reading.md5,
        format=reading.format,
        width=reading.width,
        height=reading.height,
        look=int(reading.look or "0", 16),
    )


def name_stored(name: str, reading: Reading) -> str:
    """Training takes files for images by their names, so one that says nothing, or .jfif, gets an ending more."""
    known = PurePath(name).suffix.lower() in STORED_SUFFIXES
    return name if known else f"{name}-{reading.md5[:8]}.{reading.format.lower()}"


def split(
    images: list[ImageFile], groups: Mapping[str, str], *, seed: int, valid_fraction: float, test_fraction: float
) -> list[ImageFile]:
    """Give a split to each image that has none, class by class; where a data set has all of them, change nothing.

    Pictures are ordered by a hash of the seed and their content; test is taken from the head and valid from the tail,
    so an added file moves at most one other file of its class across each border. Copies of one picture, and what looks
    like it (`groups`: MD5 -> MD5 of the group's first), stay together. A class of three pictures or more has one at
    least in each split; a smaller one goes to train.
    """
    if all(image.split for image in images):
        # The user's own train, without a valid: take it from there, and leave the user's test alone.
        if any(image.split == "valid" for image in images):
            return images
        kept = [image for image in images if image.split != "train"]
        loose, test_fraction = [image for image in images if image.split == "train"], 0.0
    else:
        kept, loose = [], images

    by_class: dict[str, dict[str, list[ImageFile]]] = defaultdict(lambda: defaultdict(list))
    for image in loose:
        by_class[image.label][groups[image.md5]].append(image)
    for pictures in by_class.values():
        order = sorted(pictures, key=lambda md5: hashlib.sha256(f"{seed}/{md5}".encode()).digest())
        valid, test = _count_parts(len(order), valid_fraction, test_fraction)
        for rank, md5 in enumerate(order):
            part = "test" if rank < test else "valid" if rank >= len(order) - valid else "train"
            kept += [replace(image, split=part) for image in pictures[md5]]
    return kept


def _regroup(images: list[ImageFile], groups: Mapping[str, str]) -> list[list[ImageFile]]:
    """The clusters of `groups`, of images that now have their splits."""
    clusters: dict[str, list[ImageFile]] = defaultdict(list)
    for image in images:
        clusters[groups[image.md5]].append(image)
    return list(clusters.values())


def _without_untrained(top: Path, images: list[ImageFile]) -> tuple[list[ImageFile], list[Finding]]:
    """Leave out classes that only valid or test has: no model can know them, and they would shift the numbering."""
    trained = {image.label for image in images if image.split in ("train", "")}
    orphans = [image for image in images if image.label not in trained]
    if not orphans:
        return images, []
    labels = sorted({image.label for image in orphans})
    message = f"Classes without an image in train, left out: {shorten(labels)}."
    finding = Finding("not-in-train", "warning", message, name_files(top, orphans))
    return [image for image in images if image.label in trained], [finding]


def _count_parts(pictures: int, valid_fraction: float, test_fraction: float) -> tuple[int, int]:
    """How many pictures of a class go to valid and to test."""
    if pictures < 3:
        return 0, 0
    valid, test = (max(1, round(pictures * part)) if part else 0 for part in (valid_fraction, test_fraction))
    while valid + test >= pictures:
        valid, test = (valid - 1, test) if valid > test else (valid, test - 1)
    return valid, test
