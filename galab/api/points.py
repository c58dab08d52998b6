"""The points of a search over vectors: the box that they lie in, where they begin, the strategy that makes them.

A search begins anywhere in the box, as Hansen advises ("The CMA Evolution Strategy: A Tutorial", arXiv 1604.00772). The
default population is that of Wierstra et al., "Natural Evolution Strategies", JMLR 15 (2014).
"""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.config.parsing import arguments_for
from galab.config.registry import STRATEGIES
from galab.contracts import ExactMembers
from galab.errors import UsageError, closest
from galab.genome.random import Stream, words
from galab.operators.selection import with_best
from galab.strategies.build import vector_class, vector_strategy_of

Vector = NDArray[np.float64]

#: What becomes of a point outside the box.
OUTSIDE = ("clip", "reflect")
#: The first standard deviation over the width of the box. With the tutorial's 0.3 the centre leaves the box at once in
#: many searches, and some of them never come back (measured: NOTES.md).
_SIGMA_PER_WIDTH = 0.2
#: What a strategy is given by galab itself.
_GIVEN = {"start": "use x0", "run_key": "use seed", "population": "use population", "sigma": "use sigma"}


def numbers(name: str, given: Any, *, shape: str = "a vector", finite: bool = True) -> Vector:
    """An argument as a float64 array of its own.

    Args:
        name: the argument's, for messages.
        given: a number, a sequence, an array or a tensor.
        shape: what is expected, for messages.
        finite: whether infinities are refused; NaN always is.

    Raises:
        UsageError: these are not real numbers, or not finite.
    """
    try:
        found = np.array(given.detach().cpu() if hasattr(given, "detach") else given)
        if found.dtype.kind not in "fiu":
            raise TypeError(f"{found.dtype} is no type of real numbers")
        found = found.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"expected {name} as {shape} of numbers, got {given!r:.80} ({error}); correct it") from None
    if np.isnan(found).any() or (finite and not np.isfinite(found).all()):
        raise UsageError(f"expected {name} as {shape} of finite numbers, got {given!r:.80}; correct it")
    return found


def number(name: str, given: Any) -> float:
    """An argument as one finite number.

    Raises:
        UsageError: it is none.
    """
    found = numbers(name, given, shape="one")
    if found.size != 1:
        raise UsageError(f"expected {name} as one number, got an array of shape {found.shape}; give one")
    return float(found.item())


def whole(name: str, given: Any, *, least: int = 1) -> int:
    """An argument as a whole number.

    Raises:
        UsageError: it is none, or less than ``least``.
    """
    try:
        found = operator.index(given)
    except TypeError:
        found = least - 1
    if found < least or isinstance(given, bool):
        raise UsageError(f"expected {name} as a whole number from {least} on, got {given!r:.80}; change it")
    return found


@dataclass(frozen=True, slots=True)
class Box:
    """Where points may lie.

    Attributes:
        low, high: (D,) bounds, which may be infinite.
        outside: one of :data:`OUTSIDE`.
    """

    low: Vector
    high: Vector
    outside: str

    def inside(self, points: Vector) -> Vector:
        """Points (..., D) moved into the box; those that are in it stay as they are, to the bit."""
        low, high = self.low, self.high
        if self.outside == "clip" or not ((points < low) | (points > high)).any():
            return np.clip(points, low, high)
        with np.errstate(invalid="ignore"):  # of infinities
            once = np.where(points < low, 2 * low - points, np.where(points > high, 2 * high - points, points))
            width = high - low
            again = low + width - np.abs(np.mod(points - low, 2 * width) - width)
        folded = np.where(np.isfinite(width), again, once)
        return np.clip(np.where((points < low) | (points > high), folded, points), low, high)


def box_of(size: int, bounds: Any, outside: str) -> Box:
    """The box of a function of D numbers.

    Args:
        size: D.
        bounds: ``(low, high)``, each a number or (D,); None for no bounds.
        outside: one of :data:`OUTSIDE`.

    Raises:
        UsageError: these are no bounds, or none for D numbers.
    """
    if outside not in OUTSIDE:
        near = closest(str(outside), list(OUTSIDE))
        raise UsageError(f"expected outside to be 'clip' or 'reflect', got {outside!r:.80}.{near}")
    if bounds is None and outside != "clip":
        raise UsageError(f"expected bounds with outside={outside!r}, got none to be outside of; give them")
    wanted = f"expected bounds as (low, high), each a number or {size:,} numbers"
    given = (-math.inf, math.inf) if bounds is None else tuple(bounds) if isinstance(bounds, zip) else bounds
    if isinstance(given, list) and len(given) == size == 2 and all(isinstance(one, tuple) for one in given):
        # As low and high these two would be another box, without a word.
        raise UsageError(
            f"{wanted}, got a list of two pairs, which may be one for each dimension; bounds=zip(*pairs) makes "
            "both sides of such, a tuple of two is low and high"
        )
    if not isinstance(given, Sequence | np.ndarray) or isinstance(given, str) or len(given) != 2:
        count = f"{len(given):,} entries" if isinstance(given, Sequence | np.ndarray) else f"{given!r:.80}"
        raise UsageError(f"{wanted}, got {count}; of pairs, one for each dimension, bounds=zip(*pairs) makes both")
    sides = []
    for name, side in zip(("low", "high"), given, strict=True):
        found = numbers(f"the {name} bounds", side, shape=f"a number or {size:,}", finite=False)
        if found.shape not in ((), (1,), (size,)):
            raise UsageError(f"{wanted}, got an array of shape {found.shape} as {name}; correct it")
        sides.append(np.broadcast_to(found, (size,)).copy())
    low, high = sides
    if not (low < high).all():
        place = int(np.argmin(low < high))
        raise UsageError(
            f"expected low bounds below the high ones, got {low[place]:g} and {high[place]:g} in dimension {place}; "
            "correct bounds=(low, high)"
        )
    return Box(low, high, outside)


def start_in(box: Box, x0: Vector | None, seed: int) -> Vector:
    """(D,) where a search begins: x0, or a point drawn evenly from the box, or zero where there is no box.

    Raises:
        UsageError: x0 lies outside the box, or one side of it alone is bounded, so nothing can be drawn.
    """
    low, high = box.low, box.high
    if x0 is not None:
        wrong = (x0 < low) | (x0 > high)
        if wrong.any():
            place = int(np.argmax(wrong))
            raise UsageError(
                f"expected x0 within its bounds, got {x0[place]:g} in dimension {place}, which is bounded by "
                f"{low[place]:g} and {high[place]:g}; move it, or widen the bounds"
            )
        return x0
    finite = np.isfinite(low) & np.isfinite(high)
    if (~finite & (np.isfinite(low) | np.isfinite(high))).any():
        raise UsageError("expected two finite bounds, or none, for each dimension with dim, got one; give x0")
    share = (words(seed, 0, Stream.FOUNDER, len(low)) >> np.uint64(11)) * 2.0**-53
    drawn = np.where(finite, low, 0.0) + share * np.where(finite, high - low, 0.0)
    return np.clip(drawn, low, high)


class Points:
    """A strategy whose members are points of a box.

    Args:
        strategy: what has ``ask`` and ``tell``; of one with ``exact_members`` these are taken.
        box: members outside it are moved in; the strategy is told their fitness there.
        scale: () or (D,) units of x in one unit of the strategy.
    """

    def __init__(self, strategy: Any, box: Box, scale: Vector) -> None:
        self._strategy, self._box, self._scale = strategy, box, scale
        self._exact = isinstance(strategy, ExactMembers)
        #: Whether all members were one and the same when they were last asked for.
        self.collapsed = False

    def ask(self) -> Vector | None:
        """(N, D) the points of a generation; None where members have left what float64 can hold.

        Raises:
            UsageError: the strategy gives something else.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            asked = self._strategy.exact_members() if self._exact else self._strategy.ask()
            members = np.asarray(asked, dtype=np.float64) * self._scale
        size = len(self._box.low)
        if members.ndim != 2 or members.shape[1] != size or not len(members):
            raise UsageError(f"expected points (N, {size}) from the strategy's ask(), got {members.shape}; correct it")
        self.collapsed = bool((members == members[0]).all())
        return self._box.inside(members) if np.isfinite(members).all() else None

    def tell(self, values: Vector) -> None:
        """(N,) values that are better when higher, NaN for failures."""
        with np.errstate(over="ignore", invalid="ignore"):
            self._strategy.tell(with_best(values))

    @property
    def centre(self) -> Vector:
        """(D,) the strategy's centre, moved into the box; NaN where it has none."""
        centre = self._strategy.exact_centre if self._exact else getattr(self._strategy, "centre", math.nan)
        scaled = np.asarray(centre, dtype=np.float64) * self._scale
        return self._box.inside(np.broadcast_to(scaled, self._box.low.shape))

    @property
    def sigma(self) -> float | None:
        """Mean step size in units of x; None where the strategy has none."""
        sigma = getattr(self._strategy, "sigma", None)
        return None if sigma is None or callable(sigma) else float(np.mean(self._scale * np.asarray(sigma)))


def points_of(
    strategy: Any, x0: Any, plan: Callable[[int, int], int], *, dim: Any, bounds: Any, outside: str, sigma: Any,
    population: Any, seed: Any,
) -> Points:  # fmt: skip
    """What :func:`galab.minimize` searches with; the arguments are its own.

    ``plan`` says from N and D how many generations there will be; a class with a parameter ``generations`` is told so.

    Raises:
        UsageError: an argument is wrong.
    """
    if not isinstance(strategy, str) and not all(callable(getattr(strategy, name, None)) for name in ("ask", "tell")):
        raise UsageError(
            "expected strategy as a name, or as a class or an object with ask and tell, got "
            f"{strategy!r:.80}; give one"
        )
    if not isinstance(strategy, str) and not inspect.isclass(strategy):
        return _points_of_object(strategy, bounds, outside, x0=x0, dim=dim, sigma=sigma, population=population)
    if (x0 is None) == (dim is None):
        got = "both" if dim is not None else "neither"
        raise UsageError(f"expected either x0, a first point, or dim, a number of dimensions, got {got}; give one")
    first = None if x0 is None else numbers("x0", x0)
    if first is not None and (first.ndim != 1 or not first.size):
        raise UsageError(f"expected x0 as a vector, got an array of shape {first.shape}; flatten it")
    size = whole("dim", dim) if first is None else len(first)
    box = box_of(size, bounds, outside)
    if whole("seed", seed, least=0) >= 1 << 64:
        raise UsageError(f"expected seed below 2^64, got {seed}; choose a smaller one")
    start = start_in(box, first, seed)
    steps = _sigma(sigma, box)
    one = bool((steps == steps[0]).all())
    scale = np.ones(()) if one else steps
    members = 4 + int(3 * math.log(size)) if population is None else whole("population", population, least=2)
    members += members % 2 if population is None else 0
    generations = plan(members, size)
    arguments = {"run_key": int(seed), "population": members, "sigma": float(steps[0]) if one else 1.0}
    kind: Any = strategy
    called = getattr(strategy, "__name__", "")
    if isinstance(strategy, str):
        kind, call = vector_class(strategy), STRATEGIES.parse(strategy)
        called = call.name
        arguments |= arguments_for(call, kind, "strategy", _GIVEN)
    if "generations" in inspect.signature(kind).parameters:
        arguments.setdefault("generations", generations)
    return Points(vector_strategy_of(kind, start / scale, called=called, **arguments), box, scale)


def _sigma(given: Any, box: Box) -> Vector:
    """(D,) the first standard deviations."""
    size = len(box.low)
    if given is None:
        width = box.high - box.low
        return np.where(np.isfinite(width), _SIGMA_PER_WIDTH * width, 1.0)
    found = numbers("sigma", given, shape=f"a number or {size:,}")
    if found.shape not in ((), (1,), (size,)) or not (found > 0).all():
        raise UsageError(f"expected sigma as a number above 0, or {size:,} of them, got {given!r:.80}; change it")
    return np.broadcast_to(found, (size,)).copy()


def _points_of_object(strategy: Any, bounds: Any, outside: str, **own: Any) -> Points:
    """A strategy that has been made already, with a start, a population and a seed of its own."""
    for name, value in own.items():
        if value is not None:
            raise UsageError(
                f"expected no {name} with a strategy that has been made already, got {value!r:.80}; say it there"
            )
    asked = np.asarray(strategy.ask())
    return Points(strategy, box_of(asked.shape[-1] if asked.ndim else 0, bounds, outside), np.ones(()))
