"""Words for many runs: seeds such as ``0-3,7`` and grids such as ``sigma=0.01,0.02``."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from galab.config import RunConfig, field_type
from galab.config.parsing import split_outside
from galab.errors import UsageError, closest

_MOST_SEEDS = 10_000
_ADVICE = "give whole numbers and ranges, such as 0-15 or 0,3,7-9"


def parse_seeds(text: str) -> tuple[int, ...]:
    """``"0,3,7-9"`` as ``(0, 3, 7, 8, 9)``.

    Raises:
        UsageError: a part is no number or range, a range goes down, or a seed comes twice.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = (word.strip() for word in part.partition("-"))
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UsageError(f"expected --seeds as whole numbers, got '{part.strip() or text}'; {_ADVICE}")
        low, high = int(first), int(last or first)
        if high < low:
            raise UsageError(f"expected a range of --seeds to go up, got '{part.strip()}'; write {high}-{low}")
        if high - low + len(seeds) >= _MOST_SEEDS:
            raise UsageError(f"expected at most {_MOST_SEEDS:,} seeds, got more in '{text}'; {_ADVICE}")
        seeds.extend(range(low, high + 1))
    return checked_seeds(seeds)


def checked_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    """Seeds that can be those of trials.

    Raises:
        UsageError: there are none, one comes twice, or one is no seed.
    """
    if not seeds:
        raise UsageError(f"expected at least one seed, got none; {_ADVICE}")
    if twice := [seed for seed, count in Counter(seeds).items() if count > 1]:
        raise UsageError(f"expected every seed once, got {twice[0]} twice; leave one out")
    for seed in seeds:
        RunConfig(seed=seed)  # bounds and type
    return tuple(seeds)


def parse_grid(texts: Sequence[str]) -> dict[str, list[Any]]:
    """``["sigma=0.01,0.02"]`` as ``{"sigma": [0.01, 0.02]}``; a ``;`` separates values that hold commas themselves.

    Raises:
        UsageError: a text is no ``field=values``, the field is unknown or given twice, or a value is of another type.
    """
    known = [item.name for item in dataclasses.fields(RunConfig)]
    grid: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name = name.strip().removeprefix("--").replace("-", "_")
        separator = ";" if len(split_outside(values, ";")) > 1 else ","
        words = [word for word in split_outside(values, separator) if word]
        if not equals or not words:
            raise UsageError(f"expected --grid as FIELD=VALUE,VALUE, got '{text}'; write for example sigma=0.01,0.02")
        if name not in known:
            raise UsageError(f"no hyperparameter is called '{name}'.{closest(name, known)} `galab options` lists them.")
        if name == "seed":
            raise UsageError("expected --seeds for the seeds of a sweep, got --grid seed=...; write --seeds 0-4")
        if name in grid or len(set(words)) < len(words):
            raise UsageError(f"expected every field and value of a grid once, got '{text}' again; leave one out")
        grid[name] = [_typed(name, word) for word in words]
    if not grid:
        raise UsageError("expected at least one --grid FIELD=VALUE,VALUE, got none; write for example sigma=0.01,0.02")
    return grid


def cells_of(grid: Mapping[str, Sequence[Any]]) -> dict[str, dict[str, Any]]:
    """Every combination of a grid, by the name of its folder: ``sigma=0.01,crossover=none``.

    Raises:
        UsageError: two combinations would have the same folder.
    """
    cells: dict[str, dict[str, Any]] = {}
    for values in itertools.product(*grid.values()):
        cell = dict(zip(grid, values, strict=True))
        name = "".join("_" if letter in '/\\:*?"<>|' else letter for letter in ",".join(map(_word, cell.items())))
        if name in cells:
            raise UsageError(f"expected values that differ as words of a folder's name, got '{name}' twice")
        cells[name] = cell
    return cells


def _word(item: tuple[str, Any]) -> str:
    name, value = item
    return f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"


def _typed(name: str, word: str) -> Any:
    kind = field_type(name)
    try:
        return kind(word)
    except ValueError:
        raise UsageError(f"expected {name} in --grid to be of type {kind.__name__}, got '{word}'; correct it") from None
