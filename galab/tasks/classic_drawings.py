"""Drawings of the worlds of classic control: one function each, from a state to a picture.

Everything is drawn three times as large and shrunk, which makes edges smooth. Coordinates are those of the finished
picture, (0, 0) at its upper left corner.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from galab.tasks.episodes import Act, Game

WIDTH, HEIGHT = 400, 300
PAPER, INK, GREY, PALE, ACCENT = "#f7f7f4", "#2b2f38", "#a7abb3", "#dcdee2", "#e2562b"
_LARGER = 3

#: A place in the picture.
Point = tuple[float, float]


class Canvas:
    """A picture of 400 x 300 that is being drawn."""

    def __init__(self) -> None:
        self._image = Image.new("RGB", (WIDTH * _LARGER, HEIGHT * _LARGER), PAPER)
        self._draw = ImageDraw.Draw(self._image)

    def line(self, points: Sequence[Point], width: float, colour: str) -> None:
        """A line through points, with round ends."""
        self._draw.line(_large(points), fill=colour, width=round(width * _LARGER), joint="curve")
        for end in (points[0], points[-1]):
            self.disc(end, width / 2, colour)

    def disc(self, middle: Point, radius: float, colour: str) -> None:
        """A filled circle."""
        (x, y), radius = _large([middle])[0], radius * _LARGER
        self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)

    def ring(self, middle: Point, radius: float, width: float, colour: str) -> None:
        """A circle."""
        (x, y), radius = _large([middle])[0], radius * _LARGER
        box = (x - radius, y - radius, x + radius, y + radius)
        self._draw.ellipse(box, outline=colour, width=round(width * _LARGER))

    def area(self, points: Sequence[Point], colour: str) -> None:
        """A filled polygon."""
        self._draw.polygon(_large(points), fill=colour)

    def box(self, corner: Point, opposite: Point, radius: float, colour: str) -> None:
        """A filled rectangle with round corners."""
        self._draw.rounded_rectangle(_large([corner, opposite]), radius * _LARGER, fill=colour)

    def text(self, place: Point, words: str, colour: str = INK) -> None:
        """Words whose upper left corner is at a place."""
        font = ImageFont.load_default(size=16 * _LARGER)
        self._draw.text(_large([place])[0], words, fill=colour, font=font)

    def picture(self) -> NDArray[np.uint8]:
        """What was drawn, (300, 400, 3)."""
        return np.array(self._image.reduce(_LARGER))


def _large(points: Sequence[Point]) -> list[Point]:
    return [(x * _LARGER, y * _LARGER) for x, y in points]


def cartpole(canvas: Canvas, state: NDArray[np.float64]) -> None:
    """A cart on its track, whose ends are marked, and the pole; (4,) place, speed, angle and its speed."""
    metre, ground = 70.0, 228.0
    place, angle = float(state[0]), float(state[2])
    middle = WIDTH / 2 + place * metre
    canvas.line([(0, ground), (WIDTH, ground)], 3, GREY)
    for end in (-2.4, 2.4):
        x = WIDTH / 2 + end * metre
        canvas.line([(x, ground - 9), (x, ground + 9)], 3, GREY)
    for wheel in (-17, 17):
        canvas.disc((middle + wheel, ground - 8), 7, INK)
    canvas.box((middle - 34, ground - 40), (middle + 34, ground - 10), 6, INK)
    joint = (middle, ground - 40)
    canvas.line([joint, (joint[0] + 125 * math.sin(angle), joint[1] - 125 * math.cos(angle))], 11, ACCENT)
    canvas.disc(joint, 4, PAPER)


def acrobot(canvas: Canvas, state: NDArray[np.float64]) -> None:
    """Two links, and the line that the free end has to reach; (4,) angles from hanging, and their speeds."""
    metre, joint = 62.0, (WIDTH / 2, 158.0)
    first, second = float(state[0]), float(state[0] + state[1])
    for dash in range(16):
        canvas.line([(dash * 26 + 2, joint[1] - metre), (dash * 26 + 12, joint[1] - metre)], 2, GREY)
    elbow = (joint[0] + metre * math.sin(first), joint[1] + metre * math.cos(first))
    end = (elbow[0] + metre * math.sin(second), elbow[1] + metre * math.cos(second))
    canvas.line([joint, elbow], 13, INK)
    canvas.line([elbow, end], 13, ACCENT)
    canvas.disc(joint, 4, PAPER)
    canvas.disc(elbow, 4, PAPER)


def pendulum(canvas: Canvas, state: NDArray[np.float64]) -> None:
    """A rod with a bob, and the place where it should be; (2,) angle from the top and its speed."""
    metre, joint = 105.0, (WIDTH / 2, 156.0)
    angle = float(state[0])
    canvas.ring(joint, metre + 1, 2, PALE)
    canvas.ring((joint[0], joint[1] - metre), 19, 2.5, GREY)
    end = (joint[0] - metre * math.sin(angle), joint[1] - metre * math.cos(angle))
    canvas.line([joint, end], 11, INK)
    canvas.disc(end, 15, ACCENT)
    canvas.disc(joint, 9, INK)
    canvas.disc(joint, 3.5, PAPER)


def _valley(canvas: Canvas, state: NDArray[np.float64], goal: float) -> None:
    """A car between two hills, and a flag on the right one; (2,) place and speed."""

    def at(place: float) -> Point:
        return (place + 1.2) / 1.8 * (WIDTH - 40) + 20, 256 - 165 * (0.5 + 0.5 * math.sin(3 * place))

    hills = [at(-1.32 + step * 0.02) for step in range(103)]
    canvas.area([(0, HEIGHT), *hills, (WIDTH, HEIGHT)], PALE)
    canvas.line(hills, 3, GREY)
    x, y = at(goal)
    canvas.line([(x, y), (x, y - 42)], 3, INK)
    canvas.area([(x + 1, y - 43), (x + 25, y - 34), (x + 1, y - 25)], ACCENT)
    place = float(state[0])
    (x, y), (left, lower), (right, upper) = at(place), at(place - 0.01), at(place + 0.01)
    slope = math.atan2(upper - lower, right - left)

    def on_car(along: float, above: float) -> Point:
        """A place on the car, whose wheels stand at the height 0."""
        cosine, sine = math.cos(slope), math.sin(slope)
        return x + along * cosine + above * sine, y + along * sine - above * cosine

    body = [(-23, 7), (-23, 16), (-13, 18), (-8, 27), (7, 27), (13, 18), (23, 16), (23, 7)]
    canvas.area([on_car(*corner) for corner in body], INK)
    for wheel in (-13, 13):
        canvas.disc(on_car(wheel, 7), 7, INK)
        canvas.disc(on_car(wheel, 7), 3, PAPER)


def mountain_car(canvas: Canvas, state: NDArray[np.float64]) -> None:
    """The car whose goal is at 0.5; (2,) place and speed."""
    _valley(canvas, state, 0.5)


def mountain_car_continuous(canvas: Canvas, state: NDArray[np.float64]) -> None:
    """The car whose goal is at 0.45; (2,) place and speed."""
    _valley(canvas, state, 0.45)


#: Drawings by the names of the worlds.
DRAWINGS: dict[str, Callable[[Canvas, NDArray[np.float64]], None]] = {
    "cartpole": cartpole, "acrobot": acrobot, "pendulum": pendulum, "mountain-car": mountain_car,
    "mountain-car-continuous": mountain_car_continuous,
}  # fmt: skip


def plainly(number: float) -> str:
    """A return as a person reads it: at most two digits after the point, and none of a whole number."""
    text = f"{number:,.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def draw(name: str, state: NDArray[np.float64], total: float) -> NDArray[np.uint8]:
    """A picture of a world.

    Args:
        name: of the world.
        state: (k,) its state.
        total: the return so far, which is written into a corner.

    Returns:
        (300, 400, 3).
    """
    canvas = Canvas()
    DRAWINGS[name](canvas, state)
    canvas.text((12, 9), f"return {plainly(total)}")
    return canvas.picture()


class _Shown(Game, Protocol):
    """A game whose states can be drawn."""

    @property
    def state(self) -> NDArray[np.float64]:
        """(N, k) of its episodes."""
        ...


def frames(name: str, game: _Shown, act: Act) -> Iterator[NDArray[np.uint8]]:
    """One episode to look at.

    Args:
        name: of the world.
        game: with this episode alone.
        act: the action for observations (1, inputs).

    Yields:
        (300, 400, 3) before the first action and after each.
    """
    total = 0.0
    yield draw(name, game.state[0], total)
    while not game.done[0]:
        total += float(game.step(act(game.observations))[0])
        yield draw(name, game.state[0], total)
