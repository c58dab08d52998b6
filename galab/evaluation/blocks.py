"""Run members over examples, block by block, and sum what the task measures; the minibatch of a generation."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from galab.contracts import Examples, FreshExamples, Member, ReportsMemoryUse, Task
from galab.errors import pass_interrupts
from galab.evaluation import numeric_profile
from galab.genome.parameters import own_dtypes
from galab.genome.random import Stream, codes, permutation
from galab.genome.weights import Layout

#: What memories report for each example: how near the nearest is, and its number.
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
    """The module in the precision of the forward, and sums over blocks of examples.

    Args:
        module: the network; only its structure and buffers are used.
        task: gives ``measure``.
        precision: ``float32`` or ``bfloat16``.
        device: a torch device.
        reports_usage: whether memories report their use (:class:`galab.contracts.ReportsMemoryUse`).

    Attributes:
        block: examples evaluated at once.
        heads: number of memories whose use is reported.
    """

    def __init__(
        self, module: nn.Module, task: Task, *, precision: str, device: torch.device, reports_usage: bool = False
    ) -> None:
        self.task = task
        self.dtype = DTYPES[precision]
        self.device = device
        # A module that mixes types says itself where it needs which; in bfloat16 all take the precision of the forward.
        self._own_dtypes = own_dtypes(module) if self.dtype == torch.float32 else {}
        # A copy, so that its float buffers can take the precision of the weights that they meet.
        own = copy.deepcopy(module)
        self.module = own.to(device=device) if self._own_dtypes else own.to(device=device, dtype=self.dtype)
        self.block = len(task.train)
        self.heads = 0
        if reports_usage and isinstance(self.module, ReportsMemoryUse):
            self.module.reports_usage = True
            self.heads = self.module.heads

    def dtype_of(self, name: str) -> torch.dtype:
        """The type in which the module is given the values of a parameter."""
        return self._own_dtypes.get(name, self.dtype)

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
            examples: to run on.
            each: what else to compute, example by example.
            shortcut: asked first where nothing is wanted example by example.
        """
        totals: dict[str, Tensor] = {}
        blocks: dict[str, list[Tensor]] = {}
        for start in range(0, len(examples), self.block):
            inputs = self.cast(examples.inputs[start : start + self.block])
            targets = examples.targets[start : start + self.block].to(self.device)
            # Memories report example by example too.
            short = None if each or self.heads else shortcut
            measured = None if short is None else short(Examples(inputs, targets), start)
            if measured is None:
                outputs = answer(inputs, start).float()
                if self.heads:
                    outputs, report = outputs[..., :-2], outputs[..., -2:]
                    blocks.setdefault(CLOSENESS, []).append(report[..., 0])
                    blocks.setdefault(HEADS, []).append(report[..., 1].int())
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


def join_chunks(parts: list[Arrays], count: int) -> Arrays:
    """Chunks one after the other, without the padding at the end; blank where a chunk has nothing of a name."""
    kinds = {name: values for part in parts for name, values in part.items()}
    return {
        name: np.concatenate([part[name] if name in part else blank(kind) for part in parts])[:count]
        for name, kind in kinds.items()
    }


def blank(like: NDArray[Any]) -> NDArray[Any]:
    """An array of this shape and type in which every member has failed."""
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
        except BaseException as error:
            pass_interrupts(error)
            failures[member] = f"{type(error).__name__}: {error}"
            numeric_profile.log_member_failure(error)
            continue
        for into, values in zip((sums, rows), found, strict=True):
            for name, value in values.items():
                into.setdefault(name, blank(np.resize(value, (size, *value.shape[1:]))))[member] = value[0]
    return sums, rows, failures


def stacked(layout: Layout, members: Sequence[Member]) -> dict[str, NDArray[np.float32]]:
    """The weights of P members by the name of the parameter, (P, *shape) each."""
    stacks = {
        name: np.empty((len(members), *shape), dtype=np.float32)
        for name, shape in zip(layout.names, layout.shapes, strict=True)
    }
    for row, member in enumerate(members):
        member.write([stacks[name][row].reshape(-1) for name in layout.names])
    return stacks


def added(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sums of what was spent, by unit."""
    total: dict[str, int] = {}
    for part in parts:
        for unit, number in part.items():
            total[unit] = total.get(unit, 0) + number
    return total


def rows_of(parts: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    """The rows of all parts, one after the other; None where they were not asked for."""
    present = [own for own in parts if own is not None]
    return np.concatenate(present) if present else None


#: Generations from here on are second looks at the best members, with examples of their own.
SECOND_LOOK = 1 << 40
#: From run key, generation and size to the examples of that generation.
Fresh = Callable[[int, int, int], Examples]


class Minibatches:
    """Gives every generation its examples, the same for all members.

    A task that makes its own gives each generation fresh ones. Else the training data is cut into as many minibatches
    as fit, in a new random order for each epoch, so every example is seen equally often. Which ones a generation sees
    depends on the run key and its number alone.

    Args:
        examples: the training data.
        size: examples per generation; 0, or as many as there are, gives all of them every time. Of fresh ones there
            are as many as are asked for, and 0 takes the number of the training data.
        run_key: the run's key.
        fresh: makes the examples of a generation, see :func:`fresh_examples`.
        second: how many examples a second look has, see :data:`SECOND_LOOK`.

    Attributes:
        fixed: whether every generation sees the same examples.
        size: examples per generation.
        examples: the training data.
    """

    def __init__(
        self, examples: Examples, size: int, run_key: int, fresh: Fresh | None = None, second: int | None = None
    ) -> None:
        whole = size == 0 or (size >= len(examples) and fresh is None)
        self.fixed = whole and fresh is None
        self.size = len(examples) if whole else size
        self.examples = examples
        self._fresh = fresh
        self._second = second or self.size
        self._made: tuple[int, Examples] | None = None
        self._run_key = run_key
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    def of(self, generation: int) -> Examples:
        """The examples of a generation, numbered from 1."""
        if self.fixed:
            return self.examples
        if self._fresh is not None:
            # The last ones are kept: parents may be scored again on the examples of their children.
            if self._made is None or self._made[0] != generation:
                size = self._second if generation >= SECOND_LOOK else self.size
                self._made = generation, self._fresh(self._run_key, generation, size)
            return self._made[1]
        per_epoch = len(self.examples) // self.size
        epoch, place = divmod(generation - 1, per_epoch)
        if epoch != self._epoch:
            self._order = torch.from_numpy(permutation(len(self.examples), self._run_key, epoch, Stream.BATCH))
            self._order = self._order.to(self.examples.targets.device)
            self._epoch = epoch
        # Gathered in each generation: a whole epoch at once would be another copy of the data.
        part = self._order[place * self.size : (place + 1) * self.size]
        return Examples(self.examples.inputs[part], self.examples.targets[part])

    def coins(self, generation: int) -> torch.Tensor:
        """One number between 0 and 1, both excluded, per example of a generation: (B,) float32, where the examples are.

        The same for all members, and others in every generation.
        """
        drawn = codes(self._run_key, generation, Stream.COINS, self.size)
        # Seventeen bits and a power of two: float32 holds each of these numbers exactly.
        numbers = (drawn.astype(np.float32) + np.float32(0.5)) / np.float32(65536)
        return torch.from_numpy(numbers).to(self.examples.targets.device)


def fresh_examples(task: Task, prepared: Callable[[Examples], Examples]) -> Fresh | None:
    """A function that makes a generation's fresh examples; None where the task has fixed ones.

    Args:
        task: what is learned.
        prepared: brings examples to where and into what they are used in (``Evaluator.prepared``).
    """
    if not isinstance(task, FreshExamples):
        return None
    return lambda run_key, generation, size: prepared(task.sample(run_key, generation, size))
