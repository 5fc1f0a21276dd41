"""What `predict` takes: files, folders, URLs, standard input; by content; nothing of this machine's own network."""

from __future__ import annotations

import io
import os
import socket
import sys
from contextlib import chdir, closing
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from PIL import Image

from dogbreed_cli.errors import DogbreedError
from dogbreed_cli.image_files import list_candidates
from dogbreed_cli.image_reading import read as read_fully
from dogbreed_cli.pictures import MAX_BYTES, MAX_READ, open_source, shrink, sniff


def draw(form: str, size: tuple[int, int] = (16, 16), mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, 200).save(out, form)
    return out.getvalue()


def noise(form: str, side: int, mode: str = "RGB", **options: Any) -> bytes:
    out = io.BytesIO()
    channels = {"RGB": 3, "RGBA": 4, "CMYK": 4, "L": 1}[mode]
    Image.frombytes(mode, (side, side), os.urandom(side * side * channels)).save(out, form, **options)
    return out.getvalue()


def names(source: Path | str) -> list[str]:
    return [picture.name for picture in open_source(str(source))]


def read_one(path: Path, data: bytes) -> tuple[bytes, str]:
    path.write_bytes(data)
    [picture] = open_source(str(path))
    return picture.read()


# ---- by content


@pytest.mark.parametrize(
    ("form", "content_type"), [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp")]
)
def test_the_type_is_that_of_the_content_whatever_the_name(tmp_path: Path, form: str, content_type: str) -> None:
    data = draw(form)
    assert read_one(tmp_path / "picture.txt", data) == (data, content_type)


@pytest.mark.parametrize("data", [draw("GIF"), draw("BMP"), b"plain text", b"RIFF1234WAVE", b"\xff\xd8", b"\x89PNG"])
def test_what_is_no_image_is_refused(tmp_path: Path, data: bytes) -> None:
    assert sniff(data) is None
    with pytest.raises(DogbreedError, match="no JPEG, PNG or WebP image"):
        read_one(tmp_path / "dog.jpg", data)


def test_an_empty_file_is_called_that(tmp_path: Path) -> None:
    with pytest.raises(DogbreedError, match="an empty file"):
        read_one(tmp_path / "dog.jpg", b"")


# ---- the endpoint's limit


@pytest.mark.parametrize(
    ("form", "side", "mode", "options"),
    [
        ("PNG", 2100, "RGB", {}),
        ("PNG", 1300, "RGBA", {}),
        ("JPEG", 1600, "CMYK", {"quality": 100}),
        ("WEBP", 1500, "RGB", {"lossless": True, "method": 0}),
    ],
)
def test_a_large_picture_is_sent_smaller(
    tmp_path: Path, form: str, side: int, mode: str, options: dict[str, Any]
) -> None:
    data = noise(form, side, mode, **options)
    assert len(data) > MAX_BYTES
    sent, content_type = read_one(tmp_path / "large", data)
    assert content_type == "image/jpeg"
    assert len(sent) <= MAX_BYTES
    with Image.open(io.BytesIO(sent)) as picture:
        assert (picture.mode, max(picture.size)) == ("RGB", min(side, 2048))


def test_a_picture_at_the_limit_is_sent_as_it_is(tmp_path: Path) -> None:
    data = draw("JPEG")
    data += bytes(MAX_BYTES - len(data))
    assert read_one(tmp_path / "a.jpg", data) == (data, "image/jpeg")


def test_a_smaller_picture_is_upright(tmp_path: Path) -> None:
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    Image.new("RGB", (40, 20)).save(out, "JPEG", exif=exif)
    with Image.open(io.BytesIO(shrink(out.getvalue()))) as picture:
        assert picture.size == (20, 40)
        assert not picture.getexif().get(0x0112)


def test_a_smaller_picture_has_the_colours_that_the_network_learnt_from() -> None:
    """As decode_with_pil in entrypoints/model.py: white where nothing is, of 16 bits the upper 8."""
    black = Image.new("RGB", (40, 20))
    black.paste((255, 0, 0), (0, 0, 16, 16))
    clear = black.convert("RGBA")
    clear.putalpha(Image.new("L", clear.size))
    clear.paste((255, 0, 0, 255), (0, 0, 16, 16))
    palette = black.quantize(4)
    deep = Image.new("I;16", (40, 20), 0x4000)
    deep.paste(Image.new("I;16", (16, 16), 0xF000))
    turned = Image.Exif()
    turned[0x0112] = 6  # lies on its side: to be turned clockwise by 90 degrees
    red, white, light, dark = (255, 0, 0), (255, 255, 255), (0xF0,) * 3, (0x40,) * 3
    check_corners(clear, red, white)
    check_corners(clear, red, white, exif=b"Exif\0\0junk")
    check_corners(clear.transpose(Image.Transpose.ROTATE_90), red, white, exif=turned)
    check_corners(palette, red, white, transparency=palette.getpixel((39, 19)))
    check_corners(deep, light, dark)
    check_corners(deep.transpose(Image.Transpose.ROTATE_90), light, dark, exif=turned)


def check_corners(picture: Image.Image, first: tuple[int, ...], last: tuple[int, ...], **options: Any) -> None:
    """The colours at the top left and the bottom right of what is sent; a JPEG's are one or two shades off."""
    picture.save(out := io.BytesIO(), "PNG", **options)
    with Image.open(io.BytesIO(shrink(out.getvalue()))) as sent:
        assert (sent.mode, sent.size) == ("RGB", (40, 20))
        assert sent.getpixel((4, 4)) == pytest.approx(first, abs=3)
        assert sent.getpixel((36, 16)) == pytest.approx(last, abs=3)


@pytest.mark.parametrize(
    "data", [draw("PNG")[:40], draw("PNG")[:33] + b"\0\0\0\5IDATxxxxx", b"\xff\xd8\xff" + bytes(99)]
)
def test_a_large_broken_picture_is_an_error_of_ours(data: bytes) -> None:
    with pytest.raises(DogbreedError, match="cannot be decoded"):
        shrink(data)


def test_what_does_not_fit_into_memory_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.jpg"
    with path.open("wb") as file:
        file.truncate(MAX_READ * 100)
    [picture] = open_source(str(path))
    with pytest.raises(DogbreedError, match="larger than 64 MB"):
        picture.read()


# ---- files and folders


def test_folders_are_searched_through(tmp_path: Path) -> None:
    for name in ["b.jpg", "a.PNG", "sub/deep/c.webp", "d.jpeg", "e.jfif", "notes.txt", "sub/f.gif"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [str(Path(name).relative_to(tmp_path)) for name in names(tmp_path)]
    assert found == ["a.PNG", "b.jpg", "d.jpeg", "e.jfif", "sub/deep/c.webp"]


def test_a_folder_s_images_are_those_that_upload_finds(tmp_path: Path) -> None:
    folder = tmp_path / "dogs" / "beagle"
    for form, name in [("JPEG", "1"), ("PNG", "b.dat"), ("JPEG", "c.gif"), ("WEBP", "d.webp"), ("PNG", "Thumbs.db")]:
        (folder / "deep").mkdir(parents=True, exist_ok=True)
        (folder / "deep" / name).write_bytes(draw(form))
    (folder / "notes").write_text("no image")
    os.mkfifo(folder / "pipe")
    (folder / "away").symlink_to("gone")
    candidates = list_candidates(tmp_path / "dogs").candidates
    taken = {one.file for one in candidates if not read_fully(one.file, one.size).fault}
    found = names(tmp_path / "dogs")
    assert [Path(name).name for name in found] == ["1", "b.dat", "c.gif", "d.webp"]
    assert set(found) == taken


def test_hidden_files_and_folders_are_left_out_but_not_when_named(tmp_path: Path) -> None:
    for name in [".hidden.jpg", ".dogbreed/s3/bucket/a.jpg", "._b.jpg", "seen.jpg"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(draw("JPEG"))
    assert names(tmp_path) == [str(tmp_path / "seen.jpg")]
    assert names(tmp_path / ".dogbreed") == [str(tmp_path / ".dogbreed/s3/bucket/a.jpg")]
    assert names(tmp_path / ".hidden.jpg") == [str(tmp_path / ".hidden.jpg")]


def test_a_folder_called_like_an_image_and_a_link_to_nowhere_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "folder.jpg" / "in.png").touch()
    (tmp_path / "nowhere.jpg").symlink_to("gone")
    assert names(tmp_path) == [str(tmp_path / "folder.jpg" / "in.png")]


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DogbreedError, match="no such file"):
        names(tmp_path / "dog.jpg")
    with pytest.raises(DogbreedError, match="a folder without images"):
        names(tmp_path)


def test_a_file_that_vanished_meanwhile_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "dog.jpg").touch()
    [picture] = open_source(str(tmp_path))
    (tmp_path / "dog.jpg").unlink()
    with pytest.raises(DogbreedError, match="cannot be read: No such file"):
        picture.read()


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    data = draw("PNG")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    [picture] = open_source("-")
    assert (picture.name, picture.read()) == ("-", (data, "image/png"))
    [again] = open_source("-")
    with pytest.raises(DogbreedError, match="an empty file"):
        again.read()


@pytest.mark.parametrize("data", [draw("PNG"), noise("PNG", 400)], ids=["small", "more than a pipe holds"])
def test_a_pipe_is_read_once(tmp_path: Path, data: bytes) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = Thread(target=pipe.write_bytes, args=(data,), daemon=True)
    writer.start()
    [picture] = open_source(str(pipe))
    writer.join()
    assert (picture.name, picture.read(), picture.read()) == (str(pipe), *[(data, "image/png")] * 2)


def test_so_is_a_descriptor_as_a_shell_gives_it(tmp_path: Path) -> None:
    end, other = os.pipe()
    os.write(other, draw("PNG"))
    os.close(other)
    [picture] = open_source(f"/dev/fd/{end}")
    os.close(end)
    assert picture.read() == (draw("PNG"), "image/png")


def test_of_a_device_without_an_end_no_more_is_read_than_of_a_file() -> None:
    [picture] = open_source("/dev/zero")
    with pytest.raises(DogbreedError, match="larger than 64 MB"):
        picture.read()


def test_what_cannot_be_opened_is_an_error_of_ours(tmp_path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as listening, chdir(tmp_path):
        listening.bind("a")  # by its short name: there are 108 bytes for it
        with pytest.raises(DogbreedError, match="cannot be read: "):
            names("a")
