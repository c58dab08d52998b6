"""Scores children without forming their weights: each child is its parent plus a change of low rank.

The children of one parent share its products with the examples in every layer that the examples reach unchanged, so a
first layer costs one product a parent and two vectors a child. Source of the factored forward: Sarkar et al.,
"Evolution Strategies at the Hyperscale", arXiv 2511.16652.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from galab.contracts import Examples, Task
from galab.errors import errors_ignored
from galab.evaluation.batched.low_rank import GroupProducts, LowRank, Stack
from galab.evaluation.batched.product_cache import Lineage, ParentProducts, Products, side_by_side
from galab.evaluation.blocks import Arrays, EachExample, join_chunks, one_by_one
from galab.evaluation.dense_evaluator import Measurements
from galab.evaluation.es_evaluator import Runner, RunnerEvaluator
from galab.genome.deltas import Change, Deltas, Factors, unchanged
from galab.genome.weights import Layout

#: Size of the changes with which the forward is chosen.
_PROBE_SIGMA = 0.1
_COMPILED = "children"
#: Bytes for the weights of all parents of a cohort; above, only the parents of one chunk are kept at a time.
_PARENT_BYTES = 256 << 20


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """A chunk ready to run.

    Attributes:
        stacks: its parameters by name.
        products: that its members share.
        place: (width,) where each member lies among the rows.
    """

    stacks: dict[str, Stack]
    products: Products
    place: NDArray[np.int64]


class DeltaEvaluator(RunnerEvaluator):
    """Runs members expressed as changes to their parents.

    Args:
        module: the network; only its structure and buffers are used.
        layout: where each parameter lies in a flat weight vector.
        task: gives ``measure`` and the shape of the examples.
        chunk: members evaluated at once; fewer are padded to exactly this number, because float results differ in
            the last bits between group sizes.
        parents: the usual number of parents of a cohort.
        rank: of their changes.
        batch: examples of a generation; 0 for all.
        precision: ``float32`` or ``bfloat16``.
        device: a torch device.
        compile: ``on`` or ``off``.

    Attributes:
        chunk: see above.
        rank: see above.
    """

    def __init__(
        self,
        module: nn.Module,
        layout: Layout,
        task: Task,
        *,
        chunk: int,
        parents: int,
        rank: int,
        batch: int,
        precision: str,
        device: torch.device,
        compile: str = "off",
    ) -> None:
        self.chunk = chunk
        # With one member, hidden activations could not be told from shared ones.
        self._width = max(chunk, 2)
        self.rank = rank
        self._layout = layout
        self._device = device
        self._dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        self._slots = parents if 4 * parents * layout.size <= _PARENT_BYTES else min(parents, chunk)
        self._outputs_first = False
        few = self._probe_members(4, 2, Products())
        self._runner = Runner(module, task, precision=precision, device=device, probes=few)
        batch = min(batch or len(task.train), len(task.train))
        self._runner.fit(self._width, batch, compiled=compile == "on")
        if compile == "on":
            self._outputs_first = True
            products = Products(outputs_first=True)
            members = self._probe_members(self._width, self._slots, products)
            self._outputs_first = self._runner.compile(_COMPILED, members, products)

    def bases(self, lineage: Lineage | None = None) -> ParentProducts:
        """An empty cache for the parents of a cohort's members.

        Args:
            lineage: of the individuals; None where generations see different examples.
        """
        return ParentProducts(
            self._layout, self._slots, self._width, dtype=self._dtype, device=self._device,
            outputs_first=self._outputs_first, lineage=lineage,
        )  # fmt: skip

    def measure(
        self,
        numbers: Sequence[int],
        deltas: Deltas,
        bases: ParentProducts,
        examples: Examples,
        each: EachExample | None = None,
    ) -> Measurements:
        """Mean metrics of each member over the examples.

        Args:
            numbers: ids of the members; at most ``chunk``.
            deltas: their changes.
            bases: the cache of their parents.
            examples: to score on.
            each: what else to compute, example by example.
        """
        count, found = len(numbers), None
        failures: dict[int, str] = {}
        ready = self._ready(deltas, bases, range(count))
        with errors_ignored():
            found = self._sums(ready, examples, each)
        if found is None:  # outside the handler, so that errors of single members are not chained to this one
            sums, rows, failures = one_by_one(
                count, count, lambda member: self._sums(self._ready(deltas, bases, [member]), examples, each)
            )
        else:
            sums, rows = found
            # A parent that is scored again has no change from which products could follow.
            children = {numbers[m]: int(ready.place[m]) for m in range(count) if deltas.bases[m] != numbers[m]}
            factors = {name: stack.a for name, stack in ready.stacks.items() if isinstance(stack, LowRank)}
            bases.remember(children, factors, ready.products)
        means = {name: values / len(examples) for name, values in join_chunks([sums], count).items()}
        return Measurements(means, failures, count * len(examples), join_chunks([rows], count))

    def _ready(self, deltas: Deltas, bases: ParentProducts, members: Sequence[int]) -> _Ready:
        """The parameters of these members, padded with the last one."""
        wanted = {deltas.bases[member]: deltas.phenotypes[deltas.bases[member]] for member in members}
        slots = bases.place(wanted)
        # Children of one parent are neighbours, so what they share stays in the processor's cache.
        padded = np.array([*members, *[members[-1]] * (self._width - len(members))])
        slot_of = np.array([slots[deltas.bases[member]] for member in padded])
        order = np.argsort(slot_of, kind="stable")
        which = torch.from_numpy(slot_of[order]).to(self._device)
        products = Products(outputs_first=self._outputs_first, base_products=bases)
        stacks = self._stacks(bases.stacks, deltas.changes, padded[order], which, products)
        return _Ready(stacks, products, np.argsort(order))

    def _sums(self, ready: _Ready, examples: Examples, each: EachExample | None) -> tuple[Arrays, Arrays]:
        """Sums over the examples, name to (width,), and what ``each`` gave, name to (width, B), in the given order."""
        sums, rows = self._runner.sums(ready.stacks, examples, each, ready.products, _COMPILED)
        return (
            {name: values[ready.place] for name, values in sums.items()},
            {name: values[ready.place] for name, values in rows.items()},
        )

    def _stacks(
        self,
        bases: Mapping[str, Tensor],
        changes: Sequence[Change],
        members: NDArray[np.int64],
        which: Tensor,
        products: Products,
    ) -> dict[str, Stack]:
        """The members' parameters by name."""
        stacks: dict[str, Stack] = {}
        for (name, base), change in zip(bases.items(), changes, strict=True):
            if isinstance(change, Factors):
                a, b = self._moved(change.a[members]), self._moved(change.b[members])
                stacks[name] = LowRank(base, a, b, GroupProducts(products, name, b, 0), which)
            else:
                added = torch.from_numpy(np.ascontiguousarray(change[members])).to(self._device)
                stacks[name] = (base[which].float() + added.view(-1, *base.shape[1:])).to(self._dtype)
        return stacks

    def _moved(self, values: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device).to(self._dtype)

    def _probe_members(self, members: int, slots: int, products: Products) -> dict[str, Stack]:
        """Members that all differ."""
        generator = torch.Generator().manual_seed(0)
        weights = torch.rand(slots, self._layout.size, generator=generator) * 0.4 - 0.2
        bases = side_by_side(weights.to(self._dtype).to(self._device), self._layout)
        changes = unchanged(self._layout, self.rank, members)
        for change in changes:
            for values in (change.a, change.b) if isinstance(change, Factors) else (change,):
                values[...] = torch.randn(values.shape, generator=generator).numpy() * _PROBE_SIGMA**0.5
        which = (torch.arange(members) % slots).to(self._device)
        return self._stacks(bases, changes, np.arange(members), which, products)
