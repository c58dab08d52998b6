"""The three analyses of mutations on runs of every kind: an answer, or one clear sentence."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galab.analysis.base import Analysis
from galab.analysis.mutation_fitness import mutation_fitness
from galab.analysis.replay import replay
from galab.analysis.step_size import step_size
from galab.config import RunConfig
from galab.errors import UsageError
from galab.saved_runs.history import History
from galab.saved_runs.saved_run import SavedRun, open_saved
from galab.storage.files import json_text
from galab.training.start_or_resume import start

SMALL: dict[str, Any] = {
    "task": "digits", "hidden": "4", "batch": 64, "parents": 3, "children": 6, "seed": 5, "threads": 1,
    "generations": 6, "save_every": 2, "report_every": 2, "keep": "all", "precision": "float32",
}  # fmt: skip
MEMORIES = {"model": "memory(heads=6, bank=random)", "hidden": None, "mutate": "memory-perturb", "sigma": 0.5}
ES = {"strategy": "eggroll", "population": 16, "lr": 0.1, "sigma": 0.05}
KINDS: dict[str, dict[str, Any]] = {
    "ga": {}, "es": ES, "memories": {**MEMORIES, "fitness": "wrong"}, "one": {"generations": 1, "crossover": "row"},
    "wrong": {"fitness": "wrong", "elites": 1}, "random": {"strategy": "random"},
}  # fmt: skip
ASKED: dict[str, Callable[[SavedRun], Analysis]] = {
    "mutation-fitness": lambda saved: mutation_fitness(
        saved, quiet, sigmas="0.001,0.1", distributions="normal,sign", samples=24, layer_samples=16, examples=100
    ),
    "replay": lambda saved: replay(saved, quiet, examples=200),
    "step-size": lambda saved: step_size(saved, quiet, sigmas="0.001,0.01,0.1", samples=16, moments=3, examples=100),
}


def quiet(what: str, share: float) -> None:
    assert 0 <= share <= 1


def made(home: Path, name: str, changes: dict[str, Any]) -> SavedRun:
    """A small run with changes."""
    foreign = ("parents", "children") if changes.get("strategy") == "eggroll" else ()
    options = {name: value for name, value in SMALL.items() if name not in foreign} | changes
    start(RunConfig(**options), name=name, runs=home)
    return open_saved(home / name)


@pytest.fixture
def evolve(tmp_path: Path) -> Callable[..., SavedRun]:
    return lambda **changes: made(tmp_path, "run", changes)


@pytest.fixture(scope="module")
def saved_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], SavedRun]:
    """The run of a kind, made once; nothing writes to it."""
    home = tmp_path_factory.mktemp("kinds")
    return functools.cache(lambda kind: made(home, kind, KINDS[kind]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("kind", KINDS)
def test_every_run_has_an_answer_or_a_sentence(
    saved_of: Callable[[str], SavedRun], kind: str, name: str, tmp_path: Path
) -> None:
    saved = saved_of(kind)
    if (name, kind) == ("replay", "random"):
        with pytest.raises(UsageError, match="expected a lineage with mutations"):
            ASKED[name](saved)
        return
    found = ASKED[name](saved)
    assert found.sentence.endswith(".")
    assert "train examples of digits" in found.sentence
    assert json.loads(json_text(dict(found.values)))["examples"] in (100, 200)
    assert found.rows
    assert len({tuple(row) for row in found.rows}) == 1
    found.draw(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    if kind == "ga":
        assert ASKED[name](saved).sentence == found.sentence, "asked again, the answer is another one"


@pytest.mark.slow
def test_the_steps_of_a_line_add_up_to_what_the_run_measured(evolve: Any) -> None:
    saved = evolve(batch=0, crossover="none", generations=9)
    found = replay(saved, quiet)
    kinds = [found.values[kind] for kind in ("improving", "neutral", "harmful")]
    assert sum(one["count"] for one in kinds) == found.values["steps"] == 9
    place = saved.state["champion"]["place"]
    last = saved.state["strategy"]["parent_fitness"][place]
    history = History(saved)
    from galab.saved_runs.probe import Probe

    probe = Probe(saved)
    first = probe.fitness([history.member(history.descent(history.champion())[0].id)], probe.examples())[0]
    assert sum(one["sum"] for one in kinds) == pytest.approx(last - first, rel=1e-5)
    # On the full set, without elites, the best is selected always, and whoever is selected was among the best.
    broods = found.values["broods"]
    assert all(one["best_selected"] or one["beneficial"] == 0 for one in broods if one["generation"] > 1)
    by_generation = {row["generation"]: row["fitness"] for row in found.rows}
    logged = {line["generation"]: line["fitness_best"] for line in history.log}
    assert by_generation[9] <= logged[9] + 1e-6


def test_updates_of_a_centre_are_those_of_the_log(evolve: Any) -> None:
    saved = evolve(**ES, batch=0)
    found = replay(saved, quiet)
    assert found.values["who"] == "centre's way"
    assert found.values["broods"] == []
    assert [row["generation"] for row in found.rows] == [1, 2, 3, 4, 5, 6]
    with pytest.raises(UsageError, match="expected --who centre"):
        replay(saved, quiet, who="parents")


def test_all_that_were_selected_are_replayed(evolve: Any) -> None:
    saved = evolve()
    found = replay(saved, quiet, who="parents")
    assert found.values["steps"] == 18
    assert set(found.values["selection_coefficient"]) == {"improving", "neutral", "harmful", "failed"}


def test_choices_that_make_no_sense_are_one_sentence(evolve: Any) -> None:
    saved = evolve()
    for asked, match in (
        (lambda: mutation_fitness(saved, quiet, samples=0), "--samples of at least 1"),
        (lambda: mutation_fitness(saved, quiet, sigmas="0.1,x"), "--sigmas"),
        (lambda: mutation_fitness(saved, quiet, generation=7), "from 0 to 6"),
        (lambda: replay(saved, quiet, who="centre"), "expected --who champion"),
        (lambda: replay(saved, quiet, tolerance=np.nan), "--tolerance"),
        (lambda: step_size(saved, quiet, moments=0), "--moments"),
    ):
        with pytest.raises(UsageError, match=match):
            asked()


@pytest.mark.slow
def test_too_few_mutations_are_said_and_not_refused(evolve: Any, tmp_path: Path) -> None:
    saved = evolve()
    asked: dict[str, Any] = {"sigmas": "0.001,0.1", "distributions": "normal", "examples": 100}
    found = mutation_fitness(saved, quiet, samples=4, layer_samples=3, **asked)
    facts = found.values
    assert (facts["children"], facts["best_of"], facts["layer_best_of"]) == (6, 4, 3)
    assert "too few for the best of 6 children" in found.sentence
    assert "no interval: that takes 32 mutations" in found.sentence
    assert any(row["mutated"] != "all" for row in found.rows), "the tensors alone are there all the same"
    assert {row["expected_best_low"] for row in found.rows} == {None}
    found.draw(tmp_path / "few.png")
    known = mutation_fitness(saved, quiet, samples=48, layer_samples=0, **asked)
    assert known.values["best_sigma"]["normal"]["low"] is not None
    assert "no interval" not in known.sentence
    assert "--samples" not in known.sentence
    few = step_size(saved, quiet, sigmas="0.001,0.01", samples=4, moments=2, examples=100)
    assert "expected best of 4, as 4 samples are too few for the run's 6" in few.sentence


def test_samples_grow_with_the_children(evolve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("galab.analysis.mutation_fitness._SAMPLES", 16)
    monkeypatch.setattr("galab.analysis.mutation_fitness._LAYER_SAMPLES", 16)
    saved = evolve()
    asked: dict[str, Any] = {"sigmas": "0.001", "distributions": "normal", "examples": 50}
    facts = mutation_fitness(saved, quiet, **asked).values
    assert (facts["samples"], facts["layer_samples"], facts["best_of"]) == (48, 48, 6)
    monkeypatch.setattr("galab.analysis.mutation_fitness._MOST_SAMPLES", 20)
    facts = mutation_fitness(saved, quiet, children=30, **asked).values
    assert (facts["samples"], facts["layer_samples"], facts["best_of"]) == (20, 20, 20)


def test_the_answer_is_of_the_runs_own_distribution(evolve: Any) -> None:
    saved = evolve(distribution="sign")
    asked: dict[str, Any] = {"sigmas": "0.001,100", "samples": 48, "layer_samples": 16, "examples": 100}
    found = mutation_fitness(saved, quiet, distributions="normal,sign", **asked)
    assert found.values["distribution"] == "sign"
    assert "at sign noise" in found.sentence
    assert set(found.values["better_in_resamples"]) == {"normal"}
    assert mutation_fitness(saved, quiet, distributions="laplace,normal", **asked).values["distribution"] == "laplace"
    own = [row for row in found.rows if (row["mutated"], row["distribution"]) == ("all", "sign")]
    (best,) = [row for row in own if row["sigma"] == found.values["best_sigma"]["sign"]["sigma"]]
    assert f"improve and {best['lethal']:,} are lethal" in found.sentence
    assert found.values["lethal"] == sum(row["lethal"] for row in found.rows) > best["lethal"]


def test_the_oracle_draws_from_the_runs_own_table(evolve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from galab.saved_runs.mutants import MutationScores

    used = []
    plain = MutationScores.drawn

    def spied(self: Any, weights: Any, law: Any, *others: Any, **named: Any) -> Any:
        used.append(law)
        return plain(self, weights, law, *others, **named)

    monkeypatch.setattr(MutationScores, "drawn", spied)
    saved = evolve(distribution="scipy:logistic")
    step_size(saved, quiet, sigmas="0.01", samples=8, moments=1, examples=50)
    assert {law.name for law in used} == {saved.law.name} != {"normal"}
