"""The probability that two mutations which arise in different individuals meet in one descendant.

One of N parents carries A, another one B. A Markov chain whose state is how many parents carry A alone and B alone;
it ends when a child carries both. In the chain's first generation the probability is that of the laboratory's notes,
1 - (1 - q 2 / (N (N - 1)))^children, q the odds that a child of the two carries both. That recombination is of use
because it brings mutations of different lines together: Fisher 1930; Muller 1932, "Some Genetic Aspects of Sex".

A gene law passes on what one of two parents carries alone: ``genes-independent`` by a coin for each mutation,
``genes-union`` always, ``genes-aligned`` by a coin for each generation of birth, so that mutations born in the same
generation never meet. Selection: ``neutral``, the next parents are any of the children; ``ranked``, those that carry
A or B come before those that carry neither, as under truncation when both are worth the same and nothing else matters.

:func:`meetings` simulates the same with galab's own operators.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy
from scipy.stats import binom

from galab.genome.births import Birth
from galab.genome.random import Stream, below, codes, permutation
from galab.genome.weights import Gene, Phenotype
from galab.operators.crossover import Aligned, GeneLaw, Independent, Union
from galab.operators.islands import partners

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
        b: (S,) parents that carry B alone; no parent carries both.

    Returns:
        (S,) each: the probabilities of A alone, of B alone, and of both.
    """
    n = breeding.parents
    copied = 1.0 if breeding.law == "none" or n < 2 else 1.0 - breeding.rate
    mixed = 1.0 - copied
    pairs = max(n * (n - 1), 1)
    alike_a, alike_b = a * (a - 1) / pairs, b * (b - 1) / pairs
    neither = n - a - b
    with_a, with_b = 2 * a * neither / pairs, 2 * b * neither / pairs
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
    no_child_both = (1.0 - both) ** breeding.children
    onward = _transitions(breeding, one, other, both, a, b) * no_child_both[:, None]
    now = ((a == 1) & (b == 1)).astype(np.float64)
    met, found = 0.0, np.empty(generations)
    for generation in range(generations):
        met += float(now @ (1.0 - no_child_both))
        found[generation] = met
        now = now @ onward
    return found


def _transitions(
    breeding: Breeding, one: Floats, other: Floats, both: Floats, a: NDArray[np.int64], b: NDArray[np.int64]
) -> Floats:
    """(S, S) probabilities of the next parents' state, given that no child carries both."""
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


_GENE_LAWS: dict[str, type[GeneLaw]] = {
    "genes-independent": Independent, "genes-union": Union, "genes-aligned": Aligned,
}  # fmt: skip
#: The two mutations' births, both in generation 1.
A, B = 1, 2
_NOTHING: Any = np.empty(0, dtype=np.int32)
_NO_STEPS: Any = np.empty(0, dtype=np.int16)
_GENES = {gene: Gene(Birth(gene, (0,), 1, 0, 0, 0, 1), _NO_STEPS) for gene in (A, B)}


def meetings(breeding: Breeding, generations: int, trials: int, key: int) -> Iterator[int]:
    """In which generation a child carries both, of populations that are bred one after the other.

    Args:
        breeding: how they breed.
        generations: G, how long each is bred.
        trials: how many populations.
        key: of all draws.

    Yields:
        The generation, from 1; 0 where none was born up to the last one.
    """
    law = None if breeding.law == "none" else _GENE_LAWS[breeding.law](key)
    for trial in range(trials):
        yield _trial(breeding, generations, trial, key, law)


def _trial(breeding: Breeding, generations: int, trial: int, key: int, law: GeneLaw | None) -> int:
    carried: list[frozenset[int]] = [frozenset()] * breeding.parents
    carried[0], carried[1] = frozenset({A}), frozenset({B})
    for generation in range(1, generations + 1):
        if not any(A in one for one in carried) or not any(B in one for one in carried):
            return 0
        moment = trial * generations + generation
        children = _children(breeding, carried, moment, key, law)
        if any(len(one) == 2 for one in children):
            return generation
        order = permutation(breeding.children, key, moment, Stream.TIES).tolist()
        if breeding.selection == "ranked":
            order.sort(key=lambda place: not children[place])
        carried = [children[place] for place in order[: breeding.parents]]
    return 0


def _children(
    breeding: Breeding, carried: list[frozenset[int]], moment: int, key: int, law: GeneLaw | None
) -> list[frozenset[int]]:
    count = breeding.children
    first = below(breeding.parents, key, moment, Stream.BREEDING, count)
    if law is None:
        return [carried[place] for place in first.tolist()]
    second = partners(first, breeding.parents, 2, run_key=key, generation=moment)[:, 0]
    births = moment * count + 3 + np.arange(count)
    found = []
    for place, mate, birth in zip(first.tolist(), second.tolist(), births.tolist(), strict=True):
        one, other = carried[place], carried[mate]
        if one == other or (breeding.rate < 1 and not _sexual(breeding.rate, key, birth)):
            found.append(one)
        else:
            found.append(frozenset(law.carried([_who(one), _who(other)], Birth(birth, (0, 1), 2, 0, 0, 1, 1))))
    return found


def _sexual(rate: float, key: int, birth: int) -> bool:
    return int(codes(key, birth, Stream.OPERATOR, 2)[1]) + 0.5 < rate * 65_536


def _who(genes: frozenset[int]) -> Phenotype:
    return Phenotype(_NOTHING, _NO_STEPS, {gene: _GENES[gene] for gene in sorted(genes)})


def descents(rows: NDArray[np.void], generations: int, pairs: int, key: int) -> tuple[NDArray[np.int64], int]:
    """How soon a selected individual descends from both of two that were selected in one generation.

    Args:
        rows: the lineage file: selected births, oldest first.
        generations: G, how far to look.
        pairs: how many pairs to draw, each of two different individuals of one generation.
        key: of the draws.

    Returns:
        (pairs,) generations until then, 0 where there is none up to G; and how many pairs could be drawn.
    """
    when = rows["generation"].astype(np.int64)
    last = int(when.max(initial=0)) - generations
    order = np.argsort(when, kind="stable")
    edges = np.searchsorted(when[order], np.arange(1, max(last, 0) + 2))
    counts = np.diff(edges)
    possible = 1 + np.flatnonzero(counts > 1)
    if not len(possible):
        return np.empty(0, dtype=np.int64), 0
    ids, parents = rows["id"], rows["parents"]
    chosen = possible[below(len(possible), key, 0, Stream.CHOICE, pairs)]
    found = np.zeros(pairs, dtype=np.int64)
    for number, generation in enumerate(chosen.tolist()):
        start, size = int(edges[generation - 1]), int(counts[generation - 1])
        one, two = permutation(size, key, number, Stream.TIES)[:2]
        alive = {int(ids[order[start + one]]): 1, int(ids[order[start + two]]): 2}
        until = int(np.searchsorted(when[order], generation + generations, side="right"))
        for place in order[start + size : until].tolist():
            mark = 0
            for parent in parents[place].tolist():
                mark |= alive.get(parent, 0)
            if mark == 3:
                found[number] = int(when[place]) - generation
                break
            if mark:
                alive[int(ids[place])] = mark
    return found, pairs
