"""Language models over bytes in float: a GRU and a small transformer (Cho et al. 2014; Vaswani et al. 2017).

Inputs are (B, T) bytes as numbers, outputs the (B, T x 256) logits of each next byte, one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from galab.errors import UsageError

#: Different bytes.
BYTES = 256


def check_sequences(model: str, input_shape: Sequence[int], outputs: int) -> int:
    """The length of the sequences of a task.

    Raises:
        UsageError: the task is not one of bytes.
    """
    if len(input_shape) != 1 or outputs != BYTES * input_shape[0]:
        raise UsageError(
            f"expected a task of bytes with --model {model}, such as tinyshakespeare, got inputs of shape "
            f"{tuple(input_shape)} and {outputs} outputs; take such a task, or another "
            "model and strategy"
        )
    return int(input_shape[0])


class GRU(nn.Module):
    """Embedding, gated recurrent layers, and a linear head.

    Args:
        input_shape: of one example, (T,).
        outputs: T x 256.
        width: D, of embedding and state.
        layers: L.
    """

    def __init__(self, input_shape: Sequence[int], outputs: int, *, width: int = 64, layers: int = 1) -> None:
        super().__init__()
        check_sequences("gru", input_shape, outputs)
        self.embedding = nn.Embedding(BYTES, width)
        self.recurrent = nn.GRU(width, width, layers, batch_first=True)
        self.head = nn.Linear(width, BYTES)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, T) bytes to (B, T x 256) logits."""
        hidden, _ = self.recurrent(self.embedding(inputs.long()))
        return torch.as_tensor(self.head(hidden)).flatten(1)


class Transformer(nn.Module):
    """Causal self-attention with normalisation before each part, and learned positions.

    Args:
        input_shape: of one example, (T,).
        outputs: T x 256.
        width: D.
        layers: L.
        heads: of attention; D must be a multiple.
    """

    def __init__(
        self, input_shape: Sequence[int], outputs: int, *, width: int = 64, layers: int = 1, heads: int = 2
    ) -> None:
        super().__init__()
        length = check_sequences("transformer", input_shape, outputs)
        if width % heads:
            raise UsageError(f"expected a width that is a multiple of {heads} heads, got {width}; change one of them")
        self.embedding = nn.Embedding(BYTES, width)
        self.positions = nn.Parameter(torch.randn(length, width) / math.sqrt(width))
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, BYTES)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, T) bytes to (B, T x 256) logits."""
        x = self.embedding(inputs.long()) + self.positions[: inputs.shape[1]]
        for block in self.blocks:
            x = block(x)
        return torch.as_tensor(self.head(self.norm(x))).flatten(1)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.inward, self.outward = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D); no position sees those after it."""
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.inward(self.norm1(x)).chunk(3, 2)
        )
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[3])
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool, device=x.device).triu(1)
        weights = scores.masked_fill(hidden, -math.inf).softmax(3)
        x = x + self.outward((weights @ value).transpose(1, 2).flatten(2))
        return torch.as_tensor(x + self.down(nn.functional.gelu(self.up(self.norm2(x)))))
