"""Running P members whose parameters are low-rank perturbations of one centre, or stacks of dense values.

Three ways, as in ``population.py`` and chosen in the same manner, by comparison with the last on a probe:

- ``folded``: the members ride in the batch axis, member-major, see ``member_mode.py``;
- ``vmap``: ``torch.func.vmap`` over the members, with low-rank weights still not formed where a rule knows better;
- ``loop``: one member after the other, with its weights formed.

Source of the low-rank forward: Sarkar et al., "Evolution Strategies at the Hyperscale", arXiv 2511.16652.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from galab.evaluation.low_rank import LowRank, Stack
from galab.evaluation.marks import FOLDED, SHARED, mark_of, marked
from galab.evaluation.member_mode import MemberMode, NoRuleError, OneMemberMode
from galab.evaluation.population import PROBE_SIZES, first_that_agrees

Perturbed = Mapping[str, Stack]


def members_of(parameters: Perturbed) -> int:
    """P."""
    stack = next(iter(parameters.values()))
    return stack.members if isinstance(stack, LowRank) else stack.shape[0]


def folded(module: nn.Module, parameters: Perturbed, inputs: Tensor, *, each_own: bool = False) -> Tensor:
    """All members in one batch.

    Args:
        module: the network.
        parameters: name to stack; what is left out keeps the module's values.
        inputs: (B, ...), the same for all members; or (P * B, ...), member by member.
        each_own: whether each member has examples of its own.

    Returns:
        (P, B, outputs).

    Raises:
        NoRuleError: this network needs another way.
    """
    members = members_of(parameters)
    mode = MemberMode(members)
    stand_ins = {name: mode.stand_in(stack) for name, stack in parameters.items()}
    # A new tensor on the same memory, so that the caller's own bears no mark.
    own_inputs = marked(inputs.view_as(inputs), FOLDED if each_own else SHARED)
    with mode:
        outputs: Tensor = functional_call(module, stand_ins, (own_inputs,))
    mark = mark_of(outputs)
    if mark is None:
        raise NoRuleError("outputs that do not come from the inputs")
    if mark == SHARED:
        return outputs.expand(members, *outputs.shape)
    rows = len(inputs) // (members if each_own else 1)
    return outputs.unflatten(0, (members, rows))


def vmapped(module: nn.Module, parameters: Perturbed, inputs: Tensor, *, each_own: bool = False) -> Tensor:
    """``torch.func.vmap`` over the members; arguments and result as in :func:`folded`."""
    # Of several bases each member's is formed: the rules for one member know one.
    low = {name: stack for name, stack in parameters.items() if isinstance(stack, LowRank) and stack.which is None}
    dense = {
        name: stack.formed() if isinstance(stack, LowRank) else stack
        for name, stack in parameters.items()
        if name not in low
    }
    factors = {name: (stack.a, stack.every_b()) for name, stack in low.items()}

    def one(dense: dict[str, Tensor], factors: dict[str, tuple[Tensor, Tensor]], inputs: Tensor) -> Any:
        """The outputs of one member, its differences from the base without their axis of members."""
        stand_ins = {name: torch.empty_like(stack.base, device="meta") for name, stack in low.items()}
        stacks = {
            id(stand_ins[name]): LowRank(low[name].base, a.unsqueeze(0), b.unsqueeze(0))
            for name, (a, b) in factors.items()
        }
        with OneMemberMode(stacks):
            return functional_call(module, {**dense, **stand_ins}, (inputs,))

    if each_own:
        inputs = inputs.unflatten(0, (members_of(parameters), -1))
    result: Tensor = vmap(one, in_dims=(0, 0, 0 if each_own else None), randomness="same")(dense, factors, inputs)
    return result


def looped(module: nn.Module, parameters: Perturbed, inputs: Tensor, *, each_own: bool = False) -> Tensor:
    """One member after the other; arguments and result as in :func:`folded`."""
    members = members_of(parameters)
    outputs = []
    for index in range(members):
        weights = {
            name: stack.member(index) if isinstance(stack, LowRank) else stack[index]
            for name, stack in parameters.items()
        }
        own = inputs.unflatten(0, (members, -1))[index] if each_own else inputs
        outputs.append(functional_call(module, weights, (own,)))
    return torch.stack(outputs)


PERTURBED_FORWARDS: dict[str, Callable[..., Tensor]] = {"folded": folded, "vmap": vmapped, "loop": looped}


def choose_perturbed_forward(
    module: nn.Module, parameters: Perturbed, inputs: Tensor, *, each_own: bool = False
) -> str:
    """Name of the first way that gives what the per-member loop gives.

    Args:
        module: the network.
        parameters: name to stack, with the P that will be used and members that differ.
        inputs: (B, ...) some examples, at least 3; the probe gives each member others of them where ``each_own``.
        each_own: whether each member has examples of its own.

    Raises:
        GalabError: the network does not even run member by member.
    """
    members = members_of(parameters)
    bound = {
        name: partial(forward, module, parameters, each_own=each_own) for name, forward in PERTURBED_FORWARDS.items()
    }
    if not each_own:
        return first_that_agrees(bound, [inputs[:size] for size in PROBE_SIZES])
    every = inputs.repeat(members, *[1] * (inputs.dim() - 1)).unflatten(0, (members, -1))
    for member in range(members):
        every[member] = every[member].roll(member, 0)
    return first_that_agrees(bound, [every[:, :size].flatten(0, 1) for size in PROBE_SIZES])
