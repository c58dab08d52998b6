"""Time to a level, where runs were not watched equally long."""

from __future__ import annotations

import math

import pytest

from galab.stats.curves import times_to

INF = math.inf


def test_all_that_reach_a_level_are_known_however_long_they_ran() -> None:
    found = times_to([[1, 2, 3], [10, 20]], [[0.1, 0.5, 0.6], [0.4, 0.5]], 0.5)
    assert found.first.tolist() == [2, 20]
    assert (found.horizon, found.shortest, found.beyond) == (INF, None, 0)


def test_nobody_is_later_than_a_run_that_was_watched_longer() -> None:
    places = [[10, 20, 30], [10, 20], [10, 20, 90]]
    values = [[0.1, 0.5, 0.6], [0.1, 0.2], [0.1, 0.2, 0.7]]
    found = times_to(places, values, 0.5)
    # The second ended at 20 without it: that the third came at 90 does not say that it was later than the second.
    assert found.first.tolist() == [20, INF, INF]
    assert (found.horizon, found.shortest, found.beyond) == (20, 1, 1)
    assert times_to(places, values, 0.55).first.tolist() == [INF, INF, INF]


def test_losses_have_to_go_down_and_the_shortest_is_the_one_that_never_did() -> None:
    found = times_to([[1, 2], [1, 5], [1, 9]], [[3.0, 1.0], [3.0, 2.5], [3.0, 2.0]], 1.0, lower_is_better=True)
    assert found.first.tolist() == [2, INF, INF]
    assert (found.horizon, found.shortest) == (5, 1)


@pytest.mark.parametrize("places", [[], [[1], []]])
def test_runs_without_measurements_are_refused(places: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="expected at least one run"):
        times_to(places, places, 0.5)
