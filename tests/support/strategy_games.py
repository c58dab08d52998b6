"""A genetic algorithm without networks, played by hand."""

from __future__ import annotations

from typing import Any

from galab.config import RunConfig
from galab.config.resolve import decide
from galab.strategies.build import step_size_rule
from galab.strategies.genetic import GeneticAlgorithm


def algorithm(key: int = 1, *, fixed_data: bool = False, **options: Any) -> GeneticAlgorithm:
    """Four parents and twelve asexual children, where nothing else is said."""
    config = decide(RunConfig(**{"seed": key, "parents": 4, "children": 12, "crossover": "none"} | options))
    return GeneticAlgorithm(config, step_size_rule(config, key), fixed_data=fixed_data)
