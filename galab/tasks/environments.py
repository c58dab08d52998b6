"""Environments by the names of ``--task``."""

from __future__ import annotations

from typing import Any

from galab.tasks.episodes import TEST, VALIDATION, EpisodeTask


def _classic(name: str, validation: int, test: int, options: dict[str, Any]) -> EpisodeTask:
    from galab.tasks.classic_control import ENVIRONMENTS

    return EpisodeTask(ENVIRONMENTS[name](**options), validation=validation, test=test)


def cartpole(steps: int = 500, validation: int = VALIDATION, test: int = TEST) -> EpisodeTask:
    """A pole on a cart that has to stay upright; solved from a return of 475 of 500 on (CartPole-v1)."""
    return _classic("cartpole", validation, test, {"steps": steps})


def acrobot(steps: int = 500, validation: int = VALIDATION, test: int = TEST) -> EpisodeTask:
    """Two links that have to swing up; solved from a return of -100 on (Acrobot-v1)."""
    return _classic("acrobot", validation, test, {"steps": steps})


def pendulum(steps: int = 200, validation: int = VALIDATION, test: int = TEST) -> EpisodeTask:
    """A pendulum that has to be swung up and held, by a force; good from about -200 on (Pendulum-v1)."""
    return _classic("pendulum", validation, test, {"steps": steps})


def mountain_car(steps: int = 200, validation: int = VALIDATION, test: int = TEST) -> EpisodeTask:
    """A car too weak for its hill; solved from a return of -110 on (MountainCar-v0)."""
    return _classic("mountain-car", validation, test, {"steps": steps})


def mountain_car_continuous(steps: int = 999, validation: int = VALIDATION, test: int = TEST) -> EpisodeTask:
    """The same with a force, whose use costs; solved from a return of 90 on (MountainCarContinuous-v0)."""
    return _classic("mountain-car-continuous", validation, test, {"steps": steps})


def gym(
    id: str, steps: int | None = None, validation: int = VALIDATION, test: int = TEST, **options: Any
) -> EpisodeTask:
    """An environment of Gymnasium by its id, or one of your own as FILE.py:function (extra 'rl')."""
    from galab.tasks.gymnasium_environments import gym as made

    return EpisodeTask(made(id, steps=steps, **options), validation=validation, test=test)


def atari(
    game: str, noops: int = 30, sticky: float = 0.0, frames: int = 108_000, all_actions: bool = False,
    validation: int = VALIDATION, test: int = TEST,
) -> EpisodeTask:  # fmt: skip
    """An Atari game by its name, 84 x 84 x 4, unclipped score (extra 'rl')."""
    from galab.tasks.atari import Atari

    environment = Atari(game, noops=noops, sticky=sticky, frames=frames, all_actions=all_actions)
    return EpisodeTask(environment, validation=validation, test=test)
