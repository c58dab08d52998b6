"""Integer EGGROLL: pairs of members vote, and each weight whose votes pass a two-sided test moves by one.

A pair's two members differ by the sign of their noise. What the first gained over the second is its factor f: the sign
alone, or the size over the root mean square of all. A weight's votes are Z = sum over pairs of f times the noise that
it had. Without a signal Z has a known deviation, so a threshold in standard scores lets a known share of the weights
move. All of it is whole numbers. Source: Sarkar et al., "Evolution Strategies at the Hyperscale", arXiv 2511.16652.
"""

from __future__ import annotations

import logging
import math
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from galab.contracts import Cohort, Outcome, Scores
from galab.errors import CheckpointError, GalabError, NoViableChildError
from galab.genome.weights import Layout
from galab.integer.arithmetic import TOP, int8_product
from galab.operators.integer_noise import IntegerNoise, NoiseConfig, TensorNoise, int8_table
from galab.strategies.survival import all_failed_message, answered_cohort, check_scores_told

logger = logging.getLogger("galab")

#: Pairs whose votes are summed at once.
_AT_ONCE = 1024
#: A factor of one root mean square; also the deviation of a number of the noise.
UNIT = 16


def pair_factors(differences: NDArray[np.int64], *, fast: bool) -> NDArray[np.int8]:
    """(P,) what the pairs count: -1, 0 or 1, or in units of 1/16 of their root mean square, clipped to +-127.

    Args:
        differences: (P,) scores of the first members less those of the second.
        fast: by the sign alone.
    """
    if fast:
        return np.sign(differences).astype(np.int8)
    squares = sum(int(value) ** 2 for value in differences)
    deviation = math.isqrt(squares // max(len(differences), 1))
    if not deviation:
        return np.sign(differences).astype(np.int8) * np.int8(UNIT) if squares else np.zeros(len(differences), np.int8)
    quotient, rest = np.divmod(UNIT * differences, deviation)
    # To the nearest, halves to even.
    up = (2 * rest > deviation) | ((2 * rest == deviation) & (quotient % 2 == 1))
    return np.clip(quotient + up, -TOP, TOP).astype(np.int8)


def votes(factors: NDArray[np.int8], noise: TensorNoise, *, fast: bool, use_clt: bool) -> NDArray[np.int64]:
    """Z of one parameter: the sum over pairs of f times the noise, rounded down to whole numbers where f has a size.

    Args:
        factors: (P,) from :func:`pair_factors`.
        noise: of the same pairs.
        fast: whether they are signs.
        use_clt: whether the noise counts by its size.
    """
    shift = 4 if use_clt and not fast else 0
    if noise.a is None:
        products = (noise.b if use_clt else np.sign(noise.b)).astype(np.int32)
        return ((products * factors[:, None]) >> shift).sum(0, dtype=np.int64)
    a, b = (part if use_clt else np.sign(part) for part in (noise.a, noise.b))
    weighed = (a.astype(np.int16) * factors[:, None, None]) >> shift
    left = torch.from_numpy(weighed.reshape(-1, a.shape[2]).T)
    right = torch.from_numpy(b.reshape(-1, b.shape[2]))
    if not shift:
        return int8_product(left.to(torch.int8), right).numpy().astype(np.int64)
    # Up to 1,008 either way: 16 times a high part and a low one, each of which int8 holds.
    high, low = left >> 4, left & 15
    parts = [int8_product(part.to(torch.int8).contiguous(), right) for part in (high, low)]
    return parts[0].numpy().astype(np.int64) * 16 + parts[1].numpy()


def least_votes(squares: int, threshold: int, *, fast: bool, use_clt: bool, rank: int = 1) -> int:
    """The smallest |Z| of weights that move: a threshold times the deviation that Z has without a signal.

    Without one, noise and factors are independent, so the variance of Z is the sum of f^2 times that of a product of
    two numbers, and r times that where r products are summed. The variance of a sign is the share of numbers but 0.

    Args:
        squares: the sum of f^2.
        threshold: 16 times a standard score.
        fast: see :func:`pair_factors`.
        use_clt: see :func:`votes`.
        rank: r; 1 for vectors.
    """
    codes = len(int8_table())
    variance = squares * rank * (UNIT**4 if fast else UNIT**2)
    if not use_clt:
        variance = squares * rank * int(np.count_nonzero(int8_table())) ** 2 // codes**2
    product = threshold**2 * variance
    # The smallest whole number Z above 0 with (16 Z)^2 >= threshold^2 variance.
    return math.isqrt((product - 1) // UNIT**2) + 1 if product else 1


def most_votes(factors: NDArray[np.int8], *, fast: bool, use_clt: bool, rank: int = 1) -> int:
    """What |Z| cannot exceed: all the noise of a weight at its largest, with the signs that the pairs ask for.

    Args:
        factors: (P,) from :func:`pair_factors`.
        fast: see :func:`pair_factors`.
        use_clt: see :func:`votes`.
        rank: r; 1 for vectors.
    """
    sizes = np.abs(factors.astype(np.int64))
    if use_clt:
        sizes = sizes * TOP**2 if fast else (sizes * TOP // 16 + 1) * TOP * (sizes > 0)
    return int(sizes.sum()) * rank


def record_dtype(population: int) -> np.dtype[Any]:
    """A row of the record: with the seed, all that is needed to repeat an update. ``threshold`` is the one used."""
    return np.dtype([("generation", "<u4"), ("threshold", "<u4"), ("factors", "i1", (population // 2,))])


class IntegerEggroll:
    """See :class:`galab.contracts.CentreStrategy`.

    Args:
        layout: the network's parameters.
        start: (D,) int8, the weights at the start, in units of 1/16.
        noise: draws the members' noise.
        config: how they are perturbed and counted.
        pairs: P.
        threshold: from the number of an update, from 0, to its threshold.
        units: of a score, per 1.0: scores times this are whole numbers.
        carries: whether the members' states at the end of a generation are those at the start of the next.

    Attributes:
        planned: see :class:`galab.contracts.CentreStrategy`.
        moved: the share of the weights that the last update moved; None before.
        ties: the share of the last pairs whose members scored alike.
        hidden: (2 P, L, D) int8 the members' states; None at the start, or where they are not kept.
    """

    def __init__(
        self,
        layout: Layout,
        start: NDArray[np.int8],
        noise: IntegerNoise,
        config: NoiseConfig,
        *,
        pairs: int,
        threshold: Callable[[int], int],
        units: float,
        carries: bool = False,
    ) -> None:
        self.planned: int | None = None
        self.config = config
        self.pairs = pairs
        self.noise = noise
        self.moved: float | None = None
        self.ties: float | None = None
        self.hidden: NDArray[np.int8] | None = None
        self._carries = carries
        self._layout = layout
        self._weights = start.copy()
        self._threshold = threshold
        self._units = units
        self._generation = 0
        self._asked: Cohort | None = None
        self._warned = False

    @property
    def generation(self) -> int:
        """Generations done."""
        return self._generation

    @property
    def weights(self) -> dict[str, NDArray[np.int8]]:
        """The centre by name, int8 in units of 1/16; views."""
        return dict(self._layout.split(self._weights))  # type: ignore[arg-type]

    @property
    def centre(self) -> NDArray[np.float32]:
        """(D,) the centre, a copy."""
        return self._weights.astype(np.float32) / np.float32(16)

    @property
    def checksum(self) -> int:
        """A number that differs, almost surely, where the state does."""
        return zlib.crc32(self._weights.tobytes(), self._generation)

    def threshold(self, generation: int) -> int:
        """16 times the standard score from which on weights move in a generation, from 1."""
        return self._threshold(generation - 1)

    def ask(self) -> Cohort:
        """All members: those of pair p are 2 p, with plus the noise, and 2 p + 1, with minus.

        Raises:
            GalabError: the last cohort's scores have not been told yet.
        """
        check_scores_told(self._asked)
        births = np.zeros(2 * self.pairs, dtype=[("id", "<i8"), ("sign", "i1")])
        births["id"] = np.arange(2 * self.pairs) // 2
        births["sign"] = 1 - 2 * (np.arange(2 * self.pairs) % 2)
        self._asked = Cohort(self._generation + 1, births, 2 * self.pairs)
        return self._asked

    def tell(self, scores: Scores) -> Outcome:
        """Count the pairs and move; a pair with a member that has no score does not count.

        Raises:
            GalabError: no cohort was asked for, or the scores do not fit it.
            NoViableChildError: not one member has a score.
        """
        cohort = answered_cohort(self._asked, scores)
        first, second = scores.fitness[::2] * self._units, scores.fitness[1::2] * self._units
        known = np.isfinite(first) & np.isfinite(second)
        if not known.any():
            raise NoViableChildError(all_failed_message(cohort, scores, "members", "--sigma-shift"))
        differences = np.rint(np.where(known, first - second, 0)).astype(np.int64)
        factors = pair_factors(differences, fast=self.config.fast_fitness)
        threshold = self.threshold(cohort.generation)
        self._warn_if_out_of_reach(factors, threshold)
        self.move(factors, threshold)
        if self._carries:
            self.hidden = scores.hidden
        record = np.zeros(1, dtype=record_dtype(2 * self.pairs))
        record["generation"], record["threshold"], record["factors"] = cohort.generation, threshold, factors
        self._asked = None
        return Outcome(record, np.array([self._generation], dtype=np.int64))

    def _warn_if_out_of_reach(self, factors: NDArray[np.int8], threshold: int) -> None:
        """Say once that so few pairs can move nothing, however much they agree."""
        how: dict[str, Any] = {"fast": self.config.fast_fitness, "use_clt": self.config.use_clt}
        ranks = {self.config.rank if len(shape) == 2 else 1 for shape in self._layout.shapes}
        squares = sum(int(f) ** 2 for f in factors)
        if self._warned or not squares:
            return
        if all(least_votes(squares, threshold, rank=r, **how) > most_votes(factors, rank=r, **how) for r in ranks):
            self._warned = True
            logger.warning(
                "generation %d: no weight can move: %d pairs that differ cannot reach a standard score of %.2f, "
                "however much they agree; raise --population or --move-share, lower --update-threshold, or leave "
                "--use-clt on",
                self._generation + 1, int(np.count_nonzero(factors)), threshold / 16,
            )  # fmt: skip

    def repeat(self, row: Any) -> None:
        """Make the update of a row of the record once more.

        Raises:
            GalabError: it is that of another generation.
        """
        if int(row["generation"]) != self._generation + 1:
            raise GalabError(f"expected generation {self._generation + 1}, got {row['generation']}")
        self.move(np.array(row["factors"]), int(row["threshold"]))

    def move(self, factors: NDArray[np.int8], threshold: int) -> None:
        """One update, from the factors of all pairs."""
        config, fast = self.config, self.config.fast_fitness
        sums: dict[str, NDArray[np.int64]] = {}
        for first in range(0, self.pairs, _AT_ONCE):
            last = min(first + _AT_ONCE, self.pairs)
            noise: Mapping[str, TensorNoise] = self.noise.of(self._generation, first, last)
            for name, part in noise.items():
                found = votes(factors[first:last], part, fast=fast, use_clt=config.use_clt)
                sums[name] = found if name not in sums else sums[name] + found
        squares, counted, moved = sum(int(f) ** 2 for f in factors), int(np.count_nonzero(factors)), 0
        for name, weights in self.weights.items():
            own, rank = sums[name].reshape(weights.shape), config.rank if weights.ndim == 2 else 1
            moving = np.abs(own) >= least_votes(squares, threshold, fast=fast, use_clt=config.use_clt, rank=rank)
            step = np.sign(own) * moving * config.learning_rate
            weights[...] = np.clip(weights + step, -config.top, config.top)
            moved += int(moving.sum())
        self._generation += 1
        self.moved, self.ties = moved / max(self._layout.size, 1), 1 - counted / max(self.pairs, 1)

    def state_dict(self) -> dict[str, Any]:
        """The number of updates, from which noise derives; the centre and the states are saved beside it."""
        return {"generation": self._generation}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the state that ``state_dict`` gave."""
        self._generation, self._asked = int(state["generation"]), None

    def load_centre(self, weights: NDArray[np.floating[Any]]) -> None:
        """Set the centre.

        Raises:
            CheckpointError: a weight is no whole multiple of 1/16 from -127/16 to 127/16.
        """
        stored = np.rint(np.asarray(weights, dtype=np.float64) * 16)
        if stored.shape != self._weights.shape or (np.abs(stored) > TOP).any() or (stored != weights * 16).any():
            raise CheckpointError(
                "expected weights of an integer network, multiples of 1/16 within +-127/16, got others; restore it"
            )
        self._weights = stored.astype(np.int8)
