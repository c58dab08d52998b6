"""Episodes: a generation of small policies on CartPole beside a lockstep loop for this network alone, and EvoTorch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peers import client
from timing import Row, interleaved, ratio_row

from galab.errors import UsageError
from galab.evaluation.episode_evaluator import EpisodeEvaluator, EpisodeRules
from galab.genome.births import Birth
from galab.genome.initial import founders_of
from galab.genome.weights import Layout, to_float
from galab.models.policy import AtariPolicy, Policy
from galab.operators.es_noise import WeightVector
from galab.tasks.classic_control import CartPole
from galab.tasks.environments import cartpole
from galab.tasks.episodes import EpisodeTask

_MEMBERS, _EPISODES, _HIDDEN = 256, 4, 16
_LOOP_BAR, _PEER_BAR, _GYM_BAR = 0.9, 20.0, 1.0
#: Processor time of a generation on Atari that is not the emulator's, at most this share.
_ATARI_BAR, _NETWORKS = 0.3, 12


def episode_rows(rounds: int) -> list[Row]:
    """256 members x 4 episodes, MLP 4-16-2, and steps of the environment alone."""
    task, module = cartpole(), Policy((4,), 2, (_HIDDEN,), "tanh")
    own = dict(module.named_parameters())
    layout = Layout(tuple(own), tuple(tuple(value.shape) for value in own.values()))
    random = np.random.default_rng(0)
    weights = random.normal(0, 0.5, (_MEMBERS, layout.size)).astype(np.float32)
    members = [WeightVector(row) for row in weights]
    evaluator = EpisodeEvaluator(module, layout, task, chunk=_MEMBERS, device=torch.device("cpu"), rules=EpisodeRules())
    examples = task.sample(1, 1, _EPISODES)
    loop = _lockstep(dict(_split(layout, weights)), examples.targets.numpy())
    found, by_hand = evaluator.measure(members, examples), loop()
    if not np.array_equal(found.means["return"], by_hand.mean(1)):
        raise SystemExit("expected the returns of both sides to be equal, got others; nothing was timed")
    sides: dict[str, Callable[[], object]] = {"galab": lambda: evaluator.measure(members, examples), "loop": loop}
    times = interleaved(sides, rounds)
    speeds = {name: found.evaluations / (1e-3 * spent) for name, spent in times.items()}
    rows = [
        Row("CartPole, MLP 4-16-2, 256 members x 4 episodes: galab", speeds["galab"] / 1e6, "M steps/s"),
        Row("a lockstep loop in NumPy for this network alone", speeds["loop"] / 1e6, "M steps/s"),
        ratio_row("galab beside the loop", speeds["galab"], speeds["loop"], _LOOP_BAR, "least"),
    ]
    if client.available():
        theirs = client.episode_speed(_HIDDEN, _EPISODES)
        rows.append(Row("EvoTorch (GymNE)", theirs / 1e6, "M steps/s"))
        rows.append(ratio_row("galab beside EvoTorch", speeds["galab"], theirs, _PEER_BAR, "least"))
    return rows + _environment_rows(rounds) + _atari_rows()


def _split(layout: Layout, weights: NDArray[np.float32]) -> list[tuple[str, NDArray[np.float32]]]:
    parts = zip(layout.names, layout.starts, layout.sizes, layout.shapes, strict=True)
    return [(name, weights[:, at : at + size].reshape(-1, *shape)) for name, at, size, shape in parts]


def _lockstep(weights: Mapping[str, NDArray[np.float32]], starts: NDArray[np.int64]) -> Callable[[], Any]:
    """What a person writes who has NumPy, this network and this environment: all play until the last one is over."""
    first = np.ascontiguousarray(weights["hidden.0.weight"].transpose(0, 2, 1))
    second = np.ascontiguousarray(weights["output.weight"].transpose(0, 2, 1))
    biases = weights["hidden.0.bias"][:, None], weights["output.bias"][:, None]

    def play() -> NDArray[np.float64]:
        game = CartPole().play(np.tile(starts, len(first)))
        total = np.zeros(len(game.done))
        while not game.done.all():
            shown = game.observations.reshape(len(first), -1, 4)
            hidden = np.matmul(shown, first)
            hidden += biases[0]
            np.tanh(hidden, out=hidden)
            outputs = np.matmul(hidden, second)
            outputs += biases[1]
            total += game.step(outputs.reshape(-1, 2).argmax(1))
        return total.reshape(len(first), -1)

    return play


def _environment_rows(rounds: int) -> list[Row]:
    """The environment alone beside Gymnasium's own vector version, 256 episodes of which none is over."""
    try:
        import gymnasium
    except ImportError:
        return []
    actions = np.random.default_rng(1).integers(0, 2, (20, 256))
    theirs = gymnasium.make_vec("CartPole-v1", num_envs=256, vectorization_mode="vector_entry_point")

    def ours() -> None:
        game = CartPole().play(np.arange(256))
        for row in actions:
            game.step(row)

    def gym() -> None:
        theirs.reset(seed=1)
        for row in actions:
            theirs.step(row)

    times = interleaved({"galab": ours, "gymnasium": gym}, 20 * rounds)
    theirs.close()
    name = "steps of CartPole alone, 256 at once, beside Gymnasium's vector version"
    return [ratio_row(name, times["gymnasium"], times["galab"], _GYM_BAR, "least")]


class _Timed:
    """An environment that adds up the processor time that is spent in it: in the emulator, and making its pictures."""

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._environment, name)

    def play(self, starts: NDArray[np.int64]) -> Any:
        game = self._spent(lambda: self._environment.play(starts))
        step = game.step
        game.step = lambda actions: self._spent(lambda: step(actions))
        return game

    def _spent(self, action: Callable[[], Any]) -> Any:
        began = time.process_time()
        found = action()
        self.seconds += time.process_time() - began
        return found


def _atari_rows() -> list[Row]:
    """A generation of the genetic algorithm on Frostbite, 3 episodes each, without its validation."""
    try:
        from galab.tasks.atari import Atari

        environment = _Timed(Atari("frostbite", frames=1500))
    except UsageError:
        return []
    task = EpisodeTask(environment, validation=1, test=1)
    module = AtariPolicy(task.input_shape, task.outputs)
    own = dict(module.named_parameters())
    layout = Layout(tuple(own), tuple(tuple(value.shape) for value in own.values()))
    founders = founders_of(module, run_key=1)
    members = [WeightVector(to_float(founders.decode(Birth(number, (), 0, 0, 0, 0, 0)))) for number in range(_NETWORKS)]
    evaluator = EpisodeEvaluator(module, layout, task, chunk=4, device=torch.device("cpu"))
    environment.play(np.arange(12)).close()  # emulators are made once, and used again
    evaluator.measure(members[:1], task.sample(1, 1, 1))
    environment.seconds, began = 0.0, time.process_time()
    found = evaluator.measure(members, task.sample(1, 2, 3))
    whole = time.process_time() - began
    share, speed = 1 - environment.seconds / whole, found.spent["frames"] / whole / 1e3
    return [
        Row(f"Frostbite, small network, {_NETWORKS} members x 3 episodes", speed, "thousand frames/s"),
        Row("processor time that is not the emulator's", share, "of 1", _ATARI_BAR),
    ]
