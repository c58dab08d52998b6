"""Networks of many kinds, and what a population of one must give: each member run as a plain module."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

#: P, members. Some networks below have an axis of this length too, where an axis could pass for the members'.
MEMBERS = 4


class Lambda(nn.Module):
    """Layers by name and a function of them and the input."""

    def __init__(self, function: Callable[[nn.Module, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.function = function

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(self, inputs)


class Own(nn.Module):
    """Uses a parameter of its own, outside any layer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.shift = nn.Parameter(torch.zeros(6))
        self.linear = nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.linear(torch.tanh(inputs * self.scale + self.shift))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(6, 5, batch_first=True)
        self.linear = nn.Linear(5, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.linear(self.gru(inputs)[0][:, -1])


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.linear = nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.linear(self.attention(inputs, inputs, inputs, need_weights=False)[0].mean(1))


def norms(kind: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: Lambda(
        lambda m, x: m.last(m.norm(m.first(x).relu()).flatten(1)),
        first=nn.Linear(6, 8), norm=kind(), last=nn.Linear(8, 3),
    )  # fmt: skip


def flattens_time(bias: bool) -> nn.Module:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        rows = m.first(x.reshape(-1, x.shape[-1])).tanh()
        return m.last(rows.reshape(x.shape[0], x.shape[1], -1).mean(1))

    return Lambda(forward, first=nn.Linear(6, 8, bias=bias), last=nn.Linear(8, 3, bias=bias))


def tied() -> nn.Module:
    module = Lambda(lambda m, x: m.head(m.embed(x).mean(1)), embed=nn.Embedding(9, 5), head=nn.Linear(5, 9, bias=False))
    module.head.weight = module.embed.weight
    return module


def with_positions(length: int) -> nn.Module:
    return Lambda(
        lambda m, x: m.last((x + m.positions(torch.arange(length))).tanh()).mean(1),
        positions=nn.Embedding(length, 6),
        last=nn.Linear(6, 3),
    )


def conv_norm(kind: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: Lambda(
        lambda m, x: m.last(m.norm(m.first(x)).relu().flatten(1)),
        first=nn.Conv2d(2, 4, 3), norm=kind(), last=nn.Linear(64, 3),
    )  # fmt: skip


#: Name to (how to make it, shape of one input, whether it must be folded). Inputs named "tokens" are whole numbers.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], bool]] = {
    "layer norm": (norms(lambda: nn.LayerNorm(8)), (6,), True),
    "layer norm without bias": (norms(lambda: nn.LayerNorm(8, bias=False)), (6,), True),
    "norm without parameters": (norms(lambda: nn.LayerNorm(8, elementwise_affine=False)), (6,), True),
    "rms norm": (norms(lambda: nn.RMSNorm(8)), (6,), True),
    "group norm": (norms(lambda: nn.GroupNorm(2, 8)), (6,), True),
    "norm of the input": (
        lambda: Lambda(lambda m, x: m.last(m.norm(x)), norm=nn.LayerNorm(6), last=nn.Linear(6, 3)), (6,), True,
    ),
    "norm of two axes": (
        lambda: Lambda(lambda m, x: m.last(m.norm(m.first(x)).flatten(1)), first=nn.Linear(6, 8),
                       norm=nn.LayerNorm((MEMBERS, 8)), last=nn.Linear(32, 3)), (MEMBERS, 6), True,
    ),
    "conv group norm": (conv_norm(lambda: nn.GroupNorm(2, 4)), (2, 6, 6), True),
    "conv layer norm": (conv_norm(lambda: nn.LayerNorm((4, 4, 4))), (2, 6, 6), True),
    "conv1d": (
        lambda: Lambda(lambda m, x: m.last(m.second(m.first(x).relu()).flatten(1)), first=nn.Conv1d(2, 4, 3, padding=1),
                       second=nn.Conv1d(4, 3, 3, stride=2, dilation=2), last=nn.Linear(9, 3)), (2, 9), True,
    ),
    "conv3d": (
        lambda: Lambda(lambda m, x: m.last(m.first(x).relu().flatten(1)), first=nn.Conv3d(1, 2, 2),
                       last=nn.Linear(16, 3)), (1, 3, 3, 3), True,
    ),
    "grouped conv of the input": (
        lambda: Lambda(lambda m, x: m.last(m.first(x).flatten(1)), first=nn.Conv2d(4, 8, 3, groups=2),
                       last=nn.Linear(32, 3)), (4, 4, 4), True,
    ),
    "depthwise conv": (
        lambda: Lambda(lambda m, x: m.last(m.second(m.first(x)).mean((2, 3))), first=nn.Conv2d(2, 6, 3, bias=False),
                       second=nn.Conv2d(6, 6, 3, groups=6), last=nn.Linear(6, 3)), (2, 6, 6), True,
    ),
    "convolutions around a skip": (
        lambda: Lambda(lambda m, x: m.last((h := m.first(x).relu()).add(m.second(h)).flatten(1)),
                       first=nn.Conv2d(2, 4, 3, padding="same"), second=nn.Conv2d(4, 4, 3, padding=1),
                       last=nn.Linear(64, 3)), (2, 4, 4), True,
    ),
    "three axes": (
        lambda: Lambda(lambda m, x: m.last(m.first(x).tanh().mean(1)), first=nn.Linear(6, 8), last=nn.Linear(8, 3)),
        (MEMBERS, 6), True,
    ),
    "three axes to the end": (
        lambda: Lambda(lambda m, x: m.last(m.first(x).tanh())[:, -1], first=nn.Linear(6, 8), last=nn.Linear(8, 3)),
        (MEMBERS, 6), True,
    ),
    "tokens embedded": (
        lambda: Lambda(lambda m, x: m.last(m.embed(x).mean(1)), embed=nn.Embedding(9, 5, padding_idx=0),
                       last=nn.Linear(5, 3)), (MEMBERS,), True,
    ),
    "tokens with tied weights": (tied, (5,), True),
    "skip from the input": (
        lambda: Lambda(lambda m, x: m.last(x + m.first(x).tanh()), first=nn.Linear(6, 6), last=nn.Linear(6, 3)),
        (6,), False,
    ),
    "input beside the features": (
        lambda: Lambda(lambda m, x: m.last(torch.cat([x, m.first(x)], 1)), first=nn.Linear(6, 6),
                       last=nn.Linear(12, 3)), (6,), False,
    ),
    "time in the batch": (lambda: flattens_time(True), (MEMBERS, 6), False),
    "time in the batch without biases": (lambda: flattens_time(False), (MEMBERS, 6), False),
    "another time in the batch": (lambda: flattens_time(True), (5, 6), False),
    "time first": (
        lambda: Lambda(lambda m, x: m.last(m.first(x.transpose(0, 1)).tanh().mean(0)), first=nn.Linear(6, 8),
                       last=nn.Linear(8, 3)), (3, 6), False,
    ),
    "positions": (lambda: with_positions(3), (3, 6), False),
    "as many positions as members": (lambda: with_positions(MEMBERS), (MEMBERS, 6), False),
    "parameters of its own": (Own, (6,), False),
    "attention": (Attention, (MEMBERS, 6), False),
    "recurrent": (Recurrent, (5, 6), False),
    "bilinear": (
        lambda: Lambda(lambda m, x: m.first(x, x), first=nn.Bilinear(6, 6, 3)), (6,), False,
    ),
    "transposed conv": (
        lambda: Lambda(lambda m, x: m.first(x).mean(2), first=nn.ConvTranspose1d(2, 3, 3)), (2, 5), False,
    ),
    "weights that are clipped": (
        lambda: Lambda(lambda m, x: m.last(m.embed(x).mean(1)), embed=nn.Embedding(9, 5, max_norm=0.5),
                       last=nn.Linear(5, 3)), (5,), False,
    ),
}  # fmt: skip
#: Those whose inputs are whole numbers.
TOKENS = ("tokens embedded", "tokens with tied weights", "weights that are clipped")


def ready(module: nn.Module) -> nn.Module:
    """As the lab hands it over."""
    return module.eval().requires_grad_(False)


def make_inputs(name: str, shape: tuple[int, ...], examples: int) -> Tensor:
    generator = torch.Generator().manual_seed(examples)
    if name in TOKENS:
        return torch.randint(0, 9, (examples, *shape), generator=generator)
    return torch.randn(examples, *shape, generator=generator)


def stacked(module: nn.Module, members: int = MEMBERS, *, spread: float = 0.4) -> dict[str, Tensor]:
    """Weights of members that differ: name to (P, *shape)."""
    generator = torch.Generator().manual_seed(7)
    return {
        name: torch.randn(members, *value.shape, generator=generator) * spread
        for name, value in module.named_parameters()
    }


def one_by_one(module: nn.Module, parameters: dict[str, Tensor], inputs: Tensor) -> Tensor:
    """The oracle: a plain copy of the module for every member, with nothing of galab."""
    outputs = []
    for member in range(len(next(iter(parameters.values())))):
        plain = copy.deepcopy(module)
        for name, value in plain.named_parameters():
            value.copy_(parameters[name][member])
        outputs.append(plain(inputs))
    return torch.stack(outputs)
