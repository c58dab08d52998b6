"""Classification of small grey images: MNIST, Fashion-MNIST and the 8x8 digits.

Sources: see :mod:`galab.tasks.data.download` and :mod:`galab.tasks.data.datasets`. Inputs are (B, 1, height, width):
pixels scaled to 0..1 less the mean of the training set, over its standard deviation; both are constants, so the inputs
never change.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from galab.tasks.classification import Classification, permutation, stratified
from galab.tasks.data import (
    FASHION_MNIST,
    MNIST,
    Source,
    check_choice,
    digit_images,
    load_full,
    load_or_subset,
    mnist_subset,
)

#: Mean and standard deviation of the pixels, scaled to 0..1.
MNIST_PIXELS = (0.1307, 0.3081)
FASHION_MNIST_PIXELS = (0.2860, 0.3530)
DIGITS_PIXELS = (0.3053, 0.3761)
#: Examples taken from the published training set for validation.
VALIDATION = 5_000

Bytes = NDArray[np.uint8]


def mnist(data: str = "auto") -> Classification:
    """Handwritten digits, 28x28: 55,000 / 5,000 / 10,000 images, or the embedded 4,000 / 500 / 500.

    Args:
        data: ``full``, ``subset``, or ``auto``: full if it can be had.

    Raises:
        DataError: the data cannot be had or is damaged.
    """
    return load_or_subset(
        data,
        lambda: _full(MNIST, MNIST_PIXELS),
        lambda: _subset("mnist", *mnist_subset(), pixels=MNIST_PIXELS, white=255, held_out=(500, 500)),
        name="mnist",
        subset_words="the 5,000 embedded images",
    )


def fashion_mnist(data: str = "auto") -> Classification:
    """Articles of clothing, 28x28: 55,000 / 5,000 / 10,000 images. There is no embedded subset.

    Raises:
        DataError: the data cannot be had or is damaged.
    """
    return load_or_subset(data, lambda: _full(FASHION_MNIST, FASHION_MNIST_PIXELS), None, name="fashion-mnist")


def digits(data: str = "auto") -> Classification:
    """Handwritten digits, 8x8: 1,257 / 270 / 270 images, always embedded, so ``data`` changes nothing.

    Raises:
        DataError: the extra ``offline`` is not installed.
    """
    check_choice(data)
    return _subset("digits", *digit_images(), pixels=DIGITS_PIXELS, white=16, held_out=(270, 270))


def _full(source: Source, pixels: tuple[float, float]) -> Classification:
    raw = load_full(source)
    order = permutation(len(raw.train_labels))
    train, validation = order[:-VALIDATION], order[-VALIDATION:]
    images, labels = raw.train_images, raw.train_labels
    return Classification(
        name=source.name,
        train=(_normalised(images[train], pixels, 255), labels[train]),
        validation=(_normalised(images[validation], pixels, 255), labels[validation]),
        test=(_normalised(raw.test_images, pixels, 255), raw.test_labels),
        classes=10,
        description=f"{source.name}, the full set: {_sizes(len(train), VALIDATION, len(raw.test_labels))}",
    )


def _subset(
    name: str, images: Bytes, labels: Bytes, *, pixels: tuple[float, float], white: int, held_out: tuple[int, int]
) -> Classification:
    validation, test, train = stratified(labels, held_out)
    return Classification(
        name=name,
        train=(_normalised(images[train], pixels, white), labels[train]),
        validation=(_normalised(images[validation], pixels, white), labels[validation]),
        test=(_normalised(images[test], pixels, white), labels[test]),
        classes=10,
        description=f"{name}, the embedded {len(labels):,} images: {_sizes(len(train), len(validation), len(test))}",
    )


def _sizes(train: int, validation: int, test: int) -> str:
    return f"{train:,} training, {validation:,} validation and {test:,} test images"


def _normalised(images: Bytes, pixels: tuple[float, float], white: int) -> torch.Tensor:
    """Images (B, height, width) as inputs (B, 1, height, width), through a table: fast, and rounded once."""
    mean, deviation = pixels
    table = ((np.arange(white + 1, dtype=np.float64) / white - mean) / deviation).astype(np.float32)
    return torch.from_numpy(table[images][:, np.newaxis])
