"""Every "choose for me" of a configuration, chosen: the rest of :mod:`galab.config.resolve`."""

from __future__ import annotations

import dataclasses
import secrets
from typing import Any

from galab.config import RunConfig
from galab.config.registry import STRATEGIES, TASKS
from galab.config.resolve import decide
from galab.config.strategy_kinds import kind_of
from galab.evaluation.numeric_profile import default_threads, resolve_device, resolve_precision
from galab.genome.step_sizes import sigma, snap

#: How long a run goes on that has no stop rule.
DEFAULT_GENERATIONS = 1000


def resolve(config: RunConfig) -> RunConfig:
    """The configuration with the seed drawn, step sizes snapped and every "choose for me" chosen.

    What is saved is then what was computed, also when it is run again on another machine.
    """
    config = decide(config)
    device = resolve_device(config.device)
    endless = config.generations is None and config.seconds is None and config.target is None
    return dataclasses.replace(
        config,
        generations=DEFAULT_GENERATIONS if endless else config.generations,
        seed=secrets.randbits(32) if config.seed is None else config.seed,
        device=device,
        precision=resolve_precision(config.precision, device),
        threads=config.threads or max(1, default_threads() // max(1, config.workers)),
        **_snapped(config),
    )


def _snapped(config: RunConfig) -> dict[str, Any]:
    """The step size of a genetic algorithm and its bounds on the grid of step sizes.

    All of them: if one alone were rounded, the step size could fall below a floor equal to it.
    """
    if config.sigma_floor is None:
        return {}
    names = ("sigma", "sigma_floor", "sigma_ceiling")
    return {name: float(sigma(snap(getattr(config, name)))) for name in names}


def default_name(config: RunConfig) -> str:
    """The name of a run that is given none, and of its curves in TensorBoard: its task and strategy."""
    strategy = STRATEGIES.parse(config.strategy).short
    return f"{TASKS.parse(config.task).short}-{strategy}{'-gradients' if kind_of(config.strategy).gradients else ''}"
