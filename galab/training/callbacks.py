"""Callbacks: functions of the user's that look at a run after every generation, and may stop it.

A callback is a function of a :class:`RunView`, or an object with any of the methods ``on_start``, ``on_generation`` and
``on_end``, each a function of one. A run is stopped cleanly, as by Ctrl-C, where one of them gives True. What a
callback raises stops the run in the same way, with its traceback in the run's log and on the terminal.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from galab.config import RunConfig
from galab.config.registry import import_reference
from galab.errors import UsageError

logger = logging.getLogger("galab")
_METHODS = ("on_start", "on_generation", "on_end")


@dataclass(frozen=True, slots=True, eq=False)
class RunView:
    """What a callback sees of a run between two generations. Nothing in it changes the run.

    Attributes:
        generation: generations done.
        line: the generation's line of the log, see ``docs/log.md``; empty at the start.
        fitness: (P,) of the generation's members, higher is better, NaN where one failed; a copy.
        config: of the run, with every "auto" decided.
        folder: where the run lies.
        reason: why the run ended, in words; empty before that.
    """

    generation: int
    line: Mapping[str, Any]
    fitness: NDArray[np.float64]
    config: RunConfig
    folder: Path
    reason: str = ""
    _champion: Callable[[], nn.Module] | None = field(default=None, repr=False)

    def champion(self) -> nn.Module:
        """The network that is best on validation data now, a copy; it is scored when it is asked for."""
        assert self._champion is not None
        return self._champion()


Callback = Callable[[RunView], Any] | Any


class Callbacks:
    """The callbacks of a run.

    Args:
        callbacks: functions, or objects with the methods above.

    Raises:
        UsageError: one is neither.

    Attributes:
        stopped: why they want the run to end; None while they do not.
        failed: whether one has raised.
    """

    def __init__(self, callbacks: Sequence[Callback] = ()) -> None:
        if not isinstance(callbacks, list | tuple):
            raise UsageError(f"expected callbacks as a list, got {callbacks!r:.80}; put it into brackets")
        for one in callbacks:
            if not callable(one) and not any(callable(getattr(one, name, None)) for name in _METHODS):
                raise UsageError(
                    f"expected a callback to be a function of a run's view, or to have one of {', '.join(_METHODS)}, "
                    f"got {one!r:.80}"
                )
        self._callbacks = list(callbacks)
        self.stopped: str | None = None
        self.failed = False

    def __len__(self) -> int:
        return len(self._callbacks)

    def call(self, method: str, view: RunView) -> None:
        """Call a method of each; plain functions are called after each generation."""
        for one in self._callbacks:
            has_methods = any(callable(getattr(one, name, None)) for name in _METHODS)
            function = getattr(one, method, None) if has_methods else one if method == "on_generation" else None
            if not callable(function):
                continue
            try:
                answer = function(view)
            except KeyboardInterrupt:
                self.failed, self.stopped = True, f"interrupted in callback {called(one)}"
                continue
            except BaseException as error:  # a callback that exits must not take the run along
                logger.exception("callback %s raised; the run is saved and stops", called(one))
                self.failed = True
                self.stopped = f"callback {called(one)} raised {type(error).__name__}: {error}"
                continue
            if answer is not None and not isinstance(answer, str) and bool(answer):
                self.stopped = f"stopped by callback {called(one)}"


def called(callback: Callback) -> str:
    """A callback's name."""
    return str(getattr(callback, "__qualname__", type(callback).__name__))


def read_only(line: Mapping[str, Any]) -> Mapping[str, Any]:
    """A line of the log that a callback cannot change."""
    return MappingProxyType(copy.deepcopy(dict(line)))


def load_callback(reference: str) -> Callback:
    """A callback by reference, ``FILE.py:name`` or ``module:name``; a class is made without arguments.

    Raises:
        UsageError: there is none.
    """
    found = import_reference(reference, "callback")
    try:
        made: Callback = found() if isinstance(found, type) else found
    except Exception as error:
        raise UsageError(
            f"expected callback '{reference}' to be made without arguments, got {type(error).__name__}: {error}; "
            "correct the class"
        ) from error
    Callbacks([made])
    return made
