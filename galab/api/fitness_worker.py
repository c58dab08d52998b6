"""The worker's half of :mod:`galab.api.workers`: what it is sent, and how it scores members."""

from __future__ import annotations

import contextlib
import importlib
import io
import math
import pickle
import random
import sys
import threading
import types
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import dill
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from galab.api.member_slot import MemberSlot
from galab.api.population import Population
from galab.api.scores import number
from galab.errors import UsageError
from galab.evaluation.executors.link import receive, send
from galab.evaluation.executors.processes import end_with_parent, ignore_interrupts


class _Pickler(dill.Pickler):
    """Takes modules, but for the script, by their names: some of them cannot travel."""

    dispatch = dill.Pickler.dispatch.copy()


def _by_name(pickler: Any, module: types.ModuleType) -> None:
    if module.__name__ == "__main__":
        dill.Pickler.dispatch[types.ModuleType](pickler, module)
    else:
        pickler.save_reduce(importlib.import_module, (module.__name__,), obj=module)


_Pickler.dispatch[types.ModuleType] = _by_name


def packed(value: Any, what: str) -> bytes:
    """A value as bytes: twice, by the names of what the script defines at its top level, and as a whole."""
    errors, found = [], []
    for by_reference in (True, False):
        file = io.BytesIO()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", dill.PicklingWarning)  # what has no name here travels as a whole
                # With the globals that a function refers to, and no others.
                _Pickler(file, byref=by_reference, recurse=True).dump(value)
            found.append(file.getvalue())
        except Exception as error:
            errors.append(error)
            found.append(b"")
    if not any(found):
        raise UsageError(
            f"expected {what} to be something that can be sent to another process, got {type(errors[0]).__name__}: "
            f"{errors[0]!s:.200}; leave out open files and the like"
        ) from errors[0]
    return pickle.dumps(found)


def _unpacked(content: bytes) -> Any:
    """What :func:`packed` took: by names, where the script has them here too."""
    named, whole = pickle.loads(content)
    if named and getattr(sys.modules.get("__main__"), "__file__", None):
        try:
            return dill.loads(named)
        except Exception:
            if not whole:
                raise
    return dill.loads(whole or named)


def serve(connection: Any) -> None:
    """Run a worker until its pipe closes; see :mod:`galab.api.workers` for what it is sent."""
    ignore_interrupts()
    threading.Thread(target=end_with_parent, daemon=True).start()
    scorer = _Scorer()
    with contextlib.suppress(EOFError, OSError):
        while True:
            kind, *values = receive(connection)
            try:
                if kind == "hello":
                    torch.set_num_threads(values[0])
                    answer: tuple[Any, ...] = ("ready",)
                elif kind == "work":
                    scorer.take(values[0])
                    continue
                elif kind == "directions":
                    (scorer.directions,) = values
                    continue
                else:
                    answer = ("scored", values[0], getattr(scorer, kind)(*values))
            except Exception as error:
                answer = ("error", f"{type(error).__name__}: {error}")
            send(connection, *answer)


class _Scorer:
    """In a worker: scores members.

    Attributes:
        directions: of populations.
    """

    def __init__(self) -> None:
        self._fitness: Callable[[nn.Module], Any] = lambda network: math.nan
        self._network: Any = None
        self._slot: MemberSlot | None = None
        self.directions: Any = None

    def take(self, content: bytes) -> None:
        """Take the function, and a network or all of them."""
        self._fitness, self._network = _unpacked(content)
        if isinstance(self._network, nn.Module):
            self._network = self._network.cpu()
        self._slot = None

    def networks(self, first: int, names: Sequence[str], rows: NDArray[np.uint8], seed: int) -> list[tuple[Any, str]]:
        """Scores of members, each given by the bytes of some parameters."""
        self._slot = self._slot or MemberSlot(self._network, names)
        found = []
        for place, row in enumerate(rows, first):
            module, memory = self._slot.ready()
            at, numbers = 0, torch.from_numpy(row.copy())
            with torch.no_grad():
                for name in names:
                    value = memory[name]
                    size = value.numel() * value.element_size()
                    value.copy_(numbers[at : at + size].clone().view(value.dtype).view(value.shape))
                    at += size
            found.append(self._scored(module, place, seed))
        return found

    def modules(self, first: int, last: int, seed: int) -> list[tuple[Any, str]]:
        """Scores of members that came as they are."""
        return [self._scored(self._network[place].cpu(), place, seed) for place in range(first, last)]

    def population(
        self, first: int, last: int, centre: dict[str, NDArray[np.float32]], settings: dict[str, Any], seed: int
    ) -> list[tuple[Any, str]]:
        """Scores of members ``first`` to ``last - 1`` of a population."""
        around = {name: torch.from_numpy(value) for name, value in centre.items()}
        population = Population(self._network, around, self.directions, **settings)
        return [self._scored(member, place, seed) for place, member in enumerate(population.each(first, last), first)]

    def _scored(self, member: nn.Module, place: int, seed: int) -> tuple[Any, str]:
        torch.manual_seed(seed + place)
        np.random.seed((seed + place) % 2**32)  # noqa: NPY002 - what a function of the user's may use
        random.seed(seed + place)
        try:
            given = self._fitness(member)
            if isinstance(given, np.ndarray | torch.Tensor) and given.ndim == 1 and len(given) > 1:
                given = given.tolist()  # several objectives
            if isinstance(given, tuple | list):
                return tuple(number(value, place, "member") for value in given), ""
            return number(given, place, "member"), ""
        except Exception as error:  # whatever is wrong with one member, the others count
            return math.nan, f"{type(error).__name__}: {error}"
