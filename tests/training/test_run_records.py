"""What a run leaves behind, and that the same seed leaves the same."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab_outcome import generations_of, log_of, newest_state, outcome

from galab.genome.births import BIRTH
from galab.storage.lineage import read_rows
from galab.storage.log import read_log
from galab.training.log_fields import TIMING, WORKERS

FIELDS = {
    "generation", "members", "evaluations", "fitness_best", "fitness_mean", "fitness_worst", "fitness_std", "best",
    "train_loss", "train_accuracy", "failures", "lethal", "step_size", "step_size_min", "step_size_max", "cache_hits",
    "cache_misses", "lineage_births", "lineage_bytes", "step_size_p10", "step_size_p50", "step_size_p90",
    "step_size_at_floor", "diversity_common_ancestor", "diversity_segregating", "diversity_fixed_generations",
    "selection_age_best", "selection_age_oldest", *set(TIMING) - set(WORKERS),
}  # fmt: skip
REPORTED = {
    "champion", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy", "diversity_distance",
    *(f"step_size_share_{layer}_{end}" for layer in ("hidden.0", "output") for end in ("p10", "p50", "p90")),
}  # fmt: skip


def test_the_folder_holds_all_that_the_design_names(evolve: Any) -> None:
    folder = evolve()
    names = {path.name.split(".tfevents")[0] for path in folder.iterdir()}
    assert names == {
        "config.json", "log.jsonl", "lineage.bin", "founders.pkl", "status.json", "checkpoints", ".lock",
        "events.out", "by_evaluations",
    }  # fmt: skip
    assert generations_of(folder) == [0, 2, 4, 5]
    config = json.loads((folder / "config.json").read_text())["hyperparameters"]
    assert (config["seed"], config["task"], config["generations"]) == (5, "digits", 5)
    status = json.loads((folder / "status.json").read_text())
    assert (status["state"], status["generation"], status["message"]) == ("finished", 5, "5 generations done")
    assert status["result"] == {name: newest_state(folder)["champion"]["metrics"].get(name, value)
                                for name, value in status["result"].items()}  # fmt: skip


def test_the_log_says_what_happened_in_every_generation(evolve: Any) -> None:
    folder = evolve(elites=2)
    log = read_log(folder / "log.jsonl")
    assert [line["generation"] for line in log] == [1, 2, 3, 4, 5]
    for line in log:
        reported = line["generation"] % 2 == 0
        assert set(line) == FIELDS | (REPORTED if reported else set())
        assert line["members"] == 8 * line["generation"]  # six children and two elites, scored again
        assert line["evaluations"] == 32 * line["members"]
        assert line["fitness_best"] >= line["fitness_mean"] >= line["fitness_worst"]
        assert line["fitness_best"] == -line["train_loss"]
        assert line["step_size_min"] <= line["step_size"] <= line["step_size_max"]
        assert line["lineage_bytes"] == 36 * line["lineage_births"]
    assert log[-1]["lineage_bytes"] == (folder / "lineage.bin").stat().st_size
    assert all(a["seconds"] <= b["seconds"] for a, b in itertools.pairwise(log))


def test_the_lineage_holds_the_founders_and_every_selected_child(evolve: Any) -> None:
    rows = read_rows(evolve() / "lineage.bin", BIRTH)
    assert rows["id"].tolist() == sorted(set(rows["id"].tolist()))
    assert rows["id"][:3].tolist() == [0, 1, 2]
    assert (rows["parents"][:3] == -1).all()
    known = set(rows["id"].tolist())
    assert all(parent in known for parent in rows["parents"][3:, 0].tolist())
    assert np.bincount(rows["generation"]).tolist() == [3] * 6


@pytest.mark.parametrize("changes", [{}, {"batch": 0}, {"precision": "float32"}, {"distribution": "laplace"}])
def test_one_seed_gives_one_outcome(evolve: Any, changes: dict[str, Any]) -> None:
    first, second = evolve("first", **changes), evolve("second", **changes)
    assert outcome(first) == outcome(second)
    assert generations_of(first) == generations_of(second)


def test_another_seed_gives_another_outcome(evolve: Any) -> None:
    assert log_of(evolve("first")) != log_of(evolve("second", seed=6))


@pytest.mark.slow
def test_a_seed_that_nobody_gave_is_drawn_and_saved(evolve: Any) -> None:
    seeds = [json.loads((evolve(name, seed=None) / "config.json").read_text())["hyperparameters"]["seed"]
             for name in ("first", "second")]  # fmt: skip
    assert seeds[0] != seeds[1]
    assert newest_state(evolve("again", seed=seeds[0]).parent / "first")["hyperparameters"]["seed"] == seeds[0]


def test_hooks_hear_every_line(evolve: Any) -> None:
    heard: list[dict[str, Any]] = []
    folder = evolve(hooks=[heard.append])
    assert heard == read_log(folder / "log.jsonl")


def test_a_checkpoint_holds_what_the_design_asks_for(evolve: Any) -> None:
    state = newest_state(evolve())
    assert {"hyperparameters", "task", "versions", "numeric_profile", "lineage", "weights", "strategy"} <= set(state)
    assert {"python", "numpy", "torch", "galab"} == set(state["versions"])
    assert len(state["task"]["fingerprint"]) == 64
    assert {"chunk", "threads", "precision", "device", "cpu_capability", "compiled"} <= set(state["numeric_profile"])
    assert state["weights"].dtype == np.int32


def test_a_step_size_at_its_floor_is_accepted(evolve: Any) -> None:
    """0.02 lies off the grid: snapped, it is a little less than it was."""
    folder = evolve(sigma=0.02, sigma_floor=0.02, sigma_ceiling=0.02)
    assert len({line["step_size"] for line in log_of(folder)}) == 1


def test_a_run_gives_torch_its_threads_back(evolve: Any) -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        evolve(threads=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_one_parent_and_one_child_are_enough(evolve: Any) -> None:
    folder = evolve(parents=1, children=1)
    assert all(line["fitness_std"] == 0 for line in log_of(folder))
    assert Path(folder / "lineage.bin").stat().st_size == 36 * 6
