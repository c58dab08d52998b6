"""Modules of every kind, from end to end: each is scored as its members' own networks are, or refused in a sentence."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np
import pytest
import torch
from low_rank_networks import ALL
from module_kinds import REFUSED, SUPPORTED
from torch import Tensor, nn

from galab import ESOptimizer
from galab.config.run_config import RunConfig
from galab.contracts import Examples, Member
from galab.errors import UsageError
from galab.genome.weights import Layout
from galab.models.check_network import prepare_network
from galab.training.build import build
from galab.training.genetic_search import GeneticSearch
from galab.training.resolve import resolve
from galab.training.search import RunComponents

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning"),
]
_SHARED: dict[str, Any] = {
    "task": "digits", "init": "draw", "seed": 3, "batch": 0, "threads": 1, "fitness": "loss", "device": "cpu",
    "precision": "float32", "compile": "off",
}  # fmt: skip
GENETIC = {"parents": 2, "children": 6, "sigma": 0.3}
WAYS: dict[str, dict[str, Any]] = {
    "dense": {**GENETIC, "mutate": "dense"},
    "low rank": {**GENETIC, "mutate": "low-rank"},
    "eggroll": {"strategy": "eggroll", "population": 6, "sigma": 0.3},
}


class Outputs:
    """A task that measures every output: a weighted sum over the examples."""

    name, description, fingerprint = "outputs", "outputs", "0" * 64

    def __init__(self, shape: tuple[int, ...], outputs: int, *, tokens: bool) -> None:
        generator = torch.Generator().manual_seed(7)
        inputs = torch.randint(0, 9, (7, *shape), generator=generator) if tokens else torch.empty(0)
        inputs = inputs.float() if tokens else torch.randn(7, *shape, generator=generator)
        self.train = self.validation = self.test = Examples(inputs, torch.zeros(7, dtype=torch.long))
        self.input_shape, self.outputs = shape, outputs

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        weights = torch.linspace(1, 2, outputs.shape[1])
        sums = {f"out{place}": (outputs[..., place] * weights).sum(1) for place in range(outputs.shape[2])}
        return {"loss": outputs.square().mean(-1).sum(1), **sums}


def ready(name: str) -> tuple[nn.Module, Outputs]:
    """A module prepared as that of a run, and its task."""
    make, shape = SUPPORTED[name]
    torch.manual_seed(0)
    module = make().eval()
    tokens = "tokens" in name
    with torch.no_grad():
        outputs = copy.deepcopy(make()).eval()(Outputs(shape, 1, tokens=tokens).train.inputs).shape[-1]
    task = Outputs(shape, outputs, tokens=tokens)
    prepare_network(name, module, shape, outputs, examples=task.train.inputs)
    return module, task


def built(module: nn.Module, task: Any, way: str) -> RunComponents:
    return build(resolve(RunConfig(**_SHARED, **WAYS[way])), module, task)


def answers(module: nn.Module, layout: Layout, member: Member, inputs: Tensor) -> Tensor:
    """Those of a plain copy of the module with a member's weights: nothing of galab's forwards."""
    plain = copy.deepcopy(module)
    parts = layout.split(member.floats())
    with torch.no_grad():
        for name, value in plain.named_parameters():
            if name in parts:
                value.copy_(torch.from_numpy(np.array(parts[name])))
        return plain(inputs).float()


@pytest.mark.parametrize("way", ["dense", "low rank"])
@pytest.mark.parametrize("name", SUPPORTED)
def test_members_score_as_their_own_networks_do(name: str, way: str) -> None:
    module, task = ready(name)
    run = built(module, task, way)
    assert isinstance(run.search, GeneticSearch)
    cohort = run.strategy.ask()
    scores = run.executor.score(cohort)
    assert not scores.failures
    weights = torch.linspace(1, 2, len(task.train))
    bound = 1e-2 if "half" in name or "bfloat16" in name else 1e-5
    for place, birth in enumerate(cohort.births["id"].tolist()):
        expected = answers(module, run.layout, run.search.decoder.decode(birth), task.train.inputs)
        for output in range(task.outputs):
            mean = float((expected[:, output] * weights).sum()) / len(weights)
            assert abs(scores.metrics[f"out{output}"][place] - mean) <= bound * max(float(expected.abs().max()), 1.0)


@pytest.mark.parametrize("name", SUPPORTED)
def test_members_of_an_evolution_strategy_answer_as_their_own_networks_do(name: str) -> None:
    module, task = ready(name)
    assert not built(module, task, "eggroll").executor.score(built(module, task, "eggroll").strategy.ask()).failures
    if not any(value.requires_grad for value in module.parameters()):
        for value in module.parameters():
            value.requires_grad_(value.is_floating_point())
    search = ESOptimizer(module, population_size=6, sigma=0.3, seed=1)
    bound = 1e-2 if "half" in name or "bfloat16" in name else 1e-5
    for _ in range(2):
        population = search.ask()
        found = population.outputs(task.train.inputs)
        stacked = population.parameters()
        for place in range(len(population)):
            with torch.no_grad():
                expected = population[place](task.train.inputs)
            limit = bound * max(float(expected.abs().max()), 1.0)
            torch.testing.assert_close(found[place].float(), expected.float(), rtol=0, atol=limit)
            own = population.parameters(place)
            assert all(torch.equal(stacked[key][place], own[key]) for key in own)
        search.tell(list(range(6)))


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_evolved_is_refused_in_one_sentence(name: str) -> None:
    make, sentence = REFUSED[name]
    torch.manual_seed(0)
    with pytest.raises(UsageError, match=sentence) as caught:
        prepare_network("own", make(), (6,), 3)
    assert "\n" not in str(caught.value)


def test_there_are_enough_kinds_and_every_layer_of_torch_with_parameters_is_one_of_them() -> None:
    assert len(SUPPORTED) + len(ALL) >= 60
    seen = {type(part).__name__ for make, _ in SUPPORTED.values() for part in make().modules()}
    seen |= {type(part).__name__ for make, *_ in ALL.values() for part in make().modules()}
    seen |= {type(part).__name__ for make, _ in REFUSED.values() for part in make().modules()}
    layers = {name for name, kind in vars(nn).items() if inspect.isclass(kind) and issubclass(kind, nn.Module)}
    without = {name for name in layers if _has_no_parameters(name)}
    # The same class in other dimensions or on several machines, bases, and a loss, which takes targets.
    alike = {"BatchNorm2d", "BatchNorm3d", "SyncBatchNorm", "DataParallel", "Module", "RNNBase", "RNNCellBase"}
    alike |= {"Container", "LinearCrossEntropyLoss"}
    missing = {name for name in layers - without - alike if name not in seen and not name.startswith("Lazy")}
    assert not missing


def _has_no_parameters(name: str) -> bool:
    """Whether a layer can be made without arguments, or with sizes, and has no parameters."""
    kind = getattr(nn, name)
    for arguments in ((), (4,), (4, 4), (4, 4, 4), (4, 4, 4, 4)):
        try:
            made = kind(*arguments)
        except Exception:
            continue
        return next(made.parameters(), None) is None
    return True
