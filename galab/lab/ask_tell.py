"""The genetic algorithm by hand: your own module, your own fitness function, your own loop."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from galab.contracts import Scores
from galab.errors import LethalMutationError, UsageError
from galab.genome.decode import Decoder
from galab.genome.pedigree import Pedigree
from galab.genome.phenotype import Phenotype, to_float
from galab.genome.quantiles import make
from galab.genome.torch_laws import founders_given, founders_of
from galab.mutation.dense import Dense
from galab.registry import STEP_SIZE_RULES
from galab.strategies.genetic import GeneticAlgorithm, GeneticOptions


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
        parents: individuals that breed.
        children: children born per generation.
        elites: best parents that compete with the children; they are scored again with them.
        sigma: step size at the start, in weight units.
        step_size: rule that adapts it: ``log-normal``, ``three-point`` or ``fixed``.
        distribution: law of a mutation; see :mod:`galab.distribution`.
        keep_weights: start from the module's own weights instead of drawing founders as torch would.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        seed: int = 0,
        parents: int = 8,
        children: int = 32,
        elites: int = 0,
        sigma: float = 0.02,
        step_size: str = "log-normal",
        distribution: str = "normal",
        keep_weights: bool = False,
    ) -> None:
        if min(parents, children) < 1 or not 0 <= elites <= parents or children + elites < parents:
            raise UsageError(
                f"expected parents >= 1, elites from 0 to parents, and children + elites >= parents, got "
                f"parents={parents}, children={children}, elites={elites}"
            )
        if not 2**-20 <= sigma <= 8:
            raise UsageError(f"expected sigma between 2^-20 and 8, got {sigma}")
        founders = founders_given(module, module.state_dict(), seed) if keep_weights else founders_of(module, seed)
        options = GeneticOptions(parents=parents, children=children, elites=elites, sigma=sigma)
        rule = STEP_SIZE_RULES.load(step_size)(seed, None)
        self.strategy = GeneticAlgorithm(seed, options, rule, Pedigree())
        self.decoder = Decoder(founders, self.strategy.pedigree, [Dense(seed, make(distribution))])
        self._slots = [copy.deepcopy(module).eval().requires_grad_(False) for _ in range(children + elites)]
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
        outcome = self.strategy.tell(Scores(everyone))
        self.decoder.pin(outcome.parents.tolist())

    def best(self) -> nn.Module:
        """A copy of the module with the weights of the fittest parent."""
        best = self.decoder.decode(int(self.strategy.parents[0]))
        return self._load(copy.deepcopy(self._slots[0]), best)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue, as plain data."""
        weights = [self.decoder.decode(birth).weights for birth in self.strategy.parents.tolist()]
        return {"strategy": self.strategy.state_dict(), "weights": np.stack(weights)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from ``state_dict``; the Search must have been made with the same arguments."""
        self.strategy.load_state_dict(state["strategy"])
        ids = self.strategy.parents.tolist()
        for birth, weights in zip(ids, state["weights"], strict=True):
            self.decoder.insert(birth, Phenotype(weights, self.strategy.pedigree[birth].log_sigma))
        self.decoder.pin(ids)

    def _load(self, module: nn.Module, member: Phenotype) -> nn.Module:
        parts = self.decoder.layout.split(to_float(member.weights))
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                parameter.copy_(torch.from_numpy(parts[name]))
        return module
