"""The noise of integer EGGROLL: int8 numbers from 16 N(0, 1), keyed by run, update, pair and parameter.

A matrix (m, n) gets r (n + m) numbers, B before A; a vector of d twice as many numbers, whose products are its noise.
Every parameter has a sequence of its own and every pair a place in it, so no two share any, and any pair can be drawn
alone. Source: Sarkar et al., "Evolution Strategies at the Hyperscale", arXiv 2511.16652.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from galab.errors import UsageError
from galab.genome.random import Stream, table, words_at
from galab.genome.weights import Layout
from galab.integer.arithmetic import TOP, rank_shift
from galab.operators.es_noise import BLOCK_CODES


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseConfig:
    """How integer EGGROLL perturbs, counts votes and moves.

    Attributes:
        rank: r, 1, 4 or 16.
        sigma_shift: s: a weight of a member lies 2^-s from the centre's, as a standard deviation in network units.
        fixed_point: bits behind the point, 4: a number v is stored as 16 v.
        learning_rate: what a weight moves by, in units of 1/16.
        weight_clip: the largest magnitude of a stored weight, in network units; 127/16 at most.
        fast_fitness: whether a pair counts by the sign of its difference alone, not by its size over their root mean
            square.
        update_threshold: 16 times the standard score from which on a weight moves; None follows from the share of
            weights that may move.
        use_clt: whether votes have the size of the noise, and not its sign alone.
        noise_reuse: for how many updates the same noise serves.

    Raises:
        UsageError: a value is none of these.
    """

    rank: int = 1
    sigma_shift: int = 4
    fixed_point: int = 4
    learning_rate: int = 1
    weight_clip: float = TOP / 16
    fast_fitness: bool = False
    update_threshold: int | None = None
    use_clt: bool = True
    noise_reuse: int = 1

    def __post_init__(self) -> None:
        rank_shift(self.rank)
        bounds = {"sigma_shift": (0, 16), "fixed_point": (4, 4), "learning_rate": (1, TOP), "noise_reuse": (1, 2**31)}
        if self.update_threshold is not None:
            bounds["update_threshold"] = (0, 16 * 16)
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                what = f"{low}" if low == high else f"a whole number from {low} to {high}"
                raise UsageError(f"expected {name} as {what}, got {value!r}; correct it")
        if not 1 / 16 <= self.weight_clip <= TOP / 16:
            raise UsageError(f"expected weight_clip from 1/16 to {TOP / 16}, got {self.weight_clip!r}; correct it")

    @property
    def shift(self) -> int:
        """Bits by which noise is shifted, beside those of the point: that of the rank included."""
        return self.sigma_shift + rank_shift(self.rank)

    @property
    def top(self) -> int:
        """The largest magnitude of a stored weight."""
        return round(16 * self.weight_clip)


@dataclass(frozen=True, slots=True)
class TensorNoise:
    """One parameter's numbers for several pairs.

    Attributes:
        b: (P, r, n) int8 of a matrix; (P, d) int16 products of a vector.
        a: (P, r, m) int8; None for a vector.
    """

    b: NDArray[np.int8] | NDArray[np.int16]
    a: NDArray[np.int8] | None = None


class IntegerNoise:
    """Draws it.

    Args:
        layout: the network's parameters, matrices and vectors.
        config: rank and reuse.
        run_key: the run's key.
    """

    def __init__(self, layout: Layout, config: NoiseConfig, run_key: int) -> None:
        for name, shape in zip(layout.names, layout.shapes, strict=True):
            if len(shape) not in (1, 2):
                raise UsageError(f"expected matrices and vectors in an integer network, got '{name}' of shape {shape}")
        self._layout, self._config, self._run_key = layout, config, run_key

    def numbers(self) -> int:
        """Random numbers of one pair."""
        return sum(_count(shape, self._config.rank) for shape in self._layout.shapes)

    def of(self, update: int, first: int, last: int) -> dict[str, TensorNoise]:
        """The noise of pairs ``first`` to ``last - 1``.

        Args:
            update: number of the update, from 0.
            first: a pair.
            last: one past the last.
        """
        generation, found = update // self._config.noise_reuse, {}
        for number, (name, shape) in enumerate(zip(self._layout.names, self._layout.shapes, strict=True)):
            count = _count(shape, self._config.rank)
            drawn = self._drawn(generation, number, first, last, count)
            if len(shape) == 1:
                pairs = drawn.reshape(len(drawn), -1, 2).astype(np.int16)
                found[name] = TensorNoise(pairs[..., 0] * pairs[..., 1])
            else:
                m, n = shape
                cut, rank = self._config.rank * n, self._config.rank
                b, a = drawn[:, :cut], drawn[:, cut:]
                found[name] = TensorNoise(
                    np.ascontiguousarray(b).reshape(-1, rank, n), np.ascontiguousarray(a).reshape(-1, rank, m)
                )
        return found

    def _drawn(self, generation: int, number: int, first: int, last: int, count: int) -> NDArray[np.int8]:
        """(pairs, count) of one parameter."""
        blocks = -(-count // BLOCK_CODES)
        words = words_at(
            self._run_key, generation, number, Stream.INTEGERS, first * blocks, 4 * blocks * (last - first)
        )
        codes = words.astype("<u8", copy=False).view("<u2").reshape(last - first, -1)
        return int8_table().take(codes[:, :count], mode="wrap")


@cache
def int8_table() -> NDArray[np.int8]:
    """(65536,) 16 times the normal quantile of each code, to the nearest, halves to even, clipped to +-127."""
    scaled = np.rint(table("normal").quantiles * np.float32(16))  # exact but for the one rounding: a power of two
    return np.clip(scaled, -TOP, TOP).astype(np.int8)


def _count(shape: tuple[int, ...], rank: int) -> int:
    return 2 * shape[0] if len(shape) == 1 else rank * (shape[0] + shape[1])


def planned_threshold(share: float) -> int:
    """16 times the standard score that a share of weights without a signal passes, rounded down.

    Raises:
        UsageError: the share lies outside of (0, 1].
    """
    if not 0 < share <= 1:
        raise UsageError(f"expected a share of weights above 0 and at most 1, got {share}; correct --move-share")
    if share == 1:
        return 0
    above = 1 - share / 2
    # Near 1 nothing is left of so small a share: its other tail is as long.
    score = NormalDist().inv_cdf(above) if above < 1 else -NormalDist().inv_cdf(max(share / 2, 1e-300))
    return math.floor(16 * score)
