"""What a child costs by crossover, gene law and kind of step sizes, against an asexual child with a single one."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from peers import clock
from timing import Row

from galab.config import RunConfig
from galab.storage import pickle_format
from galab.training.build import build, network_and_task
from galab.training.champion import Champion
from galab.training.checkpoint import capture
from galab.training.log_fields import Totals
from galab.training.resolve import resolve

ASEXUAL = {"crossover": "none"}
GENE_LAWS = ("genes-independent", "genes-union", "genes-aligned")
#: What is compared with an asexual child that has one step size.
KINDS: dict[str, dict[str, Any]] = {
    "parameter crossover": {"crossover": "parameter"},
    "row crossover": {"crossover": "row"},
    **{law: {"crossover": law} for law in GENE_LAWS},
    "a step size per parameter": {"granularity": "parameter"},
    "a step size per row and column": {"granularity": "row-column"},
}
#: How many times as much it may cost.
LIMITS = {"parameter crossover": 2.0, "row crossover": 2.0, "a step size per parameter": 2.5}


def breeding_rows(rounds: int) -> list[Row]:
    """Runs of all kinds side by side, generation by generation; only decoding is timed, on one thread."""
    del rounds  # a generation is a round
    torch.set_num_threads(1)
    small = _times(8, 32, {"asexual": ASEXUAL} | {name: ASEXUAL | options for name, options in KINDS.items()}, 80)
    rows = [Row("decode an asexual child at (8, 32)", small["asexual"][1], "ms")]
    for name in KINDS:
        limit = 3.0 if name in GENE_LAWS else LIMITS.get(name)
        rows.append(Row(f"{name} at (8, 32) against asexual", small[name][1] / small["asexual"][1], "x", limit))
    large = _times(64, 256, {"asexual": ASEXUAL} | {law: {"crossover": law} for law in GENE_LAWS}, 60)
    for law in GENE_LAWS:
        rows.append(Row(f"{law} at (64, 256) against asexual", large[law][1] / large["asexual"][1], "x", 10.0))
    long = _times(8, 32, {law: {"crossover": law} for law in GENE_LAWS}, 1000)
    for law, (early, late) in long.items():
        rows.append(Row(f"{law} at generation 1,000 against 100", late / early, "x", 1.3))
    return [*rows, *_checkpoint_rows()]


def _times(
    parents: int, children: int, kinds: dict[str, dict[str, Any]], generations: int
) -> dict[str, tuple[float, float]]:
    """Median milliseconds to decode a child: in the second tenth of the generations, and in their last half (tenth)."""
    experiments = {name: _components(parents, children, **options) for name, options in kinds.items()}
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(generations):
        for name, components in experiments.items():
            times[name].append(_generation(components))
    tenth = generations // 10
    late = generations // 2 if generations < 200 else generations - tenth
    return {
        name: (statistics.median(each[tenth : 2 * tenth]), statistics.median(each[late:]))
        for name, each in times.items()
    }


def _components(parents: int, children: int, **options: Any) -> Any:
    config = resolve(RunConfig(seed=1, batch=128, threads=1, parents=parents, children=children, **options))
    components: Any = build(config, *network_and_task(config))
    components.search.decoder.pin(components.strategy.parents.tolist())
    return components


def _generation(components: Any) -> float:
    """Milliseconds to decode one child of a generation, which is then scored and selected from."""
    cohort = components.strategy.ask()
    ids = cohort.births["id"].tolist()
    start = clock.now()
    for birth in ids:
        components.search.decoder.decode(birth)
    spent = clock.now() - start
    outcome = components.strategy.tell(components.executor.score(cohort))
    components.search.decoder.pin(outcome.parents.tolist())
    return spent / len(ids) * 1e3


def _checkpoint_rows() -> list[Row]:
    components = _components(8, 32, granularity="parameter")
    _generation(components)
    champion = Champion(int(components.strategy.parents[0]), 0, {"validation_accuracy": 0.5})
    state = capture(components, champion, Totals(), {}, lineage={"births": 8, "sha256": ""})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gen.pkl"
        pickle_format.dump(state, path)
        return [Row("checkpoint with a step size per parameter", path.stat().st_size / 1e6, "MB", 5.2)]
