"""What a long history costs: decoding, checkpoints and the lineage file at generation 10, 1,000 and 50,000."""

from __future__ import annotations

import functools
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import Row, interleaved

from galab.config import RunConfig
from galab.config.resolve import decide
from galab.contracts import Scores
from galab.genome.births import BIRTH
from galab.genome.decoder import Decoder
from galab.genome.initial import founders_of
from galab.genome.random import table
from galab.storage import pickle_format
from galab.storage.lineage import LineageFile
from galab.strategies.build import developer, step_size_rule
from galab.strategies.genetic import GeneticAlgorithm
from galab.training.build import build, network_and_task
from galab.training.champion import Champion
from galab.training.checkpoint import capture
from galab.training.log_fields import Totals
from galab.training.resolve import resolve

CONFIG = decide(
    RunConfig(seed=1, parents=8, children=32, sigma=2**-10, sigma_floor=2**-12, sigma_ceiling=2**-9, step_size_rate=0.1)
)

#: How long the histories are.
_GENERATIONS = (10, 1000, 50_000)


def history_rows(rounds: int) -> list[Row]:
    """Selection with random scores makes the histories; every individual that is decoded is real."""
    torch.set_num_threads(1)
    module, task = network_and_task(resolve(RunConfig(seed=1)))
    with tempfile.TemporaryDirectory() as folder:
        lineage = LineageFile(Path(folder) / "lineage.bin", BIRTH)
        runs = {length: _evolved(length, None)[0] for length in _GENERATIONS[:-1]}
        runs[_GENERATIONS[-1]], selected = _evolved(_GENERATIONS[-1], lineage)
        decoders = {length: _decoder(run, module) for length, run in runs.items()}
        calls = {str(n): functools.partial(_decode_children, runs[n], decoders[n]) for n in _GENERATIONS}
        times = {int(n): spent / 32 for n, spent in interleaved(calls, 12 * rounds).items()}
        first, *_, last = _GENERATIONS
        what = "decode a child of 101,770 weights, one thread, generation"
        rows = [Row(f"{what} {n:,}", spent, "ms", 1.5 if n == last else None) for n, spent in times.items()]
        rows.append(Row(f"decode at generation {last:,} against {first}", times[last] / times[first], "x", 1.1))
        rows += _checkpoint_rows(runs[last], module, task, lineage, Path(folder))
        size = (Path(folder) / "lineage.bin").stat().st_size / selected
        return [*rows, Row("lineage file per selected birth", size, "bytes", 40)]


def _evolved(generations: int, lineage: LineageFile | None) -> tuple[GeneticAlgorithm, int]:
    strategy = GeneticAlgorithm(CONFIG, step_size_rule(CONFIG, 1))
    scores, selected = np.random.default_rng(0), 0
    for _ in range(generations):
        strategy.ask()
        outcome = strategy.tell(Scores(scores.standard_normal(32)))
        selected += len(outcome.records)
        if lineage is not None:
            lineage.append(outcome.records)
    return strategy, selected


def _decoder(strategy: GeneticAlgorithm, module: torch.nn.Module) -> Decoder:
    """A decoder that knows the living parents, as one does in the middle of a run."""
    births = developer(CONFIG, founders_of(module, 1), table("normal"))
    decoder = Decoder(births, strategy.pedigree, cache_bytes=1)
    founder = births.develop(strategy.pedigree.ancestors(strategy.parents.tolist())[0]._replace(parents=()), [])
    for birth in strategy.parents.tolist():
        decoder.insert(birth, founder)
        decoder._cache.pin({**decoder._cache._pinned, birth: founder})
    strategy.ask()
    return decoder


def _decode_children(strategy: GeneticAlgorithm, decoder: Decoder) -> None:
    for birth in strategy._asked.births["id"].tolist():  # type: ignore[union-attr]
        decoder.decode(birth)


def _checkpoint_rows(
    strategy: GeneticAlgorithm, module: torch.nn.Module, task: object, lineage: LineageFile, folder: Path
) -> list[Row]:
    components: Any = build(resolve(RunConfig(seed=1)), module, task)  # type: ignore[arg-type]
    components.strategy._asked = None
    ids = components.strategy.parents.tolist()
    components.strategy.load_state_dict(strategy.state_dict())
    births = components.search.decoder.developer
    founders = [births.develop(birth._replace(parents=()), []) for birth in components.search.pedigree]
    for birth, member in zip(components.strategy.parents.tolist(), founders, strict=False):
        components.search.decoder.insert(birth, member)
    champion = Champion(ids[0], 0, {"validation_accuracy": 0.5})
    where = {"births": lineage.length, "sha256": lineage.digest}
    path = folder / "gen.pkl"

    def save() -> None:
        pickle_format.dump(capture(components, champion, Totals(), {}, lineage=where), path)

    times = interleaved({"save": save, "load": lambda: pickle_format.load(path)}, rounds=15)
    return [
        Row(f"checkpoint at generation {strategy.generation:,}", path.stat().st_size / 1e6, "MB", 3.5),
        Row("checkpoint saves in", times["save"], "ms", 100),
        Row("checkpoint loads in", times["load"], "ms", 1000),
    ]


def help_rows(rounds: int) -> list[Row]:
    """How long ``galab --help`` takes as a process."""
    command = [sys.executable, "-c", "from galab.cli import main; main(['--help'])"]
    times = []
    for _ in range(3 * rounds + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return [Row("galab --help answers in", statistics.median(times[1:]), "s", 0.3)]
