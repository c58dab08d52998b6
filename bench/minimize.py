"""``galab.minimize`` beside evosax and EvoTorch at equal evaluations: the best value found, a median over seeds.

    python bench/minimize.py                                     about four minutes on one core
    python bench/minimize.py --population 100 --evaluations 100000

Rastrigin and Rosenbrock, SNES and PGPE. Starts, first step sizes, populations and evaluations are the same on all
sides, everything in float64, nothing is bounded. All else is each library's default; EvoTorch's PGPE has none for its
learning rates and gets galab's. ``make bench-peers`` first.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from peers import client
from peers.functions import FUNCTIONS, Function

import galab
from galab.stats.effect_size import Effect, effect
from galab.stats.intervals import median_interval
from galab.strategies.pgpe import RADIUS_PER_SPEED

STRATEGIES = ("snes", "pgpe")
#: The first step size over the width of the starts: Hansen, "The CMA Evolution Strategy: A Tutorial".
SIGMA_PER_WIDTH = 0.3
#: The first of the seeds, and that of the starts: no default of galab's was chosen by looking at these.
FIRST_SEED = 1000


def galab_minima(strategy: str, function: Function, starts: NDArray[np.float64], **budget: int) -> NDArray[np.float64]:
    """(S,) the best value for each of starts (S, D), as other people's sides give it."""
    sigma = SIGMA_PER_WIDTH * 2 * function.high

    def value(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(function.of(points, np.cos))

    return np.array(
        [
            galab.minimize(value, start, strategy=strategy, batched=True, sigma=sigma, seed=seed, **budget).fun
            for seed, start in enumerate(starts, FIRST_SEED)
        ]
    )


def measured(seeds: int, dimensions: int, population: int, evaluations: int) -> dict[str, NDArray[np.float64]]:
    """``SIDE_STRATEGY`` to (F, S) best values."""
    random = np.random.default_rng(FIRST_SEED)
    highs = np.array([function.high for function in FUNCTIONS.values()])
    starts = highs[:, None, None] * random.uniform(-1, 1, (len(highs), seeds, dimensions))
    sigmas = SIGMA_PER_WIDTH * 2 * highs
    speed = sigmas * math.sqrt(dimensions) / RADIUS_PER_SPEED / 2
    budget = {"population": population, "evaluations": evaluations}
    found = client.minima(starts=starts, sigmas=sigmas, speed=speed, **budget)
    for strategy in STRATEGIES:
        rows = [
            galab_minima(strategy, function, starts[number], **budget)
            for number, function in enumerate(FUNCTIONS.values())
        ]
        found[f"galab_{strategy}"] = np.stack(rows)
    return found


def table(found: dict[str, NDArray[np.float64]]) -> str:
    """Medians with bootstrap 95 % intervals, and the odds that a run of galab is better than one of each other side."""
    lines = ["| function | strategy | galab | evosax | EvoTorch | A against each |", "|---|---|---|---|---|---|"]
    for number, name in enumerate(FUNCTIONS):
        for strategy in STRATEGIES:
            ours, *others = (found[f"{side}_{strategy}"][number] for side in ("galab", "evosax", "evotorch"))
            cells = [_cell(values) for values in (ours, *others)]
            better = [effect(ours, other, lower_is_better=True) for other in others]
            odds = [_odds(one) for one in better]
            lines.append(f"| {' | '.join([name, strategy, *cells, ', '.join(odds)])} |")
    return "\n".join(lines)


def _cell(values: NDArray[np.float64]) -> str:
    one = median_interval(values)
    return f"{one.median:.3g} [{one.low:.3g}, {one.high:.3g}]"


def _odds(one: Effect) -> str:
    between = "" if math.isnan(one.superiority_low) else f" [{one.superiority_low:.2f}, {one.superiority_high:.2f}]"
    return f"{one.superiority:.2f}{between}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--dimensions", type=int, default=30)
    parser.add_argument("--population", type=int, default=14)
    parser.add_argument("--evaluations", type=int, default=30_000)
    options = parser.parse_args(arguments)
    print(table(measured(options.seeds, options.dimensions, options.population, options.evaluations)))


if __name__ == "__main__":
    main()
