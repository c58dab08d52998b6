"""Individuals of a saved run, its step sizes, and several runs that share what is the same in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lab_outcome import EVOLUTION

from galab.contracts import Member
from galab.genome.weights import Phenotype
from galab.saved_runs.saved_run import open_below, open_saved


def test_runs_of_one_task_share_its_data(evolve: Any) -> None:
    first, second = open_below([evolve("one"), evolve("two", seed=6)])
    assert first.task is second.task
    assert first.module is not second.module


def test_another_checkpoint_shares_task_and_network(evolve: Any) -> None:
    saved = open_saved(evolve(keep="all"))
    earlier = saved.at(2)
    assert (earlier.generation, saved.generation) == (2, 5)
    assert earlier.task is saved.task
    assert earlier.module is saved.module
    assert earlier.numbers != saved.numbers


def test_generations_are_those_of_the_checkpoints_that_are_there(evolve: Any, tmp_path: Path) -> None:
    saved = open_saved(evolve(keep="all"))
    assert saved.generations == [0, 2, 4, 5]
    assert [saved.at(generation).generation for generation in saved.generations] == saved.generations
    alone = tmp_path / "alone.pkl"
    alone.write_bytes(sorted(saved.home.checkpoints.iterdir())[0].read_bytes())
    assert open_saved(alone).generations == [open_saved(alone).generation]


def test_a_network_with_weights_is_the_callers_own(evolve: Any) -> None:
    saved = open_saved(evolve())
    before = [part.clone() for part in saved.module.parameters()]
    with torch.no_grad():
        for part in saved.module_with(saved.member()).parameters():
            part.fill_(7)
    assert all(torch.equal(one, other) for one, other in zip(before, saved.module.parameters(), strict=True))


def with_steps(saved: Any, log_sigma: list[int]) -> Member:
    return Phenotype(saved.member().weights, np.array(log_sigma, np.int16))


def test_one_step_size_is_typical_and_root_mean_square(evolve: Any) -> None:
    saved = open_saved(evolve())
    member = with_steps(saved, [-512])
    assert saved.typical_step_size(member, 5) == saved.rms_step_size(member, 5) == 0.25


def test_step_sizes_of_tensors_count_by_their_weights(evolve: Any) -> None:
    saved = open_saved(evolve(granularity="tensor", step_size="fixed"))
    sizes = np.array(saved.layout.sizes)
    member = with_steps(saved, [-256, -512, -768, -1024])
    steps = np.array([0.5, 0.25, 0.125, 0.0625])
    mean_square = (sizes * steps**2).sum() / sizes.sum()
    assert saved.rms_step_size(member, 5) == pytest.approx(np.sqrt(mean_square))
    geometric = np.exp((sizes * np.log(steps)).sum() / sizes.sum())
    assert saved.typical_step_size(member, 5) == pytest.approx(geometric, rel=2**-8)


def test_a_centre_has_the_step_size_of_its_schedule(evolve: Any) -> None:
    saved = open_saved(evolve(**EVOLUTION["eggroll"]))  # decay:0.98 from 0.1
    centre = saved.member()
    assert saved.typical_step_size(centre, 1) == saved.rms_step_size(centre, 1) == 0.1
    assert saved.typical_step_size(centre, 0) == 0.1
    assert saved.typical_step_size(centre, 5) == pytest.approx(0.1 * 0.98**4)
