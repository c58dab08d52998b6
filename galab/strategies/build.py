"""Operators and strategies by name: galab's own, a plugin's, or a class in a file of the user's.

What a name leads to is checked before it is used, because the name may come out of a stranger's checkpoint.
"""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.config import RunConfig
from galab.config.parsing import (
    Call,
    arguments_for,
    parse_factors,
    parse_mutations,
)
from galab.config.registry import CROSSOVERS, MUTATIONS, STEP_SIZE_RULES, STRATEGIES, Registry
from galab.config.schedules import parse_schedule
from galab.config.spelling import OptionError
from galab.config.strategy_kinds import KINDS, VECTORS, kind_of
from galab.config.traits import BY_USE, CONTROLS, by_use
from galab.contracts import VectorStrategy
from galab.errors import GalabError, UsageError, pass_interrupts
from galab.genome.develop import Developer, Mutation, Recombination
from galab.genome.initial import Founders
from galab.genome.random import Table
from galab.genome.step_sizes import Steps, snap
from galab.genome.weights import Layout
from galab.operators.step_size import PopulationStepSize, StepSizeRule
from galab.strategies.genetic import GeneticAlgorithm

#: Arguments of mutations that are also hyperparameters of the run, which say what they may be.
_OPTIONS = {"count": "mutate_count", "rank": "mutate_rank", "beta": "momentum"}
_GIVEN = {"run_key": "use --seed", "law": "use --distribution"}


def developer(config: RunConfig, founders: Founders, law: Table) -> Developer:
    """What carries out the births of a run.

    Args:
        config: the run's configuration.
        founders: the recipe for generation 0.
        law: the table of its mutations' distribution.

    Raises:
        UsageError: an operator is unknown or is none, ``--mutate-count`` is larger than the network, or there are too
            many or too few ``--sigma-factors``.
    """
    steps = steps_of(config, founders.layout)
    run_key = founders.run_key
    rule = step_size_rule(config, run_key)
    mutations = [mutation(str(call), run_key, law, config) for call, _ in parse_mutations(config.mutate)]
    for (call, _), operator in zip(parse_mutations(config.mutate), mutations, strict=True):
        heads = getattr(operator, "heads", None)
        if heads in BY_USE and heads != by_use(call):
            raise OptionError(
                "expected '{name}' to say in brackets that the search chooses memories, as in '{name}(heads={heads})', "
                "got a class that does so by itself; write it into {mutate}",
                name=call.name, heads=heads,
            )  # fmt: skip
        if (check := getattr(operator, "check", None)) is not None:
            check(founders.layout)
    recombination = crossover(config.crossover, run_key)
    _check_own_gene_law(config, recombination, mutations)
    _check_count(config, steps)
    return Developer(
        founders,
        steps,
        mutations,
        crossover=recombination,
        rule=None if config.granularity == "global" or isinstance(rule, PopulationStepSize) else rule,
        inherit=config.step_size_inherit,
        gene_bytes=config.cache_mb << 20,
    )


def _check_count(config: RunConfig, steps: Steps) -> None:
    """Refuse more moving weights than there are before a run begins; the operator itself runs too late for that."""
    size = sum(part.stop - part.start for part in steps.free)
    calls = [call for call, _ in parse_mutations(config.mutate) if call.name == "weights"]
    counts = [_configured(call, config).mutate_count for call in calls]
    if max(counts, default=0) > size:
        raise OptionError(
            "expected {mutate_count} at most {size}, the number of weights that may move, got {got}; lower it",
            size=size, got=max(counts),
        )  # fmt: skip


def _check_own_gene_law(config: RunConfig, crossover: Recombination | None, mutations: list[Mutation]) -> None:
    """Refuse what a gene law cannot do; those of the registry are told by their names, before anything is loaded."""
    if crossover is None or not crossover.genetic:
        return
    if config.founders != "clones":
        raise OptionError(
            "expected {founders:clones} with the gene law {crossover.given}, got distinct: gene laws add mutations to "
            "one base; name {founders:clones}",
            config,
        )
    if not all(operator.context_free for operator in mutations):
        raise OptionError(
            "expected a mutation that is the same in every individual with the gene law {crossover.given}, got "
            "{mutate.value}; use dense",
            config,
        )


def steps_of(config: RunConfig, layout: Layout) -> Steps:
    """How step sizes lie over the network's weights.

    Raises:
        UsageError: ``--sigma-factors`` does not have one factor per layer, or every parameter is frozen.
    """
    frozen = [number for number, shape in enumerate(layout.shapes) if len(shape) < 2 and config.mutate_biases == "off"]
    if len(frozen) == len(layout.shapes):
        raise OptionError(
            "expected a parameter with two axes or more with {mutate_biases:off}, got none, so nothing would move; use "
            "{mutate_biases:on}"
        )
    factors = None
    if config.sigma_factors is not None:
        given, layers = parse_factors(config.sigma_factors), layout.layers
        if len(given) != max(layers) + 1:
            raise OptionError(
                "expected one {sigma_factors} for each of {count} layers, got {got}; the layers are {names}",
                count=max(layers) + 1, got=len(given),
                names=", ".join(dict.fromkeys(name.rpartition(".")[0] or name for name in layout.names)),
            )  # fmt: skip
        factors = [snap(given[layer]) for layer in layers]
    floor = 2.0**-24 if config.sigma_floor is None else config.sigma_floor
    return Steps(
        layout,
        config.granularity,
        factors=factors,
        frozen=frozen,
        low=snap(floor),
        high=snap(config.sigma_ceiling),
        relative=(
            None if config.floor_rms is None else snap(config.floor_rms),
            None if config.ceiling_rms is None else snap(config.ceiling_rms),
        ),
    )


def rank_of(config: RunConfig) -> int:
    """The rank of a run whose only operator is ``low-rank``."""
    (call, _), *_ = parse_mutations(config.mutate)
    return _configured(call, config).mutate_rank


def mutation(name: str, run_key: int, law: Table, config: RunConfig) -> Mutation:
    """The mutation operator behind a name; it is given those of the run's options that its constructor names.

    Arguments in brackets, ``weights(count=3)``, come before the run's options.

    Raises:
        UsageError: the name is unknown or is no mutation, or it has no such arguments.
    """
    call, kind = MUTATIONS.parse(name), _class(MUTATIONS, name, "apply")
    own = arguments_for(call, kind, "mutation", _GIVEN)
    config = _configured(call, config)
    options = {argument: getattr(config, name) for argument, name in _OPTIONS.items()}
    operator: Mutation = _made(kind, (run_key, law), options | own, call.name)
    return operator


def _configured(call: Call, config: RunConfig) -> RunConfig:
    """The configuration that one operator of a mix sees; the bounds of the run's options hold for it too."""
    own = {name: call.arguments[argument] for argument, name in _OPTIONS.items() if argument in call.arguments}
    return dataclasses.replace(config, **own) if own else config


def crossover(name: str, run_key: int) -> Recombination | None:
    """The crossover behind a name; none for ``none``.

    Raises:
        UsageError: the name is unknown or is no crossover.
    """
    if name == "none":
        return None
    operator: Recombination = _class(CROSSOVERS, name, "combine")(run_key)
    return operator


def step_size_rule(config: RunConfig, run_key: int) -> StepSizeRule | PopulationStepSize:
    """The rule that adapts step sizes.

    Raises:
        UsageError: the name is unknown or is no such rule.
    """
    # A random search has no step size that could be adapted.
    name = config.step_size if kind_of(config.strategy).inherits else "fixed"
    assert name is not None, "a resolved configuration"
    options: dict[str, Any] = {
        "down": config.step_size_down,
        "reversion": config.step_size_reversion,
        "groups": config.step_size_groups,
        "start": snap(config.sigma),
        "points": parse_schedule(config.sigma_schedule) if config.sigma_schedule else (),
    }
    kind = _class(STEP_SIZE_RULES, name, "propose" if name in CONTROLS else "mutate")
    rule: StepSizeRule | PopulationStepSize = _made(kind, (run_key, config.step_size_rate), options, name)
    return rule


def _made(kind: Any, arguments: tuple[Any, ...], options: dict[str, Any], called: str) -> Any:
    known = inspect.signature(kind).parameters
    try:
        return kind(*arguments, **{name: value for name, value in options.items() if name in known})
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"expected '{called}' to build, got {type(error).__name__}: {error}; correct it or its arguments"
        ) from error


def _class(registry: Registry, name: str, method: str) -> Any:
    """The class behind a name.

    The name may come from a stranger's checkpoint or genome, and must not make galab call just any function,
    such as ``shutil:rmtree`` with a "run key" of their choice; so it must lead to a class with the method.
    """
    kind = registry.load(name)
    if not (inspect.isclass(kind) and callable(getattr(kind, method, None))):
        raise UsageError(
            f"{registry.kind} '{name}': expected a class with a method {method}, got {kind!r:.80}; name such a class"
        )
    return kind


#: What a class must have to be a strategy over weight vectors; see :class:`galab.contracts.VectorStrategy`.
_METHODS = ("ask", "tell", "state_dict", "load_state_dict")
#: What galab gives such a class itself.
_GIVEN_BY_GALAB = {
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
    options = arguments_for(call, kind, "strategy", _GIVEN_BY_GALAB)
    return vector_strategy_of(
        kind, start, called=call.name, run_key=run_key, population=population, sigma=sigma, **options
    )


def vector_class(text: str) -> Any:
    """The class of a strategy over weight vectors, by its name or as ``FILE.py:Class``, with options or without.

    Raises:
        UsageError: there is no such strategy, or it is of another kind.
    """
    call = STRATEGIES.parse(text)
    own = [name for kind in KINDS if kind is not VECTORS for name in kind.strategies]
    kind = None if call.name in own else STRATEGIES.load(text)
    if kind is None or _is_genetic(kind):
        raise UsageError(
            f"expected a strategy over vectors, which are {', '.join(VECTORS.strategies)} and FILE.py:Class, got "
            f"'{call.name}', which needs a network; choose one of them"
        )
    _check_vectors(text, kind)
    return kind


def vector_strategy_of(
    kind: Any, start: NDArray[np.floating[Any]], *, called: str, **arguments: Any
) -> VectorStrategy:
    """A strategy over weight vectors from its class, at its start.

    Args:
        kind: the class.
        start: (D,) where the search begins; a class with ``exact_members`` gets it as it is, another one in float32.
        called: its name, for messages.
        arguments: ``run_key``, ``population``, ``sigma`` and the class's own.

    Raises:
        UsageError: the class does not follow the contract, or it refuses an argument.
    """
    exact = hasattr(kind, "exact_members")
    try:
        made: VectorStrategy = kind(start.copy() if exact else start.astype(np.float32), **arguments)
        generation, centre = made.generation, np.asarray(made.centre)
    except GalabError:
        raise
    except BaseException as error:
        pass_interrupts(error)
        raise UsageError(
            f"expected strategy '{called}' to be made with start, run_key, population and sigma, and to have "
            f"generation and centre, got {type(error).__name__}: {error}; correct the class or its arguments"
        ) from error
    if generation != 0 or centre.shape != start.shape or centre.dtype != np.float32:
        raise UsageError(
            f"expected strategy '{called}' to begin at generation 0 with a centre of {start.size:,} float32 "
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
