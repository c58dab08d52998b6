"""From means to fitness, by hand."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from galab.config.parsing import BASES, DIRECTIONAL, EPISODIC, INTRINSIC, PER_EXAMPLE, PROMPTED, parse_fitness
from galab.contracts import Examples
from galab.errors import UsageError
from galab.evaluation.dense_evaluator import Measurements
from galab.evaluation.fitness import (
    DETERMINISTIC,
    EXAMPLE_SCORES,
    FITNESS,
    NEEDS,
    class_means,
    deterministic_scores,
    mean_squares,
    means_of,
    repeats,
    require_classes,
)
from galab.genome.weights import Phenotype


def test_every_base_has_a_value_and_a_score_per_example():
    # A task gives its loss as a sum alone, and memories tell of themselves.
    assert tuple(FITNESS) == (*EXAMPLE_SCORES, "loss", *INTRINSIC, *DIRECTIONAL, *EPISODIC, *PROMPTED) == BASES
    assert tuple(EXAMPLE_SCORES) == PER_EXAMPLE
    assert set(NEEDS) == {"cross-entropy", "accuracy", "wrong", "loss", *DIRECTIONAL, *EPISODIC, *PROMPTED}


@pytest.mark.parametrize("examples", [1, 7, 2048, 55_000])
def test_wrong_is_a_whole_number_whatever_the_division_left(examples):
    right = np.arange(examples + 1)
    found = FITNESS["wrong"]({"correct": right / examples}, examples)
    assert found.tolist() == (right - examples).tolist()


def test_larger_is_better():
    means = {"loss": np.array([0.5, 2.0]), "correct": np.array([0.9, 0.1])}
    assert FITNESS["cross-entropy"](means, 10).tolist() == [-0.5, -2.0]
    assert FITNESS["loss"](means, 10).tolist() == [-0.5, -2.0]
    assert FITNESS["accuracy"](means, 10).tolist() == [0.9, 0.1]
    assert FITNESS["wrong"](means, 10).tolist() == [-1, -9]


def test_means_over_examples_join_the_tasks_own():
    rows = {"expected-accuracy": np.array([[0.5, 1.0], [np.nan, np.nan]], dtype=np.float32),
            "accuracy": np.ones((2, 2), dtype=np.float32)}  # fmt: skip
    found = means_of(Measurements({"loss": np.array([1.0, 2.0])}, {}, 4, rows))
    assert list(found) == ["loss", "expected_accuracy"]
    np.testing.assert_array_equal(found["expected_accuracy"], [0.75, np.nan])


@pytest.mark.parametrize(
    ("base", "measured"),
    [("cross-entropy", None), ("wrong+0.5*closeness", None), ("sampled-accuracy", "expected-accuracy"),
     ("expected-accuracy", "expected-accuracy")],
)  # fmt: skip
def test_without_chance_coins_become_probabilities(base, measured):
    found = deterministic_scores(base)
    scores = None if found is None else found(torch.zeros(1, 3, 2), torch.tensor([0, 1, 0]), 0)
    assert (scores is None) == (measured is None)
    if scores is not None:
        assert list(scores) == [measured]
        assert scores[measured].tolist() == [[0.5, 0.5, 0.5]]


@pytest.mark.parametrize("base", BASES)
def test_only_coins_make_a_score_that_does_not_repeat(base):
    # Nor does that of a child's step, which it has taken once.
    assert repeats(parse_fitness(base)) == (base not in ("sampled-accuracy", *DIRECTIONAL))
    assert repeats(parse_fitness(f"wrong,{base}" if base != "wrong" else base)) == (base not in DETERMINISTIC)
    assert repeats(parse_fitness(DETERMINISTIC.get(base, base)))


def test_mean_squares_are_in_weight_units():
    both, step_size = ([2**24, -(2**25)], [-(2**31), 0]), np.zeros(1, np.int16)
    members = [Phenotype(np.array(weights, dtype=np.int32), step_size) for weights in both]
    assert mean_squares(members).tolist() == [2.5, 8192.0]


def test_class_means_are_those_of_each_class_and_zero_of_none():
    scores = np.array([[1, 2, 3, 4], [np.nan, np.nan, np.nan, np.nan]], dtype=np.float32)
    found = class_means(scores, np.array([2, 0, 2, 0]), 4)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[3, 0, 2, 0], [np.nan, 0, np.nan, 0]])


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (torch.linspace(0, 1, 9), "an integer dtype, got float32"),
        (torch.arange(9), "between 0 and 4"),
        (torch.zeros(9, 2, dtype=torch.int64), "shape"),
    ],
)
def test_targets_that_are_no_class_numbers_are_refused(task, targets, said):
    require_classes(task, "--fitness wrong")
    other = copy.copy(task)
    other.validation = Examples(task.validation.inputs, targets)
    with pytest.raises(UsageError, match=f"--fitness expected-accuracy needs class numbers: .*validation.*{said}"):
        require_classes(other, "--fitness expected-accuracy")
