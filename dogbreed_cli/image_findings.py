"""What is worth knowing about a data set before anybody pays for training on it: findings, from files already read."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dogbreed_cli.image_files import ImageFile
from dogbreed_cli.image_reading import MAX_FILE_BYTES, MIN_SIDE

Severity = Literal["info", "warning"]
MAX_IMBALANCE = 10  # images of the largest class for one of the smallest
# Of 256 bits. Measured on drawn pictures (tests/test_near_copies.py): a picture resized, recompressed or brightened
# differs from itself by at most 8, two pictures by 58 at least.
NEAR_BITS = 15
BANDS = 16  # more than NEAR_BITS, so that of two looks that near at least one band is equal
BAND_BITS = 16
BAND_MASK = (1 << BAND_BITS) - 1
MOST_COMPARED = 100

# In the order in which they are shown: what is left out, what is wrong between files, what is only told.
FAULTS: dict[str, tuple[Severity, str]] = {
    "empty": ("warning", "Empty files, left out"),
    "truncated": ("warning", "Images that end too early, left out"),
    "unreadable": ("warning", "Files that cannot be read as JPEG, PNG or WebP, left out"),
    "too-large": ("warning", f"Files over {MAX_FILE_BYTES >> 20} MiB or with far too many pixels, left out"),
    "misplaced": ("warning", "Images in no class folder, left out"),
    "tiny": ("warning", f"Images under {MIN_SIDE} pixels wide or high"),
    "wrong-extension": ("info", "Images of another type than their name says, sent as what they are"),
    "animated": ("info", "Animated images, of which the first picture counts"),
    "rotated": ("info", "Images that EXIF turns, trained on as they are seen"),
    "cmyk": ("info", "Images in CMYK, a print's colours, trained on as RGB"),
    "palette": ("info", "Images with a palette, trained on as RGB"),
    "16-bit": ("info", "Images of 16 bits a channel, trained on as 8"),
    "foreign": ("info", "Files that are no images, ignored"),
    "hidden": ("info", "Hidden files, ignored"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing worth knowing about a data set; `files` are paths below its root, all of them.

    In `groups` the same paths stand together as they belong together, where that says more.
    """

    kind: str
    severity: Severity
    message: str
    files: tuple[str, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Summary:
    """What there is to tell of a data set."""

    classes: tuple[str, ...]
    counts: dict[str, int]  # images per split
    size: int  # bytes of all images
    fingerprint: str
    findings: tuple[Finding, ...]

    @property
    def warnings(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == "warning"]


def find_faults(faults: dict[str, list[str]]) -> list[Finding]:
    return [
        Finding(kind, severity, f"{text}: {len(faults[kind])}.", tuple(sorted(faults[kind])))
        for kind, (severity, text) in FAULTS.items()
        if faults.get(kind)
    ]


def find_copies(top: Path, images: list[ImageFile]) -> Iterator[Finding]:
    """Equal content in more than one split, class or file of a class in a split."""
    by_content: dict[str, list[ImageFile]] = defaultdict(list)
    for image in images:
        by_content[image.md5].append(image)
    found: dict[str, list[list[ImageFile]]] = defaultdict(list)
    for same in by_content.values():
        if len({image.split for image in same}) > 1:
            found["leak"].append(same)
        if len({image.label for image in same}) > 1:
            found["label-conflict"].append(same)
        beside = Counter((image.split, image.label) for image in same)
        if copies := [image for image in same if beside[image.split, image.label] > 1]:
            found["duplicate"].append(copies)
    words = {
        "leak": "Files that stand in more than one split, so that the score is partly from memory",
        "label-conflict": "Files with the same content in more than one class",
        "duplicate": "Files that are copies of each other within a class of a split",
    }
    for kind, text in words.items():
        if kind in found:
            yield group_files(kind, "warning", text, top, found[kind])


def find_look_alikes(top: Path, clusters: Iterable[list[ImageFile]]) -> Iterator[Finding]:
    """Different files with one picture: another size, quality or format. Equal files are `find_copies`' business."""
    across: list[list[ImageFile]] = []
    within: list[list[ImageFile]] = []
    for cluster in clusters:
        if len({image.md5 for image in cluster}) > 1:
            (across if len({image.split for image in cluster}) > 1 else within).append(cluster)
    if across:
        text = "Files that look alike in more than one split, so that the score is partly from memory"
        yield group_files("near-leak", "warning", text, top, across)
    if within:
        yield group_files("near-duplicate", "info", "Files that look alike within a split", top, within)


def cluster_by_look(images: Sequence[ImageFile]) -> list[list[ImageFile]]:
    """Images by what they show: in a cluster each is a copy of another one, or within NEAR_BITS of it.

    Two looks with at most 15 of 256 bits apart have at least one of 16 bands in common, so each is compared with those
    that share a band with it, not with all: with the last MOST_COMPARED of them, where thousands of pictures have one
    sky.
    https://en.wikipedia.org/wiki/Locality-sensitive_hashing#Bit_sampling_for_Hamming_distance
    """
    looks = sorted({(image.md5, image.look) for image in images})
    first = list(range(len(looks)))  # of each look's cluster, or one on the way to it
    for band in range(BANDS):
        begin, alike = band * BAND_BITS, defaultdict[int, list[int]](list)
        for one, (_, look) in enumerate(looks):
            if look:  # there is something to see
                same = alike[look >> begin & BAND_MASK]
                for other in same[-MOST_COMPARED:]:
                    if (look ^ looks[other][1]).bit_count() <= NEAR_BITS:
                        join(first, one, other)
                same.append(one)
    clusters: dict[int, list[ImageFile]] = defaultdict(list)
    places = {md5: find_first(first, place) for place, (md5, _) in enumerate(looks)}
    for image in sorted(images, key=lambda image: image.md5):
        clusters[places[image.md5]].append(image)
    return list(clusters.values())


def join(first: list[int], one: int, other: int) -> None:
    """https://en.wikipedia.org/wiki/Disjoint-set_data_structure"""
    one, other = find_first(first, one), find_first(first, other)
    first[max(one, other)] = min(one, other)


def find_first(first: list[int], one: int) -> int:
    while first[one] != one:
        first[one] = first[first[one]]
        one = first[one]
    return one


def find_case_clashes(top: Path, images: list[ImageFile]) -> Iterator[Finding]:
    """Names that are one name on a file system that ignores case, as on most laptops."""
    by_name: dict[str, list[ImageFile]] = defaultdict(list)
    for image in images:
        by_name[image.file.casefold()].append(image)
    clashes = [same for same in by_name.values() if len(same) > 1]
    if clashes:
        yield group_files("case", "warning", "Files whose names differ in nothing but case", top, clashes)
    labels: dict[str, set[str]] = defaultdict(set)
    for image in images:
        labels[image.label.casefold()].add(image.label)
    twice = sorted(itertools.chain(*(same for same in labels.values() if len(same) > 1)))
    if twice:
        yield Finding("case", "warning", f"Classes whose names differ in nothing but case: {shorten(twice)}.")


def find_gaps(classes: tuple[str, ...], images: list[ImageFile]) -> Iterator[Finding]:
    """Classes that a split has no image of, and classes with far fewer images to learn from than others."""
    found = Counter((image.split, image.label) for image in images)
    for part in ("valid", "test"):
        missing = [label for label in classes if not found[part, label]]
        if 0 < len(missing) < len(classes):
            yield Finding("missing-class", "warning", f"Classes without an image in {part}: {shorten(missing)}.")
    if not any(image.split == "valid" for image in images):
        yield Finding("missing-split", "warning", "There is nothing to validate with: valid is empty.")
    if not any(image.split == "test" for image in images):
        yield Finding("missing-split", "info", "There is no test split; nothing is tested after training.")
    most, least = (choose(classes, key=lambda label: found["train", label]) for choose in (max, min))
    if found["train", most] > MAX_IMBALANCE * found["train", least]:
        message = f"{most} has {found['train', most]} images to learn from, {least} {found['train', least]}."
        yield Finding("imbalance", "warning", message)


def group_files(kind: str, severity: Severity, text: str, top: Path, found: list[list[ImageFile]]) -> Finding:
    groups = tuple(sorted(name_files(top, same) for same in found))
    files = tuple(sorted(itertools.chain(*groups)))
    return Finding(kind, severity, f"{text}: {len(files)}.", files, groups)


def name_files(top: Path, images: Iterable[ImageFile]) -> tuple[str, ...]:
    return tuple(sorted(image.file[len(str(top)) + 1 :] for image in images))


def shorten(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
