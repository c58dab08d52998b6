"""The genetic algorithm: asexual reproduction with truncation selection.

(mu, lambda) and (mu + lambda) selection after Schwefel 1995; self-adapted step sizes that mutate before use after
Beyer and Schwefel 2002, "Evolution strategies: a comprehensive introduction". Parents are drawn uniformly with
replacement, as in Such et al. 2017, "Deep Neuroevolution".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.breeding.ranking import rank
from galab.config import RunConfig
from galab.contracts import Cohort, Outcome, Scores
from galab.errors import GalabError, NoViableChildError
from galab.genome.births import Birth, from_rows, to_rows
from galab.genome.noise import Stream, below
from galab.genome.pedigree import Pedigree
from galab.genome.sigma import snap
from galab.mutation.step_size import Fixed, StepSizeRule


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneticOptions:
    """Hyperparameters of the genetic algorithm.

    Attributes:
        parents: individuals that breed (mu).
        children: children born per generation (lambda).
        elites: best parents that compete with the children; ``parents`` of them is plus selection.
        ties: see :func:`galab.breeding.ranking.rank`.
        sigma: step size of the founders, in weight units.
        sigma_floor: smallest step size allowed.
        sigma_ceiling: largest step size allowed.
        fixed_data: whether every generation is scored on the same examples, so that an elite's score stays true.
    """

    parents: int = 8
    children: int = 32
    elites: int = 0
    ties: str = "younger"
    sigma: float = 0.02
    sigma_floor: float = 2**-20
    sigma_ceiling: float = 8.0
    fixed_data: bool = False


class GeneticAlgorithm:
    """See :class:`galab.contracts.Strategy`.

    Args:
        run_key: key of all randomness.
        options: the hyperparameters.
        rule: adapts the step size from parent to child; None keeps it.
        pedigree: the family tree, shared with whoever decodes.
    """

    def __init__(
        self,
        run_key: int,
        options: GeneticOptions,
        rule: StepSizeRule | None = None,
        pedigree: Pedigree | None = None,
    ) -> None:
        self.generation = 0
        self.options = options
        self.pedigree = Pedigree() if pedigree is None else pedigree
        self._run_key = run_key
        self._rule = Fixed(run_key) if rule is None else rule
        self._asked: Cohort | None = None
        self._next_id = options.parents
        self._range = snap(options.sigma_floor), snap(options.sigma_ceiling)
        founders = [Birth(birth, (), 0, 0, snap(options.sigma), 0, 0) for birth in range(options.parents)]
        for founder in founders:
            self.pedigree.add(founder)
        self.parents = np.arange(options.parents, dtype=np.int64)
        self.parent_fitness = np.full(options.parents, np.nan)

    @classmethod
    def from_config(
        cls, config: RunConfig, rule: StepSizeRule, pedigree: Pedigree, fixed_data: bool
    ) -> GeneticAlgorithm:
        """The strategy of a run, from its resolved configuration."""
        assert config.seed is not None
        names = ("parents", "children", "elites", "ties", "sigma", "sigma_floor", "sigma_ceiling")
        values = {name: getattr(config, name) for name in names}
        return cls(config.seed, GeneticOptions(**values, fixed_data=fixed_data), rule, pedigree)

    def ask(self) -> Cohort:
        """This generation's children and those elites whose score is not known on its data.

        Raises:
            GalabError: the last cohort's scores have not been told yet.
        """
        if self._asked is not None:
            raise GalabError("expected tell() with the scores of the last cohort, got ask() again; call tell() first")
        generation = self.generation + 1
        chosen = below(len(self.parents), self._run_key, generation, Stream.BREEDING, self.options.children)
        children = [self._birth(self._next_id + place, int(self.parents[i])) for place, i in enumerate(chosen)]
        for child in children:
            self.pedigree.add(child)
        again = [self.pedigree[int(elite)] for elite in self._elites() if self._needs_score(int(elite))]
        self._asked = Cohort(generation, to_rows([*children, *again]), len(children))
        return self._asked

    def tell(self, scores: Scores) -> Outcome:
        """Select the next parents.

        Raises:
            GalabError: no cohort was asked for, or the scores do not fit it.
            NoViableChildError: not one child has a finite score; the generation is not counted.
        """
        cohort = self._checked(scores)
        children = cohort.births["id"][: cohort.children]
        elites = self._elites()
        known = dict(zip(self.parents.tolist(), self.parent_fitness.tolist(), strict=True))
        known.update(zip(cohort.births["id"].tolist(), scores.fitness.tolist(), strict=True))
        competitors = np.concatenate([children, elites])
        fitness = np.array([known[birth] for birth in competitors.tolist()], dtype=np.float64)
        # With no child alive the same parents would try the same step sizes for ever.
        if not np.isfinite(scores.fitness[: cohort.children]).any():
            raise NoViableChildError(_all_failed(cohort, scores))
        order = rank(
            fitness, competitors, ties=self.options.ties, run_key=self._run_key, generation=cohort.generation
        )
        # Fewer finite scores than parents: the finite ones breed alone.
        best = order[: min(self.options.parents, int(np.isfinite(fitness).sum()))]
        self.parents, self.parent_fitness = competitors[best], fitness[best]
        selected = cohort.births[: cohort.children][np.isin(children, self.parents)]
        self.pedigree.keep(self.parents.tolist())
        self._next_id += cohort.children
        self.generation = cohort.generation
        self._asked = None
        return Outcome(selected, self.parents)

    def state_dict(self) -> dict[str, Any]:
        """See :class:`galab.contracts.Strategy`; the living parents' births are part of it."""
        return {
            "generation": self.generation,
            "next_id": self._next_id,
            "births": to_rows(self.pedigree[birth] for birth in self.parents.tolist()),
            "parent_fitness": self.parent_fitness.copy(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue; ancestors of the parents may be added to the pedigree before."""
        births = from_rows(state["births"])
        for birth in births:
            if birth.id not in self.pedigree:
                self.pedigree.add(birth)
        self.parents = np.array([birth.id for birth in births], dtype=np.int64)
        self.parent_fitness = np.array(state["parent_fitness"], dtype=np.float64)
        self.pedigree.keep(self.parents.tolist())
        self.generation = int(state["generation"])
        self._next_id = int(state["next_id"])
        self._asked = None

    def _birth(self, birth: int, parent: int) -> Birth:
        inherited = self.pedigree[parent].log_sigma
        low, high = self._range
        log_sigma = min(max(self._rule.mutate(inherited, birth), low), high)
        return Birth(birth, (parent,), self.generation + 1, 0, log_sigma, 0, 1)

    def _elites(self) -> NDArray[np.int64]:
        return self.parents[: self.options.elites]

    def _needs_score(self, elite: int) -> bool:
        """Under a minibatch a stale lucky score would rule for ever, so it is measured again."""
        score = self.parent_fitness[self.parents.tolist().index(elite)]
        return not (self.options.fixed_data and np.isfinite(score))

    def _checked(self, scores: Scores) -> Cohort:
        if self._asked is None:
            raise GalabError("expected ask() before tell(), got tell(); call ask() and evaluate its cohort first")
        expected = len(self._asked.births)
        if scores.fitness.shape != (expected,):
            raise GalabError(f"expected {expected} scores, one per member asked for, got shape {scores.fitness.shape}")
        return self._asked


def _all_failed(cohort: Cohort, scores: Scores) -> str:
    reasons = [scores.failures[index] for index in sorted(scores.failures) if index < cohort.children]
    return (
        f"generation {cohort.generation}: not one of {cohort.children} children has a finite fitness "
        f"({reasons[0] if reasons else 'no score was finite'}); the last good checkpoint is kept: try a smaller "
        "--sigma, or look at the task"
    )
