"""``make bench``: speed and memory against their bars, as ``bench/results.json`` and a table for the README.

    make bench ARGS="--only ga,eggroll --rounds 3"    measure some groups again, keep the others' rows
    make bench ARGS="--cores 1 --clock processor"          on a machine that others use too: one core for all sides

Times drift by machine and hour; the ratios are measured side by side in one run.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import machine
import results
from timing import Row, table, tally


class Group(NamedTuple):
    """Rows that are measured together.

    Attributes:
        title: their heading.
        module: where they are measured; imported late, because torch and JAX look at the cores only once.
        function: takes the number of rounds, and ``size``.
        size: images or members, where the function asks for it.
    """

    title: str
    module: str
    function: str
    size: int | None = None


_GA, _EGGROLL = (
    "Genetic algorithm beside the naive loop and other libraries",
    "EGGROLL beside other libraries, 512 images",
)
GROUPS = {
    "help": Group("Command line", "history", "help_rows"),
    **{f"ga-{size}": Group(_GA, "genetic", "genetic_rows", size) for size in (60_000, 4096, 512)},
    "children": Group("Genetic algorithm with more and more children", "genetic", "children_rows"),
    **{f"eggroll-{size}": Group(_EGGROLL, "evolution", "evolution_rows", size) for size in (256, 1024, 4096, 16_384)},
    "inference": Group("EGGROLL beside pure inference", "inference", "inference_rows"),
    "memory": Group("Memory of EGGROLL", "inference", "memory_rows"),
    "noise": Group("Share of noise and decoding in a generation", "shares", "noise_rows"),
    "peak": Group("Share of the matrix product's peak", "shares", "peak_rows"),
    "history": Group("Long histories and checkpoints", "history", "history_rows"),
    "breeding": Group("Kinds of crossover and step sizes", "breeding", "breeding_rows"),
    "trials": Group("Trials side by side", "trials", "trial_rows"),
    "memories": Group("Memories", "memories", "memory_rows"),
    "analysis": Group("Analyses of mutations", "analyses", "analysis_rows"),
    "integers": Group("Integer EGGROLL", "integers", "integer_rows"),
    "own-fitness": Group("A fitness in plain Python", "own_fitness", "own_fitness_rows"),
    "episodes": Group("Episodes: small policies on CartPole", "episodes", "episode_rows"),
    "workers": Group("Worker processes", "worker_scaling", "worker_rows"),
    "cluster": Group("Workers in a Ray cluster on this machine", "worker_scaling", "cluster_rows"),
}
_HERE = Path(__file__).parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 1 if a bar was missed."""
    options = parser().parse_args(arguments)
    cores = machine.use_cores(options.cores)
    if options.clock == "processor" and cores > 1:
        raise SystemExit(f"expected --cores 1 with --clock processor, got {cores} cores: their times would be added up")
    machine.use_clock(options.clock)
    file, rows = options.results, list[Row]()
    saved = results.read(file)
    for group in options.only:
        found = measure(group, options.rounds)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes")
        saved = results.updated(saved, group, found, {"measured": now, "machine": machine.described(cores)})
        saved.sort(key=lambda row: list(GROUPS).index(row["group"]) if row["group"] in GROUPS else len(GROUPS))
        results.write(file, saved)  # after every group: they take minutes
        rows += found
        print(f"\n{GROUPS[group].title}\n\n{table(found)}", flush=True)
    tables = file.with_suffix(".md")
    titles = {name: group.title for name, group in GROUPS.items()}
    tables.write_text(results.markdown(saved, titles), encoding="utf-8")
    counts = tally(rows)
    print(f"\nbars: {', '.join(f'{count} {verdict}' for verdict, count in counts.items())}")
    print(f"written to {file} and {tables}")
    return 1 if counts["missed"] else 0


def measure(group: str, rounds: int) -> list[Row]:
    """The rows of a group, which leaves torch the threads that it found."""
    from galab.training.build import own_threads

    _, module, function, size = GROUPS[group]
    rows = getattr(importlib.import_module(module), function)
    with own_threads():
        return list(rows(rounds) if size is None else rows(rounds, size))


def parser() -> argparse.ArgumentParser:
    """The flags."""
    found = argparse.ArgumentParser(prog="make bench", description=__doc__.partition("\n")[0])
    found.add_argument(
        "--only", type=_groups, default=list(GROUPS), help=f"groups, of {', '.join(GROUPS)}; ga is all of ga-*"
    )
    found.add_argument("--rounds", type=int, default=5, help="rounds in which all sides take turns")
    found.add_argument("--cores", type=int, help="cores for galab and for its peers alike; all when absent")
    found.add_argument(
        "--clock",
        choices=("wall", "processor"),
        default="wall",
        help="processor: time in which this process or the peers' computes, with --cores 1 on a shared machine",
    )
    found.add_argument("--results", type=Path, default=_HERE / "results.json", help="the file to bring up to date")
    return found


def _groups(text: str) -> list[str]:
    found = []
    for wanted in text.split(","):
        names = [name for name in GROUPS if wanted in (name, name.partition("-")[0])]
        if not names:
            raise argparse.ArgumentTypeError(f"expected groups of {', '.join(GROUPS)}, got {wanted!r}")
        found += names
    return found


if __name__ == "__main__":
    sys.exit(main())
