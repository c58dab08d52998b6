"""Which parameters of a module can be perturbed by matrices of low rank, found by watching the module run once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from galab.evaluation.batched.low_rank import leaves
from galab.evaluation.batched.low_rank_layers import LOW_RANK_RULES
from galab.evaluation.batched.recurrent_attention import COMPOSITE_RULES
from galab.genome.parameters import evolved_parameters


@dataclass(frozen=True, slots=True)
class LowRankNames:
    """What :func:`low_rank_names` found.

    Attributes:
        names: parameters that are matrices and that only functions with a low-rank rule use.
        in_the_way: for each other matrix, the first function without one that uses it, such as ``matmul``.
    """

    names: frozenset[str]
    in_the_way: dict[str, str]

    def sentences(self) -> list[str]:
        """One for each parameter that a function keeps from low rank, for a log."""
        return [
            f"{name} has no low-rank rule for {function}: dense noise" for name, function in self.in_the_way.items()
        ]


class _Watch(TorchFunctionMode):
    """Notes which function without a low-rank rule first used each of some tensors."""

    def __init__(self, names: dict[int, str]) -> None:
        super().__init__()
        self._names = names
        self.in_the_way: dict[str, str] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        # Only questions about a parameter, its shape for instance, have answers without a tensor.
        if any(isinstance(value, Tensor) for value in leaves(result)):
            clipped = func is F.embedding and kwargs.get("max_norm", (*args, None, None, None)[3]) is not None
            has_rule = func in COMPOSITE_RULES or (func in LOW_RANK_RULES and not clipped)
            first = args[0] if args else kwargs.get("input")
            for value in leaves([args, kwargs]):
                name = self._names.get(id(value))
                # As the first argument, it is what a layer works on and not the layer's weight.
                if name and (value is first or not has_rule):
                    self.in_the_way.setdefault(name, getattr(func, "__name__", str(func)))
        return result


def low_rank_names(module: nn.Module, probe: Tensor) -> LowRankNames:
    """The parameters that a low-rank forward serves; all others are given dense noise.

    A matrix is a parameter with more than one row and more than one column, the axes after the first taken together.
    Of tied weights, every use counts.

    Args:
        module: the network, with its own weights.
        probe: (B, ...) some examples.
    """
    matrices = {
        id(value): name
        for name, value in evolved_parameters(module).items()
        if value.dim() > 1 and len(value) > 1 and value[0].numel() > 1
    }
    watch = _Watch(matrices)
    with torch.inference_mode(), watch:
        module(probe)
    names = frozenset(matrices.values()) - watch.in_the_way.keys()
    return LowRankNames(names, watch.in_the_way)
