"""Members that are low-rank perturbations, the oracle for them, and networks beyond those of ``stacks.py``."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from stacks import NETWORKS, Lambda
from torch import Tensor, nn

from galab.evaluation.batched.low_rank import LowRank, low_rank


def perturbed(module: nn.Module, members: int, *, rank: int = 1, antithetic: bool = False) -> dict[str, Any]:
    """Members unlike each other: low rank wherever there is a matrix or more, and dense values elsewhere."""
    generator = torch.Generator().manual_seed(11)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    parameters: dict[str, Any] = {}
    for name, value in module.named_parameters():
        if value.dim() < 2:
            parameters[name] = normal(members, *value.shape) * 0.4
            continue
        pairs = members // 2 if antithetic else members
        a, b = normal(pairs, len(value), rank), normal(pairs, value[0].numel(), rank)
        parameters[name] = low_rank(normal(*value.shape) * 0.4, a, b, 0.4, antithetic=antithetic)
    return parameters


def materialised(parameters: dict[str, Any]) -> dict[str, Tensor]:
    """Every member's weights, by the definition: ``base + a[p] b[p mod Q]^T``."""

    def formed(stack: LowRank) -> Tensor:
        pairs = len(stack.b)
        each = [stack.a[p] @ stack.b[p % pairs].T for p in range(len(stack.a))]
        return torch.stack([stack.base + difference.reshape(stack.base.shape) for difference in each])

    return {name: formed(stack) if isinstance(stack, LowRank) else stack for name, stack in parameters.items()}


def each_by_itself(module: nn.Module, parameters: dict[str, Any], inputs: Tensor, *, each_own: bool = False) -> Tensor:
    """The oracle: a plain copy of the module for every member, with nothing of galab's forwards."""
    weights, outputs = materialised(parameters), []
    members = len(next(iter(weights.values())))
    shown = inputs.chunk(members) if each_own else [inputs] * members
    for member in range(members):
        plain = copy.deepcopy(module)
        for name, value in plain.named_parameters():
            value.copy_(weights[name][member])
        outputs.append(plain(shown[member]))
    return torch.stack(outputs)


def last_step(layer: nn.Module, size: int = 5) -> Callable[[], nn.Module]:
    """A recurrent layer of states (N, T, size) or (T, N, size), read at its last step, forwards and from its state."""

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        first = m.layer.batch_first
        outputs, state = m.layer(x if first else x.transpose(0, 1))
        state = state[0] if isinstance(state, tuple) else state
        outputs = outputs if first else outputs.transpose(0, 1)
        return m.last(outputs[:, -1]) + m.last(outputs[:, 0]) * state[-1, :, :1]

    return lambda: Lambda(forward, layer=layer, last=nn.Linear(size, 3))


def unrolled(cell: nn.Module, *, own_state: bool = False) -> Callable[[], nn.Module]:
    """A cell over five steps, from no state or from zeros that the network makes."""

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        state = torch.zeros(x.shape[0], 5) if own_state else None
        for time in range(x.shape[1]):
            state = m.cell(x[:, time], state)
        return m.last(state[0] if isinstance(state, tuple) else state)

    return lambda: Lambda(forward, cell=cell, last=nn.Linear(5, 3))


def attending(
    *, first: bool = True, cross: bool = False, weights: bool = False, mask: str = "", **options: Any
) -> Callable[[], nn.Module]:
    """Attention over the steps of (N, T, 6); across: from a projection of the inputs to the inputs."""

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        steps = x.shape[1]
        given: dict[str, Any] = {"need_weights": weights}
        if "causal" in mask:
            given["attn_mask"] = torch.ones(steps, steps, dtype=torch.bool).triu(1)
        if "added" in mask:
            given["attn_mask"] = torch.linspace(-1, 1, steps * steps).view(steps, steps)
        if "padding" in mask:
            given["key_padding_mask"] = x[:, :, 0] > 1.0
            given["key_padding_mask"][:, 0] = False
            if "added" in mask:
                given["key_padding_mask"] = given["key_padding_mask"] * -2.0
        query = m.before(x) if cross else x
        if not first:
            query, x = query.transpose(0, 1), x.transpose(0, 1)
        y, attention = m.attention(query, x, x if cross else query, **given)
        y = m.last(y if first else y.transpose(0, 1)).mean(1)
        return y if attention is None else y + attention.sum((1, 2)).view(-1, 1) * attention.reshape(len(y), -1)[:, 1:2]

    return lambda: Lambda(
        forward, before=nn.Linear(6, 6), attention=nn.MultiheadAttention(6, 2, batch_first=first, **options),
        last=nn.Linear(6, 3),
    )  # fmt: skip


def transformer(norm_first: bool) -> nn.Module:
    block = nn.TransformerEncoderLayer(6, 2, 10, batch_first=True, norm_first=norm_first)
    blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
    return Lambda(lambda m, x: m.last(m.blocks(x)[:, -1]), blocks=blocks, last=nn.Linear(6, 3))


class Language(nn.Module):
    """A small causal language model: positions, a block written by hand and a head tied to the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.positions = nn.Embedding(9, 8), nn.Embedding(12, 8)
        self.norm, self.attend, self.out = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8, bias=False)
        self.head = nn.Linear(8, 9, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens) + self.positions(torch.arange(tokens.shape[1]))
        q, k, v = (y.unflatten(-1, (2, 4)).transpose(1, 2) for y in self.attend(self.norm(x)).chunk(3, -1))
        y = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.head(x + self.out(y.transpose(1, 2).flatten(2)))


class Matrices(nn.Module):
    """Parameters used in functions without a rule: products, a transposed and a normalised weight, PReLU, a table."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(torch.zeros(6, 7)), nn.Parameter(torch.zeros(7, 7))
        self.table, self.scale = nn.Parameter(torch.zeros(4, 7)), nn.Parameter(torch.ones(()))
        self.prelu, self.last = nn.PReLU(7), nn.Linear(7, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        x = self.prelu(inputs @ self.first)
        x = torch.nn.functional.linear(x * self.scale, torch.nn.functional.normalize(self.second, dim=1))
        x = torch.einsum("nf,gf->ng", x, self.second.t())
        return self.last(x.unsqueeze(1) + self.table).tanh().mean(1)


def two(first: nn.Module, second: nn.Module, last: nn.Module) -> Callable[[], nn.Module]:
    """Layers after each other."""
    return lambda: Lambda(
        lambda m, x: m.last(m.second(m.first(x).relu()).flatten(1)), first=first, second=second, last=last
    )


def residual() -> nn.Module:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        x = m.stem(x)
        x = x + m.second(m.norm(m.first(x)).relu())
        return m.last(m.down(x).relu().mean((2, 3)))

    return Lambda(
        forward, stem=nn.Conv2d(2, 4, 3, padding=1, bias=False), first=nn.Conv2d(4, 4, 3, padding=2, dilation=2),
        norm=nn.GroupNorm(2, 4), second=nn.Conv2d(4, 4, 3, padding="same"), down=nn.Conv2d(4, 5, 3, stride=2),
        last=nn.Linear(5, 3),
    )  # fmt: skip


def learned_start() -> nn.Module:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        start = m.start.weight.expand(x.shape[0], -1, -1)
        return m.last(torch.cat([start, x], 1).tanh().sum(1))

    return Lambda(forward, start=nn.Embedding(2, 6), last=nn.Linear(6, 3))


#: Name to (how to make it, shape of one input, the way that must be chosen).
MORE: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str]] = {
    "one output": (lambda: nn.Linear(6, 1), (6,), "folded"),
    "one input": (two(nn.Linear(1, 5), nn.Linear(5, 5), nn.Linear(5, 3)), (1,), "folded"),
    "wide and short": (two(nn.Linear(6, 40), nn.Linear(40, 40), nn.Linear(40, 3)), (6,), "folded"),
    "conv on one pixel": (two(nn.Conv2d(2, 30, 3), nn.Conv2d(30, 30, 1), nn.Linear(30, 3)), (2, 3, 3), "folded"),
    "residual convolutions": (residual, (2, 8, 8), "folded"),
    "gru": (last_step(nn.GRU(6, 5, batch_first=True)), (4, 6), "folded"),
    "gru without biases": (last_step(nn.GRU(6, 5, batch_first=True, bias=False)), (4, 6), "folded"),
    "two layers of lstm": (last_step(nn.LSTM(6, 5, 2, batch_first=True)), (4, 6), "folded"),
    "both directions": (last_step(nn.GRU(6, 5, 2, batch_first=True, bidirectional=True), 10), (4, 6), "folded"),
    "rnn": (last_step(nn.RNN(6, 5, batch_first=True)), (4, 6), "folded"),
    "rnn of relu": (last_step(nn.RNN(6, 5, batch_first=True, nonlinearity="relu")), (4, 6), "folded"),
    "gru, time first": (last_step(nn.GRU(6, 5, 2)), (4, 6), "folded"),
    "lstm, time first": (last_step(nn.LSTM(6, 5)), (4, 6), "folded"),
    "projected lstm": (last_step(nn.LSTM(6, 5, proj_size=4, batch_first=True), 4), (4, 6), "folded"),
    "gru cell": (unrolled(nn.GRUCell(6, 5)), (3, 6), "folded"),
    "gru cell from zeros": (unrolled(nn.GRUCell(6, 5, bias=False), own_state=True), (3, 6), "folded"),
    "lstm cell": (unrolled(nn.LSTMCell(6, 5)), (3, 6), "folded"),
    "rnn cell": (unrolled(nn.RNNCell(6, 5)), (3, 6), "folded"),
    "rnn cell of relu": (unrolled(nn.RNNCell(6, 5, nonlinearity="relu")), (3, 6), "folded"),
    "self-attention": (attending(), (4, 6), "folded"),
    "self-attention, time first": (attending(first=False, bias=False), (4, 6), "folded"),
    "attention with weights": (attending(weights=True), (4, 6), "folded"),
    "causal attention": (attending(mask="causal"), (4, 6), "folded"),
    "padded attention": (attending(mask="padding", weights=True), (4, 6), "folded"),
    "attention with two masks": (attending(mask="added and padding"), (4, 6), "folded"),
    "cross-attention": (attending(cross=True), (4, 6), "folded"),
    "cross-attention, time first": (attending(cross=True, first=False, mask="padding"), (4, 6), "folded"),
    "cross-attention of two widths": (attending(cross=True, kdim=6, vdim=6), (4, 6), "folded"),
    "attention with added keys": (attending(add_bias_kv=True), (4, 6), "vmap"),
    "transformer": (lambda: transformer(False), (4, 6), "folded"),
    "transformer, norm first": (lambda: transformer(True), (4, 6), "folded"),
    "language model tokens": (Language, (5,), "folded"),
    "products": (Matrices, (6,), "folded"),
    "learned start": (learned_start, (3, 6), "folded"),
}  # fmt: skip
#: Those of ``stacks.py`` that no rule knows how to fold.
NOT_FOLDED = {
    "time in the batch": "vmap", "time in the batch without biases": "vmap", "another time in the batch": "vmap",
    "time first": "vmap", "weights that are clipped": "vmap",
}  # fmt: skip
ALL = {name: (make, shape, NOT_FOLDED.get(name, "folded")) for name, (make, shape, _) in NETWORKS.items()} | MORE
