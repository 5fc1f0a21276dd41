"""Scan, validate, split and fingerprint a folder of labelled images.

    folder = scan(Path("dogImages"), seed=0, valid_fraction=0.15, test_fraction=0.15)
    folder.classes, folder.counts, folder.fingerprint, folder.findings

Each file is read once: the same bytes give the hash, the real type and a full decode. Nothing is written.
"""

import hashlib
import json
import os
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePath
from typing import Literal

from dogbreed_cli.errors import UsageError
from dogbreed_cli.image_files import (
    MAX_FILE_BYTES,
    MIN_SIDE,
    PICTURE_SUFFIXES,
    ImageFile,
    OnProgress,
    list_candidates,
    read_images,
)

SPLITS = ("train", "valid", "test")
MAX_IMBALANCE = 10  # images of the largest class for one of the smallest


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing worth knowing about a data set; `files` are paths below its root, all of them."""

    # empty, truncated, unreadable, too-large, misplaced, not-in-train (all left out); tiny, wrong-extension, leak,
    # label-conflict, duplicate, missing-class, missing-split, imbalance; foreign (ignored)
    kind: str
    severity: Literal["info", "warning"]
    message: str
    files: tuple[str, ...] = ()


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


def scan(
    root: Path,
    *,
    seed: int = 0,
    valid_fraction: float = 0.15,
    test_fraction: float = 0.15,
    on_progress: OnProgress | None = None,
    max_workers: int | None = None,
) -> ImageFolder:
    """Read a folder with train, valid (val, validation) and test, or one folder of class folders.

    A missing valid is split off train; a folder of classes is split into all three (see `split`). Raises UsageError
    where there is nothing to train on: no such folder, no readable image, fewer than two classes.
    """
    if valid_fraction < 0 or test_fraction < 0 or valid_fraction + test_fraction >= 1:
        raise UsageError(
            f"The fractions valid {valid_fraction} and test {test_fraction} leave nothing to train on.",
            fix="Choose two numbers from 0 that add up to less than 1.",
        )
    top, candidates, hidden, outside = list_candidates(root)
    images, faults, foreign = read_images(top, candidates, on_progress, max_workers or os.cpu_count() or 4)
    for path in outside:
        if PurePath(path).suffix.lower() in PICTURE_SUFFIXES:
            faults.setdefault("misplaced", []).append(path)
        else:
            foreign.append(path)
    if not images:
        raise UsageError(
            f"There is no readable image in {root}.",
            " ".join(finding.message for finding in _find_faults(faults)) or "JPEG, PNG and WebP are read.",
            "Give a folder with train/, valid/ and test/, or a folder with one folder of images per class.",
        )
    images, left_out = _without_untrained(top, images)
    classes = tuple(sorted({image.label for image in images}))
    if len(classes) < 2:
        raise UsageError(
            f"A classifier needs at least two classes; {root} has {len(classes)}: {', '.join(classes) or 'none'}.",
            fix="Put the images of each class into a folder of its own, named as the class.",
        )
    images = split(images, seed=seed, valid_fraction=valid_fraction, test_fraction=test_fraction)
    images.sort(key=lambda image: image.key)
    findings = [*_find_faults(faults), *left_out, *_find_copies(top, images), *_find_gaps(classes, images)]
    if foreign:
        message = f"Files that are no images, ignored: {len(foreign)}."
        findings.append(Finding("foreign", "info", message, tuple(sorted(foreign))))
    return ImageFolder(top, classes, tuple(images), tuple(findings), hidden + len(foreign), seed)


def split(images: list[ImageFile], *, seed: int, valid_fraction: float, test_fraction: float) -> list[ImageFile]:
    """Give a split to each image that has none, class by class; where a data set has all of them, change nothing.

    Images are ordered by a hash of the seed and their content; test is taken from the head and valid from the tail, so
    an added file moves at most one other file of its class across each border, and copies of one picture stay together.
    A class of three pictures or more has one at least in each split; a smaller one goes to train.
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
        by_class[image.label][image.md5].append(image)
    for pictures in by_class.values():
        order = sorted(pictures, key=lambda md5: hashlib.sha256(f"{seed}/{md5}".encode()).digest())
        valid, test = _count_parts(len(order), valid_fraction, test_fraction)
        for rank, md5 in enumerate(order):
            part = "test" if rank < test else "valid" if rank >= len(order) - valid else "train"
            kept += [replace(image, split=part) for image in pictures[md5]]
    return kept


def _find_faults(faults: dict[str, list[str]]) -> list[Finding]:
    words: dict[str, tuple[Literal["info", "warning"], str]] = {
        "empty": ("warning", "Empty files, left out"),
        "truncated": ("warning", "Images that end too early, left out"),
        "unreadable": ("warning", "Files that cannot be read as JPEG, PNG or WebP, left out"),
        "too-large": ("warning", f"Files over {MAX_FILE_BYTES >> 20} MiB or with far too many pixels, left out"),
        "misplaced": ("warning", "Images in no class folder, left out"),
        "tiny": ("warning", f"Images under {MIN_SIDE} pixels wide or high"),
        "wrong-extension": ("info", "Images of another type than their name says, sent as what they are"),
    }
    return [
        Finding(kind, severity, f"{text}: {len(faults[kind])}.", tuple(sorted(faults[kind])))
        for kind, (severity, text) in words.items()
        if kind in faults
    ]


def _without_untrained(top: Path, images: list[ImageFile]) -> tuple[list[ImageFile], list[Finding]]:
    """Leave out classes that only valid or test has: no model can know them, and they would shift the numbering."""
    trained = {image.label for image in images if image.split in ("train", "")}
    orphans = [image for image in images if image.label not in trained]
    if not orphans:
        return images, []
    labels = sorted({image.label for image in orphans})
    message = f"Classes without an image in train, left out: {_shorten(labels)}."
    finding = Finding("not-in-train", "warning", message, _name_files(top, orphans))
    return [image for image in images if image.label in trained], [finding]


def _find_copies(top: Path, images: list[ImageFile]) -> list[Finding]:
    by_content: dict[str, list[ImageFile]] = defaultdict(list)
    for image in images:
        by_content[image.md5].append(image)
    copies: dict[str, list[ImageFile]] = defaultdict(list)
    for same in by_content.values():
        if len({image.split for image in same}) > 1:
            copies["leak"] += same
        if len({image.label for image in same}) > 1:
            copies["label-conflict"] += same
        if len({image.key.rpartition("/")[0] for image in same}) < len(same):
            copies["duplicate"] += same
    words = {
        "leak": "Files that stand in more than one split, so that the score is partly from memory",
        "label-conflict": "Files with the same content in more than one class",
        "duplicate": "Files that are copies of each other within a class",
    }
    return [
        Finding(kind, "warning", f"{text}: {len(copies[kind])}.", _name_files(top, copies[kind]))
        for kind, text in words.items()
        if kind in copies
    ]


def _find_gaps(classes: tuple[str, ...], images: list[ImageFile]) -> list[Finding]:
    """Classes that a split has no image of, and classes with far fewer images to learn from than others."""
    findings = []
    found = Counter((image.split, image.label) for image in images)
    for part in ("valid", "test"):
        missing = [label for label in classes if not found[part, label]]
        if 0 < len(missing) < len(classes):
            message = f"Classes without an image in {part}: {_shorten(missing)}."
            findings.append(Finding("missing-class", "warning", message))
    if not any(image.split == "valid" for image in images):
        findings.append(Finding("missing-split", "warning", "There is nothing to validate with: valid is empty."))
    if not any(image.split == "test" for image in images):
        findings.append(Finding("missing-split", "info", "There is no test split; nothing is tested after training."))
    most, least = (choose(classes, key=lambda label: found["train", label]) for choose in (max, min))
    if found["train", most] > MAX_IMBALANCE * found["train", least]:
        message = f"{most} has {found['train', most]} images to learn from, {least} {found['train', least]}."
        findings.append(Finding("imbalance", "warning", message))
    return findings


def _count_parts(pictures: int, valid_fraction: float, test_fraction: float) -> tuple[int, int]:
    """How many pictures of a class go to valid and to test."""
    if pictures < 3:
        return 0, 0
    valid, test = (max(1, round(pictures * part)) if part else 0 for part in (valid_fraction, test_fraction))
    while valid + test >= pictures:
        valid, test = (valid - 1, test) if valid > test else (valid, test - 1)
    return valid, test


def _name_files(top: Path, images: list[ImageFile]) -> tuple[str, ...]:
    return tuple(sorted(image.path.relative_to(top).as_posix() for image in images))


def _shorten(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
