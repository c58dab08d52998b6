"""``csv``: a table of one's own, as classification or regression."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galab.errors import UsageError
from galab.tasks.arrays import read_csv
from galab.tasks.classification import Classification
from galab.tasks.regression import Regression


def csv(
    file: str, target: str | None = None, kind: str = "auto", standardize: bool = True
) -> Classification | Regression:
    """A CSV file with a header: its columns are the inputs, one of them the target.

    Args:
        file: where it lies.
        target: the column of targets; the last one when absent.
        kind: ``classification``, ``regression``, or ``auto``: regression where targets are numbers that are not all
            whole, or whole and more than 20 different ones.
        standardize: whether each input column gets mean 0 and deviation 1, over all rows.

    Raises:
        UsageError: the file or a value in it is not as described.
    """
    if kind not in ("auto", "classification", "regression"):
        raise UsageError(f"expected kind to be auto, classification or regression, got '{kind}'; correct it")
    inputs, words, _ = read_csv(Path(file), target)
    name = Path(file).stem
    numbers = _as_numbers(words)
    if kind == "regression" and numbers is None:
        raise UsageError(f"expected targets that are numbers in '{file}' for regression, got texts; use classification")
    labels = numbers is None or (np.equal(numbers, np.rint(numbers)).all() and len(np.unique(numbers)) <= _FEW)
    if kind == "classification" or (kind == "auto" and labels):
        whole = numbers is not None and np.equal(numbers, np.rint(numbers)).all()
        targets = numbers.astype(np.int64) if whole and numbers is not None else np.array(words)
        return Classification.split(name, (_standard(inputs) if standardize else inputs, targets))
    return Regression.split(name, (_standard(inputs) if standardize else inputs, numbers))


def _standard(inputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B, columns) each with mean 0 and deviation 1; a column of one value is 0."""
    deviation = inputs.std(0)
    scaled: NDArray[np.float64] = (inputs - inputs.mean(0)) / np.where(deviation == 0, 1.0, deviation)
    return scaled


#: So many different whole numbers are class numbers; more are measurements.
_FEW = 20


def _as_numbers(words: list[str]) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
    try:
        return np.array([float(word) for word in words])
    except ValueError:
        return None
