"""Whole generations of EGGROLL beside other people's libraries, at ranks 1 and 4 and growing populations.

MLP 784-128-10, 512 images shared by all members. The rows of peers need ``make bench-peers``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import ExitStack

from genetic import NO_PEERS
from machine import NO_BFLOAT16, precisions
from peers.client import Peers, available
from sides import check_equal, check_peers, components, generation, images
from timing import Row, interleaved, ratio_row

from galab.config import RunConfig

IMAGES = 512
CONFIG = RunConfig(strategy="eggroll", seed=1, population=4096, sigma=0.03, pairs="antithetic", compile="on")
_RANKS = (1, 4)
#: The algorithm of the official library, which is measured everywhere and in both precisions.
_OFFICIAL = "hyperscale"
#: Those that take so long, or so much memory, that they are measured at small populations only; float32, rank 1.
_SLOW = {256: ("evosax", "eggroll-trainer", "torcheggroll"), 1024: ("evosax", "eggroll-trainer")}
#: Population, rank, precision, library, and how many times as fast at least.
_BARS = {
    (256, 1, "float32", "evosax"): 30.0,
    (256, 1, "float32", "eggroll-trainer"): 30.0,
    (4096, 1, "float32", _OFFICIAL): 6.0,
    (4096, 1, "bfloat16", _OFFICIAL): 12.0,
}
#: How many times as long rank 4 may take as rank 1, at this population.
_RANK_BAR = (4096, 1.8)

#: A side: its library, or galab, its rank and its precision.
Side = tuple[str, int, str]


def evolution_rows(rounds: int, population: int) -> list[Row]:
    """Ranks 1 and 4 with so many members."""
    examples = images(IMAGES)
    sides: dict[Side, Callable[[], object]] = {}
    for rank in _RANKS:
        for precision in precisions():
            one = components(CONFIG, examples, population=population, rank=rank, precision=precision)
            check_equal(one, examples)
            sides["galab", rank, precision] = generation(one)
    with ExitStack() as stack:
        if available():
            peers, slow = stack.enter_context(Peers()), _SLOW.get(population, ())
            check_peers(peers, (_OFFICIAL, *slow), one, examples)
            beside = [(_OFFICIAL, rank, precision) for _, rank, precision in sides]
            beside += [(name, 1, "float32") for name in slow]
            for name, rank, precision in beside:
                sides[name, rank, precision] = functools.partial(
                    peers.generation, name, population=population, rank=rank, precision=precision
                )
        times = interleaved({_named(side): call for side, call in sides.items()}, rounds)
    return _selected(f"EGGROLL {population:,}", population, {side: times[_named(side)] for side in sides})


def _named(side: Side) -> str:
    name, rank, precision = side
    return f"{name} {precision}" if name == "evosax" else f"{name} rank {rank} {precision}"


def _selected(title: str, population: int, times: dict[Side, float]) -> list[Row]:
    """Milliseconds of all, then the ratios."""
    rows = [Row(f"{title}: {_named(side)}", spent, "ms") for side, spent in times.items()]
    for rank in _RANKS:
        for precision in ("float32", "bfloat16"):
            mine = times.get(("galab", rank, precision))
            peers = {name: spent for (name, r, p), spent in times.items() if (r, p) == (rank, precision)}
            peers.pop("galab", None)
            whom = {name for *same, name in _BARS if same == [population, rank, precision]} | set(peers)
            against = {name: (peers.get(name), _BARS.get((population, rank, precision, name))) for name in sorted(whom)}
            if precision == "float32":
                against["the best peer"] = (min(peers.values(), default=None), 1.0)
            for name, (theirs, bar) in against.items():
                what = f"{title}: galab rank {rank} {precision} against {name}"
                rows.append(ratio_row(what, theirs, mine, bar, reason=NO_BFLOAT16 if mine is None else NO_PEERS))
    if population == _RANK_BAR[0]:
        for precision in ("float32", "bfloat16"):
            one, four = (times.get(("galab", rank, precision)) for rank in _RANKS)
            what = f"{title}: rank 4 against rank 1, {precision}"
            rows.append(ratio_row(what, four, one, _RANK_BAR[1], "most", NO_BFLOAT16))
    return rows
