"""``kill -9`` at any moment, and resuming: the run ends as if nothing had happened."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lab_outcome import ENGINE, EPISODES, EVOLUTION, GRADIENTS, INTEGER, OTHER_WORLDS, PROMPTS, VECTORS

DRIVER = Path(__file__).with_name("kill_driver.py")
#: Before a release: kills of a run of each kind, and which changes to the disk of a plain run are killed at.
MANY = int(os.environ.get("GALAB_KILLS", "50"))
STRIDE = int(os.environ.get("GALAB_KILL_STRIDE", "1"))

pytestmark = [pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"), pytest.mark.slow]


def trials(folder: Path, *arguments: object) -> list[dict[str, Any]]:
    command = [sys.executable, str(DRIVER), str(folder), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3000, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def check_kills_at_random_moments(folder: Path, kills: int, seed: int, *kinds: str) -> None:
    found = trials(folder, "random", kills, seed, *kinds)
    assert sum(len(trial["kills"]) for trial in found) == kills * max(1, len(kinds))
    assert kills < 5 or len({place for trial in found for place in trial["kills"]}) > 2, "the kills were not spread"
    assert [trial for trial in found if trial["different"]] == []


def check_kills_at_changes_to_the_disk(folder: Path, stride: int, offset: int) -> None:
    """Before, after and in the middle of a write, a rename, a deletion; resuming is killed too."""
    found = trials(folder, "everywhere", stride, offset)
    places = {trial["kills"][0] for trial in found}
    assert -1 in places, "no kill came before the first checkpoint"
    assert max(places) >= 4, "no kill came late"
    assert [trial for trial in found if trial["different"]] == []


def test_kills_at_changes_to_the_disk_change_nothing(tmp_path: Path) -> None:
    check_kills_at_changes_to_the_disk(tmp_path, 37, 1)


def test_kills_change_nothing_in_runs_with_more_state(tmp_path: Path) -> None:
    check_kills_at_random_moments(tmp_path, 2, 11, "genes", "eggroll", "egg")


@pytest.mark.release
@pytest.mark.parametrize("kind", [None, *ENGINE, *EVOLUTION, *GRADIENTS, *VECTORS, *INTEGER, *EPISODES])
def test_many_kills_change_nothing_in_any_kind_of_run(tmp_path: Path, kind: str | None) -> None:
    check_kills_at_random_moments(tmp_path, MANY, 13, *([kind] if kind else []))


@pytest.mark.release
@pytest.mark.parametrize("kind", OTHER_WORLDS)
def test_many_kills_change_nothing_in_worlds_of_other_packages(tmp_path: Path, kind: str) -> None:
    for package in ("gymnasium", "Box2D", "ale_py"):
        pytest.importorskip(package)
    check_kills_at_random_moments(tmp_path, MANY, 17, kind)


@pytest.mark.release
@pytest.mark.parametrize("kind", PROMPTS)
def test_many_kills_change_nothing_in_runs_of_language_models(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("transformers")
    check_kills_at_random_moments(tmp_path, MANY, 19, kind)


@pytest.mark.release
def test_a_kill_at_any_change_to_the_disk_changes_nothing(tmp_path: Path) -> None:
    check_kills_at_changes_to_the_disk(tmp_path, STRIDE, 0)
