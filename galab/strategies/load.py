"""Strategies by name: the class behind ``--strategy``, whether galab's own, a plugin's or one of the user's."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.config.parsing import arguments_for
from galab.config.registry import STRATEGIES
from galab.config.strategy_kinds import KINDS
from galab.contracts import VectorStrategy
from galab.errors import GalabError, UsageError
from galab.strategies.genetic import GeneticAlgorithm

#: What a class must have to be a strategy over weight vectors; see :class:`galab.contracts.VectorStrategy`.
_METHODS = ("ask", "tell", "state_dict", "load_state_dict")
#: What galab gives such a class itself.
_GIVEN = {
    "start": "use --init or --from",
    "run_key": "use --seed",
    "population": "use --population",
    "sigma": "use --sigma",
}


def canonical_strategy(text: str) -> str:
    """A strategy as a run saves it: its one spelling, from which its kind can be told without its code.

    A class from outside is loaded for that, so this is for what a person asked for and for nothing else.

    Args:
        text: as ``--strategy`` has it.

    Raises:
        UsageError: there is no such strategy, or the class follows neither contract.
    """
    call = STRATEGIES.parse(text)
    if any(call.name in kind.strategies for kind in KINDS):
        return str(call)
    if _is_genetic(STRATEGIES.load(text)):
        genetic_class(text if call.arguments else call.name)
        return call.name
    _check_vectors(text, STRATEGIES.load(text))
    return str(call) if call.arguments else f"{call.name}()"


def genetic_class(text: str) -> type[GeneticAlgorithm]:
    """The class of a strategy that breeds.

    Raises:
        UsageError: there is no such strategy, or it is of another kind.
    """
    kind: type[GeneticAlgorithm] = STRATEGIES.load(text)
    call = STRATEGIES.parse(text)
    if not _is_genetic(kind):
        _check_vectors(text, kind)
        raise UsageError(
            f"expected --strategy '{call.name}()', with brackets, as it is a strategy over weight vectors, got "
            f"'{text}'; add them"
        )
    if call.arguments:
        raise UsageError(
            f"expected --strategy {call.name} without arguments, as a genetic algorithm takes its options from flags, "
            f"got '{text}'; drop the brackets"
        )
    return kind


def vector_strategy(
    text: str, start: NDArray[np.float32], *, run_key: int, population: int, sigma: float
) -> VectorStrategy:
    """A strategy over weight vectors, at its start.

    Args:
        text: as ``--strategy`` has it.
        start: (D,) where the search begins.
        run_key: the run's key.
        population: P, members of a generation.
        sigma: the step size at the start, in weight units.

    Raises:
        UsageError: there is no such strategy, the class does not follow the contract, or it refuses an argument.
    """
    kind = STRATEGIES.load(text)
    _check_vectors(text, kind)
    call = STRATEGIES.parse(text)
    options = arguments_for(call, kind, "strategy", _GIVEN)
    try:
        made: VectorStrategy = kind(start.copy(), run_key=run_key, population=population, sigma=sigma, **options)
        generation, centre = made.generation, np.asarray(made.centre)
    except GalabError:
        raise
    except Exception as error:
        raise UsageError(
            f"expected strategy '{call.name}' to be made with start, run_key, population and sigma, and to have "
            f"generation and centre, got {type(error).__name__}: {error}; correct the class or its arguments"
        ) from error
    if generation != 0 or centre.shape != start.shape or centre.dtype != np.float32:
        raise UsageError(
            f"expected strategy '{call.name}' to begin at generation 0 with a centre of {start.size:,} float32 "
            f"weights, got generation {generation!r} and {centre.dtype} of shape {centre.shape}; correct the class"
        )
    return made


def _is_genetic(kind: Any) -> bool:
    return inspect.isclass(kind) and issubclass(kind, GeneticAlgorithm)


def _check_vectors(text: str, kind: Any) -> None:
    """Refuse what follows neither contract.

    The name may come out of a stranger's checkpoint and must not make us call any function there is.
    """
    if not (inspect.isclass(kind) and all(callable(getattr(kind, name, None)) for name in _METHODS)):
        raise UsageError(
            f"strategy '{text}': expected a subclass of galab's GeneticAlgorithm or a class with "
            f"{', '.join(_METHODS[:-1])} and {_METHODS[-1]} (see galab.contracts.VectorStrategy), got {kind!r:.80}; "
            "name such a class"
        )
