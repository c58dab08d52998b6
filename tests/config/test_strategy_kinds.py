"""One row for each kind of strategy: what galab asks about a strategy by its name."""

from __future__ import annotations

import pytest

from galab.config.registry import STRATEGIES
from galab.config.run_config import RunConfig
from galab.config.strategy_kinds import (
    EVOLUTION,
    GENETIC,
    KINDS,
    VECTORS,
    StrategyKind,
    kind_of,
    label_of,
    load_reference,
)
from galab.storage.run_folder import LINEAGE, SCORES
from galab.training.search import Search


def test_every_strategy_of_the_registry_has_one_kind() -> None:
    named = [name for kind in KINDS for name in kind.strategies]
    assert sorted(named) == sorted(STRATEGIES.names())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_a_row_refers_to_exists(kind: StrategyKind) -> None:
    methods = {name for name, value in vars(Search).items() if callable(value) and not name.startswith("_")}
    assert methods <= set(dir(load_reference(kind.search)))
    assert bool(kind.replay) != kind.breeds
    assert not kind.replay or callable(load_reference(kind.replay))
    assert kind.record == (LINEAGE if kind.breeds else SCORES)


@pytest.mark.parametrize(
    ("strategy", "kind"),
    [
        ("ga", GENETIC),
        ("eggroll", EVOLUTION),
        ("snes(lr_sigma=0.1)", VECTORS),
        ("own.py:MyGA", GENETIC),
        ("own.py:CEM()", VECTORS),
        ("own (2).py:CEM(share=0.5)", VECTORS),
        ("own (2).py:MyGA", GENETIC),
        ("of_a_plugin", GENETIC),
        ("of_a_plugin()", VECTORS),
    ],
)
def test_the_kind_is_told_by_the_name_alone(strategy: str, kind: StrategyKind) -> None:
    assert kind_of(strategy) is kind


def test_members_and_labels() -> None:
    config = RunConfig(children=40)
    assert [kind.members(config) for kind in KINDS] == [40, 40, 256, 1, 256, 256]
    assert [label_of(name) for name in ("sgd", "snes")] == ["sgd (gradients)", "snes"]
