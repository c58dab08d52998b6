"""How long analyses of mutations take on MNIST: single mutations at many step sizes, and a long lineage replayed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from peers import clock
from timing import Row, interleaved, ratio_row
from torch.func import functional_call

from galab.analysis.replay import replay
from galab.config import RunConfig
from galab.contracts import Examples
from galab.genome.initial import tensors_of
from galab.genome.random import Stream, draw, table
from galab.operators.es_noise import WeightVector
from galab.saved_runs.mutants import MutationScores
from galab.saved_runs.probe import Probe
from galab.saved_runs.saved_run import SavedRun, open_saved
from galab.training.start_or_resume import start

_SIGMAS = [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]
_MUTATIONS, _IMAGES, _GENERATIONS = 1024, 10_000, 5000
#: So many mutations are timed, so many of the naive loop's; the rest takes as long for each.
_TIMED, _NAIVE = 128, 2


def analysis_rows(rounds: int) -> list[Row]:
    """Seconds for 8 step sizes x 1,024 mutations on 10,000 images, against the naive loop; and for a long lineage."""
    with tempfile.TemporaryDirectory() as folder:
        long = _run(Path(folder))
        probe = Probe(long)
        shown, weights = probe.examples("train", _IMAGES), probe.weights()
        mutants, law = MutationScores(probe), table("normal")
        few = mutants.changes(weights, law, _SIGMAS, _NAIVE, shown).change[0]
        found: list[list[float]] = []
        naive = _naive(probe, weights, shown, found)
        naive()
        # Both compute the same, or nothing is worth timing.
        assert np.allclose(few, np.array(found).T, rtol=1e-2, atol=1e-5), (few, found)
        times = interleaved(
            {"galab": lambda: mutants.changes(weights, law, _SIGMAS, _TIMED, shown), "naive": naive}, rounds
        )
        fast = times["galab"] / _TIMED * _MUTATIONS / 1e3
        slow = times["naive"] / _NAIVE * _MUTATIONS / 1e3
        what = f"{len(_SIGMAS)} step sizes x {_MUTATIONS:,} mutations of MLP 784-128-10 on {_IMAGES:,} images"
        before = clock.now()
        _replayed(long)  # once: what warms up takes no time beside minutes
        alone = clock.now() - before
        return [
            Row(f"{what}, from {_TIMED}", fast, "s", 60.0, "most"),
            ratio_row("the same, how many times faster than member by member", slow, fast, 5.0),
            Row(f"a lineage of {_GENERATIONS:,} generations replayed on {_IMAGES:,} images", alone, "s", 120.0, "most"),
        ]


def _run(folder: Path) -> SavedRun:
    """A long run with few children that see few images."""
    config = RunConfig(
        task="mnist", seed=1, generations=_GENERATIONS, parents=1, children=2, elites=0, batch=64, sigma=0.003,
        step_size="fixed", crossover="none", precision="float32", report_every=_GENERATIONS, save_every=_GENERATIONS,
        compile="off",
    )  # fmt: skip
    start(config, name="long", runs=folder)
    return open_saved(folder / "long")


def _replayed(saved: SavedRun) -> None:
    replay(saved, lambda what, share: None, examples=_IMAGES, broods=0)


def _naive(
    probe: Probe, weights: np.ndarray, shown: Examples, found: list[list[float]]
) -> Callable[[], None]:
    """What a person writes first: one member formed and forwarded after the other."""

    def fitness(member: np.ndarray) -> float:
        parts = tensors_of(probe.layout, WeightVector(member))
        with torch.inference_mode():
            return -float(F.cross_entropy(functional_call(probe.module, parts, (shown.inputs,)), shown.targets))

    before = fitness(weights)

    def once() -> None:
        found.clear()
        for number in range(_NAIVE):
            changes = []
            for sigma in _SIGMAS:
                z = draw(table("normal"), probe.run_key, number, Stream.OPERATOR, len(weights))
                changes.append(fitness(weights + np.float32(sigma) * z) - before)
            found.append(changes)

    return once
