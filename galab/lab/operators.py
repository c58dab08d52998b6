"""Operators by name, for runs and for what comes from strangers."""

from __future__ import annotations

import inspect
from typing import Any

from galab.errors import UsageError
from galab.genome.decode import Mutation
from galab.genome.noise import Table
from galab.mutation.step_size import StepSizeRule
from galab.registry import MUTATIONS, STEP_SIZE_RULES, STRATEGIES, Registry
from galab.strategies.genetic import GeneticAlgorithm


def mutation(name: str, run_key: int, law: Table) -> Mutation:
    """The mutation operator behind a name.

    Raises:
        UsageError: the name is unknown or is no mutation.
    """
    operator: Mutation = _class(MUTATIONS, name, "apply")(run_key, law)
    return operator


def step_size_rule(name: str, run_key: int, rate: float | None) -> StepSizeRule:
    """The rule behind a name that adapts the step size.

    Raises:
        UsageError: the name is unknown or is no such rule.
    """
    rule: StepSizeRule = _class(STEP_SIZE_RULES, name, "mutate")(run_key, rate)
    return rule


def strategy_class(name: str) -> type[GeneticAlgorithm]:
    """The search behind a name.

    Raises:
        UsageError: the name is unknown or is no search.
    """
    kind: type[GeneticAlgorithm] = _class(STRATEGIES, name, "from_config")
    return kind


def _class(registry: Registry, name: str, method: str) -> Any:
    """The class behind a name.

    The name may come out of somebody else's checkpoint or genome and must not make us call any function there is,
    such as ``shutil:rmtree`` with a "run key" of their choice; so it must lead to a class with the method.
    """
    kind = registry.load(name)
    if not (inspect.isclass(kind) and callable(getattr(kind, method, None))):
        raise UsageError(
            f"{registry.kind} '{name}': expected a class with a method {method}, got {kind!r:.80}; name such a class"
        )
    return kind
