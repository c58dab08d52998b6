"""Tasks whose data is made from a run's key: the same numbers on every machine and with every version of NumPy.

* ``memorize``, ``memorize-images``: random points with random labels. Nothing can be learned from them, they can only
  be stored. How much a network stores, and how surely a search finds the weights, is measured without any question of
  generalisation. Source of the test: C. Zhang, S. Bengio, M. Hardt, B. Recht, O. Vinyals, "Understanding deep learning
  requires rethinking generalization", ICLR 2017.
* ``count-ones``: how many bits are on? A function that is simple to say and changes with every single input.
* ``shapes``: ten shapes anywhere on a small image. What a network knows of one place it must know of all.
* ``mixed``: storing random points and learning a function at once. Which does a search do, and at which cost?
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.config.registry import TASKS
from galab.contracts import Examples, FreshExamples
from galab.errors import UsageError
from galab.genome.random import Stream, draw, scaled, table, words
from galab.tasks.classification import Classification
from galab.tasks.load import load_task

#: Fixed data lies beyond all generations, which a task that makes fresh examples counts from 1 in the same stream.
FIXED = 1 << 48
#: Fresh points of the test set.
FRESH = 64
_POINTS, _LABELS, _FRESH_POINTS, _FRESH_LABELS = range(4)
#: Up to this many bits all inputs are put in random order; with more of them they are drawn.
_LISTED = 20
_BITS = 0
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
_MIXED_POINTS, _MIXED_LABELS = 64, 65


def normals(run_key: int, part: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Standard normal numbers.

    Args:
        run_key: the run's key.
        part: which of the task's own sequences, from 0.
        shape: of the array.
    """
    return draw(table("normal"), run_key, FIXED + part, Stream.EXAMPLES, int(np.prod(shape))).reshape(shape)


def whole_numbers(bound: int, run_key: int, part: int, count: int) -> NDArray[np.int64]:
    """(count,) whole numbers from 0 to ``bound - 1``."""
    return scaled(raw(run_key, part, count), bound)


def order(count: int, run_key: int, part: int) -> NDArray[np.int64]:
    """(count,) the numbers from 0 to ``count - 1`` in random order."""
    return np.argsort(raw(run_key, part, count), kind="stable")


def raw(run_key: int, part: int, count: int) -> NDArray[np.uint64]:
    """(count,) random 64-bit words."""
    return words(run_key, FIXED + part, Stream.EXAMPLES, count)


def at_least(task: str, least: int, **values: float) -> None:
    """Refuse sizes that are too small.

    Raises:
        UsageError: a value is below ``least``.
    """
    for name, value in values.items():
        if value < least:
            raise UsageError(f"task '{task}': expected {name} of at least {least}, got {value}; name a larger one")


def memorize(
    points: int = 64, dims: int = 128, classes: int = 10, shape: tuple[int, ...] | None = None, run_key: int = 0
) -> Classification:
    """Random points with random labels, to be stored: validation is the same points, test is fresh ones.

    Nothing can be generalised, so the champion is the network that has stored most, and ``--target 1`` means that all
    points are stored. On the fresh points of the test set only chance is possible. Points are in a fixed order, which
    is the order of the fitness ``tilldeath``.

    Args:
        points: how many.
        dims: standard normal numbers of each.
        classes: how many labels there are, all equally likely.
        shape: of one point, where it is no vector; then ``dims`` does not count.
        run_key: the key that all of it is made from.

    Raises:
        UsageError: a size is too small.
    """
    return _memorize("memorize", points, (dims,) if shape is None else shape, classes, run_key)


def memorize_images(points: int = 512, classes: int = 10, run_key: int = 0) -> Classification:
    """Random images of 3x64x64 numbers with random labels, to be stored: validation is the same, test is fresh ones.

    Args:
        points: how many.
        classes: how many labels there are, all equally likely.
        run_key: the key that all of it is made from.

    Raises:
        UsageError: a size is too small.
    """
    return _memorize("memorize-images", points, (3, 64, 64), classes, run_key)


def _memorize(name: str, points: int, shape: tuple[int, ...], classes: int, run_key: int) -> Classification:
    at_least(name, 1, points=points, dims=min(shape, default=0))
    at_least(name, 2, classes=classes)
    stored = normals(run_key, _POINTS, (points, *shape)), whole_numbers(classes, run_key, _LABELS, points)
    fresh = (
        normals(run_key, _FRESH_POINTS, (FRESH, *shape)),
        whole_numbers(classes, run_key, _FRESH_LABELS, FRESH),
    )
    size = f"{math.prod(shape):,}" if len(shape) == 1 else "x".join(map(str, shape))
    return Classification(
        name=name,
        train=stored,
        validation=stored,
        test=fresh,
        classes=classes,
        description=(
            f"{name}, {points:,} random points of {size} numbers with random labels out of {classes} classes "
            f"(validation: the training points, accuracy 1 is all stored; test: {FRESH} fresh points, chance alone)"
        ),
    )


def count_ones(
    bits: int = 16, train: int = 4096, validation: int = 1024, test: int = 1024, classes: int = 10, run_key: int = 0
) -> Classification:
    """The number of ones among random bits, modulo 10; no input is in two sets.

    Every input is as likely as any other, so the classes are not: of 16 bits 8 are on most often, in 20 % of the cases.

    Args:
        bits: numbers of one input, each +1 (on) or -1.
        train: training examples.
        validation: validation examples.
        test: test examples.
        classes: the modulus.
        run_key: the key that the sets are made from.

    Raises:
        UsageError: a size is too small, or there are fewer inputs than examples.
    """
    at_least("count-ones", 1, bits=bits, train=train, validation=validation, test=test)
    at_least("count-ones", 2, classes=classes)
    total = train + validation + test
    # Of more examples than half of all inputs, drawing would hardly find the last ones.
    most = 1 << (bits if bits <= _LISTED else bits - 1)
    if total > most:
        raise UsageError(
            f"task 'count-ones': expected at most {most:,} examples of {bits} bits, got {total:,}; name fewer, or more "
            "bits"
        )
    on = _different(bits, total, run_key)
    inputs, targets = np.where(on, np.float32(1), np.float32(-1)), on.sum(1) % classes
    ends = np.cumsum((train, validation))
    sets = list(zip(np.split(inputs, ends), np.split(targets, ends), strict=True))
    return Classification(
        name="count-ones",
        train=sets[0],
        validation=sets[1],
        test=sets[2],
        classes=classes,
        description=(
            f"count-ones, the number of ones among {bits} bits modulo {classes}, {train:,} training, {validation:,} "
            f"validation and {test:,} test examples, all different"
        ),
    )


def _different(bits: int, count: int, run_key: int) -> NDArray[np.bool_]:
    """(count, bits) different inputs."""
    if bits <= _LISTED:
        numbers = order(1 << bits, run_key, _BITS)[:count].astype("<u4")
        return np.unpackbits(numbers.view(np.uint8).reshape(count, 4), axis=1, count=bits, bitorder="little") > 0
    width = -(-bits // 64)
    drawn = raw(run_key, _BITS, 2 * count * width).astype("<u8").reshape(2 * count, width)
    found = np.unpackbits(drawn.view(np.uint8), axis=1, count=bits, bitorder="little")
    _, first = np.unique(found, axis=0, return_index=True)
    return found[np.sort(first)[:count]] > 0


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


class Mixed(Classification):
    """A classification whose training set has two parts.

    Args:
        points: how many of the training examples are random points; they come first.
        data: what a :class:`Classification` is made of.

    Attributes:
        parts: the random points as ``noise``, the others as ``function``; see :class:`galab.contracts.HasTrainParts`.
    """

    def __init__(self, *, points: int, **data: Any) -> None:
        super().__init__(**data)
        inputs, targets = self.train.inputs, self.train.targets
        self.parts = {
            "noise": Examples(inputs[:points], targets[:points]),
            "function": Examples(inputs[points:], targets[points:]),
        }


def mixed(
    function: str = "count-ones", points: int = 32, examples: int | None = None, data: str = "auto", run_key: int = 0
) -> Mixed:
    """Random points to be stored among the examples of a function to be learned, of which validation and test are made.

    The log has the champion's ``train_noise_accuracy`` beside its ``train_function_accuracy``.

    Args:
        function: the task that is learned, such as ``shapes`` or ``'count-ones(bits=12)'``.
        points: random points, standard normal, with random labels.
        examples: how many training examples of the function are used, the first ones; all when absent.
        data: passed on to the function.
        run_key: the key that the points are made from, and the function's data where it is made from one.

    Raises:
        UsageError: the function is no task with class numbers and fixed examples, or a size is too small.
    """
    if ":" in TASKS.parse(function).name:
        # Code that is named in here would run without having been asked for: trust looks at the task's own name.
        raise UsageError(f"task 'mixed': expected function to be a name that `galab tasks` lists, got '{function}'")
    found = load_task(function, data, run_key=run_key)
    if not isinstance(found, Classification) or isinstance(found, FreshExamples):
        raise UsageError(f"task 'mixed': expected a function with classes and fixed examples, got '{function}'")
    count = len(found.train) if examples is None else examples
    at_least("mixed", 1, points=points, examples=count)
    if count > len(found.train):
        raise UsageError(
            f"task 'mixed': expected at most {len(found.train):,} examples of '{function}', got {count:,}; name fewer"
        )
    noise = normals(run_key, _MIXED_POINTS, (points, *found.input_shape))
    labels = whole_numbers(found.outputs, run_key, _MIXED_LABELS, points)
    train = (
        np.concatenate([noise, found.train.inputs[:count].numpy()]),
        np.concatenate([labels, found.train.targets[:count].numpy()]),
    )
    return Mixed(
        points=points,
        name="mixed",
        train=train,
        validation=(found.validation.inputs, found.validation.targets),
        test=(found.test.inputs, found.test.targets),
        classes=found.outputs,
        description=(
            f"mixed, {points:,} random points with random labels among {count:,} training examples of: "
            f"{found.description}"
        ),
    )
