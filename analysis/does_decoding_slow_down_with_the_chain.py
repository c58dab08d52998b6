"""Does making a child slow down as its chain of mutations grows?

The notes: making the policies of a generation took ever longer, two minutes at generation 500, as every network was
built anew from all seeds of its chain. Here the decoder keeps parents: a child costs one mutation. Both are timed on
MLP 784-128-10, by the time that the processor computes.

Runs: none are needed.
Command: python analysis/does_decoding_slow_down_with_the_chain.py [--rounds 5] [--longest 10000]
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

from galab.cli.question_script import guarded
from galab.config import RunConfig
from galab.genome.births import Birth
from galab.genome.decoder import Decoder
from galab.genome.step_sizes import snap
from galab.stats.plots import Band, draw_bands
from galab.training.build import build, network_and_task
from galab.training.resolve import resolve

LENGTHS = (10, 30, 100, 300, 1000, 3000, 10_000)
DEFAULT = Path(__file__).resolve().parents[1] / "docs" / "observations" / "decoding.png"


def milliseconds(decoder: Decoder, birth: int) -> float:
    """Of decoding one child."""
    began = time.process_time()
    decoder.decode(birth)
    return (time.process_time() - began) * 1e3


def ends(row: list[float]) -> tuple[float, float, float]:
    """Median, least and most."""
    return statistics.median(row), min(row), max(row)


def main() -> None:
    """Build a chain, time, draw, answer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--longest", type=int, default=LENGTHS[-1], help="mutations in the longest chain")
    parser.add_argument("--output", type=Path, default=DEFAULT)
    chosen = parser.parse_args()
    lengths = [length for length in LENGTHS if length <= chosen.longest]
    config = resolve(RunConfig(task="mnist", crossover="none", parents=1, seed=1, precision="float32", threads=1))
    search = build(config, *network_and_task(config)).search
    search.initial_records()
    for birth in range(1, max(lengths) + 1):
        search.pedigree.add(Birth(birth, (birth - 1,), birth, 0, snap(0.001), 0, 1))
    seeds, cache = "from the seeds alone", "parent in the cache"
    times: dict[str, list[list[float]]] = {cache: [], seeds: []}
    for length in lengths:
        cold, warm = [], []
        for _ in range(chosen.rounds if length < 1000 else 1):
            decoder = Decoder(search.decoder.developer, search.pedigree, cache_bytes=4 << 20)
            cold.append(milliseconds(decoder, length))
        for child in range(max(lengths) + 1, max(lengths) + 1 + 4 * chosen.rounds):
            search.pedigree.add(Birth(child, (length,), length + 1, 0, snap(0.001), 0, 1))
            warm.append(milliseconds(decoder, child))
        search.pedigree.keep([max(lengths)])
        times[cache].append(warm)
        times[seeds].append(cold)
    bands = [
        Band(kind, np.array(lengths, dtype=float), *np.array([ends(row) for row in seen]).T)
        for kind, seen in times.items()
    ]
    draw_bands(
        chosen.output, bands, x_label="mutations in the chain", y_label="processor time for one child (ms)",
        title="Making one child of MLP 784-128-10 (101,770 weights). Medians; bands from least to most.", by_ratio=True,
    )  # fmt: skip
    near, far = (band.middle for band in bands)
    print(
        f"With its parent in the cache a child takes {near[0]:.2f} ms after {lengths[0]} mutations and "
        f"{near[-1]:.2f} ms after {lengths[-1]:,}; from its seeds alone {far[0]:.1f} ms and {far[-1]:,.0f} ms."
    )


if __name__ == "__main__":
    guarded(main)
