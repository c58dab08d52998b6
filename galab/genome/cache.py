"""A cache of arrays that is bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

Value = TypeVar("Value")


class ByteLimitedCache(Generic[Value]):
    """Least recently used values leave first. It has no lock of its own.

    Args:
        capacity: bytes.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._bytes = 0
        self._items: OrderedDict[int, tuple[Value, int]] = OrderedDict()

    def __iter__(self) -> Iterator[int]:
        """Keys, those that leave first before the others."""
        return iter(self._items)

    @property
    def nbytes(self) -> int:
        """Size of all values in bytes."""
        return self._bytes

    def get(self, key: int) -> Value | None:
        """The value, which then counts as just used; None if it is not there."""
        found = self._items.get(key)
        if found is None:
            return None
        self._items.move_to_end(key)
        return found[0]

    def put(self, key: int, value: Value, nbytes: int) -> None:
        """Add a value of a size in bytes unless it is there; the oldest leave until all fit, even this one."""
        if key in self._items:
            return
        self._items[key] = value, nbytes
        self._bytes += nbytes
        while self._bytes > self._capacity and self._items:
            _, (_, size) = self._items.popitem(last=False)
            self._bytes -= size

    def discard(self, key: int) -> None:
        """Remove a value if it is there."""
        if key in self._items:
            self._bytes -= self._items.pop(key)[1]

    def clear(self) -> None:
        """Remove all values."""
        self._items.clear()
        self._bytes = 0
