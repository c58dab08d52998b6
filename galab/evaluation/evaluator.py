"""Scores members of one module on one set of examples, in chunks of a fixed size."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from galab.contracts import Examples, Task
from galab.evaluation.population import FORWARDS, block_size, choose_forward
from galab.evaluation.process import settle_kernels
from galab.genome.phenotype import SCALE, Layout, Phenotype

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

#: From outputs (P, b, C), targets (b,) and the place of the first of these examples to named results (P, b).
EachExample = Callable[[Tensor, Tensor, int], Mapping[str, Tensor]]
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Measurements:
    """What members scored on a set of examples.

    Attributes:
        means: name to (P,) float64, means over the examples; NaN where a member failed.
        failures: index to the reason.
        evaluations: number of (member, example) pairs that were computed.
        examples: name to (P, B), what was asked for example by example; NaN, or 0 in whole numbers, where a member
            failed.
    """

    means: dict[str, NDArray[np.float64]]
    failures: dict[int, str]
    evaluations: int
    examples: Arrays = field(default_factory=dict)


class Evaluator:
    """Runs members of a module; how they are run is decided once, here, and belongs to the numeric profile.

    Args:
        module: the network; only its structure and buffers are used.
        layout: where each parameter lies in a flat weight vector.
        task: gives ``measure`` and the shape of the examples.
        chunk: members evaluated at once; fewer are padded to exactly this number, because float results differ in
            the last bits between group sizes.
        precision: ``float32`` or ``bfloat16``.
        device: a torch device.
    """

    def __init__(
        self, module: nn.Module, layout: Layout, task: Task, *, chunk: int, precision: str, device: torch.device
    ) -> None:
        settle_kernels()
        self.chunk = chunk
        self.precision = precision
        self._layout = layout
        self._task = task
        self._dtype = DTYPES[precision]
        self._device = device
        # A copy, so that its float buffers can take the precision of the weights that they meet.
        self._module = copy.deepcopy(module).to(device=device, dtype=self._dtype)
        self._staging = torch.empty(chunk, layout.size, dtype=torch.float32, pin_memory=device.type == "cuda")
        # On the CPU the staging area is the place itself, and copying it onto itself costs nothing.
        self._weights = self._staging if device.type == "cpu" else torch.empty_like(self._staging, device=device)
        probe = self._cast(task.train.inputs[:4].to(device))
        # Members unlike each other, so that a forward that takes one for another is found out.
        self._weights.copy_(self._staging.uniform_(-0.2, 0.2, generator=torch.Generator().manual_seed(0)))
        with torch.inference_mode():
            self.forward_name = choose_forward(self._module, self._parameters(), probe)
            self.block = block_size(self.forward_name, self._module, self._parameters(), probe)
        self._forward = FORWARDS[self.forward_name]

    @property
    def outputs(self) -> int:
        """Number of outputs of the network."""
        return self._task.outputs

    def measure(
        self, members: Sequence[Phenotype], examples: Examples, each: EachExample | None = None
    ) -> Measurements:
        """Mean metrics of each member over the examples.

        A chunk that raises is repeated member by member, so one bad member fails alone.

        Args:
            members: whom to score.
            examples: on what.
            each: what to compute example by example besides.
        """
        count = len(members)
        sums, rows, failures = [], [], {}
        for start in range(0, count, self.chunk):
            group = list(members[start : start + self.chunk])
            try:
                found = self._chunk(group, examples, each)
            except Exception:
                found, failed = self._one_by_one(group, examples, each)
                failures.update({start + index: reason for index, reason in failed.items()})
            sums.append(found[0])
            rows.append(found[1])
        means = {name: values / len(examples) for name, values in _joined(sums, count).items()}
        return Measurements(means, failures, count * len(examples), _joined(rows, count))

    def prepared(self, examples: Examples) -> Examples:
        """The examples on the device and in the precision of the forward, for those that are used every generation."""
        return Examples(self._cast(examples.inputs.to(self._device)), examples.targets.to(self._device))

    def _chunk(self, group: list[Phenotype], examples: Examples, each: EachExample | None) -> tuple[Arrays, Arrays]:
        """Sums over the examples for one chunk, name to (chunk,), and what ``each`` gave, name to (chunk, B).

        Ragged chunks are padded with their last member.
        """
        rows = self._staging.numpy()
        for row in range(self.chunk):
            # int32 to float32 rounds once; the scaling by a power of two is exact: the weights are the genome's.
            rows[row] = group[min(row, len(group) - 1)].weights
        self._weights.copy_(self._staging).mul_(1 / SCALE)
        totals: dict[str, Tensor] = {}
        blocks: dict[str, list[Tensor]] = {}
        with torch.inference_mode():
            parameters = self._parameters()
            for start in range(0, len(examples), self.block):
                inputs = self._cast(examples.inputs[start : start + self.block].to(self._device))
                targets = examples.targets[start : start + self.block].to(self._device)
                outputs = self._forward(self._module, parameters, inputs).float()
                # Before the task, whose measure may overwrite what it is given.
                for name, part in each(outputs, targets, start).items() if each else ():
                    blocks.setdefault(name, []).append(part)
                for name, sums in self._task.measure(outputs, targets).items():
                    totals[name] = totals.get(name, 0) + sums.double()
        return (
            {name: total.cpu().numpy() for name, total in totals.items()},
            {name: torch.cat(parts, dim=1).cpu().numpy() for name, parts in blocks.items()},
        )

    def _one_by_one(
        self, group: list[Phenotype], examples: Examples, each: EachExample | None
    ) -> tuple[tuple[Arrays, Arrays], dict[int, str]]:
        sums: Arrays = {}
        rows: Arrays = {}
        failures = {}
        for index, member in enumerate(group):
            try:
                found = self._chunk([member], examples, each)
            except Exception as error:
                failures[index] = f"{type(error).__name__}: {error}"
                continue
            for into, values in zip((sums, rows), found, strict=True):
                for name, value in values.items():
                    into.setdefault(name, _blank(value))[index] = value[0]
        return (sums, rows), failures

    def _parameters(self) -> dict[str, Tensor]:
        """The chunk's weights by name, (P, *shape), in the precision of the forward."""
        parts = zip(self._layout.names, self._layout.shapes, self._layout.starts, self._layout.sizes, strict=True)
        # Each stack is made contiguous: GEMM needs the members of one tensor side by side.
        return {
            name: self._weights[:, at : at + size].to(self._dtype).contiguous().view(self.chunk, *shape)
            for name, shape, at, size in parts
        }

    def _cast(self, inputs: Tensor) -> Tensor:
        return inputs.to(self._dtype) if inputs.is_floating_point() else inputs


def _joined(parts: list[Arrays], count: int) -> Arrays:
    """Chunks one after the other, without the padding at the end; blank where a chunk has nothing of a name."""
    kinds = {name: values for part in parts for name, values in part.items()}
    return {
        name: np.concatenate([part[name] if name in part else _blank(kind) for part in parts])[:count]
        for name, kind in kinds.items()
    }


def _blank(like: NDArray[Any]) -> NDArray[Any]:
    """An array of this shape and kind that says of every member that it failed."""
    return np.full_like(like, np.nan if np.issubdtype(like.dtype, np.floating) else 0)
