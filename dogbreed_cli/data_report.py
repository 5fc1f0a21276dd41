"""What `upload` found in a folder of images, as one HTML page that needs nothing else: data-report.html.

The words stand in report/data.html.j2, the looks in report/page.css.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median_low

from dogbreed_cli.console import human_size
from dogbreed_cli.image_findings import Finding
from dogbreed_cli.images import SPLITS, ImageFolder
from dogbreed_cli.report.page import render_template

# Of one finding, on the page; `--json` has them all.
MOST_FILES = 200
MOST_GROUPS = 50


@dataclass(frozen=True)
class ClassRow:
    label: str
    counts: tuple[int, ...]  # per split, as SPLITS
    share: float  # of the largest class, of all splits together


@dataclass(frozen=True)
class FindingRow:
    finding: Finding
    lines: tuple[str, ...]  # a file, or files that belong together
    more: int  # lines that are left out


def render(folder: ImageFolder, name: str) -> str:
    return render_template(
        "data.html.j2",
        folder=folder,
        title=printable(name),
        splits=SPLITS,
        sections=(("result", "Result"), ("findings", "Findings"), ("classes", "Classes"), ("pictures", "Pictures")),
        findings=[list_lines(finding) for finding in folder.findings],
        warnings=sum(finding.severity == "warning" for finding in folder.findings),
        classes=list_classes(folder),
        pictures=describe_pictures(folder),
        created=datetime.now(UTC),
    )


def list_lines(finding: Finding) -> FindingRow:
    lines = tuple(" = ".join(group) for group in finding.groups) or finding.files
    shown = lines[: MOST_GROUPS if finding.groups else MOST_FILES]
    return FindingRow(finding, tuple(map(printable, shown)), len(lines) - len(shown))


def list_classes(folder: ImageFolder) -> list[ClassRow]:
    """The smallest first: what a reader looks for."""
    counts = {label: tuple(of.values()) for label, of in folder.class_counts.items()}
    most = max(map(sum, counts.values()))
    rows = (ClassRow(label, found, sum(found) / most) for label, found in counts.items())
    return sorted(rows, key=lambda row: (sum(row.counts), row.label))


def describe_pictures(folder: ImageFolder) -> list[tuple[str, str]]:
    formats = Counter(image.format for image in folder.images)
    return [
        ("Types", ", ".join(f"{name} {count:,}" for name, count in formats.most_common())),
        ("Width", say_spread([image.width for image in folder.images], "pixels")),
        ("Height", say_spread([image.height for image in folder.images], "pixels")),
        ("Size", f"{human_size(folder.size)}; {say_spread([image.size for image in folder.images], 'bytes')}"),
        ("Folder", printable(str(folder.root))),
        ("Fingerprint", folder.fingerprint),
    ]


def say_spread(values: list[int], unit: str) -> str:
    return f"{min(values):,} to {max(values):,} {unit}, median {median_low(values):,}"


def printable(name: str) -> str:
    """A file's name that is no text, with a mark for each byte that is none."""
    return name.encode(errors="replace").decode() if not name.isprintable() else name
