"""What goes together and what does not: every refusal with its sentence, and its neighbours that are taken."""

from __future__ import annotations

import re
from typing import Any

import pytest

from galab.config import RunConfig
from galab.config.fields import FIELDS, Fields
from galab.config.genetic_rules import GENETIC_RULES, _on_island
from galab.config.resolve import decide
from galab.config.rule import Rule
from galab.config.traits import CONTROLS
from galab.errors import UsageError

SEXUAL: dict[str, Any] = {"crossover": "row"}
GENES: dict[str, Any] = {"crossover": "genes-union"}
FINE: dict[str, Any] = {"granularity": "tensor"}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"keep": "some"}, "expected --keep to be 'all', 'log' or a number of at least 1, got 'some'"),
    ({"parents": 4, "elites": 5}, "expected --elites at most --parents (4), got 5"),
    ({"parents": 33}, "expected --children plus --elites at least --parents (33), got 32 + 0"),
    ({"islands": 9}, "expected --islands at most --parents (8) and --children (32), got 9"),
    ({"islands": 4, "elites": 3}, "expected --elites 0 or at least one for each of 4 islands, got 3"),
    (
        {"islands": 2, "parents": 6, "children": 3, "elites": 3},
        "expected at least as many children and elites as parents on every island, got 3 children, 3 elites and 6 "
        "parents on 2 islands",
    ),
    ({"islands": 3, "migrants": 3}, "expected --migrants at most 2, the parents of the smallest island, got 3"),
    ({"selection": "tournament", "tournament": 33}, "expected --tournament at most 32, the children and elites"),
    ({"selection": "tournament", "tournament": 9, "islands": 4}, "at most 8, the children and elites that compete on"),
    ({"selection": "lexicase", "niche": "local"}, "expected --selection lexicase without --niche, --diversity and"),
    ({"selection": "lexicase", "diversity": 0.5}, "expected --selection lexicase without --niche, --diversity and"),
    ({"selection": "lexicase", "norm_penalty": 0.5}, "expected --selection lexicase without --niche, --diversity and"),
    ({"selection": "nsga2", "niche": "local"}, "expected --selection nsga2 without --niche and --diversity, got both"),
    ({"selection": "nsga2", "diversity": 0.5}, "expected --selection nsga2 without --niche and --diversity, got both"),
    ({"selection": "lexicase", "fitness": "improvement"}, "a fitness of single examples, got --fitness improvement"),
    ({"selection": "lexicase", "fitness": "inherited:wrong"}, "fitness of single examples, got --fitness inherited:wr"),
    ({"crossover": "none", "parents_per_child": 2}, "expected --crossover with --parents-per-child or --mate, got no"),
    ({"crossover": "none", "mate": "similar"}, "expected --crossover with --parents-per-child or --mate, got none"),
    ({"selection": "lexicase", "fitness": "loss,wrong"}, "a fitness of single examples, got --fitness loss,wrong"),
    (SEXUAL | {"parents": 1}, "expected at least 2 --parents for a child of --crossover row, got 1"),
    (SEXUAL | {"parents_per_child": 9}, "expected at least 9 --parents for a child of --crossover row, got 8"),
    (SEXUAL | {"islands": 8}, "expected at least 2 --parents on every island for a child of --crossover row, got 1"),
    ({"crossover": "mean", "islands": 2, "parents_per_child": 5}, "expected at least 5 --parents on every island"),
    ({"crossover": "blend", "parents_per_child": 3}, "expected --parents-per-child 2 with --crossover blend, got 3"),
    (
        SEXUAL | {"parents": 300, "children": 300, "parents_per_child": 256},
        "expected --parents-per-child at most 255 with --crossover row, got 256",
    ),
    ({"crossover": "mean", "parents": 5000, "children": 5000}, "at most 4096 with --crossover mean, got 5000"),
    (SEXUAL | {"mutate": "dense,momentum"}, "expected --mutate momentum with --crossover none, got a crossover"),
    (GENES | {"granularity": "parameter"}, "tensor or row-column with --crossover genes-union, got parameter"),
    (GENES | {"founders": "distinct"}, "expected --founders clones with --crossover genes-union, got distinct"),
    (GENES | {"mutate": "dense,relative"}, "the same in every individual with --crossover genes-union, got relative"),
    (GENES | {"mutate": "norm-preserving"}, "the same in every individual with --crossover genes-union, got norm-pres"),
    (GENES | {"sigma_only": 2}, "expected --sigma-only 0 with --crossover genes-union, got 2"),
    *[
        (FINE | {"step_size": rule} | ({"sigma_schedule": "0:1"} if rule == "schedule" else {}),
         f"expected --granularity global with --step-size {rule}, got tensor")
        for rule in CONTROLS
    ],
    ({"step_size": "schedule"}, "got --step-size schedule and --sigma-schedule None"),
    ({"sigma_schedule": "0:0.1"}, "got --step-size log-normal and --sigma-schedule 0:0.1"),
    ({"step_size": "gesmr", "step_size_groups": 33}, "expected --step-size-groups at most --children (32), got 33"),
    ({"step_size_down": 0.1}, "expected --step-size-down with --step-size three-point, got log-normal"),
    (FINE | {"sigma_only": 2}, "expected --sigma-only with --granularity global and a rule by which step sizes are"),
    ({"step_size": "gesmr", "sigma_search": 2}, "expected --sigma-search with --granularity global and a rule by"),
    ({"sigma_only": 2, "sigma_search": 2}, "expected --sigma-only or --sigma-search, got both"),
    ({"sigma_search": 1}, "expected --sigma-search 0 or at least 2, got 1"),
    (
        {"mutate": ",".join(f"own_{number}.py:Jump" for number in range(256))},
        "expected at most 255 operators in --mutate, got 256",
    ),
    ({"mutate_shares": "inherited"}, "expected several operators with --mutate-shares inherited, got --mutate dense"),
    ({"mutate": "low-rank", "granularity": "parameter"}, "with --mutate low-rank, got parameter"),
    ({"mutate": "dense,layer", "sigma_search": 9}, "expected --mutate dense with --sigma-search, got dense,layer"),
    ({"sigma_factors": "1,2"}, "row-column or parameter with --sigma-factors, got global"),
    ({"floor_rms": 0.1}, "with --floor-rms or --ceiling-rms, got global"),
    ({"ceiling_rms": 0.1}, "with --floor-rms or --ceiling-rms, got global"),
    (FINE | {"floor_rms": 0.5, "ceiling_rms": 0.25}, "expected --floor-rms at most --ceiling-rms, got 0.5 and 0.25"),
    ({"sigma": 0.01, "sigma_floor": 0.02}, "expected --sigma between --sigma-floor (0.02) and --sigma-ceiling (8)"),
    (
        {"step_size": "schedule", "sigma_schedule": "0:0.02,9:0.001", "sigma_floor": 0.01},
        "expected --sigma-schedule between --sigma-floor (0.01) and --sigma-ceiling (8), got 0.001",
    ),
]  # fmt: skip
#: Near the refused ones, and right.
TAKEN: list[dict[str, Any]] = [
    {"parents": 6, "children": 3, "elites": 6, "islands": 2},
    {"parents": 6, "children": 3, "islands": 2, "survival": "plus"},
    {"islands": 8, "survival": "plus"},
    {"islands": 4, "elites": 4, "migrants": 2},
    {"selection": "tournament", "tournament": 32},
    {"selection": "tournament", "tournament": 1000, "children": 1000},
    {"selection": "lexicase", "fitness": "wrong,cross-entropy"},
    {"selection": "lexicase", "fitness": "wrong,loss"},
    {"crossover": "row", "parents_per_child": 8, "mate": "similar"},
    {"crossover": "row", "islands": 4},
    {"crossover": "mean", "parents": 300, "children": 300},
    {"crossover": "genes-union", "granularity": "row-column", "sigma_search": 0, "mutate": "dense,layer,low-rank"},
    {"crossover": "genes-union", "sigma_search": 5},
    {"crossover": "row", "sigma_only": 2},
    {"fitness": "improvement:wrong,cross-entropy", "niche": "sharing", "survival": "plus", "islands": 2},
    {"fitness": "inherited", "batch": 0},
    {"fitness": "improvement", "sigma_only": 2},
    {"mutate": "momentum", "sigma_only": 2},
    {"step_size": "gesmr", "step_size_groups": 8, "islands": 4},
    {"step_size": "schedule", "sigma_schedule": "0:0.02,9:0.001"},
    {"granularity": "parameter", "mutate": "momentum", "floor_rms": 0.1, "ceiling_rms": 0.1},
    {"mutate": "dense,layer", "mutate_shares": "inherited"},
]


@pytest.mark.parametrize(("values", "said"), REFUSED, ids=lambda part: part if isinstance(part, str) else "")
def test_what_does_not_go_together_is_refused_in_one_sentence(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        RunConfig(**values)
    sentence = str(caught.value)
    assert said in sentence
    if "keep" not in values:
        assert re.fullmatch(r"expected [^\n]+ got [^\n]+; [^\n]+", sentence)


@pytest.mark.parametrize("rule", GENETIC_RULES, ids=lambda rule: rule.sentence[:60])
def test_every_rule_is_broken_by_one_of_them_and_kept_by_the_defaults(rule: Rule) -> None:
    def broken(values: dict[str, Any]) -> bool:
        try:
            rule.check(decide(Fields(**values)))
        except UsageError:
            return True
        return False

    assert any(broken(values) for values, _ in REFUSED if "keep" not in values)
    assert not broken({})
    assert set(rule.fields) <= FIELDS.keys()


@pytest.mark.parametrize("values", TAKEN, ids=str)
def test_their_neighbours_are_taken(values: dict[str, Any]) -> None:
    RunConfig(**values)


@pytest.mark.parametrize(
    ("values", "name", "value"),
    [
        ({}, "step_size", "log-normal"),
        ({"granularity": "tensor"}, "step_size", "log-normal"),
        ({"granularity": "row-column"}, "step_size", "mean-reverting"),
        ({"granularity": "parameter", "step_size": "fixed"}, "step_size", "fixed"),
        ({"crossover": "row"}, "parents_per_child", 2),
        ({"crossover": "mean"}, "parents_per_child", 8),
        ({"crossover": "mean", "islands": 3}, "parents_per_child", 2),
        ({"crossover": "mean", "parents_per_child": 3}, "parents_per_child", 3),
        ({"crossover": "row"}, "founders", "distinct"),
        ({"crossover": "genes-aligned"}, "founders", "clones"),
    ],
)
def test_what_is_not_said_is_decided_by_the_others(values: dict[str, Any], name: str, value: Any) -> None:
    assert getattr(decide(RunConfig(**values)), name) == value


@pytest.mark.parametrize(("total", "islands"), [(1, 1), (7, 3), (8, 3), (9, 3), (100, 7)])
def test_places_on_islands_are_counted_as_they_are_given_out(total: int, islands: int) -> None:
    import numpy as np

    from galab.operators.islands import island_of

    counts = np.bincount(island_of(np.arange(total), total, islands)).tolist()
    assert [_on_island(total, islands, island) for island in range(islands)] == counts
