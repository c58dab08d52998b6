"""Runs P members whose parameters are low-rank perturbations of one centre, or stacks of dense values.

Three ways, as in :mod:`galab.evaluation.batched.dense` and chosen in the same manner, by comparison with the last on a
probe:

- ``folded``: the members are part of the batch axis, member-major;
- ``vmap``: ``torch.func.vmap`` over the members; low-rank weights are not formed where a rule avoids it;
- ``loop``: one member after the other, with its weights formed.

:class:`MemberMode` folds one torch function at a time. A parameter is a stack of dense values, (P, *shape), or a
:class:`LowRank`. For a function that receives one:

1. a rule computes it (``low_rank_layers.py``, ``recurrent_attention.py``, ``dense.py``);
2. any other function is mapped over the members by ``torch.func.vmap``; low-rank weights are formed for it. Without an
   activation among its arguments (``weight.t()``) the result is a parameter again.

Source of the low-rank forward: Sarkar et al., "Evolution Strategies at the Hyperscale", arXiv 2511.16652.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.overrides import TorchFunctionMode

from galab.evaluation.batched.dense import PROBE_SIZES, RULES, Fold, NoRuleError, first_that_agrees
from galab.evaluation.batched.low_rank import FOLDED, SHARED, LowRank, Stack, leaves, mapped, tag_of, tagged
from galab.evaluation.batched.low_rank_layers import LOW_RANK_RULES
from galab.evaluation.batched.recurrent_attention import COMPOSITE_RULES

#: Methods that need no values of a tensor, so their results are the same for all members.
_METADATA_METHODS = frozenset(
    ("size", "dim", "numel", "nelement", "ndimension", "stride", "is_floating_point", "is_complex", "is_contiguous")
)


class MemberMode(TorchFunctionMode):
    """Computes a module for all members at once; see the docstring of this file.

    Args:
        members: P.
    """

    def __init__(self, members: int) -> None:
        super().__init__()
        self._members = members
        self._stacks: dict[int, Stack] = {}
        self._stand_ins: list[Tensor] = []  # they must outlive their ids

    def stand_in(self, stack: Stack) -> Tensor:
        """A tensor without memory that the module sees in the place of a parameter."""
        like, shape = (stack.base, stack.shape) if isinstance(stack, LowRank) else (stack, stack.shape[1:])
        # On the meta device: what is not answered here fails on it, instead of using one member's weights.
        stand_in = torch.empty(shape, device="meta", dtype=like.dtype)
        self._stacks[id(stand_in)] = stack
        self._stand_ins.append(stand_in)
        return stand_in

    def stack_of(self, value: Any) -> Stack | None:
        """The stack that a stand-in represents; None for anything else."""
        return self._stacks.get(id(value))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        found = [*args, *kwargs.values()]
        if any(isinstance(value, list | tuple | dict) for value in found):
            found = list(leaves(found))
        if any(id(value) in self._stacks for value in found):
            return self._with_parameters(func, args, kwargs)
        tags = {tag_of(value) for value in found}
        if FOLDED in tags:
            if SHARED in tags:
                args, kwargs = self._all_folded(args, kwargs, found)
            return tagged(func(*args, **kwargs), FOLDED)
        result = func(*args, **kwargs)
        return tagged(result, SHARED) if SHARED in tags else result

    def _all_folded(self, args: Any, kwargs: Any, found: list[Any]) -> Any:
        """The arguments with shared activations repeated for every member, where they meet folded ones."""
        rows = {len(value) // self._members for value in found if tag_of(value) == FOLDED and value.dim()}

        def repeated(value: Any) -> Any:
            if tag_of(value) != SHARED or not value.dim() or len(value) not in rows:
                return value
            return value.expand(self._members, *value.shape).flatten(0, 1)

        return mapped((args, kwargs), repeated)

    def _with_parameters(self, func: Any, args: Any, kwargs: Any) -> Any:
        name = getattr(func, "__name__", str(func))
        if name in _METADATA_METHODS:
            return func(*args, **kwargs)
        if name == "__get__":
            answer = func(*args, **kwargs)
            if isinstance(answer, torch.device):  # the module creates a tensor on the device of its weights
                stack = self._stacks[id(args[0])]
                return (stack.base if isinstance(stack, LowRank) else stack).device
            if not isinstance(answer, Tensor):
                return answer
        if not args and "input" in kwargs:
            args, kwargs = (kwargs["input"],), {key: value for key, value in kwargs.items() if key != "input"}
        if func in COMPOSITE_RULES:
            args, kwargs = mapped((args, kwargs), lambda value: self._stacks.get(id(value), value))
            return tagged(COMPOSITE_RULES[func](self._members, *args, **kwargs), FOLDED)
        low_rank = any(isinstance(self.stack_of(value), LowRank) for value in leaves([args[1:], kwargs]))
        rule = LOW_RANK_RULES.get(func) if low_rank else None
        rule = rule or RULES.get(func)
        x = args[0]
        if rule is None or not isinstance(x, Tensor) or (x.dim() < 2 and x.is_floating_point()):
            return self._general(func, args, kwargs)
        return self._ruled(rule, x, (args[1:], kwargs))

    def _ruled(self, rule: Callable[..., Tensor], x: Tensor, others: Any) -> Any:
        """The answer of a rule that takes an activation first and stacks after it."""
        tag = tag_of(x)
        own = self._dense(x)
        if own is not None:
            x = own.flatten(0, 1)
        rows, rest = divmod(len(x), self._members if own is not None or tag == FOLDED else 1)
        if rest:
            raise NoRuleError("an activation whose first axis is not the batch")
        keep = rule in LOW_RANK_RULES.values()

        def for_all(value: Any) -> Any:
            """An argument as a stack of one for each member."""
            if keep and isinstance(self.stack_of(value), LowRank):
                return self.stack_of(value)
            dense = self._dense(value)
            # An argument that is no stack, a frozen parameter or a buffer, is the same for all members.
            if dense is None and isinstance(value, Tensor):
                dense = value.expand(self._members, *value.shape)
            return value if dense is None else dense

        positional, by_name = mapped(others, for_all)
        y = rule(Fold(self._members, rows, by_member=True), x, *positional, **by_name)
        if tag is not None:
            return tagged(y, FOLDED)
        # Nothing of the inputs is in it, a table of positions for instance: its first axis is no batch.
        return self.stand_in(y.unflatten(0, (self._members, rows)))

    def _dense(self, value: Any) -> Tensor | None:
        """(P, *shape) the formed values that a stand-in represents; None for anything else."""
        stack = self.stack_of(value)
        return stack.formed() if isinstance(stack, LowRank) else stack

    def _general(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Any function, mapped over the members."""
        every: dict[int, Tensor] = {}
        meets_inputs = False
        for value in leaves([args, kwargs]):
            meets_inputs |= tag_of(value) is not None
            dense = self._dense(value)
            if dense is None and tag_of(value) == FOLDED:
                if not value.dim() or len(value) % self._members:
                    raise NoRuleError("an activation whose first axis is not the batch")
                dense = value.unflatten(0, (self._members, -1))
            elif dense is None and tag_of(value) == SHARED:
                # As a view, because not every function of torch can be mapped over a parameter alone (prelu).
                dense = value.expand(self._members, *value.shape)
            if dense is not None:
                every[id(value)] = dense

        def one(*values: Tensor) -> Any:
            by_id = dict(zip(every, values, strict=True))
            own_args, own_kwargs = mapped((args, kwargs), lambda value: by_id.get(id(value), value))
            return func(*own_args, **own_kwargs)

        def outcome(y: Any) -> Any:
            """What was computed, tagged as what it is."""
            if not isinstance(y, Tensor):
                return y
            if not meets_inputs:
                return self.stand_in(y)
            if y.dim() < 2:
                raise NoRuleError(f"{getattr(func, '__name__', func)} leaves no batch")
            return tagged(y.flatten(0, 1), FOLDED)

        return mapped(vmap(one, randomness="same")(*every.values()), outcome)


class OneMemberMode(TorchFunctionMode):
    """Answers torch functions that receive a low-rank parameter of the one member that is being mapped over.

    Args:
        stacks: from the id of a stand-in to the parameter of one member, P = 1.
    """

    def __init__(self, stacks: dict[int, LowRank]) -> None:
        super().__init__()
        self._stacks = stacks

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not any(id(value) in self._stacks for value in leaves([args, kwargs])):
            return func(*args, **kwargs)

        def formed(value: Any) -> Any:
            stack = self._stacks.get(id(value))
            return value if stack is None else stack.member(0)

        def stacked(value: Any) -> Any:
            value = self._stacks.get(id(value), value)
            return value.unsqueeze(0) if isinstance(value, Tensor) else value

        try:
            if func in COMPOSITE_RULES:
                return COMPOSITE_RULES[func](1, *mapped(args, self._or_stack), **mapped(kwargs, self._or_stack))
            x = args[0] if args else None
            batch = isinstance(x, Tensor) and id(x) not in self._stacks and (x.dim() > 1 or not x.is_floating_point())
            if func in LOW_RANK_RULES and isinstance(x, Tensor) and batch:
                fold = Fold(1, len(x), by_member=True)
                return LOW_RANK_RULES[func](fold, x, *mapped(args[1:], stacked), **mapped(kwargs, stacked))
        except NotImplementedError:
            pass
        return func(*mapped(args, formed), **mapped(kwargs, formed))

    def _or_stack(self, value: Any) -> Any:
        return self._stacks.get(id(value), value)


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
    # A new tensor on the same memory, so that the caller's own bears no tag.
    own_inputs = tagged(inputs.view_as(inputs), FOLDED if each_own else SHARED)
    with mode:
        outputs: Tensor = functional_call(module, stand_ins, (own_inputs,))
    tag = tag_of(outputs)
    if tag is None:
        raise NoRuleError("outputs that do not come from the inputs")
    if tag == SHARED:
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
