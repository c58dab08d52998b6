"""What people with networks and data of their own met: each a right answer, or one sentence."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import galab
from galab.errors import NoViableChildError, UsageError

SMALL = {"parents": 2, "children": 4, "seed": 1}


def filled(value: float, bad: float | None = None) -> nn.Module:
    module = nn.Linear(40, 30)
    with torch.no_grad():
        module.weight.fill_(value)
        if bad is not None:
            module.weight[0, 0] = bad
    return module


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_not_drawn_anew(bad: float) -> None:
    with pytest.raises(UsageError, match=f"parameter 'weight': expected finite weights, got {bad}"):
        galab.Search(filled(7.0, bad), **SMALL)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="expected finite weights, got NaN or infinity"):
        galab.ESOptimizer(filled(7.0, bad))


def test_weights_beyond_the_range_are_told_as_python_writes_it() -> None:
    with pytest.raises(UsageError, match=r"parameter 'weight': expected weights inside \+-128, .* raise weight_range$"):
        galab.Search(filled(500.0), **SMALL)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_layers_without_inputs_have_nothing_to_draw() -> None:
    search = galab.Search(nn.Sequential(nn.Linear(0, 3), nn.Linear(3, 1)), **SMALL)  # type: ignore[arg-type]
    networks = search.ask()
    assert len(networks) == 4
    assert all(bool(network[0].bias.isfinite().all()) for network in networks)
    galab.Search(nn.Sequential(nn.Linear(0, 0), nn.Linear(3, 1)), **SMALL)  # type: ignore[arg-type]


def test_a_module_of_which_nothing_asks_for_a_gradient_is_told_of(caplog: Any) -> None:
    with caplog.at_level(logging.WARNING, "galab"):
        galab.Search(nn.Linear(4, 1), keep_weights=True, **SMALL)  # type: ignore[arg-type]
        assert "requires_grad" not in caplog.text
        galab.Search(nn.Linear(4, 1).requires_grad_(False), keep_weights=True, **SMALL)  # type: ignore[arg-type]
    assert "no parameter of the module has requires_grad, so all of them are evolved" in caplog.text


def test_a_module_without_numbers_is_refused() -> None:
    for make in (lambda: galab.Search(nn.Linear(4, 1, device="meta")),
                 lambda: galab.ESOptimizer(nn.Linear(4, 1, device="meta"))):  # fmt: skip
        with pytest.raises(UsageError, match="expected a module with numbers, got one on the device 'meta'"):
            make()


def test_masked_scores_are_failures() -> None:
    optimizer = galab.ESOptimizer(nn.Linear(4, 1), population_size=4, seed=1)
    optimizer.ask()
    told = optimizer.tell(np.ma.array([1.0, 2.0, 3.0, 1e6], mask=[0, 1, 0, 1]))
    assert (told.failures, told.fitness_best, told.fitness_mean) == (2, 3.0, 2.0)


@pytest.mark.parametrize("told", [[10**400, 1, 2, 3], [1, 2, 3, "4"]])
def test_scores_that_are_no_floats_are_one_sentence(told: list[Any]) -> None:
    search = galab.Search(nn.Linear(4, 1), **SMALL)  # type: ignore[arg-type]
    search.ask()
    with pytest.raises(UsageError, match="expected a number as the fitness of each network"):
        search.tell(told)


def test_sparse_scores_count_as_they_are() -> None:
    search = galab.Search(nn.Linear(4, 1), **SMALL)  # type: ignore[arg-type]
    search.ask()
    search.tell(torch.arange(4.0).to_sparse())


def test_a_search_that_knows_no_checkpoint_speaks_of_none() -> None:
    search = galab.Search(nn.Linear(4, 1), **SMALL)  # type: ignore[arg-type]
    search.ask()
    with pytest.raises(NoViableChildError, match="not one of 4 networks has a finite fitness; .* try a smaller sigma$"):
        search.tell([float("nan")] * 4)
    search.tell([1.0, 2.0, 3.0, 4.0])


def test_children_that_all_leave_the_range_are_no_fault_of_the_fitness() -> None:
    search = galab.Search(filled(127.9), parents=2, children=4, sigma=8.0, keep_weights=True, seed=1)
    assert search.ask() == []
    with pytest.raises(NoViableChildError, match=r"the weights of all 4 children leave \+-128; .* raise weight_range$"):
        search.tell([])


def test_missing_values_and_dates_are_no_inputs() -> None:
    x = np.ma.masked_equal(np.array([[1.0, -9999.0], [2.0, 3.0]] * 20), -9999.0)
    y = np.arange(40.0)
    with pytest.raises(UsageError, match="expected inputs that are numbers, got 20 that are masked; fill them"):
        galab.Regression.split("m", (x, y))
    with pytest.raises(UsageError, match="got 1 that are masked"):
        galab.Regression.split("m", (x.data, np.ma.array(y, mask=[1] + [0] * 39)))
    with pytest.raises(UsageError, match="expected a label for every example, got some that are masked"):
        galab.Classification.split("m", (x.data, np.ma.array([0, 1] * 20, mask=[1] + [0] * 39)))
    dates = np.array(["2020-01-01", "NaT"] * 20, dtype="datetime64[D]")[:, None]
    with pytest.raises(UsageError, match=r"expected inputs that are numbers, got dates or times \(datetime64"):
        galab.Classification.split("m", (dates, [0, 1] * 20))
    assert len(galab.Regression.split("m", (np.ma.array(x.data), y)).train) > 0  # nothing is masked


def test_examples_of_several_shapes_are_one_sentence() -> None:
    class Ragged(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return 20

        def __getitem__(self, place: int) -> Any:
            return torch.zeros(2 + place % 2), place % 2

    with pytest.raises(UsageError, match="expected examples of one shape, got others"):
        galab.Classification.split("m", Ragged())


def test_a_schedule_that_has_ended_is_told_of_once(caplog: Any) -> None:
    optimizer = galab.ESOptimizer(nn.Linear(4, 1), population_size=4, lr_schedule="cosine", generations=2)
    with caplog.at_level(logging.WARNING, "galab"):
        for _ in range(5):
            optimizer.tell([float(one.weight.sum()) for one in optimizer.ask()])
    assert [record.message for record in caplog.records] == [
        "generation 3: the schedule ended with generation 2, as generations=2 said; it stays where it is"
    ]


def test_numbers_of_numpy_and_paths_are_hyperparameters(tmp_path: Any) -> None:
    search = galab.Search(nn.Linear(4, 1), parents=np.int64(2), children=np.int32(4), sigma=np.float32(0.25))
    assert (search.strategy.config.parents, search.strategy.config.sigma) == (2, 0.25)


def test_a_box_that_is_none_has_no_outside() -> None:
    with pytest.raises(UsageError, match="expected bounds with outside='reflect', got none"):
        galab.minimize(lambda point: float(point.sum()), dim=2, outside="reflect")
