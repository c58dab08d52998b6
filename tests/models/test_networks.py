"""The built-in networks: shapes for every size of image, and the layers that they are made of."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from galab.config import RunConfig
from galab.errors import UsageError
from galab.models import MLP, ConvPolicy, Linear, ResNet, build_model
from galab.models.mlp import ACTIVATIONS


@pytest.mark.parametrize("name", ["mlp", "conv", "linear", "resnet"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 64, 64), (4, 84, 84), (1, 3, 5), (3, 16, 40), (1, 1, 1)])
def test_outputs_have_the_right_shape(name, shape):
    model = build_model(name, shape, 7, (16,), "tanh")
    assert model(torch.rand(5, *shape)).shape == (5, 7)


@pytest.mark.parametrize(
    ("side", "kernels", "strides", "features"),
    [
        (84, (8, 4, 3), (4, 2, 1), 3136),
        (64, (8, 4, 3), (4, 2, 1), 1024),
        (36, (8, 4, 3), (4, 2, 1), 64),
        (28, (8, 4, 3), (2, 2, 1), 256),
        (22, (8, 4, 3), (2, 2, 1), 64),
        (16, (4, 3, 3), (2, 1, 1), 576),
        (8, (3, 3, 3), (1, 1, 1), 256),
        (2, (2, 1, 1), (1, 1, 1), 64),
    ],
)
def test_convolutions_shrink_with_the_image(side, kernels, strides, features):
    model = ConvPolicy((3, side, side), 6)
    assert tuple(layer.kernel_size for layer in model.convolutions) == tuple((k, k) for k in kernels)
    assert tuple(layer.stride for layer in model.convolutions) == tuple((s, s) for s in strides)
    assert [layer.out_channels for layer in model.convolutions] == [32, 64, 64]
    assert [(layer.in_features, layer.out_features) for layer in model.hidden] == [(features, 512)]


def test_an_mlp_is_linear_layers_with_biases():
    model = MLP((1, 28, 28), 10)
    assert sum(parameter.numel() for parameter in model.parameters()) == 101_770
    weights = dict(model.named_parameters())
    assert list(weights) == ["hidden.0.weight", "hidden.0.bias", "output.weight", "output.bias"]
    inputs = torch.rand(3, 1, 28, 28)
    middle = torch.relu(inputs.view(3, -1) @ weights["hidden.0.weight"].T + weights["hidden.0.bias"])
    torch.testing.assert_close(model(inputs), middle @ weights["output.weight"].T + weights["output.bias"])


def test_an_mlp_without_hidden_layers_is_linear():
    model = MLP((4,), 2, hidden=())
    assert [name for name, _ in model.named_parameters()] == ["output.weight", "output.bias"]


def test_every_activation_of_the_configuration_exists():
    (choices,) = (item.metadata["choices"] for name, item in RunConfig.__dataclass_fields__.items()
                  if name == "activation")
    assert set(choices) == set(ACTIVATIONS)
    for name, function in ACTIVATIONS.items():
        expected = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "silu": nn.SiLU, "sigmoid": nn.Sigmoid}[name]()
        values = torch.linspace(-3, 3, 13)
        assert torch.equal(function(values), expected(values))
        assert MLP((2,), 2, activation=name).activation is function


def test_an_unknown_activation_gets_the_closest_match():
    with pytest.raises(UsageError, match=r"relu, tanh, gelu, silu, sigmoid, got 'rely'\. Did you mean 'relu'\?"):
        MLP((2,), 2, activation="rely")


def test_conv_wants_images():
    with pytest.raises(UsageError, match=r"shape \(channels, height, width\) for the conv model, got \(784,\)"):
        ConvPolicy((784,), 10)


def test_a_linear_network_is_one_matrix():
    model = Linear((2, 3), 4)
    weights = dict(model.named_parameters())
    assert list(weights) == ["output.weight"]
    inputs = torch.rand(5, 2, 3)
    torch.testing.assert_close(model(inputs), inputs.view(5, 6) @ weights["output.weight"].T)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32)])
def test_a_resnet_halves_its_maps_from_stage_to_stage(shape):
    model = ResNet(shape, 10)
    assert 20_000 < sum(parameter.numel() for parameter in model.parameters()) < 50_000
    maps = []
    for block in model.blocks:
        block.register_forward_hook(lambda _, __, output: maps.append(tuple(output.shape[1:])))
    model(torch.rand(2, *shape))
    side = shape[1]
    assert maps == [(16, side, side)] * 2 + [(32, side // 2, side // 2)] * 2


def test_a_residual_block_adds_its_input_to_what_it_computes():
    model = ResNet((1, 8, 8), 3, hidden=(4, 6), activation="tanh")
    same, other = model.blocks[1], model.blocks[2]
    for norm in (same.second_norm, other.second_norm):
        nn.init.zeros_(norm.weight)
        nn.init.zeros_(norm.bias)
    values = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(same(values), values.tanh())
    projected = nn.functional.conv2d(values, other.shortcut.weight, stride=2)
    torch.testing.assert_close(other(values), projected.tanh())


def test_a_resnet_normalizes_several_channels_at_a_time():
    model = ResNet((1, 8, 8), 3, hidden=(2, 5, 8, 16, 24, 32))
    groups = {norm.num_channels: norm.num_groups for norm in model.modules() if isinstance(norm, nn.GroupNorm)}
    assert groups == {2: 1, 5: 1, 8: 4, 16: 8, 24: 4, 32: 8}


def test_a_resnet_wants_images_and_a_stage():
    with pytest.raises(UsageError, match=r"shape \(channels, height, width\) for the resnet model, got \(784,\)"):
        ResNet((784,), 10)
    with pytest.raises(UsageError, match="expected --hidden with at least one stage"):
        ResNet((1, 8, 8), 10, hidden=())
