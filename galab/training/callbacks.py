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
        folder: where the run lies; None in a loop by hand.
        reason: why the run ended, in words; empty before that.
    """

    generation: int
    line: Mapping[str, Any]
    fitness: NDArray[np.float64]
    config: RunConfig
    folder: Path | None
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
        raises: whether what one raises is raised here, too, and not told in the log alone.

    Raises:
        UsageError: one is neither.

    Attributes:
        stopped: why they want the run to end; None while they do not.
        failed: whether one has raised.
    """

    def __init__(self, callbacks: Sequence[Callback] = (), *, raises: bool = False) -> None:
        if not isinstance(callbacks, list | tuple):
            raise UsageError(f"expected callbacks as a list, got {callbacks!r:.80}; put it into brackets")
        for one in callbacks:
            if not callable(one) and not any(callable(getattr(one, name, None)) for name in _METHODS):
                raise UsageError(
                    f"expected a callback to be a function of a run's view, or to have one of {', '.join(_METHODS)}, "
                    f"got {one!r:.80}"
                )
        self._callbacks = list(callbacks)
        self._raises = raises
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
                if self._raises:
                    raise
                continue
            except BaseException as error:  # a callback that exits must not take the run along
                self.failed = True
                self.stopped = f"callback {called(one)} raised {type(error).__name__}: {error}"
                if self._raises:
                    raise
                logger.exception("callback %s raised; the run is saved and stops", called(one))
                continue
            if answer is not None and not isinstance(answer, str) and bool(answer):
                self.stopped = f"stopped by callback {called(one)}"


class LoopCallbacks:
    """The callbacks of a search that its user drives by ask and tell; what one raises comes out of ``tell``.

    Args:
        callbacks: see :class:`Callbacks`.
        config: of the search.
        champion: the best network now, a copy.
    """

    def __init__(self, callbacks: Sequence[Callback], config: RunConfig, champion: Callable[[], nn.Module]) -> None:
        self._callbacks = Callbacks(callbacks, raises=True)
        self._config, self._champion = config, champion
        self._began = self._ended = False

    @property
    def stopped(self) -> str | None:
        """Why a callback wants the search to end; None while none does."""
        return self._callbacks.stopped

    def asked(self, generation: int) -> None:
        """Before the first generation that is asked for: ``on_start``."""
        if not self._began:
            self._began = True
            self._call("on_start", generation, {}, np.empty(0))

    def told(self, generation: int, line: Mapping[str, Any], fitness: NDArray[np.float64]) -> None:
        """After a generation: ``on_generation``, and ``on_end`` where one wants the search to end."""
        self._call("on_generation", generation, line, fitness)
        if self.stopped is not None:
            self.ended(generation, self.stopped)

    def ended(self, generation: int, reason: str) -> None:
        """``on_end``, once."""
        if self._began and not self._ended:
            self._ended = True
            self._call("on_end", generation, {}, np.empty(0), reason)

    def _call(
        self, method: str, generation: int, line: Mapping[str, Any], fitness: NDArray[np.float64], reason: str = ""
    ) -> None:
        if len(self._callbacks):
            seen = fitness.copy()
            seen.flags.writeable = False
            view = RunView(generation, read_only(line), seen, self._config, None, reason, self._champion)
            self._callbacks.call(method, view)


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
