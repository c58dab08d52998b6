"""NSGA-II against the definitions by brute force, and on a problem whose best compromises are known."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from fields import field
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import galab
from galab.errors import UsageError
from galab.operators import nsga2
from galab.operators.nsga2 import NSGA2, crowding, fronts

POINTS = st.lists(st.tuples(*[st.integers(-3, 3).map(float)] * 3), min_size=1, max_size=14).map(np.array)


def by_definition(points: np.ndarray[Any, Any]) -> list[int]:
    """Fronts peeled off one after the other, by the words of the definition."""
    left, front, number = set(range(len(points))), [0] * len(points), 0
    while left:
        first = {
            one
            for one in left
            if not any((points[o] >= points[one]).all() and (points[o] > points[one]).any() for o in left)
        }
        for one in first:
            front[one] = number
        left -= first
        number += 1
    return front


@given(points=POINTS)
def test_fronts_are_those_of_the_definition(points: np.ndarray[Any, Any]) -> None:
    assert fronts(points).tolist() == by_definition(points)


def test_fronts_are_the_same_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.Generator(np.random.Philox(3)).normal(size=(60, 2))
    whole = fronts(points).tolist()
    monkeypatch.setattr(nsga2, "_PAIRS", 60 * 7)
    assert fronts(points).tolist() == whole == by_definition(points)


def test_room_is_worked_out_by_hand() -> None:
    points = np.array([[0.0, 10.0], [1.0, 6.0], [4.0, 5.0], [10.0, 0.0]])
    assert crowding(points).tolist() == [np.inf, 4 / 10 + 5 / 10, 9 / 10 + 6 / 10, np.inf]
    assert crowding(np.ones((3, 2))).tolist() == [0, 0, 0]
    assert crowding(np.array([[1.0, 2.0]])).tolist() == [0]


def test_survivors_are_whole_fronts_and_then_those_with_most_room() -> None:
    objectives = np.array([[0, 9], [9, 0], [4, 4], [4.5, 3.9], [3, 3], [1, 1], [np.nan, 2], [2, 2]], dtype=float)
    competitors = dataclasses.replace(field(objectives[:, 0]), objectives=objectives)
    chosen = NSGA2()(competitors, 5).tolist()
    assert set(chosen[:4]) == {0, 1, 2, 3}
    assert chosen[4] == 4
    assert NSGA2()(competitors, 2).tolist() in ([0, 1], [1, 0])
    assert 6 not in NSGA2()(competitors, 99).tolist()


def tension(module: nn.Module) -> tuple[float, float]:
    """Schaffer's problem: one number is to be near 0 and near 2; all between are best compromises."""
    x = float(module.weight.sum())
    return x * x, (x - 2) ** 2


def searched(**options: Any) -> galab.Search:
    made = {"parents": 16, "children": 16, "survival": "plus", "sigma": 0.3, "seed": 2, "crossover": "none"}
    search = galab.Search(
        nn.Linear(1, 1, bias=False), selection="nsga2", direction=("minimize", "minimize"), **made | options
    )
    for _ in range(25):
        search.tell([tension(network) for network in search.ask()])
    return search


def test_a_search_spreads_over_the_compromises() -> None:
    search = searched()
    front = search.front()
    places = sorted(float(network.weight) for network, _ in front)
    assert len(front) >= 14
    assert all(-0.01 < place < 2.01 for place in places)
    assert places[0] < 0.1
    assert places[-1] > 1.9
    assert max(np.diff(places)) < 0.5
    for network, told in front:
        assert told == pytest.approx(tension(network))


def test_it_goes_on_from_its_state() -> None:
    whole, first = searched(), searched()
    other = galab.Search(
        nn.Linear(1, 1, bias=False), selection="nsga2", direction=("minimize", "minimize"), parents=16, children=16,
        survival="plus", sigma=0.3, seed=2, crossover="none",
    )  # fmt: skip
    other.load_state_dict(first.state_dict())
    assert [told for _, told in other.front()] == [told for _, told in whole.front()]
    for search in (whole, other):
        search.tell([tension(network) for network in search.ask()])
    assert torch.equal(whole.best().weight, other.best().weight)


def test_objectives_decide_one_after_the_other_under_other_selections() -> None:
    search = galab.Search(nn.Linear(1, 1), direction=("maximize", "minimize"), parents=1, children=4, seed=1)
    networks = [network.weight.clone() for network in search.ask()]
    search.tell([(1.0, 5.0), (2.0, 3.0), (2.0, 2.0), (2.0, math.nan)])
    assert torch.equal(search.best().weight, networks[2])


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ([(1.0, 2.0)] * 3, "expected 4 times 2 fitness values, one for each objective of each network, got 3 rows"),
        (torch.ones(4, 3), "got an array of shape .3,. at place 0; give a row of 2 numbers"),
        ([1.0] * 4, "got one number at place 0; give a row of 2 numbers"),
        ([(1.0, None)] * 4, "expected a number as the fitness of each network, got None at place 0"),
        (None, "got None; give rows of 2 numbers"),
    ],
)
def test_wrong_rows_are_one_sentence(told: Any, said: str) -> None:
    search = galab.Search(nn.Linear(1, 1), direction=("maximize", "minimize"), parents=1, children=4, seed=1)
    search.ask()
    with pytest.raises(UsageError, match=said):
        search.tell(told)
    search.tell(np.ones((4, 2)))


def test_one_direction_is_too_few_and_a_front_needs_scores() -> None:
    with pytest.raises(UsageError, match="expected a direction for each of several objectives with selection='nsga2'"):
        galab.Search(nn.Linear(1, 1), selection="nsga2")
    with pytest.raises(UsageError, match=r"expected tell\(\) before front\(\)"):
        galab.Search(nn.Linear(1, 1)).front()


@pytest.mark.slow
def test_a_run_selects_by_several_parts_of_its_fitness(tmp_path: Any) -> None:
    values: dict[str, Any] = {
        "task": "digits", "hidden": "4", "batch": 32, "parents": 4, "children": 8, "seed": 5, "threads": 1,
        "selection": "nsga2", "elites": 2,
    }  # fmt: skip
    with pytest.raises(UsageError, match="expected a fitness of several parts with selection=\"nsga2\", got fitness"):
        galab.run(runs=tmp_path, name="no", generations=2, **values)
    values["fitness"] = "cross-entropy,accuracy"
    whole = galab.run(runs=tmp_path, name="whole", generations=8, **values)
    galab.run(runs=tmp_path, name="broken", generations=4, **values)
    galab.resume(tmp_path / "broken", generations=8)
    from lab_outcome import outcome

    assert whole.generation == 8
    assert outcome(tmp_path / "broken") == outcome(tmp_path / "whole")
