"""Runs P members of one module, each with its own dense weights, on the same examples.

Three ways are tried in this order. The first that agrees with the per-member loop on a probe is kept for the whole run,
because float results differ between them in the last bits:

- ``folded``: the members are part of the batch axis, and a rule below computes each torch function for all members;
- ``vmap``: ``torch.func.vmap`` over ``functional_call``;
- ``loop``: one member after the other.

Folding puts P members on B examples into one batch of B * P rows. Example-major, row b * P + p is member p on example
b; member-major, it is row p * B + b. An activation that still has B rows has met no parameter yet and is *shared* by
all members, so a first layer is one GEMM of the inputs with the weights of all members side by side.

A rule takes the fold first, then the arguments of the function that it replaces; parameters arrive stacked, (P,
*shape), everything else as the module passed it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.overrides import TorchFunctionMode

from galab.errors import GalabError, pass_interrupts


@dataclass(slots=True)
class Fold:
    """The shape of a folded batch.

    Attributes:
        members: P.
        examples: B.
        by_member: whether rows are member-major; dense members leave a shared first layer example-major, low-rank ones
            member-major.
    """

    members: int
    examples: int
    by_member: bool = False

    def is_shared(self, x: Tensor) -> bool:
        """Whether an activation is the same for all members."""
        return x.shape[0] == self.examples

    def split(self, x: Tensor) -> Tensor:
        """(B * P, ...) as (B, P, ...); a shared (B, ...) is broadcast without a copy."""
        if self.is_shared(x):
            return x.unsqueeze(1).expand(-1, self.members, *x.shape[1:])
        if self.by_member:
            return x.reshape(self.members, self.examples, *x.shape[1:]).transpose(0, 1)
        return x.reshape(self.examples, self.members, *x.shape[1:])

    def merge(self, x: Tensor) -> Tensor:
        """(B, P, ...) as (B * P, ...)."""
        if self.by_member:
            x = x.transpose(0, 1)
        return x.reshape(self.examples * self.members, *x.shape[2:])


def linear(fold: Fold, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear``: weight (P, out, in), bias (P, out)."""
    members, out = weight.shape[0], weight.shape[1]
    x = x.to(weight.dtype)
    if fold.is_shared(x):
        flat_bias = None if bias is None else bias.reshape(-1)
        y = F.linear(x, weight.reshape(members * out, -1), flat_bias)  # (B, ..., P * out)
        return fold.merge(y.unflatten(-1, (members, out)).movedim(-2, 1))
    middle = x.shape[1:-1]
    rows = fold.split(x).transpose(0, 1).reshape(members, -1, x.shape[-1])  # (P, B * ..., in)
    if bias is None:
        y = torch.bmm(rows, weight.transpose(1, 2))
    else:
        y = torch.baddbmm(bias.unsqueeze(1), rows, weight.transpose(1, 2))
    return fold.merge(y.reshape(members, fold.examples, *middle, out).transpose(0, 1))


def convolution(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The rule for ``F.conv1d`` to ``F.conv3d``: weight (P, out, in / groups, *kernel), bias (P, out)."""

    def rule(
        fold: Fold,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        """All members in one convolution."""
        x = input.to(weight.dtype)
        options = (stride, padding, dilation, groups)
        if groups == 1 and fold.is_shared(x):
            # All members look at the same map: their filters are the channels of one convolution.
            y = function(x, weight.flatten(0, 1), None if bias is None else bias.reshape(-1), *options)
            return fold.merge(y.unflatten(1, (fold.members, -1)))
        # One convolution with a group per member is the same sum, but took up to twelve times as long on 28x28 maps.
        maps = fold.split(x)
        biases = [None] * fold.members if bias is None else list(bias)
        each = [function(maps[:, p], weight[p], biases[p], *options) for p in range(fold.members)]
        return fold.merge(torch.stack(each, dim=1))

    return rule


def embedding(
    fold: Fold,
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    *_: Any,
    **__: Any,
) -> Tensor:
    """``F.embedding``: weight (P, V, E); the options that only matter to gradients are ignored."""
    if max_norm is not None:
        raise NotImplementedError("max_norm changes the weights")
    vocabulary = weight.shape[1]
    offsets = torch.arange(fold.members, device=input.device) * vocabulary
    tokens = fold.split(input)
    rows = tokens + offsets.view(1, -1, *[1] * (tokens.dim() - 2))
    return fold.merge(F.embedding(rows, weight.flatten(0, 1)))


def layer_norm(
    fold: Fold,
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """``F.layer_norm``: weight and bias (P, *normalized_shape)."""
    y = fold.split(F.layer_norm(input, normalized_shape, None, None, eps))
    return fold.merge(_affine(y, weight, bias, trailing=True))


def rms_norm(
    fold: Fold, input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """``F.rms_norm``: weight (P, *normalized_shape)."""
    y = fold.split(F.rms_norm(input, normalized_shape, None, eps))
    return fold.merge(_affine(y, weight, None, trailing=True))


def group_norm(
    fold: Fold,
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """``F.group_norm``: weight and bias (P, channels)."""
    y = fold.split(F.group_norm(input, num_groups, None, None, eps))
    return fold.merge(_affine(y, weight, bias, trailing=False))


def _affine(y: Tensor, weight: Tensor | None, bias: Tensor | None, *, trailing: bool) -> Tensor:
    """``y * weight + bias`` for y (B, P, ...); the parameters (P, *rest) line up with y's last axes or its third."""

    def aligned(parameter: Tensor) -> Tensor:
        missing = [1] * (y.dim() - 1 - parameter.dim())
        rest = parameter.shape[1:]
        return parameter.view(1, -1, *((*missing, *rest) if trailing else (*rest, *missing)))

    if weight is not None:
        y = y * aligned(weight)
    return y if bias is None else y + aligned(bias)


#: Functions of torch that can be answered for all members at once.
RULES: dict[Any, Callable[..., Tensor]] = {
    F.linear: linear,
    F.conv1d: convolution(F.conv1d),
    F.conv2d: convolution(F.conv2d),
    F.conv3d: convolution(F.conv3d),
    F.embedding: embedding,
    F.layer_norm: layer_norm,
    F.rms_norm: rms_norm,
    F.group_norm: group_norm,
}


logger = logging.getLogger("galab")
Parameters = Mapping[str, Tensor]
Forward = Callable[[nn.Module, Parameters, Tensor], Tensor]
#: Two sizes: with one, an axis of the module that has as many entries could pass for the batch.
PROBE_SIZES = (3, 2)
_BLOCK_BYTES = 8 << 20
#: Convolutions over fewer examples spend their time in starting, so wide activations may take more, up to a bound.
_STARTING_BLOCK = 256
_MOST_BYTES = 128 << 20


class NoRuleError(Exception):
    """Members cannot be folded: no rule for a function, or an activation without a batch axis."""


class _FoldedMode(TorchFunctionMode):
    """Answers torch functions that receive a parameter, for all members at once."""

    def __init__(self, fold: Fold, stacks: dict[int, Tensor]) -> None:
        super().__init__()
        self._fold = fold
        self._stacks = stacks

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        stacked = [self._stacks.get(id(value)) for value in args]
        named = {name: self._stacks.get(id(value)) for name, value in kwargs.items()}
        if all(s is None for s in stacked) and all(s is None for s in named.values()):
            return func(*args, **kwargs)
        rule = RULES.get(func)
        if rule is None:
            raise NoRuleError(getattr(func, "__name__", str(func)))
        positional = [value if stack is None else stack for value, stack in zip(args, stacked, strict=True)]
        by_name = {name: kwargs[name] if stack is None else stack for name, stack in named.items()}
        return rule(self._fold, *positional, **by_name)


def folded(module: nn.Module, parameters: Parameters, inputs: Tensor) -> Tensor:
    """All members in one batch.

    Args:
        module: the network.
        parameters: name to (P, *shape).
        inputs: (B, ...), the same for all members.

    Returns:
        (P, B, outputs).
    """
    members = next(iter(parameters.values())).shape[0]
    fold = Fold(members, inputs.shape[0])
    # Stand-ins without memory: a function that misses its rule fails on them instead of using one member's weights.
    stand_ins = {
        name: torch.empty(stack.shape[1:], device="meta", dtype=stack.dtype) for name, stack in parameters.items()
    }
    stacks = {id(stand_ins[name]): stack for name, stack in parameters.items()}
    with _FoldedMode(fold, stacks):
        outputs = functional_call(module, stand_ins, (inputs,))
    return fold.split(outputs).transpose(0, 1)


def vmapped(module: nn.Module, parameters: Parameters, inputs: Tensor) -> Tensor:
    """``torch.func.vmap`` over the members; arguments and result as in :func:`folded`."""

    def one(member: dict[str, Tensor]) -> Any:
        return functional_call(module, member, (inputs,))

    result: Tensor = vmap(one, randomness="same")(dict(parameters))
    return result


def looped(module: nn.Module, parameters: Parameters, inputs: Tensor) -> Tensor:
    """One member after the other; arguments and result as in :func:`folded`."""
    members = next(iter(parameters.values())).shape[0]
    every = ({name: stack[member] for name, stack in parameters.items()} for member in range(members))
    return torch.stack([functional_call(module, member, (inputs,)) for member in every])


FORWARDS: dict[str, Forward] = {"folded": folded, "vmap": vmapped, "loop": looped}


def choose_forward(module: nn.Module, parameters: Parameters, inputs: Tensor) -> str:
    """Name of the first way that gives what the per-member loop gives.

    Args:
        module: the network.
        parameters: name to (P, *shape), with the P that will be used and members that differ.
        inputs: (B, ...) some examples.

    Raises:
        GalabError: the network does not even run member by member.
    """
    bound = {name: partial(forward, module, parameters) for name, forward in FORWARDS.items()}
    return first_that_agrees(bound, [inputs[:size] for size in PROBE_SIZES])


def first_that_agrees(forwards: Mapping[str, Callable[[Tensor], Tensor]], probes: Sequence[Tensor]) -> str:
    """Name of the first forward that gives what the last gives.

    Args:
        forwards: name to a function of inputs; the last is the per-member loop.
        probes: inputs of several sizes.

    Raises:
        GalabError: the network does not even run member by member.
    """
    *others, loop = forwards
    try:
        expected = [forwards[loop](probe) for probe in probes]
    except BaseException as error:
        pass_interrupts(error)
        advice = "" if probes[0].dtype != torch.bfloat16 else "; if it needs float32, use --precision float32"
        kind = str(probes[0].dtype).removeprefix("torch.")
        raise GalabError(
            f"the network cannot be run on {kind} inputs of shape {tuple(probes[0].shape)}: {error}{advice}"
        ) from error
    for name in others:
        try:
            got = [forwards[name](probe) for probe in probes]
        except BaseException as error:  # any failure only means that another way is needed
            pass_interrupts(error)
            logger.debug("%s forward is not possible: %s", name, error)
            continue
        if all(map(_agree, got, expected)):
            return name
        logger.debug("%s forward disagrees with the per-member loop", name)
    return loop


def _agree(got: Tensor, expected: Tensor) -> bool:
    """Whether two results are the same but for rounding, measured by the largest: small outputs are no agreement."""
    tolerance = 1e-4 if expected.dtype in (torch.float32, torch.float64) else 5e-2
    if got.shape != expected.shape or got.dtype != expected.dtype:
        return False
    finite = expected[expected.isfinite()]
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    return torch.allclose(got, expected, rtol=0.0, atol=tolerance * largest, equal_nan=True)


def block_size(forward: str, module: nn.Module, parameters: Parameters, inputs: Tensor) -> int:
    """Examples per block, a power of two: the widest activation of all members stays under about 8 MB.

    Where that leaves few examples (convolutions), it may take up to 128 MB.

    Larger temporaries are mapped and unmapped by the C library at every call, which costs up to twice the time.

    Args:
        forward: the way that :func:`choose_forward` chose.
        module: the network.
        parameters: name to (P, *shape), with the P that will be used.
        inputs: (B, ...) some examples.
    """
    members = next(iter(parameters.values())).shape[0] if forward == "vmap" else 1
    return fitting_block(module, inputs, partial(FORWARDS[forward], module, parameters, inputs), hidden_members=members)


def fitting_block(module: nn.Module, inputs: Tensor, run: Callable[[], Any], *, hidden_members: int) -> int:
    """The block for the activations that ``run`` makes, see :func:`block_size`.

    Args:
        module: the network.
        inputs: (B, ...) what ``run`` shows it.
        run: runs all members.
        hidden_members: folded activations hold all members, 1 is hidden; under vmap a hook sees those of one of P.
    """
    widest = max(inputs[0].numel(), widest_activation(module, len(inputs), run) * hidden_members)
    return fitting_examples(widest * inputs.element_size(), _BLOCK_BYTES)


def fitting_examples(example_bytes: int, block_bytes: int) -> int:
    """Examples at once, a power of two; convolutions over few spend their time in starting, so they may take more.

    Args:
        example_bytes: of the widest activation of all members on one example.
        block_bytes: what that activation may take in general.
    """
    return max(
        power_of_two(block_bytes, example_bytes), min(_STARTING_BLOCK, power_of_two(_MOST_BYTES, example_bytes))
    )


def power_of_two(most_bytes: int, each: int) -> int:
    """The largest power of two of things of this size that fit, and 1 where not even one does."""
    return 1 << max(0, int(most_bytes // each).bit_length() - 1)


def widest_activation(module: nn.Module, examples: int, run: Callable[[], Any]) -> int:
    """Numbers for each example in the largest output of any layer; 0 where no layer gives a tensor.

    Args:
        module: the network.
        examples: how many ``run`` shows it.
        run: runs it.
    """
    widest = [0]

    def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            widest.append(output.numel() // examples)

    handles = [layer.register_forward_hook(note) for layer in module.modules()]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return max(widest)
