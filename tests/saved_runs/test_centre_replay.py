"""Seed and scores rebuild an evolution strategy's training weight by weight, and every change to them is found."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab_outcome import EVOLUTION

from galab.cli.main import main
from galab.errors import CheckpointError
from galab.saved_runs.verify import conclusion, verify
from galab.storage import pickle_format
from galab.storage.lineage import read_rows
from galab.storage.run_folder import RunFolder
from galab.strategies.centre import record_dtype
from galab.training import evolution_search
from galab.training.start_or_resume import resume

ROW = record_dtype(16)


@pytest.fixture
def run(evolve: Any) -> Path:
    return evolve(generations=8, keep="all", **EVOLUTION["eggroll"])


def good(folder: Path) -> list[bool]:
    return [verdict.good for verdict in verify(RunFolder(folder))]


def rewrite(folder: Path, change: Callable[[Any], None]) -> None:
    """Change rows of the score log."""
    rows = read_rows(folder / "scores.bin", ROW)
    change(rows)
    (folder / "scores.bin").write_bytes(rows.tobytes())


def edit(folder: Path, generation: int, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a checkpoint and give it a right trailer again."""
    path = folder / "checkpoints" / f"gen_{generation:06d}.pkl"
    state = pickle_format.load(path)
    change(state)
    pickle_format.dump(state, path)


@pytest.mark.parametrize("kind", EVOLUTION)
def test_scores_alone_rebuild_the_training(evolve: Any, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    folder = evolve(generations=8, keep="all", **EVOLUTION[kind])
    for name in ("low_rank_names", "centre_evaluator", "Minibatches"):  # no network, no evaluation, no data
        monkeypatch.setattr(evolution_search, name, None)
    verdicts = verify(RunFolder(folder))
    assert [verdict.generation for verdict in verdicts] == [0, 2, 4, 6, 8]
    assert all(verdict.identical == verdict.weights > 300 for verdict in verdicts)
    assert all(verdict.good and not verdict.profile and verdict.difference == 0 for verdict in verdicts)
    assert conclusion(verdicts) == "every checkpoint follows from the seed and the scores"
    first, last = (pickle_format.load(verdict.path)["weights"] for verdict in (verdicts[0], verdicts[-1]))
    assert np.abs(first - last).max() > 0.01, "nothing was learned, so nothing was proved"


def test_a_schedule_that_ends_with_the_run_is_replayed_as_it_was_at_the_time(evolve: Any) -> None:
    folder = evolve(generations=6, keep="all", **EVOLUTION["fresh"])
    resume(folder, {"generations": 10})
    assert good(folder) == [True] * 6
    rewrite(folder, lambda rows: rows["planned"].__setitem__(2, 10))
    assert good(folder) == [True, True, False, False, False, False]


def test_one_bit_of_one_weight_is_found(run: Path) -> None:
    edit(run, 4, lambda state: state["weights"].view("<u4").__setitem__((0, 7), state["weights"].view("<u4")[0, 7] ^ 1))
    found = verify(RunFolder(run))
    assert [verdict.good for verdict in found] == [True, True, False, True, True]
    assert (found[2].identical, found[2].state) == (found[2].weights - 1, True)
    assert 0 < found[2].difference < 1e-6
    assert conclusion(found) == "a checkpoint does not follow from the seed and the scores"


def test_one_bit_of_the_optimisers_state_is_found(run: Path) -> None:
    def flip(state: dict[str, Any]) -> None:
        state["strategy"]["optimizer"][1]["exp_avg_sq"].view("<u4")[0] ^= 1

    edit(run, 6, flip)
    found = verify(RunFolder(run))
    assert [verdict.state for verdict in found] == [True, True, True, False, True]
    assert good(run) == [True, True, True, False, True]


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state["strategy"].update(pairs_worth=not state["strategy"]["pairs_worth"]),
        lambda state: state["hyperparameters"].update(lr=0.03),
        lambda state: state.update(founders="0" * 64),
        lambda state: state.update(ranks=[1, *state["ranks"][1:]]),
    ],
)
def test_other_changes_to_a_checkpoint_are_found(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    edit(run, 4, change)
    assert good(run) == [True, True, False, True, True]


def test_an_edited_score_is_found_from_its_generation_on(run: Path) -> None:
    rewrite(run, lambda rows: rows["fitness"].__setitem__((4, 3), -0.25))
    found = verify(RunFolder(run))
    assert [verdict.scores for verdict in found] == [True, True, True, False, False]
    assert [verdict.identical == verdict.weights for verdict in found] == [True, True, True, False, False]


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows["generation"].__setitem__(4, 6),
        lambda rows: rows["fitness"].__setitem__(4, np.nan),
        lambda rows: rows.__setitem__(slice(4, 6), rows[[5, 4]]),
    ],
    ids=["number", "all-failed", "order"],
)
def test_rows_that_cannot_be_end_the_replay(
    run: Path, change: Callable[[Any], None], caplog: pytest.LogCaptureFixture
) -> None:
    rewrite(run, change)
    found = verify(RunFolder(run))
    assert [verdict.good for verdict in found] == [True, True, True, False, False]
    assert [verdict.difference is None for verdict in found] == [False, False, False, True, True]
    assert "the replay ended at a row of the score log that cannot be" in caplog.text


def test_a_score_log_cut_short_is_found(run: Path) -> None:
    content = (run / "scores.bin").read_bytes()
    (run / "scores.bin").write_bytes(content[: 5 * ROW.itemsize + 3])
    assert good(run) == [True, True, True, False, False]
    (run / "scores.bin").write_bytes(b"")
    assert good(run) == [True, False, False, False, False]
    (run / "scores.bin").unlink()
    with pytest.raises(CheckpointError, match="expected a score log at"):
        verify(RunFolder(run))


def test_rows_after_the_newest_checkpoint_do_not_matter(run: Path) -> None:
    """A run that was killed has some."""
    content = (run / "scores.bin").read_bytes()
    (run / "scores.bin").write_bytes(content + content[-ROW.itemsize :] + b"half a row")
    assert good(run) == [True] * 5


def test_another_runs_founders_are_found(run: Path, evolve: Any) -> None:
    other = evolve("other", seed=6, **EVOLUTION["eggroll"])
    shutil.copy(other / "founders.pkl", run / "founders.pkl")
    assert good(run) == [False] * 5


def test_another_numeric_profile_is_told_apart_from_a_lie(run: Path) -> None:
    """As if all had been made on a machine that rounds another way."""

    def elsewhere(state: dict[str, Any]) -> None:
        state["numeric_profile"]["torch"] = "2.0.0"
        state["weights"] = np.nextafter(state["weights"], np.float32(9))

    for generation in (2, 4, 6, 8):
        edit(run, generation, elsewhere)
    found = verify(RunFolder(run))
    assert [verdict.good for verdict in found] == [True, False, False, False, False]
    assert conclusion(found).startswith("the replay ends at other bits, as it may under another numeric profile (torch")
    assert conclusion(found).endswith("; verify the run where it was made")
    rewrite(run, lambda rows: rows["fitness"].__setitem__((4, 3), -0.25))
    assert conclusion(verify(RunFolder(run))) == "a checkpoint does not follow from the seed and the scores"


def test_what_evaluation_alone_depends_on_does_not_matter(run: Path) -> None:
    for generation in (0, 2, 4, 6, 8):
        edit(run, generation, lambda state: state["numeric_profile"].update(chunk=4, forward="another", block=1))
    assert all(verdict.good and not verdict.profile for verdict in verify(RunFolder(run)))


def test_the_command_says_it_in_words(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said() -> tuple[str, Any]:
        with pytest.raises(SystemExit) as stop:
            main(["verify", str(run)])
        return capsys.readouterr().out, stop.value.code

    words, code = said()
    assert code == 0
    assert "every checkpoint follows from the seed and the scores" in words
    assert "centre" in words
    assert "parents" not in words
    edit(run, 4, lambda state: state["weights"].fill(0))
    words, code = said()
    assert code == 1
    assert "differs" in words
    assert "a checkpoint does not follow from the seed and the scores" in words


def test_a_resumed_run_whose_directions_would_be_others_is_refused(run: Path) -> None:
    edit(run, 8, lambda state: state.update(ranks=[0, *state["ranks"][1:]]))
    with pytest.raises(CheckpointError) as error:
        resume(run, {"generations": 9})
    said = "expected dense noise for 'hidden.0.weight' as the run was started with, got noise of rank 2 here"
    assert said in str(error.value)
    assert "start a new run from it with --from" in str(error.value)
