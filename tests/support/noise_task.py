"""A small classification task."""

from __future__ import annotations

import numpy as np

from galab.tasks.classification import Classification


def classification(shape: tuple[int, ...] = (6,), examples: int = 70, classes: int = 5) -> Classification:
    """Random images with random classes."""
    generator = np.random.Generator(np.random.Philox(0))

    def split(count: int):
        inputs = generator.standard_normal((count, *shape)).astype(np.float32)
        return inputs, generator.integers(0, classes, count)

    return Classification(
        name="noise", train=split(examples), validation=split(9), test=split(8), classes=classes
    )
