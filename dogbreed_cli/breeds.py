"""Draw small data sets of cartoon dogs, laid out and named as the dog-breed data set is: for the demo and the tests.

    draw_breeds(Path("dogs"), seed=0, counts={"train": 8, "valid": 2, "test": 2}, size=(320, 240))

What tells the breeds apart is coat, markings, ears, tail and build. Pose, size, place, shade and background vary from
picture to picture and say nothing about the breed.
"""

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from dogbreed_cli.cartoon_dog import WHITE, Breed, CartoonDog, Colour, shade, vary

if TYPE_CHECKING:
    from PIL import Image

COUNTS = {"train": 8, "valid": 3, "test": 3}  # pictures of each breed


BREEDS = (
    Breed("005.Alaskan_malamute", ((92, 98, 110), (70, 72, 80), (120, 118, 122)), "pointed", "curled", depth=0.25,
          leg_width=0.13, head=0.25, muzzle=0.14),
    Breed("016.Beagle", ((196, 124, 62), (184, 108, 52)), "floppy", "thin", legs=0.31, length=0.42),
    Breed("056.Dachshund", ((138, 66, 34), (112, 52, 30), (160, 84, 40)), "long", "thin", length=0.68, depth=0.17,
          legs=0.14, head=0.19, muzzle=0.21),
    Breed("057.Dalmatian", (WHITE, (250, 250, 250)), "floppy", "thin", legs=0.47, depth=0.19, leg_width=0.085,
          head=0.20),
    Breed("076.Golden_retriever", ((226, 172, 84), (214, 152, 66), (238, 196, 120)), "floppy", "feathered", depth=0.24,
          leg_width=0.12),
    Breed("124.Poodle", ((240, 226, 208), (206, 160, 128), (178, 176, 184)), "curly", "pompom", legs=0.47, length=0.36,
          depth=0.16, leg_width=0.065, head=0.17, muzzle=0.15),
)  # fmt: skip


def draw_breeds(
    folder: Path, *, seed: int = 0, counts: Mapping[str, int] | None = None, size: tuple[int, int] = (320, 240)
) -> tuple[Path, ...]:
    """Write JPEGs as folder/<split>/<NNN.Breed>/<Breed>_<NNNNN>.jpg; gives their paths.

    `counts` are pictures of each breed per split, `size` is width and height in pixels. The same seed draws the same
    pictures, and each depends on nothing but seed, breed, number and size.
    """
    paths = []
    for breed in BREEDS:
        number = 0
        for split, count in (COUNTS if counts is None else counts).items():
            place = folder / split / breed.name
            place.mkdir(parents=True, exist_ok=True)
            for _ in range(count):
                number += 1
                path = place / f"{breed.name.partition('.')[2]}_{number:05}.jpg"
                draw_dog(breed, Random(f"{seed}/{breed.name}/{number}"), size).save(path, quality=90)
                paths.append(path)
    return tuple(paths)


def draw_dog(breed: Breed, random: Random, size: tuple[int, int]) -> "Image.Image":
    """One RGB picture of `size` pixels (width, height)."""
    from PIL import Image

    fine = 2  # drawn larger and reduced, for smooth edges
    width, height = size[0] * fine, size[1] * fine
    picture = Image.new("RGB", (width, height))
    _draw_background(picture, random)

    CartoonDog(breed, random, picture).draw()
    picture = picture.reduce(fine)
    light = random.uniform(0.86, 1.08)
    picture = picture.point([min(255, int(level * light)) for level in range(256)] * 3)
    noise = Image.frombytes("L", size, random.randbytes(size[0] * size[1])).convert("RGB")
    return Image.blend(picture, noise, random.uniform(0.02, 0.07))


def _draw_background(picture: "Image.Image", random: Random) -> None:
    """Meadow, beach, snow, room, street or plain paper, with a thing or two in it."""
    from PIL import Image, ImageDraw

    width, height = picture.size
    above, below = random.choice(_SCENES)
    above, below = vary(above, random, 22), vary(below, random, 22)
    horizon = int(height * random.uniform(0.5, 0.78))
    sky = Image.linear_gradient("L").resize((width, horizon))
    picture.paste(
        Image.composite(Image.new("RGB", sky.size, shade(above, 1.18)), Image.new("RGB", sky.size, above), sky)
    )
    picture.paste(below, (0, horizon, width, height))
    draw = ImageDraw.Draw(picture)
    for _ in range(random.randint(1, 5)):  # clouds, hills, balls, cushions: soft shapes of any colour
        x, radius = random.uniform(0, width), random.uniform(0.04, 0.16) * height
        y = random.choice((random.uniform(0, horizon * 0.7), horizon - radius * 0.4, random.uniform(horizon, height)))
        colour = vary(random.choice((above, below, (190, 120, 90))), random, 45)
        stretch = random.uniform(1.0, 2.4)
        draw.ellipse((x - radius * stretch, y - radius, x + radius * stretch, y + radius), fill=colour)
    draw.rectangle((0, int(height * 0.82), width, height), fill=below)
    for _ in range(24):  # grass, pebbles, boards
        x, y = random.uniform(0, width), random.uniform(horizon, height)
        draw.line(
            (x, y, x + random.uniform(-0.05, 0.05) * width, y - 0.02 * height), fill=vary(below, random, 26), width=2
        )


_SCENES: tuple[tuple[Colour, Colour], ...] = (
    ((150, 196, 230), (116, 168, 84)),  # meadow
    ((156, 208, 226), (224, 200, 150)),  # beach
    ((178, 196, 216), (226, 232, 238)),  # snow
    ((206, 186, 160), (150, 104, 70)),  # room
    ((168, 172, 180), (120, 120, 126)),  # street
    ((226, 176, 150), (132, 120, 92)),  # evening
    ((198, 212, 178), (176, 150, 128)),  # wall and carpet
)
