"""Scores decoded members of one module on one set of examples, in chunks of a fixed size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from galab.contracts import Examples, Member, Task
from galab.errors import errors_ignored
from galab.evaluation.batched.compiled import Compiled, Eager, try_to_compile
from galab.evaluation.batched.dense import FORWARDS, block_size, choose_forward
from galab.evaluation.batched.product_cache import Products
from galab.evaluation.blocks import Arrays, Blocks, EachExample, join_chunks, one_by_one
from galab.evaluation.numeric_profile import warm_up_kernels
from galab.genome.weights import Layout


@dataclass(frozen=True, slots=True)
class Measurements:
    """Measurements of members on a set of examples.

    Attributes:
        means: name to (P,) float64, means over the examples; NaN where a member failed.
        failures: index to the reason.
        evaluations: number of (member, example) pairs that were computed.
        examples: name to (P, B), what was asked for example by example; NaN, or 0 in whole numbers, where a member
            failed.
        spent: what else it took, by unit, see :class:`galab.contracts.Scores`.
        observed: what policies saw, where it was asked for, see there.
    """

    means: dict[str, NDArray[np.float64]]
    failures: dict[int, str]
    evaluations: int
    examples: Arrays = field(default_factory=dict)
    spent: dict[str, int] = field(default_factory=dict)
    observed: NDArray[np.float64] | None = None

    def of(self, places: Sequence[int], members: int) -> Measurements:
        """The measurements of some of P = ``members`` members, in the order of ``places``."""
        chosen = list(places)
        return Measurements(
            {name: values[chosen] for name, values in self.means.items()},
            {place: self.failures[old] for place, old in enumerate(chosen) if old in self.failures},
            self.evaluations // members * len(chosen),
            {name: values[chosen] for name, values in self.examples.items()},
        )


def join_measurements(parts: Sequence[tuple[Measurements, int]]) -> Measurements:
    """Concatenate measurements of members.

    Args:
        parts: measurements, each with its number of members.
    """
    failures: dict[int, str] = {}
    start = 0
    for part, members in parts:
        failures |= {start + place: reason for place, reason in part.failures.items()}
        start += members
    return Measurements(
        join_chunks([part.means for part, _ in parts], start),
        failures,
        sum(part.evaluations for part, _ in parts),
        join_chunks([part.examples for part, _ in parts], start),
    )


class Evaluator:
    """Runs members of a module. The way they are run is decided once, here, and belongs to the numeric profile.

    Args:
        module: the network; only its structure and buffers are used.
        layout: where each parameter lies in a flat weight vector.
        task: gives ``measure`` and the shape of the examples.
        chunk: members evaluated at once; fewer are padded to exactly this number, because float results differ in
            the last bits between group sizes.
        precision: ``float32`` or ``bfloat16``.
        device: a torch device.
        compile: ``on`` or ``off``.
        reports_usage: see :class:`Blocks`.
    """

    def __init__(
        self,
        module: nn.Module,
        layout: Layout,
        task: Task,
        *,
        chunk: int,
        precision: str,
        device: torch.device,
        compile: str = "off",
        reports_usage: bool = False,
    ) -> None:
        warm_up_kernels()
        self.chunk = chunk
        self.precision = precision
        self._blocks = Blocks(module, task, precision=precision, device=device, reports_usage=reports_usage)
        # A stack for each tensor, because GEMM needs the members of one tensor side by side.
        self._staging = [
            torch.empty(chunk, *shape, dtype=torch.float32, pin_memory=device.type == "cuda") for shape in layout.shapes
        ]
        # On the CPU the staging area is the place itself.
        self._weights = [one if device.type == "cpu" else torch.empty_like(one, device=device) for one in self._staging]
        self._names = layout.names
        probe = self._blocks.cast(task.train.inputs[:4])
        # All members differ, so that a forward that mixes them up is detected.
        generator = torch.Generator().manual_seed(0)
        for weights, staging in zip(self._weights, self._staging, strict=True):
            weights.copy_(staging.uniform_(-0.2, 0.2, generator=generator))
        with torch.inference_mode():
            self.forward_name = choose_forward(self._blocks.module, self._parameters(), probe)
            self._blocks.block = block_size(self.forward_name, self._blocks.module, self._parameters(), probe)
        self._forward = FORWARDS[self.forward_name]
        self._compiled = self._try_to_compile() if compile == "on" and not self.heads else None

    @property
    def compiled(self) -> bool:
        """Whether the forward of full blocks is compiled."""
        return self._compiled is not None

    @property
    def recompilations(self) -> int:
        """How often it was compiled once more; expected to stay 0."""
        return 0 if self._compiled is None else self._compiled.recompilations

    @property
    def block(self) -> int:
        """Examples evaluated at once."""
        return self._blocks.block

    @property
    def outputs(self) -> int:
        """Number of outputs of the network."""
        return self._blocks.task.outputs

    @property
    def heads(self) -> int:
        """Number of memories whose use is reported."""
        return self._blocks.heads

    def measure(
        self, members: Sequence[Member], examples: Examples, each: EachExample | None = None
    ) -> Measurements:
        """Mean metrics of each member over the examples.

        A chunk that raises is repeated member by member, so one bad member fails alone.

        Args:
            members: to score.
            examples: to score on.
            each: what else to compute, example by example.
        """
        count = len(members)
        sums, rows, failures = [], [], dict[int, str]()
        for start in range(0, count, self.chunk):
            group, found, failed = list(members[start : start + self.chunk]), None, dict[int, str]()

            def alone(place: int, group: list[Member] = group) -> tuple[Arrays, Arrays]:
                return self._chunk([group[place]], examples, each)

            with errors_ignored():
                found = self._chunk(group, examples, each)
            # Outside the handler, so that errors of single members are not chained to this one.
            own, each_own, failed = (*found, failed) if found else one_by_one(len(group), self.chunk, alone)
            failures |= {start + place: reason for place, reason in failed.items()}
            sums.append(own)
            rows.append(each_own)
        means = {name: values / len(examples) for name, values in join_chunks(sums, count).items()}
        return Measurements(means, failures, count * len(examples), join_chunks(rows, count))

    @property
    def module(self) -> nn.Module:
        """The network in the precision of the forward; its weights have no meaning."""
        return self._blocks.module

    def answered(
        self, near: Tensor, classes: Tensor, examples: Examples, each: EachExample | None = None
    ) -> Measurements:
        """What members with memories score, from how near these are to the examples.

        Args:
            near: (P, heads, B), see :class:`galab.contracts.ReportsMemoryUse`.
            classes: (P, heads, outputs) class logits.
            examples: to score on.
            each: what else to compute, example by example.
        """
        module: Any = self.module  # callers have checked that it reports memory use

        def answering(own: Tensor, logits: Tensor) -> tuple[Arrays, Arrays]:
            with torch.inference_mode():
                return self._blocks.sums(
                    lambda inputs, start: module.reply(own[:, :, start : start + len(inputs)], logits), examples, each
                )

        def alone(place: int) -> tuple[Arrays, Arrays]:
            return answering(near[place].expand_as(near), classes[place].expand_as(classes))

        count, found, failures = len(classes), None, dict[int, str]()
        with errors_ignored():
            found = answering(near, classes)
        # Outside the handler, so that errors of single members are not chained to this one.
        sums, rows, failures = (*found, failures) if found else one_by_one(count, count, alone)
        means = {name: values / len(examples) for name, values in sums.items()}
        return Measurements(means, failures, count * len(examples), rows)

    def prepared(self, examples: Examples) -> Examples:
        """See :meth:`Blocks.prepared`."""
        return self._blocks.prepared(examples)

    def _chunk(self, group: list[Member], examples: Examples, each: EachExample | None) -> tuple[Arrays, Arrays]:
        """Sums over the examples for one chunk, name to (chunk,), and what ``each`` gave, name to (chunk, B).

        Ragged chunks are padded with their last member.
        """
        stacks = [staging.view(self.chunk, -1).numpy() for staging in self._staging]
        for row in range(self.chunk):
            group[min(row, len(group) - 1)].write([stack[row] for stack in stacks])
        for weights, staging in zip(self._weights, self._staging, strict=True):
            weights.copy_(staging)  # onto itself, that costs nothing
        with torch.inference_mode():
            parameters = self._parameters()
            module = self._blocks.module

            def shortcut(block: Examples, _: int) -> Mapping[str, Tensor] | None:
                return None if self._compiled is None else self._compiled(parameters, Products(), block)

            return self._blocks.sums(
                lambda inputs, _: self._forward(module, parameters, inputs), examples, each, shortcut
            )

    def _try_to_compile(self) -> Compiled | None:
        train = self._blocks.task.train
        examples = self.prepared(Examples(train.inputs[: self.block], train.targets[: self.block]))
        eager = Eager(self._blocks.module, self._forward, self._blocks.task.measure)
        with torch.inference_mode():
            return try_to_compile(eager, self._parameters(), Products(), examples)

    def _parameters(self) -> dict[str, Tensor]:
        """The chunk's weights by name, (P, *shape), in the precision of the forward."""
        weights = zip(self._names, self._weights, strict=True)
        return {name: stack.to(self._blocks.dtype_of(name)) for name, stack in weights}
