"""The meeting calculator against the notes' formula, a hand-computed example and galab's own breeding."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from galab.analysis.meeting_theory import (
    LAWS,
    SELECTIONS,
    Breeding,
    child_odds,
    descents,
    meeting_odds,
    meetings,
    one_generation,
)
from galab.genome.births import Birth, to_rows


@pytest.mark.parametrize(
    ("parents", "children", "said"),
    [(8, 512, 0.990), (16, 512, 0.656), (32, 512, 0.228), (64, 512, 0.062), (4, 32, 0.744), (8, 32, 0.250)],
)
def test_one_generation_is_the_probability_of_the_notes(parents: int, children: int, said: float) -> None:
    breeding = Breeding(parents, children)
    assert one_generation(breeding) == pytest.approx(said, abs=0.0006)
    assert meeting_odds(breeding, 1)[0] == pytest.approx(one_generation(breeding), rel=1e-12)


def test_two_generations_by_hand() -> None:
    # Two parents, A and B, two children. A child carries both with 1/4, so they meet at once with 7/16. Else each
    # child is A, B or nothing, a third each; the two are A and B with 2/9, and meet again with 7/16.
    found = meeting_odds(Breeding(2, 2), 2)
    assert found.tolist() == pytest.approx([7 / 16, 7 / 16 + 9 / 16 * 2 / 9 * 7 / 16])
    # Four children, ranked, given that none carries both: two parents are A and B, unless fewer than two carry any.
    # k of four children carry one, each with 2/3; of k >= 2 two are chosen, and they differ with 1/2.
    first = 1 - (3 / 4) ** 4
    enough = 1 - (1 / 3) ** 4 - 4 * (2 / 3) * (1 / 3) ** 3
    ranked = meeting_odds(Breeding(2, 4, selection="ranked"), 2)
    assert ranked.tolist() == pytest.approx([first, first + (1 - first) * enough / 2 * first])


def test_laws_that_never_or_always_bring_them_together() -> None:
    assert meeting_odds(Breeding(2, 2, "genes-union"), 3).tolist() == [1, 1, 1]
    for law in ("none", "genes-aligned"):
        assert not meeting_odds(Breeding(8, 32, law), 50).any()
    assert not meeting_odds(Breeding(8, 32, rate=0.0), 50).any()


def test_odds_of_a_child_are_those_of_all_pairs() -> None:
    kinds = ["A"] * 3 + ["B"] * 2 + [""] * 4
    carried = {"A": 0.0, "B": 0.0, "AB": 0.0}
    for i, one in enumerate(kinds):
        for j, other in enumerate(kinds):
            if i == j:
                continue
            a = 1.0 if one == other == "A" else 0.5 * ("A" in one + other)
            b = 1.0 if one == other == "B" else 0.5 * ("B" in one + other)
            carried["A"] += a * (1 - b) / 72
            carried["B"] += b * (1 - a) / 72
            carried["AB"] += a * b / 72
    found = child_odds(Breeding(9, 9), np.array([3]), np.array([2]))
    assert [float(one[0]) for one in found] == pytest.approx([carried["A"], carried["B"], carried["AB"]])


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("law", LAWS)
def test_breeding_agrees_within_binomial_error(law: str, selection: str) -> None:
    breeding = Breeding(6, 12, law, 0.7, selection)
    odds = meeting_odds(breeding, 8)
    when = np.array(list(meetings(breeding, 8, 300, key=11)))
    for generations in (1, 3, 8):
        met = int(((when > 0) & (when <= generations)).sum())
        assert binomtest(met, 300, float(np.clip(odds[generations - 1], 0, 1))).pvalue > 0.005


def test_impossible_populations_are_refused() -> None:
    for parents, children in ((1, 4), (8, 4), (65, 100)):
        with pytest.raises(ValueError, match="expected 2 to 64 parents"):
            meeting_odds(Breeding(parents, children), 2)


def test_descent_from_both_is_found_in_a_lineage() -> None:
    def birth(number: int, generation: int, *parents: int) -> Birth:
        return Birth(number, parents, generation, 0, 0, 0, 1)

    rows = [birth(0, 0), birth(1, 0)]
    rows += [birth(10, 1, 0, 1), birth(11, 1, 1, 0)]
    rows += [birth(20, 2, 10, 10), birth(21, 2, 11, 11)]
    rows += [birth(30, 3, 20, 20), birth(31, 3, 20, 21)]
    when, pairs = descents(to_rows(rows), 2, 5, key=1)  # generation 1 is the only one with two generations after it
    assert (when.tolist(), pairs) == ([2] * 5, 5)
    when, pairs = descents(to_rows(rows), 1, 40, key=1)  # within one: of 10 and 11 none, of 20 and 21 it is 31
    assert sorted(set(when.tolist())) == [0, 1]
    assert descents(to_rows(rows[:2]), 1, 5, key=1)[1] == 0
