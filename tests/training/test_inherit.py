"""What a flag takes back of another run's configuration, and what a new run starts with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab_outcome import newest_state

from galab.config import RunConfig
from galab.config.resolve import decide
from galab.config.run_config import carried_over, is_chosen
from galab.errors import UsageError
from galab.genome.step_sizes import Steps, mean_log_sigma, reached_log_sigma, root_mean_square, sigma, snap
from galab.genome.weights import Layout
from galab.training.compose import compose
from galab.training.resolve import resolve
from galab.training.start_or_resume import resume, start

LAYOUT = Layout(("one.weight", "one.bias", "two.weight"), ((2, 3), (2,), (4, 2)))


def saved(**values: Any) -> dict[str, Any]:
    """What a run with these flags has in its checkpoint."""
    return resolve(RunConfig(seed=1, device="cpu", **values)).to_dict()


@pytest.mark.parametrize(
    ("run", "flags", "then"),
    [
        ({}, {"granularity": "parameter"}, {"step_size": None}),
        ({"step_size": "three-point"}, {"granularity": "parameter"}, {"step_size": "three-point"}),
        ({"step_size": "gesmr"}, {"granularity": "parameter"}, {"step_size": None}),
        ({"granularity": "parameter"}, {"granularity": "global"}, {"step_size": None}),
        ({"crossover": "row"}, {"crossover": "none"}, {"parents_per_child": None, "founders": None}),
        ({"crossover": "mean"}, {"crossover": "blend"}, {"parents_per_child": None}),
        ({"crossover": "mean"}, {"parents": 4}, {"parents_per_child": None}),
        ({"crossover": "mean", "parents_per_child": 3}, {"crossover": "row"}, {"parents_per_child": 3}),
        ({"crossover": "row", "parents_per_child": 3, "mate": "similar"}, {"crossover": "none"},
         {"parents_per_child": None, "mate": "random"}),
        ({"crossover": "genes-union"}, {"crossover": "row"}, {"founders": None}),
        ({"founders": "clones"}, {"crossover": "row"}, {"founders": "clones"}),
        ({"step_size": "schedule", "sigma_schedule": "0:0.02"}, {"step_size": "fixed"}, {"sigma_schedule": None}),
        ({"step_size": "three-point", "step_size_down": 0.1}, {"step_size": "samr"}, {"step_size_down": None}),
        ({"granularity": "tensor", "sigma_factors": "1,2", "floor_rms": 0.1, "ceiling_rms": 0.2},
         {"granularity": "global"}, {"sigma_factors": None, "floor_rms": None, "ceiling_rms": None}),
        ({"sigma_only": 5}, {"granularity": "tensor"}, {"sigma_only": 0}),
        ({"sigma_search": 5}, {"step_size": "one-fifth"}, {"sigma_search": 0}),
        ({"mutate": "dense,layer", "mutate_shares": "inherited"}, {"mutate": "dense"}, {"mutate_shares": "fixed"}),
        ({"survival": "plus"}, {"parents": 4}, {"elites": 0}),
        ({}, {"sigma": 0.0001}, {"sigma_floor": None}),
        ({}, {"sigma": 0.01}, {"sigma_floor": float(sigma(snap(0.02 / 32)))}),
    ],
    ids=str,
)  # fmt: skip
def test_a_flag_takes_back_what_hangs_on_it(run: dict[str, Any], flags: dict[str, Any], then: dict[str, Any]) -> None:
    values = carried_over(saved(**run), flags)
    config = RunConfig.from_dict(values | flags)
    assert {name: getattr(config, name) for name in then} == then
    resolve(config)
    # Without a flag nothing changes.
    assert resolve(RunConfig.from_dict(carried_over(saved(**run), {}))).to_dict() == saved(**run)


def test_a_file_that_contradicts_itself_is_refused_as_ever() -> None:
    with pytest.raises(UsageError, match="--step-size schedule and --sigma-schedule together"):
        RunConfig.from_dict(carried_over({"sigma_schedule": "0:0.02"}, {}))
    with pytest.raises(UsageError, match="--step-size-down with --step-size three-point"):
        RunConfig.from_dict(carried_over({"step_size_down": 0.1}, {"parents": 4}))


def test_what_was_chosen_for_a_run() -> None:
    values = saved(crossover="mean")
    chosen = {name for name in values if is_chosen(name, values)}
    assert chosen == {"mutate", "elites", "parents_per_child", "founders", "step_size"}
    assert not is_chosen("step_size", values | {"step_size": "fixed"})
    assert not is_chosen("step_size", {"step_size": "schedule", "sigma_schedule": "0:0.02"})


@pytest.mark.slow
def test_another_crossover_and_granularity_may_go_on_from_a_run(evolve: Any, tmp_path: Path) -> None:
    sexual = evolve("sexual", crossover="mean", granularity="parameter", generations=2)
    for number, flags in enumerate(
        ({"crossover": "none", "granularity": "global"}, {"crossover": "blend"}, {"parents": 5, "children": 9},
         {"crossover": "genes-union", "granularity": "tensor"}, {"survival": "plus"})
    ):  # fmt: skip
        start(compose({"origin": str(sexual), "generations": 1, **flags}), name=f"new-{number}", runs=tmp_path)
    config = compose({"children": 10, "crossover": "row"}, config_file=sexual / "config.json")
    assert (config.parents_per_child, config.crossover, config.granularity) == (None, "row", "parameter")


def test_resuming_names_only_the_flags_that_were_given(evolve: Any) -> None:
    folder = evolve("sexual", crossover="mean")
    with pytest.raises(UsageError) as caught:
        resume(folder, {"crossover": "none"})
    assert "got --crossover none: " in str(caught.value)
    assert str(caught.value).endswith(f"`galab run --from {folder} --crossover none`")
    with pytest.raises(UsageError, match=r"got --survival plus: .* --survival plus`"):
        resume(folder, {"survival": "plus"})


@pytest.mark.parametrize("granularity", ["global", "tensor", "row-column", "parameter"])
def test_a_new_run_starts_with_the_step_size_that_the_origin_has_reached(evolve: Any, granularity: str) -> None:
    folder = evolve(granularity=granularity, step_size="fixed", sigma=0.25, generations=2)
    assert compose({"origin": str(folder)}).sigma == 0.25
    factors = {} if granularity == "global" else {"sigma_factors": "1,0.5"}
    other = evolve("other", granularity=granularity, step_size="fixed", sigma=0.25, generations=2, **factors)
    assert compose({"origin": str(other)}).sigma == 0.25
    assert json.loads((other / "config.json").read_text())["hyperparameters"]["sigma"] == 0.25


def test_the_typical_step_size_is_the_mean_over_weights() -> None:
    per_tensor = Steps(LAYOUT, "tensor")
    assert mean_log_sigma(per_tensor, np.array([0, 256, 512], np.int16)) == (2 * 256 + 8 * 512) / 16
    lattice = Steps(LAYOUT, "row-column")
    assert lattice.size == 2 + 3 + 2 + 4 + 2
    rows_and_columns = np.array([10, 20, 3, 0, -3, 5, 5, 100, 100, 100, 100, 7, -7], np.int16)
    assert mean_log_sigma(lattice, rows_and_columns) == pytest.approx((6 * 15 + 2 * 5 + 8 * 100) / 16)
    assert mean_log_sigma(Steps(LAYOUT), np.array([-30], np.int16)) == -30.0
    assert reached_log_sigma(per_tensor, 0.5, np.array([-256 + 64] * 3, np.int16)) == -256 + 64
    scaled = Steps(LAYOUT, "tensor", factors=[0, 256, 512])
    assert reached_log_sigma(scaled, 0.5, scaled.founder(-256)) == -256


@pytest.mark.parametrize("granularity", ["global", "tensor", "row-column", "parameter"])
def test_the_root_mean_square_step_size_is_that_of_all_weights(granularity: str) -> None:
    steps = Steps(LAYOUT, granularity)
    log_sigma = np.random.default_rng(0).integers(-900, -100, steps.size).astype(np.int16)
    ones = np.ones(LAYOUT.size, np.float32)
    steps.multiply(ones, log_sigma)
    expected = np.sqrt(np.mean(np.square(ones.astype(np.float64) / 2**24)))
    assert root_mean_square(steps, log_sigma) == pytest.approx(expected, rel=1e-6)


def test_the_log_says_the_typical_step_size(evolve: Any) -> None:
    folder = evolve(granularity="row-column", step_size="fixed", sigma=0.25, generations=1)
    line = json.loads((folder / "log.jsonl").read_text().splitlines()[0])
    assert line["step_size"] == line["step_size_min"] == line["step_size_max"] == 0.25
    assert newest_state(folder)["log_sigma"].min() < newest_state(folder)["log_sigma"].max()


@pytest.mark.parametrize(
    ("values", "floor"),
    [
        ({"sigma": 0.32}, 0.01),
        ({"sigma": 2**-22 * 4}, 2**-24),
        ({"step_size": "schedule", "sigma_schedule": "0:0.02,9:0.00001", "sigma": 0.02}, 0.00001),
        ({"step_size": "schedule", "sigma_schedule": "0:4", "sigma": 0.02}, 0.02),
        ({"granularity": "tensor", "sigma_factors": "4,0.01", "sigma": 0.32}, 0.0001),
    ],
)
def test_the_default_floor_lies_below_what_was_asked_for(values: dict[str, Any], floor: float) -> None:
    assert decide(RunConfig(**values)).sigma_floor == pytest.approx(floor)
    assert resolve(RunConfig(device="cpu", **values)).sigma_floor == pytest.approx(floor, rel=0.002)
