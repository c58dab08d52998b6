"""One birth, from decoded parents to their child: crossover, then the step sizes, then mutation with the new ones.

Under a gene law a genome is a set of mutations: a base that all share, and for each individual the births whose change
it carries. A gene is one mutation apart from its carriers (the laboratory's "seed"). As integer addition is exact,
weights are base plus the sum of the carried genes in any order, so a child is one of its parents plus the genes that it
gains and minus those that it loses. Genes that all individuals carry belong to the base and are not listed.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from galab.genome.births import Birth
from galab.genome.cache import ByteLimitedCache
from galab.genome.deltas import Change
from galab.genome.initial import Founders
from galab.genome.step_sizes import Steps
from galab.genome.weights import Gene, Layout, Phenotype, narrowed, picked, reach

#: What a gene law decides: ids of the genes that a child carries, of those that its parents carry.
Chosen = set[int]


class Mutation(Protocol):
    """Changes weights; one operator per file in ``galab.operators.mutation``.

    It may also have ``apply_all``, see :class:`galab.operators.mutation.dense.Dense`, for several births at once,
    ``touches``, the number of weights that a child then takes work for, and ``check``, which refuses a layout before a
    run begins.

    Attributes:
        context_free: whether the change depends on the birth and its step sizes alone, never on the parent's weights.
    """

    context_free: bool

    def apply(
        self, parent: Phenotype, birth: Birth, log_sigma: NDArray[np.int16], steps: Steps
    ) -> NDArray[np.int32]:
        """The child's weights, a new (D,) int32 array; the parent's are not touched.

        Args:
            parent: the parent, or what crossover made of several.
            birth: the child.
            log_sigma: (S,) the child's step sizes.
            steps: what they serve.

        Raises:
            LethalMutationError: a weight leaves its range.
        """
        ...


class Recombination(Protocol):
    """Makes one phenotype of several parents; the operators are in ``galab.operators``."""

    #: Whether it chooses genes (``carried``) and not weights (``combine``).
    genetic: bool

    def combine(
        self, parents: Sequence[Phenotype], birth: Birth, layout: Layout
    ) -> tuple[NDArray[np.int32], NDArray[np.uint8] | None]:
        """New weights, and the number of the parent that each comes from, or None where all contribute."""
        ...

    def carried(self, parents: Sequence[Phenotype], birth: Birth) -> set[int]:
        """Under a gene law: the genes of the child."""
        ...


class Rule(Protocol):
    """How step sizes mutate (``galab.operators.step_size``)."""

    def mutate(
        self, inherited: Sequence[NDArray[np.int16]], birth: int, steps: Steps
    ) -> NDArray[np.int16] | NDArray[np.int32]:
        """(S,) the child's, before bounds, from one inherited set of them or from the mean of several."""
        ...


class Developer:
    """Carries out births.

    Args:
        founders: the recipe for individuals without parents.
        steps: how step sizes lie over the weights.
        mutations: the run's operators; a birth's ``mutation`` counts from 1.
        crossover: how several parents become one, where children have several.
        rule: how step sizes finer than one number mutate; a single one is in the birth.
        inherit: ``weights``: each step size comes from the parent that its weight comes from; ``mean`` of all parents.
        gene_bytes: memory for the changes of single mutations.

    Attributes:
        founders, steps, mutations, crossover: as given.
        layout: where the weights lie.
        genetic: whether crossover chooses genes.
    """

    def __init__(
        self,
        founders: Founders,
        steps: Steps,
        mutations: Sequence[Mutation],
        *,
        crossover: Recombination | None = None,
        rule: Rule | None = None,
        inherit: str = "weights",
        gene_bytes: int = 2**28,
    ) -> None:
        self.founders = founders
        self.steps = steps
        self.layout = founders.layout
        self.genetic = crossover is not None and crossover.genetic
        self.mutations = tuple(mutations)
        self.crossover = crossover
        self._rule = rule
        self._inherit = inherit
        self._domain = self.layout.domain
        self._nothing = np.zeros(self.layout.size, dtype=np.int32)
        self._genes = GeneCache(self._change, gene_bytes)

    def develop(self, birth: Birth, parents: Sequence[Phenotype]) -> Phenotype:
        """One birth: the child of decoded parents, or a founder.

        Raises:
            LethalMutationError: a weight leaves its range.
        """
        if not birth.parents:
            founder = self.founders.decode(birth)
            log_sigma = self.steps.founder(birth.log_sigma)
            return self._individual(founder, log_sigma, {} if self.genetic else None)
        if not birth.mutation:
            return parents[0]
        mixed, sources = self._mixed(birth, parents)
        log_sigma = self._log_sigma(birth, parents, mixed.weights, sources)
        operator = self.mutations[birth.mutation - 1]
        weights = self._domain.inside(operator.apply(mixed, birth, log_sigma, self.steps))
        genes = None
        if self.genetic:
            gene = Gene(birth, log_sigma)
            genes = {**(mixed.genes or {}), birth.id: gene}
        velocity = _step(mixed.weights, weights) if getattr(operator, "remembers", False) else None
        return self._individual(weights, log_sigma, genes, velocity)

    def develop_together(self, births: Sequence[Birth], parents: Sequence[Phenotype]) -> list[Phenotype] | None:
        """:meth:`develop` for several children of one parent each, to the same bits.

        None where they have to be developed one by one: finer step sizes, an operator without ``apply_all``, or a child
        that cannot live.

        Args:
            births: P births with one operator.
            parents: the parent of each.
        """
        operators = {birth.mutation for birth in births}
        if len(operators) > 1 or not self.steps.uniform:
            return None
        apply_all = getattr(self.mutations[operators.pop() - 1], "apply_all", None)
        if apply_all is None:
            return None
        children = apply_all(np.stack([parent.weights for parent in parents]), births, self.layout)
        if children is None:
            return None
        # Copies, or one child in the cache would keep the whole array alive.
        return [
            self._individual(weights.copy(), np.array([birth.log_sigma], dtype=np.int16))
            for birth, weights in zip(births, self._domain.inside(children), strict=True)
        ]

    def touches(self, birth: Birth) -> int:
        """Weights that a child takes work for, to choose how many are made together."""
        touches = getattr(self.mutations[birth.mutation - 1], "touches", None)
        return self.layout.size if touches is None else int(touches(self.layout))

    def factors(self, births: Sequence[Birth], parents: Sequence[Phenotype]) -> list[Change]:
        """What several children of one parent each add to it, all of whose mutations are :class:`Factoring`.

        Args:
            births: P births.
            parents: the parent of each.
        """
        pairs = zip(births, parents, strict=True)
        log_sigma = [self._log_sigma(birth, [parent], parent.weights, None) for birth, parent in pairs]
        operator: Any = self.mutations[births[0].mutation - 1]
        changes: list[Change] = operator.factors(births, log_sigma, self.steps)
        return changes

    def change(self, birth: Birth) -> NDArray[np.int32]:
        """(D,) what a birth adds to the weights, of a mutation that depends on the birth and one step size alone."""
        return self._change(Gene(birth, np.array([birth.log_sigma], dtype=np.int16)))

    def _individual(
        self,
        weights: NDArray[np.int32],
        log_sigma: NDArray[np.int16],
        genes: Mapping[int, Gene] | None = None,
        velocity: NDArray[np.int32] | None = None,
    ) -> Phenotype:
        return Phenotype(weights, log_sigma, genes, velocity, self._domain.bits)

    def _mixed(self, birth: Birth, parents: Sequence[Phenotype]) -> tuple[Phenotype, NDArray[np.uint8] | None]:
        """What mutation starts from, and where its weights come from."""
        crossover = self.crossover
        if not birth.crossover or crossover is None:
            return parents[0], None
        if crossover.genetic:
            carried = crossover.carried(parents, birth)
            weights, genes = recombined(parents, carried, self._genes, self.layout, birth.id)
            return self._individual(weights, parents[0].log_sigma, genes), None
        weights, sources = crossover.combine(parents, birth, self.layout)
        return self._individual(weights, parents[0].log_sigma), sources

    def _log_sigma(
        self,
        birth: Birth,
        parents: Sequence[Phenotype],
        weights: NDArray[np.int32],
        sources: NDArray[np.uint8] | None,
    ) -> NDArray[np.int16]:
        """The child's step sizes: the one in the birth, or recombined and mutated here."""
        if self._rule is None or self.steps.granularity == "global":
            return np.array([birth.log_sigma], dtype=np.int16)
        if not birth.crossover:
            inherited = [parents[0].log_sigma]
        elif sources is not None and self._inherit == "weights":
            inherited = [self._carried_along(parents, sources)]
        else:
            inherited = [parent.log_sigma for parent in parents]
        return self.steps.clip(self._rule.mutate(inherited, birth.id, self.steps), weights)

    def _carried_along(self, parents: Sequence[Phenotype], sources: NDArray[np.uint8]) -> NDArray[np.int16]:
        """Each step size from the parent that gave the first weight which it serves."""
        # Equal numbers of step sizes and weights do not tell: a matrix of 2 x 2 has two rows and two columns.
        wanted = sources if self.steps.granularity == "parameter" else sources[self.steps.first]
        return picked([parent.log_sigma for parent in parents], wanted)

    def _change(self, gene: Gene) -> NDArray[np.int32]:
        operator = self.mutations[gene.birth.mutation - 1]
        return operator.apply(self._individual(self._nothing, gene.log_sigma), gene.birth, gene.log_sigma, self.steps)


def _step(before: NDArray[np.int32], after: NDArray[np.int32]) -> NDArray[np.int32]:
    """What a birth added to the weights, at most 128 either way: a step from end to end of the range would overflow."""
    wide = after.astype(np.int64) - before
    return np.clip(wide, -(1 << 31), (1 << 31) - 1, out=wide).astype(np.int32)


class GeneCache:
    """Changes of weights by gene, least recently used ones dropped, bounded in bytes; threads may share it.

    Args:
        develop: the (D,) int32 change of a gene.
        capacity: bytes.
    """

    def __init__(self, develop: Callable[[Gene], NDArray[np.int32]], capacity: int) -> None:
        self._develop = develop
        self._known: ByteLimitedCache[tuple[NDArray[np.int32], int]] = ByteLimitedCache(capacity)
        self._lock = threading.Lock()

    def get(self, gene: Gene) -> tuple[NDArray[np.int32], int]:
        """A gene's change, and its largest magnitude."""
        with self._lock:
            found = self._known.get(gene.birth.id)
        if found is not None:
            return found
        change = self._develop(gene)
        peak = reach(change)
        with self._lock:
            self._known.put(gene.birth.id, (change, peak), change.nbytes)
        return change, peak


def recombined(
    parents: Sequence[Phenotype], carried: Chosen, cache: GeneCache, layout: Layout, birth: int
) -> tuple[NDArray[np.int32], dict[int, Gene]]:
    """Weights and genes of a child that carries the given genes of its parents.

    It starts from the parent to which it is nearest.

    Args:
        parents: the parents, with their genes relative to one base.
        carried: ids among the parents' genes.
        cache: changes of genes.
        layout: to name the tensor of a weight that leaves the range.
        birth: the child, for the message.

    Raises:
        LethalMutationError: a weight leaves its range.
    """
    known: dict[int, Gene] = {}
    for parent in parents:
        known.update(parent.genes or {})
    nearest = min(parents, key=lambda parent: len(carried ^ (parent.genes or {}).keys()))
    own = (nearest.genes or {}).keys()
    gained = [cache.get(known[gene]) for gene in sorted(carried - own)]
    lost = [cache.get(known[gene]) for gene in sorted(own - carried)]
    weights = nearest.weights
    most = sum(peak for _, peak in (*gained, *lost))
    if not most or reach(weights) + most < 1 << 31:
        total = weights.copy()  # no sum on the way can overflow
        for change, _ in gained:
            total += change
        for change, _ in lost:
            total -= change
    else:
        total = narrowed(_widely(weights, gained, lost), layout, birth)
    return total, {gene: known[gene] for gene in sorted(carried)}


def _widely(
    weights: NDArray[np.int32],
    gained: Iterable[tuple[NDArray[np.int32], int]],
    lost: Iterable[tuple[NDArray[np.int32], int]],
) -> NDArray[np.int64]:
    """The sum in 64 bits, where 32 might overflow on the way."""
    total = weights.astype(np.int64)
    for change, _ in gained:
        total += change
    for change, _ in lost:
        total -= change
    return total


def fixed(members: Iterable[Phenotype]) -> set[int]:
    """Ids of the genes that all members carry."""
    sets = [(member.genes or {}).keys() for member in members]
    return set.intersection(*map(set, sets)) if sets else set()


def folded(member: Phenotype, common: set[int]) -> Phenotype:
    """The same individual relative to a base that holds the ``common`` genes, which it carries."""
    genes: Mapping[int, Gene] = {gene: what for gene, what in (member.genes or {}).items() if gene not in common}
    return Phenotype(member.weights, member.log_sigma, genes, member.velocity, member.bits)


def develop_all(developer: Developer, births: Sequence[Birth], wanted: Set[int]) -> Iterator[tuple[int, Phenotype]]:
    """Develop births in order, forgetting each individual after its last child.

    Args:
        developer: makes an individual of its birth and its parents.
        births: oldest first; those of all ancestors are among them.
        wanted: ids of the individuals to give.

    Yields:
        (id, individual), oldest first.
    """
    children = Counter(parent for birth in births for parent in birth.parents)
    living: dict[int, Phenotype] = {}
    generation = 0
    for birth in births:
        if developer.genetic and birth.generation > generation:
            # All later individuals descend from the living, so what these all carry need not be listed.
            generation, common = birth.generation, fixed(living.values())
            living = {number: folded(member, common) for number, member in living.items()}
        member = developer.develop(birth, [living[parent] for parent in birth.parents])
        for parent in birth.parents:
            children[parent] -= 1
            if not children[parent]:
                del living[parent]
        if children[birth.id]:
            living[birth.id] = member
        if birth.id in wanted:
            yield birth.id, member
