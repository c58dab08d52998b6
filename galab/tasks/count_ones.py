"""How many bits are on? A function that is simple to say and changes its value with every single input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from galab.errors import UsageError
from galab.tasks.classification import Classification
from galab.tasks.drawn import at_least, order, raw

#: Up to this many bits all inputs are put in random order; with more of them they are drawn.
_LISTED = 20
_INPUTS = 0


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
        numbers = order(1 << bits, run_key, _INPUTS)[:count].astype("<u4")
        return np.unpackbits(numbers.view(np.uint8).reshape(count, 4), axis=1, count=bits, bitorder="little") > 0
    width = -(-bits // 64)
    drawn = raw(run_key, _INPUTS, 2 * count * width).astype("<u8").reshape(2 * count, width)
    found = np.unpackbits(drawn.view(np.uint8), axis=1, count=bits, bitorder="little")
    _, first = np.unique(found, axis=0, return_index=True)
    return found[np.sort(first)[:count]] > 0
