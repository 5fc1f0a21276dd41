"""The pictures of the worst mistakes, small enough to stand within the page as data: URIs."""

import base64
import contextlib
import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dogbreed_cli.report.wording import count_noun

if TYPE_CHECKING:
    from PIL.Image import Image

    from dogbreed_cli.report.report import Report

SIDE = 96  # CSS pixels; a screen of double density gets some more
PIXELS = 144
QUALITY = 72
NOT_FETCHED = "The images were not fetched, so the mistakes have no pictures here."


@dataclass(frozen=True)
class Thumbnail:
    """`uri` is a JPEG image with its size; without one, `why` says why there is no picture."""

    uri: str = ""
    width: int = 0
    height: int = 0
    why: str = ""


def illustrate(report: "Report", images: Mapping[str, bytes | str]) -> "Report":
    """The report with pictures. `images`: by file name in predictions.csv its content, or why there is none."""
    gallery = {file: draw_thumbnail(image) for file, image in images.items()}
    missing = {part: why for part, why in report.missing.items() if part != "gallery"}
    lost = [(file, picture.why) for file, picture in gallery.items() if picture.why]
    if lost:
        file, why = lost[0]
        missing["gallery"] = f"{count_noun(len(lost), 'picture')} of {len(gallery)} cannot be shown; {file}: {why}."
    return replace(report, gallery=gallery, missing=missing)


def draw_thumbnail(image: bytes | str) -> Thumbnail:
    if isinstance(image, str):
        return Thumbnail(why=image)
    from PIL import Image

    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(image)) as opened:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            opened.draft("RGB", (2 * PIXELS, 2 * PIXELS))  # a JPEG is decoded at a fraction of its size
            picture = decode(opened)
            picture.thumbnail((PIXELS, PIXELS))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        return Thumbnail(why=f"not a readable image ({error})")
    packed = io.BytesIO()
    picture.save(packed, "JPEG", quality=QUALITY, optimize=True)
    uri = f"data:image/jpeg;base64,{base64.b64encode(packed.getvalue()).decode()}"
    shrink = SIDE / PIXELS
    return Thumbnail(uri, round(picture.width * shrink), round(picture.height * shrink))


def decode(picture: "Image") -> "Image":
    """Upright, in RGB, white where it is transparent, of 16 bits the upper 8: as the job saw it.

    What image_reading.decode does, which report/ does not import: see tests/test_layout.py.
    """
    import numpy
    from PIL import Image, ImageOps

    picture.load()
    with contextlib.suppress(Exception):  # EXIF may hold anything
        ImageOps.exif_transpose(picture, in_place=True)
    if picture.mode.startswith("I"):
        wide: Any = numpy.asarray(picture)
        picture = Image.fromarray((wide >> 8).clip(0, 255).astype("uint8"))
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    white = Image.new("RGB", picture.size, "white")
    white.paste(picture, mask=picture)
    return white
