"""What one file is, by its bytes: hash, real type, size in pixels, look, and what is wrong with it.

reading = read(path, size)    # raises nothing: whatever is wrong is `reading.fault`

The file is decoded in full, since a header says nothing about the end of a file; how much memory that takes is bounded.
"""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from dogbreed_cli.image_files import PICTURE_SUFFIXES, SUFFIXES

if TYPE_CHECKING:
    from PIL.Image import Image

MIN_SIDE = 32  # pixels
MAX_FILE_BYTES = 64 * 2**20  # a file is held in memory while it is decoded, and again while it is sent
# Pictures of more pixels are decoded one at a time: of MAX_IMAGE_PIXELS (Pillow's, 89 million) one takes 360 MB.
LARGE_PIXELS = 16_000_000
LARGE = threading.Lock()
ORIENTATION = 0x0112  # EXIF's tag
PNG_DEPTH = 24  # the byte that says how many bits a channel has
LOOK_SIDE = 16  # bits: 256 in all
LOOK_PIXELS = 64  # what the hash looks at, each way


class Reading(NamedTuple):
    """What a file's bytes are; nothing here depends on its name."""

    md5: str = ""  # hex
    format: str = ""  # JPEG, PNG or WEBP; "" with a fault
    width: int = 0  # pixels, as stored: before EXIF's rotation
    height: int = 0
    look: str = ""  # the perceptual hash in hex, after EXIF's rotation; "" of a picture without anything to see
    fault: str = ""  # empty, unknown, truncated, unreadable or too-large: the file is left out
    traits: str = ""  # of animated, rotated, cmyk, palette and 16-bit those that it has, with blanks between


@overload
def read(file: str, size: int) -> Reading: ...
@overload
def read(file: str, size: int, *, leave_large: bool) -> Reading | None: ...
def read(file: str, size: int, *, leave_large: bool = False) -> Reading | None:
    """Hash and decode one file; with `leave_large` not one of more than LARGE_PIXELS, for which it gives None."""
    from PIL import Image, UnidentifiedImageError

    if size > MAX_FILE_BYTES:
        return Reading(fault="too-large")
    content = b""
    try:
        with open(file, "rb") as opened:  # noqa: PTH123
            content = opened.read()
        with Image.open(BytesIO(content), formats=("JPEG", "PNG", "WEBP")) as picture:
            width, height = picture.size
            # MPO is what Pillow calls a JPEG that some cameras append a second picture to.
            stored = "JPEG" if picture.format == "MPO" else str(picture.format)
            if width * height > (Image.MAX_IMAGE_PIXELS or width * height):
                return Reading(fault="too-large")
            traits = list(name_traits(picture, content))
            # A JPEG is read to its end all the same, but in grey and no larger than needed.
            picture.draft("L", (LOOK_PIXELS, LOOK_PIXELS))
            is_large = picture.width * picture.height > LARGE_PIXELS
            if is_large and leave_large:
                return None
            with LARGE if is_large else contextlib.nullcontext():
                picture.load()
                rotated = is_rotated(picture)
                look = see(picture, rotated)
            if rotated:
                traits.append("rotated")
    except Image.DecompressionBombError:
        return Reading(fault="too-large")
    except UnidentifiedImageError:
        return Reading(fault="unknown" if content else "empty")
    except Exception as error:  # A decoder may raise anything on a broken file: OSError, ValueError, SyntaxError, ...
        return Reading(fault="truncated" if ends_early(content, error) else "unreadable")
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return Reading(md5, stored, width, height, look, "", " ".join(traits))


def ends_early(content: bytes, error: Exception) -> bool:
    """Pillow says so of JPEG and PNG. Of WebP it says nothing, but the file's own head has its length.

    https://developers.google.com/speed/webp/docs/riff_container#webp_file_header
    """
    if content.startswith(b"RIFF"):
        return len(content) < 8 + int.from_bytes(content[4:8], "little")
    return "truncated" in str(error).lower()


def name_faults(reading: Reading, file: str) -> Iterator[str]:
    """The kinds of findings for a file of that name; "foreign" for what nobody would take for a picture."""
    suffix = PurePath(file).suffix.lower()
    if reading.fault in ("empty", "unknown", "too-large") and suffix not in PICTURE_SUFFIXES:
        yield "foreign"
    elif reading.fault:
        yield "unreadable" if reading.fault == "unknown" else reading.fault
    else:
        if min(reading.width, reading.height) < MIN_SIDE:
            yield "tiny"
        if suffix not in SUFFIXES[reading.format]:
            yield "wrong-extension"
        yield from reading.traits.split()


def name_traits(picture: "Image", content: bytes) -> Iterator[str]:
    """What is unusual in a picture that is fine; before its pixels are read."""
    if picture.format != "MPO" and getattr(picture, "is_animated", False):
        yield "animated"
    if picture.mode == "CMYK":
        yield "cmyk"
    if picture.mode == "P":
        yield "palette"
    if picture.format == "PNG" and content[PNG_DEPTH] == 16:
        yield "16-bit"


def is_rotated(picture: "Image") -> bool:
    """By EXIF, once its pixels are read: to ask a PNG reads them, and what is wrong with them is said only once."""
    with contextlib.suppress(Exception):  # EXIF may hold anything, and an odd one makes no picture unreadable
        return picture.getexif().get(ORIENTATION, 1) in range(2, 9)
    return False


def see(picture: "Image", rotated: bool = False) -> str:
    """Perceptual hash (DCT) of what a person sees: equal or nearly so for the same picture at another size or quality.

    https://github.com/JohannesBuchner/imagehash
    """
    import imagehash
    import numpy
    from PIL import ImageOps

    small = flatten(picture)
    small.thumbnail((4 * LOOK_PIXELS, 4 * LOOK_PIXELS))
    if rotated:
        with contextlib.suppress(Exception):  # EXIF may hold anything, and an odd one makes no picture unreadable
            ImageOps.exif_transpose(small, in_place=True)  # the tag is the file's, and a converted copy still has it
    found = imagehash.phash(small, hash_size=LOOK_SIDE)
    # A hash bit says "above the median", so half of them are set, unless there is nothing but one colour.
    bits = int(found.hash.sum())
    return numpy.packbits(found.hash).tobytes().hex() if LOOK_SIDE <= bits <= LOOK_SIDE * (LOOK_SIDE - 1) else ""


def flatten(picture: "Image") -> "Image":
    """In shades of grey."""
    return narrow(picture).convert("L")


def decode(picture: "Image") -> "Image":
    """Upright, in RGB, white where it is transparent: the pixels that entrypoints/model.py learns from and serves."""
    from PIL import Image, ImageOps

    picture.load()  # what is wrong with the pixels is raised here
    with contextlib.suppress(Exception):  # EXIF may hold anything
        ImageOps.exif_transpose(picture, in_place=True)
    picture = narrow(picture)
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    white = Image.new("RGB", picture.size, "white")
    white.paste(picture, mask=picture)
    return white


def narrow(picture: "Image") -> "Image":
    """Of 16 bits those that matter: Pillow's own conversion makes all but the darkest white."""
    if not picture.mode.startswith("I"):
        return picture
    import numpy
    from PIL import Image

    wide: Any = numpy.asarray(picture)
    return Image.fromarray((wide >> 8).clip(0, 255).astype("uint8"))
