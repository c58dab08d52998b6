"""Low-rank mutation: every matrix moves by A B^T with few columns; vectors move densely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.genome.births import Birth
from galab.genome.deltas import Change, Factors, is_matrix, unchanged
from galab.genome.random import Stream, Table, draw, draw_all
from galab.genome.step_sizes import Steps, sigmas
from galab.genome.weights import Layout, Phenotype, add, narrowed, scratch, to_change


def _step_size_factors(
    log_sigma: Sequence[NDArray[np.int16]], tensor: int, steps: Steps
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Row and column step sizes of P members, (P, 1) where one serves all rows or all columns."""
    if steps.granularity == "global":
        rows = sigmas(np.concatenate(log_sigma))[:, None]
        return rows, np.ones_like(rows)
    each = [steps.factors(values, tensor) for values in log_sigma]
    return np.stack([rows for rows, _ in each]), np.stack([columns for _, columns in each])


class LowRank:
    """Adds the sum over k of ``rint(((sigma * r^-0.5) * a_k) * b_k * 2^bits)`` to each matrix.

    The factored form of EGGROLL (Sarkar et al. 2025, "Evolution Strategies at the Hyperscale", eq. 4) as a mutation:
    m + n numbers of noise per rank instead of m n. Row and column step sizes scale a and b, so it stays low-rank.

    Args:
        run_key: the run's key.
        law: the law of a and b.
        rank: r.
    """

    context_free = True

    def __init__(self, run_key: int, law: Table, rank: int = 1) -> None:
        self._run_key = run_key
        self._law = law
        self._rank = rank

    def apply(
        self, parent: Phenotype, birth: Birth, log_sigma: NDArray[np.int16], steps: Steps
    ) -> NDArray[np.int32]:
        """See :class:`galab.genome.develop.Mutation`."""
        layout = steps.layout
        needed = [self._numbers(shape) for shape in layout.shapes]
        z = draw(self._law, self._run_key, birth.id, Stream.WEIGHTS, sum(needed))
        total = scratch("change", len(parent.weights), np.int32)
        at = 0
        for tensor, (shape, start, size) in enumerate(zip(layout.shapes, layout.starts, layout.sizes, strict=True)):
            part, noise = total[start : start + size], z[at : at + needed[tensor]]
            at += needed[tensor]
            if tensor not in steps.frozen and size:
                # Messages name the tensor of a place, and places count from its start here.
                alone = Layout((layout.names[tensor],), (shape,), layout.domain)
                self._change(part, noise, steps.factors(log_sigma, tensor), alone, birth.id)
            else:
                part[:] = 0
        return add(parent.weights, total, layout, birth.id)

    def factors(
        self, births: Sequence[Birth], log_sigma: Sequence[NDArray[np.int16]], steps: Steps
    ) -> list[Change]:
        """See :class:`galab.genome.deltas.Factoring`."""
        layout, count, r = steps.layout, len(births), self._rank
        needed = [self._numbers(shape) for shape in layout.shapes]
        z = draw_all(self._law, self._run_key, [birth.id for birth in births], Stream.WEIGHTS, sum(needed))
        changes = unchanged(layout, r, count)
        at = 0
        for tensor, change in enumerate(changes):
            noise = z[:, at : at + needed[tensor]]
            at += needed[tensor]
            if tensor in steps.frozen:
                continue
            rows, columns = _step_size_factors(log_sigma, tensor, steps)
            if isinstance(change, Factors):
                m = change.a.shape[1]
                a, b = noise[:, : r * m].reshape(count, r, m), noise[:, r * m :].reshape(count, r, -1)
                np.multiply((rows * np.float32(r**-0.5))[:, None], a, out=change.a.transpose(0, 2, 1))
                np.multiply(columns[:, None], b, out=change.b.transpose(0, 2, 1))
            else:
                np.rint(noise * rows * np.float32(layout.scale), out=change)
                change *= np.float32(1 / layout.scale)
        return changes

    def _numbers(self, shape: tuple[int, ...]) -> int:
        size = int(np.prod(shape, dtype=np.int64))
        return self._rank * (shape[0] + size // shape[0]) if is_matrix(shape, size) else size

    def _change(
        self,
        part: NDArray[np.int32],
        noise: NDArray[np.float32],
        factors: tuple[NDArray[np.float32], NDArray[np.float32]],
        layout: Layout,
        birth: int,
    ) -> None:
        """Put a tensor's change into ``part``."""
        rows, columns = factors
        shape = layout.shapes[0]
        peak, out = self._law.peak, scratch("term", len(part), np.int32)
        if len(shape) < 2:
            steps = noise * rows * np.float32(layout.scale)
            part[:] = to_change(steps, float(rows.max()) * layout.scale * peak, layout, birth, out)
            return
        m, r = shape[0], self._rank
        scale = rows * np.float32(r**-0.5)
        a, b = noise[: r * m].reshape(r, m), noise[r * m :].reshape(r, -1)
        limit = float(scale.max()) * float(columns.max()) * layout.scale * peak * peak
        # Where terms are small no sum of them overflows; else only their sum in 64 bits says whether it is too large.
        narrow = r * limit < 2.0**30
        total: NDArray[Any] = part if narrow else np.zeros(len(part), dtype=np.int64)
        product = scratch("product", len(part), np.float32)
        for k in range(r):
            left = scale * a[k] * np.float32(layout.scale)
            np.multiply(left[:, None], (columns * b[k])[None, :], out=product.reshape(m, -1))
            if narrow and not k:
                to_change(product, limit, layout, birth, part)
            else:
                total += to_change(product, limit, layout, birth, out)
        if not narrow:
            part[:] = narrowed(total, layout, birth)
