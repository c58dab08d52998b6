"""What is chosen where nothing was said, and that nothing stays open."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest

from galab.config import RunConfig
from galab.config.fields import FIELDS
from galab.config.option import understands
from galab.config.registry import STRATEGIES
from galab.config.resolve import CHOICES, balanced_chunk, decide
from galab.config.strategy_kinds import kind_of

#: Where None is a value: no such thing.
NONE_IS_A_VALUE = {
    "hidden", "init", "freeze", "origin", "seed", "niche", "sigma_factors", "step_size_rate", "step_size_down",
    "bounds", "update_threshold",
    "sigma_schedule", "floor_rms", "ceiling_rms", "clip", "generations", "seconds", "target", "patience",
    "member_seconds", "episodes", "episode_steps", "confirm_episodes", "address", "worker_cpus", "worker_gpus",
    "price_per_hour", "lora_rank", "layers", "answer_tokens", "server", "adapter_folder",
}  # fmt: skip
#: What a machine or the data decides later.
LATER = {"data", "precision", "device", "pairs"}


@pytest.mark.parametrize("strategy", STRATEGIES.names())
@pytest.mark.parametrize("crossover", ["auto", "none", "mean", "genes-union"])
def test_nothing_that_the_strategy_understands_stays_open(strategy: str, crossover: str) -> None:
    kind = kind_of(strategy).name
    own = {"crossover": crossover} if kind == "genetic" else {}
    config = decide(RunConfig(strategy=strategy, **own))
    open_ones = {
        name
        for name, item in FIELDS.items()
        if understands(item, kind) and getattr(config, name) in (None, "auto") and name not in NONE_IS_A_VALUE | LATER
    }
    assert open_ones <= ({"parents_per_child"} if config.crossover == "none" else set())
    assert decide(config) == config


@pytest.mark.parametrize(
    ("values", "chosen"),
    [
        ({}, {"crossover": "parameter", "batch": 2048, "chunk": 32, "compile": "off", "sigma_floor": 0.02 / 32}),
        ({"parents": 1}, {"crossover": "none", "parents_per_child": None}),
        ({"islands": 8}, {"crossover": "none"}),
        ({"mutate": "momentum"}, {"crossover": "none"}),
        ({"mutate": "memory-target,memory-perturb"}, {"crossover": "row"}),
        ({"survival": "plus"}, {"elites": 8, "chunk": 40}),
        ({"fitness": "improvement"}, {"chunk": 40}),
        ({"step_size": "one-fifth"}, {"chunk": 40}),
        ({"chunk": 5}, {"chunk": 5}),
        ({"mutate": "low-rank", "crossover": "none", "children": 1000}, {"compile": "on"}),
        ({"mutate": "low-rank", "crossover": "none", "children": 1000, "norm_penalty": 0.1}, {"compile": "off"}),
        ({"strategy": "random"}, {"survival": "plus", "elites": 8, "crossover": "none", "chunk": 40, "founders": None}),
        ({"strategy": "eggroll"}, {"compile": "on", "chunk": 0, "lr": 0.1, "optimizer": "sgd", "crossover": "auto"}),
        ({"strategy": "eggroll", "population": 16}, {"compile": "off"}),
        ({"strategy": "adam"}, {"lr": 0.001, "optimizer": "adam", "batch": 64, "chunk": 1, "precision": "float32"}),
    ],
    ids=str,
)
def test_what_is_chosen(values: dict[str, Any], chosen: dict[str, Any]) -> None:
    config = decide(RunConfig(**values))
    assert {name: getattr(config, name) for name in chosen} == chosen


def test_a_value_that_was_given_is_kept() -> None:
    given = {"crossover": "row", "step_size": "fixed", "parents_per_child": 3, "founders": "clones", "batch": 7}
    config = decide(RunConfig(**given))
    assert {name: getattr(config, name) for name in given} == given


def test_a_choice_finds_what_it_depends_on_chosen() -> None:
    """In another order the same would come out, so the order of the table is right."""
    config = RunConfig(crossover="mean", survival="plus", step_size="gesmr")
    once = decide(config)
    opened = {name: FIELDS[name].default for name in CHOICES if name not in ("survival", "crossover", "step_size")}
    for name, other in itertools.permutations(opened, 2):
        partly = dataclasses.replace(once, **{name: opened[name], other: opened[other]})
        assert decide(partly) == once


def test_chunks_are_filled_evenly() -> None:
    assert [balanced_chunk(members) for members in (1, 32, 64, 65, 128, 130)] == [1, 32, 64, 33, 64, 44]
