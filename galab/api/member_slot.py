"""A copy of a module that is given one member's numbers after the other's, whatever a fitness function did to it."""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class _Place:
    """A parameter or a buffer of the copy.

    Attributes:
        owner: the dict of a submodule that holds it.
        key: its name there.
        value: it, as it was made.
        memory: its numbers.
        own: the template's numbers.
    """

    owner: dict[str, Tensor | None]
    key: str
    value: Tensor
    memory: Tensor
    own: Tensor

    @property
    def intact(self) -> bool:
        """Whether it is still there with the same memory and type, which ``.double()`` and the like exchange."""
        now = self.owner.get(self.key)
        return now is self.value and now.dtype == self.own.dtype and now.data_ptr() == self.memory.data_ptr()


class MemberSlot:
    """See the head of this file.

    Args:
        template: what it is a copy of, but for the numbers that evolve.
        evolved: names of those parameters.
    """

    def __init__(self, template: nn.Module, evolved: Collection[str]) -> None:
        self._template = template
        self._evolved = frozenset(evolved)
        self._make()

    def ready(self) -> tuple[nn.Module, dict[str, Tensor]]:
        """The module in the template's mode with everything that does not evolve put back, and the memory of the rest.

        Returns:
            The module, and name to the tensor that a member's numbers are to be written into, without a gradient.
        """
        if not all(place.intact for place in self._places):
            self._make()
        with torch.no_grad():
            for place in self._fixed:
                place.memory.copy_(place.own)
        if self.module.training != self._template.training:
            self.module.train(self._template.training)
        return self.module, self._memory

    def _make(self) -> None:
        self.module = copy.deepcopy(self._template)
        self._places: list[_Place] = []
        self._fixed: list[_Place] = []
        self._memory: dict[str, Tensor] = {}
        seen: set[int] = set()
        own = dict(self._template.named_modules())
        for path, part in self.module.named_modules():
            for values, theirs in ((part._parameters, own[path]._parameters), (part._buffers, own[path]._buffers)):
                for key, value in values.items():
                    if value is None or id(value) in seen:
                        continue
                    seen.add(id(value))
                    template = theirs[key]
                    assert template is not None
                    place = _Place(values, key, value, value.detach(), template.detach())
                    self._places.append(place)
                    name = f"{path}.{key}" if path else key
                    if name in self._evolved:
                        self._memory[name] = place.memory
                    else:
                        self._fixed.append(place)
