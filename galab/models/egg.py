"""EGG: a recurrent language model over bytes that computes with int8 numbers alone.

A GRU without activation functions, as the clipping to int8 is all the bending that there is; after the language model
of Sarkar et al., "Evolution Strategies at the Hyperscale", arXiv 2511.16652. Weights are whole multiples of 1/16
between -127/16 and 127/16; other float weights are taken to the nearest of them, so that any strategy may move them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from galab.errors import UsageError
from galab.integer.arithmetic import (
    TOP,
    Centre,
    Operations,
    check_width,
    clip,
    gated,
    log_likelihood,
    normalised,
    stored,
)
from galab.models.sequence import BYTES, check_sequences

#: The largest width: four times as many inputs still have an exact sum, and the compiled step has room for it.
WIDEST = 256


class Egg(nn.Module):
    """Predicts each next byte of a sequence.

    Args:
        input_shape: of one example, (T,).
        outputs: T x 256.
        width: D, a multiple of 32.
        layers: L.
    """

    #: Founders are drawn so: see :mod:`galab.genome.initial`.
    drawn_by = dict.fromkeys(("embedding", "head"), ("normal", 1.0))

    def __init__(self, input_shape: Sequence[int], outputs: int, *, width: int = 64, layers: int = 1) -> None:
        super().__init__()
        check_sequences("egg", input_shape, outputs)
        if type(width) is not int or not 32 <= width <= WIDEST or width % 32:
            raise UsageError(f"expected the width of egg as a multiple of 32 from 32 to {WIDEST}, got {width!r}")
        if type(layers) is not int or not 1 <= layers <= 64:
            raise UsageError(f"expected from 1 to 64 layers of egg, got {layers!r}")
        check_width(4 * width)
        self.width, self.layers = width, layers
        self.embedding = _matrix(BYTES, width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(layers))
        self.norm = _ones(width)
        self.head = _matrix(BYTES, width)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, T x 256) logits in nats, of (B, T) bytes as numbers; the state begins at 0."""
        weights = {name: stored(value) for name, value in self.named_parameters()}
        operations = Centre(weights)
        state = torch.zeros(len(inputs), self.layers, self.width, dtype=torch.int32, device=inputs.device)
        answers = []
        for byte in inputs.to(torch.int64).unbind(1):
            logits, state = self.step(operations, byte, state)
            answers.append(logits)
        return torch.stack(answers, 1).flatten(1).to(torch.float32) * (math.log(2) / 16)

    def step(self, operations: Operations, byte: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One byte of each row.

        Args:
            operations: the weights, of the centre or of many members.
            byte: (rows,) int64. A byte of 0 begins a document: the state before it is 0.
            state: (rows, L, D) int32.

        Returns:
            (rows, 256) int32 logits, a probability being proportional to 2^(logit / 16), and the next state.
        """
        states = (state * (byte != 0)[:, None, None]).unbind(1)
        x = operations.row("embedding", byte)
        following = []
        for number, before in enumerate(states):
            x, after = _block(operations, f"blocks.{number}.", x, before)
            following.append(after)
        x = normalised(x, operations.vector("norm"))
        return operations.product("head", x), torch.stack(following, 1)


def _block(operations: Operations, name: str, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    y = normalised(x, operations.vector(f"{name}norm1"))
    product, vector = operations.product, operations.vector
    forget = clip(product(f"{name}wf", y) + product(f"{name}uf", state) + vector(f"{name}bf")) + TOP
    reset = (forget * state) >> 8
    candidate = clip(product(f"{name}wh", y) + product(f"{name}uh", reset) + vector(f"{name}bh"))
    state = gated(state, forget, candidate)
    x = clip(x + state)
    y = normalised(x, vector(f"{name}norm2"))
    return clip(x + product(f"{name}down", product(f"{name}up", y))), state


class _Block(nn.Module):
    """The weights of one layer."""

    drawn_by = dict.fromkeys(("wf", "uf", "wh", "uh", "up", "down"), ("normal", 1.0))

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = _ones(width), _ones(width)
        self.wf, self.uf, self.wh, self.uh = (_matrix(width, width) for _ in range(4))
        self.bf, self.bh = (nn.Parameter(torch.zeros(width)) for _ in range(2))
        self.up, self.down = _matrix(4 * width, width), _matrix(width, 4 * width)


def _matrix(*shape: int) -> nn.Parameter:
    return nn.Parameter(stored(torch.randn(*shape)).to(torch.float32) / 16)


def _ones(width: int) -> nn.Parameter:
    return nn.Parameter(torch.ones(width))


def score(model: Egg, operations: Operations, sequences: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The log-likelihood of sequences of bytes, in 1/16 bit.

    Args:
        model: says how the operations follow each other.
        operations: the weights.
        sequences: (rows, T + 1) bytes.
        state: (rows, L, D) int32 at their start.

    Returns:
        (rows,) int32 sums over the T predicted bytes, and the state at the end.
    """
    bytes_: Sequence[Tensor] = sequences.to(torch.int64).unbind(1)
    total = torch.zeros(len(sequences), dtype=torch.int32, device=state.device)
    for byte, following in pairwise(bytes_):
        logits, state = model.step(operations, byte, state)
        total += log_likelihood(logits, following)
    return total, state
