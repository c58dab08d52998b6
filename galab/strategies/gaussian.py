"""A search distribution with a centre and one step size for each weight, which SNES and PGPE share.

Member p of a generation is ``centre + sigma * z_p`` with z_p standard normal. Both strategies turn fitness into one
weight w_p per member and follow the same two sums, sum_p w_p z_p and sum_p w_p (z_p^2 - 1): the gradient of the log
density in the centre is z / sigma, that in the step sizes is (z^2 - 1) / sigma (Wierstra et al., "Natural Evolution
Strategies", JMLR 15, 2014; Sehnke et al., "Parameter-exploring Policy Gradients", Neural Networks 23, 2010).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.errors import CheckpointError, GalabError, NoViableChildError, UsageError
from galab.genome.random import Stream, table, words_at
from galab.genome.weights import scratch
from galab.operators.es_noise import BLOCK_CODES

#: Size of the noise that is summed at once, in bytes of float32.
_CHUNK_BYTES = 1 << 20


def checked(name: str, value: float, *, zero: bool = False, below: float = math.inf) -> float:
    """An option as a float.

    Args:
        name: the option's name.
        value: what was given.
        zero: whether 0 is allowed.
        below: the value must be less than this.

    Raises:
        UsageError: it is not a number, or outside the bounds.
    """
    if not (isinstance(value, Real) and (value > 0 or (zero and value == 0)) and value < below):
        low = "from 0" if zero else "above 0"
        raise UsageError(f"expected {name} to be a number {low} and below {below:g}, got {value!r}; change it")
    return float(value)


class SeparableGaussian(ABC):
    """Ask, tell and state of a strategy that samples from N(centre, diag(sigma^2)).

    The noise of a member depends on (run key, generation, member) alone, so each member can be made alone; of mirrored
    members 2 i and 2 i + 1, the second has minus the noise of the first. The distribution is kept in float64, members
    are computed in float32, and in float64 by :meth:`exact_members`. No sum depends on the number of threads.

    Args:
        start: (D,) where the search begins.
        run_key: the run's key, 64 bits.
        population: P, members of a generation.
        sigma: the first step size of every weight, in weight units.
        mirrored: whether members come in pairs, centre plus and minus the same step.
        options: the strategy's own numbers by name; a state with others is refused.

    Attributes:
        name: what the strategy is called.
        generation: generations done.

    Raises:
        UsageError: an argument is out of bounds.
    """

    name: str

    def __init__(
        self,
        start: NDArray[np.floating[Any]],
        *,
        run_key: int,
        population: int,
        sigma: float,
        mirrored: bool,
        options: Mapping[str, float],
    ) -> None:
        if start.ndim != 1 or not start.size:
            raise UsageError(f"expected start to be a vector of weights, got shape {start.shape}; flatten it")
        if population < 2 or (mirrored and population % 2):
            wanted = "an even number from 2, as members come in pairs" if mirrored else "2 or more"
            raise UsageError(f"expected a population of {wanted}, got {population}; change it")
        self.generation = 0
        self._mirrored = mirrored
        self._population = population
        self._run_key = int(run_key)
        self._made_with = {
            "run_key": self._run_key,
            "population": int(population),
            "mirrored": bool(mirrored),
            **options,
        }
        self._vectors = {
            "centre": start.astype(np.float64),
            "sigma": np.full(start.size, checked("sigma", sigma), dtype=np.float64),
        }
        self._asked = False

    @property
    def centre(self) -> NDArray[np.float32]:
        """(D,) the mean of the distribution, a copy."""
        return self._vectors["centre"].astype(np.float32)

    @property
    def exact_centre(self) -> NDArray[np.float64]:
        """(D,) the mean of the distribution as it is kept, a copy."""
        return self._vectors["centre"].copy()

    @property
    def sigma(self) -> NDArray[np.float64]:
        """(D,) the standard deviations of the distribution in weight units, a copy."""
        return self._vectors["sigma"].copy()

    def ask(self) -> NDArray[np.float32]:
        """(P, D) the weights of all members; the same until :meth:`tell`."""
        return self.members(range(self._population))

    def members(self, numbers: Sequence[int]) -> NDArray[np.float32]:
        """The weights of some members of the next generation: those rows of :meth:`ask`, bit for bit.

        Args:
            numbers: of the members, from 0 to P - 1, in any order.

        Returns:
            (len(numbers), D) weights.

        Raises:
            GalabError: there is no such member.
        """
        if len(numbers) and not 0 <= min(numbers) <= max(numbers) < self._population:
            raise GalabError(f"expected members from 0 to {self._population - 1}, got {list(numbers)}; ask for those")
        centre, scale = self.centre, self._vectors["sigma"].astype(np.float32)
        weights = np.empty((len(numbers), centre.size), dtype=np.float32)
        drawn, noise = -1, weights
        for row, number in enumerate(numbers):
            direction, minus = divmod(number, 2) if self._mirrored else (number, 0)
            if direction != drawn:
                drawn, noise = direction, self._noise(direction, 1)
            np.multiply(noise[0], -scale if minus else scale, out=weights[row])
        weights += centre
        self._asked = True
        return weights

    def exact_members(self) -> NDArray[np.float64]:
        """(P, D) all members in float64: near an optimum float32 cannot tell them apart."""
        count = self._population // 2 if self._mirrored else self._population
        steps = self._vectors["sigma"] * self._noise(0, count)
        if self._mirrored:
            steps = np.stack([steps, -steps], axis=1).reshape(self._population, -1)
        self._asked = True
        return np.asarray(self._vectors["centre"] + steps)

    def tell(self, fitness: NDArray[np.float64]) -> None:
        """Move the distribution towards the better members.

        Args:
            fitness: (P,) in the order of :meth:`ask`, higher is better. NaN and minus infinity are failures, and
                count as the worst fitness among the others.

        Raises:
            GalabError: no member was asked for, or there is not one fitness per member.
            NoViableChildError: all members failed; the generation is not counted.
        """
        if not self._asked:
            raise GalabError("expected ask() before tell(), got tell(); call ask() and evaluate its cohort first")
        fitness = np.asarray(fitness, dtype=np.float64)
        if fitness.shape != (self._population,):
            raise GalabError(
                f"expected {self._population} scores, one per member asked for, got shape {fitness.shape}"
            )
        failed = np.isnan(fitness) | np.isneginf(fitness)
        if failed.all():
            raise NoViableChildError(
                f"generation {self.generation + 1}: not one of {self._population} members has a finite fitness; the "
                "last good checkpoint is kept: try a smaller --sigma, or look at the task"
            )
        weights = self._weights(np.where(failed, fitness[~failed].min(), fitness))
        self._update(*self._sums(weights))
        self.generation += 1
        self._asked = False

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to continue, bit for bit, as numbers, strings and arrays."""
        copies = {name: vector.copy() for name, vector in self._vectors.items()}
        return {"strategy": self.name, "generation": self.generation, **copies, **self._made_with}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` gave.

        Raises:
            CheckpointError: the state is of another strategy, other options or another number of weights, or a number
                in it is not finite; nothing is changed.
        """
        for name, own in self.state_dict().items():
            wanted, got = _kind(own), _kind(state.get(name))
            if name == "generation":
                wanted, got = type(own).__name__, type(state.get(name)).__name__
            if wanted != got:
                raise CheckpointError(
                    f"expected a state of {self.name} with {name} {wanted:.80}, got {got:.80}; continue with "
                    "the options and the network that it was saved with"
                )
        if not all(np.isfinite(state[name]).all() for name in self._vectors) or state["generation"] < 0:
            raise CheckpointError(
                f"expected a state of {self.name} of finite numbers after 0 or more generations, got another; use "
                "another checkpoint"
            )
        self.generation = int(state["generation"])
        self._vectors = {name: state[name].astype(np.float64) for name in self._vectors}
        self._asked = False

    @abstractmethod
    def _weights(self, fitness: NDArray[np.float64]) -> NDArray[np.float64]:
        """(P,) what each member's noise counts, from fitness without failures."""

    @abstractmethod
    def _update(self, first: NDArray[np.float64], second: NDArray[np.float64]) -> None:
        """Follow the weighted sums of z and of z^2 - 1, (D,) each."""

    def _noise(self, first: int, count: int) -> NDArray[np.float32]:
        """(count, D) standard normal numbers of the next generation's directions from number ``first`` on.

        The next call on this thread overwrites them.
        """
        size = self._vectors["centre"].size
        blocks = -(-size // BLOCK_CODES)
        place = (self._run_key, self.generation + 1, 0, Stream.PERTURBATION, first * blocks)
        raw = words_at(*place, 4 * blocks * count)
        codes = raw.astype("<u8", copy=False).view("<u2").reshape(count, -1)[:, :size]
        indices = scratch("member codes", codes.size, np.intp).reshape(codes.shape)
        np.copyto(indices, codes, casting="safe")
        # mode="wrap" skips the bounds check: a 16-bit code cannot leave a table of 65,536 entries.
        noise = scratch("member noise", codes.size, np.float32).reshape(codes.shape)
        return table("normal").quantiles.take(indices, out=noise, mode="wrap")

    def _sums(self, weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """sum_p w_p z_p and sum_p w_p (z_p^2 - 1), (D,) each, with the noise drawn again in chunks."""
        plus, minus = (weights[0::2], weights[1::2]) if self._mirrored else (weights, np.zeros_like(weights))
        odd, even = plus - minus, plus + minus
        first, second = np.zeros((2, self._vectors["centre"].size))
        chunk = max(1, _CHUNK_BYTES // (4 * first.size))
        for start in range(0, len(odd), chunk):
            stop = min(start + chunk, len(odd))
            noise = self._noise(start, stop - start)
            # einsum calls no BLAS here, whose sums may depend on the number of threads.
            first += np.einsum("p,pd->d", odd[start:stop], noise, dtype=np.float64)
            second += np.einsum("p,pd->d", even[start:stop], np.square(noise, dtype=np.float64))
        return first, second - even.sum()


def _kind(value: object) -> str:
    """What must be equal of two values in a state: shape and type of an array, or a value itself."""
    return f"of shape {value.shape} in {value.dtype}" if isinstance(value, np.ndarray) else repr(value)
