"""Non-linearities by name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from galab.errors import UsageError, closest

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": functional.relu,
    "tanh": torch.tanh,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "sigmoid": torch.sigmoid,
}


def activation_named(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """The non-linearity called ``name``.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in ACTIVATIONS:
        names = list(ACTIVATIONS)
        raise UsageError(f"expected --activation to be one of {', '.join(names)}, got '{name}'.{closest(name, names)}")
    return ACTIVATIONS[name]
