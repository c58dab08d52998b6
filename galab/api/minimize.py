"""Minimising a plain function of a vector, without a network, by a strategy over vectors."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from galab.api.arguments import check_choice, check_function
from galab.api.points import Points, number, points_of, whole
from galab.api.scores import read_scores, sign_of
from galab.errors import NoViableChildError, UsageError

logger = logging.getLogger("galab")

#: Evaluations per dimension where neither generations nor evaluations are said.
_BUDGET = 1000


@dataclass(frozen=True, slots=True)
class Generation:
    """A generation in numbers, in the function's own terms.

    Attributes:
        generation: its number, from 1.
        evaluations: points evaluated so far.
        best: the best value so far.
        generation_best, mean: over the points of this generation that have a value; NaN if none has.
        sigma: mean over the dimensions of the step sizes after it, in units of x; None where the strategy has none.
        failures: points of this generation without a value.
    """

    generation: int
    evaluations: int
    best: float
    generation_best: float
    mean: float
    sigma: float | None
    failures: int


@dataclass(frozen=True, slots=True)
class View:
    """What a callback sees after a generation.

    Attributes:
        record: the generation in numbers.
        x: (D,) the best point so far.
        points: (N, D) the points of this generation.
        values: (N,) what the function gave for them; NaN for failures.
        centre: (D,) where the strategy stands now.
    """

    record: Generation
    x: NDArray[np.float64]
    points: NDArray[np.float64]
    values: NDArray[np.float64]
    centre: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MinimizeResult:
    """What was found; the names are those of scipy's ``OptimizeResult`` where it has them.

    Attributes:
        x: (D,) float64, the best point that was evaluated.
        fun: its value.
        nfev: points evaluated.
        nit: generations.
        success: whether the target was reached; without a target, whether the search ended by one of its stop rules.
        message: why it ended, a sentence.
        history: a row for each generation.
        centre: (D,) float64, where the strategy stood at the end. Where the function is noisy, it is the better answer.
    """

    x: NDArray[np.float64]
    fun: float
    nfev: int
    nit: int
    success: bool
    message: str
    history: tuple[Generation, ...]
    centre: NDArray[np.float64]


def minimize(
    function: Callable[[Any], Any], x0: ArrayLike | None = None, *, dim: int | None = None, bounds: Any = None,
    outside: str = "clip", strategy: Any = "snes", batched: bool = False, torch: bool = False,
    direction: str = "minimize", sigma: ArrayLike | None = None, population: int | None = None, seed: int = 0,
    generations: int | None = None, evaluations: int | None = None, target: float | None = None,
    patience: int | None = None, callback: Callable[[View], Any] | None = None,
) -> MinimizeResult:  # fmt: skip
    """Find a point where a function is as small as possible; ``docs/minimize.md`` has examples.

    Args:
        function: from a point (D,) to a number, or, with ``batched``, from points (N, D) to N numbers. NaN and the
            worst infinity are failures; so is, without ``batched``, what it raises for some points.
        x0: (D,) where the search begins.
        dim: D, in the place of x0: the search begins anywhere in the box, or at zero where there is none.
        bounds: the box, ``(low, high)``, each a number or (D,).
        outside: what becomes of points outside: ``"clip"`` puts them on the bound, ``"reflect"`` mirrors them there.
        strategy: ``"snes"``, ``"pgpe"``, ``"snes(lr_sigma=0.2)"``, ``"FILE.py:Class"``; or a class
            (:class:`galab.contracts.VectorStrategy`), or an object with ``ask`` and ``tell``, which has its own start.
        batched: whether the function takes all points of a generation at once.
        torch: whether it is given tensors (float64, on the CPU) in place of arrays (float64).
        direction: ``"minimize"`` or ``"maximize"``.
        sigma: the first standard deviation of the points around x0, in units of x, a number or (D,); None is 0.2 of
            the box's width, and 1 where it has none.
        population: N; None is 4 + floor(3 ln D), the default of SNES's authors, or the next even number.
        seed: key of all randomness, from 0 below 2^64.
        generations: at most so many.
        evaluations: at most so many, in whole generations; None, without ``generations`` too, is 1,000 D.
        target: stop at a value as good as this.
        patience: stop after so many generations without a better value.
        callback: called after each generation; the search stops where it returns True.

    Raises:
        UsageError: an argument is wrong, or what the function gave is not one number for each point.
        NoViableChildError: not one point of the first generation has a value.
    """
    sign = sign_of(direction)
    for name, value in (("batched", batched), ("torch", torch)):
        check_choice(name, value, (True, False))
    if callback is not None:
        check_function("callback", callback, "a function of what was found so far")
    limits = {"generations": generations, "evaluations": evaluations, "patience": patience}
    stops = _Stops(
        **{name: None if value is None else whole(name, value) for name, value in limits.items()},
        target=None if target is None else sign * number("target", target),
        callback=callback,
    )
    points = points_of(
        strategy, x0, stops.plan, dim=dim, bounds=bounds, outside=outside, sigma=sigma, population=population, seed=seed
    )
    return _Search(points, _Values(function, batched, torch, sign)).run(stops)


@dataclass(slots=True)
class _Stops:
    """When a search ends, see :func:`minimize`; the target is turned so that higher is better."""

    generations: int | None
    evaluations: int | None
    patience: int | None
    target: float | None
    callback: Callable[[View], Any] | None

    def plan(self, points: int, size: int) -> int:
        """How many generations of N points of D numbers there can be; where nothing was said, a budget is set.

        Raises:
            UsageError: not a single one.
        """
        if self.generations is None and self.evaluations is None:
            self.evaluations = max(_BUDGET * size, points)
        if self.evaluations is not None and self.evaluations < points:
            raise UsageError(
                f"expected evaluations for one generation at least, {points:,}, got {self.evaluations:,}; give more, "
                "or a smaller population"
            )
        most = [self.generations, None if self.evaluations is None else self.evaluations // points]
        return min(one for one in most if one is not None)

    def reason(self, search: _Search) -> str | None:
        """Why the search ends after its last generation, if it does."""
        last = search.history[-1]
        answer = self.callback(search.view()) if self.callback else None
        waited = last.generation - search.improved
        if self.target is not None and search.best >= self.target:
            return f"generation {last.generation:,} reached the target"
        if isinstance(answer, bool | np.bool_) and answer:
            return f"the callback ended the search after generation {last.generation:,}"
        if search.points.collapsed:
            return "all points of the last generation are one and the same: the step size has become too small"
        if self.patience is not None and waited >= self.patience:
            return f"{waited:,} generations brought no better value"
        if self.generations is not None and last.generation >= self.generations:
            return f"all {self.generations:,} generations are done"
        if self.evaluations is not None and last.evaluations + len(search.values) > self.evaluations:
            return f"{last.evaluations:,} evaluations are done, of at most {self.evaluations:,}"
        return None


class _Values:
    """The caller's function, turned so that higher is better."""

    def __init__(self, function: Callable[[Any], Any], batched: bool, torch: bool, sign: float) -> None:
        check_function("function", function, "a function of a vector")
        self.sign = sign
        self.error: Exception | None = None
        self._function, self._batched, self._torch = function, batched, torch

    def of(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) of points (N, D); NaN for failures. The function gets copies, which it may change."""
        self.error = None
        given: Any = points.copy()
        if self._torch:
            import torch

            given = torch.from_numpy(given)
        told = self._function(given) if self._batched else [self._value(point) for point in given]
        return read_scores(told, len(points), self.sign, who="point", whose="the generation")

    def _value(self, point: Any) -> Any:
        try:
            return self._function(point)
        except Exception as error:  # whatever is wrong with one point, the others count
            self.error = self.error or error
            return math.nan

    @property
    def raised(self) -> str:
        """What the function raised for a point of the last generation, as the end of a sentence."""
        return f", and the function raised {type(self.error).__name__}: {self.error}" if self.error else ""


class _Search:
    """A search and what it has found. Values in ``best`` and ``values`` are better when higher."""

    def __init__(self, points: Points, function: _Values) -> None:
        self.points = points
        self.history: list[Generation] = []
        #: The best value so far, and the generation that found it.
        self.best, self.improved = -math.inf, 0
        #: (N,) of the last generation.
        self.values = np.zeros(0)
        self._function = function
        self._asked = self._x = np.zeros((0, 0))

    def run(self, stops: _Stops) -> MinimizeResult:
        """Generations until a stop rule holds."""
        reason, ended = None, False
        while reason is None:
            asked = self.points.ask()
            if asked is None:
                ended, reason = True, "the points have left what float64 can hold: the function may have no end there"
                break
            if not self.history:
                stops.plan(*asked.shape)
            reason = self._generation(asked)
            ended = reason is not None
            reason = reason or stops.reason(self)
        if not self.improved:
            raise NoViableChildError(f"{reason}; look at the function, or give another x0 or sigma") from (
                self._function.error
            )
        reached = stops.target is None or self.best >= stops.target
        last = self.history[-1]
        return MinimizeResult(
            self._x, last.best, last.evaluations, last.generation, reached and not ended, reason, tuple(self.history),
            self.points.centre,
        )  # fmt: skip

    def view(self) -> View:
        """What a callback sees."""
        values = self._function.sign * self.values
        return View(self.history[-1], self._x.copy(), self._asked.copy(), values, self.points.centre)

    def _generation(self, asked: NDArray[np.float64]) -> str | None:
        """Evaluate and tell points, and write the generation down; why the search cannot go on, if it cannot."""
        self._asked, self.values = asked, self._function.of(asked)
        good, sign, generation = self.values[~np.isnan(self.values)], self._function.sign, len(self.history) + 1
        failures = len(self.values) - good.size
        top = mean = math.nan
        if good.size:
            with np.errstate(invalid="ignore", over="ignore"):  # of infinities
                top, mean = sign * float(good.max()), sign * float(good.mean())
            if not self.improved or good.max() > self.best:
                self.best, self.improved = float(good.max()), generation
                self._x = asked[np.nanargmax(self.values)].copy()
            self.points.tell(self.values)
        if failures and not any(row.failures for row in self.history):
            logger.warning(
                "generation %d: %d of %d points have no value%s; they rank last, and this is told once",
                generation, failures, len(self.values), self._function.raised,
            )  # fmt: skip
        evaluations = len(self.values) + (self.history[-1].evaluations if self.history else 0)
        best = sign * self.best if self.improved else math.nan
        self.history.append(Generation(generation, evaluations, best, top, mean, self.points.sigma, failures))
        if good.size:
            return None
        return f"not one of {failures} points of generation {generation} has a value{self._function.raised}"
