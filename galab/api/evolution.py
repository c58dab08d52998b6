"""Evolution strategies by hand: your own module, your own fitness, your own loop.

Sources: Salimans et al., arXiv 1703.03864 (OpenAI-ES); Sarkar et al., arXiv 2511.16652 (EGGROLL).
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from galab.api.arguments import check_choice, check_function, worded
from galab.api.population import Population, filled
from galab.api.scores import Failures, check_seed, read_scores, sign_of
from galab.api.state import check_fingerprint, fingerprint, portable, restored
from galab.config import RunConfig
from galab.config.fields import FIELDS
from galab.config.option import understands
from galab.config.resolve import decide
from galab.config.spelling import Spelling, spelled
from galab.config.traits import ending_schedules
from galab.contracts import Scores
from galab.errors import NoViableChildError, UsageError, closest
from galab.genome.initial import frozen_hash
from galab.genome.parameters import (
    choose_evolved,
    evolved_parameters,
    frozen_values,
    runnable,
    warn_of_unset_statistics,
)
from galab.genome.quantile_tables import make
from galab.genome.weights import Layout
from galab.operators.es_noise import Directions, Plan, plan_of
from galab.strategies.evolution import EvolutionStrategy, without_failures
from galab.training.callbacks import Callback, LoopCallbacks

#: How messages write what is called otherwise in ``galab run``.
ARGUMENTS = Spelling(
    flags=False,
    names={
        "population": "population_size", "lr": "learning_rate", "pairs": "antithetic", "shaping": "reward_shaping_fn",
    },
    phrases={
        ("strategy", "openai-es"): "rank=None",
        ("pairs", "antithetic"): "antithetic=True",
        ("pairs", "one-sided"): "antithetic=False",
    },
)  # fmt: skip
#: Of what only evolution strategies and baselines understand, what needs a task.
_NEEDS_TASK = ("groups",)
#: What genetic algorithms understand too.
_SHARED = ("sigma_schedule", "distribution", "generations")


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse what is no argument of an :class:`galab.ESOptimizer`.

    Raises:
        UsageError: the unknown name, and the closest one.
    """
    own = [
        name
        for name, item in FIELDS.items()
        if (name in _SHARED or (understands(item, "evolution") and not understands(item, "genetic")))
        and name not in (*ARGUMENTS.names, *_NEEDS_TASK, "rank", "optimizer")
    ]
    for name in options:
        if name not in own:
            other = ARGUMENTS.names.get(name)
            hint = f" Did you mean '{other}'?" if other else ""
            known = ["sigma", "seed", "rank", "optimizer", *ARGUMENTS.names.values(), *own]
            raise UsageError(f"no argument of an ESOptimizer is called '{name}'.{hint or closest(name, known)}")


logger = logging.getLogger("galab")
#: From the (N,) finite fitness as a float64 tensor on the CPU to (N,) scores.
RewardShaping = Callable[[Tensor], Any]


@dataclass(frozen=True, slots=True)
class Told:
    """What ``tell`` made of a generation.

    Attributes:
        generation: its number, from 1.
        fitness_mean, fitness_best, fitness_std: over the members with a finite fitness.
        failures: members without one.
        estimate_norm: length of the estimated gradient.
        change: length of the centre's step, in weight units.
    """

    generation: int
    fitness_mean: float
    fitness_best: float
    fitness_std: float
    failures: int
    estimate_norm: float
    change: float


class ESOptimizer:
    """Ask for a population, tell its fitness, and the weights move along the estimated gradient.

    Example::

        optimizer = galab.ESOptimizer(module, population_size=256, sigma=0.05, learning_rate=0.1)
        for generation in range(100):
            population = optimizer.ask()
            optimizer.tell(-((population.outputs(x) - y) ** 2).mean((1, 2)))

    Args:
        module: any ``nn.Module``. **It is changed**, as by an optimiser of torch: after every ``tell`` it has the
            weights of the centre. The search begins at its weights and stays on its device; parameters with
            ``requires_grad=False`` are left alone.
        population_size: members of a generation.
        sigma: how far members lie from the centre: standard deviation of a weight's noise, in weight units.
        learning_rate: of the optimiser, on the estimated gradient; with ``"sgd"`` and no shaping it means what it
            means in gradient descent.
        rank: r of EGGROLL's perturbations of matrices; None for noise of full rank (OpenAI-ES).
        optimizer: any of ``torch.optim`` by name, such as ``"adam"`` or ``"sgd(momentum=0.9)"``.
        reward_shaping_fn: what the estimate is made of: a function of the (N,) fitness, a tensor, that gives (N,)
            scores; or ``"raw"``, ``"z-score"``, ``"centred-ranks"``, ``"sign"``; None is raw. Failures have got the
            fitness of the worst before.
        antithetic: whether each direction is tried both ways; ``"auto"`` measures which is better.
        seed: key of all randomness.
        direction: ``"maximize"`` or ``"minimize"`` the fitness.
        callbacks: functions of a :class:`galab.training.callbacks.RunView`, called by :meth:`tell`, or objects with
            ``on_start``, ``on_generation`` and ``on_end``. Where one gives True, :attr:`stopped` says so.
        options: ``weight_decay``, ``clip``, ``lr_schedule``, ``sigma_schedule``, ``generations`` (how many, for the
            schedules that need it), ``noise_reuse``, ``distribution``, as ``galab run`` has them.

    Raises:
        UsageError: an argument is unknown, or wrong.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        population_size: int = 256,
        sigma: float = 0.02,
        learning_rate: float = 0.1,
        rank: int | None = 1,
        optimizer: str = "sgd",
        reward_shaping_fn: RewardShaping | str | None = None,
        antithetic: bool | str = True,
        seed: int = 0,
        direction: str = "maximize",
        callbacks: Sequence[Callback] = (),
        **options: Any,
    ) -> None:
        self._sign = sign_of(direction)
        check_choice("antithetic", antithetic, (True, False, "auto", "antithetic", "one-sided"))
        if reward_shaping_fn is not None and not isinstance(reward_shaping_fn, str):
            check_function("reward_shaping_fn", reward_shaping_fn, "a function of (N,) scores, a name, or None")
        options = worded(options)
        self._module = module
        shaping = reward_shaping_fn if isinstance(reward_shaping_fn, str) else "raw"
        self._shape = None if reward_shaping_fn is None or isinstance(reward_shaping_fn, str) else reward_shaping_fn
        pairs = antithetic if isinstance(antithetic, str) else "antithetic" if antithetic else "one-sided"
        check_options(options)
        check_seed(seed)
        self._template = runnable(module).eval()
        if not any(value.requires_grad for value in module.parameters()):
            raise UsageError(
                "expected a module with parameters to train, got none with requires_grad; call requires_grad_() on it"
            )
        warn_of_unset_statistics(self._template)
        choose_evolved(self._template)
        self._fixed = frozen_hash(_fixed_values(self._template))
        moved = evolved_parameters(self._template)
        self._layout = Layout(tuple(moved), tuple(tuple(value.shape) for value in moved.values()))
        device = next(iter(moved.values())).device
        start = torch.cat([value.detach().float().flatten() for value in moved.values()]).cpu().numpy()
        if not np.isfinite(start).all():
            raise UsageError("expected finite weights, got NaN or infinity; look at how the module was trained")
        with spelled(ARGUMENTS):
            asked = RunConfig(
                strategy="openai-es" if rank is None else "eggroll", population=population_size, sigma=sigma,
                lr=learning_rate, rank=1 if rank is None else rank, optimizer=optimizer, shaping=shaping, pairs=pairs,
                seed=seed, **options,
            )  # fmt: skip
            self.config = decide(asked)
            plan = _plan(self._layout, rank)
            law, cache = make(self.config.distribution), self.config.cache_mb << 20
            most = population_size // 2 if self.config.pairs == "antithetic" else population_size
            self._directions = Directions(plan, law, seed, device, cache, most)
            self._strategy = EvolutionStrategy(self.config, self._layout, start, self._directions, device)
        self._template.requires_grad_(False)
        self._failures = Failures()
        self._callbacks = LoopCallbacks(callbacks, self.config, self._network)
        self._asked: Population | None = None
        self._last: tuple[Population, int] | None = None

    @property
    def generation(self) -> int:
        """Generations done."""
        return self._strategy.generation

    @property
    def stopped(self) -> str | None:
        """Why a callback wants the search to end; None while none does."""
        return self._callbacks.stopped

    def end(self, reason: str) -> None:
        """Tell the callbacks that the search has ended, and why."""
        self._callbacks.ended(self.generation, reason)

    @property
    def module(self) -> nn.Module:
        """The module with the weights of the centre, in ``eval()``: a new copy each time."""
        return filled(copy.deepcopy(self._template), self._strategy.parameters)

    def _network(self) -> nn.Module:
        return self.module

    def current_parameters(self) -> dict[str, Tensor]:
        """The centre: name to tensor, copies."""
        return {name: value.detach().clone() for name, value in self._strategy.parameters.items()}

    def write_to(self, module: nn.Module) -> None:
        """Put the centre's weights into a module like the one that the search was made with.

        Raises:
            UsageError: the module has other parameters.
        """
        weights = self._strategy.parameters
        shapes = {name: tuple(value.shape) for name, value in weights.items()}
        there = {name: tuple(value.shape) for name, value in module.named_parameters()}
        frozen = {name for name, _ in self._template.named_parameters()} - set(shapes)
        wrong = [name for name in shapes if there.get(name) != shapes[name]] + sorted(set(there) - set(shapes) - frozen)
        if wrong:
            name = wrong[0]
            raise UsageError(
                f"expected a module with the parameters of the search's own, got '{name}' of shape "
                f"{there.get(name, 'none')} in the place of {shapes.get(name, 'none')}; give a module like that one"
            )
        filled(module, weights)

    def ask(self) -> Population:
        """The population to score; asked again before ``tell``, the same one."""
        self._callbacks.asked(self.generation)
        if self._asked is None:
            members = len(self._strategy.ask().births)
            generation = self.generation + 1
            self._asked = Population(
                self._template, self.current_parameters(), self._directions,
                noise=self._strategy.noise_of(generation), sigma=self._strategy.sigma(generation), members=members,
                antithetic=self._strategy.antithetic,
            )  # fmt: skip
        return self._asked

    def tell(self, fitness: ArrayLike | Tensor | Sequence[Any], failures: Mapping[int, str] | None = None) -> Told:
        """Move the centre.

        Args:
            fitness: one number per member of the last ``ask``, in its order: a list, an array or a tensor. NaN and the
                worst infinity are failures, which count as the worst of the others.
            failures: why members failed, by their place, where that is known.

        Raises:
            UsageError: ``ask`` was not called, these are not that many numbers, or the best infinity is among them
                and the estimate is a mean of scores (``reward_shaping_fn="centred-ranks"`` ranks it first).
            NoViableChildError: not one of them is finite; the centre stays and the same population may be told again.
        """
        if self._asked is None:
            raise UsageError("expected ask() before tell(), got tell(); call ask() and score the population it gives")
        values = read_scores(fitness, len(self._asked), self._sign)
        finite = ~np.isnan(values)
        reasons = dict(failures or {})
        reason = f" ({next(iter(reasons.values()))})" if reasons else ""
        generation = self.generation + 1
        if not finite.any():
            raise NoViableChildError(
                f"generation {generation}: expected a finite fitness from one member at least, got none of "
                f"{len(values)}{reason}; the centre has not moved: look at the fitness function, or try a smaller sigma"
            )
        failed = len(values) - int(finite.sum())
        what = f"{len(values)} members have no finite fitness{reason}; they count as the worst of the others"
        self._failures.tell(generation, failed, what)
        with spelled(ARGUMENTS):
            self._strategy.tell(Scores(self._shaped(values)))
        self._last, self._asked = (self._asked, int(np.argmax(np.where(finite, values, -np.inf)))), None
        step, good = self._strategy.step, values[finite]
        assert step is not None
        with np.errstate(invalid="ignore"):  # of infinities there is no deviation
            best, mean, deviation = self._sign * float(good.max()), self._sign * float(good.mean()), float(good.std())
        filled(self._module, self._strategy.parameters)
        self._warn_of_the_end(generation)
        told = Told(generation, mean, best, deviation, failed, step.norm, step.change)
        self._callbacks.told(generation, asdict(told), self._sign * values)
        return told

    def _warn_of_the_end(self, generation: int) -> None:
        """Say once that schedules have come to their end."""
        planned = self.config.generations
        if planned is not None and generation == planned + 1 and ending_schedules(self.config):
            logger.warning(
                "generation %d: the schedule ended with generation %d, as generations=%d said; it stays where it is",
                generation, planned, planned,
            )  # fmt: skip

    def best_member(self) -> nn.Module:
        """The member of the last generation that scored best, itself and not the centre.

        Raises:
            UsageError: nothing was told yet.
        """
        if self._last is None:
            raise UsageError("expected tell() before best_member(), got no generation yet; module is the centre")
        population, place = self._last
        return population[place]

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue, as numbers, texts and tensors: ``torch.load(weights_only=True)`` reads it."""
        return {
            "fingerprint": self._fingerprint(),
            "centre": {name: value.detach().cpu().clone() for name, value in self._strategy.parameters.items()},
            "strategy": portable(self._strategy.state_dict()),
        }

    def _fingerprint(self) -> dict[str, Any]:
        own = self._shape is not None
        direction = "maximize" if self._sign > 0 else "minimize"
        made = fingerprint(self.config, direction=direction, own_shaping=own, frozen_sha256=self._fixed)
        return {ARGUMENTS.names.get(name, name): value for name, value in made.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from ``state_dict``.

        Raises:
            UsageError: the state is that of another network, or was made with other arguments.
        """
        parts = [state.get(name) for name in ("centre", "strategy")] if isinstance(state, Mapping) else [None]
        if not all(isinstance(part, Mapping) for part in parts):
            raise UsageError(f"expected what state_dict() of an ESOptimizer gave, got {state!r:.80}")
        shapes = {name: tuple(np.shape(value)) for name, value in state["centre"].items()}
        own = dict(zip(self._layout.names, self._layout.shapes, strict=True))
        if shapes != own:
            other = next(name for name in (*own, *shapes) if own.get(name) != shapes.get(name))
            raise UsageError(
                f"expected the state of a network like this one, got another (they differ at '{other}': "
                f"{own.get(other)} here, {shapes.get(other)} there); make the optimiser with the module it came from"
            )
        check_fingerprint(state, self._fingerprint(), "an ESOptimizer")
        state = restored(state)
        flat = [np.asarray(state["centre"][name], dtype=np.float32).ravel() for name in self._layout.names]
        self._strategy.load_centre(np.concatenate(flat))
        self._strategy.load_state_dict(state["strategy"])
        self._asked = self._last = None
        filled(self._module, self._strategy.parameters)

    def _shaped(self, fitness: NDArray[np.float64]) -> NDArray[np.float64]:
        """The caller's own shaping, where there is one."""
        if self._shape is None:
            return fitness
        given = self._shape(torch.from_numpy(without_failures(fitness)))
        scores = np.asarray(given.detach().cpu() if isinstance(given, Tensor) else given, dtype=np.float64)
        if scores.shape != fitness.shape or not np.isfinite(scores).all():
            got = f"shape {scores.shape}" if scores.shape != fitness.shape else "numbers that are not finite"
            raise UsageError(
                f"expected reward_shaping_fn to give {len(fitness)} finite scores, one for each fitness, got {got}; "
                "correct it"
            )
        return scores


def _fixed_values(module: nn.Module) -> dict[str, NDArray[Any]]:
    """What a search does not move: frozen parameters and buffers."""
    buffers = {name: value.detach().cpu().double().numpy() for name, value in module.named_buffers()}
    return frozen_values(module) | buffers


def _plan(layout: Layout, rank: int | None) -> Plan:
    """Factors for every matrix: a network whose functions have no low-rank rule is run with its weights formed."""
    # A matrix has more than one row and more than one column, the axes after the first taken together.
    matrices = [
        name
        for name, shape in zip(layout.names, layout.shapes, strict=True)
        if len(shape) > 1 and shape[0] > 1 and np.prod(shape[1:]) > 1
    ]
    return plan_of(layout, rank, matrices)
