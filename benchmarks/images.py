"""The pictures that everything here is measured on: real JPEGs, drawn once and kept in the work folder.

`photos` are as large as photographs of the dog-breed data set (500x375 to 1000x750 pixels, 60 to 150 kB), because most
of what a loader does is to decode. `shapes` are a harder set of 20 classes for accuracy.
"""

import io
import math
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from random import Random

from PIL import Image, ImageDraw

from dogbreed_cli.breeds import BREEDS, draw_dog

LEAST_BYTES, MOST_BYTES = 60_000, 150_000
WIDTHS = (500, 600, 700, 800, 900, 1000)
FORMS = ("disc", "square", "triangle", "cross", "ring")
COLOURS = ((190, 70, 60), (70, 150, 80), (70, 90, 190), (180, 160, 70))


def photos(folder, counts):
    """folder/<split>/<breed>/<number>.jpg, `counts` pictures a split, dealt out evenly over six breeds."""
    todo = []
    for split, count in counts.items():
        for number in range(count):
            breed = number % len(BREEDS)
            todo.append((folder / split / BREEDS[breed].name / f"{split}_{number:05}.jpg", breed))
    return draw_once(folder, save_photo, todo)


def save_photo(path, breed):
    random = Random(f"{path.parent.name}/{path.name}")
    width = random.choice(WIDTHS)
    picture = draw_dog(BREEDS[breed], random, (width, width * 3 // 4))
    wanted, files = random.uniform(LEAST_BYTES, MOST_BYTES), []
    for quality in (98, 96, 94, 91, 87, 80):
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality)
        files.append(file.getvalue())
    path.write_bytes(min(files, key=lambda content: abs(len(content) - wanted)))


def shapes(folder, counts):
    """folder/<split>/<NN.form-colour>/<number>.jpg, `counts` pictures of each of 20 classes a split."""
    todo = []
    for split, count in counts.items():
        for label in range(len(FORMS) * len(COLOURS)):
            form, colour = FORMS[label % len(FORMS)], label // len(FORMS)
            place = folder / split / f"{label:02}.{form}-{colour}"
            todo += [(place / f"{split}_{number:04}.jpg", (form, colour)) for number in range(count)]
    return draw_once(folder, save_shape, todo)


def save_shape(path, kind):
    """One form of one colour among grey clutter; place, size, turn and shade vary and say nothing of the class."""
    form, colour = kind
    random = Random(f"{path.parent.name}/{path.name}")
    picture = Image.new("RGB", (256, 192), tuple(random.randrange(80, 180) for _ in range(3)))
    pen = ImageDraw.Draw(picture)
    for _ in range(12):
        x, y, grey = random.randrange(256), random.randrange(192), random.randrange(60, 200)
        pen.line((x, y, random.randrange(256), random.randrange(192)), fill=(grey, grey, grey), width=3)
    fill = tuple(max(0, min(255, level + random.randrange(-35, 36))) for level in COLOURS[colour])
    x, y, r = random.uniform(90, 166), random.uniform(80, 112), random.uniform(45, 75)
    draw_form(pen, form, x, y, r, random.uniform(-0.3, 0.3), fill)
    noise = Image.frombytes("L", picture.size, random.randbytes(256 * 192)).convert("RGB")
    Image.blend(picture, noise, 0.12).save(path, quality=92)


def draw_form(pen, form, x, y, r, turn, fill):
    def corners(count, radius, start=0.0):
        angles = [turn + start + 2 * math.pi * i / count for i in range(count)]
        return [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles]

    if form == "disc":
        pen.ellipse((x - r, y - r, x + r, y + r), fill=fill)
    elif form == "ring":
        pen.ellipse((x - r, y - r, x + r, y + r), outline=fill, width=round(r / 3))
    elif form == "cross":
        for a, b in ((0, 2), (1, 3)):
            ends = corners(4, r)
            pen.line((ends[a], ends[b]), fill=fill, width=round(r / 2))
    else:
        pen.polygon(corners(3 if form == "triangle" else 4, r), fill=fill)


def draw_once(folder, save, todo):
    """All of `todo` in as many processes as there are cores; nothing where an earlier run drew just these."""
    complete, wanted = folder / ".complete", f"{len(todo)}\n"
    if not complete.exists() or complete.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        for place in {path.parent for path, _ in todo}:
            place.mkdir(parents=True)
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(save, *zip(*todo, strict=True), chunksize=16))
        complete.write_text(wanted)
    return folder


def subset(source, folder, counts):
    """Links to the first pictures of each split, dealt over the classes as they are in the source."""
    for split, count in counts.items():
        files = sorted((source / split).rglob("*.jpg"), key=lambda path: path.name)[:count]
        link(files, source / split, folder / split)
    return folder


def repeated(source, folder, count):
    """One split of `count` pictures, those of `source` over and over under other names."""
    files = sorted(source.rglob("*.jpg"), key=lambda path: path.name)  # class after class in turn
    for number in range(count):
        path = files[number % len(files)]
        target = folder / path.parent.name / f"{number:06}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            os.link(path, target)
    return folder


def link(files, source, folder):
    for path in files:
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            os.link(path, target)


def count(folder):
    return sum(1 for _ in Path(folder).rglob("*.jpg"))
