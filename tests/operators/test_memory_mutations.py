"""Mutations of memories: what each of them changes, which head it chooses, and that the sphere is kept to the bit."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import isqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from galab.config.registry import MUTATIONS
from galab.config.traits import BY_GENOME
from galab.errors import LethalMutationError, UsageError
from galab.genome.births import Birth
from galab.genome.random import table
from galab.genome.step_sizes import GRANULARITIES, Steps
from galab.genome.weights import SCALE, Layout, Phenotype
from galab.operators.mutation.memory import Activate, All, Delete, Perturb, Replace, Target
from galab.operators.mutation.memory_bank import LOGIT, bank_of, unit

HEADS, DIMS, OUTPUTS, KEY, NORMAL = 6, 32, 10, 11, table("normal")
ONE_HEAD = (Replace, Perturb, Target, Activate, Delete)
NAMES = [name for name in MUTATIONS.names() if name.startswith("memory-")]


def layout_of(vectors: str = "memories", plastic: bool = False) -> Layout:
    """A bank inside a larger network."""
    names = ("first.weight", f"bank.{vectors}", "bank.classes", *(["bank.plasticity"] if plastic else []), "last.bias")
    shapes = ((3, 5), (HEADS, DIMS), (HEADS, OUTPUTS), *([(HEADS,)] if plastic else []), (7,))
    return Layout(names, shapes)


def parent_of(layout: Layout, filled: tuple[int, ...] = tuple(range(HEADS))) -> Phenotype:
    """Random unit vectors with one class each, in the heads that are to be filled; other weights are random."""
    rng = np.random.Generator(np.random.Philox(5))
    weights = rng.integers(-(2**22), 2**22, layout.size).astype(np.int32)
    bank = bank_of(layout)
    if bank.plasticity is not None:
        bank.plasticities_of(weights)[:] = 0
    for head in range(HEADS):
        bank.logits_of(weights)[head] = 0
        if head in filled:
            bank.vectors_of(weights)[head] = unit(bank.vectors_of(weights)[head])
            bank.logits_of(weights)[head][head % OUTPUTS] = int(LOGIT * SCALE)
        else:
            bank.vectors_of(weights)[head] = 0
    return Phenotype(weights, np.zeros(1, np.int16))


def child(number: int, head: int = 0) -> Birth:
    return Birth(number, (0,), 1, head, 0, 0, 1)


def mutated(operator, parent: Phenotype, layout: Layout, number: int, *, head: int = 0, point: int = -256):
    steps = Steps(layout)
    return operator.apply(parent, child(number, head), np.array([point], dtype=np.int16), steps)


def changed_heads(before: np.ndarray, after: np.ndarray, layout: Layout) -> tuple[set[int], set[int]]:
    """Heads whose vector changed, and heads whose class did; nothing else may have."""
    bank = bank_of(layout)
    elsewhere = before != after
    parts = bank.vectors_of(elsewhere), bank.logits_of(elsewhere)
    vectors, classes = (set(np.flatnonzero(part.any(axis=1)).tolist()) for part in parts)
    bank.vectors_of(elsewhere)[:] = bank.logits_of(elsewhere)[:] = False
    if bank.plasticity is not None:
        bank.plasticities_of(elsewhere)[:] = False
    assert not elsewhere.any()
    return vectors, classes


def lengths(weights: np.ndarray, layout: Layout) -> np.ndarray:
    bank = bank_of(layout)
    return np.linalg.norm(bank.vectors_of(weights) / SCALE, axis=1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("vectors", ["memories", "free_memories", "angles"])
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_every_operator_keeps_its_parent_and_repeats_itself(name, vectors, granularity):
    layout = layout_of(vectors)
    steps = Steps(layout, granularity)
    operator = MUTATIONS.load(name)(KEY, NORMAL)
    parent, log_sigma = parent_of(layout, (0, 2, 3)), np.full(steps.size, -300, np.int16)
    before = parent.weights.copy()
    first, again = (operator.apply(parent, child(9), log_sigma, steps) for _ in range(2))
    assert (first.dtype, first.shape) == (np.int32, (layout.size,))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(parent.weights, before)
    assert (first != before).any()
    assert any((operator.apply(parent, child(n), log_sigma, steps) != first).any() for n in range(10, 20))
    assert not operator.context_free


@pytest.mark.parametrize("kind", ONE_HEAD)
def test_one_head_changes_and_no_other_weight(kind):
    layout = layout_of()
    parent = parent_of(layout, (0, 1, 2, 3))
    for number in range(40):
        vectors, classes = changed_heads(parent.weights, mutated(kind(KEY, NORMAL), parent, layout, number), layout)
        assert len(vectors | classes) <= 1


def test_what_each_operator_changes():
    layout = layout_of()
    parent = parent_of(layout)
    found = {}
    for kind in ONE_HEAD:
        both = [changed_heads(parent.weights, mutated(kind(KEY, NORMAL), parent, layout, n), layout) for n in range(99)]
        found[kind] = tuple(sum(bool(part[place]) for part in both) for place in (0, 1))
    assert found[Perturb] == (99, 0)
    assert found[Target][0] == 0
    assert 80 <= found[Target][1] <= 98
    assert found[Replace][0] == 99
    assert 80 <= found[Replace][1] <= 98
    assert found[Delete] == (99, 99)
    both = Perturb(KEY, NORMAL, both=True)
    changed = [changed_heads(parent.weights, mutated(both, parent, layout, n), layout) for n in range(99)]
    assert all(vectors for vectors, _ in changed)
    assert sum(bool(classes) for _, classes in changed) > 80


def test_classes_are_one_hot_and_all_of_them_come():
    layout, seen = layout_of(), Counter()
    bank, parent = bank_of(layout), parent_of(layout, ())
    for number in range(400):
        weights = mutated(Replace(KEY, NORMAL), parent, layout, number, head=3)
        logits = bank.logits_of(weights)[2]
        assert sorted(logits.tolist()) == [0] * (OUTPUTS - 1) + [int(LOGIT * SCALE)]
        seen[int(logits.argmax())] += 1
    assert set(seen) == set(range(OUTPUTS))
    assert min(seen.values()) > 15


@pytest.mark.parametrize("kind", [Replace, Perturb, All, Activate])
def test_vectors_stay_on_the_sphere(kind):
    layout = layout_of()
    parent = parent_of(layout)
    for number in range(20):
        weights = mutated(kind(KEY, NORMAL), parent, layout, number, point=256)
        np.testing.assert_allclose(lengths(weights, layout), 1, atol=DIMS / SCALE)
        parent = Phenotype(weights, parent.log_sigma)


def test_a_step_is_as_long_as_the_step_size_before_it_returns_to_the_sphere():
    layout, steps = layout_of("free_memories"), []
    bank, parent = bank_of(layout), parent_of(layout)
    for number in range(300):
        weights = mutated(Perturb(KEY, NORMAL), parent, layout, number, point=-512)  # a step size of 1/4
        moved = (weights - parent.weights)[bank.vectors : bank.classes].reshape(HEADS, DIMS) / SCALE
        steps.append(np.linalg.norm(moved))
    assert np.sqrt(np.mean(np.square(steps))) == pytest.approx(0.25, rel=0.03)


def test_angles_are_drawn_from_the_whole_circle():
    layout = layout_of("angles")
    bank, parent = bank_of(layout), parent_of(layout, ())
    drawn = np.concatenate([
        bank.vectors_of(mutated(Replace(KEY, NORMAL), parent, layout, number, head=1))[0] / SCALE
        for number in range(200)
    ])
    assert np.abs(drawn).max() <= np.pi + 1e-6
    assert np.histogram(drawn, bins=8, range=(-np.pi, np.pi))[0] == pytest.approx(len(drawn) / 8, rel=0.15)


@pytest.mark.slow
def test_heads_are_chosen_with_equal_odds_among_those_asked_for():
    layout = layout_of()
    parent = parent_of(layout, (0, 2, 5))
    chosen = {
        heads: Counter(
            head
            for number in range(600)
            for head in set.union(*changed_heads(parent.weights, mutated(Replace(KEY, NORMAL, heads), parent, layout,
                                                                         number), layout))
        )
        for heads in ("any", "filled", "empty")
    }
    assert set(chosen["any"]) == set(range(HEADS))
    assert min(chosen["any"].values()) > 70
    assert set(chosen["filled"]) == {0, 2, 5}
    assert min(chosen["filled"].values()) > 150
    assert set(chosen["empty"]) == {1, 3, 4}
    assert min(chosen["empty"].values()) > 150


def test_where_none_is_as_asked_for_any_is_taken():
    layout = layout_of()
    full, empty = parent_of(layout), parent_of(layout, ())
    heads = [changed_heads(full.weights, mutated(Activate(KEY, NORMAL), full, layout, n), layout)[0] for n in range(60)]
    assert set.union(*heads) == set(range(HEADS))
    np.testing.assert_array_equal(mutated(Delete(KEY, NORMAL), empty, layout, 1), empty.weights)


def test_the_birth_says_which_head_where_the_search_has_chosen():
    layout = layout_of()
    parent = parent_of(layout)
    for head in range(HEADS):
        for number in range(5):
            weights = mutated(Replace(KEY, NORMAL, "unused"), parent, layout, number, head=head + 1)
            assert changed_heads(parent.weights, weights, layout)[0] == {head}


@pytest.mark.slow
def test_plasticity_draws_heads_by_powers_of_two_and_changes_with_them():
    layout = layout_of(plastic=True)
    bank, parent = bank_of(layout), parent_of(layout)
    weights = parent.weights.copy()
    bank.plasticities_of(weights)[:] = (np.array([3, 0, 0, 0, 0, -4]) * SCALE).astype(np.int32)
    parent = Phenotype(weights, parent.log_sigma)
    chosen = Counter()
    for number in range(2000):
        child_weights = mutated(Replace(KEY, NORMAL, "plasticity"), parent, layout, number)
        (head,) = changed_heads(weights, child_weights, layout)[0]
        chosen[head] += 1
        moved = bank.plasticities_of(child_weights) - bank.plasticities_of(weights)
        assert set(np.flatnonzero(moved)) <= {head}
    total = 8 + 4 + 1 / 16
    for head, odds in enumerate([8, 1, 1, 1, 1, 1 / 16]):
        expected = 2000 * odds / total
        assert abs(chosen[head] - expected) < 5 * np.sqrt(expected) + 1


def test_all_moves_every_vector_and_gives_empty_ones_a_class():
    layout = layout_of()
    parent = parent_of(layout, (0, 1))
    vectors, classes = changed_heads(parent.weights, mutated(All(KEY, NORMAL), parent, layout, 4), layout)
    assert vectors == set(range(HEADS))
    assert classes == {2, 3, 4, 5}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("vectors", ["memories", "free_memories", "angles"])
def test_several_births_at_once_are_each_birth_alone(name, vectors):
    layout = layout_of(vectors, plastic=True)
    heads = ["any", "filled", "empty", "plasticity"]
    for choice in heads:
        operator = MUTATIONS.load(name)(KEY, NORMAL, choice)
        parents = [parent_of(layout, filled) for filled in ((), (0, 1), tuple(range(HEADS)))] * 3
        births = [child(n, n % 3)._replace(log_sigma=-100 * n) for n in range(9)]
        together = operator.apply_all(np.stack([one.weights for one in parents]), births, layout)
        for parent, birth, found in zip(parents, births, together, strict=True):
            alone = operator.apply(parent, birth, np.array([birth.log_sigma], np.int16), Steps(layout))
            np.testing.assert_array_equal(found, alone)


def test_a_vector_that_leaves_the_range_is_lethal_and_named():
    layout = layout_of("free_memories")
    weights = parent_of(layout).weights.copy()
    bank_of(layout).vectors_of(weights)[2] = 2**31 - 1
    parent = Phenotype(weights, np.zeros(1, np.int16))
    with pytest.raises(LethalMutationError, match="bank.free_memories"):
        mutated(Perturb(KEY, NORMAL), parent, layout, 1, head=3, point=256)
    births = [child(1, 3)._replace(log_sigma=256)]
    assert Perturb(KEY, NORMAL).apply_all(weights[None].copy(), births, layout) is None


def test_frozen_plasticities_stay():
    layout = layout_of(plastic=True)
    bank, steps = bank_of(layout), Steps(layout, frozen=[3])
    weights = Replace(KEY, NORMAL).apply(parent_of(layout), child(3), np.zeros(1, np.int16), steps)
    assert not bank.plasticities_of(weights).any()


@pytest.mark.slow
@given(arrays(np.int32, st.integers(1, 40), elements=st.integers(-(2**31) + 1, 2**31 - 1)))
def test_unit_vectors_are_the_nearest_weights_of_exact_arithmetic(vector):
    found = unit(vector)
    squares = sum(int(one) ** 2 for one in vector)
    if not squares:
        np.testing.assert_array_equal(found, vector)
        return
    # The length to 60 digits by integers alone, then an exact quotient.
    length = Fraction(isqrt(squares << 400), 1 << 200)
    for one, got in zip(vector.tolist(), found.tolist(), strict=True):
        assert abs(Fraction(one) * 2**24 / length - got) <= Fraction(1, 2) + Fraction(1, 2**20)


def test_a_known_vector_is_scaled_to_known_weights():
    assert unit(np.array([3, 4], np.int32) << 20).tolist() == [round(0.6 * 2**24), round(0.8 * 2**24)]
    # Golden: a mutation means the same weights for ever.
    weights = mutated(Perturb(KEY, NORMAL), parent_of(layout_of()), layout_of(), 7, head=1)
    assert bank_of(layout_of()).vectors_of(weights)[0, :4].tolist() == [1211841, 405990, 2701394, -1753194]



def test_a_network_without_memories_is_refused():
    with pytest.raises(UsageError, match="'memories' .* use --model memory"):
        Replace(KEY, NORMAL).check(Layout(("weight",), ((3, 4),)))


def test_a_way_to_choose_that_does_not_exist_is_refused():
    with pytest.raises(UsageError, match="expected heads of a memory mutation"):
        Replace(KEY, NORMAL, "best")
    assert all(Replace(KEY, NORMAL, heads).heads == heads for heads in BY_GENOME)
    Replace(KEY, NORMAL, "plasticity").check(layout_of(plastic=True))
    with pytest.raises(UsageError, match="plastic=True"):
        Replace(KEY, NORMAL, "plasticity").check(layout_of())
