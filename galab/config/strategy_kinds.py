"""The kinds of strategy, one row each: everything that the rest of galab asks about a strategy by its name.

A strategy of galab's own is found by its name. A class from outside, ``FILE.py:Class`` or a name of a plugin, is a
subclass of the genetic algorithm where it stands alone, and a strategy over weight vectors
(:class:`galab.contracts.VectorStrategy`) where it is written as a call, ``FILE.py:Class()``:
:func:`galab.strategies.build.canonical_strategy` writes it so when a run is started. So a saved run says of what kind
it is, and no code has to be loaded to know it.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class StrategyKind:
    """What strategies of one kind have in common.

    Attributes:
        name: of the kind.
        strategies: the built-in strategies of the kind.
        size: the hyperparameter that holds the number of members of a generation; empty where there is one member.
        evaluations: what the evaluations of a run are, in words.
        search: ``"module:Class"`` that builds and runs the strategy, see :class:`galab.training.search.Search`.
        replay: ``"module:Class"`` that computes the centres of a saved run again, for ``galab verify`` and the history
            of a run, see :class:`galab.saved_runs.centre_replay.CentreReplay`; empty where there are individuals, which
            follow from their seeds.
        record: the file in the run folder that holds what the run can be computed again from.
        row: ``"module:function"`` that gives the type of a row of it, from the number of members, but for births.
        breeds: whether there are individuals and births, and not one centre.
        inherits: whether members descend from members before them.
        estimates: whether members lie along random directions, which make an estimate of a gradient.
        gradients: whether it uses gradients of the loss.
    """

    name: str
    strategies: tuple[str, ...]
    size: str
    evaluations: str
    search: str
    replay: str = ""
    record: str = "scores.bin"
    row: str = "galab.strategies.centre:record_dtype"
    breeds: bool = False
    inherits: bool = False
    estimates: bool = False
    gradients: bool = False

    def members(self, config: Any) -> int:
        """The number of members of a generation under a configuration; elites that are scored again are left out."""
        return int(getattr(config, self.size)) if self.size else 1


GENETIC = StrategyKind(
    "genetic",
    ("ga",),
    size="children",
    evaluations="children x examples",
    search="galab.training.genetic_search:GeneticSearch",
    record="lineage.bin",
    breeds=True,
    inherits=True,
)
RANDOM = StrategyKind(
    "random",
    ("random",),
    size="children",
    evaluations="children x examples",
    search="galab.training.genetic_search:GeneticSearch",
    record="lineage.bin",
    breeds=True,
)
EVOLUTION = StrategyKind(
    "evolution",
    ("eggroll", "openai-es"),
    size="population",
    evaluations="members x examples",
    search="galab.training.evolution_search:EvolutionSearch",
    replay="galab.saved_runs.centre_replay:ScoreReplay",
    estimates=True,
)
GRADIENTS = StrategyKind(
    "gradients",
    ("sgd", "adam"),
    size="",
    evaluations="examples forwards, and each of them backwards too",
    search="galab.training.gradient_search:GradientSearch",
    replay="galab.saved_runs.centre_replay:GradientReplay",
    gradients=True,
)
VECTORS = StrategyKind(
    "vectors",
    ("snes", "pgpe"),
    size="population",
    evaluations="members x examples",
    search="galab.training.vector_search:VectorSearch",
    replay="galab.saved_runs.centre_replay:ScoreReplay",
)
INTEGER = StrategyKind(
    "integer",
    ("integer-eggroll",),
    size="population",
    evaluations="members x sequences",
    search="galab.training.integer_search:IntegerSearch",
    replay="galab.saved_runs.centre_replay:FactorReplay",
    row="galab.strategies.integer_eggroll:record_dtype",
)
KINDS = (GENETIC, RANDOM, EVOLUTION, GRADIENTS, VECTORS, INTEGER)
#: Of galab's own strategies.
STRATEGY_NAMES = tuple(name for kind in KINDS for name in kind.strategies)


def kind_of(strategy: str) -> StrategyKind:
    """The kind of a strategy.

    Args:
        strategy: as ``--strategy`` has it, with its arguments.
    """
    name = strategy.partition("(")[0].strip()
    for kind in KINDS:
        if name in kind.strategies:
            return kind
    return VECTORS if strategy.rstrip().endswith(")") else GENETIC


def label_of(strategy: str) -> str:
    """A strategy as tables and figures show it: one that uses gradients says so."""
    return f"{strategy} (gradients)" if kind_of(strategy).gradients else strategy


def load_reference(reference: str) -> Any:
    """The object behind a ``"module:name"`` of this table, whose module is imported only now."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)
