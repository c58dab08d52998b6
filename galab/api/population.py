"""The members of one generation of an evolution strategy, made when they are asked for."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import overload

import torch
from torch import Tensor, nn

from galab.evaluation.batched.forward import PERTURBED_FORWARDS, choose_perturbed_forward
from galab.evaluation.batched.low_rank import Stack
from galab.evaluation.es_evaluator import members_at_once, perturbed_parameters
from galab.evaluation.numeric_profile import warm_up_kernels
from galab.operators.es_noise import Directions, Noise, size_of

#: Examples at once.
_BLOCK = 1024


class Population(Sequence[nn.Module]):
    """A lazy sequence of networks; memory does not grow with its length.

    It keeps the centre that it lies around, so it stays what it was when the search goes on.

    Args:
        template: the network, in ``eval()``; it is not changed.
        centre: name to tensor, not shared with anybody who changes it.
        directions: the noise.
        noise: the generation whose noise it is.
        sigma: the step size, in weight units.
        members: P.
        antithetic: whether members 2 q and 2 q + 1 are plus and minus along direction q.
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
        self._template = template
        self._centre = centre
        self._directions = directions
        self._noise = noise
        self._sigma = sigma
        self._members = members
        self._antithetic = antithetic
        self._forwards: dict[tuple[object, ...], str] = {}

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
        return filled(copy.deepcopy(self._template), self.parameters(place))

    def parameters(self, place: int) -> dict[str, Tensor]:
        """A member's parameters by name, float32.

        Args:
            place: its place in the population, from 0.
        """
        direction, minus = divmod(place, 2) if self._antithetic else (place, 0)
        ((_, noise),) = self._directions.between(self._noise, direction, direction + 1)
        stacks = self._stacks(noise, -self._sigma if minus else self._sigma, antithetic=False)
        return {name: stack[0] if isinstance(stack, Tensor) else stack.member(0) for name, stack in stacks.items()}

    def outputs(self, inputs: Tensor) -> Tensor:
        """What every member answers, computed for many members at once and without forming low-rank weights.

        Args:
            inputs: (B, ...) the same examples for all members.

        Returns:
            (P, B, outputs), without a gradient.
        """
        warm_up_kernels()
        forward = PERTURBED_FORWARDS[self._forward_for(inputs)]
        signs = 2 if self._antithetic else 1
        width = members_at_once(self._template, inputs[:1], min(len(inputs), _BLOCK), self._directions.plan) // signs
        found: Tensor | None = None
        with torch.no_grad():
            for first, noise in self._directions.between(self._noise, 0, self._members // signs):
                for start in range(0, size_of(noise), width):
                    part = {name: values.part(start, start + width) for name, values in noise.items()}
                    stacks = self._stacks(part, self._sigma, antithetic=self._antithetic)
                    blocks = [forward(self._template, stacks, block) for block in inputs.split(_BLOCK)]
                    answers = torch.cat(blocks, 1)
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
        return perturbed_parameters(self._centre, noise, sigma, antithetic=antithetic)

    def _forward_for(self, inputs: Tensor) -> str:
        """The way that agrees with the loop over members, found once for each kind of inputs."""
        key = (inputs.shape[1:], inputs.dtype, inputs.device)
        if key not in self._forwards:
            # Members unlike each other, so that a forward that takes one for another is found out.
            ((_, noise),) = self._directions.between(self._noise, 0, min(2, self._directions.group))
            stacks = self._stacks(noise, max(self._sigma, 0.1), antithetic=True)
            probe = inputs if len(inputs) >= 3 else torch.cat([inputs] * 3)
            with torch.no_grad():
                self._forwards[key] = choose_perturbed_forward(self._template, stacks, probe[:3])
        return self._forwards[key]


def filled(module: nn.Module, parameters: Mapping[str, Tensor]) -> nn.Module:
    """The module, with these values in the parameters that they name."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name in parameters:
                parameter.copy_(parameters[name])
    return module
