"""Pictures of noise, one for each shade, and what a scan found of one kind."""

import hashlib
import io
from pathlib import Path

from PIL import Image

from dogbreed_cli.images import ImageFolder


def draw(path: Path, shade: int, size=(48, 40), mode="RGB", **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = hashlib.shake_256(str(shade).encode()).digest(size[0] * size[1] * {"I;16": 2}.get(mode, len(mode)))
    Image.frombytes(mode, size, pixels).save(path, **options)
    return path


def to_png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def find(folder: ImageFolder, kind: str) -> tuple[str, ...]:
    (finding,) = [finding for finding in folder.findings if finding.kind == kind]
    return finding.files
