"""What an analysis of a run gives, whichever it is; ``galab analyze`` writes and prints it.

An analysis is a function ``analysis(saved, heard, *, option=default, ...) -> Analysis`` in a module of its own, with
one line in the registry. Its docstring is its help: the first line, and the options under ``Args``. Its module imports
torch and matplotlib inside functions, so that listing the analyses costs nothing.

One that looks at many runs at once calls its first parameter ``runs`` and not ``saved``: it is given a list, every run
at or below the paths that a person names.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Hears what an analysis is at, and how much of it is done, from 0 to 1.
Heard = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Analysis:
    """What was found.

    Attributes:
        sentence: the answer, with numbers, and with the data that they are of.
        values: plain data, for the JSON file.
        rows: that share their keys, for the CSV file; at least one.
        draw: draws the figure into a file.
    """

    sentence: str
    values: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    draw: Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class Option:
    """A choice that an analysis offers.

    Attributes:
        name: of the parameter.
        kind: its type; where it may be absent, the type that it has otherwise.
        default: its default; None where it may be absent.
        help: what it is.
    """

    name: str
    kind: type
    default: Any
    help: str


def or_none(value: Any) -> float | None:
    """A finite number as plain data; None where it is none, as JSON has no NaN."""
    return float(value) if math.isfinite(value) else None


def summary_of(analysis: Callable[..., Analysis]) -> str:
    """The first line of an analysis' docstring."""
    return (inspect.getdoc(analysis) or "").partition("\n")[0]


def options_of(analysis: Callable[..., Analysis]) -> list[Option]:
    """What an analysis lets a person choose: its parameters by keyword, with their lines under ``Args``."""
    text = re.sub(r"\n {8,}", " ", inspect.getdoc(analysis) or "")
    lines = dict(re.findall(r"^ {4}(\w+): (.+)$", text, flags=re.MULTILINE))
    return [
        Option(one.name, _kind(one), one.default, lines.get(one.name, ""))
        for one in inspect.signature(analysis).parameters.values()
        if one.kind is inspect.Parameter.KEYWORD_ONLY
    ]


def takes_many(analysis: Callable[..., Analysis]) -> bool:
    """Whether an analysis looks at many runs at once: its first parameter is called ``runs``."""
    return next(iter(inspect.signature(analysis).parameters), "") == "runs"


def _kind(parameter: inspect.Parameter) -> type:
    """Of ``int`` and of ``int | None`` it is ``int``; annotations are text, as nothing that they name is imported."""
    word = str(parameter.annotation).partition("|")[0].strip()
    return {"int": int, "float": float, "str": str, "bool": bool}.get(word, type(parameter.default))
