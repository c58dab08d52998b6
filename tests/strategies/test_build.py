"""The class behind ``--strategy``: galab's own, a plugin's, or one of the user's."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from galab.config import registry
from galab.config.registry import STRATEGIES
from galab.errors import UsageError
from galab.strategies.build import canonical_strategy, genetic_class, vector_strategy
from galab.strategies.genetic import GeneticAlgorithm, RandomSearch
from galab.strategies.snes import SNES

OWN = "from galab.strategies.genetic import GeneticAlgorithm\nclass Mine(GeneticAlgorithm): ...\n"


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two installed strategies of others."""
    installed = [
        EntryPoint(name="their-snes", value="galab.strategies.snes:SNES", group="galab.strategies"),
        EntryPoint(name="their-ga", value="galab.strategies.genetic:RandomSearch", group="galab.strategies"),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda *, group: [one for one in installed if one.group == group])
    STRATEGIES.__dict__.pop("_plugins", None)
    yield
    STRATEGIES.__dict__.pop("_plugins", None)


def test_galabs_own_names_are_not_loaded_to_be_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "import_reference", lambda *_: pytest.fail("imported"))
    assert [canonical_strategy(name) for name in ("ga", "eggroll", "snes()")] == ["ga", "eggroll", "snes"]
    assert canonical_strategy("snes( lr_sigma = 0.10 )") == "snes(lr_sigma=0.1)"


def test_a_genetic_algorithm_of_ones_own_stands_alone(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    name = f"{tmp_path}/own.py:Mine"
    assert canonical_strategy(name) == canonical_strategy(f"{name}()") == name
    assert issubclass(genetic_class(name), GeneticAlgorithm)
    with pytest.raises(UsageError, match="own.py:Mine without arguments, as a genetic algorithm takes its options"):
        canonical_strategy(f"{name}(children=3)")


@pytest.mark.usefixtures("plugins")
def test_plugins_add_strategies_of_both_contracts() -> None:
    assert [canonical_strategy(name) for name in ("their-snes", "their-snes(lr_sigma=0.1)", "their-ga")] == [
        "their-snes()", "their-snes(lr_sigma=0.1)", "their-ga",
    ]  # fmt: skip
    assert genetic_class("their-ga") is RandomSearch
    start = np.ones(3, np.float32)
    assert isinstance(vector_strategy("their-snes()", start, run_key=1, population=4, sigma=0.1), SNES)


def test_a_strategy_over_vectors_without_brackets_is_told_to_have_some() -> None:
    with pytest.raises(UsageError, match="expected --strategy 'galab.strategies.snes:SNES.*', with brackets, as it is"):
        genetic_class("galab.strategies.snes:SNES")


@pytest.mark.parametrize("name", ["shutil:rmtree", "collections:OrderedDict"])
def test_nothing_else_is_called(name: str) -> None:
    for load in (canonical_strategy, genetic_class):
        with pytest.raises(UsageError, match=f"strategy '{name}': expected a subclass of galab's GeneticAlgorithm or"):
            load(name)
    with pytest.raises(UsageError, match="expected a subclass of galab's GeneticAlgorithm or a class with"):
        vector_strategy(f"{name}()", np.ones(3, np.float32), run_key=1, population=4, sigma=0.1)
