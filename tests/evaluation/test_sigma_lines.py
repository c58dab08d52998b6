"""Mutants that share their products score what the plain evaluator says of each, whatever the network is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from galab.evaluation.dense_evaluator import Evaluator
from galab.evaluation.sigma_line_evaluator import SigmaLineEvaluator
from galab.genome.weights import Layout
from galab.tasks import Classification

SIGMAS = (1e-3, 0.03, 0.5)


class Residual(nn.Module):
    """Adds its input to what a layer makes of it, which lines cannot follow once the input is shared."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last = nn.Linear(36, 36), nn.Linear(36, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        flat = inputs.flatten(1)
        result: torch.Tensor = self.last(torch.tanh(flat + self.inner(flat)))
        return result


class Twice(nn.Module):
    """Uses one weight twice, of shared activations both times."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(36, 8), nn.Linear(8, 3, bias=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        flat = inputs.flatten(1)
        result: torch.Tensor = self.last(self.first(flat) * torch.sigmoid(self.first(-2 * flat)))
        return result


class Again(nn.Module):
    """Looks at a sum again after its ReLU, which therefore must not overwrite it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(36, 8), nn.Linear(8, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        sums = self.first(inputs.flatten(1))
        result: torch.Tensor = self.last(torch.relu(-sums) + nn.functional.relu(sums) - sums)
        return result


NETWORKS: dict[str, Any] = {
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 3)),
    "mlp": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(36, 7), nn.ReLU(), nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 3)
    ),
    "conv": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.Conv2d(4, 2, 2), nn.Flatten(), nn.Linear(2, 3)
    ),
    "norm": lambda: nn.Sequential(nn.Flatten(), nn.LayerNorm(36), nn.Linear(36, 6), nn.LayerNorm(6), nn.Linear(6, 3)),
    "twice": Twice,
    "again": Again,
    "residual": Residual,
}  # fmt: skip


def evaluators(network: str) -> tuple[SigmaLineEvaluator, Evaluator, Layout, Classification]:
    random = np.random.default_rng(0)
    parts = [(random.standard_normal((n, 1, 6, 6)), random.integers(0, 3, n)) for n in (90, 8, 8)]
    for inputs, _ in parts:
        inputs[:, :, 2:4, 1] = 1.5  # the same in all examples
    task = Classification(name="noise", train=parts[0], validation=parts[1], test=parts[2], classes=3)
    torch.manual_seed(0)
    module = NETWORKS[network]()
    layout = Layout(
        tuple(name for name, _ in module.named_parameters()), tuple(tuple(p.shape) for p in module.parameters())
    )
    device = torch.device("cpu")
    plain = Evaluator(module, layout, task, chunk=8, precision="float32", device=device)
    return SigmaLineEvaluator(module, layout, task, plain, device=device, chunk=4), plain, layout, task


@pytest.mark.parametrize("network", NETWORKS)
def test_mutants_score_what_they_score_one_by_one(network: str) -> None:
    lines, plain, layout, task = evaluators(network)
    assert lines.together == (network != "residual")
    assert lines._in_place == (network not in ("residual", "again"))
    random = np.random.default_rng(1)
    centre = (0.3 * random.standard_normal(layout.size)).astype(np.float32)
    z = random.standard_normal((4, layout.size)).astype(np.float32)
    subsets = [layout.names, *((name,) for name in layout.names)]
    got = lines.measure(centre, z, SIGMAS, task.train, subsets=subsets)
    wanted = plain.measure(lines._formed(centre, z, SIGMAS, subsets), task.train)
    assert len(got.means["loss"]) == len(subsets) * len(SIGMAS) * 4
    np.testing.assert_allclose(got.means["loss"], wanted.means["loss"], rtol=2e-5)
    np.testing.assert_allclose(got.means["correct"], wanted.means["correct"], atol=1 / 90)
    assert np.ptp(wanted.means["loss"]) > 0.1, "mutants that all score alike would prove nothing"


def test_a_mutant_that_fails_fails_alone() -> None:
    lines, _, layout, task = evaluators("mlp")
    z = np.random.default_rng(1).standard_normal((4, layout.size)).astype(np.float32)
    z[2] = np.nan
    loss = lines.measure(np.zeros(layout.size, np.float32), z, [0.1], task.train).means["loss"]
    assert np.isfinite(loss).tolist() == [True, True, False, True]
