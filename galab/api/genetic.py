"""The genetic algorithm by hand: your own module, your own fitness function, your own loop."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from galab.api.arguments import check_choice, worded
from galab.api.member_slot import MemberSlot
from galab.api.scores import Failures, check_seed, read_objectives, read_scores, sign_of
from galab.api.state import check_fingerprint, fingerprint, portable, restored
from galab.config import RunConfig
from galab.config.fields import FIELDS
from galab.config.option import understands
from galab.config.resolve import decide
from galab.config.run_config import check_given
from galab.config.spelling import PYTHON, spelled
from galab.config.traits import needs_behaviour
from galab.contracts import Scores
from galab.errors import LethalMutationError, NoViableChildError, UsageError, closest
from galab.genome.decoder import Decoder
from galab.genome.domain import domain_of
from galab.genome.initial import founders_given, founders_of, like_torchs_own
from galab.genome.parameters import choose_evolved, evolved_parameters, runnable, warn_of_unset_statistics
from galab.genome.quantile_tables import make
from galab.genome.weights import Layout, Phenotype
from galab.operators.nsga2 import fronts
from galab.operators.selection import BEST, with_best
from galab.strategies.build import developer, step_size_rule
from galab.strategies.genetic import GeneticAlgorithm
from galab.training.callbacks import Callback, LoopCallbacks
from galab.training.checkpoint import members_of, members_to_state

logger = logging.getLogger("galab")

#: What a Search has in the place of hyperparameters of a run.
_ELSEWHERE = {
    "init": "keep_weights=True begins with the module's own weights, keep_weights=False draws them.",
    "freeze": "Parameters with requires_grad=False are left alone: call requires_grad_(False) on them.",
    "population": "It is children here.",
    "lr": "A genetic algorithm has none; galab.ESOptimizer does.",
    "strategy": "A Search is a genetic algorithm; galab.ESOptimizer is an evolution strategy.",
    "generations": "Call ask() and tell() as often.",
}
#: Below so many weights, trained ones may look like those that torch draws.
_FEW = 200
#: Below so many weights, a network is made sooner than it is handed to another thread.
_ONE_THREAD = 20_000

Made = TypeVar("Made")


class Networks(list[nn.Module]):
    """The networks of a generation.

    Args:
        networks: in order.
        template: what they are copies of, but for the parameters that evolve.
        names: of those.
    """

    def __init__(self, networks: Sequence[nn.Module], template: nn.Module, names: Sequence[str]) -> None:
        super().__init__(networks)
        self.template = template
        self.names = tuple(names)
        self._asked = tuple(networks)

    def untouched(self) -> bool:
        """Whether they are those that were asked for, and differ from the template in what evolves alone."""
        if len(self) != len(self._asked) or any(one is not asked for one, asked in zip(self, self._asked, strict=True)):
            return False
        own = _fixed_values(self.template, self.names)
        return all(
            name in own and value.dtype == own[name].dtype and torch.equal(value, own[name])
            for network in self
            for name, value in _fixed_values(network, self.names).items()
        )


def _fixed_values(network: nn.Module, evolved: tuple[str, ...]) -> dict[str, torch.Tensor]:
    values = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    return {name: value for name, value in values.items() if name not in evolved}


class Search:
    """Ask for networks, tell their fitness.

    Example::

        search = galab.Search(torch.nn.Linear(4, 2), children=32, sigma=0.1, seed=1)
        for generation in range(100):
            networks = search.ask()
            search.tell([fitness(network) for network in networks])

    Args:
        module: any ``nn.Module``; it is not changed. Parameters with ``requires_grad=False`` are left alone, unless
            all have it.
        seed: key of all randomness.
        keep_weights: whether to start from the module's own weights or to draw founders as torch would; None keeps
            those that torch would not have drawn, such as trained ones; of a few weights, where that cannot be told, it
            draws and says so.
        direction: ``"maximize"`` or ``"minimize"`` the fitness; several of these for a fitness of several objectives,
            of which the first decides and each next one between equals, or all count with ``selection="nsga2"``.
        callbacks: functions of a :class:`galab.training.callbacks.RunView`, called by :meth:`tell`, or objects with
            ``on_start``, ``on_generation`` and ``on_end``. Where one gives True, :attr:`stopped` says so.
        hyperparameters: those of ``galab run`` under the headings Population and Mutation, by their names in Python:
            ``parents=8``, ``children=32``, ``sigma=0.02``, ``crossover="row"``, ``granularity="parameter"``, ...

    Raises:
        UsageError: a hyperparameter is unknown, out of bounds, or needs to look at the networks' answers.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        seed: int = 0,
        keep_weights: bool | None = None,
        direction: str | Sequence[str] = "maximize",
        callbacks: Sequence[Callback] = (),
        **hyperparameters: Any,
    ) -> None:
        check_choice("keep_weights", keep_weights, (True, False, None))
        hyperparameters = worded(hyperparameters)
        several = isinstance(direction, Sequence) and not isinstance(direction, str) and len(direction) > 0
        directions: tuple[Any, ...] = tuple(direction) if several else (direction,)
        self._signs = tuple(sign_of(one) for one in directions)
        if hyperparameters.get("selection") == "nsga2" and len(directions) < 2:
            raise UsageError(
                f"expected a direction for each of several objectives with selection='nsga2', got {direction!r}; give "
                "one for each, such as direction=('minimize', 'minimize')"
            )
        with spelled(PYTHON):
            config = _configured(seed, hyperparameters)
            domain = domain_of(config.to_dict())
            self._template = runnable(module).eval()
            warn_of_unset_statistics(self._template)
            choose_evolved(self._template)
            if keep_weights is None:
                keep_weights = not like_torchs_own(self._template)
                if keep_weights:
                    logger.warning(
                        "the search begins at the module's own weights; keep_weights=False draws torch's instead"
                    )
                elif sum(value.numel() for value in evolved_parameters(self._template).values()) < _FEW:
                    logger.warning(
                        "weights as few as the module's may be torch's own, so the founders are drawn anew; "
                        "keep_weights=True begins with the module's, keep_weights=False draws without this line"
                    )
            founders = (
                founders_given(self._template, self._template.state_dict(), seed, domain)
                if keep_weights
                else founders_of(self._template, seed, domain)
            )
            self.strategy = GeneticAlgorithm(config, step_size_rule(config, seed))
            births = developer(config, founders, make(config.distribution))
        self.decoder = Decoder(births, self.strategy.pedigree)
        self._template.requires_grad_(False)
        own: dict[str, Any] = {"seed": seed, "keep_weights": keep_weights}
        own["direction"] = direction if isinstance(direction, str) else directions
        self._arguments: dict[str, Any] = own | hyperparameters
        self._callbacks = LoopCallbacks(callbacks, config, self.best)
        self._failures = Failures()
        self._slots: list[MemberSlot] = []
        self._alive: list[int] = []
        self._asked = 0
        self._ids: list[int] = []
        #: What each parent was told, by its birth.
        self._objectives: dict[int, NDArray[np.float64]] = {}

    @property
    def generation(self) -> int:
        """Generations done."""
        return self.strategy.generation

    @property
    def stopped(self) -> str | None:
        """Why a callback wants the search to end; None while none does."""
        return self._callbacks.stopped

    def ask(self) -> list[nn.Module]:
        """The networks to score, in ``eval()`` mode; they are overwritten by the next ``ask``.

        A child whose weights left their range is not among them and ranks last.
        """
        self._callbacks.asked(self.generation)
        cohort = self.strategy.ask()
        self._asked, self._alive = len(cohort.births), []
        self._ids = cohort.births["id"].tolist()
        missing = range(self._asked - len(self._slots))
        self._slots += [MemberSlot(self._template, self.decoder.layout.names) for _ in missing]
        networks = []
        self.decoder.develop_together(self._ids)
        for index, network in enumerate(_at_once(self._child, range(self._asked), self.decoder.layout.size)):
            if network is not None:
                self._alive.append(index)
                networks.append(network)
        return Networks(networks, self._template, self.decoder.layout.names)

    def _child(self, index: int) -> nn.Module | None:
        """One of the generation's networks, or None if its weights left their range."""
        try:
            member = self.decoder.decode(self._ids[index])
        except LethalMutationError:
            return None
        return _filled(self._slots[index], self.decoder.layout, member)

    def tell(self, fitness: Any) -> None:
        """Select the next parents.

        Args:
            fitness: one number per network of the last ``ask``, in its order: a list, an array or a tensor. NaN and the
                worst infinity are failures, the best infinity ranks first. With M objectives, rows of M numbers.

        Raises:
            UsageError: these are not that many numbers.
            NoViableChildError: all are failures; the same networks may be told again.
        """
        if not self._asked:
            raise UsageError("expected ask() before tell(), got tell(); call ask() and score the networks it gives")
        if len(self._signs) == 1:
            scores = read_scores(fitness, len(self._alive), self._signs[0], who="network")[:, None]
        else:
            scores = read_objectives(fitness, len(self._alive), self._signs, who="network")
        failed = int(np.isnan(scores[:, 0]).sum())
        what = f"{len(scores)} networks have no finite fitness; they rank last"
        self._failures.tell(self.generation + 1, failed, what)
        everyone = np.full((self._asked, len(self._signs)), np.nan)
        everyone[self._alive] = with_best(scores)
        if not len(scores):
            raise NoViableChildError(
                f"generation {self.generation + 1}: the weights of all {self._asked} children leave +-"
                f"{self.decoder.layout.domain.limit:g}; the search has not moved: try a smaller sigma, or raise "
                "weight_range"
            )
        if failed == len(scores):
            raise NoViableChildError(
                f"generation {self.generation + 1}: not one of {len(scores)} networks has a finite fitness; the search "
                "has not moved: look at the fitness function, or try a smaller sigma"
            )
        self.strategy.tell(Scores(everyone[:, 0], further=everyone[:, 1:] if len(self._signs) > 1 else None))
        known = self._objectives | dict(zip(self._ids, everyone, strict=True))
        self._objectives = {birth: known[birth] for birth in self.strategy.parents.tolist() if birth in known}
        self._asked, self._alive = 0, []
        self.decoder.pin(self.strategy.stock)
        self.decoder.discard(self._ids)  # the next children are written where the dead were, which is faster
        finite, sign = scores[:, 0][~np.isnan(scores[:, 0])], self._signs[0]
        with np.errstate(invalid="ignore"):
            line = {
                "generation": self.generation, "fitness_best": sign * float(finite.max()),
                "fitness_mean": sign * float(finite.mean()), "failures": failed,
            }  # fmt: skip
        self._callbacks.told(self.generation, line, sign * scores[:, 0])

    def best(self) -> nn.Module:
        """A copy of the module with the weights of the fittest parent."""
        best = self.decoder.decode(int(self.strategy.parents[0]))
        return self._network(best)

    def _network(self, member: Phenotype) -> nn.Module:
        """A module of its own with a member's weights."""
        layout = self.decoder.layout
        return _filled(MemberSlot(self._template, layout.names), layout, member)

    def front(self) -> list[tuple[nn.Module, tuple[float, ...]]]:
        """The parents that no other parent dominates, each as a copy of the module with what it was told.

        Raises:
            UsageError: nothing was told yet.
        """
        if not self._objectives:
            raise UsageError("expected tell() before front(), got no generation yet; ask, score and tell first")
        births = list(self._objectives)
        told = np.array([self._objectives[birth] for birth in births])
        first = np.flatnonzero(fronts(told) == 0)
        return [
            (
                self._network(self.decoder.decode(births[place])),
                tuple(
                    sign * (math.inf if value == BEST else float(value))
                    for sign, value in zip(self._signs, told[place], strict=True)
                ),
            )
            for place in first.tolist()
        ]

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue, as numbers, texts and tensors: ``torch.load(weights_only=True)`` reads it."""
        parents = [self.decoder.decode(birth) for birth in self.strategy.parents.tolist()]
        content = {"strategy": self.strategy.state_dict(), **members_to_state(parents, self.strategy.births_dtype)}
        told = self._objectives
        content["told"] = [list(told), [row.tolist() for row in told.values()]]
        return {"fingerprint": self._fingerprint(), **portable(content)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from ``state_dict``.

        Raises:
            UsageError: the Search that it is of was made with other arguments.
        """
        check_fingerprint(state, self._fingerprint(), "a Search")
        if not isinstance(state.get("strategy"), Mapping) or "weights" not in state:
            raise UsageError(f"expected what state_dict() of a Search gave, got {state!r:.80}")
        content = restored(state)
        self.strategy.load_state_dict(content["strategy"])
        ids = self.strategy.parents.tolist()
        self.decoder.adopt(dict(zip(ids, members_of(content, self.decoder.layout.domain), strict=True)))
        self.decoder.pin(self.strategy.stock)
        self._asked, self._alive = 0, []
        births, rows = content.get("told", ([], []))
        self._objectives = {int(birth): np.array(row) for birth, row in zip(births, rows, strict=True)}

    def _fingerprint(self) -> dict[str, Any]:
        direction, founders = self._arguments["direction"], self.decoder.developer.founders.sha256
        return fingerprint(self.strategy.config, direction=direction, founders_sha256=founders)

    def __reduce__(self) -> tuple[Any, ...]:
        asked = self._asked > 0
        return _made_again, (self._template, self.decoder.layout.names, self._arguments, self.state_dict(), asked)


def _filled(slot: MemberSlot, layout: Layout, member: Phenotype) -> nn.Module:
    """The module of a slot with a member's weights and the template's buffers, in ``eval()``."""
    module, memory = slot.ready()
    values = [memory[name] for name in layout.names]
    if all(value.dtype == torch.float32 and value.device.type == "cpu" and value.is_contiguous() for value in values):
        member.write([value.view(-1).numpy() for value in values])
        return module
    weights = torch.from_numpy(member.floats())
    with torch.no_grad():
        for name, start, size, shape in zip(layout.names, layout.starts, layout.sizes, layout.shapes, strict=True):
            memory[name].copy_(weights[start : start + size].view(shape))
    return module


def _at_once(make: Callable[[int], Made], places: Sequence[int], weights: int) -> list[Made]:
    """Call a function for each place, on several threads where each call is long enough to pay for them.

    Args:
        make: the function; NumPy lets other threads run while it computes.
        places: its arguments, in order.
        weights: how many numbers a call computes.
    """
    threads = min(torch.get_num_threads(), len(places))
    if threads < 2 or weights < _ONE_THREAD:
        return [make(place) for place in places]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(make, places))


def _made_again(
    template: nn.Module, names: tuple[str, ...], arguments: dict[str, Any], state: dict[str, Any], asked: bool
) -> Search:
    """A search as it was when it was pickled; a cohort that was asked for is asked for again."""
    for name, value in template.named_parameters():
        value.requires_grad_(name in names)
    search = Search(template, **arguments)
    search.load_state_dict(state)
    if asked:
        search.ask()
    return search


def _configured(seed: int, hyperparameters: dict[str, Any]) -> RunConfig:
    known = [
        name for name, item in FIELDS.items() if understands(item, "genetic") and not understands(item, "gradients")
    ]
    for name in hyperparameters:
        if name not in known:
            elsewhere = f" {_ELSEWHERE.get(name, 'It is one of galab.run.')}" if name in FIELDS else ""
            raise UsageError(f"no hyperparameter of a Search is called '{name}'.{elsewhere or closest(name, known)}")
    check_seed(seed)
    config = RunConfig(seed=seed, **hyperparameters)
    check_given(config, hyperparameters)
    if needs_behaviour(config) or config.selection == "lexicase":
        raise UsageError(
            "expected a search by fitness alone, got niche, diversity, mate or lexicase, which compare the networks' "
            "answers; leave them out, or use galab.run with a task"
        )
    return decide(config)
