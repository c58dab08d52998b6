"""The genetic algorithm by hand: your own module, your own fitness function, your own loop."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from galab.config import RunConfig
from galab.config.fields import FIELDS
from galab.config.option import understands
from galab.config.resolve import decide
from galab.config.spelling import PYTHON, spelled
from galab.config.traits import needs_behaviour
from galab.contracts import Scores
from galab.errors import LethalMutationError, UsageError, closest
from galab.genome.decoder import Decoder
from galab.genome.initial import founders_given, founders_of
from galab.genome.quantile_tables import make
from galab.genome.weights import Phenotype, to_float
from galab.strategies.build import developer, step_size_rule
from galab.strategies.genetic import GeneticAlgorithm
from galab.training.checkpoint import members_of, members_to_state


class Search:
    """Ask for networks, tell their fitness.

    Example::

        search = galab.Search(torch.nn.Linear(4, 2), children=32, sigma=0.1, seed=1)
        for generation in range(100):
            networks = search.ask()
            search.tell([fitness(network) for network in networks])

    Args:
        module: any ``nn.Module``; it is not changed.
        seed: key of all randomness.
        keep_weights: start from the module's own weights instead of drawing founders as torch would.
        hyperparameters: those of ``galab run`` under the headings Population and Mutation, by their names in Python:
            ``parents=8``, ``children=32``, ``sigma=0.02``, ``crossover="row"``, ``granularity="parameter"``, ...

    Raises:
        UsageError: a hyperparameter is unknown, out of bounds, or needs to look at the networks' answers.
    """

    def __init__(self, module: nn.Module, *, seed: int = 0, keep_weights: bool = False, **hyperparameters: Any) -> None:
        with spelled(PYTHON):
            config = _configured(seed, hyperparameters)
            founders = founders_given(module, module.state_dict(), seed) if keep_weights else founders_of(module, seed)
            self.strategy = GeneticAlgorithm(config, step_size_rule(config, seed))
            births = developer(config, founders, make(config.distribution))
        self.decoder = Decoder(births, self.strategy.pedigree)
        self._template = copy.deepcopy(module).eval().requires_grad_(False)
        self._slots: list[nn.Module] = []
        self._alive: list[int] = []
        self._asked = 0

    @property
    def generation(self) -> int:
        """Generations done."""
        return self.strategy.generation

    def ask(self) -> list[nn.Module]:
        """The networks to score, in ``eval()`` mode; they are overwritten by the next ``ask``.

        A child whose weights left +-128 is not among them and ranks last.
        """
        cohort = self.strategy.ask()
        self._asked, self._alive = len(cohort.births), []
        networks = []
        for index, birth in enumerate(cohort.births["id"].tolist()):
            try:
                member = self.decoder.decode(birth)
            except LethalMutationError:
                continue
            self._alive.append(index)
            if index >= len(self._slots):
                self._slots += [copy.deepcopy(self._template) for _ in range(index + 1 - len(self._slots))]
            networks.append(self._load(self._slots[index], member))
        return networks

    def tell(self, fitness: Sequence[float]) -> None:
        """Select the next parents.

        Args:
            fitness: one number per network of the last ``ask``, in its order; higher is better, NaN is a failure.

        Raises:
            UsageError: the number of scores is wrong.
            NoViableChildError: no score is finite.
        """
        scores = np.asarray([float(score) for score in fitness], dtype=np.float64)
        if len(scores) != len(self._alive):
            raise UsageError(f"expected {len(self._alive)} scores, one per network of the last ask, got {len(scores)}")
        everyone = np.full(self._asked, np.nan)
        everyone[self._alive] = np.where(np.isfinite(scores), scores, np.nan)
        self.strategy.tell(Scores(everyone))
        self.decoder.pin(self.strategy.stock)

    def best(self) -> nn.Module:
        """A copy of the module with the weights of the fittest parent."""
        best = self.decoder.decode(int(self.strategy.parents[0]))
        return self._load(copy.deepcopy(self._template), best)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue, as plain data."""
        parents = [self.decoder.decode(birth) for birth in self.strategy.parents.tolist()]
        return {"strategy": self.strategy.state_dict(), **members_to_state(parents, self.strategy.births_dtype)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from ``state_dict``; the Search must have been made with the same arguments."""
        self.strategy.load_state_dict(state["strategy"])
        ids = self.strategy.parents.tolist()
        self.decoder.adopt(dict(zip(ids, members_of(state), strict=True)))
        self.decoder.pin(self.strategy.stock)

    def _load(self, module: nn.Module, member: Phenotype) -> nn.Module:
        parts = self.decoder.layout.split(to_float(member.weights))
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                parameter.copy_(torch.from_numpy(parts[name]))
        return module


def _configured(seed: int, hyperparameters: dict[str, Any]) -> RunConfig:
    known = [
        name for name, item in FIELDS.items() if understands(item, "genetic") and not understands(item, "gradients")
    ]
    for name in hyperparameters:
        if name not in known:
            raise UsageError(f"no hyperparameter of a Search is called '{name}'.{closest(name, known)}")
    config = RunConfig(seed=seed, **hyperparameters)
    if needs_behaviour(config) or config.selection == "lexicase":
        raise UsageError(
            "expected a search by fitness alone, got niche, diversity, mate or lexicase, which compare the networks' "
            "answers; leave them out, or use galab.run with a task"
        )
    return decide(config)
