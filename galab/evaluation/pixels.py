"""Inputs without the entries that are the same in all examples."""

from __future__ import annotations

from functools import cached_property

from torch import Tensor


class Pixels:
    """Inputs as columns, without those entries that are the same in all examples, such as the margins of images.

    Args:
        inputs: (B, ...) all examples.
    """

    def __init__(self, inputs: Tensor) -> None:
        self._flat = inputs.flatten(1)
        self._block = inputs[:0]
        self._start = 0

    @cached_property
    def _places(self) -> tuple[Tensor, Tensor]:
        """Which entries vary, and which do not."""
        varies = (self._flat != self._flat[:1]).any(0)
        return varies.nonzero().squeeze(1), varies.logical_not().nonzero().squeeze(1)

    @cached_property
    def _columns(self) -> Tensor:
        return self._flat[:, self._places[0]].t().contiguous()

    def begin(self, block: Tensor, start: int) -> None:
        """Another block of the examples begins."""
        self._block, self._start = block, start

    def of(self, x: Tensor) -> Tensor | None:
        """(entries, B) the columns of a block's examples; None where x (B, K) is not the inputs as they lie there."""
        if x.data_ptr() != self._block.data_ptr() or x.shape != self._block.flatten(1).shape or not x.is_contiguous():
            return None
        return self._columns[:, self._start : self._start + len(x)]

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Of a matrix (R, K) what meets the columns, and (R, 1) what the other entries add to each product."""
        varying, same = self._places
        return rows[:, varying], (rows[:, same] @ self._flat[0, same])[:, None]
