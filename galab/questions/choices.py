"""What a person writes for an analysis, read and checked: lists of numbers, lists of names."""

from __future__ import annotations

import math
from collections.abc import Collection

from galab.errors import UsageError, closest


def numbers_in(text: str, option: str, *, whole: bool = False) -> list[float]:
    """Positive numbers separated by commas, smallest first, each once.

    Args:
        text: such as ``0.001,0.003``.
        option: such as ``--sigmas``, for the message.
        whole: whether they have to be whole numbers.

    Raises:
        UsageError: something else is written there.
    """
    found = set()
    for word in text.split(","):
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value > 0) or (whole and not value.is_integer()):
            kind = "whole numbers above 0" if whole else "numbers above 0"
            raise UsageError(
                f"expected {option} as {kind}, joined by commas, got '{word.strip()}' in '{text}'; correct it"
            )
        found.add(value)
    return sorted(found)


def names_in(text: str, option: str, known: Collection[str]) -> list[str]:
    """Names separated by commas, each once, in their order.

    Args:
        text: such as ``normal,laplace``.
        option: such as ``--distributions``, for the message.
        known: the names that there are.

    Raises:
        UsageError: a name is none of them.
    """
    found = [word.strip() for word in text.split(",") if word.strip()]
    for name in found:
        if name not in known:
            raise UsageError(
                f"expected {option} among {', '.join(known)}, joined by commas, got '{name}'."
                f"{closest(name, list(known))}"
            )
    if not found:
        raise UsageError(f"expected {option} to name some of {', '.join(known)}, got nothing; name one")
    return list(dict.fromkeys(found))


def at_least(option: str, value: int, least: int) -> int:
    """A whole number that is not too small.

    Args:
        option: such as ``--samples``, for the message.
        value: what was given.
        least: the smallest that makes sense.

    Raises:
        UsageError: it is smaller.
    """
    if value < least:
        raise UsageError(f"expected {option} of at least {least:,}, got {value:,}; choose a larger one")
    return value
