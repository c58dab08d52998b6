"""What people tell as fitness, read in one way for searches, evolution strategies and trainers."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from galab.errors import UsageError

logger = logging.getLogger("galab")
#: Whether a larger or a smaller fitness is better.
DIRECTIONS = ("maximize", "minimize")


class Failures:
    """Tells of members without a score: in the first generation that has any, the tenth, the hundredth, and so on."""

    def __init__(self) -> None:
        self._generations = 0

    def tell(self, generation: int, failed: int, what: str) -> None:
        """Warn of a generation's failures, if it is one of those.

        Args:
            generation: its number.
            failed: how many members have failed.
            what: "... of" what, and what that means.
        """
        if not failed:
            return
        self._generations += 1
        if self._generations == 10 ** (len(str(self._generations)) - 1):
            before = f", the {self._generations:,}th generation with failures" if self._generations > 1 else ""
            logger.warning("generation %d: %d of %s%s", generation, failed, what, before)


def kind_of_failure(reason: str) -> str:
    """A reason without its numbers: places of members differ."""
    return re.sub(r"\d+", "", reason)


def sign_of(direction: str) -> float:
    """What a fitness is multiplied by so that higher is better.

    Raises:
        UsageError: the direction is none.
    """
    if direction not in DIRECTIONS:
        raise UsageError(f"expected direction to be 'maximize' or 'minimize', got {direction!r}")
    return 1.0 if direction == "maximize" else -1.0


def check_seed(seed: Any) -> None:
    """Refuse the absence of a seed: a search is made again by its own.

    Raises:
        UsageError: there is none.
    """
    if seed is None:
        raise UsageError("expected seed to be a whole number from 0, got None; give one, such as seed=0")


def read_objectives(told: Any, count: int, signs: Sequence[float], *, who: str = "member") -> NDArray[np.float64]:
    """A number for each member and objective, higher is better.

    Args:
        told: a tensor or an array of shape (n, M), or a sequence of n such rows.
        count: n.
        signs: M, see :func:`sign_of`.
        who: what a member is called, in messages.

    Returns:
        (n, M); a member that failed in one objective has NaN in all.

    Raises:
        UsageError: these are not that many numbers.
    """
    if isinstance(told, torch.Tensor):
        told = told.detach().cpu().numpy() if told.is_complex() else told.detach().cpu().double().numpy()
    wanted = f"expected {count:,} times {len(signs)} fitness values, one for each objective of each {who}"
    if not isinstance(told, np.ndarray) and (not isinstance(told, Sequence) or isinstance(told, str | bytes)):
        raise UsageError(f"{wanted}, got {_what(told)}; give rows of {len(signs)} numbers")
    rows = list(told)
    if len(rows) != count:
        raise UsageError(f"{wanted}, got {len(rows):,} rows; give one for each {who}, in the order of ask()")
    found = np.empty((count, len(signs)))
    for place, row in enumerate(rows):
        size = np.shape(row)[0] if isinstance(row, np.ndarray | torch.Tensor) and np.ndim(row) == 1 else None
        size = len(row) if size is None and isinstance(row, Sequence) and not isinstance(row, str | bytes) else size
        if size != len(signs):
            raise UsageError(f"{wanted}, got {_what(row)} at place {place}; give a row of {len(signs)} numbers")
        found[place] = [sign * number(value, place, who) for sign, value in zip(signs, row, strict=True)]
    failed = ~(found > -np.inf).all(axis=1)
    found[failed] = np.nan
    return found


def read_scores(
    told: Any, count: int, sign: float = 1.0, *, who: str = "member", whose: str = "the last ask()"
) -> NDArray[np.float64]:
    """One number for each member, higher is better.

    Args:
        told: a tensor or an array of shape (n,) or (n, 1) and any real type, or a sequence of numbers, each of which
            may be a tensor or an array of one element.
        count: n.
        sign: see :func:`sign_of`.
        who: what a member is called, in messages.
        whose: what the members are of, in messages.

    Returns:
        (n,) NaN where a member failed: its score is NaN, masked, or the worst infinity. The best infinity stays: it
        ranks first.

    Raises:
        UsageError: these are not that many numbers.
    """
    wanted = f"expected {count:,} fitness values, one per {who} of {whose}"
    if isinstance(told, torch.Tensor):
        told = told.detach().cpu()
        told = told.to_dense() if told.layout != torch.strided else told
        told = (told.double() if not told.is_complex() else told).numpy()
    if isinstance(told, np.ma.MaskedArray):
        told = np.ma.filled(told.astype(np.float64), np.nan)
    if isinstance(told, np.ndarray):
        if told.dtype.kind not in "fiub" and told.dtype.kind != "O":
            raise UsageError(f"{wanted}, got an array of type {told.dtype}; give real numbers")
        if told.dtype.kind == "O":
            told = np.array([number(one, place, who) for place, one in enumerate(told.flat)]).reshape(told.shape)
        values = told.astype(np.float64)
    elif isinstance(told, Sequence) and not isinstance(told, str | bytes):
        values = np.array([number(one, place, who) for place, one in enumerate(told)], dtype=np.float64)
    else:
        raise UsageError(f"{wanted}, got {_what(told)}; give a list, an array or a tensor of {count:,} numbers")
    if values.shape == (count, 1):
        values = values[:, 0]
    if values.shape != (count,):
        got = f"{len(values):,}" if values.ndim == 1 else f"an array of shape {values.shape}"
        raise UsageError(f"{wanted}, got {got}; give one number for each {who}, in their order")
    values = sign * values
    return np.where(values == -np.inf, np.nan, values)


def number(value: Any, place: int, who: str) -> float:
    """A single score.

    Raises:
        UsageError: it is no number.
    """
    many = isinstance(value, torch.Tensor | np.ndarray) and int(np.prod(value.shape)) != 1
    if many or value is None or isinstance(value, Mapping | str | bytes | Sequence | complex):
        raise UsageError(
            f"expected a number as the fitness of each {who}, got {_what(value)} at place {place}; return a number, or "
            "float('nan') for a failure"
        )
    try:
        return float(value.item() if isinstance(value, torch.Tensor | np.ndarray) else value)
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(
            f"expected a number as the fitness of each {who}, got {_what(value)} at place {place} ({error}); return a "
            "number, or float('nan') for a failure"
        ) from None


def _what(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, torch.Tensor | np.ndarray):
        return f"an array of shape {tuple(value.shape)}"
    if isinstance(value, bool | int | float):
        return "one number"
    return f"an object of type {type(value).__name__}"
