"""What a run shows while it goes on: one live line on a terminal, plain lines in a pipe."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from galab.lab.describe import Totals
    from galab.lab.stop import StopRules

_PLAIN_SECONDS = 10.0


class LiveLine:
    """A recorder that shows progress.

    Args:
        stop: the stop rules, for the estimate of the time left.
        totals: what earlier sittings have spent.
        generation: generations done before this sitting.
        quiet: show nothing.
    """

    def __init__(self, stop: StopRules, totals: Totals, generation: int, *, quiet: bool = False) -> None:
        self._stop = stop
        self._began = (time.monotonic(), stop.fraction(generation, totals.seconds))
        self._report: dict[str, Any] = {}
        self._last_plain = 0.0
        self._quiet = quiet
        self._live: Live | None = None
        if sys.stderr.isatty() and not quiet:
            self._live = Live(Text(""), console=Console(stderr=True), refresh_per_second=8, transient=True)
            self._live.start()

    def record(self, line: dict[str, Any], fitness: NDArray[np.float64]) -> None:
        """See :class:`galab.lab.recorders.Recorder`."""
        reported = "champion" in line
        if reported:
            self._report = line
        if self._live is not None:
            self._live.update(Text(self._sentence(line)))
        elif not self._quiet and (reported or line["generation"] == 1):
            now = time.monotonic()
            if now - self._last_plain >= _PLAIN_SECONDS or line["generation"] == 1:
                self._last_plain = now
                click.echo(self._sentence(line), err=True)

    def close(self, result: dict[str, Any]) -> None:
        """See :class:`galab.lab.recorders.Recorder`."""
        if self._live is not None:
            self._live.stop()

    def _sentence(self, line: dict[str, Any]) -> str:
        parts = [
            f"generation {line['generation']:,}",
            "no fitness" if line["fitness_best"] is None else f"fitness {line['fitness_best']:.4f}",
            f"step {line['step_size']:.2g}" if "step_size" in line else f"gradient {line['gradient_norm']:.2g}",
            f"{line['evaluations_per_second']:,.0f} evaluations/s",
        ]
        if "validation_accuracy" in self._report:
            parts.insert(2, f"validation {self._report['validation_accuracy']:.1%}")
        elif "validation_loss" in self._report:
            parts.insert(2, f"validation loss {self._report['validation_loss']:.4g}")
        if line["failures"]:
            parts.append(f"{line['failures']} failed")
        left = self._left(line)
        return " | ".join([*parts, *([f"{left} left"] if left else [])])

    def _left(self, line: dict[str, Any]) -> str:
        """Time left by the stop rules that can tell, from this sitting's own pace."""
        done = self._stop.fraction(line["generation"], line["seconds"])
        began, before = self._began
        if done <= before:
            return ""
        seconds = (time.monotonic() - began) * (1 - done) / (done - before)
        if self._stop.seconds is not None:  # the first generations are slow, and the budget is known
            seconds = min(seconds, max(self._stop.seconds - line["seconds"], 0.0))
        minutes, rest = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
