"""Runs members of one module over a set of examples, block by block, and adds up what the task measures."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from galab.contracts import Examples, Task, Telling
from galab.evaluation import tracebacks

#: What memories tell of each example: how near the nearest is, and its number.
CLOSENESS, HEADS = "closeness", "heads"

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

#: From outputs (P, b, C), targets (b,) and the place of the first of these examples to named results (P, b).
EachExample = Callable[[Tensor, Tensor, int], Mapping[str, Tensor]]
Arrays = dict[str, NDArray[Any]]
#: From inputs (b, ...) and the place of the first of these examples to outputs (P, b, C).
Answer = Callable[[Tensor, int], Tensor]
#: From a block and the place of its first example to what the task measures, or to None where there is no shorter way.
Shortcut = Callable[[Examples, int], Mapping[str, Tensor] | None]


class Blocks:
    """What every way of running members shares: the module in the precision of the forward, and the sums.

    Args:
        module: the network; only its structure and buffers are used.
        task: gives ``measure``.
        precision: ``float32`` or ``bfloat16``.
        device: a torch device.
        telling: whether memories tell of themselves (:class:`galab.contracts.Telling`); others have nothing to tell.

    Attributes:
        block: examples evaluated at once.
        heads: number of memories that tell of themselves.
    """

    def __init__(
        self, module: nn.Module, task: Task, *, precision: str, device: torch.device, telling: bool = False
    ) -> None:
        self.task = task
        self.dtype = DTYPES[precision]
        self.device = device
        # A copy, so that its float buffers can take the precision of the weights that they meet.
        self.module = copy.deepcopy(module).to(device=device, dtype=self.dtype)
        self.block = len(task.train)
        self.heads = 0
        if telling and isinstance(self.module, Telling):
            self.module.telling = True
            self.heads = self.module.heads

    def cast(self, inputs: Tensor) -> Tensor:
        """Inputs on the device, in the precision of the forward."""
        inputs = inputs.to(self.device)
        return inputs.to(self.dtype) if inputs.is_floating_point() else inputs

    def prepared(self, examples: Examples) -> Examples:
        """The examples on the device and in the precision of the forward, for those that are used every generation."""
        return Examples(self.cast(examples.inputs), examples.targets.to(self.device))

    def sums(
        self, answer: Answer, examples: Examples, each: EachExample | None, shortcut: Shortcut | None = None
    ) -> tuple[Arrays, Arrays]:
        """Sums over the examples, name to (P,), and what ``each`` gave, name to (P, B).

        Args:
            answer: runs the members.
            examples: on what.
            each: what to compute example by example besides.
            shortcut: asked first where nothing is wanted example by example.
        """
        totals: dict[str, Tensor] = {}
        blocks: dict[str, list[Tensor]] = {}
        for start in range(0, len(examples), self.block):
            inputs = self.cast(examples.inputs[start : start + self.block])
            targets = examples.targets[start : start + self.block].to(self.device)
            # What memories tell comes example by example too.
            short = None if each or self.heads else shortcut
            measured = None if short is None else short(Examples(inputs, targets), start)
            if measured is None:
                outputs = answer(inputs, start).float()
                if self.heads:
                    outputs, told = outputs[..., :-2], outputs[..., -2:]
                    blocks.setdefault(CLOSENESS, []).append(told[..., 0])
                    blocks.setdefault(HEADS, []).append(told[..., 1].int())
                # Before the task, whose measure may overwrite what it is given.
                for name, part in each(outputs, targets, start).items() if each else ():
                    blocks.setdefault(name, []).append(part)
                measured = self.task.measure(outputs, targets)
            for name, sums in measured.items():
                totals[name] = totals.get(name, 0) + sums.double()
        return (
            {name: total.cpu().numpy() for name, total in totals.items()},
            {name: torch.cat(parts, dim=1).cpu().numpy() for name, parts in blocks.items()},
        )


def joined(parts: list[Arrays], count: int) -> Arrays:
    """Chunks one after the other, without the padding at the end; blank where a chunk has nothing of a name."""
    kinds = {name: values for part in parts for name, values in part.items()}
    return {
        name: np.concatenate([part[name] if name in part else blank(kind) for part in parts])[:count]
        for name, kind in kinds.items()
    }


def blank(like: NDArray[Any]) -> NDArray[Any]:
    """An array of this shape and kind that says of every member that it failed."""
    return np.full_like(like, np.nan if np.issubdtype(like.dtype, np.floating) else 0)


def one_by_one(
    members: int, size: int, measure: Callable[[int], tuple[Arrays, Arrays]]
) -> tuple[Arrays, Arrays, dict[int, str]]:
    """Members of a chunk that raised, measured each alone, so that one bad member fails alone.

    Args:
        members: how many.
        size: rows of the result, of which the first ones are theirs.
        measure: sums and rows of a member, in the first place of arrays of any length.

    Returns:
        Sums, name to (size,), and rows, name to (size, B), blank where a member failed; and why those failed.
    """
    sums: Arrays = {}
    rows: Arrays = {}
    failures: dict[int, str] = {}
    for member in range(members):
        try:
            found = measure(member)
        except Exception as error:
            failures[member] = f"{type(error).__name__}: {error}"
            tracebacks.tell(error)
            continue
        for into, values in zip((sums, rows), found, strict=True):
            for name, value in values.items():
                into.setdefault(name, blank(np.resize(value, (size, *value.shape[1:]))))[member] = value[0]
    return sums, rows, failures
