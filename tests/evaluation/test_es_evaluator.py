"""Members around a centre: scored like networks with their weights written out, whatever the chunks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from galab.evaluation.batched.compiled import compiler
from galab.evaluation.es_evaluator import PerturbedEvaluator
from galab.genome.random import table
from galab.genome.weights import Layout
from galab.operators.es_noise import DenseNoise, draw, plan_of

SIGMA = 0.2


class Net(nn.Module):
    """Two layers over the flattened input."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 9), nn.Linear(9, 5)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(inputs).relu())


def parts(rank: int | None, seed: int = 0):
    """A network, its plan and its centre."""
    torch.manual_seed(seed)
    module = Net().eval().requires_grad_(False)
    named = dict(module.named_parameters())
    layout = Layout(tuple(named), tuple(tuple(value.shape) for value in named.values()))
    plan = plan_of(layout, rank, [name for name, value in named.items() if value.dim() > 1])
    return module, plan, {name: value.detach().clone() for name, value in named.items()}


def written_out(module, plan, centre, noise, place: int, sign: float, task):
    """Mean loss and correct of one member, with its weights formed."""
    weights = {}
    for tensor in plan.tensors:
        part = noise[tensor.name]
        if isinstance(part, DenseNoise):
            step = part.values[place]
        else:
            step = (part.a[place] @ part.b[place].t() / tensor.rank**0.5).view(tensor.shape)
        weights[tensor.name] = centre[tensor.name] + sign * SIGMA * step
    outputs = functional_call(module, weights, (task.train.inputs,)).unsqueeze(0)
    return {name: float(value[0]) for name, value in task.measure(outputs, task.train.targets).items()}


def all_sums(evaluator, centre, noise, task, antithetic: bool):
    """Sums by (direction, sign)."""
    found = {}
    for chunk in evaluator.along(centre, noise, SIGMA, task.train, None, antithetic=antithetic):
        for index in range(chunk.directions * (2 if antithetic else 1)):
            minus, place = divmod(index, chunk.directions)
            sums = {name: float(values[index]) for name, values in chunk.sums.items()}
            found[chunk.start + place, 1 - 2 * minus] = sums
    return found


@pytest.mark.parametrize("rank", [1, 2, 5, None])
@pytest.mark.parametrize("antithetic", [True, False])
@pytest.mark.parametrize("chunk", [2, 6, 64])
def test_members_score_like_networks_with_their_weights_written_out(rank, antithetic, chunk, task):
    module, plan, centre = parts(rank)
    evaluator = PerturbedEvaluator(
        module, plan, task, chunk=chunk, batch=0, precision="float32", device=torch.device("cpu")
    )
    noise = draw(plan, table("normal"), 3, 7, 0, 11)
    found = all_sums(evaluator, centre, noise, task, antithetic)
    assert set(found) == {(place, sign) for place in range(11) for sign in ((1, -1) if antithetic else (1,))}
    for (place, sign), sums in found.items():
        expected = written_out(module, plan, centre, noise, place, sign, task)
        assert sums["loss"] == pytest.approx(expected["loss"], rel=1e-4)
        assert abs(sums["correct"] - expected["correct"]) <= 1  # two logits may be equal but for rounding


def test_blocks_of_examples_share_nothing_that_differs(task):
    module, plan, centre = parts(1)
    evaluator = PerturbedEvaluator(
        module, plan, task, chunk=4, batch=0, precision="float32", device=torch.device("cpu")
    )
    noise = draw(plan, table("normal"), 3, 7, 0, 6)
    whole = all_sums(evaluator, centre, noise, task, True)
    evaluator._runner.blocks.block = 7  # does not divide the examples either
    cut = all_sums(evaluator, centre, noise, task, True)
    for key, sums in whole.items():
        assert cut[key]["loss"] == pytest.approx(sums["loss"], rel=1e-5)


def test_one_member_that_raises_fails_alone(make_task):
    task = make_task((6,))
    module, plan, centre = parts(1)
    noise = draw(plan, table("normal"), 3, 7, 0, 5)
    evaluator = PerturbedEvaluator(
        module, plan, task, chunk=4, batch=0, precision="float32", device=torch.device("cpu")
    )
    before = all_sums(evaluator, centre, noise, task, True)
    worst = max(before, key=lambda key: before[key]["loss"])
    limit, measure = before[worst]["loss"] * 0.999, task.measure

    def fussy(outputs, targets):
        sums = measure(outputs, targets)
        if bool((sums["loss"] > limit).any()):
            raise ArithmeticError("too bad")
        return sums

    task.measure = fussy
    failures, kept = {}, {}
    for chunk in evaluator.along(centre, noise, SIGMA, task.train, None, antithetic=True):
        for index in range(2 * chunk.directions):
            minus, place = divmod(index, chunk.directions)
            key = (chunk.start + place, 1 - 2 * minus)
            if index in chunk.failures:
                failures[key] = chunk.failures[index]
                assert np.isnan(chunk.sums["loss"][index])
            else:
                kept[key] = float(chunk.sums["loss"][index])
    assert failures == {worst: "ArithmeticError: too bad"}
    for key, loss in kept.items():
        assert loss == pytest.approx(before[key]["loss"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler")
def test_a_compiled_forward_scores_like_the_eager_one_in_pairs_and_alone(task):
    module, plan, centre = parts(2)
    sides = {}
    for wanted in ("off", "on"):
        sides[wanted] = PerturbedEvaluator(
            module, plan, task, chunk=4, batch=0, precision="float32", device=torch.device("cpu"), compile=wanted
        )
    assert sides["on"].compiled
    assert not sides["off"].compiled
    noise = draw(plan, table("normal"), 3, 7, 0, 7)  # the last chunk is ragged, and runs eager
    for antithetic in (True, False):
        eager = all_sums(sides["off"], centre, noise, task, antithetic)
        compiled = all_sums(sides["on"], centre, noise, task, antithetic)
        for key, sums in eager.items():
            assert compiled[key]["loss"] == pytest.approx(sums["loss"], rel=1e-4)
        moved = {name: value + 0.3 for name, value in centre.items()}  # nothing of the first centre is left
        again = all_sums(sides["on"], moved, noise, task, antithetic)
        expected = all_sums(sides["off"], moved, noise, task, antithetic)
        for key, sums in expected.items():
            assert again[key]["loss"] == pytest.approx(sums["loss"], rel=1e-4)
    assert sides["on"].recompilations == 0


def test_a_network_that_cannot_be_compiled_runs_eager_and_says_why(task, monkeypatch, caplog):
    monkeypatch.setattr("galab.evaluation.batched.compiled.make_fx", lambda function: 1 / 0)
    module, plan, _ = parts(1)
    with caplog.at_level("WARNING", logger="galab"):
        evaluator = PerturbedEvaluator(
            module, plan, task, chunk=4, batch=0, precision="float32", device=torch.device("cpu"), compile="on"
        )
    assert not evaluator.compiled
    assert compiler() is None or "cannot be compiled: division by zero" in caplog.text


def test_products_too_large_to_keep_are_made_for_each_chunk(task, monkeypatch):
    module, plan, centre = parts(2)
    evaluator = PerturbedEvaluator(
        module, plan, task, chunk=4, batch=0, precision="float32", device=torch.device("cpu")
    )
    noise = draw(plan, table("normal"), 3, 7, 0, 6)
    kept = all_sums(evaluator, centre, noise, task, True)
    monkeypatch.setattr("galab.evaluation.batched.product_cache._MOST_BYTES", 0)
    made = all_sums(evaluator, centre, noise, task, True)
    for key, sums in kept.items():
        assert made[key]["loss"] == pytest.approx(sums["loss"], rel=1e-5)
