"""Networks that see observations with mean 0 and deviation 1, by what policies have seen before.

The network keeps its class, its parameters and their names. What it knows of observations is one more buffer, so that
whatever holds the network holds that too: checkpoints, exported files, genomes, workers.

Source: T. Salimans et al., "Evolution strategies as a scalable alternative to reinforcement learning", 2017.
"""

from __future__ import annotations

import functools
import inspect
import math
import threading
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
#: Of each thread: the networks that are answering.
_ANSWERING = threading.local()
#: The least deviation by which a number is divided: one that hardly varies must not become noise.
_LEAST = 1e-4
#: Normalised numbers are cut off here.
_MOST = 10.0


def normalize_observations(module: nn.Module, input_shape: Sequence[int], examples: Tensor | None = None) -> None:
    """Let a network normalise its inputs; until :func:`observe` was called it takes them as they are.

    Its class becomes one that is derived from it, as :mod:`torch.nn.utils.parametrize` does it: ``forward``, and
    ``step`` of a recurrent one, get normalised inputs.

    Args:
        module: the network.
        input_shape: of one observation, D numbers in all.
        examples: (B, *input_shape) some observations, to see that it works.

    Raises:
        UsageError: it has a parameter or a buffer called ``observation_sums`` already, or it does not answer by
            ``forward``.
    """
    kind, name = type(module), type(module).__name__
    if hasattr(module, SUMS):
        raise UsageError(
            f"expected a network without an attribute '{SUMS}' with --normalize-observations on, which adds one, got "
            f"{name}; rename it"
        )
    body: dict[str, Any] = {
        "plain_class": kind, "__module__": kind.__module__, "__qualname__": f"Normalized{kind.__qualname__}",
        "forward": _normalized_first(kind.forward), "_apply": _apply, "__reduce_ex__": _reduce,
    }  # fmt: skip
    if hasattr(kind, "step") and hasattr(kind, "initial_state"):
        body["step"] = _normalized_first(kind.step)
    try:
        module.__class__ = type(f"Normalized{name}", (kind,), body)
    except TypeError as error:
        raise UsageError(
            f"expected a network from whose class another can be derived with --normalize-observations on, got {name}: "
            f"{error}; drop one of them"
        ) from error
    width = math.prod(input_shape)
    module.register_buffer(SUMS, torch.zeros(1 + 2 * width, dtype=torch.float64))
    if examples is not None:
        _check(module, examples, width)


def _check(module: nn.Module, examples: Tensor, width: int) -> None:
    """Refuse a network that gets its inputs past ``forward``."""
    tried = np.concatenate([[2.0], np.full(width, 1.0), np.full(width, 2.5)])
    shown = normalized(examples.numpy().reshape(len(examples), -1), tried).reshape(examples.shape)
    with torch.no_grad():
        expected = module(torch.from_numpy(shown))
        set_sums(module, tried)
        found = module(examples)
        set_sums(module, np.zeros_like(tried))
    if not torch.allclose(found, expected, rtol=1e-4, atol=1e-5, equal_nan=True):
        raise UsageError(
            f"expected a network that answers by its class's forward with --normalize-observations on, got "
            f"{plain_class(module).__name__}, which answers otherwise, as with a forward of its object; define forward "
            "in the class"
        )


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
    total = sums_of(module)
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
    first = list(inspect.signature(method).parameters)[1]

    @functools.wraps(method)
    def answer(self: nn.Module, *given: Any, **named: Any) -> Any:
        """The method's own answer to normalised inputs."""
        answering: set[int] = _ANSWERING.__dict__.setdefault("networks", set())
        if id(self) in answering:
            return method(self, *given, **named)
        answering.add(id(self))
        try:
            if given:
                return method(self, _seen_by(self, given[0]), *given[1:], **named)
            return method(self, **{**named, first: _seen_by(self, named[first])})
        finally:
            answering.discard(id(self))

    return answer


def _seen_by(module: nn.Module, inputs: Tensor) -> Tensor:
    """Inputs (B, *input_shape) as :func:`normalized` gives them; float32 of whole numbers."""
    sums: Tensor = getattr(module, SUMS)
    mean, squares = (sums[1:] / sums[0].clamp(min=1)).reshape(2, -1)
    deviation = (squares - mean * mean).clamp(min=_LEAST * _LEAST).sqrt()
    seen = ((inputs.flatten(1).double() - mean) / deviation).clamp(-_MOST, _MOST).reshape(inputs.shape)
    kind = inputs.dtype if inputs.is_floating_point() else torch.float32
    return torch.where(sums[0] > 0, seen.to(kind), inputs.to(kind))


def _apply(self: nn.Module, change: Any, recurse: bool = True) -> nn.Module:
    """What ``half``, ``float`` and ``to`` do; the sums stay float64, as they are too large for less."""
    sums = getattr(self, SUMS)
    changed: nn.Module = plain_class(self)._apply(self, change, recurse)
    changed._buffers[SUMS] = sums.to(change(sums).device)
    return changed


def _reduce(self: nn.Module, protocol: int) -> Any:
    """For pickle and copies, which find the plain class alone by its name."""
    return _blank, (plain_class(self), len(getattr(self, SUMS)) // 2), self.__dict__.copy()


def _blank(kind: type[nn.Module], width: int) -> nn.Module:
    """A network that normalises, before its state is set."""
    module = kind.__new__(kind)
    nn.Module.__init__(module)
    normalize_observations(module, (width,))
    return module
