"""Every hyperparameter, named once.

The CLI flags, ``config.json``, the TensorBoard hparams and the checkpoints all derive from the fields of
:class:`RunConfig`: a field's metadata holds its help, unit, bounds and choices.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from galab.distribution import TABLE_HASHES, parse
from galab.errors import UsageError, closest
from galab.registry import MODELS, MUTATIONS, STEP_SIZE_RULES, STRATEGIES, TASKS, Registry


def option(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | Registry | None = None,
    beyond: Callable[[str], object] | None = None,
    group: str,
    changeable: bool = False,
    flag: str | None = None,
) -> Any:
    """A dataclass field that is also a command-line flag.

    Args:
        default: the value when nobody says otherwise; None means "not set".
        help: one sentence, with the unit.
        low: smallest value allowed, itself included.
        high: largest value allowed, itself included.
        choices: the words allowed, or the registry of names.
        beyond: reads what is not one of the words, or raises a UsageError.
        group: the heading under which ``--help`` shows it.
        changeable: whether ``galab resume`` may change it without changing what the run means.
        flag: the command-line spelling, where it is not the field's name (``from`` is a word of Python).
    """
    metadata = {
        "help": help,
        "low": low,
        "high": high,
        "choices": choices,
        "beyond": beyond,
        "group": group,
        "changeable": changeable,
        "flag": flag,
    }
    return field(default=default, metadata=metadata)


PROBLEM, POPULATION, MUTATION = "Problem", "Population", "Mutation"
EVALUATION, STOP, RECORD = "Evaluation", "Stop when", "Record"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """All that decides what a run computes, when it stops and what it records."""

    task: str = option("mnist", "What to learn.", choices=TASKS, group=PROBLEM)
    data: str = option(
        "auto",
        "Which data: the full set, the embedded subset (extra 'offline'), or full if it can be had.",
        choices=("auto", "full", "subset"),
        group=PROBLEM,
    )
    model: str = option("mlp", "The network: a name, or FILE.py:Class for your own.", choices=MODELS, group=PROBLEM)
    hidden: str | None = option(
        None, "Units per hidden layer, separated by commas; each model has its own default.", group=PROBLEM
    )
    activation: str = option(
        "relu", "Non-linearity between layers.", choices=("relu", "tanh", "gelu", "silu", "sigmoid"), group=PROBLEM
    )
    init: str | None = option(None, "Start from the weights in this .pt file (a state_dict).", group=PROBLEM)
    origin: str | None = option(
        None, "Start from the parents of another run or checkpoint, as a new run.", group=PROBLEM, flag="--from"
    )
    strategy: str = option("ga", "How to search.", choices=STRATEGIES, group=PROBLEM)
    seed: int | None = option(
        None, "Key of all randomness; drawn, printed and saved when absent.", low=0, high=2**63 - 1, group=PROBLEM
    )

    parents: int = option(8, "Individuals that breed.", low=1, high=100_000, group=POPULATION)
    children: int = option(32, "Children born per generation.", low=1, high=1_000_000, group=POPULATION)
    elites: int = option(
        0, "Best parents that compete with the children for the next generation.", low=0, group=POPULATION
    )
    survival: str = option(
        "comma",
        "comma: children (and elites) only; plus: every parent competes too.",
        choices=("comma", "plus"),
        group=POPULATION,
    )
    ties: str = option(
        "younger", "Which of two equal scores ranks first.", choices=("younger", "older", "random"), group=POPULATION
    )

    mutate: str = option("dense", "Mutation operator.", choices=MUTATIONS, group=MUTATION)
    distribution: str = option(
        "normal",
        "Law of a mutation, scaled to unit variance; also a law of scipy.stats, such as 'scipy:t(df=5)', or "
        "table:FILE, samples in a .npy, .txt or .csv file.",
        choices=tuple(TABLE_HASHES),
        beyond=parse,
        group=MUTATION,
    )
    sigma: float = option(
        0.02, "Step size at the start, in weight units; snapped to the grid 2^(k/256).", low=2**-20, high=8.0,
        group=MUTATION,
    )
    step_size: str = option("log-normal", "Rule that adapts the step size.", choices=STEP_SIZE_RULES, group=MUTATION)
    step_size_rate: float | None = option(
        None, "Strength of the rule, in octaves per birth; each rule has its own default.", low=0.0, high=8.0,
        group=MUTATION,
    )
    sigma_floor: float | None = option(
        None, "Smallest step size allowed; 1/32 of --sigma when absent.", low=2**-24, high=8.0, group=MUTATION
    )
    sigma_ceiling: float = option(8.0, "Largest step size allowed.", low=2**-20, high=8.0, group=MUTATION)

    fitness: str = option(
        "cross-entropy",
        "Score of a member, higher is better: negated mean cross-entropy, or the share right.",
        choices=("cross-entropy", "accuracy"),
        group=EVALUATION,
    )
    batch: int = option(
        2048, "Training examples that score a generation, the same for all members; 0 takes all.", low=0,
        group=EVALUATION,
    )
    precision: str = option(
        "bfloat16", "Arithmetic of the fitness; validation and test always use float32.",
        choices=("float32", "bfloat16"), group=EVALUATION,
    )
    device: str = option("auto", "Where to compute.", choices=("auto", "cpu", "cuda"), group=EVALUATION)
    chunk: int = option(
        0, "Members evaluated at once; 0 chooses by the size of a generation.", low=0, high=65_536, group=EVALUATION
    )
    threads: int = option(0, "CPU threads; 0 takes every core.", low=0, high=1024, group=EVALUATION)
    cache_mb: int = option(
        256, "Memory for decoded individuals, in MiB; living parents are always kept.", low=1, group=EVALUATION,
        changeable=True,
    )

    generations: int | None = option(None, "generations have passed.", low=1, group=STOP, changeable=True)
    seconds: float | None = option(
        None, "seconds have been spent, over all sittings.", low=0.001, group=STOP, changeable=True
    )
    target: float | None = option(
        None, "the champion's validation accuracy reaches this share.", low=0.0, high=1.0, group=STOP, changeable=True
    )

    report_every: int = option(
        25, "Generations between two scores on validation and test data.", low=1, group=RECORD
    )
    save_every: int = option(100, "Generations between two checkpoints.", low=1, group=RECORD, changeable=True)
    keep: str = option(
        "log", "Checkpoints kept: 'all', 'log' (newest two and about eight per factor of ten), or a number.",
        group=RECORD, changeable=True,
    )

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            _check(item, getattr(self, item.name))
        _check_together(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``config.json`` and the checkpoint."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RunConfig:
        """A configuration from plain data.

        Raises:
            UsageError: an unknown name, a value of the wrong type, or one out of bounds.
        """
        known = [item.name for item in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise UsageError(f"no hyperparameter is called '{name}'.{closest(name, known)} See `galab run --help`.")
        return cls(**values)

    def on(self, device: str) -> RunConfig:
        """The same configuration on another device."""
        return dataclasses.replace(self, device=device)

    def changed(self, other: RunConfig) -> dict[str, tuple[Any, Any]]:
        """Names whose values differ, each with this configuration's value and the other's."""
        pairs = {item.name: (getattr(self, item.name), getattr(other, item.name)) for item in dataclasses.fields(self)}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def flag(name: str) -> str:
    """The command-line spelling of a field: ``save_every`` is ``--save-every``."""
    spelled: str | None = RunConfig.__dataclass_fields__[name].metadata["flag"]
    return spelled or "--" + name.replace("_", "-")


def _check(item: dataclasses.Field[Any], value: Any) -> None:
    """Refuse a value of the wrong type, out of bounds or not among the choices."""
    if value is None and item.default is None:
        return
    kind = field_type(item.name)
    accepted = isinstance(value, kind) or (kind is float and isinstance(value, int))
    if not accepted or isinstance(value, bool):
        raise UsageError(f"expected {flag(item.name)} to be of type {kind.__name__}, got {value!r}")
    low, high, choices = (item.metadata[key] for key in ("low", "high", "choices"))
    if isinstance(value, (int, float)):
        # A whole number may be too large for math.isfinite.
        finite = isinstance(value, int) or math.isfinite(value)
        if not finite or (low is not None and value < low) or (high is not None and value > high):
            bounds = f"at least {low}" if high is None else f"between {low} and {high}"
            raise UsageError(f"expected {flag(item.name)} {bounds}, got {value}")
    if isinstance(choices, Registry):
        choices.check(value)
    elif item.metadata["beyond"] is not None:
        item.metadata["beyond"](value)
    elif choices is not None and value not in choices:
        raise UsageError(
            f"expected {flag(item.name)} to be one of {', '.join(choices)}, got '{value}'."
            f"{closest(value, list(choices))}"
        )


@functools.cache  # evaluating the hints of all fields takes longer than everything else here
def field_type(name: str) -> type:
    """The type of a field, without the "or None"."""
    hint = get_type_hints(RunConfig)[name]
    arguments = [kind for kind in getattr(hint, "__args__", ()) if kind is not type(None)]
    return arguments[0] if arguments else hint


def _check_together(config: RunConfig) -> None:
    """Refuse values that are right alone and wrong together."""
    if config.elites > config.parents:
        raise UsageError(
            f"expected --elites at most --parents ({config.parents}), got {config.elites}; only parents can be elites"
        )
    if config.survival == "comma" and config.children + config.elites < config.parents:
        raise UsageError(
            f"expected --children plus --elites at least --parents ({config.parents}), got "
            f"{config.children} + {config.elites}; have more children, or use --survival plus"
        )
    floor = 0.0 if config.sigma_floor is None else config.sigma_floor
    if not floor <= config.sigma <= config.sigma_ceiling:
        raise UsageError(
            f"expected --sigma between --sigma-floor ({floor:g}) and --sigma-ceiling "
            f"({config.sigma_ceiling:g}), got {config.sigma:g}"
        )
    hidden_sizes(config.hidden)
    if config.keep not in ("all", "log") and not (config.keep.isdecimal() and int(config.keep) >= 1):
        raise UsageError(f"expected --keep to be 'all', 'log' or a number of at least 1, got '{config.keep}'")


def hidden_sizes(text: str | None) -> tuple[int, ...] | None:
    """``"256,128"`` as ``(256, 128)``; an empty text is no hidden layer, None stays None.

    Raises:
        UsageError: a part is not a whole number of at least 1.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() and int(part) >= 1 for part in parts):
        raise UsageError(f"expected --hidden as whole numbers separated by commas, such as 256,128, got '{text}'")
    return tuple(int(part) for part in parts)
