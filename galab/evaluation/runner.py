"""Runs members that are given as stacks of parameters; how they are run is decided once."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping

import torch
from torch import Tensor, nn

from galab.contracts import Examples, Task
from galab.evaluation.around import ACTIVATION_BYTES, COMPILED_BYTES, widest_bytes
from galab.evaluation.blocks import Arrays, Blocks, EachExample
from galab.evaluation.compiled import Compiled, Eager, try_to_compile
from galab.evaluation.low_rank import Stack
from galab.evaluation.perturbed import PERTURBED_FORWARDS, choose_perturbed_forward
from galab.evaluation.population import fitting_examples, power_of_two
from galab.evaluation.process import settle_kernels
from galab.evaluation.products import Products

#: A compiled pass reads a base's product column by column for every member: beyond this it comes from further away
#: than the second cache, and every row from a page of its own, at half the speed.
_TILE_BYTES = 256 << 10
_FEWEST = 256
#: Numbers in the widest registers.
_REGISTER = 16


class Runner:
    """What evaluators of members with parameters of low rank have in common.

    Args:
        module: the network; only its structure and buffers are used.
        task: gives ``measure`` and the shape of the examples.
        precision: ``float32`` or ``bfloat16``.
        device: a torch device.
        probes: some members unlike each other, so that a forward that takes one for another is found out.

    Attributes:
        blocks: cuts examples into blocks.
        forward_name: how members are run, see :mod:`galab.evaluation.perturbed`.
    """

    def __init__(
        self, module: nn.Module, task: Task, *, precision: str, device: torch.device, probes: Mapping[str, Stack]
    ) -> None:
        settle_kernels()
        self.blocks = Blocks(module, task, precision=precision, device=device)
        self._probe = self.blocks.cast(task.train.inputs[:4])
        with torch.inference_mode():
            self.forward_name = choose_perturbed_forward(self.blocks.module, probes, self._probe)
        self._forward = PERTURBED_FORWARDS[self.forward_name]
        self._compiled: dict[Hashable, Compiled] = {}

    @property
    def compiled(self) -> bool:
        """Whether full chunks on full blocks are run compiled."""
        return bool(self._compiled)

    @property
    def recompilations(self) -> int:
        """How often compiled forwards were compiled once more; expected to stay 0."""
        return sum(made.recompilations for made in self._compiled.values())

    @property
    def probe(self) -> Tensor:
        """A few inputs."""
        return self._probe

    def fit(self, chunk: int, batch: int, *, compiled: bool) -> None:
        """Choose the block: activations within bounds, and a part of the batch where there is one of about that size.

        Args:
            chunk: members run at once.
            batch: examples of a generation.
            compiled: whether the forward is going to be compiled; then only full blocks are.
        """
        widest = widest_bytes(self.blocks.module, self._probe)
        block = fitting_examples(widest * chunk, 2 * (COMPILED_BYTES if compiled else ACTIVATION_BYTES))
        if compiled:
            block = min(block, max(_FEWEST, power_of_two(_TILE_BYTES, widest)))
        block = min(block, batch)
        # The fewest parts that fit, if they are equal and fill registers; else up to twice as many parts.
        parts = math.ceil(batch / block)
        sizes = (batch // count for count in range(parts, 2 * parts + 1) if not batch % count)
        self.blocks.block = next((size for size in sizes if not size % _REGISTER), block)

    def compile(self, kind: Hashable, members: Mapping[str, Stack], products: Products) -> bool:
        """Compile for members of these sizes; False, and no kind is compiled any more, where that cannot be had.

        Args:
            kind: what to ask for them by.
            members: a chunk.
            products: what they have in common with other chunks.
        """
        train, block = self.blocks.task.train, self.blocks.block
        examples = self.blocks.prepared(Examples(train.inputs[:block], train.targets[:block]))
        eager = Eager(self.blocks.module, self._forward, self.blocks.task.measure)
        with torch.inference_mode():
            made = try_to_compile(eager, members, products, examples)
        if made is None:
            self._compiled.clear()
            return False
        self._compiled[kind] = made
        return True

    def sums(
        self,
        members: Mapping[str, Stack],
        examples: Examples,
        each: EachExample | None,
        products: Products,
        kind: Hashable = None,
    ) -> tuple[Arrays, Arrays]:
        """Sums over the examples, name to (P,), and what ``each`` gave, name to (P, B).

        Args:
            members: a chunk.
            examples: on what.
            each: what to compute example by example besides.
            products: what the members have in common with other chunks.
            kind: which compiled forward may be used, if any.
        """
        compiled = self._compiled.get(kind)

        def answer(inputs: Tensor, start: int) -> Tensor:
            products.begin(start)
            return self._forward(self.blocks.module, members, inputs)

        def shortcut(block: Examples, start: int) -> Mapping[str, Tensor] | None:
            products.begin(start)
            return None if compiled is None else compiled(members, products, block)

        with torch.inference_mode():
            return self.blocks.sums(answer, examples, each, shortcut)


class Running:
    """What an evaluator hands on of its runner."""

    #: Memories whose weights are not formed tell nothing.
    heads = 0
    _runner: Runner

    @property
    def forward_name(self) -> str:
        """How members are run, see :mod:`galab.evaluation.perturbed`."""
        return self._runner.forward_name

    @property
    def compiled(self) -> bool:
        """Whether the forward of full chunks is compiled."""
        return self._runner.compiled

    @property
    def recompilations(self) -> int:
        """See :attr:`Runner.recompilations`."""
        return self._runner.recompilations

    @property
    def block(self) -> int:
        """Examples run at once."""
        return self._runner.blocks.block

    @property
    def outputs(self) -> int:
        """Number of outputs of the network."""
        return self._runner.blocks.task.outputs

    def prepared(self, examples: Examples) -> Examples:
        """See :meth:`galab.evaluation.blocks.Blocks.prepared`."""
        return self._runner.blocks.prepared(examples)
