"""Nested inputs and outputs: lists, tuples and dictionaries of tensors, carried through as one tensor.

What runs many members at once knows one tensor of examples and one of answers. :class:`Joined` makes such a network of
one with several inputs or outputs: they lie side by side in the columns of a matrix, and are taken apart inside.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from galab.errors import UsageError
from galab.evaluation.batched.low_rank import mapped

#: Whole numbers up to this are exact in float64, in which numbers of several kinds lie side by side.
_EXACT = 2**53
_LONG = (torch.int64, torch.uint64)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one tensor of several lies among the columns.

    Attributes:
        start: its first column.
        shape: of one example's part.
        dtype: its type.
    """

    start: int
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def stop(self) -> int:
        return self.start + math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Nested:
    """How nested values are made of tensors; what is no tensor, a flag or None, stays as it is.

    Attributes:
        structure: the values, with a :class:`_Place` for each tensor.
        dtype: in which all lie side by side.
        device: where they are.
        rows: B, the number of examples.
        kind: types and shapes of the tensors and where they stand, to compare two of these.
    """

    structure: Any
    dtype: torch.dtype
    device: torch.device
    rows: int
    kind: tuple[Any, ...]

    @classmethod
    def of(cls, value: Any, called: str, rows: int | None = None) -> Nested:
        """The structure of values whose tensors all have the examples as their first axis.

        Args:
            value: nested lists, tuples and dictionaries; of named ones the names are kept, other kinds count as plain.
            called: how messages call it, ``inputs`` or ``outputs``.
            rows: B, where it is known.

        Returns:
            The structure.

        Raises:
            UsageError: there is no tensor, or one has another first axis; or a number stands among outputs, which would
                be that of one member alone.
        """
        tensors = list(named_tensors(value, called))
        if called == "outputs":
            _refuse_numbers(value, called)
        if not tensors:
            raise UsageError(f"expected {called} with a tensor among them, got {type(value).__name__}; give tensors")
        rows = tensors[0][1].shape[0] if rows is None and tensors[0][1].dim() else rows
        for name, tensor in tensors:
            if not tensor.dim() or tensor.shape[0] != rows:
                counted = "" if rows is None else f" {rows}"
                raise UsageError(
                    f"expected {called} whose first axis counts the{counted} examples, got {name} of shape "
                    f"{tuple(tensor.shape)}; turn it, or run the members one by one ('for network in population')"
                )
            if tensor.dtype in _LONG and not tensor.is_meta and tensor.numel() and len(tensors) > 1:
                _check_exact(name, tensor)
        places, start = [], 0
        for _, tensor in tensors:
            places.append(_Place(start, tuple(tensor.shape[1:]), tensor.dtype))
            start = places[-1].stop
        ordered = iter(places)
        structure = mapped(value, lambda leaf: next(ordered) if isinstance(leaf, Tensor) else leaf)
        dtype, device = _common(tuple(place.dtype for place in places)), tensors[0][1].device
        kind = tuple((name, place.shape, place.dtype) for (name, _), place in zip(tensors, places, strict=True))
        return cls(structure, dtype, device, tensors[0][1].shape[0], (*kind, device))

    def join(self, value: Any) -> Tensor:
        """The tensors of a value of this structure side by side.

        Returns:
            (B, columns) in :attr:`dtype`.
        """
        parts = [tensor for _, tensor in named_tensors(value, "")]
        return torch.cat([part.reshape(part.shape[0], -1).to(self.dtype) for part in parts], 1)

    def part(self, joined: Tensor) -> Any:
        """The values out of columns that :meth:`join` put side by side.

        Args:
            joined: (..., B, columns).

        Returns:
            The structure with each tensor (..., B, *shape).
        """

        def taken(leaf: Any) -> Any:
            if not isinstance(leaf, _Place):
                return leaf
            columns = joined[..., leaf.start : leaf.stop]
            return columns.reshape(*joined.shape[:-1], *leaf.shape).to(leaf.dtype)

        return mapped(self.structure, taken)


class Joined(nn.Module):
    """A network as one of a single matrix of inputs and a single matrix of outputs; its parameters are the network's.

    Args:
        network: any module.
        inputs: structure of a pair, its inputs by position and those by name.

    Attributes:
        prefix: what precedes the names of the network's parameters here.
        outputs: structure of what it answers, from the first answer on.
    """

    prefix = "network."

    def __init__(self, network: nn.Module, inputs: Nested) -> None:
        super().__init__()
        self.network = network
        self.inputs = inputs
        self.outputs: Nested | None = None

    def forward(self, matrix: Tensor) -> Tensor:
        """(B, columns) to (B, columns)."""
        args, kwargs = self.inputs.part(matrix)
        answer = self.network(*args, **kwargs)
        if self.outputs is None:
            self.outputs = Nested.of(answer, "outputs", len(matrix))
        elif tuple(self._kinds(answer)) != self.outputs.kind[:-1]:
            raise UsageError(
                "expected outputs of the same types and shapes for all examples and members, got others; run the "
                "members one by one ('for network in population')"
            )
        return self.outputs.join(answer)

    @staticmethod
    def _kinds(answer: Any) -> Iterator[tuple[Any, ...]]:
        return ((name, tuple(tensor.shape[1:]), tensor.dtype) for name, tensor in named_tensors(answer, "outputs"))


def named_tensors(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """The tensors in nested lists, tuples and dictionaries, each with its place, such as ``outputs['mean'][0]``."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from named_tensors(item, f"{name}[{place}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from named_tensors(item, f"{name}[{key!r}]")


def _refuse_numbers(value: Any, name: str) -> None:
    """Refuse what is neither a tensor nor the same for all members."""
    if isinstance(value, list | tuple):
        for place, item in enumerate(value):
            _refuse_numbers(item, f"{name}[{place}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            _refuse_numbers(item, f"{name}[{key!r}]")
    elif not (value is None or isinstance(value, Tensor | bool | str)):
        raise UsageError(
            f"expected outputs with a tensor among them and nothing else that may differ, got {type(value).__name__} "
            f"as {name}; give a tensor with a row for each example, or run the members one by one ('for network in "
            "population')"
        )


def _check_exact(name: str, tensor: Tensor) -> None:
    """Refuse whole numbers that would be rounded beside others."""
    if max(int(tensor.max()), -int(tensor.min())) > _EXACT:
        raise UsageError(
            f"expected whole numbers up to 2^53 beside other tensors, got larger ones in {name}; give smaller ones, or "
            "run the members one by one ('for network in population')"
        )


def _common(dtypes: tuple[torch.dtype, ...]) -> torch.dtype:
    """A type that holds the numbers of all exactly."""
    kinds = set(dtypes)
    if any(kind.is_complex for kind in kinds) and len(kinds) > 1:
        raise UsageError("expected complex tensors beside complex ones alone, got others too; give their parts")
    if len(kinds) > 1 and any(not kind.is_floating_point for kind in kinds):
        return torch.float64
    return reduce(torch.promote_types, dtypes)
