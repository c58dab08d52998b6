"""Modules with the tricks of real code, beyond the layers of ``stacks.py`` and ``low_rank_networks.py``."""

from __future__ import annotations

from collections.abc import Callable

import torch
from stacks import Lambda
from torch import Tensor, nn

Make = Callable[[], nn.Module]


class Shared(nn.Module):
    """One submodule under two names, and inside a container that is registered twice."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Sequential(nn.Linear(6, 6), nn.Tanh())
        self.again = self.tower
        self.last = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.again(self.tower(x)))


class Own(nn.Module):
    """Parameters of its own, whatever the shape, and a function of them and the input."""

    def __init__(self, function: Callable[[Own, Tensor], Tensor], **values: Tensor) -> None:
        super().__init__()
        for name, value in values.items():
            setattr(self, name, nn.Parameter(value, requires_grad=value.is_floating_point() or value.is_complex()))
        self.last = nn.Linear(6, 3)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


class Lists(nn.Module):
    """ParameterList and ParameterDict."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.ParameterList([nn.Parameter(torch.randn(6, 6) * 0.3) for _ in range(3)])
        self.named = nn.ParameterDict({"scale": nn.Parameter(torch.ones(6)), "shift": nn.Parameter(torch.zeros(6))})
        self.last = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        for weight in self.steps:
            x = (x @ weight).tanh()
        return self.last(x * self.named["scale"] + self.named["shift"])


class LoRA(nn.Module):
    """A frozen base with an adapter of low rank."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(6, 6).requires_grad_(False)
        self.a, self.b = nn.Parameter(torch.randn(2, 6) * 0.3), nn.Parameter(torch.zeros(6, 2))
        self.last = nn.Linear(6, 3).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.last((self.base(x) + x @ self.a.t() @ self.b.t()).relu())


class Experts(nn.Module):
    """A mixture of experts: weighted, or each example sent to one of them."""

    def __init__(self, routing: str) -> None:
        super().__init__()
        self.gate = nn.Linear(6, 3)
        self.experts = nn.ModuleList([nn.Linear(6, 3) for _ in range(3)])
        self.routing = routing

    def forward(self, x: Tensor) -> Tensor:
        gates = self.gate(x)
        if self.routing == "soft":
            return sum(gates.softmax(-1)[:, [place]] * expert(x) for place, expert in enumerate(self.experts))
        chosen = gates.argmax(-1)
        if self.routing == "gathered":
            return torch.stack([expert(x) for expert in self.experts], 1)[torch.arange(len(x)), chosen]
        answer = x.new_zeros(len(x), 3)
        for place, expert in enumerate(self.experts):
            if (chosen == place).any():
                answer[chosen == place] = expert(x[chosen == place])
        return answer


class Typed(nn.Module):
    """Works inside in another type, and answers in it or in float32."""

    def __init__(self, dtype: torch.dtype, *, answers: bool = False) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 5).to(dtype), nn.Linear(5, 3).to(dtype)
        self.answers = answers

    def forward(self, x: Tensor) -> Tensor:
        y = self.last(self.first(x.to(self.first.weight.dtype)).tanh())
        return y if self.answers else y.float()


class Mixed(nn.Module):
    """A double layer between float32 ones."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(6, 5), nn.Linear(5, 5).double(), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.middle(self.first(x).double()).float())


class Counting(nn.Module):
    """Changes a buffer in its forward: by itself, or by putting another in its place."""

    def __init__(self, *, replaced: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)
        self.register_buffer("calls", torch.zeros(()))
        self.replaced = replaced

    def forward(self, x: Tensor) -> Tensor:
        if self.replaced:
            self.calls = self.calls + 1
        else:
            self.calls += 1
        return self.linear(x)


class Stateful(nn.Module):
    """Adds its last answer to the next."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.before = nn.Linear(6, 3), None

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        if self.before is not None and self.before.shape == y.shape:
            y = y + self.before
        self.before = y.detach()
        return y


class Keeping(nn.Module):
    """Keeps its last activation, for somebody to look at."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.seen = nn.Linear(6, 3), None

    def forward(self, x: Tensor) -> Tensor:
        self.seen = self.linear(x)
        return self.seen


def after(layer: Make, features: int = 5, inputs: int = 6) -> Make:
    """A layer of ``features`` between two linear ones."""
    return lambda: nn.Sequential(nn.Linear(inputs, features), layer(), nn.Tanh(), nn.Linear(features, 3))


def flat(layer: Make, size: int) -> Make:
    """A layer over maps, and a linear one over all that comes out."""
    return lambda: nn.Sequential(layer(), nn.Flatten(), nn.Linear(size, 3))


def decoder() -> nn.Module:
    layer = nn.TransformerDecoderLayer(6, 2, 10, batch_first=True)
    return Lambda(lambda m, x: m.last(m.layer(x, x.flip(1)).mean(1)), layer=layer, last=nn.Linear(6, 3))


def whole_transformer() -> nn.Module:
    model = nn.Transformer(6, 2, 1, 1, 8, batch_first=True)
    return Lambda(lambda m, x: m.last(m.model(x, x).mean(1)), model=model, last=nn.Linear(6, 3))


def adaptive() -> nn.Module:
    head = nn.AdaptiveLogSoftmaxWithLoss(6, 5, [2], div_value=2.0)
    return Lambda(lambda m, x: m.head.log_prob(m.first(x)), first=nn.Linear(6, 6), head=head)


def old_weight_norm() -> nn.Module:
    return nn.Sequential(nn.utils.weight_norm(nn.Linear(6, 5)), nn.Tanh(), nn.Linear(5, 3))


_P = nn.utils.parametrizations
#: Name to (how to make it, shape of one input). Inputs of those named "tokens" are whole numbers below 9.
SUPPORTED: dict[str, tuple[Make, tuple[int, ...]]] = {
    "shared submodule": (Shared, (6,)),
    "scale without dimensions": (lambda: Own(lambda m, x: m.last(x) * m.scale.exp(), scale=torch.tensor(0.5)), (6,)),
    "parameter of size 0": (lambda: Own(lambda m, x: m.last(x) + m.none.sum(0), none=torch.zeros(0, 3)), (6,)),
    "whole numbers": (lambda: Own(lambda m, x: m.last(x[:, m.order]), order=torch.tensor([5, 4, 3, 2, 1, 0])), (6,)),
    "lists and dictionaries": (Lists, (6,)),
    "lora": (LoRA, (6,)),
    "soft experts": (lambda: Experts("soft"), (6,)),
    "gathered experts": (lambda: Experts("gathered"), (6,)),
    "masked experts": (lambda: Experts("masked"), (6,)),
    "dropout in eval": (after(lambda: nn.Dropout(0.5)), (6,)),
    "keeps an activation": (Keeping, (6,)),
    "half inside": (lambda: Typed(torch.float16), (6,)),
    "bfloat16 inside": (lambda: Typed(torch.bfloat16), (6,)),
    "double inside": (lambda: Typed(torch.float64), (6,)),
    "half answers": (lambda: Typed(torch.float16, answers=True), (6,)),
    "double answers": (lambda: Typed(torch.float64, answers=True), (6,)),
    "a double layer": (Mixed, (6,)),
    "weight norm": (lambda: nn.Sequential(_P.weight_norm(nn.Linear(6, 5)), nn.Tanh(), nn.Linear(5, 3)), (6,)),
    "old weight norm": (old_weight_norm, (6,)),
    "spectral norm": (lambda: nn.Sequential(_P.spectral_norm(nn.Linear(6, 5)), nn.Tanh(), nn.Linear(5, 3)), (6,)),
    "orthogonal": (lambda: nn.Sequential(_P.orthogonal(nn.Linear(6, 6)), nn.Tanh(), nn.Linear(6, 3)), (6,)),
    "batch statistics": (after(lambda: nn.BatchNorm1d(5, track_running_stats=False)), (6,)),
    "prelu": (after(lambda: nn.PReLU()), (6,)),
    "prelu by channel": (after(lambda: nn.PReLU(5)), (6,)),
    "transposed conv 2d": (flat(lambda: nn.ConvTranspose2d(2, 3, 3), 108), (2, 4, 4)),
    "transposed conv 3d": (flat(lambda: nn.ConvTranspose3d(1, 2, 2), 128), (1, 3, 3, 3)),
    "instance norm 1d": (flat(lambda: nn.InstanceNorm1d(2, affine=True), 14), (2, 7)),
    "instance norm 2d": (flat(lambda: nn.InstanceNorm2d(2, affine=True), 32), (2, 4, 4)),
    "instance norm 3d": (flat(lambda: nn.InstanceNorm3d(1, affine=True), 27), (1, 3, 3, 3)),
    "bag of tokens": (lambda: Lambda(lambda m, x: m.last(m.bag(x.long())), bag=nn.EmbeddingBag(9, 5),
                                     last=nn.Linear(5, 3)), (4,)),
    "transformer decoder": (decoder, (4, 6)),
    "encoder and decoder": (whole_transformer, (3, 6)),
    "adaptive softmax": (adaptive, (6,)),
    "layers without a size": (lambda: nn.Sequential(nn.LazyLinear(5), nn.Tanh(), nn.LazyLinear(3)), (6,)),
}  # fmt: skip
#: Name to (how to make it, what the sentence says). All take inputs of shape (6,) and should give 3 outputs.
REFUSED: dict[str, tuple[Make, str]] = {
    "complex": (lambda: Own(lambda m, x: m.last(((x + 0j) @ m.turn).abs()), turn=torch.eye(6, dtype=torch.complex64)),
                "expected parameters of real numbers, got 'turn' of complex64"),
    "random numbers": (lambda: Lambda(lambda m, x: m.last(x) + torch.randn(len(x), 3), last=nn.Linear(6, 3)),
                       "expected a forward that answers the same inputs alike"),
    "state between calls": (Stateful, "expected a forward that answers the same inputs alike"),
    "a buffer that counts": (Counting, "expected a forward that leaves its buffers as they are, got another 'calls'"),
    "a buffer replaced": (lambda: Counting(replaced=True),
                          "expected a forward that leaves its buffers as they are, got another 'calls'"),
    "changed inputs": (lambda: Lambda(lambda m, x: m.last(x.mul_(2)), last=nn.Linear(6, 3)),
                       "expected a forward that leaves its inputs as they are"),
    "running statistics": (after(lambda: nn.BatchNorm1d(5)), "expected no running statistics"),
    "one answer for all": (lambda: Lambda(lambda m, x: m.last(x).mean(0), last=nn.Linear(6, 3)),
                           r"expected outputs of shape \(2, 3\)"),
    "a flat answer": (lambda: Lambda(lambda m, x: m.last(x)[:, 0], last=nn.Linear(6, 3)),
                      r"expected outputs of shape \(2, 3\)"),
    "a tuple": (lambda: Lambda(lambda m, x: (m.last(x), x), last=nn.Linear(6, 3)), "got an object of type tuple"),
    "a dictionary": (lambda: Lambda(lambda m, x: {"logits": m.last(x)}, last=nn.Linear(6, 3)),
                     "got an object of type dict"),
    "nothing to evolve": (lambda: Lambda(lambda m, x: x[:, :3] * 1.0),
                          "expected parameters to evolve, got a module without any"),
}  # fmt: skip
