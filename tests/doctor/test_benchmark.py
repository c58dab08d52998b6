"""Contenders of real runs: the generations that they time are those of the run, and nothing of a run is touched."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lab_outcome import merged
from torch import nn

from galab.config import RunConfig
from galab.doctor.benchmark import benchmark_of_config, benchmark_of_run, network_cost, operations_per_second
from galab.errors import UsageError
from galab.storage.log import last_line
from galab.tasks import load_task

ES: dict[str, Any] = {
    "strategy": "eggroll", "population": 8, "parents": None, "children": None, "pairs": "antithetic",
    "generations": 4,
}  # fmt: skip


def content_of(folder: Path) -> dict[str, str]:
    """A hash of every file."""
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


def config(small: dict[str, Any], **changes: Any) -> RunConfig:
    values = {name: value for name, value in merged(small, changes).items() if value is not None}
    return RunConfig(**values)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, ES], ids=["ga", "es"])
def test_a_candidate_of_a_run_goes_on_as_the_run_did(evolve: Any, changes: dict[str, Any], tmp_path: Path) -> None:
    from galab.training.start_or_resume import start

    shared = {"task": "digits", "hidden": "4", "batch": 32, "seed": 5, "threads": 1, "save_every": 2, "report_every": 2}
    own = {"parents": 3, "children": 6, "generations": 4} if not changes else {k: v for k, v in changes.items() if v}
    path = start(RunConfig(**shared, **own), name="first", runs=tmp_path).folder.path
    before = content_of(path)
    candidate = benchmark_of_run(path / "checkpoints" / "gen_000002.pkl").make(benchmark_of_run(path).config)
    candidate.first_losses()
    timing = candidate.time_generation()
    assert content_of(path) == before
    line = last_line(path / "log.jsonl")
    assert line is not None
    search = candidate._components.search
    assert search.strategy.generation == line["generation"] == 4
    assert timing.evaluations == 8 * 32 if changes else 6 * 32
    if changes:
        saved = benchmark_of_run(path).make(benchmark_of_run(path).config)._components.search
        np.testing.assert_array_equal(search.strategy.centre, saved.strategy.centre)  # type: ignore[attr-defined]
    else:
        saved = benchmark_of_run(path).make(benchmark_of_run(path).config)._components.search
        assert search.strategy.parents.tolist() == saved.strategy.parents.tolist()  # type: ignore[attr-defined]


@pytest.mark.parametrize("changes", [{}, ES], ids=["ga", "es"])
def test_the_parts_of_a_lap_are_all_there(small: dict[str, Any], changes: dict[str, Any]) -> None:
    benchmark = benchmark_of_config(config(small, **changes, seed=None))
    assert benchmark.config.seed == 0
    candidate = benchmark.make(benchmark.config)
    losses = candidate.first_losses()
    assert losses.shape == ((8,) if changes else (6,))
    assert np.isfinite(losses).all()
    timing = candidate.time_generation()
    assert min(timing.prepare, timing.evaluate, timing.tell) > 0
    candidate.close()


def test_all_candidates_begin_alike(small: dict[str, Any]) -> None:
    benchmark = benchmark_of_config(config(small))
    first_losses = benchmark.make(benchmark.config).first_losses()
    other = benchmark.make(RunConfig.from_dict(benchmark.config.to_dict() | {"chunk": 2})).first_losses()
    np.testing.assert_allclose(other, first_losses, rtol=1e-5)


def test_a_lone_checkpoint_is_answered_with_its_hyperparameters(evolve: Callable[..., Path], tmp_path: Path) -> None:
    lone = tmp_path / "lone.pkl"
    lone.write_bytes((evolve() / "checkpoints" / "gen_000005.pkl").read_bytes())
    with pytest.raises(UsageError, match="got the lone checkpoint .* `galab bench --from"):
        benchmark_of_run(lone)


def test_what_a_network_multiplies_is_counted_by_hand() -> None:
    task = load_task("digits", "auto")
    network = nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)) if task.train.inputs.dim() == 2 else nn.Identity(),
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 36, 10),
    )  # fmt: skip
    cost = network_cost(network, task)
    assert cost is not None
    assert cost.operations == 2 * 36 * 9 * 3 + 2 * 108 * 10
    assert (cost.rows, cost.inner, cost.columns) == (1, 108, 10)
    assert network_cost(nn.Flatten(), task) is None
    speed = operations_per_second(cost, members=4, examples=8, precision="float32", device=torch.device("cpu"))
    assert speed > 0
