"""What a run logs of its memories on report generations: how often each is used, how long it is, by how much it wins.

The matrix of uses, parents by memories, is an image in TensorBoard.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from galab.analysis import memory
from galab.contracts import Examples, Member, Telling
from galab.genome.layout import Layout
from galab.genome.torch_laws import tensors_of

#: More examples than that would take longer than they tell; more parents make no image that can be read.
_EXAMPLES, _PARENTS = 4096, 64
#: The field of the log that holds the matrix of uses.
USE = "memory_use"


class MemoryRecords:
    """Looks into the parents of a generation.

    Args:
        module: a network of memories.
        layout: where each parameter lies.
        examples: the training data.
    """

    def __init__(self, module: nn.Module, layout: Layout, examples: Examples) -> None:
        assert isinstance(module, Telling)
        self._module = copy.deepcopy(module).float().cpu()
        self._layout = layout
        self._inputs = examples.inputs[:_EXAMPLES].float().cpu()

    def line(self, parents: Sequence[Member]) -> dict[str, Any]:
        """The fields of a report generation.

        Args:
            parents: best first.

        Returns:
            Of the best parent ``memory_filled`` and ``memory_used``, numbers of memories that hold a vector and that
            answer an example; ``memory_norm``, ``..._min`` and ``..._max`` of filled ones; ``memory_margin`` and
            ``..._min``, by how much the nearest memory is nearer than the next, mean and least over the examples; and
            ``memory_use``, for each parent a list of the examples that each of its memories answers.
        """
        uses, first = [], dict[str, Any]()
        for parent in parents[:_PARENTS]:
            vectors, near = self._look(parent)
            use = memory.use(memory.winners(near), len(vectors))
            uses.append(use.tolist())
            first = first or _fields(vectors, near, use)
        return {**first, USE: uses}

    def _look(self, member: Member) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Vectors (heads, dims) and nearness (B, heads)."""
        network = self._module
        with torch.inference_mode():
            values = tensors_of(self._layout, member)
            for name, parameter in network.named_parameters():
                parameter.copy_(values[name])
            assert isinstance(network, Telling)
            return network.vectors().numpy(), network.nearness(self._inputs).numpy()


def _fields(
    vectors: np.ndarray[Any, Any], near: np.ndarray[Any, Any], use: np.ndarray[Any, Any]
) -> dict[str, Any]:
    margins, lengths = memory.margins(near), memory.norms(vectors)
    filled = lengths > 0
    found: dict[str, Any] = {
        "memory_filled": int(filled.sum()),
        "memory_used": int(np.count_nonzero(use)),
    }
    if filled.any():
        own = lengths[filled]
        found |= {"memory_norm": float(own.mean()), "memory_norm_min": float(own.min())}
        found["memory_norm_max"] = float(own.max())
    if np.isfinite(margins).any():
        own = margins[np.isfinite(margins)]
        found |= {"memory_margin": float(own.mean()), "memory_margin_min": float(own.min())}
    return found
