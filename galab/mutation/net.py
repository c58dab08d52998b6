"""Net mutation: of several networks that answer together, all weights of one move."""

from __future__ import annotations

from functools import lru_cache

from galab.genome.layout import Layout
from galab.mutation.layer import Layer

#: Networks lie in a list of this name (:class:`galab.models.ensemble.Ensemble`).
_LIST = "nets"


class Net(Layer):
    """Adds noise to one network of an ensemble, each with equal odds; to everything where there is but one."""

    def _groups(self, layout: Layout) -> tuple[int, ...]:
        return _nets(layout)


@lru_cache(maxsize=64)
def _nets(layout: Layout) -> tuple[int, ...]:
    """For each tensor the number of its network; what lies in none is a group of its own."""
    found = []
    for name in layout.names:
        parts = name.split(".")
        at = parts.index(_LIST) + 2 if _LIST in parts else 0
        found.append(".".join(parts[:at]))
    numbers = {net: number for number, net in enumerate(dict.fromkeys(found))}
    return tuple(numbers[net] for net in found)
