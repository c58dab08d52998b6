"""Timing that can be trusted on a noisy machine: sides interleaved A B A B, medians, one process."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass

from peers import clock


@dataclass(frozen=True)
class Row:
    """One measured figure against its bar.

    Attributes:
        what: what was measured.
        value: the figure; None where it cannot be had.
        unit: its unit.
        bar: the bound it has to keep, or None where it is only reported.
        kind: ``most`` or ``least``: the side of the bar that is good.
        reason: why there is no figure.
    """

    what: str
    value: float | None
    unit: str
    bar: float | None = None
    kind: str = "most"
    reason: str | None = None

    @property
    def verdict(self) -> str:
        """``kept``, ``missed`` or ``not measurable``; empty where a figure is only reported."""
        if self.value is None:
            return "not measurable"
        if self.bar is None:
            return ""
        return "kept" if (self.value <= self.bar if self.kind == "most" else self.value >= self.bar) else "missed"

    def to_dict(self) -> dict[str, object]:
        """Plain data for JSON."""
        return asdict(self) | {"verdict": self.verdict}


def interleaved(
    sides: Mapping[str, Callable[[], object]], rounds: int, now: Callable[[], float] = clock.now
) -> dict[str, float]:
    """Median milliseconds of each side; every round runs each side once, after a warm-up round.

    A side that answers with a float was timed where it ran, in another process, and these are its milliseconds.
    """
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            start = now()
            answer = side()
            spent = answer if isinstance(answer, float) else (now() - start) * 1e3
            if number:
                times[name].append(spent)
    return {name: statistics.median(values) for name, values in times.items()}


def ratio_row(
    what: str, above: float | None, below: float | None, bar: float | None, kind: str = "least", reason: str = ""
) -> Row:
    """How many times one figure is another; without a figure, ``reason`` says why."""
    if above is None or below is None:
        return Row(what, None, "x", bar, kind, reason)
    return Row(what, above / below, "x", bar, kind)


def tally(rows: Iterable[Row]) -> dict[str, int]:
    """How many bars were kept, missed, and could not be measured."""
    counts = {"kept": 0, "missed": 0, "not measurable": 0}
    for row in rows:
        if row.bar is not None:
            counts[row.verdict] += 1
    return counts


def table(rows: Iterable[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| measured | value | bar | |", "|---|---|---|---|"]
    for row in rows:
        sign = {"most": "at most", "least": "at least"}[row.kind]
        bar = "" if row.bar is None else f"{sign} {row.bar:g} {row.unit}"
        value = "" if row.value is None else f"{figure(row.value)} {row.unit}"
        verdict = f"not measurable: {row.reason}" if row.value is None else row.verdict.replace("missed", "MISSED")
        lines.append(f"| {row.what} | {value} | {bar} | {verdict} |")
    return "\n".join(lines)


def figure(value: float) -> str:
    """Three digits, and all of those before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
