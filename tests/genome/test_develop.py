"""One birth against plain Python: crossover, step sizes that come with weights, and mutation."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import plain_oracle as plain
import pytest
from random_populations import LAWS

from galab.config.registry import CROSSOVERS
from galab.genome.births import Birth
from galab.genome.develop import Developer
from galab.genome.initial import Founders
from galab.genome.random import table
from galab.genome.step_sizes import GRANULARITIES, Steps
from galab.genome.weights import Gene, Phenotype
from galab.operators.mutation.dense import Dense
from galab.operators.mutation.low_rank import LowRank
from galab.operators.mutation.momentum import Momentum
from galab.operators.step_size import Fixed, MeanReverting

KEY = 77
FOUNDERS = Founders(KEY, LAWS, np.arange(5, dtype=np.int32)[None] * 2**20)
LAYOUT = FOUNDERS.layout
NORMAL = table("normal")


def parents_of(steps: Steps, count: int, seed: int = 0) -> list[Phenotype]:
    rng = np.random.Generator(np.random.Philox(seed))
    return [
        Phenotype(
            rng.integers(-(2**27), 2**27, LAYOUT.size).astype(np.int32),
            rng.integers(-1000, 200, steps.size).astype(np.int16),
        )
        for _ in range(count)
    ]


def child(number: int, count: int, log_sigma: int = 0) -> Birth:
    return Birth(number, tuple(range(count)), 1, 0, log_sigma, int(count > 1), 1)


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("ways", [2, 3, 4])
@pytest.mark.parametrize("name", ["parameter", "row", "layer", "mean", "blend"])
def test_a_child_of_several_is_what_plain_arithmetic_says(name, ways, granularity):
    steps = Steps(LAYOUT, granularity)
    parents = parents_of(steps, ways)
    developer = Developer(
        FOUNDERS, steps, [Dense(KEY, NORMAL)], crossover=CROSSOVERS.load(name)(KEY), rule=Fixed(KEY), inherit="weights"
    )
    for number in (5, 6):
        found = developer.develop(child(number, ways, -1445), parents)
        if name in ("mean", "blend"):
            weights = [plain.mean([int(each.weights[i]) for each in parents]) for i in range(LAYOUT.size)]
            points = [plain.mean([int(each.log_sigma[i]) for each in parents]) for i in range(steps.size)]
        else:
            source = plain.sources(name, KEY, number, ways, LAYOUT)
            weights = [int(parents[who].weights[i]) for i, who in enumerate(source)]
            points = [int(parents[source[first]].log_sigma[i]) for i, first in enumerate(steps.first.tolist())]
        if granularity == "global":
            points = [-1445]
        assert found.log_sigma.dtype == np.int16
        # The mean of four parents is rounded to 1/256 of a grid point on the way.
        assert np.abs(found.log_sigma - points).max() <= (name in ("mean", "blend") and ways > 2)
        change = plain.dense(granularity, LAYOUT, found.log_sigma.tolist(), KEY, number)
        assert found.weights.tolist() == [weight + step for weight, step in zip(weights, change, strict=True)]


@pytest.mark.parametrize("granularity", GRANULARITIES[1:])
def test_step_sizes_may_be_the_mean_of_the_parents_where_weights_are_not(granularity):
    steps = Steps(LAYOUT, granularity)
    parents = parents_of(steps, 2)
    crossover, rule = CROSSOVERS.load("row")(KEY), MeanReverting(KEY)
    developer = Developer(FOUNDERS, steps, [Dense(KEY, NORMAL)], crossover=crossover, rule=rule, inherit="mean")
    found = developer.develop(child(9, 2), parents).log_sigma
    assert np.array_equal(found, steps.clip(rule.mutate([each.log_sigma for each in parents], 9, steps)))


@pytest.mark.parametrize("granularity", ["global", "tensor", "row-column"])
@pytest.mark.parametrize("rank", [1, 3])
def test_a_low_rank_child_is_what_plain_arithmetic_says(granularity, rank):
    steps = Steps(LAYOUT, granularity)
    (parent,) = parents_of(steps, 1)
    developer = Developer(FOUNDERS, steps, [LowRank(KEY, NORMAL, rank)], rule=Fixed(KEY))
    found = developer.develop(child(5, 1, -700), [parent])
    change = plain.low_rank(granularity, LAYOUT, found.log_sigma.tolist(), KEY, 5, rank)
    assert (found.weights.astype(int) - parent.weights).tolist() == change


@pytest.mark.parametrize("ways", [2, 4])
def test_a_union_is_the_base_and_every_parents_mutations(ways):
    steps = Steps(LAYOUT, "tensor")
    developer = Developer(
        FOUNDERS, steps, [Dense(KEY, NORMAL)], crossover=CROSSOVERS.load("genes-union")(KEY), rule=Fixed(KEY)
    )
    base = FOUNDERS.decode(Birth(0, (), 0, 0, 0, 0, 0))
    points = np.array([-500, -600, -700, -300, 0, -900], dtype=np.int16)
    genes = {n: Gene(Birth(n, (0,), 1, 0, 0, 0, 1), points) for n in range(10, 20)}
    change = {n: plain.dense("tensor", LAYOUT, points.tolist(), KEY, n) for n in (*genes, 50)}
    carried = [{10, 11, 12}, {12, 13}, {14, 10}, {15}][:ways]
    parents = [
        Phenotype(
            (base + np.sum([change[n] for n in own], axis=0)).astype(np.int32), points, {n: genes[n] for n in own}
        )
        for own in carried
    ]
    found = developer.develop(child(50, ways), parents)
    expected = [
        int(weight) + sum(change[n][i] for n in {50}.union(*carried)) for i, weight in enumerate(base.tolist())
    ]
    assert found.weights.tolist() == expected
    assert set(found.genes) == {50}.union(*carried)


def test_momentum_repeats_a_share_of_the_parents_step_and_nobody_elses():
    steps = Steps(LAYOUT)
    developer = Developer(FOUNDERS, steps, [Momentum(KEY, NORMAL, 0.25), Dense(KEY, NORMAL)])
    (parent,) = parents_of(steps, 1)
    first = developer.develop(child(1, 1, -1000), [parent])
    one = plain.dense("global", LAYOUT, [-1000], KEY, 1)
    assert first.velocity.tolist() == (first.weights.astype(int) - parent.weights).tolist() == one
    second = developer.develop(child(2, 1, -1000), [first])
    two = plain.dense("global", LAYOUT, [-1000], KEY, 2)
    again = [(Fraction(value, 4) + Fraction(1, 2)).__floor__() for value in one]
    assert second.velocity.tolist() == [a + b for a, b in zip(again, two, strict=True)]
    # A dense birth has no step to repeat.
    third = developer.develop(child(3, 1, -1000)._replace(mutation=2), [second])
    assert third.velocity is None
    fourth = developer.develop(child(4, 1, -1000), [third])
    assert fourth.velocity.tolist() == plain.dense("global", LAYOUT, [-1000], KEY, 4)


def test_a_step_from_end_to_end_of_the_range_is_remembered_as_the_longest():
    class Jump:
        context_free, remembers = False, True

        def apply(self, parent, birth, log_sigma, steps):
            return -parent.weights

    parent = Phenotype(np.full(LAYOUT.size, 2**31 - 1, np.int32), np.zeros(1, np.int16))
    found = Developer(FOUNDERS, Steps(LAYOUT), [Jump()]).develop(child(1, 1), [parent])
    assert set(found.velocity.tolist()) == {-(2**31)}


def test_founders_and_their_clones():
    steps = Steps(LAYOUT, "tensor", factors=[-256, 0, 10, 0, 0, 256])
    developer = Developer(FOUNDERS, steps, [Dense(KEY, NORMAL)], rule=Fixed(KEY))
    founder = developer.develop(Birth(0, (), 0, 0, -1445, 0, 0), [])
    assert np.array_equal(founder.weights, FOUNDERS.decode(Birth(0, (), 0, 0, 0, 0, 0)))
    assert founder.log_sigma.tolist() == [-1701, -1445, -1435, -1445, -1445, -1189]
    assert developer.develop(Birth(1, (0,), 0, 0, -1445, 0, 0), [founder]) is founder
