"""``--strategy random``: every network is drawn, the best of all so far are kept, and nothing else is understood."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galab.config import RunConfig
from galab.errors import UsageError
from galab.genome.births import Birth
from galab.saved_runs.saved_run import evaluate, open_saved
from galab.saved_runs.verify import verify
from galab.storage.lineage import read_rows
from galab.storage.run_folder import RunFolder
from galab.training.build import build, network_and_task
from galab.training.compose import compose
from galab.training.resolve import resolve

RANDOM: dict[str, Any] = {"strategy": "random", "batch": 0, "precision": "float32"}
GIVEN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(64, 10))

    def forward(self, x):
        return x.flatten(1) @ self.weight
"""


def test_the_best_of_all_that_were_drawn_are_kept(small: dict[str, Any]) -> None:
    config = resolve(RunConfig(**small | RANDOM))
    components = build(config, *network_and_task(config))
    search, seen = components.search, dict[int, float]()
    for generation in range(1, 5):
        cohort = search.strategy.ask()
        rows = cohort.births[: cohort.children]
        assert rows["id"].tolist() == list(range(3 + 6 * (generation - 1), 3 + 6 * generation))
        assert (rows["parents"] == -1).all()
        assert not rows["mutation"].any()
        scores = search.executor.score(cohort)
        seen |= dict(zip(cohort.births["id"].tolist(), scores.fitness.tolist(), strict=True))
        kept = search.strategy.tell(scores).parents
        assert kept.tolist() == sorted(seen, key=lambda birth: (-seen[birth], -birth))[:3]
    founder = Birth(20, (), 0, 0, 0, 0, 0)
    assert np.array_equal(search.decoder.decode(20).weights, components.founders.decode(founder))
    assert len(seen) == 3 + 4 * 6


def test_a_run_says_what_it_did(evolve: Any) -> None:
    folder = evolve("run", **RANDOM)
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert all("selection_success_rate" not in line for line in lines)
    assert all(verdict.good for verdict in verify(RunFolder.open(folder)))
    assert "test_accuracy" in evaluate(folder)
    saved = open_saved(folder)
    assert (saved.config.survival, saved.config.elites, saved.config.crossover) == ("plus", 3, "none")
    rows = read_rows(folder / "lineage.bin", saved.state["strategy"]["births"].dtype)
    assert (rows["parents"] == -1).all()


def test_seeds_draw_other_networks(evolve: Any) -> None:
    one, other = (open_saved(evolve(str(seed), **RANDOM, seed=seed)).state["weights"] for seed in (1, 2))
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mutate": "layer"}, "expected no --mutate with --strategy random, got layer: only the genetic algorithm"),
        ({"step_size": "fixed"}, "expected no --step-size with --strategy random"),
        ({"islands": 2}, "expected no --islands with --strategy random"),
        ({"selection": "rank"}, "expected no --selection with --strategy random"),
        ({"population": 64}, "expected no --population with --strategy random, got 64: only --strategy eggroll"),
        ({"crossover": "row"}, "expected no --crossover with --strategy random, got row: no network has parents"),
        ({"fitness": "improvement"}, "expected a fitness of a member's own with --strategy random"),
        ({"init": "weights.pt"}, "expected no --init with --strategy random, got weights.pt: every network is drawn"),
        ({"origin": "runs/a"}, "expected no --from with --strategy random, got runs/a"),
    ],
)
def test_what_presumes_parents_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        RunConfig(strategy="random", **changes)


def test_what_it_decides_itself_is_no_obstacle_to_running_it_again(evolve: Any) -> None:
    folder = evolve("run", **RANDOM)
    again = compose({}, config_file=folder / "config.json")
    assert resolve(again) == open_saved(folder).config
    other = compose({"strategy": "ga"}, config_file=folder / "config.json")
    assert (other.strategy, other.parents) == ("ga", 3)


def test_a_genetic_algorithm_s_file_loses_what_it_does_not_understand(evolve: Any) -> None:
    folder = evolve("run", mutate="layer", granularity="tensor", crossover="none")
    config = compose({"strategy": "random"}, config_file=folder / "config.json")
    assert (config.strategy, config.parents, config.mutate, config.granularity) == ("random", 3, "dense", "global")


def test_a_network_that_cannot_be_drawn_is_refused(evolve: Any, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(GIVEN)
    with pytest.raises(UsageError, match="expected a model whose weights can be drawn with --strategy random, got"):
        evolve("run", **RANDOM, model=f"{tmp_path}/net.py:Net", hidden=None)
