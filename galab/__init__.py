"""galab: a laboratory for training neural networks without gradients.

``galab.run(task="mnist", generations=100)`` evolves networks and leaves everything in a run folder;
:class:`galab.Search` and :class:`galab.ESOptimizer` are the ask/tell loops of a genetic algorithm and of an evolution
strategy for a module and a fitness function of your own; :class:`galab.Trainer` runs the latter. Names are imported
when they are used, so ``import galab`` alone is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from galab.config import RunConfig as RunConfig
    from galab.lab.api import load as load
    from galab.lab.api import resume as resume
    from galab.lab.api import run as run
    from galab.lab.api import run_trials as run_trials
    from galab.lab.ask_tell import Search as Search
    from galab.lab.es_optimizer import ESOptimizer as ESOptimizer
    from galab.lab.trainer import Trainer as Trainer
    from galab.strategies.genetic import GeneticAlgorithm as GeneticAlgorithm
    from galab.tasks.classification import Classification as Classification

__version__ = "0.1.0"

_PUBLIC = {
    "run": "galab.lab.api",
    "run_trials": "galab.lab.api",
    "resume": "galab.lab.api",
    "load": "galab.lab.api",
    "Search": "galab.lab.ask_tell",
    "ESOptimizer": "galab.lab.es_optimizer",
    "Trainer": "galab.lab.trainer",
    "GeneticAlgorithm": "galab.strategies.genetic",
    "Classification": "galab.tasks.classification",
    "RunConfig": "galab.config",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'galab' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
