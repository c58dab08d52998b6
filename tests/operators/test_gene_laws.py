"""Gene laws: which of the parents' mutations a child carries, and that its weights are their sum."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galab.config.registry import CROSSOVERS
from galab.genome.births import Birth
from galab.genome.decoder import Decoder
from galab.genome.develop import Developer
from galab.genome.initial import Founders, TensorLaw
from galab.genome.pedigree import Pedigree
from galab.genome.random import Stream, codes, table
from galab.genome.step_sizes import Steps
from galab.genome.weights import Gene, Phenotype
from galab.operators.crossover import Aligned, Independent, Union
from galab.operators.mutation.dense import Dense

BIRTHS = 100_000
LAWS = [name for name in CROSSOVERS.names() if name.startswith("genes-")]
NOTHING = np.zeros(1, dtype=np.int32), np.zeros(1, dtype=np.int16)
FOUNDERS = Founders(5, (TensorLaw("w", (3, 4), "uniform", 0.25),), np.empty((1, 0), np.int32))


def carrier(*genes: tuple[int, int]) -> Phenotype:
    """Somebody with genes (birth, generation)."""
    born = [Birth(birth, (0,), generation, 0, -1445, 0, 1) for birth, generation in genes]
    return Phenotype(*NOTHING, {birth.id: Gene(birth, NOTHING[1]) for birth in born})


def child(number: int) -> Birth:
    return Birth(number, (1, 2), 9, 0, -1445, 1, 1)


def counted(law: str, parents: list[Phenotype], births: int = BIRTHS) -> Counter[frozenset[int]]:
    """How often a child carries which genes."""
    operator = CROSSOVERS.load(law)(2024)
    return Counter(frozenset(operator.carried(parents, child(number))) for number in range(100, 100 + births))


def within(count: int, share: float, births: int = BIRTHS) -> bool:
    """Whether a count is within four standard errors of its expectation; with share 0 or 1 there is no error."""
    return abs(count - share * births) <= 4 * math.sqrt(births * share * (1 - share))


@pytest.mark.slow
@pytest.mark.parametrize("generations", [(3, 3), (3, 4)], ids=["born together", "one generation apart"])
@pytest.mark.parametrize(
    ("law", "both"),
    [("genes-independent", (0.25, 0.25)), ("genes-union", (1.0, 1.0)), ("genes-aligned", (0.0, 0.25))],
)
def test_the_odds_that_a_child_has_both_private_mutations(law, both, generations):
    # The standard error is 0.14 % of the births where the odds are 1/4, so four of them are 0.55 %.
    expected = both[generations[0] != generations[1]]
    found = counted(law, [carrier((10, generations[0])), carrier((11, generations[1]))])
    assert within(found[frozenset((10, 11))], expected)
    if law == "genes-union":
        assert len(found) == 1
        return
    # One alone, the other alone, and neither: the rest is shared evenly.
    alone = 0.5 if expected == 0 else 0.25
    assert within(found[frozenset((10,))], alone)
    assert within(found[frozenset((11,))], alone)
    assert within(found[frozenset()], 0.0 if expected == 0 else 0.25)


@pytest.mark.parametrize("law", LAWS)
def test_shared_mutations_are_always_inherited(law):
    shared = [(4, 1), (6, 2), (7, 3)]
    parents = [carrier(*shared, (10, 3)), carrier(*shared, (11, 3)), carrier(*shared)]
    for found in counted(law, parents, 2000):
        assert {4, 6, 7} <= found <= {4, 6, 7, 10, 11}
    # Two that are the same, or one that is both parents, have a child with all that they have.
    assert counted(law, [carrier(*shared), carrier(*shared)], 50) == {frozenset((4, 6, 7)): 50}


@pytest.mark.slow
def test_of_more_than_two_parents_a_mutation_comes_with_the_share_that_carries_it():
    parents = [carrier((1, 1), (2, 1)), carrier((2, 1)), carrier((2, 1), (3, 2)), carrier()]
    found = counted("genes-independent", parents, 20_000)
    for gene, share in ((1, 1 / 4), (2, 3 / 4), (3, 1 / 4)):
        assert within(sum(count for genes, count in found.items() if gene in genes), share, 20_000)
    assert within(sum(count for genes, count in found.items() if {1, 3} <= genes), 1 / 16, 20_000)


def test_aligned_takes_a_generations_mutations_from_one_of_three_parents():
    parents = [carrier((1, 1), (5, 2)), carrier((2, 1)), carrier((3, 1), (6, 2), (7, 3))]
    found = counted("genes-aligned", parents, 9_000)
    first = Counter(frozenset(genes & {1, 2, 3}) for genes in found.elements())
    assert set(first) == {frozenset((1,)), frozenset((2,)), frozenset((3,))}
    assert all(within(count, 1 / 3, 9_000) for count in first.values())
    second = Counter(frozenset(genes & {5, 6}) for genes in found.elements())
    assert set(second) == {frozenset((5,)), frozenset((6,)), frozenset()}
    # Generations have coins of their own.
    assert within(sum(count for genes, count in found.items() if {3, 6, 7} <= genes), 1 / 27, 9_000)


def test_aligned_keeps_several_mutations_of_one_generation_together():
    # Two of one generation in one parent can only be there after a crossover; their coin is one.
    found = counted("genes-aligned", [carrier((1, 4), (2, 4)), carrier((3, 4))], 2000)
    assert set(found) == {frozenset((1, 2)), frozenset((3,))}


GENES = st.dictionaries(st.integers(0, 30), st.just(0), max_size=12)


@pytest.mark.slow
@given(st.lists(GENES, min_size=2, max_size=4), st.integers(0, 10**6))
def test_the_laws_are_what_their_codes_say(sets, number):
    parents = [carrier(*((gene, gene // 4) for gene in genes)) for genes in sets]
    every, common = set().union(*sets), set(sets[0]).intersection(*sets[1:])
    assert Union(9).carried(parents, child(number)) == every
    private = sorted(every - common)
    drawn = codes(9, number, Stream.MASK, len(private)).tolist()
    ways = len(sets)
    chosen = {
        gene
        for gene, code in zip(private, drawn, strict=True)
        if code * ways // 65_536 < sum(gene in genes for genes in sets)
    }
    assert Independent(9).carried(parents, child(number)) == common | chosen
    generations = sorted({gene // 4 for gene in private})
    source = {
        generation: code * ways // 65_536
        for generation, code in zip(generations, codes(9, number, Stream.MASK, len(generations)).tolist(), strict=True)
    }
    chosen = {gene for gene in private if gene in sets[source[gene // 4]]}
    assert Aligned(9).carried(parents, child(number)) == common | chosen


@pytest.mark.slow
@given(st.lists(GENES, min_size=2, max_size=3), st.sets(st.integers(0, 30)), st.integers(0, 10**6))
def test_what_all_have_in_common_may_be_left_out(sets, base, number):
    """Folding mutations that everybody carries into the base changes nobody's child."""
    for law in LAWS:
        operator = CROSSOVERS.load(law)(9)
        whole = [carrier(*((gene, gene // 4) for gene in genes.keys() | base)) for genes in sets]
        short = [carrier(*((gene, gene // 4) for gene in genes.keys() - base)) for genes in sets]
        assert operator.carried(whole, child(number)) == operator.carried(short, child(number)) | base


@pytest.mark.parametrize("law", LAWS)
def test_a_childs_weights_are_the_base_and_the_sum_of_its_mutations(law):
    births = [Birth(0, (), 0, 0, -700, 0, 0), *(Birth(n, (0,), 1, 0, -700, 0, 1) for n in (1, 2, 3))]
    births += [Birth(n, (1, 2, 3), 2, 0, -700, 1, 1) for n in range(4, 80)]
    crossover = CROSSOVERS.load(law)(5)
    developer = Developer(FOUNDERS, Steps(FOUNDERS.layout), [Dense(5, table("normal"))], crossover=crossover)
    decoder = Decoder(developer, Pedigree(births))
    changes = {n: decoder.decode(n).weights.astype(int) - decoder.decode(0).weights for n in (1, 2, 3)}
    carried = set()
    for birth in births[4:]:
        member = decoder.decode(birth.id)
        own = sum(changes[gene] for gene in member.genes if gene in changes)
        # Its own mutation is that of a child of the founder with the same id.
        alone = developer.develop(birth._replace(parents=(0,), crossover=0), [decoder.decode(0)])
        assert np.array_equal(member.weights, alone.weights + own)
        assert birth.id in member.genes
        carried.add(frozenset(member.genes.keys() - {birth.id}))
    assert len(carried) == (1 if law == "genes-union" else 3 if law == "genes-aligned" else 8)
