"""Random points with random labels: nothing can be learned from them, they can only be stored.

How much a network stores, and how surely a search finds the weights, is measured without any question of
generalisation. Source of the test: C. Zhang, S. Bengio, M. Hardt, B. Recht, O. Vinyals, "Understanding deep learning
requires rethinking generalization", ICLR 2017.
"""

from __future__ import annotations

import math

from galab.tasks.classification import Classification
from galab.tasks.drawn import at_least, normals, whole_numbers

#: Fresh points of the test set.
FRESH = 64
_POINTS, _LABELS, _FRESH_POINTS, _FRESH_LABELS = range(4)


def memorize(
    points: int = 64, dims: int = 128, classes: int = 10, shape: tuple[int, ...] | None = None, run_key: int = 0
) -> Classification:
    """Random points with random labels, to be stored: validation is the same points, test is fresh ones.

    Nothing is to be generalised, so the champion is whoever has stored most, and ``--target 1`` means that all points
    are stored. On the fresh points of the test set only chance is possible. Points are in a fixed order, which is the
    order of the fitness ``tilldeath``.

    Args:
        points: how many.
        dims: standard normal numbers of each.
        classes: how many labels there are, all equally likely.
        shape: of one point, where it is no vector; then ``dims`` does not count.
        run_key: the key that all of it is made from.

    Raises:
        UsageError: a size is too small.
    """
    return _random("memorize", points, (dims,) if shape is None else shape, classes, run_key)


def memorize_images(points: int = 512, classes: int = 10, run_key: int = 0) -> Classification:
    """Random images of 3x64x64 numbers with random labels, to be stored: validation is the same, test is fresh ones.

    Args:
        points: how many.
        classes: how many labels there are, all equally likely.
        run_key: the key that all of it is made from.

    Raises:
        UsageError: a size is too small.
    """
    return _random("memorize-images", points, (3, 64, 64), classes, run_key)


def _random(name: str, points: int, shape: tuple[int, ...], classes: int, run_key: int) -> Classification:
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
