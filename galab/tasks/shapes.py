"""Ten shapes anywhere on a small image: what a network knows of one place it must know of all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from galab.tasks.classification import Classification
from galab.tasks.drawn import at_least, normals, order, whole_numbers

#: Sides of a shape.
SIDE = 5
#: The shapes, by class: a ring, a block, a plus, a cross, a diamond, a T, an L, a U, stripes, a chessboard.
PICTURES = (
    "##### #...# #...# #...# #####", "##### ##### ##### ##### #####", "..#.. ..#.. ##### ..#.. ..#..",
    "#...# .#.#. ..#.. .#.#. #...#", "..#.. .#.#. #...# .#.#. ..#..", "##### ..#.. ..#.. ..#.. ..#..",
    "#.... #.... #.... #.... #####", "#...# #...# #...# #...# .###.", "##### ..... ##### ..... #####",
    ".#.#. #.#.# .#.#. #.#.# .#.#.",
)  # fmt: skip
#: Share of a shape's places that belong to training, and to training and validation.
_SHARES = (0.7, 0.85)
_NOISE, _CLASSES, _PLACES = range(3)


def bitmaps() -> NDArray[np.float32]:
    """(10, 5, 5) the shapes, 1 where there is ink and 0 elsewhere."""
    rows = [[[letter == "#" for letter in row] for row in picture.split()] for picture in PICTURES]
    return np.array(rows, dtype=np.float32)


def shapes(
    size: int = 16, train: int = 4096, validation: int = 1024, test: int = 1024, noise: float = 0.1, run_key: int = 0
) -> Classification:
    """Ten shapes of 5x5 pixels anywhere on an image with a little noise; places are new in validation and test.

    Of all places of a shape, 70 % belong to training and 15 % each to validation and test. All classes are equally
    frequent.

    Args:
        size: sides of an image, (1, size, size).
        train: training examples.
        validation: validation examples.
        test: test examples.
        noise: standard deviation of what is added to every pixel, where ink is 1 and paper 0.
        run_key: the key that the sets are made from.

    Raises:
        UsageError: a size is too small, or the noise is negative.
    """
    at_least("shapes", SIDE + 2, size=size)  # nine places, so that every set has one
    at_least("shapes", 1, train=train, validation=validation, test=test)
    at_least("shapes", 0, noise=noise)
    across = size - SIDE + 1
    # (10, places): every shape has an order of its own, so no place is free of shapes in training.
    places = np.stack([order(across**2, run_key, 16 + number) for number in range(len(PICTURES))])
    ends = [round(share * across**2) for share in _SHARES]
    sets = [
        _images(size, count, own, noise, run_key, 4 * number)
        for number, (count, own) in enumerate(
            zip((train, validation, test), np.split(places, ends, axis=1), strict=True)
        )
    ]
    return Classification(
        name="shapes",
        train=sets[0],
        validation=sets[1],
        test=sets[2],
        classes=len(PICTURES),
        description=(
            f"shapes, ten of them anywhere on {size}x{size} pixels with noise {noise:g}, {train:,} training, "
            f"{validation:,} validation and {test:,} test images, each set with places of its own"
        ),
    )


def _images(
    size: int, count: int, places: NDArray[np.int64], noise: float, run_key: int, first: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(count, 1, size, size) images and their (count,) classes; sequences from ``first`` on are theirs."""
    images = np.float32(noise) * normals(run_key, first + _NOISE, (count, 1, size, size))
    labels = order(count, run_key, first + _CLASSES) % len(PICTURES)
    chosen = places[labels, whole_numbers(places.shape[1], run_key, first + _PLACES, count)]
    rows, columns = np.divmod(chosen, size - SIDE + 1)
    ink, step = bitmaps(), np.arange(SIDE)
    where = (rows[:, None, None] + step[:, None], columns[:, None, None] + step)
    images[np.arange(count)[:, None, None], 0, where[0], where[1]] += ink[labels]
    return images, labels
