"""What an endpoint answers: pictures of every kind as training sees them, lists, CSV, refusals; and many at once."""

from __future__ import annotations

import base64
import csv
import io
import json
import random
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from answering_endpoint import Endpoint, make_model, serve_model
from entrypoint_runs import COLOURS, draw
from PIL import Image, ImageDraw

Predictions = dict[str, dict[str, float]]
PNG = b"\x89PNG\r\n\x1a\n"


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    image.save(file := io.BytesIO(), kind, **options)
    return file.getvalue()


def clear(image: Image.Image) -> Image.Image:
    """The left third shows the background, whose colour is hidden."""
    alpha = Image.new("L", image.size, 255)
    ImageDraw.Draw(alpha).rectangle((0, 0, image.width // 3, image.height), fill=0)
    image.putalpha(alpha)
    return image


def turned(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side; to be turned by 90 degrees
    return encoded(image.rotate(90, expand=True), "JPEG", quality=95, exif=exif)


def wide(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


KINDS: dict[str, Callable[[Image.Image], bytes]] = {
    "plain.jpg": lambda image: encoded(image, "JPEG", quality=90),
    "progressive.jpg": lambda image: encoded(image, "JPEG", quality=90, progressive=True),
    "grey.jpg": lambda image: encoded(image.convert("L"), "JPEG"),
    "cmyk.jpg": lambda image: encoded(image.convert("CMYK"), "JPEG", quality=95),
    "turned.jpg": turned,
    "alpha.png": lambda image: encoded(clear(image), "PNG"),
    "grey-alpha.png": lambda image: encoded(clear(image.convert("L")), "PNG"),
    "palette.png": lambda image: encoded(image.quantize(32), "PNG", transparency=0),
    "wide.png": lambda image: encoded(wide(image), "PNG"),
    "bilevel.png": lambda image: encoded(image.convert("1"), "PNG"),
    "lossless.webp": lambda image: encoded(clear(image), "WEBP", lossless=True),
    "palette.gif": lambda image: encoded(image, "GIF"),
    "plain.bmp": lambda image: encoded(image, "BMP"),
    "strip.png": lambda image: encoded(image.resize((900, 20)), "PNG"),
    "dot.png": lambda image: encoded(image.resize((1, 1)), "PNG"),
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A channel with a picture of each kind, of each class in turn."""
    folder, rng = tmp_path_factory.mktemp("pictures"), random.Random(0)
    for number, (name, save) in enumerate(KINDS.items()):
        label = list(COLOURS)[number % len(COLOURS)]
        (folder / label).mkdir(exist_ok=True)
        (folder / label / name).write_bytes(save(draw(rng, label)))
    return folder


@pytest.fixture(scope="module")
def wanted(image_python: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Predictions]:
    """The folder with model/ in it, and the probabilities by the path of each picture."""
    folder = tmp_path_factory.mktemp("endpoint")
    return folder, make_model(image_python, folder / "model", pictures)


@pytest.fixture(scope="module")
def endpoint(warm_python: Path, wanted: tuple[Path, Predictions]) -> Iterator[Endpoint]:
    with serve_model(warm_python, wanted[0]) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def jpeg(pictures: Path) -> bytes:
    return next(pictures.rglob("plain.jpg")).read_bytes()


def as_list(*images: bytes) -> bytes:
    return json.dumps([base64.b64encode(image).decode() for image in images]).encode()


# ---- what is answered


def test_the_model_tells_the_pictures_apart(wanted: tuple[Path, Predictions]) -> None:
    found = [tuple(answer.values()) for answer in wanted[1].values()]
    assert len(set(found)) == len(KINDS)
    assert max(abs(a - b) for a, b in zip(found[0], found[1], strict=True)) > 0.01


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_picture_is_seen_as_in_training(
    endpoint: Endpoint, pictures: Path, wanted: tuple[Path, Predictions], name: str
) -> None:
    path = next(pictures.rglob(name))
    found = endpoint.invoke(path.read_bytes(), "application/x-image").predictions
    expected = wanted[1][str(path.relative_to(pictures))]
    assert {one["label"]: one["probability"] for one in found} == pytest.approx(expected, abs=1e-4)
    values = [one["probability"] for one in found]
    assert values == sorted(values, reverse=True)


def test_a_list_is_answered_in_its_order(endpoint: Endpoint, pictures: Path) -> None:
    images = [path.read_bytes() for path in sorted(pictures.glob("*/*"))]
    single = [endpoint.invoke(image, "application/x-image").predictions for image in images]
    for body in (as_list(*images), b'{"images": ' + as_list(*images) + b"}"):
        answers = json.loads(endpoint.invoke(body, "application/json; charset=utf-8").body)["answers"]
        assert len(answers) == len(images)
        for answer, alone in zip(answers, single, strict=True):
            assert [one["label"] for one in answer["predictions"]] == [one["label"] for one in alone]
            found, expected = ([one["probability"] for one in each] for each in (answer["predictions"], alone))
            assert found == pytest.approx(expected, abs=1e-4)


def test_csv_says_the_same(endpoint: Endpoint, jpeg: bytes) -> None:
    answer = endpoint.invoke(jpeg, Accept="text/csv")
    assert answer.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    expected = endpoint.invoke(jpeg).predictions
    assert [(row["image"], row["label"]) for row in rows] == [("0", one["label"]) for one in expected]
    assert [float(row["probability"]) for row in rows] == [one["probability"] for one in expected]
    listed = endpoint.invoke(as_list(jpeg, jpeg), "application/json", Accept="text/csv").text.splitlines()
    assert [line.partition(",")[0] for line in listed] == ["image", *"0000", *"1111"]


@pytest.mark.parametrize(
    ("headers", "count"),
    [
        ({"X_Amzn_SageMaker_Custom_Attributes": "a=b, top_k=2"}, 2),
        ({"x_amzn_sagemaker_custom_attributes": "top_k=1"}, 1),
        ({"X_Amzn_SageMaker_Custom_Attributes": "top_k=99"}, 4),
        ({"Accept": "text/html, application/json;q=0.5"}, 4),
    ],
)
def test_headers(endpoint: Endpoint, jpeg: bytes, headers: dict[str, str], count: int) -> None:
    assert len(endpoint.invoke(jpeg, **headers).predictions) == count


# ---- what is refused


def bomb() -> bytes:
    """A PNG of 20,000 x 20,000 black pixels in a few kilobytes: its header alone is to be read."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    return PNG + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("body", "content_type", "headers", "status", "said"),
    [
        (lambda jpeg: jpeg, "text/plain", {}, 415, "content type 'text/plain' is not supported: send image/jpeg"),
        (lambda jpeg: jpeg, None, {}, 415, "content type '' is not supported"),
        (lambda jpeg: b"a dog", "image/jpeg", {}, 400, "the request's body is not a readable image: its format is unk"),
        (lambda jpeg: b"", "image/png", {}, 400, "not a readable image"),
        (lambda jpeg: b"%!PS-Adobe-3.0 EPSF-3.0\n", "application/x-image", {}, 400, "its format is unknown"),
        (lambda jpeg: jpeg[: len(jpeg) // 2], "image/jpeg", {}, 400, "not a readable image: "),
        (lambda jpeg: bomb(), "image/png", {}, 400, "could be decompression bomb"),
        (lambda jpeg: jpeg + bytes(6_291_457), "image/jpeg", {}, 413, "more than 6291456"),
        (lambda jpeg: jpeg + bytes(20_000_000), "image/jpeg", {}, 413, "more than 6291456"),
        (lambda jpeg: as_list(*[jpeg] * 65), "application/json", {}, 413, "65 images, more than 64"),
        (lambda jpeg: as_list(jpeg, b"a dog"), "application/json", {}, 400, "image 2 of 2 is not a readable image"),
        (lambda jpeg: b"[", "application/json", {}, 400, "not JSON"),
        (lambda jpeg: b"\xff\xfe[]", "application/json", {}, 400, "not JSON"),
        (lambda jpeg: b"[" * 100_000, "application/json", {}, 400, "not JSON"),
        (lambda jpeg: b"[]", "application/json", {}, 400, "a list of images in base64"),
        (lambda jpeg: b'{"images": "dog"}', "application/json", {}, 400, "a list of images in base64"),
        (lambda jpeg: b'["", "a dog"]', "application/json", {}, 400, "image 2 of 2 is not base64"),
        (lambda jpeg: jpeg, "image/jpeg", {"Accept": "text/html"}, 406, "only application/json and text/csv"),
        (lambda jpeg: jpeg, "image/jpeg", {"X_Amzn_SageMaker_Custom_Attributes": "top_k=0"}, 400, "not '0'"),
        (lambda jpeg: jpeg, "image/jpeg", {"X_Amzn_SageMaker_Custom_Attributes": "top_k=" + "9" * 9000}, 400, "top_k"),
    ],
)  # fmt: skip
def test_a_refusal_is_one_line_with_the_reason(
    endpoint: Endpoint,
    jpeg: bytes,
    body: Callable[[bytes], bytes],
    content_type: str | None,
    headers: dict[str, str],
    status: int,
    said: str,
) -> None:
    refused = endpoint.invoke(body(jpeg), content_type, **headers)
    assert (refused.status, said in refused.text) == (status, True), (refused.status, refused.text)
    assert len(refused.text.splitlines()) == 1
    assert len(refused.text) < 500
    assert len(endpoint.invoke(jpeg).predictions) == 4


# ---- many at once


def test_many_clients_get_their_own_answers(
    endpoint: Endpoint, pictures: Path, wanted: tuple[Path, Predictions]
) -> None:
    """Pictures that went through the network together are not mixed up, nor are headers or refusals."""
    paths = sorted(pictures.glob("*/*"))
    wrong: list[object] = []

    def client(number: int) -> None:
        mine = Endpoint(endpoint.process, endpoint.port)
        for turn in range(20):
            path = paths[(number + turn) % len(paths)]
            if turn % 5 == 4:
                answer = mine.invoke(b"a dog")
                if answer.status != 400:
                    wrong.append(answer)
                continue
            top_k = 1 + (number + turn) % 4
            attributes = {"X_Amzn_SageMaker_Custom_Attributes": f"top_k={top_k}"}
            found = mine.invoke(path.read_bytes(), "application/x-image", **attributes).predictions
            expected = wanted[1][str(path.relative_to(pictures))]
            right = all(one["probability"] == pytest.approx(expected[one["label"]], abs=1e-4) for one in found)
            if len(found) != top_k or not right:
                wrong.append((path.name, found, expected))
        assert mine.connection
        mine.connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert not wrong
    assert not any("Traceback" in line for line in endpoint.lines)


def test_it_says_what_it_serves_with(endpoint: Endpoint) -> None:
    assert "serving with openvino f32, 1 threads\n" in endpoint.lines
