"""Compiles a forward together with what a task measures, where a C++ compiler is available.

The members' parameters, the products shared by the chunks of a group, and the examples are arguments of one graph, so
that passes over activations are fused. Compiled and eager results differ in the last bits; so which of the two
is used is decided once, before the first generation, and belongs to the numeric profile.
"""

from __future__ import annotations

import itertools
import logging
import shutil
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from galab.contracts import Examples
from galab.errors import pass_interrupts
from galab.evaluation.batched.low_rank import GroupProducts, LowRank, Stack
from galab.evaluation.batched.product_cache import PrecomputedProducts, Products

logger = logging.getLogger("galab")

Forward = Callable[[nn.Module, Any, Tensor], Tensor]
#: From outputs (P, B, C) and targets (B,) to named sums (P,).
Measure = Callable[[Tensor, Tensor], Mapping[str, Tensor]]
_TOLERANCE = {torch.float32: 1e-4}
_COARSE = 5e-2
_OPTIONS: dict[str, dict[str, Any]] = {
    "cpu": {
        # A product and the sum that it is added to may be rounded once, together: twice as fast, and no less exact.
        "cpp.enable_floating_point_contract_flag": "fast",
        # Hidden activations are made where they are used, however many factors they are made of, and never written.
        "realize_reads_threshold": 64,
        "realize_opcount_threshold": 256,
    },
    # One launch for all kernels of a graph: those of small generations take less time than launching them.
    "cuda": {"triton.cudagraphs": True},
}


def compiler() -> str | None:
    """The C++ compiler that would be used on the CPU, or None."""
    named = (sysconfig.get_config_var("CXX") or "").split()
    found = (shutil.which(name) for name in ("c++", "g++", "clang++", *named[:1]))
    return next((path for path in found if path), None)


@dataclass(frozen=True, slots=True)
class Eager:
    """What is compiled.

    Attributes:
        module: the network.
        forward: how members are run, see :mod:`galab.evaluation.batched.forward`.
        measure: what is asked of their outputs.
    """

    module: nn.Module
    forward: Forward
    measure: Measure

    def __call__(self, members: Mapping[str, Stack], examples: Examples) -> dict[str, Tensor]:
        """Named sums (P,)."""
        outputs = self.forward(self.module, members, examples.inputs)
        return dict(self.measure(outputs.float(), examples.targets))


class _Counted:
    """Inductor, and how many graphs it was given."""

    def __init__(self, device: str) -> None:
        self.graphs = 0
        self._options = _OPTIONS[device]

    def __call__(self, graph: Any, inputs: Any) -> Any:
        from torch._inductor.compile_fx import compile_fx  # the import takes seconds, so only where it is needed

        self.graphs += 1
        if self.graphs > 1:
            logger.warning("the forward is compiled once more, as a part of it is laid out differently")
        return compile_fx(graph, inputs, config_patches=self._options)


class Compiled:
    """One chunk of members on one block of examples, compiled for these very sizes.

    Args:
        eager: what to compile.
        members: a chunk's parameters, with the products that they share with other chunks.
        products: the shared products.
        examples: a block of them.

    Raises:
        Exception: of any kind, where torch cannot trace or compile this.
    """

    def __init__(
        self, eager: Eager, members: Mapping[str, Stack], products: Products, examples: Examples
    ) -> None:
        examples = _plain(examples)
        self._sizes = _sizes(members, examples)
        self._eager = eager
        products.begin(0)
        expected = eager(members, examples)
        self._order = list(products.order)
        given = self._given(members, products) or []
        self._direct = self._are_of_inputs(members, products, examples.inputs)

        def answer(tensors: Sequence[Tensor], given: Sequence[tuple[Tensor, Tensor]], *pair: Tensor) -> Any:
            found = eager(_rebuilt(members, iter(tensors), PrecomputedProducts(given)), Examples(*pair))
            # Classes before examples in memory: tasks reduce over classes, and examples then lie side by side.
            return {name: value.mT.contiguous() if value.dim() == 3 else value for name, value in found.items()}

        with torch.inference_mode(mode=False), torch.no_grad():
            copies = [tuple(map(_copy, pair)) for pair in given]
            pair = (examples.inputs.clone(), examples.targets.clone())
            graph = make_fx(answer)([_copy(tensor) for tensor in _flat(members)], copies, *pair)
        self._compiler = _Counted("cpu" if examples.inputs.device.type == "cpu" else "cuda")
        self._run = torch.compile(graph, dynamic=False, backend=self._compiler)
        got = self(members, products, examples)
        assert got is not None
        for name, wanted in expected.items():
            tolerance = _TOLERANCE.get(examples.inputs.dtype, _COARSE) * float(wanted.abs().max())
            if not torch.allclose(got[name].to(wanted.dtype), wanted, rtol=0.0, atol=tolerance):
                raise ArithmeticError(f"the compiled {name} disagrees with the eager one")

    def __call__(
        self, members: Mapping[str, Stack], products: Products, examples: Examples
    ) -> dict[str, Tensor] | None:
        """See :class:`Eager`; None for members and examples of other numbers than those it was compiled for."""
        if self._sizes != _sizes(members, examples):
            return None
        examples = _plain(examples)
        if self._direct:
            given: list[tuple[Tensor, Tensor]] | None = self._of_inputs(members, examples.inputs)
        else:
            given = self._given(members, products)
        if given is None:
            # The first chunk on a block: a few members make the products of the whole group.
            self._eager.forward(self._eager.module, _few(members), examples.inputs)
            given = self._given(members, products)
        if given is None:  # they are too large to be kept
            return None
        found = self._run(list(_flat(members)), given, examples.inputs, examples.targets)
        return {name: value.mT if value.dim() == 3 else value for name, value in found.items()}

    @property
    def recompilations(self) -> int:
        """How often torch has compiled it once more, because something was laid out differently."""
        return self._compiler.graphs - 1

    def _of_inputs(self, members: Mapping[str, Stack], inputs: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The chunk's products, where all are products of the inputs themselves."""
        stacks = [stack for name, _ in self._order if isinstance(stack := members[name], LowRank)]
        return [stack.common_products(inputs.reshape(-1, stack.columns)) for stack in stacks]

    def _are_of_inputs(self, members: Mapping[str, Stack], products: Products, inputs: Tensor) -> bool:
        """Whether products made in a forward are what the inputs alone, seen as rows, give."""
        if any(asked or inputs.numel() % _columns(members[name]) for name, asked in self._order):
            return False
        # Other inputs too, so that nothing passes that changes only what these happen not to hold.
        shifted = 1 - 3 * inputs if inputs.is_floating_point() else inputs
        for block, x in ((-1, inputs), (-3, shifted)):  # no blocks of examples, so nothing of them is known
            products.begin(block)
            self._eager.forward(self._eager.module, members, x)
            given = self._given(members, products) or []
            products.begin(block - 1)
            again = self._of_inputs(members, x)
            pairs = zip(itertools.chain(*given), itertools.chain(*again), strict=False)
            if len(again) != len(given) or not all(a.shape == b.shape and torch.equal(a, b) for a, b in pairs):
                return False
        return True

    def _given(self, members: Mapping[str, Stack], products: Products) -> list[tuple[Tensor, Tensor]] | None:
        """The chunk's products, if they are made and kept."""
        common = next((stack.common for stack in members.values() if isinstance(stack, LowRank)), None)
        if common is None or not self._order:
            return []
        directions = next(len(stack.b) for stack in members.values() if isinstance(stack, LowRank))
        return products.known(self._order, common.start, common.start + directions)


def try_to_compile(
    eager: Eager, members: Mapping[str, Stack], products: Products, examples: Examples
) -> Compiled | None:
    """The compiled forward, or None where that is not possible; the log says which and why.

    Args:
        eager: what to compile.
        members: a chunk's parameters.
        products: that they share with other chunks.
        examples: a block of them.
    """
    if examples.inputs.device.type == "cpu" and compiler() is None:
        logger.warning("the forward runs eager, as no C++ compiler was found: install one, or use --compile off")
        return None
    try:
        made = Compiled(eager, members, products, examples)
    except BaseException as error:  # whatever torch cannot do is done eagerly
        pass_interrupts(error)
        logger.warning("the forward runs eager, as it cannot be compiled: %s", str(error).splitlines()[0][:200])
        return None
    logger.info("the forward is compiled for %d members on %d examples", *_sizes(members, examples)[:2])
    return made


def _plain(examples: Examples) -> Examples:
    """The same memory with the usual strides: an axis of length one may have any, and each would be compiled for."""
    inputs, targets = (part.reshape(-1).view(part.shape) for part in (examples.inputs, examples.targets))
    return Examples(inputs, targets)


def _copy(tensor: Tensor) -> Tensor:
    """A tensor of its own, laid out like this one."""
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device).copy_(tensor)


def _sizes(members: Mapping[str, Stack], examples: Examples) -> tuple[int, int, int]:
    """Members, examples, and directions: pairs have half as many of these as members."""
    low_rank = next((stack for stack in members.values() if isinstance(stack, LowRank)), None)
    if low_rank is not None:
        return low_rank.members, len(examples), len(low_rank.b)
    count = len(next(iter(members.values())))  # type: ignore[arg-type]
    return count, len(examples), count


def _columns(stack: Stack) -> int:
    return stack.columns if isinstance(stack, LowRank) else 1


def _few(members: Mapping[str, Stack]) -> dict[str, Stack]:
    """The first two members: with one, hidden activations could not be told from shared ones."""
    return {name: stack.first(2) if isinstance(stack, LowRank) else stack[:2] for name, stack in members.items()}


def _flat(members: Mapping[str, Stack]) -> Iterator[Tensor]:
    for stack in members.values():
        if not isinstance(stack, LowRank):
            yield stack
            continue
        yield from (stack.base, stack.a, stack.b)
        if stack.which is not None:
            yield stack.which


def _rebuilt(members: Mapping[str, Stack], tensors: Iterator[Tensor], given: Any) -> dict[str, Stack]:
    """Members like those, of other tensors."""
    found: dict[str, Stack] = {}
    for name, stack in members.items():
        if isinstance(stack, LowRank):
            base, a, b = next(tensors), next(tensors), next(tensors)
            which = None if stack.which is None else next(tensors)
            found[name] = LowRank(base, a, b, GroupProducts(given, name, b, 0), which)
        else:
            found[name] = next(tensors)
    return found
