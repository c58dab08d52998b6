"""The decoder: one mutation per child, a cache within its bytes, and any length of lineage."""

from __future__ import annotations

import itertools
import weakref

import numpy as np
import pytest

from galab.errors import LethalMutationError
from galab.genome.births import Birth
from galab.genome.decoder import Decoder
from galab.genome.develop import Developer
from galab.genome.initial import GIVEN, Founders, TensorLaw
from galab.genome.pedigree import Pedigree
from galab.genome.random import table
from galab.genome.step_sizes import Steps
from galab.genome.weights import Phenotype, add
from galab.operators.mutation.dense import Dense

FOUNDERS = Founders(9, (TensorLaw("w", (5, 8), "uniform", 0.25),), np.empty((1, 0), np.int32))
STEPS = Steps(FOUNDERS.layout)
#: Forty weights, and one step size.
NBYTES = 162


class CountingDense(Dense):
    """Remembers for whom it was called."""

    def __init__(self) -> None:
        super().__init__(9, table("normal"))
        self.calls: list[int] = []

    def apply(self, parent, birth, log_sigma, steps):
        self.calls.append(birth.id)
        return super().apply(parent, birth, log_sigma, steps)


def chain(length: int) -> list[Birth]:
    return [Birth(number, (number - 1,) if number else (), number, 0, -2560, 0, 1) for number in range(length)]


def decoder_of(births: list[Birth], cache_bytes: int = 2**20) -> tuple[Decoder, CountingDense]:
    mutation = CountingDense()
    return Decoder(Developer(FOUNDERS, STEPS, [mutation]), Pedigree(births), cache_bytes=cache_bytes), mutation


def plain_decoder_of(births: list[Birth]) -> Decoder:
    return Decoder(Developer(FOUNDERS, STEPS, [Dense(9, table("normal"))]), Pedigree(births))


def child_of(dense: Dense, weights: np.ndarray, birth: Birth, steps: Steps) -> np.ndarray:
    log_sigma = np.array([birth.log_sigma], dtype=np.int16)
    return dense.apply(Phenotype(weights, log_sigma), birth, log_sigma, steps)


def test_a_child_costs_one_mutation_whatever_its_generation():
    decoder, mutation = decoder_of(chain(500))
    decoder.decode(498)
    mutation.calls.clear()
    decoder.decode(499)
    assert mutation.calls == [499]
    decoder.decode(499)
    assert mutation.calls == [499]


def test_children_of_pinned_parents_cost_one_mutation_without_any_cache():
    births = chain(50) + [Birth(50 + child, (49,), 50, 0, -2560, 0, 1) for child in range(10)]
    decoder, mutation = decoder_of(births, cache_bytes=0)
    decoder.pin([49])
    mutation.calls.clear()
    for child in range(50, 60):
        decoder.decode(child)
    assert mutation.calls == list(range(50, 60))
    assert decoder.hits == 10


def test_hits_and_misses_are_counted():
    decoder, _ = decoder_of(chain(4))
    decoder.decode(2)
    assert (decoder.hits, decoder.misses) == (0, 2)
    decoder.decode(3)
    assert (decoder.hits, decoder.misses) == (1, 2)


def test_the_cache_stays_within_its_bytes_and_forgets_the_least_recently_used():
    decoder, mutation = decoder_of([Birth(number, (), 0, 0, 0, 0, 0) for number in range(10)], 3 * NBYTES)
    for birth in (0, 1, 2, 0, 3):
        decoder.decode(birth)
    assert list(decoder._cache._recent) == [2, 0, 3]
    assert decoder._cache._recent.nbytes == 3 * NBYTES
    for birth in range(10):
        decoder.decode(birth)
        assert decoder._cache._recent.nbytes == NBYTES * len(list(decoder._cache._recent)) <= 3 * NBYTES
    assert not mutation.calls


def test_what_is_discarded_is_decoded_again_unless_it_is_pinned():
    decoder, mutation = decoder_of(chain(4))
    decoder.pin([1])
    first = decoder.decode(2)
    mutation.calls.clear()
    decoder.discard([1, 2, 3])
    np.testing.assert_array_equal(decoder.decode(2).weights, first.weights)
    assert mutation.calls == [2]


def test_pinned_individuals_stay_and_released_ones_count_again():
    decoder, _ = decoder_of([Birth(number, (), 0, 0, 0, 0, 0) for number in range(20)], 2 * NBYTES)
    decoder.pin([0, 1, 2, 3])
    pinned = [decoder.decode(birth) for birth in range(4)]
    for birth in range(4, 20):
        decoder.decode(birth)
    assert all(decoder.decode(birth) is kept for birth, kept in enumerate(pinned))
    assert decoder._cache._recent.nbytes <= 2 * NBYTES
    decoder.pin([3, 15])
    assert decoder.decode(3) is pinned[3]
    assert set(decoder._cache._pinned) == {3, 15}
    assert not set(decoder._cache._recent) & {3, 15}
    assert decoder._cache._recent.nbytes == NBYTES * len(list(decoder._cache._recent)) <= 2 * NBYTES


@pytest.mark.slow
def test_a_lineage_of_twenty_thousand_births_decodes_cold():
    births = chain(20_000)
    decoder, mutation = decoder_of(births, cache_bytes=0)
    tip = decoder.decode(19_999)
    assert mutation.calls == list(range(1, 20_000))
    weights = FOUNDERS.decode(births[0])
    dense = Dense(9, table("normal"))
    for birth in births[1:]:
        weights = child_of(dense, weights, birth, STEPS)
    assert np.array_equal(tip.weights, weights)


def test_a_cold_rebuild_holds_one_ancestor_at_a_time():
    made: list[weakref.ref] = []
    alive = []

    class Watching(CountingDense):
        def apply(self, parent, birth, log_sigma, steps):
            child = super().apply(parent, birth, log_sigma, steps)
            made.append(weakref.ref(child))
            alive.append(sum(ref() is not None for ref in made))
            return child

    decoder = Decoder(Developer(FOUNDERS, STEPS, [Watching()]), Pedigree(chain(200)), cache_bytes=0)
    decoder.decode(199)
    assert len(made) == 199
    assert max(alive) <= 2
    assert decoder._cache._recent.nbytes == 0


def test_inbreeding_does_not_multiply_the_work():
    # Every generation has two individuals, each the child of one or of both before: 2^n paths lead to the founders.
    births = [Birth(0, (), 0, 0, 0, 0, 0), Birth(1, (), 0, 0, 0, 0, 0)]
    for first in range(2, 80, 2):
        births.append(Birth(first, (first - 2, first - 1), first // 2, 0, -2560, 0, 1))
        births.append(Birth(first + 1, (first - 2,) if first % 4 else (first - 1, first - 2), first // 2, 0, 0, 0, 1))
    decoder, mutation = decoder_of(births, cache_bytes=0)
    decoder.decode(78)
    assert len(mutation.calls) == len(set(mutation.calls)) <= 78


def test_an_individual_may_be_both_of_a_childs_parents():
    decoder, _ = decoder_of([*chain(2), Birth(2, (1, 1), 2, 0, -2560, 0, 1)], cache_bytes=0)
    assert decoder.decode(2).weights.shape == (40,)


def test_decoding_never_writes_to_what_it_gave_before():
    births = chain(30) + [Birth(30 + child, (child,), 40, 0, -1000, 0, 1) for child in range(30)]
    decoder, _ = decoder_of(births)
    given = [decoder.decode(birth.id).weights for birth in births]
    kept = [weights.copy() for weights in given]
    for birth in births:
        decoder.developer.develop(birth, [decoder.decode(parent) for parent in birth.parents])
    assert all(np.array_equal(first, second) for first, second in zip(given, kept, strict=True))
    assert not any(np.shares_memory(first, second) for first, second in itertools.pairwise(given))


def test_a_lethal_birth_names_its_parameter_every_time_and_so_do_its_children():
    laws = (TensorLaw("calm", (3,), "uniform", 0.1), TensorLaw("edge", (2,), GIVEN))
    founders = Founders(1, laws, np.array([[2**31 - 1, 2**31 - 1]], dtype=np.int32))
    dense = Dense(1, table("sign"))
    # A child whose noise moves a weight of 'edge' upward.
    lethal = next(number for number in range(1, 50) if dies(dense, founders, number))
    child, grandchild = Birth(lethal, (0,), 1, 0, 0, 0, 1), Birth(lethal + 1, (lethal,), 2, 0, 0, 0, 1)
    births = [Birth(0, (), 0, 0, 0, 0, 0), child, grandchild]
    decoder = Decoder(Developer(founders, Steps(founders.layout), [dense]), Pedigree(births))
    for birth in (lethal, lethal, lethal + 1):
        with pytest.raises(LethalMutationError, match=f"birth {lethal} is lethal: a weight of 'edge'") as caught:
            decoder.decode(birth)
        assert caught.value.parameter == "edge"


def dies(dense: Dense, founders: Founders, number: int) -> bool:
    founder = founders.decode(Birth(0, (), 0, 0, 0, 0, 0))
    try:
        child_of(dense, founder, Birth(number, (0,), 1, 0, 0, 0, 1), Steps(founders.layout))
    except LethalMutationError:
        return True
    return False


def test_the_order_in_which_mutations_are_added_does_not_matter():
    births = chain(100)
    decoder, _ = decoder_of(births)
    founder, layout, dense = decoder.decode(0).weights, FOUNDERS.layout, Dense(9, table("normal"))
    zero = np.zeros(40, dtype=np.int32)
    weights = founder
    for number in np.random.Generator(np.random.Philox(4)).permutation(np.arange(1, 100)).tolist():
        weights = add(weights, child_of(dense, zero, births[number], STEPS), layout, number)
    assert np.array_equal(decoder.decode(99).weights, weights)


def test_a_cohort_decodes_to_what_each_decodes_to_alone_and_counts_alike():
    births = [*chain(1), *(Birth(number, (0,), 1, 0, -2560 + number, 0, 1) for number in range(1, 9))]
    births += [Birth(9, (3,), 2, 0, -2560, 0, 1), Birth(10, (0,), 1, 0, -2560, 0, 0)]
    alone, together = decoder_of(births)[0], plain_decoder_of(births)
    for decoder in (alone, together):
        decoder.pin([0])
    ids = [5, 0, *range(1, 5), 9, 10, 6, 7, 8]
    expected = [alone.decode(birth) for birth in ids]
    found = together.decode_all(ids)
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one.weights, other.weights)
        assert one.log_sigma == other.log_sigma
    assert (together.hits, together.misses) == (alone.hits, alone.misses)
    assert all(one.weights.base is None for one in found if one.log_sigma != -2560)


def test_a_lethal_member_of_a_cohort_leaves_the_others_alive():
    deadly = 256 * 7  # steps of 128 and more
    births = [*chain(1), *(Birth(number, (0,), 1, 0, deadly if number == 2 else -2560, 0, 1) for number in range(1, 5))]
    decoder = plain_decoder_of(births)
    decoder.pin([0])
    found = decoder.decode_all([1, 2, 3, 4])
    assert [isinstance(one, LethalMutationError) for one in found] == [False, True, False, False]
    alone = plain_decoder_of(births)
    assert all(np.array_equal(found[at].weights, alone.decode(at + 1).weights) for at in (0, 2, 3))
