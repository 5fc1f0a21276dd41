"""One cartoon dog, drawn with Pillow from a breed's build, coat, ears, tail and markings. See breeds.py."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

Colour = tuple[int, int, int]
Point = tuple[float, float]
Marks = list[tuple[Colour, Callable[["Pen"], None]]]

INK: Colour = (38, 28, 26)
WHITE: Colour = (246, 244, 238)


@dataclass(frozen=True)
class Breed:
    """A build in dog lengths (a usual dog stands about 1.2 high) and what it wears."""

    name: str  # as in the dog-breed data set
    coats: tuple[Colour, ...]
    ears: str  # floppy, pointed, long, curly
    tail: str  # thin, feathered, curled, pompom
    length: float = 0.44  # half the body
    depth: float = 0.21  # half the body's height
    legs: float = 0.40
    leg_width: float = 0.10
    head: float = 0.22  # radius
    muzzle: float = 0.15


class Pen:
    """Draws in dog lengths: x towards the nose, y up from the ground, turned and mirrored as the dog is."""

    def __init__(self, image: "Image.Image", origin: Point, scale: float, mirror: int, angle: float):
        from PIL import ImageDraw

        self.draw: ImageDraw.ImageDraw = ImageDraw.Draw(image)
        self.origin, self.scale, self.mirror = origin, scale, mirror
        self.cos, self.sin = math.cos(angle), math.sin(angle)

    def place(self, x: float, y: float) -> Point:
        turned, up = x * self.cos - y * self.sin, x * self.sin + y * self.cos
        return self.origin[0] + self.mirror * self.scale * turned, self.origin[1] - self.scale * up

    def polygon(self, points: Sequence[Point], fill: object) -> None:
        self.draw.polygon([self.place(*point) for point in points], fill=fill)  # type: ignore[arg-type]

    def oval(self, x: float, y: float, rx: float, ry: float, fill: object, turn: float = 0.0) -> None:
        # The two half axes are placed once, and the points are sums of them: this is where the time goes.
        (mid_x, mid_y), cos, sin = self.place(x, y), math.cos(turn), math.sin(turn)
        long_x, long_y = self.place(x + rx * cos, y + rx * sin)
        high_x, high_y = self.place(x - ry * sin, y + ry * cos)
        ax, ay, bx, by = long_x - mid_x, long_y - mid_y, high_x - mid_x, high_y - mid_y
        circle = _CIRCLE[::2] if max(rx, ry) * self.scale < 8 else _CIRCLE
        points = [(mid_x + c * ax + s * bx, mid_y + c * ay + s * by) for c, s in circle]
        self.draw.polygon(points, fill=fill)  # type: ignore[arg-type]

    def stroke(self, points: Sequence[Point], width: float, fill: object) -> None:
        """A line with round ends and joints."""
        placed = [self.place(*point) for point in points]
        half = width * self.scale / 2
        self.draw.line(placed, fill=fill, width=max(1, round(2 * half)))  # type: ignore[arg-type]
        for x, y in placed:
            self.draw.ellipse((x - half, y - half, x + half, y + half), fill=fill)  # type: ignore[arg-type]


_CIRCLE = [(math.cos(2 * math.pi * n / 28), math.sin(2 * math.pi * n / 28)) for n in range(28)]


class CartoonDog:
    """A dog in one pose, to be drawn on an RGB picture."""

    def __init__(self, breed: Breed, random: Random, picture: "Image.Image"):
        self.breed, self.random, self.picture = breed, random, picture
        self.coat = vary(random.choice(breed.coats), random, 10)
        self.dark = shade(self.coat, 0.8)
        self.step = random.uniform(-0.09, 0.09)
        self.wag = random.uniform(-0.25, 0.35)
        self.body_y = breed.legs + breed.depth * 0.75
        nod = random.uniform(-0.05, 0.06)
        self.head_x = breed.length + 0.08 + random.uniform(-0.03, 0.05)
        self.head_y = self.body_y + breed.depth + breed.head * 0.75 + nod
        width, height = picture.size
        reach = 2 * breed.length + 0.95
        tall = self.head_y + breed.head * (1.7 if breed.ears in ("pointed", "curly") else 1.1)
        self.scale = min(width / reach, height * 0.82 / tall, height / 1.45) * random.uniform(0.74, 1.0)
        origin_x = width * 0.5 - (mirror := random.choice((-1, 1))) * 0.1 * self.scale
        spare = max(0.0, width - reach * self.scale) / 2
        origin = origin_x + random.uniform(-spare, spare) * 0.8, height * random.uniform(0.86, 0.94)
        self.frame = (origin, self.scale, mirror, random.uniform(-0.07, 0.07))

    def draw(self) -> None:
        from PIL import Image, ImageChops

        shadow = Pen(self.picture, *self.frame)
        floor = self.picture.getpixel((self.picture.width // 2, self.picture.height - 1))
        shadow.oval(0.05, 0.0, self.breed.length + 0.25, 0.05, shade(floor, 0.72))  # type: ignore[arg-type]

        outline, shape, marks = (Image.new("L", self.picture.size) for _ in range(3))
        self._draw_shape(Pen(outline, *self.frame), 255, 255, 0.016)
        self.picture.paste(INK, mask=outline)
        self._draw_shape(Pen(self.picture, *self.frame), self.coat, self.dark, 0.0)
        self._draw_shape(Pen(shape, *self.frame), 255, 255, 0.0)
        for colour, paint in self._list_marks():
            marks.paste(0, (0, 0, *marks.size))
            paint(Pen(marks, *self.frame))
            self.picture.paste(colour, mask=ImageChops.darker(marks, shape))
        self._draw_face(Pen(self.picture, *self.frame))

    def _draw_shape(self, pen: Pen, fill: object, dark: object, grow: float) -> None:
        """Everything that has the coat's colour; `grow` makes it wider on all sides, for the outline."""
        b, y = self.breed, self.body_y
        wide = b.leg_width + 2 * grow
        for x, sway in ((-b.length * 0.66, -self.step), (b.length * 0.6, self.step)):
            pen.stroke([(x, y - 0.04), (x + 0.07 + sway, 0.035)], wide, dark)
        self._draw_tail(pen, fill, grow)
        pen.oval(0, y, b.length + b.leg_width / 2 + grow, b.depth + grow, fill)
        pen.oval(b.length * 0.7, y + 0.03, b.depth * 1.02 + grow, b.depth * 1.08 + grow, fill)
        for x, sway in ((-b.length * 0.84, self.step), (b.length * 0.78, -self.step)):
            foot = x + sway
            pen.stroke([(x, y), (foot, 0.035)], wide, fill)
            pen.oval(foot + 0.03, 0.03, b.leg_width * 0.72 + grow, 0.045 + grow, fill)
        pen.stroke([(b.length * 0.72, y + 0.05), (self.head_x - 0.05, self.head_y)], b.head * 1.25 + 2 * grow, fill)
        if b.ears == "pointed":
            for side in (-0.62, 0.42):
                x = self.head_x + side * b.head
                base, tip = b.head * 0.42 + grow * 1.5, self.head_y + b.head * 1.62 + grow * 2
                low = self.head_y + b.head * 0.3
                pen.polygon([(x - base, low), (x + side * 0.05, tip), (x + base, low)], fill)
        pen.oval(self.head_x, self.head_y, b.head + grow, b.head * 0.95 + grow, fill)
        pen.oval(*self._muzzle(), b.muzzle + grow, b.head * 0.46 + grow, fill)
        if b.ears == "curly":
            self._draw_curls(pen, fill, grow)

    def _muzzle(self) -> Point:
        return self.head_x + self.breed.head * 0.5 + self.breed.muzzle * 0.45, self.head_y - self.breed.head * 0.36

    def _tail(self) -> list[Point]:
        x, y = -self.breed.length - 0.01, self.body_y + self.breed.depth * 0.45
        if self.breed.tail == "curled":
            turns = [math.radians(a) for a in range(-60, 250, 30)]
            return [(x - 0.02, y), *((x + 0.06 + 0.13 * math.cos(-a), y + 0.24 + 0.13 * math.sin(a)) for a in turns)]
        angle = 2.45 - self.wag if self.breed.tail != "feathered" else 2.9 - self.wag
        long = 0.24 if self.breed.tail == "pompom" else 0.38
        bend = -0.35 if self.breed.tail == "thin" else 0.3
        points = [(x + 0.06, y)]
        for _ in range(4):
            points.append((points[-1][0] + math.cos(angle) * long / 3, points[-1][1] + math.sin(angle) * long / 3))
            angle += bend
        return points

    def _draw_tail(self, pen: Pen, fill: object, grow: float) -> None:
        points, kind = self._tail(), self.breed.tail
        width = {"thin": 0.06, "feathered": 0.09, "curled": 0.12, "pompom": 0.045}[kind]
        pen.stroke(points, width + 2 * grow, fill)
        if kind == "feathered":
            for n, (x, y) in enumerate(points[1:], 1):
                pen.oval(x + 0.03, y - 0.05, 0.08 + grow, (0.10 - 0.012 * n) + grow, fill, turn=0.5)
        if kind == "pompom":
            self._draw_cluster(pen, *points[-1], 0.12, fill, grow)

    def _draw_cluster(self, pen: Pen, x: float, y: float, radius: float, fill: object, grow: float) -> None:
        """A ball of curls."""
        pen.oval(x, y, radius * 0.8 + grow, radius * 0.8 + grow, fill)
        for n in range(8):
            turn = n * math.pi / 4
            at = x + radius * 0.68 * math.cos(turn), y + radius * 0.68 * math.sin(turn)
            pen.oval(*at, radius * 0.38 + grow, radius * 0.38 + grow, fill)

    def _draw_curls(self, pen: Pen, fill: object, grow: float) -> None:
        b = self.breed
        self._draw_cluster(pen, self.head_x - 0.02, self.head_y + b.head * 1.0, 0.19, fill, grow)
        self._draw_cluster(pen, b.length * 0.72, self.body_y + 0.03, 0.26, fill, grow)
        self._draw_cluster(pen, -b.length * 0.8, self.body_y + 0.02, 0.19, fill, grow)
        for x, sway in ((-b.length * 0.84, self.step), (b.length * 0.78, -self.step)):
            self._draw_cluster(pen, x + sway * 0.8, 0.13, 0.09, fill, grow)

    def _list_marks(self) -> Marks:
        """What the coat carries, as colours and strokes; it is clipped to the dog."""
        b, y, hx, hy, r = self.breed, self.body_y, self.head_x, self.head_y, self.breed.head
        muzzle_x, muzzle_y = self._muzzle()
        legs = [(-b.length * 0.84 + self.step, 0.0), (b.length * 0.78 - self.step, 0.0)]
        pale = shade(self.coat, 1.16)

        def socks(pen: Pen, top: float) -> None:
            for x, _ in legs:
                pen.oval(x, 0.0, 0.14, top, 255)

        def belly(pen: Pen) -> None:
            pen.oval(b.length * 0.5, y - b.depth * 0.95, b.length * 0.9, b.depth * 0.62, 255)
            pen.oval(b.length * 1.02, y - 0.02, b.depth * 0.55, b.depth * 0.95, 255)

        def spots(pen: Pen) -> None:
            for _ in range(90):
                x, up = self.random.uniform(-b.length - 0.3, hx + r), self.random.uniform(0.0, hy + r)
                rx = self.random.uniform(0.015, 0.045)
                if not (hx - 0.02 < x and abs(up - hy) < r):  # the face keeps clear
                    pen.oval(x, up, rx, rx * self.random.uniform(0.75, 1.1), 255, self.random.uniform(0, 3))

        def mask(pen: Pen) -> None:
            pen.oval(hx + r * 0.32, hy - r * 0.42, r * 0.92, r * 0.62, 255)
            pen.oval(hx + r * 0.05, hy + r * 0.12, r * 0.3, r * 0.36, 255)
            pen.oval(hx + r * 0.66, hy + r * 0.12, r * 0.28, r * 0.36, 255)
            socks(pen, b.legs * 0.85)
            belly(pen)
            pen.stroke(self._tail()[-3:], 0.07, 255)

        def blaze(pen: Pen) -> None:
            pen.oval(muzzle_x, muzzle_y, b.muzzle * 1.02, r * 0.5, 255)
            pen.oval(hx + r * 0.36, hy + r * 0.3, r * 0.13, r * 0.75, 255)
            socks(pen, b.legs * 0.95)
            belly(pen)
            pen.stroke(self._tail()[-2:], 0.08, 255)

        def saddle(pen: Pen) -> None:
            pen.oval(-b.length * 0.15, y + b.depth * 0.62, b.length * 0.85, b.depth * 0.85, 255)
            pen.stroke(self._tail()[:3], 0.08, 255)

        def tan(pen: Pen) -> None:
            pen.oval(muzzle_x + 0.02, muzzle_y - 0.06, b.muzzle, r * 0.4, 255)
            pen.oval(b.length * 0.95, y - b.depth * 0.5, b.depth * 0.7, b.depth * 0.6, 255)
            socks(pen, 0.09)

        def feathers(pen: Pen) -> None:
            belly(pen)
            pen.oval(muzzle_x, muzzle_y - 0.05, b.muzzle * 0.9, r * 0.35, 255)

        def curls(pen: Pen) -> None:
            for x, up, radius in (
                (hx - 0.02, hy + r, 0.17),
                (b.length * 0.72, y + 0.03, 0.24),
                (-b.length * 0.8, y, 0.17),
            ):
                for n in range(9):
                    turn, far = n * 2.4, radius * math.sqrt(n / 9)
                    at = x + far * math.cos(turn), up + far * math.sin(turn)
                    pen.oval(*at, 0.036, 0.036, 255)

        marks: dict[str, Marks] = {
            "005.Alaskan_malamute": [(WHITE, mask)],
            "016.Beagle": [((48, 40, 40), saddle), (WHITE, blaze)],
            "056.Dachshund": [((206, 140, 78), tan)],
            "057.Dalmatian": [((34, 32, 34), spots)],
            "076.Golden_retriever": [(pale, feathers)],
            "124.Poodle": [(shade(self.coat, 0.91), curls)],
        }
        return marks[b.name]

    def _draw_face(self, pen: Pen) -> None:
        b, hx, hy, r = self.breed, self.head_x, self.head_y, self.breed.head
        mx, my = self._muzzle()
        collar = vary((150, 110, 130), self.random, 100)
        neck = b.length * 0.45 + hx * 0.42
        if b.ears != "curly":
            pen.stroke([(neck - r * 0.52, hy - r * 0.72), (neck + r * 0.5, hy - r * 1.12)], 0.05, collar)
        ear = {"057.Dalmatian": (44, 42, 44), "124.Poodle": self.dark}.get(b.name, shade(self.coat, 0.74))
        tilt = self.random.uniform(-0.12, 0.12)
        if b.ears in ("floppy", "long", "curly"):
            long = {"floppy": 0.62, "long": 0.92, "curly": 0.8}[b.ears] * r
            x, low = hx - r * 0.82, hy + r * 0.45 - long * 0.72
            for colour, grow in ((INK, 0.014), (ear, 0.0)):
                if b.ears == "curly":
                    self._draw_cluster(pen, x, low, 0.13, colour, grow)
                else:
                    pen.oval(x, low, r * 0.4 + grow, long + grow, colour, tilt - 0.28)
        else:
            for side in (-0.62, 0.42):
                x, low = hx + side * r, hy + r * 0.78
                pen.polygon([(x - 0.045, low), (x + side * 0.04, hy + r * 1.4), (x + 0.045, low)], (222, 176, 168))

        if self.random.random() < 0.55:
            pen.oval(mx + b.muzzle * 0.2, my - r * 0.5, 0.045, 0.075, INK)
            pen.oval(mx + b.muzzle * 0.2, my - r * 0.5, 0.034, 0.064, (232, 104, 112))
        pen.stroke([(mx - b.muzzle * 0.5, my - r * 0.22), (mx + b.muzzle * 0.2, my - r * 0.34),
                    (mx + b.muzzle * 0.8, my - r * 0.16)], 0.018, INK)  # fmt: skip
        pen.oval(mx + b.muzzle * 0.82, my + r * 0.22, 0.06, 0.046, INK)
        pen.oval(mx + b.muzzle * 0.82 + 0.01, my + r * 0.27, 0.02, 0.012, (130, 120, 120))
        iris = (92, 140, 190) if b.name == "005.Alaskan_malamute" else (74, 46, 30)
        for x in (hx + r * 0.04, hx + r * 0.62):
            pen.oval(x, hy + r * 0.18, 0.043, 0.052, INK)
            pen.oval(x, hy + r * 0.18, 0.030, 0.038, iris)
            pen.oval(x, hy + r * 0.18, 0.018, 0.022, INK)
            pen.oval(x + 0.014, hy + r * 0.26, 0.012, 0.014, WHITE)


def vary(colour: Colour, random: Random, spread: int) -> Colour:
    red, green, blue = (max(0, min(255, level + random.randint(-spread, spread))) for level in colour)
    return red, green, blue


def shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, int(level * factor)) for level in colour)
    return red, green, blue
