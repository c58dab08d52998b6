"""Random search: draw networks until one is good, and keep the best.

What any search must beat at equal evaluations; and whether a network that fits the examples by luck alone generalises.
Source of the question: P. Chiang et al., "Loss landscapes are all you need", ICLR 2023 ("guess and check").
"""

from __future__ import annotations

from galab.genome.births import Birth
from galab.genome.sigma import snap
from galab.strategies.genetic import GeneticAlgorithm


class RandomSearch(GeneticAlgorithm):
    """A genetic algorithm without heredity: every child is a fresh founder, and the best of all so far survive.

    Its arguments and attributes are those of :class:`galab.strategies.genetic.GeneticAlgorithm`.
    """

    def _born(self, generation: int) -> list[Birth]:
        step = snap(self.config.sigma)  # of no consequence, but a birth has one
        ids = range(self._next_id, self._next_id + self.config.children)
        return [Birth(birth, (), generation, 0, step, 0, 0) for birth in ids]
