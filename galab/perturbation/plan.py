"""What a direction is made of: for each parameter tensor low-rank factors, dense noise, or nothing.

Parameter classes after Sarkar et al., "Evolution Strategies at the Hyperscale", arXiv 2511.16652 (EGGROLL).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from galab.errors import UsageError
from galab.genome.layout import Layout

#: Codes in one block of Philox; every direction begins with a block of its own, so any of them can be drawn alone.
BLOCK_CODES = 16


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """How one parameter tensor is perturbed.

    Attributes:
        name: the parameter's name.
        shape: its shape.
        number: its place in the module, which keys its noise.
        rank: r of the factors; None for dense noise.
    """

    name: str
    shape: tuple[int, ...]
    number: int
    rank: int | None

    @property
    def size(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)

    @property
    def rows(self) -> int:
        """m: the tensor is seen as an (m, n) matrix."""
        return self.shape[0]

    @property
    def columns(self) -> int:
        """n: all axes after the first."""
        return math.prod(self.shape[1:])

    @property
    def numbers(self) -> int:
        """Random numbers in one direction: r (m + n), or one for each weight."""
        return self.size if self.rank is None else self.rank * (self.rows + self.columns)

    @property
    def blocks(self) -> int:
        """Blocks of Philox that one direction takes."""
        return -(-self.numbers // BLOCK_CODES)


@dataclass(frozen=True, slots=True)
class Plan:
    """How every tensor of a network is perturbed.

    Attributes:
        tensors: in the module's order.
    """

    tensors: tuple[TensorPlan, ...]

    @property
    def size(self) -> int:
        """D, the number of weights."""
        return sum(tensor.size for tensor in self.tensors)

    @property
    def numbers(self) -> int:
        """Random numbers in one direction."""
        return sum(tensor.numbers for tensor in self.tensors)

    @property
    def low_rank(self) -> bool:
        """Whether any tensor has factors."""
        return any(tensor.rank is not None for tensor in self.tensors)

    @property
    def ranks(self) -> list[int]:
        """The rank of each tensor's factors, 0 for dense noise: beside the layout, all that a checkpoint needs."""
        return [tensor.rank or 0 for tensor in self.tensors]


def plan_of(layout: Layout, rank: int | None, low_rank_names: Collection[str] = ()) -> Plan:
    """The plan for a network.

    Args:
        layout: names and shapes of the parameters.
        rank: r for the tensors that can be low-rank; None makes all noise dense.
        low_rank_names: which tensors can be low-rank.

    Raises:
        UsageError: the rank is larger than the smaller side of such a tensor.
    """
    return plan_of_ranks(layout, [rank or 0 if name in low_rank_names else 0 for name in layout.names])


def plan_of_ranks(layout: Layout, ranks: Sequence[int]) -> Plan:
    """The plan that :attr:`Plan.ranks` was taken of.

    Args:
        layout: names and shapes of the parameters.
        ranks: one for each parameter, 0 for dense noise.

    Raises:
        UsageError: a rank is larger than the smaller side of its tensor.
    """
    tensors = []
    for number, (name, shape, rank) in enumerate(zip(layout.names, layout.shapes, ranks, strict=True)):
        tensor = TensorPlan(name, shape, number, rank or None)
        if tensor.rank is not None and not 0 < tensor.rank <= min(tensor.rows, tensor.columns):
            raise UsageError(
                f"expected --rank at most {min(tensor.rows, tensor.columns)}, the smaller side of '{name}' "
                f"({tensor.rows} x {tensor.columns}), got {rank}: more would be full rank at a higher price; lower it, "
                "or use --strategy openai-es for full-rank noise"
            )
        tensors.append(tensor)
    return Plan(tuple(tensors))
