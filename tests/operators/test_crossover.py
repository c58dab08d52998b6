"""Every crossover: whose weights a child has, with which odds, and what stays together."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from galab.config.registry import CROSSOVERS
from galab.genome.births import Birth
from galab.genome.weights import Gene, Layout, Phenotype
from galab.operators.crossover import Mean, PerLayer, PerParameter, PerRow

LAYOUT = Layout(
    ("0.weight", "0.bias", "norm.weight", "1.weight", "1.bias", "1.none"),
    ((6, 5), (6,), (4,), (3, 2, 2), (3,), (0, 2)),
)
D = LAYOUT.size
MASKS = {"parameter": PerParameter, "row": PerRow, "layer": PerLayer}
POINT = np.zeros(1, np.int16)


def parents_of(count: int) -> list[Phenotype]:
    rng = np.random.Generator(np.random.Philox(count))
    genes = [{n: Gene(Birth(n, (0,), n, 0, 0, 0, 1), POINT) for n in range(4 * i, 4 * i + 6)} for i in range(count)]
    weights = rng.integers(-(2**31), 2**31, (count, D)).astype(np.int32)
    return [Phenotype(row, POINT, own) for row, own in zip(weights, genes, strict=True)]


def child(number: int) -> Birth:
    return Birth(number, (1, 2), 1, 0, 0, 1, 1)


def all_sources(name: str, ways: int, births: int) -> np.ndarray:
    operator = MASKS[name](7)
    return np.stack([operator.combine(parents_of(ways), child(n), LAYOUT).sources for n in range(births)])


@pytest.mark.parametrize("name", [name for name in CROSSOVERS.names() if name != "none"])
@pytest.mark.parametrize("ways", [2, 3, 5])
def test_every_registered_crossover_keeps_the_contract(name, ways):
    operator, again, other = (CROSSOVERS.load(name)(key) for key in (7, 7, 8))
    parents = parents_of(ways)
    kept = [parent.weights.copy() for parent in parents]
    if operator.genetic:
        everything = set().union(*(parent.genes for parent in parents))
        shared = set.intersection(*(set(parent.genes) for parent in parents))
        chosen = [operator.carried(parents, child(n)) for n in range(30)]
        assert chosen == [again.carried(parents, child(n)) for n in range(30)]
        assert all(shared <= each <= everything for each in chosen)
        assert name == "genes-union" or len({frozenset(each) for each in chosen}) > 3
        return
    for number in range(5):
        weights, sources = operator.combine(parents, child(number), LAYOUT)
        same, same_sources = again.combine(parents, child(number), LAYOUT)
        assert np.array_equal(weights, same)
        assert weights.dtype == np.int32
        assert not any(np.shares_memory(weights, parent.weights) for parent in parents)
        if sources is not None:
            assert sources.dtype == np.uint8
            assert np.array_equal(sources, same_sources)
            assert weights.tolist() == [int(parents[who].weights[i]) for i, who in enumerate(sources.tolist())]
    drawn, others = (
        [each.combine(parents, child(n), LAYOUT).weights.tobytes() for n in range(9)] for each in (operator, other)
    )
    assert (drawn == others) == (name in ("blend", "mean"))
    assert all(np.array_equal(parent.weights, copy) for parent, copy in zip(parents, kept, strict=True))


@pytest.mark.parametrize("ways", [2, 3, 5])
@pytest.mark.parametrize("name", MASKS)
def test_every_parent_has_the_same_odds_everywhere(name, ways):
    births = 1500
    found = all_sources(name, ways, births)
    assert set(np.unique(found)) == set(range(ways))
    for place in (0, 29, 35, 39, 51, D - 1):
        assert stats.chisquare(np.bincount(found[:, place], minlength=ways)).pvalue > 1e-4


def test_every_weight_has_a_coin_of_its_own():
    found = all_sources("parameter", 2, 1500).astype(float)
    correlation = np.corrcoef(found.T) - np.eye(D)
    assert np.abs(correlation).max() < 5 / np.sqrt(1500)


def test_a_neuron_comes_from_one_parent_and_neurons_from_different_ones():
    found = all_sources("row", 2, 1500)
    neurons = [[*range(5 * i, 5 * i + 5), 30 + i] for i in range(6)] + [[36 + i] for i in range(4)]
    neurons += [[*range(40 + 4 * i, 44 + 4 * i), 52 + i] for i in range(3)]
    assert sorted(place for neuron in neurons for place in neuron) == list(range(D))
    for neuron in neurons:
        assert (found[:, neuron] == found[:, neuron[:1]]).all()
    leaders = found[:, [neuron[0] for neuron in neurons]].astype(float)
    correlation = np.corrcoef(leaders.T) - np.eye(len(neurons))
    assert np.abs(correlation).max() < 5 / np.sqrt(1500)


def test_a_layer_comes_from_one_parent_and_layers_from_different_ones():
    found = all_sources("layer", 3, 900)
    layers = [slice(0, 36), slice(36, 40), slice(40, D)]
    for layer in layers:
        assert (found[:, layer] == found[:, layer.start : layer.start + 1]).all()
    combinations = {tuple(row) for row in found[:, [layer.start for layer in layers]].tolist()}
    assert len(combinations) == 27


def test_a_mean_is_rounded_to_the_nearest_and_halves_to_even():
    def mean(*rows):
        parents = [Phenotype(np.array(row, np.int32), POINT) for row in rows]
        layout = Layout(("w",), ((len(rows[0]),),))
        return Mean(1).combine(parents, child(1), layout).weights.tolist()

    assert mean([1, 2, 3, -1, -2, -3], [0, 1, 2, 0, -1, -2]) == [0, 2, 2, 0, -2, -2]
    top, bottom = 2**31 - 1, -(2**31)
    assert mean([top, bottom, top, top - 1], [top, bottom, bottom, top]) == [top, bottom, 0, top - 1]
    assert mean([1, 2, top], [1, 2, top], [0, 3, top]) == [1, 2, top]
    assert mean([5, -7]) == [5, -7]
    many = np.random.Generator(np.random.Philox(1)).integers(bottom, top, (255, 40))
    assert mean(*many.tolist()) == [round(int(column.sum()) / 255) for column in many.T]
