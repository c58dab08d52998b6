"""Where a generation's time goes: noise and decoding at 512 images, and arithmetic at 60,000.

The noise path is everything that makes weights or directions out of seeds, measured inside whole generations.
"""

from __future__ import annotations

import functools
import statistics
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import evolution
import genetic
import torch
from machine import NO_BFLOAT16, precisions
from peers import clock
from sides import components, generation, images
from timing import Row, interleaved

from galab.config import RunConfig
from galab.genome import random
from galab.genome.decoder import Decoder
from galab.operators import es_noise
from galab.training.search import RunComponents

_NOISE_BAR, _PEAK_BAR = 15.0, 45.0
_IMAGES = 512
#: Whose time is noise: the decoder, and whatever turns seeds into numbers.
_DRAWS = (random.words, random.words_at, random.codes, random.draw, random.draw_all, es_noise.draw)


class Stopwatch:
    """Seconds that one thread spent inside some functions, calls among themselves counted once."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._thread = threading.get_ident()
        self._inside = False

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its time counted."""

        @functools.wraps(function)
        def timed(*arguments: Any, **options: Any) -> Any:
            if self._inside or threading.get_ident() != self._thread:
                return function(*arguments, **options)
            self._inside, start = True, clock.now()
            try:
                return function(*arguments, **options)
            finally:
                self._inside = False
                self.seconds += clock.now() - start

        return timed


@contextmanager
def noise_timed() -> Iterator[Stopwatch]:
    """Count what the decoder and the drawing functions take, under every name that galab's modules know them by."""
    watch = Stopwatch()
    modules = [module for name, module in sys.modules.items() if name.partition(".")[0] == "galab"]
    with ExitStack() as stack:
        for function in _DRAWS:
            timed = watch.around(function)
            for module in modules:
                for name in [name for name, value in vars(module).items() if value is function]:
                    stack.enter_context(mock.patch.object(module, name, timed))
        for name, method in list(vars(Decoder).items()):
            if callable(method) and not name.startswith("_"):
                stack.enter_context(mock.patch.object(Decoder, name, watch.around(method)))
        yield watch


def noise_rows(rounds: int) -> list[Row]:
    """Noise and decoding as a share of a generation."""
    kinds: dict[str, tuple[RunConfig, dict[str, Any]]] = {
        f"GA (8, 32) {kind}": (genetic.CONFIG, options) for kind, options in genetic.CHILDREN.items()
    }
    kinds |= {f"EGGROLL {n:,} rank 1": (evolution.CONFIG, {"population": n}) for n in (256, 4096)}
    rows = []
    for what, (config, changes) in kinds.items():
        for precision in ("float32", "bfloat16"):
            title = f"{what} {precision}, {_IMAGES} images: noise and decoding"
            if precision not in precisions():
                rows.append(Row(title, None, "%", _NOISE_BAR, reason=NO_BFLOAT16))
                continue
            one = components(config, images(_IMAGES), precision=precision, **changes)
            rows.append(Row(title, 100 * _noise_share(one, 4 * rounds), "%", _NOISE_BAR))
    return rows


def _noise_share(one: RunComponents, rounds: int) -> float:
    """The median over generations."""
    once, shares = generation(one), []
    once()
    with noise_timed() as watch:
        for _ in range(rounds):
            before, start = watch.seconds, clock.now()
            once()
            shares.append((watch.seconds - before) / (clock.now() - start))
    return statistics.median(shares)


def peak_rows(rounds: int) -> list[Row]:
    """Arithmetic of a generation of dense children on all images, against matrix products of the same shape alone."""
    examples = images()
    title = f"GA (8, 32) dense, {len(examples):,} images"
    rows = []
    for precision in ("float32", "bfloat16"):
        what, bar = f"{title}: {precision} share of the GEMM peak", _PEAK_BAR if precision == "bfloat16" else None
        if precision not in precisions():
            rows.append(Row(what, None, "%", bar, "least", NO_BFLOAT16))
            continue
        one = components(genetic.CONFIG, examples, precision=precision)
        members, inputs, hidden, outputs = one.config.children, 784, 128, 10
        products = {str(block): _product(block, inputs, members * hidden, precision) for block in (512, 1024, 4096)}
        times = interleaved({"generation": generation(one), **products}, rounds)
        gflops = {block: 2e-6 * _REPEATS * int(block) * inputs * members * hidden / times[block] for block in products}
        work = 2e-6 * len(examples) * members * hidden * (inputs + outputs)
        peak = max(gflops.values())
        rows.append(Row(f"GEMM peak, {precision}: B x 784 by 784 x 4,096", peak, "GFLOP/s"))
        rows.append(Row(what, 100 * work / times["generation"] / peak, "%", bar, "least"))
    return rows


#: Products in a row, so that a call is long against the clock.
_REPEATS = 8


def _product(block: int, inputs: int, outputs: int, precision: str) -> Callable[[], None]:
    """The first layer of all members on a block of images, several times."""
    dtype = getattr(torch, precision)
    left, right = torch.randn(block, inputs).to(dtype), torch.randn(inputs, outputs).to(dtype)
    into = torch.empty(block, outputs, dtype=dtype)

    def once() -> None:
        for _ in range(_REPEATS):
            torch.mm(left, right, out=into)

    return once
