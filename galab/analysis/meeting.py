"""The probability that two mutations which arise in different individuals meet in one descendant.

One of N parents carries A, another one B. A Markov chain whose state is how many parents carry A alone and B alone;
it ends when a child carries both. In the chain's first generation the probability is that of the laboratory's notes,
1 - (1 - q 2 / (N (N - 1)))^children, q the odds that a child of the two carries both. That recombination is of use
because it brings mutations of different lines together: Fisher 1930; Muller 1932, "Some Genetic Aspects of Sex".

A gene law passes on what one of two parents carries alone: ``genes-independent`` by a coin for each mutation,
``genes-union`` always, ``genes-aligned`` by a coin for each generation of birth, so that mutations born in the same
generation never meet. Selection: ``neutral``, the next parents are any of the children; ``ranked``, those that carry
A or B come before those that carry neither, as under truncation when both are worth the same and nothing else matters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LAWS = ("none", "genes-independent", "genes-union", "genes-aligned")
SELECTIONS = ("neutral", "ranked")
#: Parents up to which the chain is computed: it has (N + 1) (N + 2) / 2 states.
MOST_PARENTS = 64


@dataclass(frozen=True, slots=True)
class Breeding:
    """How a population breeds.

    Attributes:
        parents: N, of whom each child has two different ones; drawn uniformly.
        children: per generation; the next parents are chosen among them.
        law: one of :data:`LAWS`; ``none`` is one parent.
        rate: share of the children that have two parents; the others copy their first.
        selection: one of :data:`SELECTIONS`.
    """

    parents: int
    children: int
    law: str = "genes-independent"
    rate: float = 1.0
    selection: str = "neutral"

    @property
    def alone(self) -> float:
        """Probability that a mutation which one of the two parents carries is passed on."""
        return 1.0 if self.law == "genes-union" else 0.5

    @property
    def both(self) -> float:
        """Probability that a child of an A and a B carries both."""
        return {"genes-union": 1.0, "genes-independent": 0.25}.get(self.law, 0.0)


def child_odds(breeding: Breeding, a: NDArray[np.int64], b: NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
    """What a child carries.

    Args:
        breeding: how the population breeds.
        a: (S,) parents that carry A alone.
        b: (S,) parents that carry B alone; nobody carries both.

    Returns:
        (S,) each: the probabilities of A alone, of B alone, and of both.
    """
    n = breeding.parents
    copied = 1.0 if breeding.law == "none" or n < 2 else 1.0 - breeding.rate
    mixed = 1.0 - copied
    pairs = max(n * (n - 1), 1)
    alike_a, alike_b = a * (a - 1) / pairs, b * (b - 1) / pairs
    nobody = n - a - b
    with_a, with_b = 2 * a * nobody / pairs, 2 * b * nobody / pairs
    different = 2 * a * b / pairs
    both = different * breeding.both
    # Of A and B in one child each is there with the odds of passing on; what is left over of A is A alone.
    only = breeding.alone - breeding.both
    one = alike_a + breeding.alone * with_a + only * different
    other = alike_b + breeding.alone * with_b + only * different
    return copied * a / n + mixed * one, copied * b / n + mixed * other, mixed * both


def meeting_odds(breeding: Breeding, generations: int) -> Floats:
    """The probability that a child with both mutations has been born, by generation.

    Args:
        breeding: how the population breeds; from 2 to :data:`MOST_PARENTS` parents.
        generations: G.

    Returns:
        (G,) cumulative probabilities of generations 1 to G after both arose; exact, but for rounding.

    Raises:
        ValueError: there are too few or too many parents, or fewer children than parents.
    """
    n = breeding.parents
    if not 2 <= n <= MOST_PARENTS or breeding.children < n:
        raise ValueError(f"expected 2 to {MOST_PARENTS} parents and no fewer children, got {n}, {breeding.children}")
    a, b = (side.ravel() for side in np.mgrid[: n + 1, : n + 1])
    a, b = a[a + b <= n], b[a + b <= n]
    one, other, both = child_odds(breeding, a, b)
    nobody_both = (1.0 - both) ** breeding.children
    onward = _transitions(breeding, one, other, both, a, b) * nobody_both[:, None]
    now = ((a == 1) & (b == 1)).astype(np.float64)
    met, found = 0.0, np.empty(generations)
    for generation in range(generations):
        met += float(now @ (1.0 - nobody_both))
        found[generation] = met
        now = now @ onward
    return found


def _transitions(
    breeding: Breeding, one: Floats, other: Floats, both: Floats, a: NDArray[np.int64], b: NDArray[np.int64]
) -> Floats:
    """(S, S) probabilities of the next parents' state, given that no child carries both."""
    from scipy.special import xlogy
    from scipy.stats import binom

    left = np.maximum(1.0 - both, 1e-300)
    x, y = np.minimum(one / left, 1.0), np.minimum(other / left, 1.0)
    n = breeding.parents
    if breeding.selection == "neutral":
        rest = np.maximum(1.0 - x - y, 0.0)
        ways = _log_factorials(n)
        logs = ways[n] - ways[a] - ways[b] - ways[n - a - b]
        terms = xlogy(a, x[:, None]) + xlogy(b, y[:, None]) + xlogy(n - a - b, rest[:, None])
        return np.exp(logs + terms)
    carriers = np.minimum(x + y, 1.0)
    # As many of the parents carry one of them as there are such children, up to all of the parents.
    counts = np.arange(n + 1)
    odds = binom.pmf(counts, breeding.children, carriers[:, None])
    odds[:, n] = binom.sf(n - 1, breeding.children, carriers)
    share = np.where(carriers > 0, x / np.where(carriers > 0, carriers, 1.0), 0.0)
    found: Floats = odds[:, a + b] * binom.pmf(a, a + b, share[:, None])
    return found


def _log_factorials(n: int) -> Floats:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])


def one_generation(breeding: Breeding) -> float:
    """The notes' probability: that the two meet in the very next generation."""
    n = breeding.parents
    share = 0.0 if breeding.law == "none" else breeding.rate
    return float(1.0 - (1.0 - share * breeding.both * 2.0 / (n * (n - 1))) ** breeding.children)
