"""Generations made again are those that the run logged, and who was selected is who lies in its lineage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lab_outcome import ENGINE, EVOLUTION

from galab.saved_runs.history import History, evenly_spaced, replay_generations
from galab.saved_runs.saved_run import open_saved

Evolve = Callable[..., Path]


KINDS = ["plain", "sexual", "union", "improvement", "memories", "islands", "low-rank", "shares"]


@pytest.mark.parametrize("kind", KINDS)
def test_children_are_those_that_the_run_saw(evolve: Evolve, kind: str) -> None:
    run = evolve(keep="all", **ENGINE.get(kind, {}))
    saved = open_saved(run)
    history = History(saved)
    selected = history.selected()
    logged = {line["generation"]: line for line in history.log}
    found = list(replay_generations(saved, 9))
    assert [one.generation for one in found] == [1, 3, 5]
    for one in found:
        children = len(one.births)
        if kind not in ("improvement", "memories", "low-rank"):  # there elites or keys decide who is best
            assert np.nanmax(one.fitness) == logged[one.generation]["fitness_best"]
        chosen = [birth for birth, kept in zip(one.births, one.selected, strict=True) if kept]
        assert chosen == selected.get(one.generation, [])
        assert all(place >= children for family in one.families for place in family)
        for birth, member in zip(one.births, one.members, strict=False):
            if birth in chosen:
                np.testing.assert_array_equal(member.floats(), history.member(birth).floats())


@pytest.mark.parametrize("kind", ["eggroll", "random"])
def test_of_others_there_is_nothing_to_make_again(evolve: Evolve, kind: str) -> None:
    assert list(replay_generations(open_saved(evolve(**(ENGINE | EVOLUTION)[kind])), 4)) == []


def test_the_chosen_are_spread_evenly() -> None:
    assert evenly_spaced([1, 2, 3, 4, 5], 3) == [1, 3, 5]
    assert evenly_spaced([1, 2], 9) == [1, 2]
    assert evenly_spaced([], 3) == evenly_spaced([1], 0) == []
