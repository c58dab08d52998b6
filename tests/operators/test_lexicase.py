"""Lexicase selection against a plain reading of its definition."""

from __future__ import annotations

import itertools
import math
import statistics
from fractions import Fraction

import numpy as np
import pytest
from fields import assert_drawn_by, exact_sets, field, fields, frequencies
from hypothesis import given
from hypothesis import strategies as st

from galab.errors import UsageError
from galab.operators.selection import Lexicase


def epsilons(cases):
    """The median absolute deviation of each case; a failure is far below everything."""
    spreads = []
    for column in np.asarray(cases, dtype=np.float64).T:
        middle = statistics.median(column)
        spreads.append(statistics.median(abs(value - middle) for value in column))
    return spreads


def passing(cases, spreads, members, order):
    """Those who pass the cases in this order."""
    members = list(members)
    for case in order:
        best = max(cases[member][case] for member in members)
        members = [member for member in members if cases[member][case] >= best - spreads[case]]
    return members


def exact(cases, count):
    """The chance of each set of survivors, over all orders of the cases."""
    spreads = epsilons(cases)

    def chances(left):
        orders = list(itertools.permutations(range(len(spreads))))
        won = dict.fromkeys(left, Fraction(0))
        for order in orders:
            equals = passing(cases, spreads, left, order)
            for member in equals:
                won[member] += Fraction(1, len(orders) * len(equals))
        return won

    return exact_sets(range(len(cases)), count, chances)


PASS_OR_FAIL = [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0], [1, 1, 0, 0]]
GRADED = [[8, 0, 1], [7, 1, 1], [0, 9, 1], [4, 5, 8], [6, 6, 6], [3, 7, 2]]


@pytest.mark.slow
@pytest.mark.parametrize("cases", [PASS_OR_FAIL, GRADED], ids=["pass-or-fail", "graded"])
@pytest.mark.parametrize("count", [1, 3])
def test_survivors_are_drawn_by_the_definition(cases, count):
    counts = frequencies(Lexicase(), count, 3000, np.zeros(len(cases)), cases)
    assert_drawn_by(counts, exact(cases, count))


@pytest.mark.slow
@given(competitors=fields(), count=st.integers(0, 11))
def test_each_place_is_won_by_the_rules_to_the_last_bit(competitors, count):
    """An event has a word for the coin, then one for each case, and the order of these is the order of the cases."""
    order = competitors.order.tolist()
    far = float(np.finfo(np.float32).max / 4)
    cases = np.nan_to_num(competitors.cases, nan=-far, neginf=-far, posinf=far).astype(float)
    raw = competitors.words(6 * count).tolist()
    left = list(order)
    for event in range(min(count, len(order))):
        coin, *keys = raw[6 * event : 6 * event + 6]
        equals = passing(cases, epsilons(cases[order]), left, sorted(range(5), key=keys.__getitem__))
        left.remove(equals[(coin >> 32) * len(equals) >> 32])
    assert Lexicase()(competitors, count).tolist() == [member for member in order if member not in left]


def test_a_specialist_survives_whom_the_mean_overlooks():
    cases = [[1, 0, 0, 0, 0, 0], *([[0, 1, 1, 1, 1, 1]] * 7)]
    fitness = np.mean(cases, axis=1)
    counts = frequencies(Lexicase(), 1, 600, fitness, cases)
    assert counts[(0,)] == pytest.approx(100, abs=5 * 9.2)


def test_one_failed_case_is_not_tolerated_where_half_pass():
    """The deviation is then a half, which must not make a failure as good as a pass."""
    for generation in range(50):
        competitors = field(np.zeros(4), cases=[[1], [1], [0], [0]], generation=generation)
        assert set(Lexicase()(competitors, 1).tolist()) <= {0, 1}


def test_nearly_as_good_is_as_good():
    cases = np.array([[1.0], [0.99], [0.98], [0.2], [0.1]])
    counts = frequencies(Lexicase(), 1, 900, np.zeros(5), cases)
    assert_drawn_by(counts, {(member,): Fraction(1, 3) for member in range(3)})


@pytest.mark.parametrize("failure", [math.nan, -math.inf])
@pytest.mark.parametrize("failures", [1, 2, 3])
def test_a_case_that_failed_is_lost(failure, failures):
    """Whether few, half or most failed, which moves the median."""
    cases = np.array([[failure, failure]] * failures + [[-5.0, -7.0]] * (4 - failures))
    for generation in range(30):
        assert Lexicase()(field(np.zeros(4), cases=cases, generation=generation), 1)[0] >= failures


def test_a_case_of_plus_infinity_is_won():
    cases = np.array([[-5.0, -7.0]] * 3 + [[math.inf, math.inf]])
    assert all(Lexicase()(field(np.zeros(4), cases=cases, generation=generation), 1)[0] == 3 for generation in range(9))


def test_many_cases_are_looked_at_to_the_last():
    """More than a block of them, of which a single one tells two members apart."""
    for told in (0, 31, 32, 99):
        cases = np.zeros((3, 100))
        cases[1, told] = 1
        assert all(Lexicase()(field(np.zeros(3), cases=cases, generation=g), 1)[0] == 1 for g in range(20))


@pytest.mark.parametrize("cases", [None, np.zeros((3, 0)), np.zeros(3)])
def test_without_cases_there_is_no_lexicase_selection(cases):
    with pytest.raises(UsageError, match="expected scores per case for lexicase selection"):
        Lexicase()(field(np.zeros(3), cases=cases), 1)
