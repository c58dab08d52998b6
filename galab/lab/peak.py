"""How fast this machine multiplies matrices, to hold a run's speed against; and how much a network has to multiply."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from galab.contracts import Task
from galab.evaluation.blocks import DTYPES

_SECONDS, _LEAST = 0.15, 3
#: The largest product that is tried, in numbers of its result.
_MOST_RESULTS = 1 << 23


@dataclass(frozen=True, slots=True)
class Work:
    """What a network's Linear and Conv layers multiply for one example; biases and all other layers are left out.

    Attributes:
        operations: multiplications and additions, two for each weight at each place where it is used.
        rows: places where the largest layer is used.
        inner: numbers that it sums over.
        columns: its outputs at each place.
    """

    operations: int
    rows: int
    inner: int
    columns: int


def work_of(module: nn.Module, task: Task) -> Work | None:
    """What a network multiplies; None where it has no such layer.

    Args:
        module: the network.
        task: gives an example.
    """
    found: list[Work] = []

    def note(layer: Any, _inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            weight = layer.weight
            columns, inner = len(weight), weight[0].numel()
            rows = output[:1].numel() // columns
            found.append(Work(2 * rows * inner * columns, rows, inner, columns))

    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    handles = [layer.register_forward_hook(note) for layer in module.modules() if isinstance(layer, kinds)]
    try:
        with torch.no_grad():
            module(task.train.inputs[:2])
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        return None
    largest = max(found, key=lambda work: work.operations)
    total = sum(work.operations for work in found)
    return Work(total, largest.rows, largest.inner, largest.columns)


def operations_per_second(work: Work, *, members: int, examples: int, precision: str, device: torch.device) -> float:
    """Of one product of matrices as large as the largest layer of many members on many examples; the fastest of some.

    Args:
        work: see :func:`work_of`.
        members: evaluated at once.
        examples: at once.
        precision: ``float32`` or ``bfloat16``.
        device: a torch device.
    """
    columns = max(1, min(members * work.columns, _MOST_RESULTS // 64))
    rows = max(1, min(examples * work.rows, _MOST_RESULTS // columns))
    one = torch.full((rows, work.inner), 0.5, dtype=DTYPES[precision], device=device)
    other = torch.full((work.inner, columns), 0.5, dtype=DTYPES[precision], device=device)
    out = torch.empty(rows, columns, dtype=DTYPES[precision], device=device)
    seconds: list[float] = []
    with torch.inference_mode():
        torch.mm(one, other, out=out)  # the first time is always slow
        while len(seconds) < _LEAST or sum(seconds) < _SECONDS:
            began = _now(device)
            torch.mm(one, other, out=out)
            seconds.append(_now(device) - began)
    return 2.0 * rows * work.inner * columns / min(seconds)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
