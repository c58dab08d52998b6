"""The parameters of members around a centre, and how many of them are run at once."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from galab.evaluation.low_rank import Common, Stack, low_rank
from galab.evaluation.population import power_of_two, widest_activation
from galab.perturbation.directions import Dense, Noise
from galab.perturbation.plan import Plan

#: The activations of a chunk at its widest layer: small enough to be read again while they are in the cache.
ACTIVATION_BYTES = 4 << 20
_SMALLEST_CHUNK, _LARGEST_CHUNK = 64, 256
#: A compiled forward does not write most of them, and needs large chunks to be worth its calls.
COMPILED_BYTES, _COMPILED_CHUNK = 64 << 20, 512
#: Dense members are stacks of whole networks; no more of them than this at once.
_STACK_BYTES = 32 << 20


def members_around(
    centre: Mapping[str, Tensor],
    noise: Noise,
    sigma: float,
    *,
    antithetic: bool,
    dtype: torch.dtype = torch.float32,
    common: Mapping[str, Common] | None = None,
) -> dict[str, Stack]:
    """The members' parameters: of Q directions all plus and then all minus, or plus alone.

    Args:
        centre: name to tensor, float32.
        noise: of the directions.
        sigma: the step size, in weight units; a negative one steps the other way.
        antithetic: whether each direction makes two members.
        dtype: of the forward.
        common: where products that other chunks need too are found.
    """
    found: dict[str, Stack] = {}
    for name, part in noise.items():
        if isinstance(part, Dense):
            step = part.values * sigma
            found[name] = (centre[name] + (torch.cat([step, -step]) if antithetic else step)).to(dtype)
        else:
            where = common.get(name) if common else None
            base = centre[name].to(dtype)
            found[name] = low_rank(base, part.a, part.b, sigma, antithetic=antithetic, common=where)
    return found


def members_at_once(module: nn.Module, inputs: Tensor, examples: int, plan: Plan, *, compiled: bool = False) -> int:
    """As many members as keep the widest activation, and stacks of dense members, within bounds: an even number.

    Args:
        module: the network.
        inputs: (B, ...) some examples.
        examples: how many the members are run on at once.
        plan: what a direction is made of.
        compiled: whether the forward is compiled.
    """
    most, largest = (COMPILED_BYTES, _COMPILED_CHUNK) if compiled else (ACTIVATION_BYTES, _LARGEST_CHUNK)
    fit = power_of_two(most, widest_bytes(module, inputs) * examples)
    dense = 4 * sum(tensor.size for tensor in plan.tensors if tensor.rank is None)
    return max(2, min(max(_SMALLEST_CHUNK, fit), largest, power_of_two(_STACK_BYTES, max(dense, 1))))


def widest_bytes(module: nn.Module, inputs: Tensor) -> int:
    """Bytes of the widest activation of one network on one example, its input left out."""
    with torch.no_grad():
        return max(1, widest_activation(module, len(inputs), lambda: module(inputs))) * inputs.element_size()
