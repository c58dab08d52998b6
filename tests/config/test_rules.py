"""The table of rules, and which kind of strategy understands which field."""

from __future__ import annotations

from typing import Any

import pytest
from strategy_names import POPULATIONS

from galab.config import RunConfig, flag
from galab.config.fields import FIELDS, Fields
from galab.config.genetic_rules import GENETIC_RULES
from galab.config.idle_rules import IDLE_RULES
from galab.config.option import KINDS, understands
from galab.config.registry import STRATEGIES
from galab.config.resolve import decide, view
from galab.config.rule import Rule
from galab.config.rules import FIELD_RULES, RULES
from galab.config.strategy_kinds import kind_of
from galab.errors import UsageError

#: A configuration that breaks each rule that is not one of genetic algorithms, in the order of the table.
BROKEN: list[dict[str, Any]] = [
    {"strategy": "ga", "episodes": 2},
    {"strategy": "ga", "episode_steps": 2},
    {"strategy": "ga", "act": "sample"},
    {"strategy": "ga", "normalize_observations": "on"},
    {"strategy": "ga", "confirm": 2},
    {"strategy": "ga", "task": "cartpole", "confirm_episodes": 2},
    {"strategy": "sgd", "task": "cartpole"},
    {"strategy": "ga", "task": "cartpole", "batch": 4},
    {"strategy": "ga", "task": "cartpole", "fitness": "wrong"},
    {"strategy": "ga", "fitness": "return"},
    {"strategy": "ga", "task": "cartpole", "precision": "bfloat16"},
    {"strategy": "ga", "task": "cartpole", "compile": "on"},
    {"strategy": "ga", "task": "cartpole", "diversity": 0.5},
    {"strategy": "ga", "target": 1.5},
    {"strategy": "ga", "adapt": "lora"},
    {"strategy": "ga", "layers": "0-1"},
    {"strategy": "ga", "sigma_relative": "on"},
    {"strategy": "eggroll", "baseline": "prompt"},
    {"strategy": "snes", "task": "conciseness", "baseline": "prompt", "fitness": "reward+8*accuracy"},
    {"strategy": "ga", "find_sigma": "on"},
    {"strategy": "ga", "answer_tokens": 8},
    {"strategy": "ga", "task": "conciseness", "lora_rank": 2},
    {"strategy": "ga", "generator": "vllm"},
    {"strategy": "ga", "task": "conciseness", "server": "http://127.0.0.1:8000"},
    {"strategy": "ga", "task": "conciseness", "adapter_folder": "/shared"},
    {"strategy": "ga", "task": "conciseness", "generator": "sglang"},
    {"strategy": "ga", "task": "conciseness", "generator": "sglang", "adapt": "lora", "server": "localhost:30000"},
    {"strategy": "ga", "task": "conciseness", "model": "linear"},
    {"strategy": "sgd", "task": "conciseness"},
    {"strategy": "ga", "task": "conciseness", "fitness": "wrong"},
    {"strategy": "ga", "fitness": "reward"},
    {"strategy": "ga", "task": "conciseness", "precision": "bfloat16"},
    {"strategy": "ga", "task": "conciseness", "compile": "on"},
    {"strategy": "ga", "task": "conciseness", "diversity": 0.5},
    {"strategy": "eggroll", "task": "conciseness", "groups": 2},
    {"strategy": "random", "crossover": "row"},
    {"strategy": "random", "fitness": "improvement"},
    {"strategy": "random", "init": "a.pt"},
    {"strategy": "random", "origin": "runs/a"},
    {"strategy": "integer-eggroll", "move_share": "0.5", "update_threshold": 20},
    {"strategy": "integer-eggroll", "precision": "bfloat16"},
    {"strategy": "integer-eggroll", "freeze": "head"},
    {"strategy": "eggroll", "sigma_schedule": "linear"},
    {"strategy": "sgd", "lr_schedule": "cosine"},
    {"strategy": "eggroll", "noise_reuse": 0},
    {"strategy": "integer-eggroll", "population": 7},
    {"strategy": "integer-eggroll", "rank": 2},
    {"strategy": "integer-eggroll", "batch": 0},
    {"strategy": "integer-eggroll", "fitness": "wrong"},
    {"strategy": "eggroll", "population": 7},
    {"strategy": "eggroll", "shaping": "sign", "pairs": "one-sided"},
    {"strategy": "eggroll", "population": 10, "groups": 4},
    {"strategy": "openai-es", "fitness": "wrong,loss"},
    {"strategy": "openai-es", "fitness": "closeness"},
    {"strategy": "random", "fitness": "gradient-cosine"},
    {"strategy": "eggroll", "norm_penalty": 0.1},
    {"strategy": "eggroll", "groups": 2, "fitness": "sampled-accuracy"},
    {"strategy": "sgd", "fitness": "accuracy"},
    {"strategy": "sgd", "optimizer": "adam"},
    {"strategy": "adam", "optimizer": "muon"},
    {"strategy": "sgd", "workers": 1},
    {"strategy": "adam", "chunk": 2},
    {"strategy": "adam", "compile": "on"},
    {"strategy": "adam", "norm_penalty": 0.1},
    {"strategy": "sgd", "precision": "bfloat16"},
    {"strategy": "ga", "member_seconds": 5.0},
    {"strategy": "ga", "executor": "ray"},
]
OTHERS = RULES[len(GENETIC_RULES) : len(RULES) - len(FIELD_RULES) - len(IDLE_RULES)]


def test_every_rule_has_a_case() -> None:
    assert RULES[: len(GENETIC_RULES)] == GENETIC_RULES
    assert len(BROKEN) == len(OTHERS)


@pytest.mark.parametrize("rule", FIELD_RULES, ids=lambda rule: rule.fields[0])
def test_a_field_that_the_defaults_make_idle_is_refused_with_its_sentence(rule: Rule) -> None:
    strategy = next(name for name in STRATEGIES.names() if kind_of(name).name in rule.kinds)
    config = view(Fields(strategy=strategy))
    rule.check(config)
    config.__dict__[rule.fields[0]] = "another value"
    assert rule.makes_idle(config)
    with pytest.raises(UsageError, match=f"expected .*{flag(rule.fields[0])}.* got [^;]+; "):
        rule.check(config)


@pytest.mark.parametrize(("rule", "values"), list(zip(OTHERS, BROKEN, strict=True)), ids=lambda part: str(part)[:60])
def test_a_rule_refuses_its_case_and_no_default(rule: Rule, values: dict[str, Any]) -> None:
    assert set(rule.fields) <= FIELDS.keys()
    assert set(rule.kinds) <= set(KINDS)
    assert kind_of(values["strategy"]).name in rule.kinds
    with pytest.raises(UsageError) as caught:
        rule.check(decide(Fields(**values)))
    with pytest.raises(UsageError) as whole:
        RunConfig(**values)
    assert str(whole.value) == str(caught.value)


@pytest.mark.parametrize("strategy", STRATEGIES.names())
def test_the_defaults_of_every_strategy_are_right(strategy: str) -> None:
    RunConfig(strategy=strategy)


def test_every_kind_understands_the_problem_the_stop_rules_and_the_records() -> None:
    for item in FIELDS.values():
        if item.metadata["group"] in ("Problem", "Stop when", "Record"):
            assert all(understands(item, kind) for kind in KINDS)
        assert set(item.metadata["kinds"]) <= set(KINDS)


def test_what_strategies_understand_that_ask_for_weight_vectors() -> None:
    shared = {name for name, item in FIELDS.items() if item.metadata["kinds"] == KINDS}
    own = {name for name, item in FIELDS.items() if understands(item, "vectors")}
    assert own - shared == {"population", "sigma", "baseline"}
    assert {"compile", "norm_penalty", "distribution", "lr"}.isdisjoint(own)


def test_a_field_that_only_others_understand_is_refused_with_their_names() -> None:
    for strategy, values, said in [
        ("ga", {"population": 8}, f"only --strategy {POPULATIONS} understands it; use --children"),
        ("ga", {"clip": 1.0}, "got 1.0: only --strategy eggroll, openai-es, sgd or adam understands it; drop it"),
        ("eggroll", {"parents": 9}, "only the genetic algorithm (--strategy ga) understands it; use --population"),
        ("sgd", {"population": 8}, f"only --strategy {POPULATIONS} understands it; drop it"),
    ]:
        with pytest.raises(UsageError) as caught:
            RunConfig(strategy=strategy, **values)
        assert said in str(caught.value)
