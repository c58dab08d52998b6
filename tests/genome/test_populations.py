"""A genome means the same network with any crossover, operators and step sizes, whoever decodes it and however."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import random_populations
from hypothesis import given, settings
from hypothesis import strategies as st
from random_populations import Population, allowed_granularities, digest, digests, random_population

from galab.config.registry import CROSSOVERS
from galab.errors import LethalMutationError
from galab.genome.births import Birth, birth_dtype, to_rows
from galab.genome.develop import Developer, GeneCache, recombined
from galab.genome.domain import REAL
from galab.genome.initial import Founders, TensorLaw
from galab.genome.pedigree import Pedigree
from galab.genome.random import table
from galab.genome.step_sizes import Steps
from galab.genome.weights import Gene, Layout, Phenotype
from galab.operators.crossover import PerParameter
from galab.operators.mutation.dense import Dense
from galab.operators.step_size import Fixed
from galab.saved_runs.verify import develop_all
from galab.storage import pickle_format
from galab.training.checkpoint import members_of, members_to_state

SEEDS = st.integers(0, 2**32)
NAMES = st.sampled_from(CROSSOVERS.names())
LAWS = [name for name in CROSSOVERS.names() if name.startswith("genes-")]
EVERY_KIND = [(name, granularity) for name in CROSSOVERS.names() for granularity in allowed_granularities(name)]


def history(crossover: str, families: list[tuple[int, ...]], generations: list[int]) -> Population:
    """A population with a given family tree, of one founder."""
    population = random_population(3, crossover, "tensor")
    population.births = [
        Birth(number, family, generation, 0, 0, int(len(family) > 1), int(number > 0))
        for number, (family, generation) in enumerate(zip(families, generations, strict=True))
    ]
    return population


def live(population: Population, cache_bytes: int, rng: np.random.Generator) -> dict[int, str]:
    """What a run's decoder says about everybody as they are born: children first, then the parents are pinned."""
    decoder = population.decoder(cache_bytes, gene_bytes=int(rng.integers(0, 600)))
    decoder.pin(population.parents[0])
    found = digests((birth.id, decoder.decode(birth.id)) for birth in population.generation(0))
    for generation, parents in enumerate(population.parents[1:], 1):
        children = [birth.id for birth in population.generation(generation)]
        rng.shuffle(children)
        found |= digests((child, decoder.decode(child)) for child in children)
        decoder.pin(parents)
        found |= digests((parent, decoder.decode(parent)) for parent in parents)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("crossover", "granularity"), EVERY_KIND)
def test_every_kind_of_population_is_the_same_cached_and_cold(crossover, granularity):
    for seed in range(3):
        population = random_population(seed, crossover, granularity)
        expected = digests(population.everybody().items())
        assert len(set(expected.values())) > len(expected) / 2
        assert live(population, 400, np.random.Generator(np.random.Philox(seed))) == expected
        youngest = population.births[-1].id
        assert digest(population.decoder().decode(youngest)) == expected[youngest]


@pytest.mark.slow
@settings(max_examples=60)
@given(seed=SEEDS, crossover=NAMES, data=st.data())
def test_any_order_of_decoding_and_pinning_gives_the_same_bits(seed, crossover, data):
    """Dead relatives are decoded between their descendants, and may even be pinned again."""
    population = random_population(seed, crossover)
    expected = digests(population.everybody().items())
    decoder = population.decoder(data.draw(st.integers(0, 1000)), gene_bytes=data.draw(st.integers(0, 600)))
    ids = st.sampled_from([birth.id for birth in population.births])
    for _ in range(data.draw(st.integers(1, 12))):
        if data.draw(st.booleans()):
            birth = data.draw(ids)
            assert digest(decoder.decode(birth)) == expected[birth]
        else:
            several = data.draw(st.lists(ids, min_size=1, max_size=4))
            decoder.pin(several)
            assert digests((birth, decoder.decode(birth)) for birth in several) == {b: expected[b] for b in several}


@pytest.mark.slow
@pytest.mark.parametrize("crossover", LAWS)
def test_whoever_is_pinned_everybody_is_the_same(crossover):
    """Pinning one individual makes all its genes base; then its dead relatives, and their children, come back."""
    families = [(), (0,), (0,), (1, 2), (3, 1), (4, 3, 1), (5, 2), (6, 4)]
    population = history(crossover, families, [0, 1, 1, 2, 3, 4, 5, 6])
    expected = digests(population.everybody().items())
    rng = np.random.Generator(np.random.Philox(8))
    decoder = population.decoder(10**6, gene_bytes=500)
    for _ in range(300):
        pinned = rng.choice(8, int(rng.integers(1, 4)), replace=False).tolist()
        decoder.pin(pinned)
        assert digests((birth, decoder.decode(birth)) for birth in pinned) == {b: expected[b] for b in pinned}
        for birth in rng.permutation(8)[: int(rng.integers(0, 4))].tolist():
            assert digest(decoder.decode(birth)) == expected[birth]


def test_what_was_decoded_before_the_base_changed_is_not_mixed_with_what_came_after():
    population = history("genes-independent", [(), (0,), (1,), (2,), *[(3, 2)] * 9], [0, 1, 2, 3, *[4] * 9])
    expected = digests(population.everybody().items())
    decoder = population.decoder(10**6)
    decoder.pin([2])
    decoder.decode(3)  # told apart from a base with the genes of 2
    decoder.pin([2, 1])  # a base with the genes of 1 alone
    decoder.pin([3, 2])
    assert digests((birth, decoder.decode(birth)) for birth in range(4, 13)) == {b: expected[b] for b in range(4, 13)}


@pytest.mark.slow
@settings(max_examples=60)
@given(seed=SEEDS, crossover=NAMES)
def test_a_run_and_a_replay_agree(seed, crossover):
    population = random_population(seed, crossover)
    expected = digests(population.everybody().items())
    rng = np.random.Generator(np.random.Philox(seed))
    assert live(population, int(rng.integers(0, 1000)), rng) == expected
    wanted = set(rng.choice(list(expected), 5).tolist()) | {population.births[-1].id}
    lineage = Pedigree(population.births).ancestors(wanted)
    replayed = digests(develop_all(population.developer(), lineage, wanted))
    assert replayed == {birth: expected[birth] for birth in wanted}


@pytest.mark.slow
@settings(max_examples=40)
@given(seed=SEEDS, crossover=NAMES, stop=st.integers(0, 5), cache_bytes=st.integers(0, 400))
def test_a_checkpoint_continues_with_the_same_bits(seed, crossover, stop, cache_bytes, tmp_path_factory):
    """The parents come back as plain data, and nothing of their ancestors is known."""
    population = random_population(seed, crossover)
    expected = digests(population.everybody().items())
    decoder = population.decoder(10**6)
    for parents in population.parents[: stop + 1]:
        decoder.pin(parents)
    living, dtype = population.parents[stop], birth_dtype(4)
    births = {birth.id: birth for birth in population.births}
    file = tmp_path_factory.mktemp("saved") / "state.pkl"
    members = members_to_state([decoder.decode(birth) for birth in living], dtype)
    pickle_format.dump({"strategy": {"births": to_rows((births[birth] for birth in living), dtype)}, **members}, file)
    later = [birth for birth in population.births if birth.generation > stop]
    resumed = population.decoder(cache_bytes)
    resumed._pedigree = Pedigree([births[birth] for birth in living] + later)
    resumed.adopt(dict(zip(living, members_of(pickle_format.load(file), domain=REAL), strict=True)))
    for generation, parents in enumerate(population.parents[stop + 1 :], stop + 1):
        for child in population.generation(generation):
            assert digest(resumed.decode(child.id)) == expected[child.id]
        resumed.pin(parents)


@pytest.mark.slow
@pytest.mark.parametrize("crossover", [*LAWS, "parameter"])
def test_threads_decode_the_same_bits(crossover):
    population = random_population(5, crossover)
    expected = digests(population.everybody().items())
    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            # Room for three genes, so that threads drop each other's.
            decoder = population.decoder(2000, gene_bytes=400)
            ids = list(expected) * 3
            for birth, found in zip(ids, pool.map(decoder.decode, ids), strict=True):
                assert digest(found) == expected[birth]
            genes = decoder.developer._genes
            assert genes._known.nbytes == sum(genes._known.get(gene)[0].nbytes for gene in list(genes._known)) <= 400


@pytest.mark.slow
def test_another_process_decodes_the_same_bits():
    seeds = [str(seed) for seed in range(60)]
    command = [sys.executable, random_populations.__file__, *seeds]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    tips = [random_population(int(seed)) for seed in seeds]
    assert answer.stdout.split() == [digest(each.everybody()[each.births[-1].id]) for each in tips]
    assert {each.crossover for each in tips} == set(CROSSOVERS.names())


@pytest.mark.slow
def test_what_everybody_carries_becomes_base_and_is_counted():
    folded = 0
    for seed in range(12):
        population = random_population(seed, "genes-union")
        decoder = population.decoder(10**6)
        whole = population.everybody()
        for generation, parents in enumerate(population.parents):
            decoder.pin(parents)
            kept = [set(decoder.decode(parent).genes) for parent in parents]
            assert not set.intersection(*kept)
            # Relative to each other nothing has changed.
            assert all(
                kept[i] ^ kept[j] == whole[parents[i]].genes.keys() ^ whole[parents[j]].genes.keys()
                for i in range(len(parents))
                for j in range(generation % 2, len(parents))
            )
        folded += decoder.fixations
    assert folded > 10


@pytest.mark.parametrize(("shape", "first"), [((2, 2), [0, 2, 0, 1]), ((2, 3), [0, 3, 0, 1, 2]), ((3,), [0, 1, 2])])
def test_step_sizes_come_with_the_first_weight_that_they_serve(shape, first):
    """A matrix of 2 x 2 has as many rows and columns as weights, but they are not its weights."""
    founders = Founders(1, (TensorLaw("w", shape, "uniform", 0.1),), np.empty((1, 0), np.int32))
    steps = Steps(founders.layout, "row-column")
    developer = Developer(
        founders, steps, [Dense(1, table("normal"))], crossover=PerParameter(1), rule=Fixed(1), inherit="weights"
    )
    weights, points = [np.zeros(founders.layout.size, np.int32)] * 2, (-1000, -2000)
    parents = [Phenotype(w, np.full(steps.size, k, np.int16)) for w, k in zip(weights, points, strict=True)]
    assert steps.first.tolist() == first
    seen = set()
    for number in range(20):
        birth = Birth(number, (1, 2), 1, 0, 0, 1, 1)
        sources = PerParameter(1).combine(parents, birth, founders.layout).sources
        rows = shape[0]
        found = developer.develop(birth, parents).log_sigma.tolist()
        assert found[:rows] == [points[sources[place]] for place in first[:rows]]
        # Columns are bounded to four octaves around 0.
        assert found[rows:] == [max(points[sources[place]], -1024) for place in first[rows:]]
        seen.add(tuple(found))
    assert len(seen) > 3


def test_a_gene_sum_that_leaves_the_range_on_the_way_is_found_in_wider_numbers():
    """Adding before subtracting would overflow; the sum itself fits or is lethal, and says where."""
    layout, edge = Layout(("calm", "edge"), ((1,), (1,))), 2**31 - 10
    changes = {1: [5, edge], 2: [7, 100], 3: [0, -50]}
    none = np.zeros(1, np.int16)
    genes = {n: Gene(Birth(n, (0,), 1, 0, 0, 0, 1), none) for n in changes}
    cache = GeneCache(lambda gene: np.array(changes[gene.birth.id], dtype=np.int32), 10**6)

    def somebody(*carried):
        total = np.sum([changes[n] for n in carried], axis=0, dtype=np.int32) if carried else np.zeros(2, np.int32)
        return Phenotype(total, none, {n: genes[n] for n in carried})

    parents = [somebody(1), somebody(2, 3)]
    weights, kept = recombined(parents, {1, 3}, cache, layout, 9)
    assert weights.tolist() == [5, edge - 50]
    assert list(kept) == [1, 3]
    assert recombined(parents, {2}, cache, layout, 9)[0].tolist() == [7, 100]
    with pytest.raises(LethalMutationError, match="birth 9 is lethal: a weight of 'edge'"):
        recombined(parents, {1, 2}, cache, layout, 9)


def test_the_cache_of_genes_stays_within_its_bytes():
    developed = []

    def develop(gene):
        developed.append(gene.birth.id)
        return np.full(10, gene.birth.id, np.int32)

    cache = GeneCache(develop, 100)
    genes = [Gene(Birth(n, (0,), 1, 0, 0, 0, 1), np.zeros(1, np.int16)) for n in range(5)]
    for n in (0, 1, 0, 2, 0, 1):
        change, peak = cache.get(genes[n])
        assert change.tolist() == [n] * 10
        assert peak == n
    assert developed == [0, 1, 2, 1]
    assert cache._known.nbytes == 80
