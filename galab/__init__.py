"""galab: a laboratory for training neural networks without gradients.

``galab.run(task="mnist", generations=100)`` evolves networks and leaves everything in a run folder;
:class:`galab.Search` and :class:`galab.ESOptimizer` are the ask/tell loops of a genetic algorithm and of an evolution
strategy for a module and a fitness function of your own; :class:`galab.Trainer` runs the latter.
:func:`galab.minimize` needs no network, only a function of a vector. Names are imported when they are used, so
``import galab`` alone is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from galab.api.evolution import ESOptimizer as ESOptimizer
    from galab.api.genetic import Search as Search
    from galab.api.minimize import minimize as minimize
    from galab.api.run import load as load
    from galab.api.run import resume as resume
    from galab.api.run import run as run
    from galab.api.run import run_trials as run_trials
    from galab.api.trainer import Trainer as Trainer
    from galab.api.workers import Workers as Workers
    from galab.config import RunConfig as RunConfig
    from galab.strategies.genetic import GeneticAlgorithm as GeneticAlgorithm
    from galab.tasks.classification import Classification as Classification
    from galab.tasks.regression import Regression as Regression

from galab.version import __version__

_PUBLIC = {
    "run": "galab.api.run",
    "run_trials": "galab.api.run",
    "resume": "galab.api.run",
    "load": "galab.api.run",
    "Search": "galab.api.genetic",
    "ESOptimizer": "galab.api.evolution",
    "Trainer": "galab.api.trainer",
    "Workers": "galab.api.workers",
    "minimize": "galab.api.minimize",
    "GeneticAlgorithm": "galab.strategies.genetic",
    "Classification": "galab.tasks.classification",
    "Regression": "galab.tasks.regression",
    "RunConfig": "galab.config",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'galab' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
