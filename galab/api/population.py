"""The members of one generation of an evolution strategy, made when they are asked for."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor, nn

from galab.api.member_slot import MemberSlot
from galab.api.nested import Joined, Nested
from galab.errors import GalabError, UsageError
from galab.evaluation.batched.forward import PERTURBED_FORWARDS, choose_perturbed_forward
from galab.evaluation.batched.low_rank import Stack, mapped
from galab.evaluation.es_evaluator import members_at_once, perturbed_parameters
from galab.evaluation.numeric_profile import warm_up_kernels
from galab.genome.parameters import own_dtypes
from galab.operators.es_noise import DenseNoise, Directions, LowRankNoise, Noise, size_of

#: Examples at once.
_BLOCK = 1024


class Population(Sequence[nn.Module]):
    """A lazy sequence of networks; memory does not grow with its length.

    It keeps the centre that it lies around, so it stays what it was when the search goes on.

    Args:
        template: the network, in ``eval()``; it is not changed.
        centre: name to tensor, not shared with anybody who changes it.
        directions: of the noise.
        noise: the generation whose noise it is.
        sigma: the step size, in weight units.
        members: P.
        antithetic: whether members 2 q and 2 q + 1 are plus and minus along direction q.

    Attributes:
        template, centre, directions: as given.
        settings: the other arguments, by name.
    """

    def __init__(
        self,
        template: nn.Module,
        centre: Mapping[str, Tensor],
        directions: Directions,
        *,
        noise: int,
        sigma: float,
        members: int,
        antithetic: bool,
    ) -> None:
        self.template = template
        self.centre = centre
        self.directions = directions
        self.settings = {"noise": noise, "sigma": sigma, "members": members, "antithetic": antithetic}
        self._noise = noise
        self._sigma = sigma
        self._members = members
        self._antithetic = antithetic
        self._dtypes = own_dtypes(template)
        self._forwards: dict[tuple[object, ...], tuple[str, bool]] = {}

    def __len__(self) -> int:
        return self._members

    @overload
    def __getitem__(self, index: int) -> nn.Module: ...

    @overload
    def __getitem__(self, index: slice) -> list[nn.Module]: ...

    def __getitem__(self, index: int | slice) -> nn.Module | list[nn.Module]:
        """A member as a network of its own, in ``eval()``; each time a new copy."""
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(self._members))]
        place = range(self._members)[index]
        return filled(copy.deepcopy(self.template), self.parameters(place))

    def each(self, first: int = 0, last: int | None = None) -> Iterator[nn.Module]:
        """One member after the other, in order: always the same module, with the weights of the next.

        Several times as fast as a copy for each, as indexing gives; whoever keeps the module keeps the last member. The
        weights have the same bits.

        Args:
            first: where to begin.
            last: one past the last; all when absent.
        """
        slot = MemberSlot(self.template, self.centre)
        signs = (1.0, -1.0) if self._antithetic else (1.0,)
        members = range(self._members)[first : self._members if last is None else last]
        if not members:
            return
        begin, end = members.start // len(signs), -(-members.stop // len(signs))
        for start, noise in self.directions.between(self._noise, begin, end):
            _, places = slot.ready()
            fillers = {
                name: _Filler(places[name].dtype, self.centre[name], part, self._sigma) for name, part in noise.items()
            }
            for direction in range(size_of(noise)):
                for number, sign in enumerate(signs):
                    if (start + direction) * len(signs) + number not in members:
                        continue
                    module, places = slot.ready()
                    with torch.no_grad():
                        for name, filler in fillers.items():
                            filler.fill(places[name], direction, sign)
                    yield module

    def parameters(self, place: int | None = None) -> dict[str, Tensor]:
        """The parameters of one member, or those of all, by name; for those with a forward of their own.

        Args:
            place: of a member in the population, from 0; all when absent.

        Returns:
            Name to tensor: one member's (shape), or all members' (P, *shape), in the type that the module has it in.
        """
        if place is None:
            members: dict[str, Tensor] = {}
            for number, module in enumerate(self.each()):
                for name, value in module.named_parameters():
                    if name in self.centre:
                        if not number:
                            members[name] = value.new_empty((self._members, *value.shape))
                        members[name][number] = value.detach()
            return members
        direction, minus = divmod(place, 2) if self._antithetic else (place, 0)
        ((_, noise),) = self.directions.between(self._noise, direction, direction + 1)
        stacks = self._stacks(noise, -self._sigma if minus else self._sigma, antithetic=False)
        return {name: stack[0] if isinstance(stack, Tensor) else stack.member(0) for name, stack in stacks.items()}

    def outputs(self, *inputs: Any, **named: Any) -> Any:
        """What every member answers, computed for many members at once and without forming low-rank weights.

        Args:
            inputs: what the module takes, the same examples for all members: a tensor (B, ...), or several, or nested
                lists, tuples and dictionaries of them. What is no tensor goes to the module as it is.
            named: the same, by name.

        Returns:
            (P, B, ...), without a gradient; in the place of each tensor where the module answers with several.

        Raises:
            UsageError: a tensor has another first axis than the examples.
        """
        warm_up_kernels()
        own = inspect.signature(self.template.forward).parameters
        if not inputs and named.keys() == {"inputs"} and "inputs" not in own:
            inputs, named = (named["inputs"],), {}
        given = Nested.of((inputs, named), "inputs")
        empty = not given.rows
        if empty:
            inputs, named = mapped((inputs, named), _one_row)
        with torch.no_grad(), _same_buffers(self.template):
            how = self._forward_for(given, inputs, named)
            examples = inputs[0] if how.outputs is None else given.join((inputs, named))
            answers = self._all_outputs(how, examples, len(examples) if how.mixes else _BLOCK)
        answers = answers[:, :0] if empty else answers
        return answers if how.outputs is None else how.outputs.part(answers)

    def _all_outputs(self, how: _Forward, inputs: Tensor, block: int) -> Tensor:
        signs, forward = 2 if self._antithetic else 1, PERTURBED_FORWARDS[how.name]
        width = members_at_once(how.module, inputs[:2], min(len(inputs), block), self.directions.plan) // signs
        found: Tensor | None = None
        for first, noise in self.directions.between(self._noise, 0, self._members // signs):
            for start in range(0, size_of(noise), width):
                part = {name: values.part(start, start + width) for name, values in noise.items()}
                stacks = _named(self._stacks(part, self._sigma, antithetic=self._antithetic), how.outputs)
                answers = torch.cat([forward(how.module, stacks, some) for some in inputs.split(block)], 1)
                if found is None:
                    found = answers.new_empty(self._members, *answers.shape[1:])
                # All plus and then all minus in a chunk; side by side in the population.
                sided = answers.unflatten(0, (signs, -1)).transpose(0, 1).flatten(0, 1)
                place = signs * (first + start)
                found[place : place + len(sided)] = sided
        assert found is not None
        return found

    def _stacks(self, noise: Noise, sigma: float, *, antithetic: bool) -> dict[str, Stack]:
        """Parameters of the members along some directions: all plus and then all minus, or one sign alone."""
        return perturbed_parameters(
            self.centre, noise, sigma, antithetic=antithetic,
            dtype_of=lambda name: self._dtypes.get(name, torch.float32),
        )  # fmt: skip

    def _forward_for(self, given: Nested, inputs: tuple[Any, ...], named: dict[str, Any]) -> _Forward:
        """The way that agrees with the loop over members, found once for each kind of inputs.

        Args:
            given: how the inputs are made of tensors.
            inputs: by position.
            named: by name.

        Raises:
            UsageError: the module does not answer with tensors that have a row for each example.
        """
        few, few_named = mapped((inputs, named), _three_rows)
        module, outputs, probe = self.template, None, given.join((few, few_named))
        if len(inputs) == 1 and not named and isinstance(inputs[0], Tensor) and _gives_tensor(module, few[0]):
            probe = few[0]
        else:  # for each call anew: what is no tensor in it may be another
            module = Joined(self.template, given)
            _answer_of(module, probe)
            outputs = module.outputs
        # Whether an answer depends on other examples shows only where there are several.
        key = (given.kind, None if outputs is None else outputs.kind, min(given.rows, 3))
        if key not in self._forwards:
            # Members unlike each other, so that a forward that takes one for another is found out.
            ((_, noise),) = self.directions.between(self._noise, 0, min(2, self.directions.group))
            stacks = _named(self._stacks(noise, max(self._sigma, 0.1), antithetic=True), outputs)
            answer = _answer_of(module, probe)
            if not torch.allclose(_answer_of(module, probe), answer, rtol=1e-4, equal_nan=True):
                raise UsageError(
                    "expected a module that answers the same inputs alike, got other answers the second time: it draws "
                    "random numbers, keeps state between calls or changes its inputs; run the members one by one ('for "
                    "network in population'), each with its own"
                )
            # An answer that depends on the examples beside it, as batch statistics do, or before it, as that of a
            # recurrent layer over the first axis, cannot be computed block by block.
            mixes = not all(
                torch.allclose(_answer_of(module, probe[some]), answer[some], rtol=1e-4, equal_nan=True)
                for some in (slice(2), slice(1, 3))
            )
            self._forwards[key] = choose_perturbed_forward(module, stacks, probe), mixes
        return _Forward(*self._forwards[key], module, outputs)


class _Filler:
    """Writes one member's values after the other's into a parameter, as :func:`perturbed_parameters` makes them.

    Args:
        dtype: of the parameter.
        centre: the values that members lie around, float32.
        noise: of some directions.
        sigma: the step size.
    """

    def __init__(self, dtype: torch.dtype, centre: Tensor, noise: LowRankNoise | DenseNoise, sigma: float) -> None:
        self._noise, self._sigma = noise, sigma
        self._factors: tuple[Tensor, Tensor] | None = None
        computed = torch.float32
        if isinstance(noise, LowRankNoise):
            computed = dtype
            scaled = noise.a * (sigma / math.sqrt(noise.a.shape[2]))
            self._factors = scaled.to(dtype), noise.b.transpose(1, 2).to(dtype)
        self._centre, self._step = centre.to(computed), torch.empty_like(centre, dtype=computed)
        self._flat = self._step if self._factors is None else self._step.view(len(centre), -1)
        self._direction = -1

    def fill(self, parameter: Tensor, direction: int, sign: float) -> None:
        """Put the member on one side of the centre along a direction into a parameter's memory."""
        if direction != self._direction:
            if self._factors is not None:
                torch.mm(self._factors[0][direction], self._factors[1][direction], out=self._flat)
            elif isinstance(self._noise, DenseNoise):
                torch.mul(self._noise.values[direction], self._sigma, out=self._step)
            self._direction = direction
        if self._step.dtype == parameter.dtype:
            torch.add(self._centre, self._step, alpha=sign, out=parameter)
        else:
            parameter.copy_(torch.add(self._centre, self._step, alpha=sign))


@dataclass(frozen=True, slots=True)
class _Forward:
    """How members are run on one kind of inputs.

    Attributes:
        name: of the forward.
        mixes: whether the answer for an example depends on the others beside it.
        module: the network, or what joins its inputs and outputs.
        outputs: how its outputs are made of tensors, where inputs and outputs are joined.
    """

    name: str
    mixes: bool
    module: nn.Module
    outputs: Nested | None


def _named(stacks: dict[str, Stack], outputs: Nested | None) -> dict[str, Stack]:
    """Parameters by the names that they have where inputs and outputs are joined."""
    return stacks if outputs is None else {Joined.prefix + name: stack for name, stack in stacks.items()}


def _one_row(value: Any) -> Any:
    """A tensor of one example in the place of one of none."""
    return value.new_zeros((1, *value.shape[1:])) if isinstance(value, Tensor) else value


def _three_rows(value: Any) -> Any:
    """The first three examples of a tensor, the same one again where there are fewer."""
    if not isinstance(value, Tensor):
        return value
    return (value if len(value) >= 3 else torch.cat([value] * 3))[:3]


def _gives_tensor(module: nn.Module, inputs: Tensor) -> bool:
    """Whether a module answers with one tensor, and not with several."""
    try:
        return isinstance(module(inputs), Tensor)
    except Exception:
        return True  # is told of where it is run for its answer


def _answer_of(module: nn.Module, inputs: Tensor) -> Tensor:
    """What a module answers to (B, ...) inputs, if that is a tensor (B, ...)."""
    try:
        answer = module(inputs)
    except UsageError:
        raise
    except Exception as error:
        kind = "these" if isinstance(module, Joined) else _words(inputs)
        raise GalabError(
            f"the module cannot be run on {kind} inputs: {type(error).__name__}: "
            f"{str(error).partition(chr(10))[0]}; show it what it is made for"
        ) from error
    if not isinstance(answer, Tensor) or answer.shape[:1] != inputs.shape[:1]:
        got = f"{tuple(answer.shape)}" if isinstance(answer, Tensor) else f"an object of type {type(answer).__name__}"
        raise UsageError(
            f"expected a module that answers {len(inputs)} examples with a tensor of {len(inputs)} rows, got {got}; "
            "run the members one by one ('for network in population'), or wrap the module so that it gives the tensor"
        )
    return answer


def _words(values: Tensor) -> str:
    return f"{str(values.dtype).removeprefix('torch.')} {tuple(values.shape)}"


@contextmanager
def _same_buffers(module: nn.Module) -> Iterator[None]:
    """Give a module its buffers back, whatever its forward does to them."""
    before = [(owner, name, value, value.clone()) for owner, name, value in _buffers(module)]
    try:
        yield
    finally:
        for owner, name, value, content in before:
            value.copy_(content)
            owner._buffers[name] = value


def _buffers(module: nn.Module) -> Iterator[tuple[nn.Module, str, Tensor]]:
    for owner in module.modules():
        for name, value in owner._buffers.items():
            if value is not None:
                yield owner, name, value


def filled(module: nn.Module, parameters: Mapping[str, Tensor]) -> nn.Module:
    """The module, with these values in the parameters that they name."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name in parameters:
                parameter.copy_(parameters[name])
    return module
