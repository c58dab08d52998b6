"""Models are built the same every time, a user's module works unchanged, and what cannot be evolved is refused."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from galab.errors import UsageError
from galab.models import build_model

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return self.layer(x)
"""


@pytest.fixture
def write(tmp_path):
    """Writes a file of networks and gives the reference to a name in it."""

    def write_file(text: str, name: str = "Net") -> str:
        path = tmp_path / "nets_of_mine.py"
        path.write_text(text)
        return f"{path}:{name}"

    return write_file


def test_a_module_without_arguments_works_unchanged(write):
    model = build_model(write(NET), (4,), 3, (99,), "gelu")
    assert type(model).__name__ == "Net"
    assert model(torch.zeros(2, 4)).shape == (2, 3)


def test_a_class_gets_what_it_declares_and_no_more(write):
    text = NET.replace("(self):", "(self, outputs, *, hidden, width=4, **rest):").replace(
        "super().__init__()", "super().__init__(); self.seen = (outputs, hidden, width, rest)"
    )
    assert build_model(write(text), (4,), 3, (99,), "gelu").seen == (3, (99,), 4, {})


def test_the_model_is_in_eval_and_without_gradients():
    model = build_model("mlp", (4,), 3)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_same_call_gives_the_same_weights_and_leaves_the_generators_alone():
    torch.manual_seed(1)
    random.seed(1)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = build_model("conv", (1, 8, 8), 3)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], states[2])  # noqa: NPY002
    torch.manual_seed(2)
    second = build_model("conv", (1, 8, 8), 3)
    for left, right in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize("layer", ["BatchNorm1d(4)", "InstanceNorm1d(4, track_running_stats=True)"])
def test_running_statistics_are_refused(write, layer):
    text = NET.replace("nn.Linear(4, 3)", f"nn.Sequential(nn.{layer}, nn.Linear(4, 3))")
    kind = layer.partition("(")[0]
    with pytest.raises(UsageError, match=f"got {kind} at 'layer.0'; use GroupNorm"):
        build_model(write(text), (4,), 3)


@pytest.mark.parametrize("layer", ["GroupNorm(2, 4)", "LayerNorm(4)", "BatchNorm1d(4, track_running_stats=False)"])
def test_norms_without_running_statistics_are_welcome(write, layer):
    text = NET.replace("nn.Linear(4, 3)", f"nn.Sequential(nn.{layer}, nn.Linear(4, 3))")
    assert isinstance(build_model(write(text), (4,), 3), nn.Module)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("Linear(4, 3)", "Linear(4, 2)", r"of shape \(2, 3\) for inputs of shape \(2, 4\), got \(2, 2\)"),
        ("Linear(4, 3)", "Linear(5, 3)", r"inputs of shape \(2, 4\) \(the task's\), got RuntimeError"),
        ("return self.layer(x)", "return [x]", r"expected outputs of shape \(2, 3\) .* got an object of type list"),
        ("return self.layer(x)", "return self.layer(x)[0]", r"outputs of shape \(2, 3\) .*, got \(3,\); make it"),
        ("(self):", "(self, depth):", "got a required 'depth'; give it a default"),
        ("(self):", "(self, outputs, /):", "got a required 'outputs'; give it a default"),
        ("nn.Linear(4, 3)", "nn.Flatten()", r"expected outputs of shape \(2, 3\)"),
        ("nn.Linear(4, 3)", "lambda x: x[:, :3]", "expected parameters to evolve, got a module without any"),
        ("nn.Linear(4, 3)", "1 / 0", "expected its class to build, got ZeroDivisionError: division by zero"),
    ],
)
def test_what_cannot_be_evolved_is_one_sentence(write, old, new, sentence):
    assert old in NET
    with pytest.raises(UsageError, match=sentence) as caught:
        build_model(write(NET.replace(old, new)), (4,), 3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("reference", "got"),
    [("os:system", "the function system"), ("subprocess:Popen", "the class Popen"), ("os:environ", "an object")],
)
def test_a_reference_to_anything_but_a_module_class_is_never_called(reference, got):
    with pytest.raises(UsageError, match=rf"expected a subclass of torch.nn.Module, got {got}"):
        build_model(reference, (4,), 3)


def test_unknown_names_get_the_closest_match():
    with pytest.raises(UsageError, match=r"no model is called 'mpl'\. Did you mean 'mlp'\?"):
        build_model("mpl", (4,), 3)
