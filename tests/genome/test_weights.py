"""Fixed-point weights: exact sums, and a clear end where the range ends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galab.errors import LethalMutationError, UsageError
from galab.genome.weights import SCALE, Layout, Phenotype, add, from_float, picked, step, to_change, to_float

LAYOUT = Layout(("first.weight", "first.bias", "empty", "last.weight"), ((2, 3), (2,), (0, 4), (1, 2)))
TOP, BOTTOM = 2**31 - 1, -(2**31)


def test_a_layout_finds_every_tensor():
    assert LAYOUT.sizes == (6, 2, 0, 2)
    assert LAYOUT.starts == (0, 6, 8, 8)
    assert LAYOUT.size == 10
    owners = ["first.weight"] * 6 + ["first.bias"] * 2 + ["last.weight"] * 2
    assert [LAYOUT.name_at(index) for index in range(10)] == owners


def test_split_gives_views_by_name_with_the_leading_axes_kept():
    flat = np.arange(30).reshape(3, 10)
    parts = LAYOUT.split(flat)
    assert {name: part.shape for name, part in parts.items()} == {
        "first.weight": (3, 2, 3), "first.bias": (3, 2), "empty": (3, 0, 4), "last.weight": (3, 1, 2),
    }
    assert parts["first.bias"][1].tolist() == [16, 17]
    assert LAYOUT.split(flat[0])["last.weight"].tolist() == [[8, 9]]


def test_a_scalar_parameter_has_one_weight():
    layout = Layout(("scale", "rest"), ((), (2,)))
    assert layout.size == 3
    assert layout.split(np.arange(3))["scale"].shape == ()


@given(st.lists(st.integers(-(2**24), 2**24), max_size=20))
def test_weights_that_float32_can_hold_survive_the_round_trip(weights):
    fixed = np.array(weights, dtype=np.int32)
    assert from_float(to_float(fixed)).tolist() == weights


@given(st.lists(st.floats(-127.5, 127.5, width=32), min_size=1, max_size=20))
def test_floats_survive_the_round_trip_to_half_a_unit_and_one_rounding(values):
    exact = np.array(values, dtype=np.float32)
    back = to_float(from_float(exact))
    assert back.dtype == np.float32
    assert np.all(np.abs(back.astype(np.float64) - exact) <= 0.5 / SCALE)
    large = np.abs(exact) >= 1
    assert np.array_equal(back[large], exact[large])


@given(st.lists(st.integers(BOTTOM, TOP), min_size=1, max_size=20))
def test_the_float_weight_is_the_nearest_float32(weights):
    expected = [np.float32(weight / SCALE) for weight in weights]  # the quotient of two whole numbers is exact here
    assert to_float(np.array(weights, dtype=np.int32)).tolist() == expected


@pytest.mark.parametrize("value", [128.0, -128.0, 1e30, -1e30, float("nan"), float("inf"), float("-inf")])
def test_weights_that_cannot_be_represented_are_refused(value):
    with pytest.raises(UsageError, match=r"expected (weights inside \+-128|finite weights), got"):
        from_float(np.array([0.5, value, 0.25], dtype=np.float32))


def test_the_sum_of_two_hundred_mutations_has_the_same_bits_in_any_order():
    generator = np.random.Generator(np.random.Philox(1))
    changes = [
        step(generator.standard_normal(10).astype(np.float32), np.float32(0.3), 10.0, LAYOUT, birth)
        for birth in range(200)
    ]

    def total(order):
        weights = np.zeros(10, dtype=np.int32)
        for index in order:
            weights = add(weights, changes[index], LAYOUT, index)
        return weights.tobytes()

    expected = total(range(200))
    assert all(total(generator.permutation(200)) == expected for _ in range(20))
    # What this is for: in float32 the same sums do depend on the order.
    floats = np.stack([to_float(change) for change in changes])
    orders = [generator.permutation(200) for _ in range(5)]
    assert len({np.add.reduce(floats[order], axis=0, dtype=np.float32).tobytes() for order in orders}) > 1


def test_undo_and_redo_come_back_to_the_same_bits():
    generator = np.random.Generator(np.random.Philox(2))
    start = generator.integers(-(2**28), 2**28, 10).astype(np.int32)
    changes = generator.integers(-(2**20), 2**20, (300, 10)).astype(np.int32)
    weights = start
    for _ in range(3):
        for change in changes:
            weights = add(weights, change, LAYOUT, 1)
        end = weights
        for change in changes[generator.permutation(300)]:
            weights = add(weights, -change, LAYOUT, 1)
        assert np.array_equal(weights, start)
    assert np.array_equal(end, (start + changes.sum(axis=0)).astype(np.int32))


@pytest.mark.parametrize("index", range(10))
@pytest.mark.parametrize(
    ("weight", "change", "lives"),
    [
        (TOP - 1, 1, True), (TOP, 0, True), (TOP, 1, False), (1, TOP, False), (0, TOP, True), (TOP, TOP, False),
        (BOTTOM + 1, -1, True), (BOTTOM, 0, True), (BOTTOM, -1, False), (-1, BOTTOM, False), (0, BOTTOM, True),
        (BOTTOM, BOTTOM, False), (TOP, BOTTOM, True), (BOTTOM, TOP, True),
    ],
)  # fmt: skip
def test_a_child_is_lethal_exactly_where_int32_ends_and_names_the_parameter(index, weight, change, lives):
    weights, changes = np.full(10, 5, dtype=np.int32), np.full(10, -3, dtype=np.int32)
    weights[index], changes[index] = weight, change
    if lives:
        total = add(weights, changes, LAYOUT, 77)
        assert total[index] == weight + change
        assert total.dtype == np.int32
        return
    with pytest.raises(LethalMutationError) as caught:
        add(weights, changes, LAYOUT, 77)
    assert caught.value.parameter == LAYOUT.name_at(index)
    assert f"birth 77 is lethal: a weight of '{LAYOUT.name_at(index)}' left" in str(caught.value)


def test_adding_touches_neither_term():
    weights, change = np.arange(10, dtype=np.int32), np.full(10, 7, dtype=np.int32)
    total = add(weights, change, LAYOUT, 1)
    assert weights.tolist() == list(range(10))
    assert change.tolist() == [7] * 10
    assert not np.shares_memory(total, weights)


def test_sums_do_not_share_memory_with_later_ones():
    first = add(np.zeros(10, np.int32), np.ones(10, np.int32), LAYOUT, 1)
    kept = first.copy()
    add(np.zeros(10, np.int32), np.full(10, 9, np.int32), LAYOUT, 2)
    step(np.ones(10, np.float32), np.float32(1), 1.0, LAYOUT, 3)
    assert np.array_equal(first, kept)


def test_a_step_is_one_float32_product_rounded_half_to_even():
    layout = Layout(("w",), ((6,),))
    z = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 3.25], dtype=np.float32)
    assert step(z, np.float32(2**-24), 4.0, layout, 1).tolist() == [0, 2, 2, 0, -2, 3]
    sigma, noise = np.float32(0.02), np.float32(1.2345678)
    product = np.float32(np.float64(sigma) * np.float64(noise) * SCALE)  # the double product is exact: one rounding
    found = step(np.full(6, noise), sigma, 4.0, layout, 1)
    assert found.dtype == np.int32
    assert found.tolist() == [round(float(product))] * 6


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("index", [0, 7, 9])
def test_a_step_too_large_for_int32_is_lethal_before_the_cast(index, sign):
    z = np.zeros(10, dtype=np.float32)
    z[index] = sign * np.nextafter(np.float32(128), np.float32(0))
    assert step(z.copy(), np.float32(1), 128.0, LAYOUT, 5)[index] == sign * (2**31 - 128)
    for size in (128.0, 1e6, 1e30):
        z[index] = sign * size
        with pytest.raises(LethalMutationError) as caught:
            step(z.copy(), np.float32(1), size, LAYOUT, 5)
        assert caught.value.parameter == LAYOUT.name_at(index)


def test_a_phenotype_knows_its_memory():
    weights, log_sigma = np.zeros(10, dtype=np.int32), np.zeros(3, dtype=np.int16)
    assert Phenotype(weights, log_sigma).nbytes == 46
    assert Phenotype(weights, log_sigma, {}, weights).nbytes == 86


def test_a_bound_that_rounding_might_exceed_is_looked_at():
    # 2^31 - 64 rounds to 2^31 in float32, which int32 cannot hold; the exact product is below.
    z = np.array([2.0**31], dtype=np.float32)
    with pytest.raises(LethalMutationError):
        to_change(z, 2.0**31 - 64, Layout(("w",), ((1,),)), 1, np.empty(1, dtype=np.int32))


def test_layers_and_neurons_are_told_by_the_module_of_a_tensor():
    layout = Layout(
        ("body.0.weight", "body.0.bias", "body.1.weight", "scale", "body.2.weight"), ((3, 2), (3,), (4,), (), (2, 2, 2))
    )
    assert layout.layers == (0, 0, 1, 2, 3)
    assert layout.neurons == ((3, ((0, 2), (6, 1))), (4, ((9, 1),)), (1, ((13, 1),)), (2, ((14, 4),)))
    # Tensors of one module with another number of rows are neurons of their own; empty ones are none.
    layout = Layout(("a.weight", "a.bias", "a.none"), ((2, 3), (5,), (2, 0)))
    assert layout.neurons == ((2, ((0, 3),)), (5, ((6, 1),)))


@pytest.mark.parametrize("ways", [2, 3])
@pytest.mark.parametrize("kind", [np.int16, np.int32])
def test_each_number_is_picked_from_its_source(ways, kind):
    generator = np.random.Generator(np.random.Philox(ways))
    bounds = np.iinfo(kind)
    values = [generator.integers(bounds.min, bounds.max, 999, dtype=kind, endpoint=True) for _ in range(ways)]
    sources = generator.integers(0, ways, 999, dtype=np.uint8)
    before = [value.copy() for value in values]
    found = picked(values, sources)
    assert found.dtype == kind
    assert found.tolist() == [int(values[source][at]) for at, source in enumerate(sources.tolist())]
    assert all(np.array_equal(value, was) for value, was in zip(values, before, strict=True))
