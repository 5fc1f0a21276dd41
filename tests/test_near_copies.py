"""Perceptual hashes: the same picture again in another size, quality or format is found, another picture is not."""

import io
import itertools
import shutil
from pathlib import Path
from random import Random

import numpy
import pytest
from drawn_images import draw, find
from PIL import Image, ImageEnhance

from dogbreed_cli.breeds import draw_breeds
from dogbreed_cli.image_files import ImageFile
from dogbreed_cli.image_findings import NEAR_BITS, cluster_by_look
from dogbreed_cli.image_reading import read, see
from dogbreed_cli.images import scan


@pytest.fixture(scope="module")
def dogs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("near")
    draw_breeds(folder, seed=1, counts={"train": 12, "valid": 2, "test": 2}, size=(320, 240))
    return folder


def look(picture: Image.Image) -> int:
    return int(see(picture), 16)


def recompress(picture: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file)


ALIKE = {
    "smaller": lambda picture: picture.resize((160, 120)),
    "larger": lambda picture: picture.resize((640, 480)),
    "quality 40": lambda picture: recompress(picture, 40),
    "smaller and quality 60": lambda picture: recompress(picture.resize((200, 150)), 60),
    "grey": lambda picture: picture.convert("L"),
    "palette": lambda picture: picture.quantize(256),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.1),
    "16 bits": lambda picture: Image.fromarray(numpy.asarray(picture.convert("L")).astype("uint16") * 257),
}


@pytest.mark.parametrize("change", ALIKE)
def test_the_same_picture_is_near(dogs, change):
    for path in sorted(dogs.glob("train/*/*_00001.jpg")):
        with Image.open(path) as picture:
            assert (look(picture) ^ look(ALIKE[change](picture))).bit_count() <= NEAR_BITS, path


def test_different_pictures_are_not(dogs):
    looks = [int(read(str(path), 0).look, 16) for path in sorted(dogs.rglob("*.jpg"))]
    assert min((a ^ b).bit_count() for a, b in itertools.combinations(looks, 2)) > NEAR_BITS


def test_exif_rotation_is_undone(dogs, tmp_path):
    with Image.open(next(dogs.glob("train/*/*_00002.jpg"))) as picture:
        exif = Image.Exif()
        exif[0x0112] = 6  # stored lying on its side
        picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "rotated.jpg", exif=exif, quality=90)
        rotated = read(str(tmp_path / "rotated.jpg"), 0)
        assert (int(rotated.look, 16) ^ look(picture)).bit_count() <= NEAR_BITS
        assert (rotated.width, rotated.height) == (240, 320)


def test_one_colour_looks_like_nothing(tmp_path):
    for colour in ("red", "blue", "black", "white"):
        assert see(Image.new("RGB", (64, 64), colour)) == ""


def image_of(name: str, look: int) -> ImageFile:
    return ImageFile("train", "a", name, f"/a/{name}", 1, name, "JPEG", 64, 64, look)


def test_clusters_are_those_of_a_comparison_of_all_with_all():
    random = Random(4)
    seeds = [random.getrandbits(256) for _ in range(40)]
    images = []
    for n in range(400):
        flipped = sum(1 << bit for bit in random.sample(range(256), random.randrange(NEAR_BITS + 1)))
        images.append(image_of(f"{n:032x}", seeds[n] if n < 40 else random.choice(seeds) ^ flipped))
    clusters = cluster_by_look(images)
    assert len(clusters) == 40 and sum(map(len, clusters)) == 400
    assert all((a.look ^ b.look).bit_count() <= 2 * NEAR_BITS for one in clusters for a in one for b in one)
    assert len(cluster_by_look([image_of(f"{n:032x}", 0) for n in range(5)])) == 5  # nothing to see


def shrink(path: Path, to: Path) -> None:
    with Image.open(path) as picture:
        picture.resize((200, 150)).save(to, quality=85)


def test_findings_within_and_across_splits(dogs, tmp_path):
    own = shutil.copytree(dogs, tmp_path / "dogs")
    shrink(own / "train/016.Beagle/Beagle_00001.jpg", own / "train/016.Beagle/again.jpg")
    shrink(own / "train/124.Poodle/Poodle_00002.jpg", own / "test/124.Poodle/seen.jpg")
    folder = scan(own)
    assert find(folder, "near-duplicate") == ("train/016.Beagle/Beagle_00001.jpg", "train/016.Beagle/again.jpg")
    assert find(folder, "near-leak") == ("test/124.Poodle/seen.jpg", "train/124.Poodle/Poodle_00002.jpg")
    assert {finding.kind: finding.severity for finding in folder.findings} == {
        "near-duplicate": "info",
        "near-leak": "warning",
    }


def test_a_split_made_here_keeps_look_alikes_together(dogs, tmp_path):
    flat = shutil.copytree(dogs / "train", tmp_path / "flat")
    for path in sorted(flat.rglob("*.jpg")):
        shrink(path, path.with_name(f"small-{path.name}"))
    assert {finding.kind for finding in scan(flat).findings} == {"near-duplicate"}


def test_names_that_differ_in_case_only(tmp_path):
    for n, name in enumerate(("ant/A.png", "ant/a.png", "ant/b.png", "Bee/1.png", "bee/2.png")):
        draw(tmp_path / name, n)
    found = [finding for finding in scan(tmp_path).findings if finding.kind == "case"]
    assert [finding.files for finding in found] == [("ant/A.png", "ant/a.png"), ()]
    assert found[1].message.endswith("Bee, bee.") and {finding.severity for finding in found} == {"warning"}
