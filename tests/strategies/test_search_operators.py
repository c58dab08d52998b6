"""Every operator by name through ``galab.Search``: on a bowl each of them gets nearer to the bottom."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import galab
from galab.config.registry import CROSSOVERS, MUTATIONS, SELECTIONS, STEP_SIZE_RULES
from galab.config.traits import CONTROLS, MEMORY_OPERATORS
from galab.genome.step_sizes import GRANULARITIES
from galab.models.memory import Memory

pytestmark = pytest.mark.usefixtures("one_thread")


def goal() -> torch.Tensor:
    return torch.linspace(-1.0, 1.0, 15)


def loss(network: nn.Module) -> float:
    with torch.no_grad():
        flat = torch.cat([parameter.flatten() for parameter in network.parameters()])
        return float(((flat - goal()) ** 2).sum())


def search(**options: Any) -> galab.Search:
    small = {"parents": 4, "children": 16, "sigma": 0.1, "seed": 3}
    return galab.Search(nn.Linear(4, 3), **small | options)


def improves(generations: int = 25, **options: Any) -> float:
    """What is left of the first generation's mean loss."""
    hunt = search(**options)
    first = None
    for _ in range(generations):
        losses = [loss(network) for network in hunt.ask()]
        first = np.mean(losses) if first is None else first
        hunt.tell([-value for value in losses])
    return loss(hunt.best()) / float(first)


@pytest.mark.parametrize("crossover", CROSSOVERS.names())
def test_every_crossover_improves(crossover: str) -> None:
    assert improves(crossover=crossover) < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("rule", STEP_SIZE_RULES.names())
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_every_step_size_rule_improves(rule: str, granularity: str) -> None:
    if rule in CONTROLS and granularity != "global":
        pytest.skip("controls set one step size; the refusal is tested with the others")
    schedule = {"sigma_schedule": "0:0.2,25:0.05"} if rule == "schedule" else {}
    assert improves(step_size=rule, granularity=granularity, **schedule) < 0.5


@pytest.mark.parametrize("mutation", [name for name in MUTATIONS.names() if name not in MEMORY_OPERATORS])
def test_every_mutation_improves(mutation: str) -> None:
    own = {"flip": {"genome": "binary", "sigma": 0.02, "mutate_count": 2}, "weights": {"mutate_count": 5}}
    assert improves(mutate=mutation, **own.get(mutation, {})) < 0.75


@pytest.mark.slow
def test_memories_are_learned() -> None:
    """Twelve points, one memory each: chance would have one right."""
    inputs = torch.randn(12, 10, generator=torch.Generator().manual_seed(1))
    targets = torch.arange(12) % 4
    hunt = galab.Search(Memory((10,), 4, heads=16), mutate="memory-replace,memory-perturb,memory-target", sigma=0.5,
                        step_size="fixed", parents=4, children=32, seed=1)  # fmt: skip
    for _ in range(120):
        hunt.tell([float((net(inputs).argmax(1) == targets).sum()) for net in hunt.ask()])
    assert int((hunt.best()(inputs).argmax(1) == targets).sum()) >= 11


@pytest.mark.parametrize("selection", [name for name in SELECTIONS.names() if name not in ("lexicase", "nsga2")])
def test_every_selection_improves(selection: str) -> None:
    assert improves(selection=selection, elites=2, generations=40) < 0.6


@pytest.mark.parametrize(
    "options",
    [{"islands": 2, "migrate_every": 5}, {"sigma_only": 5, "sigma": 0.02, "step_size_rate": 1.0},
     {"sigma_search": 10, "sigma": 0.005}, {"survival": "plus", "islands": 2, "crossover": "row"},
     {"mutate": "dense,layer", "mutate_shares": "inherited"}, {"granularity": "tensor", "sigma_factors": "2"}],
    ids=str,
)  # fmt: skip
def test_every_kind_of_population_improves(options: dict[str, Any]) -> None:
    assert improves(**options) < 0.5


def bits(network: nn.Module) -> bytes:
    return b"".join(value.detach().numpy().tobytes() for value in network.parameters())


@pytest.mark.parametrize(
    "options",
    [{"crossover": "row"}, {"crossover": "genes-independent", "elites": 2}, {"crossover": "genes-aligned"},
     {"granularity": "parameter", "crossover": "mean"}, {"mutate": "dense,momentum"}, {"sigma_only": 6},
     {"sigma_search": 3}, {"step_size": "gesmr"}, {"step_size": "success-history", "islands": 2, "migrate_every": 2},
     {"mutate": "dense,layer", "mutate_shares": "inherited", "elites": 1}],
    ids=str,
)  # fmt: skip
def test_a_state_that_was_saved_continues_as_if_nothing_had_happened(options: dict[str, Any], tmp_path: Any) -> None:
    unbroken = search(**options)

    def play(hunt: galab.Search, generations: int) -> None:
        for _ in range(generations):
            hunt.tell([-loss(network) for network in hunt.ask()])

    play(unbroken, 4)
    torch.save(unbroken.state_dict(), tmp_path / "state.pkl")
    resumed = search(**options)
    play(resumed, 1)
    resumed.load_state_dict(torch.load(tmp_path / "state.pkl", weights_only=True))
    for _ in range(4):
        play(unbroken, 1)
        play(resumed, 1)
        assert resumed.strategy.parents.tolist() == unbroken.strategy.parents.tolist()
        assert bits(resumed.best()) == bits(unbroken.best())
