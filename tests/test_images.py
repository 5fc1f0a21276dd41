"""images.py on real files: what is read, what is found, how it is split, what the fingerprint stands for."""

import hashlib
import os
import shutil
import struct
import zlib
from pathlib import Path

import pytest
from drawn_images import draw, find, to_png
from PIL import Image

from dogbreed_cli.breeds import BREEDS, draw_breeds
from dogbreed_cli.errors import UsageError
from dogbreed_cli.image_files import Progress
from dogbreed_cli.images import ImageFolder, scan

SIZE = (64, 64)


def draw_flat(folder: Path, per_class: int, classes=("ant", "bee")) -> Path:
    for n, label in enumerate(classes):
        for i in range(per_class):
            draw(folder / label / f"{i:03}.png", 1000 * n + i)
    return folder


@pytest.fixture(scope="session")
def dogs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dogs")
    draw_breeds(folder, seed=1, counts={"train": 5, "valid": 2, "test": 2}, size=SIZE)
    return folder


@pytest.fixture
def own_dogs(dogs, tmp_path) -> Path:
    return shutil.copytree(dogs, tmp_path / "dogs")


def split_of(folder: ImageFolder) -> dict[str, str]:
    return {f"{image.label}/{image.name}": image.split for image in folder.images}


def test_clean_folder(dogs):
    seen: list[Progress] = []
    folder = scan(dogs, on_progress=seen.append)
    assert folder.counts == {"train": 30, "valid": 12, "test": 12}
    assert folder.classes == tuple(sorted(breed.name for breed in BREEDS))
    assert folder.class_counts["016.Beagle"] == {"train": 5, "valid": 2, "test": 2}
    assert folder.findings == () and folder.ignored == 0
    image = folder.images[0]
    assert image.key == "test/005.Alaskan_malamute/Alaskan_malamute_00008.jpg"
    assert (image.format, image.content_type, image.width, image.height) == ("JPEG", "image/jpeg", *SIZE)
    assert image.md5 == hashlib.md5(image.path.read_bytes()).hexdigest() and image.size == image.path.stat().st_size
    assert [image.key for image in folder.images] == sorted(image.key for image in folder.images)
    assert seen[-1] == Progress(54, folder.size, 54, folder.size)


def test_broken_files_are_left_out_and_named(own_dogs):
    beagles = own_dogs / "train/016.Beagle"
    whole = (beagles / "Beagle_00001.jpg").read_bytes()
    (beagles / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (beagles / "cut.png").write_bytes(draw(own_dogs.parent / "whole.png", 7).read_bytes()[:-400])
    web = draw(own_dogs.parent / "whole.webp", 8).read_bytes()
    (beagles / "cut.webp").write_bytes(web[:-1])
    (beagles / "spoilt.webp").write_bytes(web[:12] + bytes(len(web) - 12))
    spoilt = bytearray(draw(own_dogs.parent / "whole.png", 9).read_bytes())
    spoilt[len(spoilt) // 2] ^= 255
    (beagles / "spoilt.png").write_bytes(spoilt)
    (beagles / "zero.jpg").touch()
    (beagles / "text.jpg").write_text("no picture")
    Image.new("RGB", SIZE).save(beagles / "old.gif")
    (beagles / "gone.jpg").symlink_to("nowhere")
    os.mkfifo(beagles / "pipe.jpg")
    folder = scan(own_dogs)
    assert folder.counts["train"] == 30
    assert find(folder, "truncated") == tuple(f"train/016.Beagle/cut.{suffix}" for suffix in ("jpg", "png", "webp"))
    assert find(folder, "empty") == ("train/016.Beagle/zero.jpg",)
    names = ("gone.jpg", "old.gif", "spoilt.png", "spoilt.webp", "text.jpg")
    assert find(folder, "unreadable") == tuple(f"train/016.Beagle/{name}" for name in names)
    assert all(finding.severity == "warning" for finding in folder.findings)


def test_copies_within_a_class_are_no_others(own_dogs):
    first = own_dogs / "train/016.Beagle/Beagle_00001.jpg"
    for name in ("train/016.Beagle/again.jpg", "test/124.Poodle/elsewhere.jpg"):
        shutil.copy(first, own_dogs / name)
    folder = scan(own_dogs)
    assert find(folder, "duplicate") == ("train/016.Beagle/Beagle_00001.jpg", "train/016.Beagle/again.jpg")
    assert len(find(folder, "label-conflict")) == len(find(folder, "leak")) == 3


def test_names_that_are_no_text_become_text(own_dogs):
    """The keys of S3 are UTF-8, whatever a file system allows."""
    beagles = own_dogs / "train/016.Beagle"
    odd = [draw(beagles / os.fsdecode(name), shade) for shade, name in enumerate((b"odd\xfe.jpg", b"odd\xff.jpg"))]
    names = {image.path: image.name for image in scan(own_dogs).images}
    assert [names[path] for path in odd] == ["odd_.jpg", "odd___2.jpg"]
    (own_dogs / "train" / os.fsdecode(b"odd\xff")).mkdir()
    with pytest.raises(UsageError, match="not UTF-8"):
        scan(own_dogs)


def test_odd_images_are_kept(own_dogs):
    beagles = own_dogs / "train/016.Beagle"
    draw(beagles / "cmyk.jpg", 1, mode="CMYK")
    draw(beagles / "web.webp", 2)
    draw(beagles / "small.png", 3, size=(31, 200))
    draw(beagles / "png-in-truth.jpg", 4, format="PNG")
    draw(beagles / "no-suffix", 5, format="JPEG")
    draw(beagles / "16-bits.png", 6, mode="I;16")
    draw(beagles / "palette.png", 7).write_bytes(to_png(Image.open(beagles / "palette.png").quantize(16)))
    draw(beagles / "alpha.png", 8, mode="RGBA")
    frames = [Image.open(draw(own_dogs.parent / f"{n}.png", n)) for n in (9, 10)]
    frames[0].save(beagles / "animated.webp", save_all=True, append_images=frames[1:])
    exif = Image.Exif()
    exif[0x0112] = 6
    draw(beagles / "rotated.jpg", 11, exif=exif)
    folder = scan(own_dogs)
    assert folder.counts["train"] == 40
    for kind in ("cmyk", "palette", "16-bit", "rotated"):
        (name,) = find(folder, kind)
        assert Path(name).stem == ("16-bits" if kind == "16-bit" else kind)
    assert find(folder, "animated") == ("train/016.Beagle/animated.webp",)
    assert find(folder, "tiny") == ("train/016.Beagle/small.png",)
    assert find(folder, "wrong-extension") == ("train/016.Beagle/no-suffix", "train/016.Beagle/png-in-truth.jpg")
    types = {image.name: image.content_type for image in folder.images}
    (named,) = (name for name in types if name.startswith("no-suffix"))
    assert named.endswith(".jpeg") and types[named] == "image/jpeg"  # training takes it for an image by its name
    assert types["png-in-truth.jpg"] == "image/png" and types["web.webp"] == "image/webp"


def test_bombs_are_left_out_without_being_decoded(own_dogs):
    small = draw(own_dogs.parent / "small.png", 1).read_bytes()
    for name, side in (("bomb", 12_000), ("worse", 60_000)):  # Pillow warns of one and refuses the other
        header = b"IHDR" + struct.pack(">II", side, side) + small[24:29]
        bomb = small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:]
        (own_dogs / f"train/016.Beagle/{name}.png").write_bytes(bomb)
    assert find(scan(own_dogs), "too-large") == ("train/016.Beagle/bomb.png", "train/016.Beagle/worse.png")


def test_copies_within_and_across_splits(own_dogs):
    train = own_dogs / "train"
    shutil.copy(train / "016.Beagle/Beagle_00001.jpg", train / "016.Beagle/again.jpg")
    shutil.copy(train / "124.Poodle/Poodle_00002.jpg", own_dogs / "test/124.Poodle/seen.jpg")
    shutil.copy(train / "057.Dalmatian/Dalmatian_00003.jpg", train / "124.Poodle/no-poodle.jpg")
    folder = scan(own_dogs)
    assert find(folder, "duplicate") == ("train/016.Beagle/Beagle_00001.jpg", "train/016.Beagle/again.jpg")
    assert find(folder, "leak") == ("test/124.Poodle/seen.jpg", "train/124.Poodle/Poodle_00002.jpg")
    assert find(folder, "label-conflict") == (
        "train/057.Dalmatian/Dalmatian_00003.jpg",
        "train/124.Poodle/no-poodle.jpg",
    )


def test_hidden_and_foreign_files_are_ignored_but_counted(own_dogs):
    for name in ("train/.DS_Store", "train/016.Beagle/._x.jpg", "__MACOSX/train/a.jpg", "Thumbs.db"):
        (own_dogs / name).parent.mkdir(parents=True, exist_ok=True)
        (own_dogs / name).write_bytes(b"litter")
    (own_dogs / "README.md").write_text("dogs")
    (own_dogs / "train/016.Beagle/notes.txt").write_text("good dog")
    draw(own_dogs / "train/loose.png", 1)
    folder = scan(own_dogs)
    assert folder.counts["train"] == 30 and folder.ignored == 6
    assert find(folder, "foreign") == ("README.md", "train/016.Beagle/notes.txt")
    hidden = ("Thumbs.db", "__MACOSX/train/a.jpg", "train/.DS_Store", "train/016.Beagle/._x.jpg")
    assert find(folder, "hidden") == hidden
    assert find(folder, "misplaced") == ("train/loose.png",)


def test_gaps_between_splits_and_classes(own_dogs):
    shutil.rmtree(own_dogs / "valid/016.Beagle")
    shutil.rmtree(own_dogs / "train/124.Poodle")
    for n in range(56):
        draw(own_dogs / f"train/057.Dalmatian/more{n}.png", n)
    folder = scan(own_dogs)
    messages = {finding.kind: finding.message for finding in folder.findings}
    assert "124.Poodle" not in folder.classes and len(find(folder, "not-in-train")) == 4
    assert messages["missing-class"] == "Classes without an image in valid: 016.Beagle."
    assert messages["imbalance"] == "057.Dalmatian has 61 images to learn from, 005.Alaskan_malamute 5."


@pytest.mark.parametrize("name", ["val", "validation", "Valid"])
def test_names_of_valid(own_dogs, name):
    (own_dogs / "valid").rename(own_dogs / name)
    assert scan(own_dogs).counts == {"train": 30, "valid": 12, "test": 12}


def test_missing_valid_is_taken_from_train_and_test_stays(own_dogs):
    shutil.rmtree(own_dogs / "valid")
    folder = scan(own_dogs, valid_fraction=0.4, test_fraction=0.5)
    assert folder.counts == {"train": 18, "valid": 12, "test": 12}
    assert all(image.path.parts[-3] == "train" for image in folder.images if image.split == "valid")


def test_missing_test_stays_missing(own_dogs):
    shutil.rmtree(own_dogs / "test")
    folder = scan(own_dogs)
    assert folder.counts == {"train": 30, "valid": 12, "test": 0}
    assert [(finding.kind, finding.severity) for finding in folder.findings] == [("missing-split", "info")]


def test_one_folder_around_all_is_looked_through(dogs, tmp_path):
    shutil.copytree(dogs, tmp_path / "unzipped/dogImages")
    assert scan(tmp_path / "unzipped").fingerprint == scan(dogs).fingerprint


def test_flat_folder_is_split_by_class_and_seed(tmp_path):
    folder = scan(draw_flat(tmp_path, 20), seed=3)
    assert set(map(str, folder.class_counts.values())) == {"{'train': 14, 'valid': 3, 'test': 3}"}
    assert split_of(scan(tmp_path, seed=3)) == split_of(folder) != split_of(scan(tmp_path, seed=4))
    assert folder.findings == ()


def test_split_hardly_moves_when_files_are_added(tmp_path):
    before = split_of(scan(draw_flat(tmp_path, 40), seed=0))
    for n in range(4):
        draw(tmp_path / "ant" / f"added{n}.png", 5000 + n)
    after = split_of(scan(tmp_path, seed=0))
    assert sum(before[name] != after[name] for name in before) <= 8  # at most one at each border for each added file
    assert all(before[name] == after[name] for name in before if name.startswith("bee/"))


@pytest.mark.parametrize("per_class, expected", [(1, (1, 0, 0)), (2, (2, 0, 0)), (3, (1, 1, 1)), (4, (1, 2, 1))])
def test_small_classes(tmp_path, per_class, expected):
    folder = scan(draw_flat(tmp_path, per_class), valid_fraction=0.45, test_fraction=0.2)
    assert tuple(folder.class_counts["ant"].values()) == expected


def test_copies_of_a_picture_stay_in_one_split(tmp_path):
    draw_flat(tmp_path, 12)
    for path in sorted((tmp_path / "ant").iterdir()):
        shutil.copy(path, path.with_name(f"copy-{path.name}"))
    assert {finding.kind for finding in scan(tmp_path).findings} == {"duplicate"}


def test_nested_files_of_one_name(tmp_path):
    draw_flat(tmp_path, 3)
    draw(tmp_path / "ant/a/000.png", 100)
    draw(tmp_path / "ant/b/000.png", 101)
    draw(tmp_path / "ant/a__000.png", 102)
    folder = scan(tmp_path)
    names = {image.name: image.path.relative_to(tmp_path).as_posix() for image in folder.images if image.label == "ant"}
    assert names["000.png"] == "ant/000.png" and names["b__000.png"] == "ant/b/000.png"
    assert names["a__000.png"] == "ant/a__000.png" and names["a__000__2.png"] == "ant/a/000.png"


def test_fingerprint_stands_for_content_not_for_place_or_time(dogs, own_dogs):
    original = scan(dogs).fingerprint
    poodle = own_dogs / "train/124.Poodle/Poodle_00001.jpg"
    os.utime(poodle, (0, 0))
    assert scan(own_dogs, max_workers=1).fingerprint == original
    poodle.rename(poodle.with_name("renamed.jpg"))
    renamed = scan(own_dogs).fingerprint
    draw(poodle.with_name("renamed.jpg"), 1)
    assert len({original, renamed, scan(own_dogs).fingerprint}) == 3


@pytest.mark.parametrize(
    "make, what",
    [
        (lambda folder: None, "no readable image"),
        (lambda folder: shutil.rmtree(folder), "no folder"),
        (lambda folder: draw(folder / "only/one.png", 1), "at least two classes"),
        (lambda folder: draw(folder / "test/a/one.png", 1) and draw(folder / "val/a/one.png", 1), "no train"),
        (lambda folder: [draw(folder / s / "a/1.png", 1) for s in ("train", "val", "valid")], "two folders"),
    ],
)
def test_nothing_to_train_on(tmp_path, make, what):
    folder = tmp_path / "images"
    folder.mkdir()
    make(folder)
    with pytest.raises(UsageError, match=what) as caught:
        scan(folder)
    assert caught.value.fix and caught.value.exit_code == 2


def test_impossible_fractions(dogs):
    with pytest.raises(UsageError, match="nothing to train on"):
        scan(dogs, valid_fraction=0.5, test_fraction=0.5)


def test_breeds_are_the_same_for_a_seed_and_differ_otherwise(tmp_path):
    counts = {"train": 2, "test": 1}
    fingerprints = set()
    for n, seed in enumerate((5, 5, 6)):
        paths = draw_breeds(tmp_path / str(n), seed=seed, counts=counts, size=SIZE)
        assert len(paths) == 18 and paths[0].relative_to(tmp_path / str(n)).as_posix() == (
            "train/005.Alaskan_malamute/Alaskan_malamute_00001.jpg"
        )
        fingerprints.add(scan(tmp_path / str(n), valid_fraction=0.1).fingerprint)
    assert len(fingerprints) == 2
