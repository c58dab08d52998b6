"""What goes together in an evolution strategy: every refusal with its sentence, and what is taken."""

from __future__ import annotations

from typing import Any

import pytest
from strategy_names import POPULATIONS

from galab.config import RunConfig
from galab.config.resolve import decide
from galab.config.strategy_kinds import kind_of
from galab.errors import UsageError

ES: dict[str, Any] = {"strategy": "eggroll"}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"sigma": 0.0}, "expected --sigma"),
    ({"sigma": -0.1}, "expected --sigma"),
    ({"sigma": float("nan")}, "expected --sigma"),
    ({"lr": 0.0}, "expected --lr to be a positive number, got 0.0; name a larger one"),
    ({"lr": -1.0}, "expected --lr to be a positive number, got -1.0"),
    ({"lr": float("inf")}, "expected --lr between 0.0 and 1000000.0, got inf"),
    ({"clip": 0.0}, "expected --clip to be a positive number, got 0.0"),
    ({"weight_decay": -0.1}, "expected --weight-decay at least 0.0, got -0.1"),
    ({"rank": 0}, "expected --rank between 1 and 4096, got 0"),
    ({"population": 1}, "expected --population between 2 and 16777216, got 1"),
    ({"population": 256.0}, "expected --population to be of type int, got 256.0"),
    ({"groups": 0}, "expected --groups at least 1, got 0"),
    ({"noise_reuse": 0}, "expected --noise-reuse at least 1, got 0: the same noise for ever would confine the search"),
    ({"noise_reuse": -2}, "expected --noise-reuse at least 1, got -2"),
    ({"population": 7}, "expected an even --population with --pairs auto, got 7: a pair has two members; add one, or"),
    ({"population": 7, "pairs": "antithetic"}, "expected an even --population with --pairs antithetic, got 7"),
    ({"pairs": "both"}, "expected --pairs to be one of auto, antithetic, one-sided, got 'both'"),
    ({"shaping": "rank"}, "expected --shaping to be one of raw, z-score, centred-ranks, sign, got 'rank'"),
    ({"shaping": "sign", "pairs": "one-sided"}, "expected --pairs antithetic with --shaping sign, got one-sided"),
    ({"population": 10, "groups": 2}, "expected --population to be a multiple of 4 with --groups 2 of pairs, got 10"),
    (
        {"population": 10, "groups": 3, "pairs": "one-sided"},
        "expected --population to be a multiple of 3 with --groups 3 of members, got 10; change one of them",
    ),
    ({"lr_schedule": "cosine"}, "expected --generations with --lr-schedule cosine, got none: it ends when the run"),
    ({"sigma_schedule": "linear:0.1"}, "expected --generations with --sigma-schedule linear:0.1, got none"),
    ({"lr_schedule": "warm"}, "expected --lr-schedule as constant, linear or cosine"),
    ({"fitness": "improvement"}, "expected one base as --fitness with --strategy eggroll, got improvement"),
    ({"fitness": "wrong,cross-entropy"}, "expected one base as --fitness with --strategy eggroll, got wrong,cross-"),
    ({"norm_penalty": 0.1}, "expected --norm-penalty 0 with --strategy eggroll, got 0.1: members' weights are never"),
    (
        {"fitness": "sampled-accuracy", "groups": 2},
        "expected --groups 1 with --fitness sampled-accuracy, got 2; use expected-accuracy",
    ),
    # What only the genetic algorithm understands.
    ({"parents": 9}, "expected no --parents with --strategy eggroll, got 9: only the genetic algorithm (--strategy"),
    ({"children": 64}, "only the genetic algorithm (--strategy ga) understands it; use --population"),
    ({"mutate": "layer"}, "expected no --mutate with --strategy eggroll, got layer"),
    ({"crossover": "row"}, "expected no --crossover with --strategy eggroll, got row"),
    ({"elites": 1}, "expected no --elites with --strategy eggroll, got 1"),
    ({"selection": "tournament"}, "expected no --selection with --strategy eggroll, got tournament"),
]
OF_EVOLUTION: list[dict[str, Any]] = [
    {"population": 64}, {"rank": 2}, {"lr": 0.5}, {"lr_schedule": "decay:0.9"}, {"optimizer": "adam"},
    {"weight_decay": 0.1}, {"clip": 1.0}, {"pairs": "one-sided"}, {"shaping": "sign"}, {"groups": 2},
    {"noise_reuse": 2},
]  # fmt: skip
TAKEN: list[dict[str, Any]] = [
    {},
    {"strategy": "openai-es"},
    {"population": 7, "pairs": "one-sided"},
    {"population": 12, "groups": 3},
    {"population": 9, "groups": 3, "pairs": "one-sided"},
    {"shaping": "sign", "pairs": "antithetic"},
    {"lr_schedule": "cosine", "sigma_schedule": "linear:0.1", "generations": 10},
    {"lr_schedule": "decay:0.99", "sigma_schedule": "0:1,10:0.5"},
    {"noise_reuse": 5, "distribution": "sign", "sigma": 0.3},
    {"fitness": "sampled-accuracy"},
    {"fitness": "accuracy", "shaping": "centred-ranks"},
]


@pytest.mark.parametrize(("values", "said"), REFUSED, ids=lambda value: str(value)[:50])
def test_refused_with_one_sentence(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as error:
        RunConfig(**ES | values)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("values", OF_EVOLUTION, ids=str)
def test_a_genetic_algorithm_refuses_what_only_an_evolution_strategy_understands(values: dict[str, Any]) -> None:
    RunConfig(**ES | values)
    name = "--" + next(iter(values)).replace("_", "-")
    with pytest.raises(UsageError) as error:
        RunConfig(strategy="ga", **values)
    assert str(error.value).startswith(f"expected no {name} with --strategy ga, got ")
    both = OF_EVOLUTION.index({"lr": 0.5}), OF_EVOLUTION.index({"pairs": "one-sided"})
    of_gradients_too = values in OF_EVOLUTION[slice(*both)]
    whose = "eggroll, openai-es, sgd or adam" if of_gradients_too else "eggroll or openai-es"
    whose = "eggroll, openai-es or integer-eggroll" if name in ("--rank", "--noise-reuse") else whose
    whose = POPULATIONS if "population" in values else whose
    assert f"only --strategy {whose} understands it; " in str(error.value)


def test_the_one_that_corresponds_is_named() -> None:
    with pytest.raises(UsageError, match="understands it; use --children$"):
        RunConfig(strategy="ga", population=64)


@pytest.mark.parametrize("values", TAKEN, ids=str)
def test_taken(values: dict[str, Any]) -> None:
    config = RunConfig(**ES | values)
    assert kind_of(config.strategy).estimates
    assert RunConfig.from_saved(config.to_dict()) == decide(config)
