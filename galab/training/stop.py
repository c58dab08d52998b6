"""When a run stops."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from galab.config import RunConfig
from galab.config.traits import target_metric


@dataclass(slots=True)
class StopRules:
    """The first rule that holds ends the run.

    Attributes:
        generations: as many generations as this, counted from the start of the run.
        seconds: as many seconds, over all sessions.
        target: validation accuracy of the champion, or its validation return.
        patience: as many generations without a better champion on validation data.
        measured: what the target is of, in words.
        interrupted: set by Ctrl-C; the generation is finished and saved first.
    """

    generations: int | None = None
    seconds: float | None = None
    target: float | None = None
    patience: int | None = None
    measured: str = "validation accuracy"
    interrupted: threading.Event = field(default_factory=threading.Event)
    #: The best champion so far on validation data, higher is better, and its generation.
    _best: tuple[float, int] | None = None
    #: The last generation whose champion was looked at.
    _reported: int = -1

    @classmethod
    def of(cls, config: RunConfig) -> StopRules:
        """The rules of a configuration."""
        measured = target_metric(config).replace("_", " ")
        return cls(config.generations, config.seconds, config.target, config.patience, measured)

    def reason(self, generation: int, seconds: float, accuracy: float | None) -> str | None:
        """Why to stop now, in words, or None.

        Args:
            generation: generations done.
            seconds: seconds spent, over all sessions.
            accuracy: the champion's validation accuracy when it was last measured.
        """
        if self.interrupted.is_set():
            return "interrupted"
        if self.generations is not None and generation >= self.generations:
            return f"{self.generations} generations done"
        if self.seconds is not None and seconds >= self.seconds:
            return f"{self.seconds:g} seconds spent"
        if self.target is not None and accuracy is not None and accuracy >= self.target:
            return f"{self.measured} {accuracy:.4f} reached the target {self.target:g}"
        looked = generation == self._reported
        if self.patience is not None and self._best and looked and generation - self._best[1] >= self.patience:
            return f"no better champion since generation {self._best[1]}, for {self.patience} generations"
        return None

    def reported(self, generation: int, metrics: Mapping[str, Any]) -> None:
        """Hear of a champion: its validation accuracy counts, or its return, or else its loss.

        Args:
            generation: that it was found in.
            metrics: ``validation_...`` of it; a line of the log has them too.
        """
        self._reported = generation
        value = metrics.get("validation_accuracy", metrics.get("validation_return"))
        if value is None and (loss := metrics.get("validation_loss")) is not None:
            value = -loss
        if value is not None and math.isfinite(value) and (self._best is None or value > self._best[0]):
            self._best = value, generation

    def fraction(self, generation: int, seconds: float) -> float:
        """How much of the run is done, from 0 to 1, by the rules that can tell."""
        parts = [0.0]
        if self.generations:
            parts.append(generation / self.generations)
        if self.seconds:
            parts.append(seconds / self.seconds)
        return min(1.0, max(parts))


@contextmanager
def interruptible(event: threading.Event) -> Iterator[None]:
    """Let the first Ctrl-C (or SIGTERM) set the event; a second one stops at once.

    Signals reach the main thread alone, so elsewhere nothing is installed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
