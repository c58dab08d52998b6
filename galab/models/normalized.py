"""Networks that see observations with mean 0 and deviation 1, by what policies have seen before.

The network keeps its class, its parameters and their names. What it knows of observations is one more buffer, so that
whatever holds the network holds that too: checkpoints, exported files, genomes, workers.

Source: T. Salimans et al., "Evolution strategies as a scalable alternative to reinforcement learning", 2017.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from galab.errors import UsageError

#: The buffer: (1 + 2 D,) float64, how many observations there were, the sum of each of their D numbers, and the sum of
#: its squares.
SUMS = "observation_sums"
#: Set on a network while it answers.
_INSIDE = "_answers_normalized"
#: The least deviation by which a number is divided: one that hardly varies must not become noise.
_LEAST = 0.01
#: Normalised numbers are cut off here.
_MOST = 10.0


def normalize_observations(module: nn.Module, input_shape: Sequence[int]) -> None:
    """Let a network normalise its inputs; until :func:`observe` was called it takes them as they are.

    Its class becomes one that is derived from it, as :mod:`torch.nn.utils.parametrize` does it: ``forward``, and
    ``step`` of a recurrent one, get normalised inputs.

    Args:
        module: the network.
        input_shape: of one observation, D numbers in all.

    Raises:
        UsageError: it has a parameter or a buffer called ``observation_sums`` already.
    """
    kind = type(module)
    if hasattr(module, SUMS):
        raise UsageError(
            f"expected a network without an attribute '{SUMS}' with --normalize-observations on, which adds one, got "
            f"{kind.__name__}; rename it"
        )
    body: dict[str, Any] = {"plain_class": kind, "forward": _normalized_first(kind.forward)}
    if hasattr(kind, "step"):
        body["step"] = _normalized_first(kind.step)
    module.__class__ = type(f"Normalized{kind.__name__}", (kind,), body)
    module.register_buffer(SUMS, torch.zeros(1 + 2 * math.prod(input_shape), dtype=torch.float64))


def plain_class(module: nn.Module) -> type[nn.Module]:
    """The class of a network, whether it normalises observations or not."""
    kind: type[nn.Module] = getattr(type(module), "plain_class", type(module))
    return kind


def normalizes(module: nn.Module) -> bool:
    """Whether a network normalises observations."""
    return hasattr(type(module), "plain_class")


def observe(module: nn.Module, sums: NDArray[np.float64]) -> None:
    """Add what the members of a generation saw, in their order; the network is used with it from now on.

    Args:
        module: the network, see :func:`normalize_observations`.
        sums: (P, 1 + 2 D) as in the buffer. Rows that are not finite are left out.
    """
    total = getattr(module, SUMS).cpu().numpy().copy()
    for row in sums[np.isfinite(sums).all(1)]:
        total += row
    set_sums(module, total)


def sums_of(module: nn.Module) -> NDArray[np.float64]:
    """(1 + 2 D,) what a network knows of observations, a copy; see :data:`SUMS`."""
    found: NDArray[np.float64] = getattr(module, SUMS).cpu().numpy().copy()
    return found


def set_sums(module: nn.Module, sums: NDArray[np.float64]) -> None:
    """Replace what a network knows of observations."""
    getattr(module, SUMS).copy_(torch.from_numpy(sums))


def normalized(observations: NDArray[Any], sums: NDArray[np.float64]) -> NDArray[np.float32]:
    """Observations (..., D) as a network sees them: minus the mean, divided by the deviation, within +-10.

    Args:
        observations: as the environment gives them.
        sums: (1 + 2 D,), see :data:`SUMS`.
    """
    if not sums[0]:
        return observations.astype(np.float32, order="C")
    mean, squares = sums[1:].reshape(2, -1) / sums[0]
    deviation = np.sqrt(np.maximum(squares - mean * mean, _LEAST * _LEAST))
    return np.clip((observations.astype(np.float64) - mean) / deviation, -_MOST, _MOST).astype(np.float32, order="C")


def _normalized_first(method: Any) -> Any:
    """A method of a network whose first argument, the inputs (B, *input_shape), is normalised before.

    Methods that it calls get what it passes them: a ``forward`` may call ``step``.
    """

    def answer(self: nn.Module, inputs: Tensor, *others: Any) -> Any:
        if self.__dict__.get(_INSIDE):
            return method(self, inputs, *others)
        self.__dict__[_INSIDE] = True
        try:
            return method(self, _seen_by(self, inputs), *others)
        finally:
            del self.__dict__[_INSIDE]

    return answer


def _seen_by(module: nn.Module, inputs: Tensor) -> Tensor:
    """Inputs (B, *input_shape) as :func:`normalized` gives them."""
    sums: Tensor = getattr(module, SUMS)
    mean, squares = (sums[1:] / sums[0].clamp(min=1)).reshape(2, -1)
    deviation = (squares - mean * mean).clamp(min=_LEAST * _LEAST).sqrt()
    seen = ((inputs.flatten(1).double() - mean) / deviation).clamp(-_MOST, _MOST)
    seen = seen.to(inputs.dtype).reshape(inputs.shape)
    return torch.where(sums[0] > 0, seen, inputs)
