"""A run's past from its seeds: whoever a checkpoint holds comes out of it to the bit, and so does every centre."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lab_outcome import ENGINE, EVOLUTION, GRADIENTS

import galab
from galab.errors import CheckpointError, UsageError
from galab.saved_runs.history import History
from galab.saved_runs.saved_run import open_saved
from galab.storage.log import read_log
from galab.storage.run_folder import RunFolder

Evolve = Callable[..., Path]


def at(run: Path, generation: int) -> Path:
    return run / "checkpoints" / f"gen_{generation:06d}.pkl"


@pytest.mark.parametrize("kind", ["plain", "sexual", "union", "momentum", "parameter", "memories", "islands"])
def test_the_parents_of_every_checkpoint_come_out_to_the_bit(evolve: Evolve, kind: str) -> None:
    run = evolve(keep="all", **ENGINE.get(kind, {}))
    history = History(open_saved(run))
    for generation in (0, 2, 4, 5):
        saved = open_saved(at(run, generation))
        for place, number in enumerate(saved.numbers):
            np.testing.assert_array_equal(history.member(number).floats(), saved.member(place).floats())


@pytest.mark.parametrize("kind", EVOLUTION | GRADIENTS)
def test_every_centre_comes_out_to_the_bit(evolve: Evolve, kind: str) -> None:
    run = evolve(keep="all", **(EVOLUTION | GRADIENTS)[kind])
    way = dict(History(open_saved(run)).trajectory())
    assert list(way) == [0, 1, 2, 3, 4, 5]
    for generation in (0, 2, 4, 5):
        np.testing.assert_array_equal(way[generation].floats(), open_saved(at(run, generation)).member().floats())


@pytest.mark.parametrize("changes", [{}, {"strategy": "eggroll", "population": 8}], ids=["ga", "eggroll"])
def test_the_best_so_far_is_the_one_that_the_log_names(evolve: Evolve, changes: dict[str, Any]) -> None:
    run = evolve(generations=12, sigma=0.5, report_every=1, keep="all", save_every=1, **changes)
    log = read_log(run / "log.jsonl")
    best = max(log, key=lambda line: line["validation_accuracy"])
    assert best["validation_accuracy"] > log[-1]["validation_accuracy"]
    network = galab.load(run, best=True)
    expected = open_saved(at(run, best["generation"]))
    for name, value in expected.module_with(expected.member()).state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], value, rtol=0, atol=0)
    with pytest.raises(UsageError, match="expected best=True with a run alone"):
        galab.load(run, 0, best=True)


def test_without_a_report_there_is_no_best(evolve: Evolve) -> None:
    with pytest.raises(UsageError, match="expected a report in the log of .*, found none; let the run go on"):
        galab.load(evolve(report_every=100), best=True)


def test_the_line_of_the_champion_leads_from_a_founder_to_it(evolve: Evolve) -> None:
    run = evolve(crossover="none")
    saved = open_saved(run)
    history = History(saved)
    line = history.descent(history.champion())
    assert not line[0].parents
    assert all(child.parents[0] == parent.id for parent, child in pairwise(line))
    generations, members = zip(*history.trajectory(), strict=True)
    assert list(generations) == [birth.generation for birth in line]
    np.testing.assert_array_equal(members[-1].floats(), saved.member().floats())


def test_the_selected_of_a_generation_are_its_parents(evolve: Evolve) -> None:
    run = evolve(keep="all")
    selected = History(open_saved(run)).selected()
    assert [len(selected[generation]) for generation in range(6)] == [3] * 6
    assert selected[4] == sorted(open_saved(at(run, 4)).numbers)


def test_the_past_ends_at_the_checkpoint_that_was_opened(evolve: Evolve) -> None:
    run = evolve(keep="all")
    history = History(open_saved(at(run, 2)))
    assert max(history.selected()) == 2
    assert history.log[-1]["generation"] == 2
    assert history.champion() == open_saved(at(run, 2)).state["champion"]["id"]


def test_champions_are_those_of_the_last_report(evolve: Evolve) -> None:
    run = evolve(keep="all")
    history = History(open_saved(run))
    named = {generation: open_saved(at(run, generation)).state["champion"]["id"] for generation in (2, 4)}
    assert [history.champion(generation) for generation in (2, 3, 4)] == [named[2], named[2], named[4]]
    with pytest.raises(UsageError, match="from 0 to 5, .* got 6"):
        history.champion(6)


def test_a_lone_checkpoint_has_no_past(evolve: Evolve, tmp_path: Path) -> None:
    lone = tmp_path / "lone.pkl"
    lone.write_bytes(at(evolve(), 5).read_bytes())
    with pytest.raises(UsageError, match="expected a run folder"):
        History(open_saved(lone))


def test_a_lineage_that_cannot_be_is_one_sentence(evolve: Evolve) -> None:
    run = evolve(crossover="none")
    path = RunFolder(run).lineage_path
    rows = bytearray(path.read_bytes())
    path.write_bytes(rows[: len(rows) // 2])
    saved = open_saved(run)
    with pytest.raises((CheckpointError, UsageError), match="expected"):
        History(saved).member(saved.numbers[0])
