"""Single values out of files that anybody may have written: each is what it should be, or one sentence says why not.

A sentence names the value by its place in the file, such as ``strategy.births.id``, and quotes no more of it than fits
a line. Plain types are asked for by name, as ``True`` is a whole number to Python and a subclass could be anything.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from galab.errors import CheckpointError, GalabError

#: Whole numbers up to here have a place in an array of int64.
MOST = 2**63 - 1
#: Letters of a text that says something; texts that hold data are bounded where they are unpacked.
_LETTERS = 100_000
#: Dimensions that an array of NumPy or a tensor can have.
_DIMENSIONS = 64
_HEX = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Leaves:
    """Checks the values of one file.

    Attributes:
        path: the file.
        error: what is raised.
        advice: what to do, the end of each sentence.
    """

    path: Path
    error: type[GalabError] = CheckpointError
    advice: str = "it was damaged or changed, so use another checkpoint"

    def refuse(self, key: str, expected: str, value: Any) -> NoReturn:
        """Say what is wrong.

        Args:
            key: place of the value in the file.
            expected: what should be there.
            value: what is.
        """
        raise self.error(f"expected {expected} as '{key:.80}' in '{self.path}', got {quoted(value)}; {self.advice}")

    def whole(self, value: Any, key: str, low: int = 0, high: int = MOST) -> int:
        """A whole number within bounds."""
        if type(value) is not int or not low <= value <= high:
            bounds = f"of {low} or more" if high == MOST else f"from {low} to {high}"
            self.refuse(key, f"a whole number {bounds}", value)
        return value

    def number(self, value: Any, key: str, low: float = -math.inf, *, finite: bool = True) -> float:
        """A number; infinities and NaN only where ``finite`` is False."""
        good = type(value) is float or (type(value) is int and abs(value) <= MOST)
        if good and finite:
            good = math.isfinite(value) and value >= low
        if not good:
            self.refuse(key, "a finite number" + ("" if low == -math.inf else f" of {low:g} or more"), value)
        return float(value)

    def flag(self, value: Any, key: str) -> bool:
        """True or False."""
        if type(value) is not bool:
            self.refuse(key, "True or False", value)
        return value

    def text(self, value: Any, key: str) -> str:
        """A text of a bounded number of letters."""
        if type(value) is not str or len(value) > _LETTERS:
            self.refuse(key, f"a text of at most {_LETTERS:,} letters", value)
        return value

    def digest(self, value: Any, key: str) -> str:
        """A SHA-256 in hexadecimal."""
        if type(value) is not str or not _HEX.fullmatch(value):
            self.refuse(key, "a SHA-256 of 64 hexadecimal digits", value)
        return value

    def mapping(self, value: Any, key: str) -> dict[str, Any]:
        """A dict whose keys are texts."""
        if type(value) is not dict or any(type(name) is not str for name in value):
            self.refuse(key, "a dict", value)
        return value

    def listing(self, value: Any, key: str, length: int | None = None) -> list[Any]:
        """A list, of a given length where one is given."""
        if type(value) is not list or (length is not None and len(value) != length):
            self.refuse(key, "a list" if length is None else f"a list of length {length}", value)
        return value

    def shape(self, value: Any, key: str, most: int) -> list[int]:
        """The shape of an array, each of its lengths from 0 to ``most``."""
        if len(self.listing(value, key)) > _DIMENSIONS:
            self.refuse(key, f"a shape of at most {_DIMENSIONS} dimensions", value)
        return [self.whole(length, key, 0, most) for length in value]

    def scalar(self, value: Any, key: str) -> Any:
        """A number, a text, True, False or nothing."""
        if value is None or type(value) is bool:
            return value
        return self.text(value, key) if type(value) is str else self.number(value, key, finite=False)

    def array(self, value: Any, key: str, shape: tuple[int | None, ...], dtype: Any) -> NDArray[Any]:
        """An array of one element type; None in its shape is any length."""
        fits = isinstance(value, np.ndarray) and value.dtype == np.dtype(dtype) and len(value.shape) == len(shape)
        if not fits or any(want not in (None, got) for want, got in zip(shape, value.shape, strict=True)):
            kind = np.dtype(dtype)
            lengths = ", ".join("any" if length is None else str(length) for length in shape)
            self.refuse(key, f"an array of {kind if kind.names is None else 'rows'} of shape ({lengths})", value)
        return value

    def numbers(self, value: Any, key: str) -> NDArray[Any]:
        """An array of numbers or truths, of any shape."""
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
            self.refuse(key, "an array of numbers", value)
        return value

    def within(self, values: NDArray[Any], key: str, low: int, high: int) -> None:
        """Refuse whole numbers out of bounds in an array."""
        if values.size and (int(values.min()) < low or int(values.max()) > high):
            self.refuse(key, f"whole numbers from {low} to {high}", [int(values.min()), int(values.max())])


def quoted(value: Any) -> str:
    """A value in a few words for a message."""
    if isinstance(value, np.ndarray):
        kind = "rows" if value.dtype.names else value.dtype
        return f"an array of {kind} of shape {value.shape}"
    if isinstance(value, dict):
        return f"a dict of {len(value)}"
    if isinstance(value, list) and len(value) > 4:
        return f"a list of {len(value)}"
    if isinstance(value, int) and abs(value) > 10**40:
        return "a whole number of more than 40 digits"
    return "nothing" if value is None else f"{value!r:.60}"
