"""Islands and the migration between them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galab.errors import UsageError
from galab.operators.islands import Migration, island_of

WORLDS = st.lists(st.lists(st.integers(0, 15), unique=True, max_size=6), min_size=1, max_size=5)


def migrate(world, migrants, generation=1, every=1):
    islands = [np.array(island, dtype=np.int64) for island in world]
    return [island.tolist() for island in Migration(every, migrants).migrate(islands, generation)]


@given(st.integers(1, 60), st.data())
def test_islands_are_contiguous_and_of_nearly_equal_size(total, data):
    islands = data.draw(st.integers(1, total))
    found = island_of(np.arange(total), total, islands)
    assert found.dtype == np.int64
    assert found.tolist() == sorted(found.tolist())
    sizes = np.bincount(found, minlength=islands)
    assert len(sizes) == islands
    assert sizes.max() - sizes.min() <= 1


def test_places_may_be_asked_for_in_any_order():
    assert island_of(np.array([9, 0, 5, 4]), 10, 2).tolist() == [1, 0, 1, 0]
    assert island_of(np.empty(0, np.int64), 10, 2).tolist() == []


def test_the_best_replace_the_worst_next_door_and_stay_at_home():
    assert migrate([[0, 1, 2], [10, 11, 12], [20, 21, 22]], 1) == [[0, 1, 20], [10, 11, 0], [20, 21, 10]]
    assert migrate([[0, 1, 2], [10, 11, 12], [20, 21, 22]], 2) == [[0, 20, 21], [10, 0, 1], [20, 10, 11]]


def test_all_leave_at_once():
    """Whoever arrives does not travel on in the same generation, even where nobody else is left."""
    assert migrate([[0], [10], [20]], 1) == [[20], [0], [10]]


def test_nobody_arrives_twice_and_nobody_is_replaced_by_a_twin():
    assert migrate([[5, 6, 7], [8, 6, 9]], 2) == [[5, 6, 8], [8, 6, 5]]
    assert migrate([[7, 8, 1], [5, 6, 7]], 2)[1] == [5, 7, 8], "7 was to come, so it is not the one to go"


def test_migrants_beyond_the_size_of_the_goal_stay_away():
    assert migrate([[0, 1, 2], [10]], 3) == [[0, 1, 10], [0]]
    assert migrate([[0, 1, 2], [1, 10]], 3) == [[0, 1, 10], [1, 0]]


def test_an_empty_island_is_settled_and_sends_nobody():
    assert migrate([[0, 1], [], [20, 21]], 1) == [[0, 20], [0], [20, 21]]


def test_one_island_keeps_to_itself():
    assert migrate([[3, 1, 2]], 2) == [[3, 1, 2]]


@pytest.mark.parametrize(("generation", "moves"), [(0, False), (1, False), (4, False), (5, True), (10, True)])
def test_migration_comes_every_so_many_generations(generation, moves):
    world = [[0, 1], [10, 11]]
    assert (migrate(world, 1, generation, every=5) != world) == moves


@given(WORLDS, st.integers(0, 7))
def test_sizes_stay_nobody_is_double_and_nobody_comes_from_elsewhere(world, migrants):
    after = migrate(world, migrants)
    for place, (before, now) in enumerate(zip(world, after, strict=True)):
        source = world[place - 1][:migrants]
        assert len(set(now)) == len(now)
        assert len(now) == (len(before) or len(source))
        stayed = [resident for resident in now if resident in before]
        assert stayed == [resident for resident in before if resident in stayed]
        assert now[: len(stayed)] == stayed
        came = now[len(stayed) :]
        assert came == [migrant for migrant in source if migrant not in before][: len(came)]
        # Only the worst go, and nobody goes who was to come.
        gone = [resident for resident in before if resident not in now]
        assert gone == [resident for resident in before if resident not in source][len(before) - len(gone)
                       - sum(resident in source for resident in before) :]


@pytest.mark.slow
@given(WORLDS, st.integers(0, 7))
def test_the_arguments_are_left_alone(world, migrants):
    islands = [np.array(island, dtype=np.int64) for island in world]
    copies = [island.copy() for island in islands]
    after = Migration(1, migrants).migrate(islands, 1)
    for island, copy, now in zip(islands, copies, after, strict=True):
        assert island.tolist() == copy.tolist()
        assert not np.shares_memory(island, now)


def test_impossible_islands_are_refused():
    for islands in (0, -1, 5):
        with pytest.raises(UsageError, match="expected from 1 to 4 islands for 4 places"):
            island_of(np.arange(4), 4, islands)
    for place in (-1, 4):
        with pytest.raises(UsageError, match="expected places from 0 to 3"):
            island_of(np.array([place]), 4, 2)
    for every, migrants in ((0, 1), (1, -1)):
        with pytest.raises(UsageError, match="expected a migration every 1 or more generations"):
            Migration(every, migrants)
