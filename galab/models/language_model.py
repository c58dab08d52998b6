"""A language model whose linear layers are evolved: all of their weights, or adapters of low rank beside them (LoRA).

What is evolved is in units of the layer: a step size of 0.01 changes the weights of an adapted layer by 0.01 in either
way to adapt it, or by 0.01 of their root mean square with ``sigma_relative``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from galab.errors import UsageError
from galab.models.base_model import TINY, BaseModel, Rule, load_base

#: From an input and a parameter's name to the product with that parameter, (..., in) to (..., out).
Product = Callable[[Tensor, str], Tensor]


@dataclass(frozen=True, slots=True)
class AdaptedLayer:
    """How a linear layer is made of what is evolved.

    Attributes:
        path: in the base.
        scale: what the evolved weights, or the product of both factors, are multiplied by.
        low_rank: whether two factors are added to the base's weights; else the weights are replaced.
    """

    path: str
    scale: float
    low_rank: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters of the layer."""
        return (f"{self.path}.lora_A", f"{self.path}.lora_B") if self.low_rank else (f"{self.path}.weight",)

    def output(self, layer: nn.Linear, x: Tensor, product: Product) -> Tensor:
        """W x + b, where W is s V or the base's weights + s B A.

        Args:
            layer: of the base.
            x: (..., in).
            product: with a parameter.
        """
        if self.low_rank:
            first, second = self.names
            change = product(product(x, first), second)
            return F.linear(x, layer.weight, layer.bias) + (change if self.scale == 1 else change * self.scale)
        found = product(x, self.names[0])
        found = found if self.scale == 1 else found * self.scale
        return found if layer.bias is None else found + layer.bias


class _Weights(nn.Module):
    """The evolved weights of a layer: those of the base, over the scale."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(values)


class _Factors(nn.Module):
    """The factors of an adapter: A is drawn, of unit variance, and B begins at zero (Hu et al., arXiv 2106.09685)."""

    #: The law of founders, see :mod:`galab.genome.initial`.
    drawn_by: ClassVar = {"lora_A": ("normal", 1.0)}

    def __init__(self, rank: int, rows: int, columns: int) -> None:
        super().__init__()
        self.lora_A = nn.Parameter(torch.randn(rank, columns))
        self.lora_B = nn.Parameter(torch.zeros(rows, rank))


class LanguageModel(nn.Module):
    """A causal language model of which some linear layers are evolved; needs the extra ``llm``.

    Args:
        base: see :class:`galab.models.base_model.BaseModel`.
        adapt: ``full``, all weights of the layers; or ``lora``, two factors of low rank beside them.
        lora_rank: of the factors.
        layers_adapted: which layers, see :meth:`galab.models.base_model.BaseModel.chosen`; all linear ones when None.
        sigma_relative: whether steps are in units of the root mean square of each layer's weights.

    Attributes:
        base: the model around them.
        adapted: path to each adapted layer.
        base_digest: (32,) uint8, the SHA-256 of the base's weights: a run goes on with no other base.
    """

    base_digest: Tensor
    #: Buffers that say what is around the network, and what that is: a saved run goes on with nothing else.
    identities: ClassVar = {"base_digest": "base model"}

    def __init__(
        self, base: str = TINY, adapt: str = "full", lora_rank: int = 4, layers_adapted: str | None = None,
        sigma_relative: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        found = load_base(base)
        self._base = (found,)  # hidden from torch: it is no part of the network that is evolved
        self.adapted: dict[str, AdaptedLayer] = {}
        for path in found.chosen(layers_adapted):
            weights = found.linear[path].weight.detach().cpu()  # the base may be on a device already
            scale = float(weights.double().square().mean().sqrt()) if sigma_relative else 1.0
            if not scale:
                raise UsageError(
                    f"expected weights other than zero in '{path}' with --sigma-relative on, got none; leave that "
                    "layer out with --layers"
                )
            leaf: nn.Module
            if adapt == "lora":
                if lora_rank > min(weights.shape):
                    raise UsageError(
                        f"expected --lora-rank at most {min(weights.shape)}, the smaller side of '{path}', got "
                        f"{lora_rank}; lower it, or leave that layer out with --layers"
                    )
                leaf, scale = _Factors(lora_rank, *weights.shape), scale / math.sqrt(lora_rank)
            else:
                leaf = _Weights(weights / scale)  # a copy: the base stays what it was
            self.adapted[path] = AdaptedLayer(path, scale, adapt == "lora")
            _place(self, path, leaf)
        digest = np.frombuffer(bytes.fromhex(found.digest), dtype=np.uint8)
        self.register_buffer("base_digest", torch.from_numpy(digest.copy()))

    @property
    def base(self) -> BaseModel:
        """The model around what is evolved."""
        return self._base[0]

    def rule(self, product: Product) -> Rule:
        """How the base computes its linear layers, from products with the evolved parameters."""

        def answer(path: str, layer: nn.Linear, x: Tensor) -> Tensor:
            own = self.adapted.get(path)
            return F.linear(x, layer.weight, layer.bias) if own is None else own.output(layer, x, product)

        return answer

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits of the token that follows.

        Args:
            inputs: (B, T) tokens, whole numbers of any type.

        Returns:
            (B, vocabulary) float32.
        """
        parameters = dict(self.named_parameters())

        def product(x: Tensor, name: str) -> Tensor:
            own = parameters[name]
            return F.linear(x, own if own.device == x.device else own.to(x.device))

        with self.base.using(self.rule(product)) as model:
            ids = inputs.long().to(self.base.device)
            found: Tensor = model(input_ids=ids, logits_to_keep=1, use_cache=False).logits
            return found[:, -1]

    def merged(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights of the adapted layers, on the CPU, by path: (out, in) each.

        Args:
            weights: name of each parameter to its values, on the CPU.
        """
        found = dict[str, Tensor]()
        for path, own in self.adapted.items():
            values = [weights[name] for name in own.names]
            if own.low_rank:
                found[path] = self.base.linear[path].weight.cpu() + values[1] @ values[0] * own.scale
            else:
                found[path] = values[0] * own.scale
        return found


def _place(root: nn.Module, path: str, leaf: nn.Module) -> None:
    """Put a module where its path says, below new ones."""
    parent: Any = root
    *folders, last = path.split(".")
    for folder in folders:
        if folder not in parent._modules:
            parent.add_module(folder, nn.Module())
        parent = parent._modules[folder]
    parent.add_module(last, leaf)
