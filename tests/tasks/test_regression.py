"""Linear regression: exact data, a known loss and a known optimum."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from galab.contracts import DescribesWeights, FreshExamples
from galab.genome.random import Stream, codes, table
from galab.tasks import load_task
from galab.tasks.regression import KEY, LinearRegression


@pytest.fixture(scope="module")
def task() -> LinearRegression:
    found = load_task("linear-regression")
    assert isinstance(found, LinearRegression)
    return found


def test_it_makes_fresh_examples_and_inspects(task):
    assert isinstance(task, FreshExamples)
    assert isinstance(task, DescribesWeights)


def test_the_data_is_the_same_for_ever(task):
    assert task.fingerprint == "cf8cd33c7752a1eb61aa77a6314564b5a1b468b04c9bfd04752f3e20929a1377"
    assert LinearRegression().fingerprint == task.fingerprint


def test_targets_are_the_exact_products_of_inputs_and_matrix(task):
    examples = task.sample(5, 3, 4)
    rows = [[Fraction(x) for x in row] for row in examples.inputs.tolist()]
    matrix = [[Fraction(w) for w in row] for row in task.matrix.tolist()]
    for row, targets in zip(rows, examples.targets.tolist(), strict=True):
        exact = [sum(w * x for w, x in zip(weights, row, strict=True)) for weights in matrix]
        assert targets == [float(np.float32(float(value))) for value in exact]


def test_inputs_are_the_noise_of_key_and_generation(task):
    drawn = table("normal").quantiles[codes(5, 3, Stream.EXAMPLES, 7 * 64).astype(int)].reshape(7, 64)
    np.testing.assert_allclose(task.sample(5, 3, 7).inputs.numpy(), drawn, rtol=0, atol=2**-17)


def test_keys_and_generations_have_examples_of_their_own(task):
    made = [task.sample(key, generation, 5) for key in (0, 7, 2**63 - 1) for generation in (1, 2, 3)]
    made += [task.train, task.validation, task.test]
    first = {tuple(examples.inputs[0].tolist()) for examples in made}
    assert len(first) == 12
    assert KEY > 2**63 - 1  # the largest key of a run
    assert torch.equal(made[0].inputs, task.sample(0, 1, 5).inputs)


def test_numbers_are_standard_normal(task):
    for values in (task.matrix, task.train.inputs, task.sample(1, 1, 2048).inputs):
        assert abs(float(values.mean())) < 4 / values.numel() ** 0.5
        assert abs(float(values.square().mean()) - 1) < 6 / values.numel() ** 0.5


def test_loss_is_the_mean_squared_error_over_outputs_summed_over_examples(task):
    outputs, targets = torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(1)), task.train.targets[:5]
    kept = outputs.clone()
    found = task.measure(outputs, targets)
    assert list(found) == ["loss"]
    for member in range(3):
        one = nn.functional.mse_loss(outputs[member].double(), targets.double(), reduction="none").mean(1).sum()
        assert float(found["loss"][member]) == pytest.approx(float(one), rel=1e-6)
    assert torch.equal(outputs, kept)


@pytest.mark.slow
def test_the_curvature_is_an_eighth_in_every_weight(task):
    examples = task.sample(1, 1, 8192)  # enough for 1.6 % of spread

    def loss(weights: torch.Tensor) -> torch.Tensor:
        return task.measure((examples.inputs @ weights.T)[None], examples.targets)["loss"][0] / len(examples)

    def of_one_output(row: torch.Tensor) -> torch.Tensor:
        return loss(torch.cat([row[None], task.matrix[1:]]))

    assert float(loss(task.matrix)) < 1e-9
    curvature = torch.func.hessian(of_one_output)(torch.zeros(64))
    assert torch.allclose(curvature.diagonal(), torch.tensor(1 / 8), atol=0.012)
    assert float((curvature - curvature.diagonal().diag()).abs().max()) < 0.01


def test_the_distance_is_known_of_a_single_layer_alone(task):
    weight = task.matrix.clone()
    assert task.inspect({"output.weight": weight}) == {"distance": 0.0}
    weight[3, 4] += 3
    weight[0, 0] -= 4
    assert task.inspect({"output.weight": weight, "output.bias": torch.ones(16)})["distance"] == pytest.approx(5)
    assert task.inspect({"a": torch.ones(8, 64), "b": torch.ones(16, 8)}) == {}
    assert task.inspect({"a": weight, "b": weight}) == {}
    assert task.inspect({"a": weight.T}) == {}
