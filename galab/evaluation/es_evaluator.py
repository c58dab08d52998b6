"""Scores the members of an evolution strategy: one centre, perturbed along numbered directions.

A :class:`Runner` runs members given as stacks of parameters; the way they are run, and how many at once, is decided
once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from galab.contracts import Examples, Task
from galab.errors import pass_interrupts
from galab.evaluation.batched.compiled import Compiled, Eager, try_to_compile
from galab.evaluation.batched.dense import fitting_examples, power_of_two, widest_activation
from galab.evaluation.batched.forward import PERTURBED_FORWARDS, choose_perturbed_forward
from galab.evaluation.batched.low_rank import GroupProducts, Stack, low_rank
from galab.evaluation.batched.product_cache import Products
from galab.evaluation.blocks import DTYPES, Arrays, Blocks, EachExample, one_by_one
from galab.evaluation.numeric_profile import warm_up_kernels
from galab.genome.parameters import evolved_parameters, own_dtypes
from galab.genome.random import table
from galab.operators.es_noise import DenseNoise, LowRankNoise, Noise, Plan, chunks_of, draw, size_of

#: The activations of a chunk at its widest layer: small enough to be read again while they are in the cache.
ACTIVATION_BYTES = 4 << 20
_SMALLEST_CHUNK, _LARGEST_CHUNK = 64, 256
#: A compiled forward does not write most of them, and needs large chunks to be worth its calls.
COMPILED_BYTES, _COMPILED_CHUNK = 64 << 20, 512
#: Dense members are stacks of whole networks; no more of them than this at once.
_STACK_BYTES = 32 << 20


def perturbed_parameters(
    centre: Mapping[str, Tensor],
    noise: Noise,
    sigma: float,
    *,
    antithetic: bool,
    dtype_of: Callable[[str], torch.dtype] = lambda name: torch.float32,
    common: Mapping[str, GroupProducts] | None = None,
) -> dict[str, Stack]:
    """The members' parameters: for Q directions all plus and then all minus, or plus alone.

    Args:
        centre: name to tensor, float32.
        noise: of the directions.
        sigma: the step size, in weight units; a negative one steps the other way.
        antithetic: whether each direction makes two members.
        dtype_of: from the name of a parameter to the type that the forward wants it in.
        common: products shared with other chunks.
    """
    found: dict[str, Stack] = {}
    for name, part in noise.items():
        if isinstance(part, DenseNoise):
            step = part.values * sigma
            found[name] = (centre[name] + (torch.cat([step, -step]) if antithetic else step)).to(dtype_of(name))
        else:
            where = common.get(name) if common else None
            base = centre[name].to(dtype_of(name))
            found[name] = low_rank(base, part.a, part.b, sigma, antithetic=antithetic, common=where)
    return found


def members_at_once(module: nn.Module, inputs: Tensor, examples: int, plan: Plan, *, compiled: bool = False) -> int:
    """The number of members, even, that keeps the widest activation and stacks of dense members within bounds.

    Args:
        module: the network.
        inputs: (B, ...) some examples.
        examples: how many the members are run on at once.
        plan: what a direction is made of.
        compiled: whether the forward is compiled.
    """
    most, largest = (COMPILED_BYTES, _COMPILED_CHUNK) if compiled else (ACTIVATION_BYTES, _LARGEST_CHUNK)
    fit = power_of_two(most, widest_bytes(module, inputs) * examples)
    dense = 4 * sum(tensor.size for tensor in plan.tensors if tensor.rank is None)
    return max(2, min(max(_SMALLEST_CHUNK, fit), largest, power_of_two(_STACK_BYTES, max(dense, 1))))


def widest_bytes(module: nn.Module, inputs: Tensor) -> int:
    """Bytes of the widest activation of one network on one example, its input left out."""
    with torch.no_grad():
        return max(1, widest_activation(module, len(inputs), lambda: module(inputs))) * inputs.element_size()


#: A compiled pass reads a base's product column by column for every member: above this size it is not in the second
#: cache, and every row is in a page of its own, which halves the speed.
_TILE_BYTES = 256 << 10
_FEWEST = 256
#: Numbers in the widest registers.
_REGISTER = 16


class Runner:
    """Runs chunks of members whose parameters are stacks, dense or of low rank.

    Args:
        module: the network; only its structure and buffers are used.
        task: gives ``measure`` and the shape of the examples.
        precision: ``float32`` or ``bfloat16``.
        device: a torch device.
        probes: some members that all differ, so that a forward that mixes them up is detected.

    Attributes:
        blocks: cuts examples into blocks.
        forward_name: how members are run, see :mod:`galab.evaluation.batched.forward`.
    """

    def __init__(
        self, module: nn.Module, task: Task, *, precision: str, device: torch.device, probes: Mapping[str, Stack]
    ) -> None:
        warm_up_kernels()
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
        """Compile for members of these sizes; where that fails, False, and no kind is compiled any more.

        Args:
            kind: the key of this compiled forward.
            members: a chunk.
            products: that they share with other chunks.
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
            examples: to score on.
            each: what else to compute, example by example.
            products: that the members share with other chunks.
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


class RunnerEvaluator:
    """Base of evaluators that run their members with a :class:`Runner`."""

    #: The use of memories is not reported where weights are not formed.
    heads = 0
    _runner: Runner

    @property
    def forward_name(self) -> str:
        """How members are run, see :mod:`galab.evaluation.batched.forward`."""
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


#: At most so many examples count when the chunk is chosen; more are cut into blocks.
_MOST_EXAMPLES = 1024
_PROBE_SIGMA = 0.1


@dataclass(frozen=True, slots=True)
class Chunk:
    """Scores of a chunk of members; of pairs, all plus and then all minus.

    Attributes:
        start: the first direction, from 0.
        directions: how many.
        sums: name to (P,) sums over the examples.
        examples: name to (P, B), what was asked for example by example.
        failures: place to the reason.
        evaluations: what they took; None is one for each member and example.
        spent: what else they took, by unit, see :class:`galab.contracts.Scores`.
        observed: what policies saw, where it was asked for, see there.
    """

    start: int
    directions: int
    sums: Arrays
    examples: Arrays
    failures: dict[int, str]
    evaluations: int | None = None
    spent: Mapping[str, int] = field(default_factory=dict)
    observed: NDArray[np.float64] | None = None


class PerturbedEvaluator(RunnerEvaluator):
    """Runs perturbations of a centre; their weights are formed only where that is faster.

    Args:
        module: the network; only its structure and buffers are used.
        plan: what a direction is made of.
        task: gives ``measure`` and the shape of the examples.
        chunk: members evaluated at once; 0 chooses by the network's widths and the batch.
        batch: examples of a generation, for that choice.
        compile: ``on`` or ``off``.
        pairs: ``antithetic``, ``one-sided``, or ``auto`` for both: what to compile for.
        precision: ``float32`` or ``bfloat16``.
        device: a torch device.

    Attributes:
        chunk: members evaluated at once, an even number.
    """

    def __init__(
        self,
        module: nn.Module,
        plan: Plan,
        task: Task,
        *,
        chunk: int,
        batch: int,
        precision: str,
        device: torch.device,
        compile: str = "off",
        pairs: str = "auto",
    ) -> None:
        self.precision = precision
        self._device = device
        own = own_dtypes(module) if precision == "float32" else {}
        self._dtype_of = lambda name: own.get(name, DTYPES[precision])
        self._runner = Runner(
            module, task, precision=precision, device=device, probes=self._probe_members(module, plan, 4)
        )
        batch, compiled = min(batch or len(task.train), len(task.train)), compile == "on"
        own_copy, few = self._runner.blocks.module, min(batch, _MOST_EXAMPLES)
        best = members_at_once(own_copy, self._runner.probe, few, plan, compiled=compiled)
        self.chunk = chunk + chunk % 2 or best
        self._runner.fit(self.chunk, batch, compiled=compiled)
        if compiled:
            self._compile(pairs, module, plan)

    def directions_at_once(self, antithetic: bool) -> int:
        """How many directions make a chunk."""
        return self.chunk // 2 if antithetic else self.chunk

    def along(
        self,
        centre: Mapping[str, Tensor],
        noise: Noise,
        sigma: float,
        examples: Examples,
        each: EachExample | None,
        *,
        antithetic: bool,
        starts: Sequence[int] | None = None,
    ) -> Iterator[Chunk]:
        """The members along some directions, chunk by chunk.

        A chunk that raises is repeated member by member, so one bad member fails alone. What chunks have in common is
        computed for all directions, so a chunk is the same to the bit whichever others are asked for.

        Args:
            centre: name to tensor, float32.
            noise: of the directions.
            sigma: the step size.
            examples: to score on.
            each: what else to compute, example by example.
            antithetic: whether each direction makes two members.
            starts: the first directions of those chunks that are wanted; all when absent.
        """
        width = self.directions_at_once(antithetic)
        products = Products(outputs_first=self.compiled)
        common_at = self._common(noise, products)
        for start, part in chunks_of(noise, width, starts):
            try:
                members = self.members(centre, part, sigma, antithetic=antithetic, common=common_at(start))
                sums, rows = self._runner.sums(members, examples, each, products, antithetic)
                found = sums, rows, dict[int, str]()
            except BaseException as error:
                pass_interrupts(error)
                found = None  # and not here, or the error of the whole chunk would be shown as each member's cause
            found = found or self._one_by_one(centre, part, sigma, examples, each, antithetic)
            yield Chunk(start, size_of(part), *found)

    def members(
        self,
        centre: Mapping[str, Tensor],
        noise: Noise,
        sigma: float,
        *,
        antithetic: bool,
        common: Mapping[str, GroupProducts] | None = None,
    ) -> dict[str, Stack]:
        """See :func:`perturbed_parameters`, in the precision of the forward."""
        return perturbed_parameters(centre, noise, sigma, antithetic=antithetic, dtype_of=self._dtype_of, common=common)

    def _one_by_one(
        self,
        centre: Mapping[str, Tensor],
        noise: Noise,
        sigma: float,
        examples: Examples,
        each: EachExample | None,
        antithetic: bool,
    ) -> tuple[Arrays, Arrays, dict[int, str]]:
        count = size_of(noise)
        signed = [(place, sigma) for place in range(count)]
        signed += [(place, -sigma) for place in range(count)] if antithetic else []

        def alone(member: int) -> tuple[Arrays, Arrays]:
            place, step = signed[member]
            own = {name: part.part(place, place + 1) for name, part in noise.items()}
            return self._runner.sums(self.members(centre, own, step, antithetic=False), examples, each, Products())

        return one_by_one(len(signed), len(signed), alone)

    def _probe_members(
        self,
        module: nn.Module,
        plan: Plan,
        count: int,
        products: Products | None = None,
        *,
        antithetic: bool = True,
    ) -> dict[str, Stack]:
        """Members that all differ, so that a forward that mixes them up is detected."""
        centre = {name: value.detach().float().to(self._device) for name, value in evolved_parameters(module).items()}
        noise = draw(plan, table("normal"), 0, 0, 0, count // 2 if antithetic else count)
        moved = {name: part.to(self._device) for name, part in noise.items()}
        common = None if products is None else self._common(moved, products)(0)
        return self.members(centre, moved, _PROBE_SIGMA, antithetic=antithetic, common=common)

    def _common(self, noise: Noise, products: Products) -> Callable[[int], dict[str, GroupProducts]]:
        """From a chunk's first direction to where its products are found."""
        low = {name: part for name, part in noise.items() if isinstance(part, LowRankNoise)}
        whole = {name: part.b.to(self._dtype_of(name)) for name, part in low.items()}
        return lambda start: {name: GroupProducts(products, name, b, start) for name, b in whole.items()}

    def _compile(self, pairs: str, module: nn.Module, plan: Plan) -> None:
        """Compile for pairs, for single members, or for both; all or nothing."""
        for antithetic in (True, False):
            if pairs not in ("auto", "antithetic" if antithetic else "one-sided"):
                continue
            products = Products(outputs_first=True)
            members = self._probe_members(module, plan, self.chunk, products, antithetic=antithetic)
            if not self._runner.compile(antithetic, members, products):
                return
