"""Competitors for the tests of selection, and exact chances to compare frequencies with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st
from scipy import stats

from galab.operators.selection import Candidates, Selection, rank

#: Few values, so that ties are common; failures of every kind and the largest numbers among them.
SCORES = st.sampled_from([-1e308, -2.0, -1.0, 0.0, -0.0, 5e-324, 1.0, 1e308, np.nan, np.inf, -np.inf])


def field(fitness, ids=None, cases=None, *, run_key=1, generation=1, island=0) -> Candidates:
    """The competitors with these scores, ranked; the failures are left out of the order."""
    fitness = np.asarray(fitness, dtype=np.float64)
    ids = np.arange(len(fitness)) if ids is None else np.asarray(ids, dtype=np.int64)
    order = rank(fitness, ids)[: int(np.isfinite(fitness).sum())]
    cases = None if cases is None else np.asarray(cases, dtype=np.float32)
    return Candidates(order, fitness, ids, cases, run_key, generation, island)


@st.composite
def fields(draw: st.DrawFn) -> Candidates:
    """Any field of up to 12 competitors and 5 cases."""
    ids = draw(st.lists(st.integers(0, 10**12), unique=True, max_size=12))
    cases = np.reshape([draw(SCORES) for _ in range(5 * len(ids))], (len(ids), 5))
    with np.errstate(over="ignore"):
        return field([draw(SCORES) for _ in ids], ids, cases, run_key=draw(st.integers(0, 2**63 - 1)),
                     generation=draw(st.integers(0, 10**6)), island=draw(st.integers(0, 50)))


def shuffled(competitors: Candidates, places: Sequence[int]) -> Candidates:
    """The same competitors, listed in another order."""
    new = np.asarray(places, dtype=np.int64)
    back = np.argsort(new)
    cases = None if competitors.cases is None else competitors.cases[new]
    return Candidates(back[competitors.order], competitors.fitness[new], competitors.ids[new], cases,
                 competitors.run_key, competitors.generation, competitors.island)


def frequencies(rule: Selection, count: int, draws: int, fitness, cases=None) -> dict[tuple[int, ...], int]:
    """How often each set of survivors came up in this many generations."""
    counts: dict[tuple[int, ...], int] = {}
    for generation in range(draws):
        found = tuple(sorted(rule(field(fitness, cases=cases, generation=generation), count).tolist()))
        counts[found] = counts.get(found, 0) + 1
    return counts


def exact_sets(
    members: Sequence[int], count: int, chances: Callable[[tuple[int, ...]], dict[int, Fraction]]
) -> dict[tuple[int, ...], Fraction]:
    """The chance of each set of survivors, where ``chances`` says who wins the next place among those left."""
    if count == 0:
        return {(): Fraction(1)}
    total: dict[tuple[int, ...], Fraction] = {}
    for winner, chance in chances(tuple(members)).items():
        rest = [member for member in members if member != winner]
        for others, further in exact_sets(rest, count - 1, chances).items():
            survivors = tuple(sorted((winner, *others)))
            total[survivors] = total.get(survivors, Fraction(0)) + chance * further
    return {survivors: chance for survivors, chance in total.items() if chance}


def assert_drawn_by(counts: dict[tuple[int, ...], int], chances: dict[tuple[int, ...], Fraction]) -> None:
    """The frequencies fit the chances: nothing impossible, and chi-square with a p-value above one in a thousand."""
    assert sum(chances.values()) == 1
    assert set(counts) <= set(chances)
    draws = sum(counts.values())
    observed = [counts.get(survivors, 0) for survivors in chances]
    expected = [float(chance * draws) for chance in chances.values()]
    assert len(chances) == 1 or stats.chisquare(observed, expected).pvalue > 1e-3
