"""What a direction is made of."""

from __future__ import annotations

import pytest

from galab.errors import UsageError
from galab.genome.weights import Layout
from galab.operators.es_noise import TensorPlan, plan_of, plan_of_ranks

LAYOUT = Layout(("convolution", "bias", "head"), ((8, 3, 3, 3), (8,), (4, 8)))
MATRICES = ("convolution", "head")


def test_matrices_get_factors_and_the_rest_dense_noise() -> None:
    plan = plan_of(LAYOUT, 2, MATRICES)
    assert [(tensor.name, tensor.number, tensor.rank) for tensor in plan.tensors] == [
        ("convolution", 0, 2), ("bias", 1, None), ("head", 2, 2)
    ]  # fmt: skip
    assert [tensor.numbers for tensor in plan.tensors] == [2 * (8 + 27), 8, 2 * (4 + 8)]
    assert [tensor.blocks for tensor in plan.tensors] == [5, 1, 2], "blocks of 16 codes, the last one not full"
    assert (plan.size, plan.numbers, plan.low_rank) == (8 * 27 + 8 + 32, 102, True)


def test_without_a_rank_all_noise_is_dense() -> None:
    plan = plan_of(LAYOUT, None, MATRICES)
    assert plan.numbers == plan.size
    assert not plan.low_rank


def test_ranks_are_all_that_must_be_kept_beside_the_layout() -> None:
    for plan in (plan_of(LAYOUT, 3, MATRICES), plan_of(LAYOUT, 1, ("head",)), plan_of(LAYOUT, None)):
        assert plan_of_ranks(LAYOUT, plan.ranks) == plan
    assert plan_of(LAYOUT, 3, ("head",)).ranks == [0, 0, 3]


def test_a_rank_above_the_smaller_side_is_one_sentence() -> None:
    assert plan_of(LAYOUT, 4, MATRICES).ranks == [4, 0, 4]
    with pytest.raises(UsageError) as error:
        plan_of(LAYOUT, 5, MATRICES)
    said = str(error.value)
    assert said.startswith("expected --rank at most 4, the smaller side of 'head' (4 x 8), got 5: more would be full")
    assert said.endswith("; lower it, or use --strategy openai-es for full-rank noise")
    with pytest.raises(UsageError, match="expected --rank at most 1, the smaller side of 'bias'"):
        plan_of_ranks(LAYOUT, [0, 2, 0])
    with pytest.raises(UsageError, match="got -1"):
        plan_of_ranks(LAYOUT, [0, 0, -1])


@pytest.mark.parametrize(("shape", "sides"), [((5, 7), (5, 7)), ((8, 3, 2), (8, 6)), ((4,), (4, 1))])
def test_a_tensor_is_seen_as_a_matrix(shape: tuple[int, ...], sides: tuple[int, int]) -> None:
    tensor = TensorPlan("t", shape, 0, 1)
    assert (tensor.rows, tensor.columns) == sides
