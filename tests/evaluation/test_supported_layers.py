"""Which parameters a module lets be low rank, and what stood in the way of the others."""

from __future__ import annotations

import pytest
import torch
from low_rank_networks import ALL, Language, Matrices
from stacks import Lambda, ready, tied
from torch import nn

from galab.evaluation.batched.supported_layers import low_rank_names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("layer norm", {"first.weight", "last.weight"}),
        ("norm of two axes", {"first.weight", "last.weight"}),
        ("depthwise conv", {"first.weight", "second.weight", "last.weight"}),
        ("gru", {"layer.weight_ih_l0", "layer.weight_hh_l0", "last.weight"}),
        ("lstm cell", {"cell.weight_ih", "cell.weight_hh", "last.weight"}),
        ("one output", set()),
        ("one input", {"second.weight", "last.weight"}),
    ],
)
def test_matrices_of_layers_with_a_rule_can_be_low_rank(name, expected):
    make, shape, _ = ALL[name]
    assert low_rank_names(ready(make()), torch.randn(4, *shape)).names == expected


@pytest.mark.parametrize("name", ["transformer", "transformer, norm first", "cross-attention"])
def test_attention_hides_none_of_its_matrices(name):
    module = ready(ALL[name][0]())
    found = low_rank_names(module, torch.randn(4, 4, 6))
    assert found.names == {name for name, value in module.named_parameters() if value.dim() > 1}
    assert found.in_the_way == {}


def test_a_function_without_a_rule_is_named():
    found = low_rank_names(ready(Matrices()), torch.randn(4, 6))
    assert found.names == {"last.weight"}
    assert found.in_the_way == {"first": "matmul", "second": "normalize", "table": "add"}
    assert "first has no low-rank rule for matmul: dense noise" in found.sentences()


def test_every_use_of_a_tied_weight_counts():
    tokens = torch.randint(0, 9, (4, 5))
    assert low_rank_names(ready(tied()), tokens).names == {"embed.weight"}
    assert "embed.weight" in low_rank_names(ready(Language()), tokens).names

    def looked_up_and_multiplied(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return m.embed(x).mean(1) @ m.embed.weight.t()

    found = low_rank_names(ready(Lambda(looked_up_and_multiplied, embed=nn.Embedding(9, 5))), tokens)
    assert (found.names, found.in_the_way) == (frozenset(), {"embed.weight": "t"})


def test_a_weight_that_is_worked_on_is_no_layers_weight():
    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return x @ m.first(m.queries.weight).T

    module = ready(Lambda(forward, first=nn.Linear(6, 6), queries=nn.Embedding(3, 6)))
    found = low_rank_names(module, torch.randn(4, 6))
    assert (found.names, found.in_the_way) == ({"first.weight"}, {"queries.weight": "linear"})


def test_clipped_embeddings_stay_dense():
    module = ready(nn.Embedding(9, 5, max_norm=0.5))
    assert low_rank_names(module, torch.randint(0, 9, (4, 5))).in_the_way == {"weight": "embedding"}


def test_a_weight_may_be_asked_for_its_shape_and_place():
    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        steps = torch.arange(m.steps.weight.size(0), device=m.steps.weight.device)
        return (x + m.steps(steps).to(m.steps.weight.dtype)).sum(1)

    module = ready(Lambda(forward, steps=nn.Embedding(3, 6)))
    assert low_rank_names(module, torch.randn(4, 3, 6)).names == {"steps.weight"}
