"""What goes together in the baselines that use gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from galab.errors import UsageError
from galab.evolution_compatibility import check_evolution, check_random
from galab.schedules import parse_rate_schedule
from galab.specs import SMOOTH, parse_fitness

if TYPE_CHECKING:
    from galab.config import RunConfig

#: Optimisers under whose name a baseline may go.
_NAMED = {"sgd": ("sgd",), "adam": ("adam", "adamw")}
#: What only makes sense of many members, with the values that say nothing.
_OF_MEMBERS = {
    "workers": (0,), "chunk": (0, 1), "compile": ("auto", "off"), "norm_penalty": (0.0,),
    "precision": ("auto", "float32"),
}  # fmt: skip
_WHY = {
    "workers": "a step follows from the one before, on one network; use --threads",
    "chunk": "one network is computed at a time; drop it",
    "compile": "forwards and backwards are computed as torch does; drop it",
    "norm_penalty": "the loss is the task's; use --weight-decay",
    "precision": "gradients are computed in float32; drop it",
}


def check_gradients(config: RunConfig) -> None:
    """Refuse values that are right alone and wrong together under ``--strategy sgd`` or ``adam``."""
    strategy = f"--strategy {config.strategy}"
    spec = parse_fitness(config.fitness)
    if spec.kind != "absolute" or len(spec.bases) > 1 or spec.bases[0] not in SMOOTH:
        raise UsageError(
            f"expected a fitness with a gradient with {strategy}, got --fitness {config.fitness}; use "
            f"{' or '.join(SMOOTH)}, or a strategy that needs no gradient, such as ga or eggroll"
        )
    name = config.optimizer.partition("(")[0].strip().lower()
    if name not in _NAMED[config.strategy]:
        other = next((one for one, names in _NAMED.items() if name in names), None)
        raise UsageError(
            f"expected --optimizer {' or '.join(_NAMED[config.strategy])} with {strategy}, got {config.optimizer}: a "
            f"run is called by what it does; {f'use --strategy {other}' if other else 'drop it'}"
        )
    for field, values in _OF_MEMBERS.items():
        value = getattr(config, field)
        if value not in values:
            flag = "--" + field.replace("_", "-")
            raise UsageError(f"expected no {flag} with {strategy}, got {value}: {_WHY[field]}")
    schedule = config.lr_schedule
    if parse_rate_schedule(schedule, "--lr-schedule").needs_end and config.generations is None:
        raise UsageError(
            f"expected --generations with --lr-schedule {schedule}, got none: it ends when the run does; name the "
            "number of steps, or use decay:0.999"
        )


#: What is checked of searches that are no genetic algorithm.
OTHERS = {"random": (check_random,), "evolution": (check_evolution,), "gradients": (check_gradients,)}
