"""An update of integer EGGROLL beside its own int8 products alone: the same shapes, the same threads, one process."""

from __future__ import annotations

from collections.abc import Callable

import torch
from sides import generation
from timing import Row, interleaved, ratio_row

from galab.config import RunConfig
from galab.integer.arithmetic import int8_product
from galab.training.build import build, network_and_task
from galab.training.resolve import resolve

_WIDTH, _MEMBERS, _LENGTH, _BAR = 64, 2048, 32, 4.0


def integer_rows(rounds: int) -> list[Row]:
    """An update of D 64, L 1, 2,048 members and 32 bytes."""
    config = RunConfig(
        task="tinyshakespeare", model=f"egg(width={_WIDTH})", strategy="integer-eggroll", population=_MEMBERS, seed=1,
    )  # fmt: skip
    config = resolve(config)
    made = build(config, *network_and_task(config))
    made.search.initial_records()
    times = interleaved({"update": generation(made), "products": _products()}, rounds)
    return [
        Row("integer EGGROLL, D 64, 2,048 members x 32 bytes: an update", times["update"], "ms"),
        Row("its int8 products alone", times["products"], "ms"),
        ratio_row("an update beside its int8 products", times["update"], times["products"], _BAR, "most"),
    ]


def _products() -> Callable[[], None]:
    """The gates, the candidate, the two layers and the head, once for each byte."""
    shapes = [(_WIDTH, _WIDTH)] * 4 + [(_WIDTH, 4 * _WIDTH), (4 * _WIDTH, _WIDTH), (_WIDTH, 256)]
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randint(-127, 128, shape, generator=generator, dtype=torch.int8)

    pairs = [(drawn(_MEMBERS, inputs), drawn(inputs, outputs)) for inputs, outputs in shapes]

    def products() -> None:
        for _ in range(_LENGTH):
            for left, right in pairs:
                int8_product(left, right)

    return products
