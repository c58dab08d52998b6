"""Every mutation operator: what moves, how far, and whether the change depends on the parent."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from galab.config.registry import MUTATIONS
from galab.config.traits import MEMORY_OPERATORS, depends_on_parent
from galab.errors import LethalMutationError, UsageError
from galab.genome.births import Birth
from galab.genome.domain import domain_of
from galab.genome.random import Stream, codes, table
from galab.genome.step_sizes import GRANULARITIES, Steps, sigma
from galab.genome.weights import Layout, Phenotype, to_float
from galab.operators.mutation.few_weights import FewWeights
from galab.operators.mutation.low_rank import LowRank
from galab.operators.mutation.momentum import Momentum
from galab.operators.mutation.one_layer import Layer
from galab.operators.mutation.one_neuron import Row
from galab.operators.mutation.scaled import Normalised, NormPreserving, Relative

NORMAL = table("normal")
LAYOUT = Layout(("0.weight", "0.bias", "norm.weight", "1.weight", "1.bias"), ((20, 30), (20,), (9,), (4, 5, 2), (4,)))
D = LAYOUT.size
BIASES = [1, 2, 4]
KEY = 3


def parent_of(steps: Steps, seed: int = 0) -> Phenotype:
    rng = np.random.Generator(np.random.Philox(seed))
    weights = rng.integers(-(2**24), 2**24, D).astype(np.int32)
    if steps.layout.domain.genome == "binary":
        weights = np.where(weights > 0, np.int32(2**24), np.int32(-(2**24)))
    return Phenotype(weights, np.zeros(steps.size, np.int16), velocity=(weights // 100).astype(np.int32))


def child(number: int) -> Birth:
    return Birth(number, (0,), 1, 0, 0, 0, 1)


def changes(operator, count: int, steps: Steps, points: np.ndarray | int = -1000, parent=None) -> np.ndarray:
    """(count, D) what some births add."""
    parent = parent_of(steps) if parent is None else parent
    log_sigma = np.full(steps.size, points, dtype=np.int16)
    found = [operator.apply(parent, child(n), log_sigma, steps) for n in range(1, count + 1)]
    return np.stack(found).astype(np.int64) - parent.weights


def tensors(moved: np.ndarray) -> set[int]:
    """Numbers of the tensors in which something moved."""
    ends = np.cumsum(LAYOUT.sizes)
    return {int(place) for place in np.searchsorted(ends, np.flatnonzero(moved), side="right")}


@pytest.mark.parametrize("name", [name for name in MUTATIONS.names() if name not in MEMORY_OPERATORS])
@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("frozen", [(), BIASES], ids=["all", "biases frozen"])
def test_every_registered_operator_keeps_the_contract(name, granularity, frozen):
    if name == "low-rank" and granularity == "parameter":
        pytest.skip("a step size for each weight makes it full-rank")
    layout = replace(LAYOUT, domain=domain_of({"genome": "binary"})) if name == "flip" else LAYOUT
    steps = Steps(layout, granularity, frozen=frozen)
    kind = MUTATIONS.load(name)
    assert list(inspect.signature(kind).parameters)[:2] == ["run_key", "law"]
    rng = np.random.Generator(np.random.Philox(1))
    log_sigma = steps.clip(rng.integers(-1500, -900, steps.size).astype(np.int32))
    parent, other = parent_of(steps, 1), parent_of(steps, 2)
    if name == "flip":  # of which every bit goes the other way
        other = replace(other, weights=-parent.weights)
    before = parent.weights.copy(), log_sigma.copy()
    operator = kind(KEY, NORMAL)
    first = operator.apply(parent, child(7), log_sigma, steps)
    kept = first.copy()
    # The same again, from another object and after other work; the answer is nobody else's memory.
    again = kind(KEY, NORMAL)
    different = again.apply(parent, child(8), log_sigma, steps)
    assert np.array_equal(again.apply(parent, child(7), log_sigma, steps), first)
    assert np.array_equal(first, kept)
    assert np.array_equal(parent.weights, before[0])
    assert np.array_equal(log_sigma, before[1])
    assert first.dtype == np.int32
    assert first.shape == (D,)
    assert not np.shares_memory(first, parent.weights)
    assert not np.array_equal(first, different)
    assert not np.array_equal(first, kind(KEY + 1, NORMAL).apply(parent, child(7), log_sigma, steps))
    # Context-free means that what it adds is the same for everybody.
    change = first.astype(int) - parent.weights
    alike = np.array_equal(change, operator.apply(other, child(7), log_sigma, steps).astype(int) - other.weights)
    assert alike == operator.context_free
    if frozen:
        for tensor in frozen:
            part = slice(LAYOUT.starts[tensor], LAYOUT.starts[tensor] + LAYOUT.sizes[tensor])
            # Momentum alone goes on in the direction of a step that was taken before.
            assert name == "momentum" or not change[part].any()
    assert change.any()


@pytest.mark.parametrize("name", [name for name in MUTATIONS.names() if not depends_on_parent(name)])
def test_a_weight_that_leaves_the_range_is_lethal_and_named(name):
    steps = Steps(LAYOUT)
    weights = np.zeros(D, np.int32)
    weights[LAYOUT.starts[3] :] = 2**31 - 1
    operator = MUTATIONS.load(name)(KEY, table("sign"))
    deaths = set()
    for number in range(60):
        try:
            operator.apply(Phenotype(weights, np.zeros(1, np.int16)), child(number), np.array([256], np.int16), steps)
        except LethalMutationError as error:
            deaths.add(error.parameter)
    assert deaths <= {"1.weight", "1.bias"}
    assert deaths


def test_a_low_rank_step_that_is_too_large_names_its_own_tensor():
    # Every factor is +-1, so every step is 2^8 where one that fits is below 2^7.
    steps = Steps(LAYOUT, "tensor")
    for tensor, name in enumerate(LAYOUT.names):
        log_sigma = np.full(5, -2000, np.int16)
        log_sigma[tensor] = 2048
        with pytest.raises(LethalMutationError) as caught:
            LowRank(KEY, table("sign"), 2).apply(parent_of(steps), child(1), log_sigma, steps)
        assert caught.value.parameter == name


def test_low_rank_terms_that_fit_alone_and_not_together_are_lethal():
    steps = Steps(Layout(("w",), ((1, 1),)))
    parent = Phenotype(np.zeros(1, np.int32), np.zeros(1, np.int16))
    outcomes = set()
    for number in range(20):
        signs = np.sign(table("sign").quantiles[codes(KEY, number, Stream.WEIGHTS, 8)]).reshape(2, 4)
        total = int((signs[0] * signs[1]).sum())
        try:
            # Four terms of +-64: from -256 to 256.
            found = LowRank(KEY, table("sign"), 4).apply(parent, child(number), np.array([1792], np.int16), steps)
            assert found.tolist() == [total * 2**30]
            outcomes.add(True)
        except LethalMutationError:
            assert abs(total) >= 2
            outcomes.add(False)
    assert outcomes == {True, False}


def test_layer_moves_a_matrix_and_its_bias_and_all_layers_alike():
    moved = [frozenset(tensors(row)) for row in changes(Layer(KEY, NORMAL), 600, Steps(LAYOUT))]
    groups = [frozenset((0, 1)), frozenset((2,)), frozenset((3, 4))]
    assert set(moved) == set(groups)
    assert stats.chisquare([moved.count(group) for group in groups]).pvalue > 1e-3
    frozen = {frozenset(tensors(row)) for row in changes(Layer(KEY, NORMAL), 100, Steps(LAYOUT, frozen=BIASES))}
    assert frozen == {frozenset((0,)), frozenset((3,))}


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [(), BIASES], ids=["all", "biases frozen"])
def test_row_moves_one_neuron_and_all_neurons_alike(frozen):
    counts: dict[tuple[int, ...], int] = {}
    births = 3000
    for row in changes(Row(KEY, NORMAL), births, Steps(LAYOUT, frozen=frozen)):
        places = tuple(np.flatnonzero(row).tolist())
        counts[places] = counts.get(places, 0) + 1
    # Neurons whose only weights are frozen are no choice.
    expected = [tuple(range(30 * i, 30 * i + 30)) + (() if frozen else (600 + i,)) for i in range(20)]
    expected += [] if frozen else [(620 + i,) for i in range(9)]
    expected += [tuple(range(629 + 10 * i, 639 + 10 * i)) + (() if frozen else (669 + i,)) for i in range(4)]
    assert set(counts) == set(expected)
    assert stats.chisquare([counts[places] for places in expected]).pvalue > 1e-3


@pytest.mark.parametrize("count", [1, 5, 300])
@pytest.mark.parametrize("frozen", [(), BIASES], ids=["all", "biases frozen"])
def test_exactly_so_many_weights_move_and_all_alike(count, frozen):
    found = changes(FewWeights(KEY, NORMAL, count), 400, Steps(LAYOUT, frozen=frozen), points=0)
    moved = found != 0
    assert set(moved.sum(axis=1).tolist()) == {count}
    free = ~np.isin(np.repeat(np.arange(5), LAYOUT.sizes), frozen)
    assert not moved[:, ~free].any()
    hits = moved[:, free].sum(axis=0)
    # Drawn without replacement, so a weight's count varies a little less than a Poisson number.
    assert hits.var() == pytest.approx(hits.mean() * (1 - count / free.sum()), rel=0.35)
    # The moves are the law's, whatever their place.
    size = found[moved] / 2**24
    assert abs(size.std() - 1) < 5 * np.sqrt(2 / size.size) / 2
    assert abs(size.mean()) < 5 / np.sqrt(size.size)


def test_more_weights_than_there_are_cannot_move():
    steps = Steps(LAYOUT, frozen=BIASES)
    assert (changes(FewWeights(KEY, NORMAL, 640), 1, steps) != 0).sum() == 640
    with pytest.raises(UsageError, match="expected --mutate-count at most 640, .* got 641; lower it"):
        changes(FewWeights(KEY, NORMAL, 641), 1, steps)


@pytest.mark.parametrize("rank", [1, 2, 6])
def test_low_rank_changes_have_their_rank_and_the_step_size_as_spread(rank):
    found = changes(LowRank(KEY, NORMAL, rank), 200, Steps(LAYOUT), points=0) / 2**24
    matrices = found[:, :600].reshape(-1, 20, 30)
    assert set(np.linalg.matrix_rank(matrices, tol=1e-4).tolist()) == {rank}
    assert np.sqrt(np.mean(matrices**2)) == pytest.approx(1, rel=0.04)
    assert np.sqrt(np.mean(found[:, 600:629] ** 2)) == pytest.approx(1, rel=0.05)
    # Row and column step sizes keep it low-rank.
    steps = Steps(LAYOUT, "row-column")
    points = np.random.Generator(np.random.Philox(6)).integers(-600, 0, steps.size)
    scaled = changes(LowRank(KEY, NORMAL, rank), 5, steps, points=points) / 2**24
    assert set(np.linalg.matrix_rank(scaled[:, :600].reshape(-1, 20, 30), tol=1e-4).tolist()) == {rank}


@pytest.mark.parametrize("law", ["normal", "laplace", "uniform", "cauchy"])
def test_normalised_steps_are_all_equally_long(law):
    found = changes(Normalised(KEY, table(law)), 50, Steps(LAYOUT), points=-256) / 2**24
    for start, size in zip(LAYOUT.starts, LAYOUT.sizes, strict=True):
        lengths = np.sqrt(np.mean(found[:, start : start + size] ** 2, axis=1))
        np.testing.assert_allclose(lengths, 0.5, rtol=1e-3)


def test_relative_steps_are_a_share_of_the_tensors_rms():
    steps = Steps(LAYOUT)
    weights = np.repeat(np.array([2**24, 2**20, 2**22, 0, 3], dtype=np.int32), LAYOUT.sizes)
    parent = Phenotype(weights, np.zeros(1, np.int16))
    found = changes(Relative(KEY, NORMAL), 300, steps, points=-512, parent=parent) / 2**24
    # Tensors of zeros, or nearly, move as if their weights were of size 1/1024.
    for tensor, rms in enumerate([1, 1 / 16, 1 / 4, 2**-10, 2**-10]):
        part = found[:, LAYOUT.starts[tensor] : LAYOUT.starts[tensor] + LAYOUT.sizes[tensor]]
        assert np.sqrt(np.mean(part**2)) == pytest.approx(rms / 4, rel=0.08)


def test_norm_preserving_children_have_their_parents_norms():
    steps = Steps(LAYOUT)
    parent = parent_of(steps)
    operator = NormPreserving(KEY, NORMAL)
    for number in range(1, 30):
        weights = operator.apply(parent, child(number), np.array([0], np.int16), steps)
        assert not np.array_equal(weights, parent.weights)
        for start, size in zip(LAYOUT.starts, LAYOUT.sizes, strict=True):
            norms = [np.linalg.norm(to_float(each[start : start + size])) for each in (weights, parent.weights)]
            assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    # A tensor of zeros has no norm to keep, and may leave it.
    zeros = Phenotype(np.zeros(D, np.int32), np.zeros(1, np.int16))
    assert changes(operator, 1, steps, parent=zeros).any()


def test_momentum_steps_grow_to_a_limit_along_a_line():
    """With beta = 1/2 and independent noise the variance of a step is sigma^2 / (1 - beta^2)."""
    steps, operator = Steps(LAYOUT), Momentum(KEY, NORMAL, 0.5)
    member, lengths = Phenotype(np.zeros(D, np.int32), np.zeros(1, np.int16)), []
    for number in range(60):
        weights = operator.apply(member, child(number), np.array([-1024], np.int16), steps)
        member = Phenotype(weights, member.log_sigma, velocity=weights - member.weights)
        lengths.append(float(np.mean((member.velocity / 2**24) ** 2)))
    assert np.mean(lengths[10:]) == pytest.approx(float(sigma(-1024)) ** 2 / 0.75, rel=0.04)
    assert lengths[0] == pytest.approx(float(sigma(-1024)) ** 2, rel=0.15)
