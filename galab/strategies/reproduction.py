"""Births: mates, crossover, the choice among mutation operators, and one step size for each child.

A child's step size mutates before it is used (Beyer and Schwefel 2002). Step sizes finer than one number are decoded
with the weights (``genome/develop.py``); then the birth holds 0.

A search for the best step size (``--sigma-search``) tries the same noise at every step size of a grid. Warming up by
selection overshoots, as the best of many children rewards a lucky large step. Here each noise is tried at every step
size, and the step size wins whose best of as many children as a generation has is expected to gain most over the
parents; repeated, it draws the curve of the best step size over a run.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.config import RunConfig
from galab.config.parsing import parse_mutations
from galab.config.traits import by_use
from galab.contracts import Cohort
from galab.genome.births import Birth
from galab.genome.pedigree import Pedigree
from galab.genome.random import Stream, below, codes
from galab.genome.step_sizes import PER_OCTAVE, Steps, snap
from galab.genome.weights import Layout
from galab.operators.diversity import distances
from galab.operators.islands import island_of, partners
from galab.operators.mutation.base import OperatorMixture
from galab.operators.step_size import Fixed, PopulationStepSize, StepSizeRule


@dataclass(frozen=True, slots=True)
class Parents:
    """Those that breed, best first.

    Attributes:
        ids: (parents,) births.
        islands: (parents,) the island that each lives on.
        behaviour: (parents, B) their answers, where mates are chosen by them.
        use: (parents, heads) examples that each memory answers, where memories are chosen by that.
    """

    ids: NDArray[np.int64]
    islands: NDArray[np.int64]
    behaviour: NDArray[np.uint8] | None = None
    use: NDArray[np.int32] | None = None
    _edges: dict[tuple[str, int], list[int]] = field(default_factory=dict)

    def edges(self, rule: str, parent: int) -> list[int]:
        """Sums of the odds of a parent's memories, by the rule that they are chosen by."""
        if (rule, parent) not in self._edges:
            assert self.use is not None
            answered = self.use[int(np.flatnonzero(self.ids == parent)[0])].astype(np.int64)
            odds = answered if rule == "use" else (answered > 0) if rule == "used" else (answered == 0)
            # Where no memory is such, all have equal odds.
            self._edges[rule, parent] = np.cumsum(odds if odds.any() else np.ones(len(odds), dtype=np.int64)).tolist()
        return self._edges[rule, parent]


class Reproduction:
    """Makes the births of a generation.

    Args:
        config: the resolved configuration.
        pedigree: where the parents' births are.
        rule: how step sizes are inherited, or what sets them.
    """

    def __init__(self, config: RunConfig, pedigree: Pedigree, rule: StepSizeRule | PopulationStepSize) -> None:
        assert config.seed is not None
        self._config = config
        self._run_key = config.seed
        self._pedigree = pedigree
        self._rule = None if isinstance(rule, PopulationStepSize) else rule
        self._control = rule if isinstance(rule, PopulationStepSize) else None
        assert config.crossover == "none" or config.parents_per_child is not None, "a resolved configuration"
        self._ways = config.parents_per_child or 1
        floor = 2.0**-24 if config.sigma_floor is None else config.sigma_floor
        self.steps = Steps(Layout(("",), ((1,),)), low=snap(floor), high=snap(config.sigma_ceiling))
        operators = parse_mutations(config.mutate)
        shares = [share for _, share in operators]
        self.mixture = OperatorMixture(self._run_key, shares, config.mutate_shares == "inherited")
        #: For each operator how it chooses a memory by the examples; empty where it does not.
        self._by_use = [by_use(call) for call, _ in operators]

    def children(
        self, generation: int, next_id: int, parents: Parents, restart: int | None = None
    ) -> list[Birth]:
        """The children of a generation.

        Args:
            generation: the generation that they are born in.
            next_id: id of the first.
            parents: those that breed.
            restart: the step size that they start from in place of their parents', as a grid point.
        """
        ids = range(next_id, next_id + self._config.children)
        families = self._families(generation, ids, parents)
        proposed = None if self._control is None else self._control.propose(generation, list(ids))
        warming = generation <= self._config.sigma_only
        births = []
        for place, (birth, family) in enumerate(zip(ids, families, strict=True)):
            asked = None if proposed is None else proposed[place]
            log_sigma = self._log_sigma(birth, family, restart, asked)
            # In the warm-up only step sizes are inherited, so every child starts from the line's founder.
            lineage = (self.founder(family[0]),) if warming else family
            mutation = self.mixture.choose(birth, family)
            births.append(Birth(birth, lineage, generation, 0, log_sigma, int(len(lineage) > 1), mutation))
        if parents.use is None or not any(self._by_use):
            return births
        return [self._with_head(birth, family[0], parents) for birth, family in zip(births, families, strict=True)]

    def _with_head(self, birth: Birth, parent: int, parents: Parents) -> Birth:
        """A birth with the memory that it changes, counted from 1, where that depends on the examples.

        A genome knows nothing of examples, so the choice is part of it.
        """
        rule = self._by_use[birth.mutation - 1]
        if not rule:
            return birth
        edges = parents.edges(rule, parent)
        drawn = int(below(edges[-1], self._run_key, birth.id, Stream.HEAD, 1)[0])
        return birth._replace(argument=1 + bisect_right(edges, drawn))

    def islands(self) -> NDArray[np.int64]:
        """(children,) the island that each child is born on."""
        return island_of(np.arange(self._config.children), self._config.children, self._config.islands)

    def _families(self, generation: int, ids: range, parents: Parents) -> list[tuple[int, ...]]:
        """The parents of each child."""
        count = len(ids)
        children, order = self.islands(), np.argsort(parents.islands, kind="stable")
        sizes = np.bincount(parents.islands, minlength=self._config.islands)
        starts = np.cumsum(sizes) - sizes
        drawn = below(sizes[children], self._run_key, generation, Stream.BREEDING, count)
        first = order[starts[children] + drawn]
        if self._ways == 1 or generation <= self._config.sigma_only:
            return [(int(parents.ids[place]),) for place in first]
        config = self._config
        others = partners(
            first,
            len(parents.ids),
            self._ways,
            # Before there are answers to compare, mates are drawn at random.
            rule="random" if parents.behaviour is None else config.mate,
            choices=config.mate_choices,
            distances=None if parents.behaviour is None else distances(parents.behaviour),
            groups=parents.islands if config.islands > 1 else None,
            run_key=self._run_key,
            generation=generation,
        )
        families = parents.ids[np.column_stack([first, others])].tolist()
        return [
            tuple(family) if self._sexual(birth) else (family[0],) for birth, family in zip(ids, families, strict=True)
        ]

    def _sexual(self, birth: int) -> bool:
        if self._config.crossover_rate == 1.0:
            return True
        code = int(codes(self._run_key, birth, Stream.OPERATOR, 2)[1])
        return code + 0.5 < self._config.crossover_rate * 65_536

    def _log_sigma(self, birth: int, family: tuple[int, ...], restart: int | None, asked: int | None) -> int:
        if self._config.granularity != "global":
            return 0
        if asked is not None:
            return int(np.clip(asked, self.steps.low, self.steps.high))
        assert self._rule is not None
        inherited = [self._pedigree[parent].log_sigma for parent in family] if restart is None else [restart]
        if isinstance(self._rule, Fixed) and len(set(inherited)) == 1:  # arrays of one number would take longer
            return min(max(inherited[0], self.steps.low), self.steps.high)
        parents = [np.array([log_sigma], dtype=np.int16) for log_sigma in inherited]
        return int(self.steps.clip(self._rule.mutate(parents, birth, self.steps))[0])

    def founder(self, parent: int) -> int:
        """The founder of a line of the warm-up, in which every child's parent is a founder."""
        row = self._pedigree[parent]
        return row.parents[0] if row.generation else parent

    def state_dict(self, parents: NDArray[np.int64]) -> dict[str, Any]:
        """What the next births depend on, apart from the parents' births, as plain data."""
        control = {} if self._control is None else self._control.state_dict()
        return {"control": control, "shares": self.mixture.of(parents.tolist())}

    def load_state_dict(self, state: dict[str, Any], parents: NDArray[np.int64]) -> None:
        """Continue."""
        if self._control is not None:
            self._control.load_state_dict(state["control"])
        self.mixture.restore(parents.tolist(), state["shares"])


#: Offsets of the grid from where the search begins, in octaves.
_OCTAVES = range(-5, 4)


class SigmaSearch:
    """Makes the probes of a search and reads their scores; none of them survives.

    Args:
        config: the resolved configuration; ``sigma_search`` 0 is never.
        steps: bounds of a step size.
    """

    def __init__(self, config: RunConfig, steps: Steps) -> None:
        assert config.seed is not None
        self._every = config.sigma_search
        self._draws = config.children
        self._run_key = config.seed
        self._steps = steps

    def due(self, generation: int) -> bool:
        """Whether a generation is a search."""
        return self._every > 0 and (generation - 1) % self._every == 0

    def grid(self, centre: int) -> list[int]:
        """The step sizes that are tried, as grid points."""
        points = [min(max(centre + step * PER_OCTAVE, self._steps.low), self._steps.high) for step in _OCTAVES]
        return list(dict.fromkeys(points))

    def probes(self, generation: int, next_id: int, centre: int, parents: NDArray[np.int64]) -> list[Birth]:
        """Births that repeat one set of noises, and of parents, at each step size."""
        draws = self._draws
        chosen = parents[below(len(parents), self._run_key, generation, Stream.BREEDING, draws)].tolist()
        return [
            Birth(next_id + row * draws + draw, (chosen[draw],), generation, row * draws, log_sigma, 0, 1)
            for row, log_sigma in enumerate(self.grid(centre))
            for draw in range(draws)
        ]

    def best(self, cohort: Cohort, gain: NDArray[np.float64], centre: int) -> int:
        """The step size with the best expected gain of the best child, as a grid point; ``centre`` where none is known.

        Args:
            cohort: the probes.
            gain: (probes,) fitness minus the parent's; NaN is a failure.
            centre: where the grid was centred.
        """
        grid = self.grid(centre)
        tables = gain.reshape(len(grid), self._draws)
        expected = [expected_best(np.where(np.isfinite(row), row, -np.inf), self._draws) for row in tables]
        best = int(np.argmax(expected))
        return grid[best] if np.isfinite(expected[best]) else centre


def expected_best(gains: NDArray[np.float64], children: int) -> float:
    """The expected largest of ``children`` draws with replacement from observed gains.

    The i-th smallest of m is the largest with probability (i/m)^children - ((i - 1)/m)^children.
    """
    edges = (np.arange(len(gains) + 1) / len(gains)) ** children
    weights = np.diff(edges)
    ordered = np.sort(gains)
    alive = np.isfinite(ordered)
    return float(ordered[alive] @ weights[alive] / weights[alive].sum()) if alive.any() else -np.inf
