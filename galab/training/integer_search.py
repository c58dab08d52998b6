"""Integer EGGROLL with its network and its text: the search in which everything is a whole number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from galab.config import RunConfig
from galab.config.schedules import parse_share
from galab.contracts import Cohort, Member, Outcome, Scores
from galab.errors import CheckpointError, UsageError
from galab.evaluation.egg_kernel import EggScorer
from galab.evaluation.executors.integer import IntegerExecutor, Pairs, TextPairs
from galab.evaluation.integer_linear import MatrixPairs
from galab.genome.initial import Founders
from galab.genome.random import Table
from galab.integer.arithmetic import stored
from galab.models.egg import Egg
from galab.models.integer_linear import IntegerLinear
from galab.operators.es_noise import WeightVector
from galab.operators.integer_noise import IntegerNoise, NoiseConfig, planned_threshold
from galab.strategies.integer_eggroll import IntegerEggroll, record_dtype
from galab.tasks.regression import LinearRegression
from galab.tasks.text import ByteText
from galab.training.search import SearchBase, SearchInputs, SharedCentre, initial_centre


class IntegerSearch(SharedCentre, SearchBase):
    """See :class:`galab.training.search.SharedSearch`.

    Attributes:
        config: the configuration.
        strategy: proposes pairs, counts their votes and moves the centre.
        executor: carries out a generation's evaluation.
    """

    strategy: IntegerEggroll

    def __init__(
        self, config: RunConfig, strategy: IntegerEggroll, executor: IntegerExecutor, state_shape: tuple[int, ...]
    ) -> None:
        self.config = config
        self.strategy = strategy
        self.executor = executor
        self._shape = (config.population, *state_shape)

    @classmethod
    def build(cls, inputs: SearchInputs) -> IntegerSearch:
        """The search of a run.

        Raises:
            UsageError: the network or the task is none of integers, or the text is too short for so many sequences.
        """
        config, founders = inputs.config, inputs.founders

        def hidden() -> NDArray[np.int8] | None:
            return strategy.hidden

        pairs, state_shape = _pairs_of(inputs, hidden)
        strategy = _strategy(config, founders, pairs.units)
        executor = IntegerExecutor(
            pairs, strategy.noise, chunk=config.chunk, centre=lambda: strategy.weights, state_shape=state_shape
        )
        return cls(config, strategy, executor, state_shape or ())

    @staticmethod
    def replica(
        config: RunConfig, founders: Founders, law: Table, state: dict[str, Any], device: torch.device
    ) -> IntegerEggroll:
        """The strategy of a run at generation 0, without its network and its data: it can be told factors of a record.

        Args:
            config: of the run.
            founders: where the centre begins.
            law: not needed: the noise has a table of its own.
            state: not needed.
            device: not needed.
        """
        return _strategy(config, founders, 1.0)

    @property
    def record_dtype(self) -> np.dtype[Any]:
        """The factors of a generation's pairs."""
        return record_dtype(self.config.population)

    @property
    def numerics(self) -> dict[str, Any]:
        """See :class:`galab.training.search.Search`: nothing here decides a bit of a score."""
        return {"chunk": self.config.chunk, "forward": "integer", "block": 0, "compiled": False}

    def candidates(self) -> tuple[list[int], Sequence[Member]]:
        """The centre, numbered by its generation."""
        return [self.strategy.generation], [WeightVector(self.strategy.centre)]

    def log_fields(self, cohort: Cohort, scores: Scores, outcome: Outcome, records: int) -> dict[str, Any]:
        """What the votes did: the threshold, the share of weights that moved, and of pairs that scored alike."""
        strategy = self.strategy
        line: dict[str, Any] = {
            "vote_threshold": strategy.threshold(cohort.generation) / 16,
            "moved_share": strategy.moved,
            "estimate_ties": strategy.ties,
        }
        if cohort.generation % self.config.report_every == 0:
            line["weights_norm"] = float(np.linalg.norm(strategy.centre.astype(np.float64)))
        return line

    def state(self) -> dict[str, Any]:
        """The centre, and the states in which the members' sequences go on."""
        hidden = self.strategy.hidden
        return {"weights": self.strategy.centre[None], **({} if hidden is None else {"hidden": hidden})}

    def restore(self, state: dict[str, Any], records: NDArray[Any]) -> None:
        """Continue; the record is not needed for it.

        Raises:
            CheckpointError: the states are those of another network.
        """
        self.strategy.load_centre(np.asarray(state["weights"], dtype=np.float32)[0])
        self.strategy.load_state_dict(state["strategy"])
        hidden = state.get("hidden")
        if hidden is not None and hidden.shape != self._shape:
            raise CheckpointError(f"expected hidden states of shape {self._shape}, got {hidden.shape}; restore them")
        self.strategy.hidden = None if hidden is None else np.array(hidden, dtype=np.int8)

    def update_for_workers(self) -> dict[str, Any]:
        """Generation and checksum of the centre, and the states in which the members' sequences go on."""
        return {**super().update_for_workers(), "hidden": self.strategy.hidden}

    def prepare(self, update: dict[str, Any], births: Sequence[NDArray[np.void]]) -> bool:
        """Whether the copy here is where the centre is."""
        self.strategy.hidden = update["hidden"]
        return SharedCentre.update_for_workers(self) == {name: update[name] for name in ("generation", "checksum")}


def noise_config_of(config: RunConfig) -> NoiseConfig:
    """How a run perturbs, counts and moves.

    Raises:
        UsageError: a value is none of these.
    """
    return NoiseConfig(
        rank=config.rank, sigma_shift=config.sigma_shift, learning_rate=config.integer_step,
        weight_clip=config.weight_clip, fast_fitness=config.fast_fitness == "on",
        update_threshold=config.update_threshold, use_clt=config.use_clt == "on", noise_reuse=config.noise_reuse,
    )  # fmt: skip


def _pairs_of(
    inputs: SearchInputs, hidden: Callable[[], NDArray[np.int8] | None]
) -> tuple[Pairs, tuple[int, int] | None]:
    """What scores the members, and the shape of what a member keeps.

    Args:
        inputs: of the search.
        hidden: gives what the members have kept.

    Raises:
        UsageError: the network or the task is none of integers, or the text is too short for so many sequences.
    """
    config, task, module = inputs.config, inputs.task, inputs.module
    noise = noise_config_of(config)
    if isinstance(module, Egg) and isinstance(task, ByteText):
        task.sequences(1, config.batch)
        scorer, shape = EggScorer(module, noise, threads=config.threads), (module.layers, module.width)
        return TextPairs(scorer, task, count=config.batch, hidden=hidden, state_shape=shape), shape
    if isinstance(module, IntegerLinear) and isinstance(task, LinearRegression):
        return MatrixPairs(module, task, inputs.founders.run_key, config.batch, noise.shift), None
    raise UsageError(
        "expected --model egg with a task of bytes, such as tinyshakespeare, or integer-linear with linear-regression, "
        f"as --strategy {config.strategy} computes with whole numbers, got --model {config.model} with --task "
        f"{config.task}; use those, or --strategy eggroll"
    )


def _strategy(config: RunConfig, founders: Founders, units: float) -> IntegerEggroll:
    noise_config, share = noise_config_of(config), parse_share(config.move_share)

    def threshold(update: int) -> int:
        given = noise_config.update_threshold
        return planned_threshold(max(share(update), 1e-300)) if given is None else given

    start = stored(torch.from_numpy(initial_centre(founders))).numpy()
    return IntegerEggroll(
        founders.layout, start, IntegerNoise(founders.layout, noise_config, founders.run_key), noise_config,
        pairs=config.population // 2, threshold=threshold, units=units, carries=config.hidden_state == "carry",
    )  # fmt: skip
