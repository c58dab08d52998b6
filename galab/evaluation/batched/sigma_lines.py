"""Members on straight lines through one network, ``centre + sigma * z``: many step sizes for the price of few.

The first use of a weight is mostly linear in it: ``x @ (W + sigma * Z) = x @ W + sigma * (x @ Z)``. For an activation
that has met no mutated weight, both products are computed once for all step sizes, and for every subset of the tensors
that is mutated alone. Everything after is computed for each step size by the rules of ``dense.py``. Input entries that
are the same in all examples are left out of the products.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from galab.evaluation.batched.dense import RULES, Fold, NoRuleError


class VaryingInputs:
    """Inputs as columns, without the entries that are the same in all examples, such as the margins of images.

    Args:
        inputs: (B, ...) all examples.
    """

    def __init__(self, inputs: Tensor) -> None:
        self._flat = inputs.flatten(1)
        self._block = inputs[:0]
        self._start = 0

    @cached_property
    def _places(self) -> tuple[Tensor, Tensor]:
        """Which entries vary, and which do not."""
        varies = (self._flat != self._flat[:1]).any(0)
        return varies.nonzero().squeeze(1), varies.logical_not().nonzero().squeeze(1)

    @cached_property
    def _columns(self) -> Tensor:
        return self._flat[:, self._places[0]].t().contiguous()

    def begin(self, block: Tensor, start: int) -> None:
        """Another block of the examples begins."""
        self._block, self._start = block, start

    def of(self, x: Tensor) -> Tensor | None:
        """(entries, B) the columns of a block's examples; None where x (B, K) is not the inputs as they lie there."""
        if x.data_ptr() != self._block.data_ptr() or x.shape != self._block.flatten(1).shape or not x.is_contiguous():
            return None
        return self._columns[:, self._start : self._start + len(x)]

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Of a matrix (R, K) what meets the columns, and (R, 1) what the other entries add to each product."""
        varying, same = self._places
        return rows[:, varying], (rows[:, same] @ self._flat[0, same])[:, None]


#: Functions of (input, weight, bias, ...) that are linear in weight and bias together, and where their outputs lie.
_LINEAR = {F.linear: -1, F.conv1d: 1, F.conv2d: 1, F.conv3d: 1}


class SigmaLines:
    """P lines through one network, and the products that they share on one block of examples.

    Args:
        centre: name to tensor.
        directions: name to (P, *shape).
        varying: of all examples, where they are known.
        in_place: whether a fresh sum may be overwritten by the ReLU that meets it.
    """

    def __init__(
        self,
        centre: Mapping[str, Tensor],
        directions: Mapping[str, Tensor],
        *,
        varying: VaryingInputs | None = None,
        in_place: bool = False,
    ) -> None:
        self.in_place = in_place
        self._varying = varying
        self.centre = centre
        self.directions = {name: part.contiguous() for name, part in directions.items()}
        self.members = len(next(iter(directions.values())))
        self._stacks: dict[tuple[str, float], Tensor] = {}
        self._rows: dict[tuple[str, bool], tuple[tuple[Tensor, Tensor | None], ...]] = {}
        self._products: dict[tuple[str, int, str | None], tuple[Tensor, Tensor]] = {}

    def begin(self, inputs: Tensor, start: int) -> None:
        """Another block of examples begins."""
        self._products.clear()
        if self._varying is not None:
            self._varying.begin(inputs, start)

    def stack(self, name: str, sigma: float) -> Tensor:
        """(P, *shape) a parameter of all members at a step size."""
        if (name, sigma) not in self._stacks:
            self._stacks[name, sigma] = torch.add(self.centre[name], self.directions[name], alpha=sigma)
        return self._stacks[name, sigma]

    def product(
        self, key: tuple[str, int], x: Tensor, bias: tuple[str | None, Tensor | None], func: Any, rest: Any
    ) -> tuple[Tensor, Tensor]:
        """What a linear function makes of a shared activation: of the centre (B, ...), and of z (P, B, ...).

        Args:
            key: the weight, and how often it was used before in this forward: where nothing is mutated before it, that
                says which activation it meets.
            x: (B, ...) the activation.
            bias: its name if it is mutated, and itself if there is one.
            func: one of torch's functions.
            rest: its arguments other than weight and bias.
        """
        name, value = bias
        found = self._products.get((*key, name))
        if found is None and (*key, None) in self._products and name is not None:
            base, along = self._products[*key, None]
            noise = self.directions[name]
            found = base, along + _as_bias(noise, along, func)
        elif found is None and func is F.linear and x.dim() == 2:
            found = self._matrices(key[0], x, bias)
        elif found is None:
            fold = Fold(self.members, len(x), by_member=True)
            extra = None if name is None else self.directions[name]
            along = RULES[func](fold, x, self.directions[key[0]], extra, *rest[0], **rest[1])
            own = value if name is None else self.centre[name]
            found = func(x, self.centre[key[0]], own, *rest[0], **rest[1]), along.unflatten(0, (self.members, len(x)))
        self._products[*key, name] = found
        return found

    def _matrices(self, weight: str, x: Tensor, bias: tuple[str | None, Tensor | None]) -> tuple[Tensor, Tensor]:
        """:meth:`product` of one matrix; both results lie feature by feature in memory."""
        name, value = bias
        columns = None if self._varying is None else self._varying.of(x)
        (centre, more), (rows, most) = self._parts(weight, fewer=columns is not None)
        columns = x.t() if columns is None else columns
        own = value if name is None else self.centre[name]
        base = _product(centre, columns, more, None if own is None else own[:, None])
        along = _product(rows, columns, most, None if name is None else self.directions[name].t().reshape(-1, 1))
        return base.t(), along.view(-1, self.members, len(x)).permute(1, 2, 0)

    def _parts(self, weight: str, *, fewer: bool) -> tuple[tuple[Tensor, Tensor | None], ...]:
        """The matrices of the centre (out, in) and of z (out * P, in), and the constant that each adds."""
        if (weight, fewer) not in self._rows:
            both = self.centre[weight], self.directions[weight].transpose(0, 1).flatten(0, 1)
            if fewer and self._varying is not None:
                self._rows[weight, fewer] = tuple(self._varying.split(one) for one in both)
            else:
                self._rows[weight, fewer] = tuple((one, None) for one in both)
        return self._rows[weight, fewer]


def _product(rows: Tensor, columns: Tensor, *offsets: Tensor | None) -> Tensor:
    """``rows @ columns`` and offsets (R, 1)."""
    there = [one for one in offsets if one is not None]
    return torch.addmm(sum(there[1:], there[0]), rows, columns) if there else rows @ columns


def _as_bias(values: Tensor, y: Tensor, func: Any) -> Tensor:
    """(P, out) as it is added to (P, B, ...) outputs of a linear function."""
    shape = [1] * y.dim()
    shape[0], shape[-1 if _LINEAR[func] == -1 else 2] = values.shape
    return values.view(shape)


class _SigmaLineMode(TorchFunctionMode):
    """Answers torch functions that receive a mutated parameter, for all members at one step size."""

    def __init__(self, fold: Fold, lines: SigmaLines, names: Mapping[int, str], sigma: float) -> None:
        super().__init__()
        self._fold, self._lines, self._names, self._sigma = fold, lines, names, sigma
        self._plain = {id(value) for value in lines.centre.values()}
        self._used: Counter[str] = Counter()
        self._fresh: Tensor | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        named = [self._names.get(id(value)) for value in args]
        by_word = {word: self._names.get(id(value)) for word, value in kwargs.items()}
        if func is F.relu and self._lines.in_place and self._fresh is not None and args and args[0] is self._fresh:
            return self._fresh.relu_()
        if not any(named) and not any(by_word.values()) and not (func is F.linear and self._is_flat(args)):
            return func(*args, **kwargs)
        if func in _LINEAR and len(args) >= 2:
            self._fresh = self._linear(func, args, kwargs)
            return self._fresh
        rule = RULES.get(func)
        if rule is None:
            raise NoRuleError(getattr(func, "__name__", str(func)))
        stacked = [self._stacked(value, name) for value, name in zip(args, named, strict=True)]
        return rule(self._fold, *stacked, **{word: self._stacked(kwargs[word], by_word[word]) for word in by_word})

    def _stacked(self, value: Any, name: str | None) -> Any:
        """A mutated parameter of all members; one that is not mutated, repeated for each member."""
        if name is not None:
            return self._stack(name)
        return value.expand(self._fold.members, *value.shape) if id(value) in self._plain else value

    def _stack(self, name: str) -> Tensor:
        return self._lines.stack(name, self._sigma)

    def _linear(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        """``F.linear`` or a convolution, of which weight, bias or both are mutated."""
        x, weight, *others = args
        words = dict(kwargs)
        bias = others.pop(0) if others else words.pop("bias", None)
        weight_name, bias_name = self._names.get(id(weight)), self._names.get(id(bias))
        fold = self._fold
        if weight_name is not None and fold.is_shared(x):
            key = (weight_name, self._used[weight_name])
            self._used[weight_name] += 1
            base, along = self._lines.product(key, x, (bias_name, bias), func, (others, words))
            return torch.add(base, along, alpha=self._sigma, out=torch.empty_like(along)).flatten(0, 1)
        if func is F.linear and self._is_flat(args):
            return self._features_first(x, weight, weight_name, bias, bias_name)
        if weight_name is None:
            y = self._apart(func(x, weight, None, *others, **words), fold.is_shared(x))
        else:
            y = self._apart(RULES[func](fold, x, self._stack(weight_name), None, *others, **words), shared=False)
        if bias is not None:
            y = y + _as_bias(bias.unsqueeze(0) if bias_name is None else self._stack(bias_name), y, func)
        return y.flatten(0, 1)

    def _is_flat(self, args: Any) -> bool:
        """Whether a function's input is one vector for each member and example."""
        x = args[0] if len(args) >= 2 else None
        return isinstance(x, Tensor) and x.dim() == 2 and not self._fold.is_shared(x)

    def _features_first(
        self, x: Tensor, weight: Tensor, weight_name: str | None, bias: Tensor | None, bias_name: str | None
    ) -> Tensor:
        """``F.linear`` whose result lies feature by feature, so that products have the examples as their long side."""
        several = self._fold.members
        if bias_name is not None:
            bias = self._stack(bias_name)  # (P, out)
        if weight_name is None:
            y = (weight @ x.t()).unflatten(1, (several, -1))  # (out, P, B)
            return (y if bias is None else y.add_(bias.expand(several, -1).t()[:, :, None])).flatten(1).t()
        weights, columns = self._stack(weight_name), x.unflatten(0, (several, -1)).transpose(1, 2)  # (P, in, B)
        if bias is None:
            y = torch.bmm(weights, columns)
        else:
            y = torch.baddbmm(bias.expand(several, -1)[:, :, None], weights, columns)
        return y.transpose(0, 1).flatten(1).t()

    def _apart(self, y: Tensor, shared: bool) -> Tensor:
        """(P or 1, B, ...) what one function gave."""
        return y.unsqueeze(0) if shared else y.unflatten(0, (self._fold.members, self._fold.examples))


class _Repeated(nn.Module):
    """Runs a network once at each step size, because putting parameters into it takes as long as a small forward."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor, modes: Sequence[_SigmaLineMode]) -> list[Tensor]:
        """Outputs under each mode."""
        found = []
        for mode in modes:
            with mode:
                found.append(self.network(inputs))
        return found


def forward_along_lines(
    module: nn.Module,
    lines: SigmaLines,
    inputs: Tensor,
    sigmas: Sequence[float],
    subsets: Sequence[Sequence[str]],
    start: int = 0,
) -> Tensor:
    """Outputs of all members.

    Args:
        module: the network.
        lines: P lines.
        inputs: (B, ...), the same for all.
        sigmas: S step sizes.
        subsets: V sets of parameters; in each these alone are mutated.
        start: place of the first of these examples.

    Returns:
        (V * S * P, B, outputs), members fastest, subsets slowest.

    Raises:
        NoRuleError: the network uses a mutated parameter in an unknown way.
    """
    lines.begin(inputs, start)
    found = []
    fold = Fold(lines.members, len(inputs), by_member=True)
    for subset in subsets:
        # Stand-ins without memory: a function that misses its rule fails on them instead of using one member's weights.
        stand_ins = {name: torch.empty(lines.centre[name].shape, device="meta") for name in subset}
        parameters = {f"network.{name}": value for name, value in {**lines.centre, **stand_ins}.items()}
        names = {id(value): name for name, value in stand_ins.items()}
        modes = [_SigmaLineMode(fold, lines, names, sigma) for sigma in sigmas]
        for outputs in functional_call(_Repeated(module), parameters, (inputs, modes)):
            found.append(fold.split(outputs).transpose(0, 1).movedim(1, -1))
    # Examples are contiguous, as measures expect.
    return torch.cat(found).movedim(-1, 1)
