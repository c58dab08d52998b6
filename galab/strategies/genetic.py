"""The genetic algorithm, and random search beside it: ask for a generation's cohort, tell its scores.

(mu, lambda) and (mu + lambda) selection after Schwefel 1995; first parents are drawn uniformly with replacement, as in
Such et al. 2017, "Deep Neuroevolution". Births are made in ``reproduction.py``, survivors chosen in ``survival.py``.

Random search draws networks and keeps the best. It is what any search must beat at equal evaluations, and it asks
whether a network that fits the examples by luck alone generalises. Source of the question: P. Chiang et al., "Loss
landscapes are all you need", ICLR 2023 ("guess and check").
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from galab.config import RunConfig
from galab.config.traits import needs_behaviour, needs_use
from galab.contracts import Cohort, Outcome, Scores
from galab.errors import NoViableChildError
from galab.genome.births import Birth, birth_dtype, from_rows, to_rows
from galab.genome.pedigree import Pedigree
from galab.genome.step_sizes import snap
from galab.operators.islands import island_of
from galab.operators.step_size import PopulationStepSize, StepSizeRule
from galab.strategies.reproduction import Parents, Reproduction, SigmaSearch
from galab.strategies.survival import (
    Competitors,
    Scoring,
    Survival,
    all_failed_message,
    answered_cohort,
    check_scores_told,
    parents_mean,
)

Kind = TypeVar("Kind", bound=np.generic)


class GeneticAlgorithm:
    """See :class:`galab.contracts.Strategy`.

    Args:
        config: the hyperparameters, resolved.
        rule: adapts step sizes from parent to child, or sets them from the population's success.
        pedigree: the family tree, shared with the decoder.
        fixed_data: whether every generation is scored alike, so that a parent's score stays true.

    Attributes:
        generation: generations done.
        parents: (parents,) those that breed, best first.
        parent_fitness: (parents,) their fitness when it was last measured.
        gain: (children,) of the last generation: fitness minus the mean of the parents' on the same examples, where
            both were measured.
    """

    def __init__(
        self,
        config: RunConfig,
        rule: StepSizeRule | PopulationStepSize,
        pedigree: Pedigree | None = None,
        *,
        fixed_data: bool = False,
    ) -> None:
        assert config.seed is not None
        self.config = config
        self.generation = 0
        self.pedigree = Pedigree() if pedigree is None else pedigree
        self.births_dtype = birth_dtype(config.parents_per_child or 2)
        self.gain = np.full(config.children, np.nan)
        self._scoring = Scoring(config.fitness, config.inheritance)
        self._fixed_data = fixed_data
        self._control = rule if isinstance(rule, PopulationStepSize) else None
        self.reproduction = Reproduction(config, self.pedigree, rule)
        self._survival = Survival(config)
        self._search = SigmaSearch(config, self.reproduction.steps)
        self._asked: Cohort | None = None
        self._next_id = config.parents
        self._found_population()

    def _found_population(self) -> None:
        config = self.config
        self._add_founders()
        self.parents = np.arange(config.parents, dtype=np.int64)
        self.islands = island_of(self.parents, config.parents, config.islands)
        self.parent_fitness = np.full(config.parents, np.nan)
        self._parent_score = np.full(config.parents, np.nan)
        self._behaviour: NDArray[Any] | None = None
        #: What else was measured of the parents, in their order: lower keys of the fitness, and their answers.
        self._further: NDArray[np.float64] | None = None
        self._use: NDArray[np.int32] | None = None
        self._restart: int | None = None

    def _add_founders(self) -> None:
        start, clones = snap(self.config.sigma), self.config.founders == "clones"
        for birth in range(self.config.parents):
            self.pedigree.add(Birth(birth, (0,) if clones and birth else (), 0, 0, start, 0, 0))

    @classmethod
    def from_config(
        cls, config: RunConfig, rule: StepSizeRule | PopulationStepSize, pedigree: Pedigree, fixed_data: bool
    ) -> GeneticAlgorithm:
        """The strategy of a run, from its resolved configuration."""
        return cls(config, rule, pedigree, fixed_data=fixed_data)

    def ask(self) -> Cohort:
        """This generation's children, and those parents whose score is needed and not known on its data.

        Raises:
            GalabError: the last cohort's scores have not been told yet.
        """
        check_scores_told(self._asked)
        generation = self.generation + 1
        if self._search.due(generation):
            born = self._search.probes(generation, self._next_id, self._sigma_of_parents(), self.parents)
        else:
            born = self._born(generation)
        for child in born:
            self.pedigree.add(child)
        again = [self.pedigree[parent] for parent in self._scored_again(generation, born)]
        self._asked = Cohort(generation, to_rows([*born, *again], self.births_dtype), len(born))
        return self._asked

    def _born(self, generation: int) -> list[Birth]:
        """The children of a generation."""
        parents = Parents(self.parents, self.islands, self._behaviour, self._use)
        return self.reproduction.children(generation, self._next_id, parents, self._restart)

    def _scored_again(self, generation: int, born: list[Birth]) -> list[int]:
        """Members that are scored with the children: elites and the parents that children are compared with.

        Under a minibatch a stale lucky score would rule for ever, so it is measured again.
        """
        config, parents = self.config, self.parents.tolist()
        if self._search.due(generation):
            wanted = parents
        else:
            compared = {parent for child in born for parent in child.parents} if self._needs_gain else set()
            competing = compared | set(self.parents[self._elites()].tolist())
            # In a warm-up children are compared with founders who live no more.
            wanted = [parent for parent in parents if parent in competing] + sorted(compared - set(parents))
        looked_at = needs_behaviour(config) or config.selection == "lexicase"
        looked_at |= (needs_use(config) and self._use is None) or (self._scoring.keys > 1 and self._further is None)
        known = dict(zip(parents, self.parent_fitness.tolist(), strict=True))
        stays = {birth for birth, score in known.items() if np.isfinite(score)} if self._fixed_data else set()
        if self._further is not None:  # not of members that were not measured
            stays &= set(self.parents[np.isfinite(self._further).all(axis=1)].tolist())
        return [birth for birth in dict.fromkeys(wanted) if looked_at or birth not in stays]

    def tell(self, scores: Scores) -> Outcome:
        """Select the next parents.

        Raises:
            GalabError: no cohort was asked for, or the scores do not fit it.
            NoViableChildError: not one child has a finite score; the generation is not counted.
        """
        cohort = answered_cohort(self._asked, scores)
        # With no child alive the same parents would try the same step sizes for ever.
        if not np.isfinite(scores.fitness[: cohort.children]).any():
            raise NoViableChildError(all_failed_message(cohort, scores, "children", "--sigma"))
        measured = dict(zip(cohort.births["id"].tolist(), scores.fitness.tolist(), strict=True))
        known = dict(zip(self.parents.tolist(), self.parent_fitness.tolist(), strict=True)) if self._fixed_data else {}
        known |= measured
        families = cohort.births["parents"][: cohort.children]
        self.gain = scores.fitness[: cohort.children] - parents_mean(families, known)
        self._next_id += cohort.children
        self.generation = cohort.generation
        self._asked = None
        if self._search.due(cohort.generation):
            self._restart = self._search.best(cohort, self.gain, self._sigma_of_parents())
            self.parent_fitness = np.array([known[parent] for parent in self.parents.tolist()])
            self.pedigree.keep(self.parents.tolist())
            return Outcome(cohort.births[:0], self.parents)
        self._restart = None
        if self._control is not None:
            used = cohort.births["log_sigma"][: cohort.children].astype(np.int64)
            alive = np.isfinite(scores.fitness[: cohort.children])
            self._control.learn(cohort.generation, used, np.where(alive, self.gain, -np.inf))
        return self._survivors(cohort, scores, known, families)

    def _survivors(
        self, cohort: Cohort, scores: Scores, known: dict[int, float], families: NDArray[np.int64]
    ) -> Outcome:
        """Rank children and elites and let the chosen ones be the parents."""
        children, elites = cohort.births["id"][: cohort.children], self._elites()
        ids = np.concatenate([children, self.parents[elites]])
        fitness = np.array([known.get(birth, np.nan) for birth in ids.tolist()], dtype=np.float64)
        place = {birth: row for row, birth in enumerate(cohort.births["id"].tolist())}
        # On fixed data parents that are not scored again are what they were.
        stay = [row for row, one in enumerate(self.parents.tolist()) if self._fixed_data and one not in place]
        place |= {int(self.parents[row]): len(cohort.births) + after for after, row in enumerate(stay)}
        further, use, behaviour = (
            _followed(scores.further, self._further, stay),
            _followed(scores.use, self._use, stay),
            _followed(scores.behaviour, self._behaviour, stay),
        )
        rows = [place[birth] for birth in ids.tolist()]
        before = dict(zip(self.parents.tolist(), self._parent_score.tolist(), strict=True))
        competitors = Competitors(
            ids,
            fitness,
            self._scoring.scores(fitness, self.gain, families, before, self._parent_score[elites]),
            np.concatenate([self.reproduction.islands(), self.islands[elites]]),
            None if further is None else self._scoring.further(further, rows, place, families),
            None if scores.cases is None else scores.cases[rows],
            None if behaviour is None else behaviour[rows],
        )
        chosen, islands = self._survival.choose(competitors, cohort.generation)
        # An island without a finite child keeps its parents, whose scores are then as old as they are.
        stranded = np.flatnonzero(~np.isin(self.islands, islands))
        seen = [rows[one] for one in chosen.tolist()]
        # What was seen of them then is true only of the same examples; on others the best stands in for them.
        seen += [place[birth] if self._fixed_data else seen[0] for birth in self.parents[stranded].tolist()]
        self.parents = np.concatenate([ids[chosen], self.parents[stranded]])
        self.parent_fitness = np.concatenate([fitness[chosen], self.parent_fitness[stranded]])
        self._parent_score = np.concatenate([competitors.score[chosen], self._parent_score[stranded]])
        self._use = None if use is None else use[seen]
        self._further = further[seen] if further is not None and self._fixed_data else None
        self._behaviour = behaviour[seen] if behaviour is not None and self.config.mate != "random" else None
        self.islands = np.concatenate([islands, self.islands[stranded]])
        self.pedigree.keep(self.parents.tolist())
        self.reproduction.mixture.keep(self.parents.tolist())
        return Outcome(cohort.births[: cohort.children][np.isin(children, self.parents)], self.parents)

    def state_dict(self) -> dict[str, Any]:
        """See :class:`galab.contracts.Strategy`; the living parents' births are part of it."""
        return {
            "generation": self.generation,
            "next_id": self._next_id,
            "births": to_rows((self.pedigree[birth] for birth in self.parents.tolist()), self.births_dtype),
            "parent_fitness": self.parent_fitness.copy(),
            "parent_score": self._parent_score.copy(),
            "islands": self.islands.copy(),
            "behaviour": self._behaviour,
            "use": self._use,
            "further": self._further,
            "restart": self._restart,
            **self.reproduction.state_dict(self.parents),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue; ancestors of the parents may be added to the pedigree before."""
        self._add_founders()  # from whom a warm-up's children descend
        births = from_rows(state["births"])
        for birth in births:
            if birth.id not in self.pedigree:
                self.pedigree.add(birth)
        self.parents = np.array([birth.id for birth in births], dtype=np.int64)
        self.parent_fitness = np.array(state["parent_fitness"], dtype=np.float64)
        # A checkpoint of version 0.1.0 knows neither islands nor scores apart from fitness.
        self._parent_score = np.array(state.get("parent_score", state["parent_fitness"]), dtype=np.float64)
        self.islands = np.array(state.get("islands", np.zeros(len(births))), dtype=np.int64)
        self._behaviour = state.get("behaviour")
        self._use = state.get("use")
        self._further = state.get("further")
        self._restart = state.get("restart")
        self.reproduction.load_state_dict({"control": {}, "shares": []} | state, self.parents)
        self.pedigree.keep(self.parents.tolist())
        self.generation = int(state["generation"])
        self._next_id = int(state["next_id"])
        self._asked = None

    @property
    def stock(self) -> list[int]:
        """Whom the next children are decoded from: the parents, and in a warm-up the founders of their lines."""
        parents: list[int] = self.parents.tolist()
        warming = self.generation < self.config.sigma_only
        return list(dict.fromkeys([*parents, *(map(self.reproduction.founder, parents) if warming else ())]))

    @property
    def _needs_gain(self) -> bool:
        """Whether children are compared with their parents on the same examples."""
        return self._scoring.kind == "improvement" or (self._control is not None and self._control.needs_gain)

    def _elites(self) -> NDArray[np.int64]:
        """Places of the parents that compete with the children: the best of each island."""
        config = self.config
        if config.islands == 1 or config.elites == 0:
            return np.arange(min(config.elites, len(self.parents)))
        shares = np.bincount(island_of(np.arange(config.elites), config.elites, config.islands))
        return np.sort(np.concatenate([np.flatnonzero(self.islands == i)[:n] for i, n in enumerate(shares.tolist())]))

    def _sigma_of_parents(self) -> int:
        """Their mean step size, as a grid point; the one that they start from while a search has just set it."""
        steps = [self.pedigree[parent].log_sigma for parent in self.parents.tolist()]
        return round(float(np.mean(steps))) if self._restart is None else self._restart


def _followed(measured: NDArray[Kind] | None, kept: NDArray[Kind] | None, rows: list[int]) -> NDArray[Kind] | None:
    """What the cohort measured, and after it some rows of what was kept; NaN, or 0, where nothing was."""
    if measured is None:
        return None
    unknown = np.nan if np.issubdtype(measured.dtype, np.floating) else 0
    after = np.full((len(rows), measured.shape[1]), unknown, measured.dtype) if kept is None else kept[rows]
    return np.concatenate([measured, after])


class RandomSearch(GeneticAlgorithm):
    """A genetic algorithm without heredity: every child is a fresh founder, and the best of all so far survive.

    Its arguments and attributes are those of :class:`galab.strategies.genetic.GeneticAlgorithm`.
    """

    def _born(self, generation: int) -> list[Birth]:
        step = snap(self.config.sigma)  # of no consequence, but a birth has one
        ids = range(self._next_id, self._next_id + self.config.children)
        return [Birth(birth, (), generation, 0, step, 0, 0) for birth in ids]
