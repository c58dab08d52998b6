"""Hyperparameters that mean something beside another one alone are refused where it is missing."""

from __future__ import annotations

import inspect
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from galab.config import RunConfig, flag
from galab.config.idle_rules import COUNTED, IDLE_RULES, RANKED, REPEATING
from galab.config.registry import MUTATIONS
from galab.config.resolve import decide
from galab.config.run_config import complete
from galab.errors import UsageError
from galab.training.compose import command_of, compose, varied

CLUSTER = (("address", "auto"), ("worker_cpus", 2.0), ("worker_gpus", 0.5))
#: Each field with a value, and beside what it means something.
CASES: list[tuple[str, Any, dict[str, Any]]] = [
    ("mutate_count", 3, {"mutate": "dense,weights"}),
    ("mutate_count", 3, {"genome": "binary"}),
    ("mutate_rank", 3, {"mutate": "low-rank"}),
    ("momentum", 0.1, {"mutate": "momentum", "crossover": "none"}),
    ("tournament", 5, {"selection": "tournament"}),
    ("rank_pressure", 2.0, {"selection": "rank"}),
    ("cases", "classes", {"selection": "lexicase"}),
    ("niche_radius", 0.5, {"niche": "sharing"}),
    ("niche_neighbours", 3, {"niche": "local"}),
    ("migrate_every", 1, {"islands": 2}),
    ("migrants", 4, {"islands": 2}),
    ("crossover_rate", 0.5, {"crossover": "row"}),
    ("step_size_inherit", "mean", {"crossover": "row"}),
    ("mate_choices", 9, {"mate": "similar", "crossover": "row"}),
    ("step_size_rate", 0.5, {"step_size": "three-point"}),
    ("step_size_reversion", 0.02, {"step_size": "mean-reverting"}),
    ("step_size_groups", 5, {"step_size": "gesmr"}),
    ("inheritance", 0.1, {"fitness": "inherited"}),
    ("rank", 3, {"strategy": "eggroll"}),
    ("hidden_state", "reset", {"strategy": "integer-eggroll"}),
    *((name, value, {"executor": "ray", "workers": 2}) for name, value in CLUSTER),
    ("price_per_hour", 1.5, {"workers": 1}),
]
#: What takes the meaning away, where the defaults do not.
WITHOUT: dict[str, dict[str, Any]] = {
    "crossover_rate": {"crossover": "none"},
    "step_size_inherit": {"crossover": "none"},
    "step_size_rate": {"step_size": "fixed"},
    "rank": {"strategy": "openai-es"},
    "hidden_state": {"strategy": "integer-eggroll", "task": "linear-regression"},
}


def test_every_rule_has_a_case() -> None:
    assert {name for rule in IDLE_RULES for name in rule.fields} == {name for name, _, _ in CASES}


@pytest.mark.parametrize(("name", "value", "beside"), CASES)
def test_it_is_taken_where_it_means_something_and_refused_where_it_does_not(
    name: str, value: Any, beside: dict[str, Any]
) -> None:
    assert getattr(RunConfig(**{name: value}, **beside), name) == value
    with pytest.raises(UsageError, match=f"expected .*{flag(name)}.*, got {value} without it.*; .*drop"):
        RunConfig(**{name: value}, **WITHOUT.get(name, {}))


@pytest.mark.parametrize(("name", "value", "beside"), CASES)
def test_a_run_of_a_version_that_took_it_without_a_word_is_read(name: str, value: Any, beside: dict[str, Any]) -> None:
    without = WITHOUT.get(name, {})
    saved = RunConfig(**without).to_dict() | {name: value}
    with pytest.raises(UsageError):
        RunConfig.from_dict(saved)
    assert name not in complete(saved)
    assert RunConfig.from_saved(saved) == RunConfig.from_saved(RunConfig(**without).to_dict())
    kept = RunConfig(**{name: value}, **beside).to_dict()
    assert complete(kept)[name] == value


def test_operators_of_ones_own_may_have_any_of_them(tmp_path: Any) -> None:
    file = tmp_path / "own.py"
    file.write_text("class Own:\n    def __init__(self, run_key, law, count=1, rank=1, beta=0.5): ...\n")
    RunConfig(mutate=f"{file}:Own", mutate_count=3, mutate_rank=2, momentum=0.25)


@pytest.mark.parametrize(("argument", "names"), [("count", COUNTED), ("rank", RANKED), ("beta", REPEATING)])
def test_the_operators_that_have_such_an_option_are_named(argument: str, names: tuple[str, ...]) -> None:
    own = [name for name in MUTATIONS.names() if argument in inspect.signature(MUTATIONS.load(name)).parameters]
    assert sorted(own) == sorted(names)


def test_another_default_of_what_a_strategy_knows_nothing_of_is_no_hindrance() -> None:
    for strategy, field, value in (("ga", "move_share", "inverse:0.1"), ("eggroll", "tournament", 7)):
        saved = RunConfig(strategy=strategy).to_dict() | {field: value}
        with pytest.raises(UsageError):
            RunConfig.from_dict(saved)
        assert RunConfig.from_saved(saved) == RunConfig.from_saved(RunConfig(strategy=strategy).to_dict())


def test_what_was_typed_is_kept_in_cells_where_it_is_a_default() -> None:
    base = RunConfig(strategy="adam", lr=0.001)
    assert varied(base, {"strategy": "openai-es"}).lr != 0.001
    assert varied(base, {"strategy": "openai-es"}, ["lr"]).lr == 0.001
    assert varied(base, {"strategy": "ga"}, ["lr"]).strategy == "ga"


def test_a_command_makes_the_same_integer_run_again() -> None:
    for batch in (16, 32):
        config = decide(RunConfig(strategy="integer-eggroll", task="linear-regression", seed=1, batch=batch))
        flags = shlex.split(command_of(config.to_dict(), "x").partition(" run ")[2])
        given = dict(zip(flags[::2], flags[1::2], strict=True))
        assert given.get("--batch", "16") == str(batch)


def test_a_network_that_a_file_names_by_hand_is_not_exchanged(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"strategy": "integer-eggroll", "task": "linear-regression", "model": "mlp"}))
    with pytest.raises(UsageError, match="expected another --model with --strategy integer-eggroll, got mlp; drop it"):
        compose({}, config_file=file)
    saved = decide(RunConfig(strategy="integer-eggroll", task="linear-regression")).to_dict()
    file.write_text(json.dumps(saved))
    assert compose({}, config_file=file).model == "integer-linear"
