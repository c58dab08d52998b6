"""Minimise Rastrigin's function of 30 numbers, for which no network is needed.

As the first example of EvoTorch (``Problem`` and ``SNES``).

    python examples/minimize_a_function.py --generations 1000
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

import galab


def rastrigin(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) values of (N, 30) points; 0 at the origin, with a local minimum at every whole point."""
    values: NDArray[np.float64] = 10 * x.shape[1] + (x**2 - 10 * np.cos(2 * np.pi * x)).sum(1)
    return values


def main() -> None:
    """Minimise, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generations", type=int, default=1000)
    chosen = parser.parse_args()
    found = galab.minimize(
        rastrigin, dim=30, bounds=(-5.12, 5.12), strategy="pgpe", population=100, generations=chosen.generations,
        batched=True, seed=1,
    )  # fmt: skip
    print(f"{found.fun:.3f} after {found.nfev:,} evaluations: {found.message}")


if __name__ == "__main__":
    main()
