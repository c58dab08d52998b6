"""``kill -9`` at any moment, and resuming: the run ends as if nothing had happened."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lab_outcome import ENGINE, EVOLUTION, GRADIENTS, VECTORS

DRIVER = Path(__file__).with_name("kill_driver.py")
#: 50 is what the issue asks for; the suite takes fewer, which are other moments with another seed.
KILLS = int(os.environ.get("GALAB_KILLS", "10"))
STRIDE = int(os.environ.get("GALAB_KILL_STRIDE", "17"))
#: Kinds of runs that are killed too; with GALAB_KILLS given, all of them, as often as plain ones.
KINDS = [*ENGINE, *EVOLUTION, *GRADIENTS, *VECTORS]
KINDS = KINDS if "GALAB_KILLS" in os.environ else ["genes", "eggroll", "adam", "snes"]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def trials(folder: Path, *arguments: object) -> list[dict[str, Any]]:
    command = [sys.executable, str(DRIVER), str(folder), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_kills_at_random_moments_change_nothing(tmp_path: Path) -> None:
    found = trials(tmp_path, "random", KILLS, 7)
    assert sum(len(trial["kills"]) for trial in found) == KILLS
    assert len({place for trial in found for place in trial["kills"]}) > 2, "the kills were not spread over the run"
    assert [trial for trial in found if trial["different"]] == []


def test_kills_at_changes_to_the_disk_change_nothing(tmp_path: Path) -> None:
    """Before, after and in the middle of a write, a rename, a deletion; resuming is killed too."""
    found = trials(tmp_path, "everywhere", STRIDE, 5)
    places = {trial["kills"][0] for trial in found}
    assert -1 in places, "no kill came before the first checkpoint"
    assert max(places) >= 4, "no kill came late"
    assert [trial for trial in found if trial["different"]] == []


@pytest.mark.parametrize("kind", KINDS)
def test_kills_change_nothing_in_a_run_with_more_state(tmp_path: Path, kind: str) -> None:
    kills = KILLS if "GALAB_KILLS" in os.environ else 3
    found = trials(tmp_path, "random", kills, 11, kind)
    assert sum(len(trial["kills"]) for trial in found) == kills
    assert [trial for trial in found if trial["different"]] == []
