"""A search for the best step size with common random numbers: the same noise at every step size of a grid.

Warming up by selection overshoots, as the best of many children rewards a lucky large step. Here each noise is tried at
every step size, and the step size wins whose best of as many children as a generation has is expected to gain most over
the parents; repeated, it draws the curve of the best step size over a run.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from galab.config import RunConfig
from galab.contracts import Cohort
from galab.genome.births import Birth
from galab.genome.noise import Stream, below
from galab.genome.sigma import PER_OCTAVE
from galab.genome.steps import Steps

#: Offsets of the grid from where the search begins, in octaves.
_OCTAVES = range(-5, 4)


class SigmaSearch:
    """Makes the probes of a search and reads their scores; nobody of them lives on.

    Args:
        config: the resolved configuration; ``sigma_search`` 0 is never.
        steps: bounds of a step size.
    """

    def __init__(self, config: RunConfig, steps: Steps) -> None:
        assert config.seed is not None
        self._every = config.sigma_search
        self._draws = config.children
        self._run_key = config.seed
        self._steps = steps

    def due(self, generation: int) -> bool:
        """Whether a generation is a search."""
        return self._every > 0 and (generation - 1) % self._every == 0

    def grid(self, centre: int) -> list[int]:
        """The step sizes that are tried, as grid points."""
        points = [min(max(centre + step * PER_OCTAVE, self._steps.low), self._steps.high) for step in _OCTAVES]
        return list(dict.fromkeys(points))

    def probes(self, generation: int, next_id: int, centre: int, parents: NDArray[np.int64]) -> list[Birth]:
        """Births that repeat one set of noises, and of parents, at each step size."""
        draws = self._draws
        chosen = parents[below(len(parents), self._run_key, generation, Stream.BREEDING, draws)].tolist()
        return [
            Birth(next_id + row * draws + draw, (chosen[draw],), generation, row * draws, log_sigma, 0, 1)
            for row, log_sigma in enumerate(self.grid(centre))
            for draw in range(draws)
        ]

    def best(self, cohort: Cohort, gain: NDArray[np.float64], centre: int) -> int:
        """The step size with the best expected gain of the best child, as a grid point; ``centre`` where none is known.

        Args:
            cohort: the probes.
            gain: (probes,) fitness minus the parent's; NaN is a failure.
            centre: where the grid was centred.
        """
        grid = self.grid(centre)
        tables = gain.reshape(len(grid), self._draws)
        expected = [expected_best(np.where(np.isfinite(row), row, -np.inf), self._draws) for row in tables]
        best = int(np.argmax(expected))
        return grid[best] if np.isfinite(expected[best]) else centre


def expected_best(gains: NDArray[np.float64], children: int) -> float:
    """The expected largest of ``children`` draws with replacement from observed gains.

    The i-th smallest of m is the largest with probability (i/m)^children - ((i - 1)/m)^children.
    """
    edges = (np.arange(len(gains) + 1) / len(gains)) ** children
    weights = np.diff(edges)
    ordered = np.sort(gains)
    alive = np.isfinite(ordered)
    return float(ordered[alive] @ weights[alive] / weights[alive].sum()) if alive.any() else -np.inf
