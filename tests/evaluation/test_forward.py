"""Low-rank members in every kind of layer, against plain modules with each member's weights written out."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from low_rank_networks import ALL, each_by_itself, materialised, perturbed
from stacks import TOKENS, Lambda, ready
from torch import Tensor, nn

from galab.errors import GalabError
from galab.evaluation.batched.dense import fitting_block
from galab.evaluation.batched.forward import PERTURBED_FORWARDS, choose_perturbed_forward, folded, vmapped
from galab.evaluation.batched.low_rank import LowRank

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning"),
    pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning"),
    pytest.mark.filterwarnings("ignore:enable_nested_tensor is True:UserWarning"),
]


@pytest.fixture(autouse=True)
def inference() -> None:
    with torch.inference_mode():
        yield


def shown(name: str, shape: tuple[int, ...], rows: int) -> Tensor:
    generator = torch.Generator().manual_seed(rows)
    if name in TOKENS or "tokens" in name:
        return torch.randint(0, 9, (rows, *shape), generator=generator)
    return torch.randn(rows, *shape, generator=generator)


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    return ready(ALL[name][0]())


def assert_same(got: Tensor, expected: Tensor) -> None:
    assert got.shape == expected.shape
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5 * max(1.0, float(expected.abs().max())))


@pytest.mark.parametrize(("members", "rank", "antithetic"), [(4, 1, True), (3, 4, False), (1, 2, False)])
@pytest.mark.parametrize("name", ALL)
def test_the_way_that_is_chosen_gives_what_materialised_weights_give(name, members, rank, antithetic):
    _, shape, way = ALL[name]
    module = network(name)
    parameters = perturbed(module, members, rank=rank, antithetic=antithetic)
    chosen = choose_perturbed_forward(module, parameters, shown(name, shape, 4))
    if members > 1:
        assert chosen == way
    for examples in (1, 2, members, 5):
        inputs = shown(name, shape, examples)
        got = PERTURBED_FORWARDS[chosen](module, parameters, inputs)
        assert_same(got, each_by_itself(module, parameters, inputs))


@pytest.mark.parametrize(("members", "rank", "antithetic"), [(2, 1, True), (3, 2, False)])
@pytest.mark.parametrize("name", ALL)
def test_members_with_examples_of_their_own(name, members, rank, antithetic):
    module, shape = network(name), ALL[name][1]
    parameters = perturbed(module, members, rank=rank, antithetic=antithetic)
    chosen = choose_perturbed_forward(module, parameters, shown(name, shape, 4), each_own=True)
    for examples in (1, members, 5):
        inputs = shown(name, shape, members * examples)
        got = PERTURBED_FORWARDS[chosen](module, parameters, inputs, each_own=True)
        assert_same(got, each_by_itself(module, parameters, inputs, each_own=True))


@pytest.mark.parametrize("name", ALL)
def test_mapping_over_the_members_is_right_where_it_is_not_chosen(name):
    module, shape = network(name), ALL[name][1]
    parameters = perturbed(module, 4, rank=2, antithetic=True)
    inputs = shown(name, shape, 3)
    assert_same(vmapped(module, parameters, inputs), each_by_itself(module, parameters, inputs))
    own = shown(name, shape, 12)
    expected = each_by_itself(module, parameters, own, each_own=True)
    assert_same(vmapped(module, parameters, own, each_own=True), expected)


@pytest.mark.parametrize("each_own", [False, True])
@pytest.mark.parametrize("name", ["layer norm", "conv group norm", "tokens with tied weights", "gru", "transformer"])
def test_dense_members_are_run_too(name, each_own):
    module, shape = network(name), ALL[name][1]
    parameters = materialised(perturbed(module, 3))
    inputs = shown(name, shape, 3 if each_own else 4)
    got = folded(module, parameters, inputs, each_own=each_own)
    assert_same(got, each_by_itself(module, parameters, inputs, each_own=each_own))


@pytest.mark.parametrize("name", ["layer norm", "conv1d", "tokens embedded", "gru cell", "self-attention", "products"])
def test_parameters_that_are_left_out_are_the_modules_own(name):
    module, shape = network(name), ALL[name][1]
    every = perturbed(module, 3)
    inputs = shown(name, shape, 4)
    for kept in every:
        some = {name: stack for name, stack in every.items() if name != kept}
        own = module.get_parameter(kept).expand(3, *module.get_parameter(kept).shape)
        assert_same(folded(module, some, inputs), each_by_itself(module, {**some, kept: own}, inputs))


@pytest.mark.parametrize("forward", PERTURBED_FORWARDS)
def test_the_callers_tensors_are_left_as_they_were(forward):
    module, inputs = network("layer norm"), torch.randn(4, 6)
    parameters = perturbed(module, 2, antithetic=True)
    first = PERTURBED_FORWARDS[forward](module, parameters, inputs)
    for value in module.parameters():
        value.fill_(float("nan"))  # the centre is in the parameters, and the module's own weights are not used
    assert torch.equal(PERTURBED_FORWARDS[forward](module, parameters, inputs), first)
    assert not vars(inputs)


def test_members_do_not_mix():
    module, inputs = network("transformer"), torch.randn(3, 4, 6)
    parameters = perturbed(module, 4)
    before = folded(module, parameters, inputs)
    for stack in parameters.values():
        (stack.a if isinstance(stack, LowRank) else stack)[2] = float("nan")
    after = folded(module, perturbed(module, 4) | parameters, inputs)
    assert after[2].isnan().all()
    assert torch.equal(after[[0, 1, 3]], before[[0, 1, 3]])


def test_a_table_with_as_many_rows_as_examples_is_no_batch():
    # Only at some sizes does a table of steps look like a batch, long after the way was chosen.
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        return m.last(x + m.table(torch.eye(4))).tanh().sum(1)

    module = ready(Lambda(forward, table=nn.Linear(4, 6), last=nn.Linear(6, 3)))
    parameters = perturbed(module, 2)
    for examples in (2, 3, 4, 8):
        inputs = torch.randn(examples, 4, 6)
        assert_same(folded(module, parameters, inputs), each_by_itself(module, parameters, inputs))


def test_a_network_that_ignores_its_parameters_gives_every_member_the_same():
    module = ready(Lambda(lambda m, x: x.sum(1, keepdim=True), unused=nn.Linear(6, 3)))
    inputs = torch.randn(5, 6)
    assert_same(folded(module, perturbed(module, 3), inputs), inputs.sum(1, keepdim=True).expand(3, 5, 1))


def test_half_precision_goes_the_same_way():
    module = network("self-attention").bfloat16()
    parameters = {
        name: LowRank(stack.base.bfloat16(), stack.a.bfloat16(), stack.b.bfloat16())
        if isinstance(stack, LowRank) else stack.bfloat16()
        for name, stack in perturbed(module, 4).items()
    }  # fmt: skip
    assert choose_perturbed_forward(module, parameters, torch.randn(4, 4, 6).bfloat16()) == "folded"


def test_a_network_that_cannot_run_says_so():
    module = ready(nn.Linear(5, 2))
    with pytest.raises(GalabError, match=r"the network cannot be run on float32 inputs of shape \(3, 6\): "):
        choose_perturbed_forward(module, perturbed(module, 2), torch.zeros(4, 6))


def block_of(forward: str, module: nn.Module, members: int) -> int:
    """The block for members of a network with three inputs."""
    parameters, inputs = perturbed(module, members), torch.randn(4, 3)
    run = partial(PERTURBED_FORWARDS[forward], module, parameters, inputs)
    return fitting_block(module, inputs, run, hidden_members=members if forward == "vmap" else 1)


@pytest.mark.parametrize("forward", PERTURBED_FORWARDS)
@pytest.mark.parametrize("members", [2, 8])
def test_a_block_fits_the_activations_of_all_members_that_live_at_once(forward, members):
    module = ready(nn.Linear(3, 10_000))
    found = block_of(forward, module, members)
    activation = 40_000 * (1 if forward == "loop" else members)
    assert found == 256 or found * activation <= 2**27 < 2 * found * activation
    small = block_of(forward, ready(nn.Linear(3, 2)), members)
    assert small > 256
    assert not module._forward_hooks
