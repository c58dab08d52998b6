"""Many members of one module at once, against plain modules one by one."""

from __future__ import annotations

import logging

import pytest
import torch
from stacks import MEMBERS, NETWORKS, make_inputs, one_by_one, ready, stacked
from torch import nn

from galab.errors import GalabError
from galab.evaluation.batched.dense import FORWARDS, block_size, choose_forward, folded, looped
from galab.models import MLP, ConvPolicy, Linear, ResNet

pytestmark = pytest.mark.usefixtures("one_thread")

SHOWN = {
    "mlp": (lambda: MLP((7,), 5, hidden=(16, 9)), (7,)),
    "mlp of images": (lambda: MLP((1, 4, 4), 5, hidden=(8,), activation="gelu"), (1, 4, 4)),
    "linear": (lambda: MLP((7,), 5, hidden=()), (7,)),
    "conv": (lambda: ConvPolicy((1, 8, 8), 5, hidden=(16,)), (1, 8, 8)),
    "conv of three colours": (lambda: ConvPolicy((3, 12, 14), 5, hidden=(8, 8), activation="tanh"), (3, 12, 14)),
    "one matrix": (lambda: Linear((2, 4), 5), (2, 4)),
    "resnet": (lambda: ResNet((1, 8, 8), 5, hidden=(4, 8)), (1, 8, 8)),
    "resnet of three colours": (lambda: ResNet((3, 11, 9), 5, hidden=(6, 5, 8), activation="tanh"), (3, 11, 9)),
}


@pytest.fixture(autouse=True)
def inference() -> None:
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("forward", FORWARDS)
@pytest.mark.parametrize("network", SHOWN)
@pytest.mark.parametrize(("members", "examples"), [(4, 6), (5, 5), (1, 3), (3, 1), (2, 4)])
def test_all_three_ways_agree_for_the_built_in_networks(network, forward, members, examples):
    make, shape = SHOWN[network]
    module = ready(make())
    parameters, inputs = stacked(module, members), make_inputs(network, shape, examples)
    expected = one_by_one(module, parameters, inputs)
    assert expected.shape == (members, examples, 5)
    torch.testing.assert_close(FORWARDS[forward](module, parameters, inputs), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("network", SHOWN)
def test_the_built_in_networks_are_folded(network, dtype):
    make, shape = SHOWN[network]
    module = ready(make())
    parameters = {name: stack.to(dtype) for name, stack in stacked(module).items()}
    assert choose_forward(module, parameters, make_inputs(network, shape, 4).to(dtype)) == "folded"


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
@pytest.mark.parametrize("members", [MEMBERS, 1, 3])
@pytest.mark.parametrize("network", NETWORKS)
def test_the_way_that_is_chosen_is_right_at_every_size(network, members):
    make, shape, must_fold = NETWORKS[network]
    torch.manual_seed(0)
    module = ready(make())
    parameters = stacked(module, members)
    chosen = choose_forward(module, parameters, make_inputs(network, shape, 4))
    if members > 1:
        assert (chosen == "folded") == must_fold
    for examples in (1, 2, 3, 4, 5, 12):
        inputs = make_inputs(network, shape, examples)
        expected = one_by_one(module, parameters, inputs)
        torch.testing.assert_close(FORWARDS[chosen](module, parameters, inputs), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
@pytest.mark.parametrize("network", NETWORKS)
def test_the_loop_is_right_for_every_module(network):
    make, shape, _ = NETWORKS[network]
    module = ready(make())
    parameters, inputs = stacked(module), make_inputs(network, shape, 5)
    torch.testing.assert_close(looped(module, parameters, inputs), one_by_one(module, parameters, inputs))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("members", [4, 16])
def test_small_outputs_do_not_hide_a_wrong_forward(members, dtype):
    # Time has as many steps as there are members, so folded takes one for the other, and everything is near 0.
    module = ready(NETWORKS["time in the batch without biases"][0]())
    parameters = {name: stack.to(dtype) for name, stack in stacked(module, members, spread=0.01).items()}
    inputs = torch.randn(4, members, 6, generator=torch.Generator().manual_seed(1)).to(dtype)
    assert folded(module, parameters, inputs).shape == (members, 4, 3)
    assert choose_forward(module, parameters, inputs) != "folded"


def test_the_modules_own_weights_are_not_used_and_not_changed():
    module = ready(MLP((7,), 5, hidden=(6,)))
    parameters, inputs = stacked(module, 3), torch.randn(4, 7)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    results = {name: forward(module, parameters, inputs) for name, forward in FORWARDS.items()}
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    for value in module.parameters():
        value.fill_(float("nan"))
    for name, forward in FORWARDS.items():
        assert torch.equal(forward(module, parameters, inputs), results[name])


def test_members_do_not_mix():
    module = ready(ConvPolicy((1, 8, 8), 5, hidden=(16,)))
    parameters, inputs = stacked(module, 4), torch.randn(3, 1, 8, 8)
    before = folded(module, parameters, inputs)
    for stack in parameters.values():
        stack[2] = float("nan")
    after = folded(module, parameters, inputs)
    assert after[2].isnan().all()
    assert torch.equal(after[[0, 1, 3]], before[[0, 1, 3]])


def test_buffers_are_used():
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(6, 3)
            self.register_buffer("shift", torch.arange(6.0))

        def forward(self, inputs):
            return self.linear(inputs - self.shift)

    module = ready(Shifted())
    parameters, inputs = stacked(module), torch.randn(5, 6)
    assert choose_forward(module, parameters, inputs) == "folded"
    expected = one_by_one(module, parameters, inputs)
    torch.testing.assert_close(folded(module, parameters, inputs), expected, rtol=1e-4, atol=1e-5)


def test_a_network_that_cannot_run_says_so():
    module = ready(nn.Linear(5, 2))
    with pytest.raises(GalabError, match=r"the network cannot be run on float32 inputs of shape \(3, 6\): "):
        choose_forward(module, stacked(module), torch.zeros(4, 6))
    half = {name: stack.bfloat16() for name, stack in stacked(module).items()}
    with pytest.raises(GalabError, match="bfloat16 inputs .* if it needs float32, use --precision float32"):
        choose_forward(module, half, torch.zeros(4, 6, dtype=torch.bfloat16))


def test_the_reason_against_a_way_is_logged(caplog: pytest.LogCaptureFixture):
    module = ready(NETWORKS["parameters of its own"][0]())
    with caplog.at_level(logging.DEBUG, "galab"):
        assert choose_forward(module, stacked(module), torch.randn(4, 6)) == "vmap"
    assert "folded forward is not possible: mul" in caplog.text


@pytest.mark.parametrize("forward", FORWARDS)
def test_a_block_is_a_power_of_two_that_fits_its_activations_into_eight_megabytes(forward):
    sizes = {}
    for width in (10, 100, 1000, 10_000):
        for members in (2, 8):
            module = ready(nn.Linear(3, width))
            found = block_size(forward, module, stacked(module, members), torch.randn(4, 3))
            assert found & (found - 1) == 0
            activation = 4 * width * (1 if forward == "loop" else members)
            if found > 256:
                assert found * activation <= 2**23 < 2 * found * activation
            else:
                assert found == 256 or found * activation <= 2**27 < 2 * found * activation
            sizes[width, members] = found
    assert sizes[10, 2] > sizes[1000, 2] > sizes[10_000, 8]


def test_a_wide_input_bounds_the_block_too():
    module = ready(nn.Linear(3000, 2))
    assert block_size("folded", module, stacked(module, 2), torch.randn(4, 3000)) == 512  # 6 MB, and 1024 are 12 MB


def test_choosing_a_block_leaves_no_hooks_behind():
    module = ready(MLP((7,), 5))
    block_size("folded", module, stacked(module), torch.randn(4, 7))
    assert not any(layer._forward_hooks for layer in module.modules())
