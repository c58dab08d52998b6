"""``galab analyze``: its help, files and sentence, and one sentence for whatever cannot be analysed."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def bank(evolve: Callable[..., Path]) -> Callable[..., Path]:
    """``bank("name", "--generations", 3)`` is a run of memories on the digits."""

    def make(name: str = "bank", *flags: Any, options: str = "heads=6, bank=random") -> Path:
        network = "--model", f"memory({options})", "--hidden", ""
        return evolve(name, *network, "--mutate", "memory-perturb", "--sigma", "0.5", *flags)

    return make


def test_help_lists_the_analyses_and_their_options(galab: Any) -> None:
    listed = " ".join(galab("analyze", "--help").out.split())
    assert "memory Who uses which memory, how safely, what room is left." in listed
    said = galab("analyze", "memory", "--help").out
    for words in ("RUN_OR_PKL", "--points INTEGER", "The first so many of them.", "[default: train]", "--trust"):
        assert words in said
    assert "analyze" in galab("--help").out


def test_an_unknown_analysis_is_answered_with_the_closest(sentence: Any) -> None:
    said = sentence("analyze", "memry", "runs/x", code=2)
    assert "no analysis is called 'memry'. Did you mean 'memory'? `galab analyze --help` lists the names." in said


@pytest.mark.slow
def test_memories_of_a_run_are_written_down(galab: Any, bank: Any) -> None:
    import galab as library

    path = bank()
    said = galab("analyze", "memory", path, "--points", 40)
    assert len(said.out.splitlines()) == 1
    found = json.loads((path / "analysis" / "memory.json").read_text())
    assert found["answer"] == said.out.strip()
    assert (path / "analysis" / "memory.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((path / "analysis" / "memory.csv").read_text().splitlines()))
    # By hand from the network that everybody else gets.
    network: Any = library.load(path)
    from galab.tasks import load_task

    shown = load_task("digits", "auto").train
    near = network.nearness(shown.inputs[:40]).numpy()
    served = near.argmax(1)
    right = network.classes.numpy().argmax(1)[served] == shown.targets[:40].numpy()
    assert [int(row["serves"]) for row in rows] == np.bincount(served, minlength=6).tolist()
    assert [float(row["norm"]) for row in rows] == pytest.approx(network.memories.norm(dim=1).tolist())
    assert (found["right"], found["points"], found["heads"]) == (right.sum(), 40, 6)
    assert found["planted"]["before"] == right.sum()
    assert found["planted"]["points"] == (~right).sum()
    assert found["planted"]["after"] == pytest.approx(
        found["planted"]["before"] - found["planted"]["broken"] + found["planted"]["mended"]
    )
    assert found["input_rank"] + found["free_dimensions"] == 64
    assert 0 <= found["harmless_steps_1"] <= found["harmless_steps_0.1"] <= 1
    assert f"answers {right.sum()} of 40 train inputs rightly" in said.out


@pytest.mark.slow
def test_a_checkpoint_has_files_of_its_own_and_others_stay_as_they_are(galab: Any, bank: Any, tmp_path: Path) -> None:
    path = bank()
    first = path / "checkpoints" / "gen_000000.pkl"
    assert "The champion of generation 0 " in galab("analyze", "memory", first, "-q").out
    assert sorted(file.name for file in (path / "analysis").iterdir()) == [
        "memory-gen_000000.csv", "memory-gen_000000.json", "memory-gen_000000.png",
    ]  # fmt: skip
    alone = tmp_path / "alone.pkl"
    alone.write_bytes(first.read_bytes())
    galab("analyze", "memory", alone)
    assert (tmp_path / "analysis" / "memory-alone.json").is_file()


@pytest.mark.slow
def test_a_run_of_one_generation_and_the_same_numbers_again(galab: Any, bank: Any) -> None:
    path = bank("one", "--generations", 1)
    once = galab("analyze", "memory", path).out
    assert "generation 1 " in once
    assert galab("analyze", "memory", path).out == once


@pytest.mark.slow
def test_angles_of_a_torus_are_not_planted(galab: Any, bank: Any) -> None:
    path = bank("projected", options="heads=6, bank=random, norm=torus")
    said = galab("analyze", "memory", path).out
    assert "planting" not in said
    assert "seen by no input" not in said
    assert "break nothing" in said
    assert json.loads((path / "analysis" / "memory.json").read_text())["planted"] is None


@pytest.mark.slow
def test_whatever_cannot_be_analysed_is_one_sentence(sentence: Any, evolve: Any, bank: Any, tmp_path: Path) -> None:
    plain = evolve("plain")
    assert "expected a network with memories, such as --model memory" in sentence("analyze", "memory", plain, code=2)
    assert "got mlp in" in sentence("analyze", "memory", plain, code=2)
    assert "found none" in sentence("analyze", "memory", _without_checkpoints(evolve("empty")))
    path = bank("damaged")
    newest = max((path / "checkpoints").iterdir())
    newest.write_bytes(newest.read_bytes()[:-50])
    assert newest.name in sentence("analyze", "memory", path)
    assert "got nothing" in sentence("analyze", "memory", "runs/absent")
    (tmp_path / "folder").mkdir()
    assert "without config.json" in sentence("analyze", "memory", "folder")
    good = bank("good")
    assert "--split" in sentence("analyze", "memory", good, "--split", "all", code=2)
    assert "--points" in sentence("analyze", "memory", good, "--points", 0, code=2)
    assert not (good / "analysis").exists()


def _without_checkpoints(path: Path) -> Path:
    for file in (path / "checkpoints").iterdir():
        file.unlink()
    return path
