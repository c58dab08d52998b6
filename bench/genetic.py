"""Whole generations of genetic algorithms: galab, the naive loop and other people's libraries, side by side.

MLP 784-128-10, mutation only: 8 parents and 32 children at three numbers of images, then more and more children.
The rows of peers need ``make bench-peers``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from machine import NO_BFLOAT16, precisions
from peers.client import Peers, available
from peers.libraries import MODULES
from sides import check_equal, check_peers, components, generation, images, naive_generation
from timing import Row, interleaved, ratio_row

from galab.config import RunConfig

CONFIG = RunConfig(seed=1, parents=8, children=32, crossover="none", mutate="dense", mutate_rank=1)
#: What a child differs from its parent by, and what that takes. Compiling gains nothing where products of matrices are
#: nearly all there is.
CHILDREN: dict[str, dict[str, Any]] = {
    "dense": {"mutate": "dense"}, "rank-1": {"mutate": "low-rank", "compile": "on"},
}  # fmt: skip
NAIVE, BEST = "the naive loop", "the best peer"
NO_PEERS = "no peers; run make bench-peers"
_PEERS = tuple(MODULES["genetic"])
#: Images, children, precision, against whom, and how many times as fast at least.
_BARS = {
    (60_000, "dense", "float32", NAIVE): 1.0,
    (60_000, "dense", "bfloat16", NAIVE): 4.0,
    (60_000, "dense", "bfloat16", BEST): 5.0,
    (60_000, "rank-1", "bfloat16", BEST): 9.0,
    (4_096, "rank-1", "bfloat16", NAIVE): 8.0,
    **{(size, kind, "float32", BEST): 1.0 for size in (60_000, 4_096, 512) for kind in CHILDREN},
}
#: Children of 8 parents on so many images, and how many times as long the most may take as the fewest.
_GROWING, _GROWING_IMAGES, _GROWING_BAR = (32, 128, 512, 1024), 512, 14.0


def genetic_rows(rounds: int, size: int) -> list[Row]:
    """8 parents and 32 children on so many images."""
    examples = images(size)
    ours = {
        (kind, precision): components(CONFIG, examples, precision=precision, **options)
        for kind, options in CHILDREN.items()
        for precision in precisions()
    }
    for one in ours.values():
        check_equal(one, examples)
    plain = ours["dense", "float32"]
    sides: dict[str, Callable[[], object]] = {f"galab {k} {p}": generation(one) for (k, p), one in ours.items()}
    sides[NAIVE] = naive_generation(plain, examples)
    with ExitStack() as stack:
        if available():
            peers = stack.enter_context(Peers("genetic"))
            check_peers(peers, _PEERS, plain, examples)
            sides |= {name: functools.partial(peers.generation, name, population=32) for name in _PEERS}
        times = interleaved(sides, rounds)
    title = f"GA (8, 32), {size:,} images"
    # Named by the images that were asked for: an embedded subset is smaller, and no row of the full set.
    few = None if len(examples) == size else f"{len(examples):,} images are at hand"
    return _selected(title, size, {} if few else times, few or NO_BFLOAT16)


def _selected(title: str, size: int, times: dict[str, float], why: str) -> list[Row]:
    """Milliseconds of all, then the ratios that have bars."""
    rows = [Row(f"{title}: {name}", spent, "ms") for name, spent in times.items()]
    theirs = [times[name] for name in _PEERS if name in times]
    against = {NAIVE: times.get(NAIVE), BEST: min(theirs, default=None)}
    for (where, kind, precision, whom), bar in _BARS.items():
        if where == size:
            what = f"{title}: galab {kind} {precision} against {whom}"
            mine, other = times.get(f"galab {kind} {precision}"), against[whom]
            rows.append(ratio_row(what, other, mine, bar, reason=why if mine is None else NO_PEERS))
    return rows


def children_rows(rounds: int) -> list[Row]:
    """More and more children of 8 parents, of both kinds."""
    examples, rows = images(_GROWING_IMAGES), []
    for kind in CHILDREN:
        for precision in ("float32", "bfloat16"):
            title = f"GA, 8 parents, {_GROWING_IMAGES} images, {kind} {precision}"
            times: dict[str, float] = {}
            if precision in precisions():
                options = CHILDREN[kind] | {"precision": precision}
                runs = {n: components(CONFIG, examples, children=n, **options) for n in _GROWING}
                check_equal(runs[_GROWING[-1]], examples)
                times = interleaved({str(n): generation(one) for n, one in runs.items()}, rounds)
                rows += [Row(f"{title}: {int(n):,} children", spent, "ms") for n, spent in times.items()]
            if kind == "rank-1":
                few, many = times.get(str(_GROWING[0])), times.get(str(_GROWING[-1]))
                what = f"{title}: {_GROWING[-1]:,} children against {_GROWING[0]}"
                rows.append(ratio_row(what, many, few, _GROWING_BAR, "most", NO_BFLOAT16))
    return rows
