"""Banks of memories, by hand: who serves whom, margins, planting, free room."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from galab.models.memory_metrics import (
    free_directions,
    free_subspace,
    margins,
    norms,
    planted,
    right,
    smallest_margins,
    use,
    winners,
)

INF, NAN = float("inf"), float("nan")
#: Four inputs and three memories with class 0, 1 and 1; the third is empty.
INPUTS = np.array([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0], [-1.0, 0.0]], dtype=np.float32)
VECTORS = np.array([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]], dtype=np.float32)
CLASSES = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], dtype=np.float32)
TARGETS = np.array([0, 0, 1, 0])
#: INPUTS dot VECTORS.
NEARNESS = np.array([[2.0, 0.0, -INF], [3.0, 2.0, -INF], [0.0, 2.0, -INF], [-1.0, 0.0, -INF]])


def dot(inputs: Any, vectors: Any) -> Any:
    """Closeness by dot product."""
    return np.where(vectors.any(axis=1), inputs.astype(np.float64) @ vectors.astype(np.float64).T, -INF)


def test_the_example_is_what_the_comments_say() -> None:
    np.testing.assert_array_equal(dot(INPUTS, VECTORS), NEARNESS)


def test_winners_use_and_right_answers() -> None:
    served = winners(NEARNESS)
    assert served.tolist() == [0, 0, 1, 1]
    assert use(served, 3).tolist() == [2, 2, 0]
    assert right(served, CLASSES, TARGETS).tolist() == [True, True, True, False]


def test_of_equally_near_memories_and_of_equal_logits_the_first_counts() -> None:
    assert winners(np.array([[1.0, 3.0, 3.0]])).tolist() == [1]
    assert right(np.array([0, 0]), np.zeros((1, 2)), np.array([0, 1])).tolist() == [True, False]


def test_an_empty_bank_answers_nothing() -> None:
    served = winners(np.full((2, 3), -INF))
    assert served.tolist() == [-1, -1]
    assert use(served, 3).tolist() == [0, 0, 0]
    assert not right(served, CLASSES, np.array([0, 1])).any()
    assert np.isnan(margins(np.full((2, 3), -INF))).all()
    assert winners(np.empty((2, 0))).tolist() == [-1, -1]
    assert not right(np.array([-1]), np.empty((0, 2)), np.array([0])).any()


def test_margins_and_the_smallest_of_each_memory() -> None:
    margin = margins(NEARNESS)
    assert margin.tolist() == [2, 1, 2, 1]
    np.testing.assert_array_equal(smallest_margins(margin, winners(NEARNESS), 3), [1, 1, NAN])
    alone = np.array([[5.0, -INF]])
    assert margins(alone).tolist() == [INF]
    np.testing.assert_array_equal(smallest_margins(margins(alone), winners(alone), 2), [INF, NAN])


def test_norms() -> None:
    assert norms(np.array([[3.0, 4.0], [0.0, 0.0]], dtype=np.float32)).tolist() == [5, 0]


def test_planting_the_wrong_point_in_the_unused_memory() -> None:
    # (-1, 0) with class 0: it now serves itself with closeness 1; the others stay where they were.
    found = planted(VECTORS, CLASSES, INPUTS, TARGETS, dot)
    assert (found.head, found.unused, found.points, found.tried_wrong) == (2, True, 1, True)
    assert (found.before, found.after, found.broken, found.mended, found.length) == (3, 4, 0, 1, 1)


def test_a_planted_vector_of_another_class_breaks_what_it_outshines() -> None:
    # The wrong point is now (3, 1) with class 1: closer than memory 0 to (2, 0), 6 against 2, whose answer breaks.
    targets = np.array([0, 1, 1, 1])
    found = planted(VECTORS, CLASSES, INPUTS, targets, dot)
    assert (found.before, found.after, found.broken, found.mended) == (3, 3, 1, 1)
    assert found.length == pytest.approx(np.sqrt(10))
    # At the bank's median length, 1.5, it has closeness 2.85 to (2, 0) and still breaks it.
    scaled = planted(VECTORS, CLASSES, INPUTS, targets, dot, scaled=True)
    assert (scaled.after, scaled.broken, scaled.length) == (3, 1, pytest.approx(1.5))


def test_without_an_unused_memory_the_least_used_goes_and_what_it_served_is_lost() -> None:
    # Memory 1 serves (0, 1) and (-1, 0), memory 0 the same number: the first is taken, and (2, 0) and (3, 1) lose it.
    found = planted(VECTORS[:2], CLASSES[:2], INPUTS, TARGETS, dot)
    assert (found.head, found.unused, found.points) == (0, False, 1)
    assert (found.before, found.after, found.broken, found.mended) == (3, 2, 2, 1)


def test_when_none_is_wrong_every_point_is_tried() -> None:
    found = planted(VECTORS, CLASSES, INPUTS[:3], TARGETS[:3], dot)
    assert (found.tried_wrong, found.points, found.before, found.mended) == (False, 3, 3, 0)
    # (3, 1) and (2, 0) break nothing; (0, 1) has closeness 1 to (3, 1), less than 3.
    assert (found.after, found.broken) == (3, 0)
    assert found.length == pytest.approx((2 + np.sqrt(10) + 1) / 3)


def test_an_empty_bank_can_be_planted() -> None:
    found = planted(np.zeros((2, 2), np.float32), np.zeros((2, 2)), INPUTS, TARGETS, dot, scaled=True)
    assert (found.before, found.points) == (0, 4)
    # Only one memory is there, so it answers all: three inputs have class 0, one has class 1.
    assert found.after == (3 + 3 + 1 + 3) / 4


def test_the_room_that_no_input_sees() -> None:
    inputs = np.array([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    vectors = np.array([[3.0, 0.0, 4.0], [1.0, 1.0, 0.0], [0.0, 0.0, 2.0], [0.0, 0.0, 0.0]])
    found = free_subspace(inputs, vectors)
    assert (found.rank, found.free) == (2, 1)
    np.testing.assert_allclose(found.shares, [16 / 25, 0, 1, NAN], atol=1e-12)
    hint = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert free_subspace(inputs + 1e-7 * hint, vectors).rank == 2, "below the tolerance"
    assert free_subspace(inputs + 1e-3 * hint, vectors).rank == 3
    assert free_subspace(inputs + 1e-3 * hint, vectors, tolerance=0.1).rank == 2
    nothing = free_subspace(np.zeros((2, 3)), vectors)
    assert (nothing.rank, nothing.free) == (0, 3)
    np.testing.assert_allclose(nothing.shares[:3], 1)


def test_short_steps_break_nothing_and_long_ones_do() -> None:
    def shares(sigma: float, **how: Any) -> Any:
        return free_directions(VECTORS, CLASSES, INPUTS, TARGETS, dot, sigma=sigma, **how)

    # Memory 0 has to stay nearer than memory 1 for (2, 0) and (3, 1): a margin of 1 over a length of root 10.
    np.testing.assert_array_equal(shares(0.3), [1, 1, NAN])
    long = shares(50.0, draws=400)
    # Far away memory 0 must win (2, 0) and (3, 1) and lose (0, 1): steps below the x axis and right of 3x + y = 0.
    assert long[0] == pytest.approx(np.arctan(3) / (2 * np.pi), abs=0.06)
    np.testing.assert_array_equal(shares(1.0), shares(1.0))
    assert shares(1.0, key=1)[0] != shares(1.0, key=2)[0] or shares(2.0, key=1)[0] != shares(2.0, key=2)[0]


def test_a_step_without_right_answers_breaks_nothing() -> None:
    wrong = 1 - TARGETS
    bank = VECTORS[:1]
    assert free_directions(bank, CLASSES[:1], INPUTS[:2], wrong[:2], dot, sigma=9.0).tolist() == [1.0]
