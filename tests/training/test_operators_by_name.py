"""Operators by name, and what only they themselves can refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galab.config import RunConfig
from galab.config.resolve import decide
from galab.errors import UsageError
from galab.genome.initial import Founders, TensorLaw
from galab.genome.random import table
from galab.genome.step_sizes import snap
from galab.genome.weights import Layout
from galab.operators.step_size import PopulationStepSize
from galab.strategies.build import crossover, developer, mutation, step_size_rule, steps_of

LAYOUT = Layout(("one.weight", "one.bias", "two.weight"), ((2, 3), (2,), (4, 2)))
FOUNDERS = Founders(1, (TensorLaw("w", (4, 5), "uniform", 1.0),), np.empty((1, 0), np.int32))
OWN = """
from galab.operators.crossover import Union
from galab.operators.mutation.dense import Dense

class Law(Union):
    pass

class Jump(Dense):
    context_free = {context_free}
"""


def built(**values: Any) -> Any:
    return developer(decide(RunConfig(seed=1, **values)), FOUNDERS, table("normal"))


def test_factors_are_one_for_each_layer() -> None:
    steps = steps_of(decide(RunConfig(granularity="tensor", sigma_factors="1,0.5")), LAYOUT)
    assert steps.founder(snap(0.25)).tolist() == [-512, -512, -768]
    with pytest.raises(UsageError, match=r"one --sigma-factors for each of 2 layers, got 3; the layers are one, two"):
        steps_of(decide(RunConfig(granularity="tensor", sigma_factors="1,2,3")), LAYOUT)


def test_biases_that_never_move_need_weights_that_do() -> None:
    assert steps_of(decide(RunConfig(mutate_biases="off")), LAYOUT).frozen == {1}
    assert steps_of(decide(RunConfig()), LAYOUT).frozen == set()
    with pytest.raises(UsageError, match="nothing would move; use --mutate-biases on"):
        steps_of(decide(RunConfig(mutate_biases="off")), Layout(("scale",), ((7,),)))


def test_bounds_are_on_the_grid() -> None:
    steps = steps_of(decide(RunConfig(granularity="tensor", sigma=1.0, sigma_floor=0.25, ceiling_rms=0.5)), LAYOUT)
    assert (steps.low, steps.high, steps.relative) == (-512, 768, (None, -256))


def test_operators_get_those_options_that_they_name() -> None:
    config = decide(RunConfig(
        mutate="weights,low-rank,momentum", crossover="none", mutate_count=7, mutate_rank=3, momentum=0.25
    ))  # fmt: skip
    assert mutation("weights", 1, table("normal"), config)._count == 7  # type: ignore[attr-defined]
    assert mutation("low-rank", 1, table("normal"), config)._rank == 3  # type: ignore[attr-defined]
    assert mutation("momentum", 1, table("normal"), config)._share == 16_384  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("values", "control"),
    [({}, False), ({"step_size": "gesmr"}, True), ({"step_size": "schedule", "sigma_schedule": "0:0.5"}, True),
     ({"granularity": "parameter"}, False)],
)  # fmt: skip
def test_a_rule_is_told_from_a_control_by_what_it_can_do(values: dict[str, Any], control: bool) -> None:
    assert isinstance(step_size_rule(decide(RunConfig(**values)), 1), PopulationStepSize) is control


@pytest.mark.parametrize("name", ["shutil:rmtree", "galab.config:RunConfig"])
def test_what_is_no_crossover_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="expected a class with a method combine"):
        crossover(name, 1)


def test_a_gene_law_of_ones_own_needs_clones_and_mutations_that_are_the_same_everywhere(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN.format(context_free=True))
    (tmp_path / "bound.py").write_text(OWN.format(context_free=False))
    law = {"crossover": f"{tmp_path}/own.py:Law"}
    assert built(**law, founders="clones").genetic
    with pytest.raises(UsageError, match="expected --founders clones with the gene law .* name --founders clones"):
        built(**law)
    with pytest.raises(UsageError, match="the same in every individual with the gene law .* use dense"):
        built(**law, founders="clones", mutate=f"{tmp_path}/bound.py:Jump")
    with pytest.raises(UsageError, match="the same in every individual with the gene law --crossover genes-union"):
        built(crossover="genes-union", mutate=f"{tmp_path}/bound.py:Jump")
