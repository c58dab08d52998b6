"""The shared minibatch of a generation."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from galab.contracts import Examples
from galab.evaluation.blocks import Minibatches, fresh_examples
from galab.genome.random import Stream, codes, permutation


def examples(count: int = 20) -> Examples:
    """Every example is its own number, and its target the number plus 1000."""
    return Examples(torch.arange(count).float()[:, None], torch.arange(count) + 1000)


def numbers(found: Examples) -> list[int]:
    assert torch.equal(found.targets - 1000, found.inputs[:, 0].long())
    return found.inputs[:, 0].long().tolist()


@given(count=st.integers(1, 40), size=st.integers(1, 40), key=st.integers(0, 2**63 - 1))
def test_an_epoch_shows_every_example_at_most_once(count, size, key):
    batches = Minibatches(examples(count), size, key)
    if size >= count:
        assert batches.fixed
        return
    per_epoch = count // size
    for epoch in range(3):
        seen = [n for place in range(per_epoch) for n in numbers(batches.of(epoch * per_epoch + place + 1))]
        assert len(seen) == len(set(seen)) == per_epoch * size


@given(st.lists(st.integers(1, 60), min_size=1, max_size=15))
def test_a_generations_examples_depend_on_key_and_number_alone(generations):
    shared = Minibatches(examples(), 6, 9)
    for generation in generations:
        assert numbers(shared.of(generation)) == numbers(Minibatches(examples(), 6, 9).of(generation))


def test_the_order_is_the_noise_of_the_epoch():
    batches = Minibatches(examples(), 6, 9)
    order = permutation(20, 9, 1, Stream.BATCH).tolist()
    assert [numbers(batches.of(generation)) for generation in (4, 5, 6)] == [order[:6], order[6:12], order[12:18]]


def test_epochs_and_keys_have_orders_of_their_own():
    orders = {tuple(numbers(Minibatches(examples(), 10, key).of(generation))) for key in range(5)
              for generation in range(1, 9)}
    assert len(orders) == 40


def test_over_many_epochs_every_example_is_seen_about_equally_often():
    batches = Minibatches(examples(), 6, 3)
    counts = torch.zeros(20)
    for generation in range(1, 3001):
        counts[numbers(batches.of(generation))] += 1
    assert counts.sum() == 18_000
    assert counts.min() > 830  # 900 of 1000 epochs on average, standard deviation 9.5
    assert counts.max() < 970


@pytest.mark.parametrize("size", [0, 20, 21, 1000])
def test_all_examples_every_time_is_fixed_data(size):
    data = examples()
    batches = Minibatches(data, size, 3)
    assert batches.fixed
    assert batches.size == 20
    assert batches.of(1) is batches.of(77) is data


def test_a_minibatch_has_its_size():
    batches = Minibatches(examples(), 6, 3)
    assert not batches.fixed
    assert batches.size == 6
    assert all(len(batches.of(generation)) == 6 for generation in range(1, 30))


@given(count=st.integers(1, 40), size=st.integers(0, 40), key=st.integers(0, 2**63 - 1), generation=st.integers(1, 99))
def test_coins_are_one_uniform_number_per_example(count, size, key, generation):
    batches = Minibatches(examples(count), size, key)
    coins = batches.coins(generation)
    assert coins.shape == (len(batches.of(generation)),)
    assert coins.dtype == torch.float32
    drawn = codes(key, generation, Stream.COINS, len(coins)).tolist()
    assert coins.tolist() == [(code + 0.5) / 65536 for code in drawn]
    assert torch.equal(coins, Minibatches(examples(count), size, key).coins(generation))


def test_coins_differ_between_generations_and_keys_also_on_fixed_data():
    seen = {tuple(Minibatches(examples(), 0, key).coins(generation).tolist())
            for key in range(3) for generation in range(1, 11)}  # fmt: skip
    assert len(seen) == 30


class Fresh:
    """A task that makes its own examples, and notes what it was asked for."""

    def __init__(self) -> None:
        self.asked = []

    def sample(self, run_key: int, generation: int, size: int) -> Examples:
        self.asked.append((run_key, generation, size))
        return Examples(torch.full((size, 1), float(generation)), torch.full((size,), run_key))


def doubled(data: Examples) -> Examples:
    return Examples(data.inputs * 2, data.targets)


def test_a_task_with_fixed_examples_makes_none(task):
    assert fresh_examples(task, doubled) is None


@pytest.mark.parametrize(("size", "got"), [(0, 20), (6, 6), (20, 20), (77, 77)])
def test_fresh_examples_are_as_many_as_asked_for_and_never_fixed(size, got):
    batches = Minibatches(examples(), size, 9, fresh_examples(Fresh(), doubled))
    assert not batches.fixed
    assert batches.size == got
    assert batches.coins(3).shape == (got,)
    for generation in (1, 2, 7):
        found = batches.of(generation)
        assert found.inputs.tolist() == [[2.0 * generation]] * got  # brought to where they are used
        assert found.targets.tolist() == [9] * got
    assert numbers(batches.examples) == list(range(20))


def test_fresh_examples_are_made_once_a_generation():
    task = Fresh()
    batches = Minibatches(examples(), 5, 9, fresh_examples(task, doubled))
    assert batches.of(1) is batches.of(1)
    batches.of(2)
    assert task.asked == [(9, 1, 5), (9, 2, 5)]
