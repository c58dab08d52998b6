"""A forward traced once and compiled, where a C++ compiler is at hand.

The members' parameters, what the chunks of a group have in common, and the inputs become the arguments of one graph, so
that passes over activations melt into one. Compiled and eager results differ in the last bits; so which of the two is
used is decided once, before the first generation, and belongs to the numeric profile.
"""

from __future__ import annotations

import logging
import shutil
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from galab.evaluation.low_rank import Common, LowRank, Stack
from galab.evaluation.products import Given, Products

logger = logging.getLogger("galab")

Forward = Callable[[nn.Module, Mapping[str, Stack], Tensor], Tensor]
_TOLERANCE = {torch.float32: 1e-4}
_COARSE = 5e-2


def compiler() -> str | None:
    """The C++ compiler that would be used on the CPU, or None."""
    named = (sysconfig.get_config_var("CXX") or "").split()
    found = (shutil.which(name) for name in ("c++", "g++", "clang++", *named[:1]))
    return next((path for path in found if path), None)


class CompiledForward:
    """One chunk of members on one block of examples, compiled for these very sizes.

    Args:
        module: the network.
        forward: how members are run, see :mod:`galab.evaluation.perturbed`.
        members: a chunk's parameters, with what they have in common with other chunks.
        products: where that is found.
        inputs: (B, ...) a block of examples.

    Raises:
        Exception: of any kind, where torch cannot trace or compile this network.
    """

    def __init__(
        self, module: nn.Module, forward: Forward, members: Mapping[str, Stack], products: Products, inputs: Tensor
    ) -> None:
        self._sizes = _sizes(members, inputs)
        self._eager = forward
        self._module = module
        products.begin(0)
        expected = forward(module, members, inputs)
        self._order = list(products.order)

        def answer(tensors: Sequence[Tensor], given: Sequence[tuple[Tensor, Tensor]], inputs: Tensor) -> Tensor:
            outputs = forward(module, _rebuilt(members, iter(tensors), Given(given)), inputs)
            # Classes before examples in memory: tasks reduce over classes, and examples then lie side by side.
            return outputs.transpose(1, 2).contiguous()

        with torch.inference_mode(mode=False), torch.no_grad():
            arguments = [tensor.clone() for tensor in _flat(members)]
            given = [(base.clone(), inner.clone()) for base, inner in self._given(members, products) or ()]
            graph = make_fx(answer)(arguments, given, inputs.clone())
        self._run = torch.compile(graph, dynamic=False)
        got = self(members, products, inputs)
        tolerance = _TOLERANCE.get(inputs.dtype, _COARSE) * float(expected.abs().max())
        if not torch.allclose(got, expected, rtol=0.0, atol=tolerance):
            raise ArithmeticError("the compiled forward disagrees with the eager one")

    def __call__(self, members: Mapping[str, Stack], products: Products, inputs: Tensor) -> Tensor:
        """(P, B, outputs), of members and examples of any number; only full chunks and blocks are compiled."""
        if self._sizes != _sizes(members, inputs):
            return self._eager(self._module, members, inputs)
        given = self._given(members, products)
        if given is None:
            # The first chunk on a block: one direction alone makes the products of the whole group.
            self._eager(self._module, _first(members), inputs)
            given = self._given(members, products)
        if given is None:  # they are too large to be kept
            return self._eager(self._module, members, inputs)
        result: Tensor = self._run(list(_flat(members)), given, inputs)
        return result.transpose(1, 2)

    def _given(self, members: Mapping[str, Stack], products: Products) -> list[tuple[Tensor, Tensor]] | None:
        """The chunk's products, if they are made and kept."""
        common = next((stack.common for stack in members.values() if isinstance(stack, LowRank)), None)
        if common is None or not self._order:
            return []
        directions = next(len(stack.b) for stack in members.values() if isinstance(stack, LowRank))
        return products.known(self._order, common.start, common.start + directions)


def try_to_compile(
    module: nn.Module, forward: Forward, members: Mapping[str, Stack], products: Products, inputs: Tensor
) -> CompiledForward | None:
    """A compiled forward, or None where it cannot be had; the log says which and why.

    Args:
        module: the network.
        forward: how members are run.
        members: a chunk's parameters.
        products: what they have in common with other chunks.
        inputs: a block of examples.
    """
    if inputs.device.type == "cpu" and compiler() is None:
        logger.info("the forward runs eager: no C++ compiler was found")
        return None
    try:
        made = CompiledForward(module, forward, members, products, inputs)
    except Exception as error:  # whatever torch cannot do is done eagerly
        logger.warning("the forward runs eager, as it cannot be compiled: %s", str(error).splitlines()[0][:200])
        return None
    logger.info("the forward is compiled for %d members on %d examples", *_sizes(members, inputs)[:2])
    return made


def _sizes(members: Mapping[str, Stack], inputs: Tensor) -> tuple[int, int, int]:
    """Members, examples, and directions: pairs have half as many of these as members."""
    low_rank = next((stack for stack in members.values() if isinstance(stack, LowRank)), None)
    if low_rank is not None:
        return low_rank.members, len(inputs), len(low_rank.b)
    count = len(next(iter(members.values())))  # type: ignore[arg-type]
    return count, len(inputs), count


def _first(members: Mapping[str, Stack]) -> dict[str, Stack]:
    """The first member alone."""
    return {
        name: LowRank(stack.base, stack.a[:1], stack.b[:1], stack.common) if isinstance(stack, LowRank) else stack[:1]
        for name, stack in members.items()
    }


def _flat(members: Mapping[str, Stack]) -> Iterator[Tensor]:
    for stack in members.values():
        yield from (stack.base, stack.a, stack.b) if isinstance(stack, LowRank) else (stack,)


def _rebuilt(members: Mapping[str, Stack], tensors: Iterator[Tensor], given: Any) -> dict[str, Stack]:
    """Members like those, of other tensors."""
    found: dict[str, Stack] = {}
    for name, stack in members.items():
        if isinstance(stack, LowRank):
            base, a, b = next(tensors), next(tensors), next(tensors)
            found[name] = LowRank(base, a, b, Common(given, name, b, 0))
        else:
            found[name] = next(tensors)
    return found
