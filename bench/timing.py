"""Timing that can be trusted on a noisy machine: sides interleaved A B A B, medians, one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Row:
    """One measured figure against its bar.

    Attributes:
        what: what was measured.
        value: the figure.
        unit: its unit.
        bar: the bound it has to keep, or None where it is only reported.
        kind: ``most`` or ``least``: the side of the bar that is good.
    """

    what: str
    value: float
    unit: str
    bar: float | None = None
    kind: str = "most"

    @property
    def good(self) -> bool:
        """Whether the bar is kept."""
        if self.bar is None:
            return True
        return self.value <= self.bar if self.kind == "most" else self.value >= self.bar

    def to_dict(self) -> dict[str, object]:
        """Plain data for JSON."""
        return asdict(self) | {"good": self.good}


def interleaved(sides: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each side; every round runs each side once, after a warm-up round."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            start = time.perf_counter()
            side()
            if number:
                times[name].append((time.perf_counter() - start) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| measured | value | bar | |", "|---|---|---|---|"]
    for row in rows:
        sign = {"most": "at most", "least": "at least"}[row.kind]
        bar = "" if row.bar is None else f"{sign} {row.bar:g} {row.unit}"
        verdict = "" if row.bar is None else ("kept" if row.good else "MISSED")
        lines.append(f"| {row.what} | {row.value:.4g} {row.unit} | {bar} | {verdict} |")
    return "\n".join(lines)
