"""What a forward may do and what not, beyond the kinds of ``tests/support/module_kinds.py``."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from galab.errors import UsageError
from galab.models.check_network import prepare_network


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)
        self.k = nn.Parameter(torch.ones(3), requires_grad=False)
        self.register_buffer("low", torch.full((2,), float("nan")))
        self.kept: Any = None

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.k


class Moving(Net):
    def forward(self, x: Tensor) -> Tensor:
        self.k.data.add_(1e-6)
        return self.linear(x) + self.k


class Remembering(Net):
    def forward(self, x: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = self.linear.weight.detach() * 2
        return nn.functional.linear(x, self.kept)


class Noisy(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + 1e-6 * torch.randn(len(x), 3)


class Masked(Net):
    """Keeps a mask by length, which is no state."""

    def forward(self, x: Tensor) -> Tensor:
        if self.kept is None or len(self.kept) != x.shape[1]:
            self.kept = torch.linspace(0, 1, x.shape[1])
        return self.linear(x * self.kept)


class Backbone(nn.Module):
    def __init__(self, *, frozen: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5)).requires_grad_(not frozen)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (Moving, "leaves its parameters as they are, got another 'k'|answers the same inputs"),
        (Remembering, "expected a forward that computes with its present parameters"),
        (Noisy, "expected a forward that answers the same inputs alike"),
        (lambda: Backbone(frozen=False), "no running statistics .* freeze a trained layer with its statistics"),
        # None asks for a gradient, so all are evolved.
        (lambda: Backbone(frozen=True).requires_grad_(False), "no running statistics .* freeze a trained layer"),
    ],
)
def test_what_would_not_repeat_is_refused(make: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        prepare_network("own", make(), (6,), 3)


def test_what_repeats_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    prepare_network("own", Net(), (6,), 3)
    prepare_network("own", Backbone(frozen=True), (6,), 3)
    prepare_network("own", Backbone(frozen=False), (6,), 3, freeze="body.*")
    assert not caplog.text
    prepare_network("own", Masked(), (6,), 3)
    assert "keeps 'kept' between calls" in caplog.text


def test_a_saved_run_was_tried_when_it_began() -> None:
    prepare_network("own", Noisy(), (6,), 3, check=False)
