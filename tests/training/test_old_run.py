"""A run that version 0.1.0 made: whatever is added, it loads, goes on and follows from its seeds."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab_outcome import log_of, newest_state

from galab.errors import UsageError
from galab.genome.births import BIRTH
from galab.saved_runs.export import export, read_genome
from galab.saved_runs.saved_run import evaluate, open_saved
from galab.saved_runs.verify import verify
from galab.storage.lineage import read_rows
from galab.storage.run_folder import RunFolder
from galab.training.compose import compose
from galab.training.start_or_resume import resume

OLD = Path(__file__).parent / "runs" / "version-0.1.0"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD, tmp_path / "old"))


def test_it_is_as_old_as_it_should_be() -> None:
    state = newest_state(OLD)
    assert "granularity" not in state["hyperparameters"]
    assert "log_sigma" not in state
    assert "islands" not in state["strategy"]


def test_it_follows_from_its_seeds(old: Path) -> None:
    verdicts = verify(RunFolder(old))
    assert len(verdicts) == 5
    assert all(verdict.good for verdict in verdicts)


def test_its_champion_scores_as_it_did(old: Path) -> None:
    """To six digits on any machine; to the last bit only under the run's numeric profile."""
    expected = newest_state(old)["champion"]["metrics"]["validation_accuracy"]
    assert evaluate(old, split="validation")["validation_accuracy"] == pytest.approx(expected, abs=0.004)


def test_it_exports_the_weights_of_its_champion(old: Path, tmp_path: Path) -> None:
    saved = open_saved(old)
    for keyframe in (False, True):
        export(saved, "genome", tmp_path / "genome.json", keyframe=keyframe)
        assert np.array_equal(read_genome(tmp_path / "genome.json")[1].weights, saved.member().weights)


@pytest.mark.slow
def test_it_goes_on_and_still_follows_from_its_seeds(old: Path) -> None:
    before = log_of(old)
    result = resume(old, {"generations": 203}, allow_numeric_change=True)
    assert result.generation == 203
    assert log_of(old)[:200] == before
    state = newest_state(old)
    assert state["strategy"]["births"].dtype == BIRTH
    assert read_rows(old / "lineage.bin", BIRTH)["id"][-1] >= 6408
    assert all(verdict.good for verdict in verify(RunFolder(old)))


@pytest.mark.slow
def test_repeating_the_flags_that_it_was_started_with_is_no_change(old: Path) -> None:
    """Also flags that did not exist: they mean what the run did."""
    repeated: dict[str, Any] = {"parents": 8, "step_size": "log-normal", "crossover": "none", "founders": "distinct"}
    assert resume(old, repeated, allow_numeric_change=True).reason == "nothing left to do, 200 generations done"
    with pytest.raises(UsageError, match=r"expected --crossover none as .* got --crossover row: .* --crossover row`"):
        resume(old, {"crossover": "row"}, allow_numeric_change=True)


def test_a_new_run_may_start_from_it(old: Path) -> None:
    config = compose({"origin": str(old), "crossover": "mean", "granularity": "parameter"})
    assert config.step_size is None
    assert config.sigma == pytest.approx(0.0036, abs=0.001)
