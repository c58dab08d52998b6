"""Names, retention and the search for the newest good checkpoint."""

import errno
import logging
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galab.errors import CheckpointError, RunFolderError, UsageError
from galab.storage import checkpoints

GENERATIONS = st.sets(st.integers(0, 10_000_000), max_size=60)


def fill(folder: Path, *generations: int) -> None:
    for generation in generations:
        checkpoints.save(folder, generation, {"generation": generation})


def generations_in(folder: Path) -> list[int]:
    return [generation for generation, _ in checkpoints.list_checkpoints(folder)]


def test_names_have_six_digits_and_grow(tmp_path: Path) -> None:
    assert checkpoints.checkpoint_path(tmp_path, 120).name == "gen_000120.pkl"
    assert checkpoints.checkpoint_path(tmp_path, 12_345_678).name == "gen_12345678.pkl"
    for generation in (0, 999_999, 1_000_000):
        assert checkpoints.generation_of(checkpoints.checkpoint_path(tmp_path, generation)) == generation
    for name in ("gen_12.pkl", "gen_0000120.pkl", "gen_000120.pkl.part", ".gen_000120.pkl", "founders.pkl"):
        assert checkpoints.generation_of(tmp_path / name) is None


def test_listing_is_by_generation_and_ignores_strangers(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    assert checkpoints.list_checkpoints(folder) == []
    fill(folder, 1_000_000, 20, 0)
    (folder / "notes.txt").write_text("mine")
    assert generations_in(folder) == [0, 20, 1_000_000]


def test_the_newest_good_one_is_found_past_damaged_ones(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(tmp_path, 0, 100, 200, 300)
    checkpoints.checkpoint_path(tmp_path, 300).write_bytes(b"")
    damaged = checkpoints.checkpoint_path(tmp_path, 200)
    damaged.write_bytes(damaged.read_bytes()[:-3])
    with caplog.at_level(logging.WARNING, "galab"):
        path, state = checkpoints.newest_good(tmp_path)
    assert path.name == "gen_000100.pkl"
    assert state["generation"] == 100
    assert len(caplog.records) == 2
    assert "gen_000300.pkl" in caplog.text


def test_no_good_checkpoint_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="got none; start the run again"):
        checkpoints.newest_good(tmp_path)
    checkpoints.checkpoint_path(tmp_path, 0).write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"only damaged ones, .*gen_000000.pkl"):
        checkpoints.newest_good(tmp_path)


def test_the_error_for_a_damaged_one_names_the_newest_good_one(tmp_path: Path) -> None:
    fill(tmp_path, 0, 100, 200)
    assert checkpoints.load_checked(checkpoints.checkpoint_path(tmp_path, 200))["generation"] == 200
    bad = checkpoints.checkpoint_path(tmp_path, 200)
    bad.write_bytes(b"\0" * 100)
    with pytest.raises(CheckpointError, match=r"gen_000200.pkl.*newest good checkpoint beside it is .*gen_000100.pkl"):
        checkpoints.load_checked(bad)
    with pytest.raises(CheckpointError, match="no good checkpoint lies beside it"):
        checkpoints.load_checked(tmp_path / "empty" / "gen_000001.pkl")


@given(GENERATIONS)
def test_log_keeps_the_newest_two_the_founders_and_about_eight_a_decade(generations: set[int]) -> None:
    kept = checkpoints.kept(generations, "log")
    assert kept <= generations
    assert set(sorted(generations)[-2:]) <= kept
    assert 0 not in generations or 0 in kept
    assert len(kept) <= 8 * math.log10(max(generations, default=0) + 1) + 4


@given(GENERATIONS)
def test_pruning_often_or_once_leaves_the_same_checkpoints(generations: set[int]) -> None:
    often: set[int] = set()
    for generation in sorted(generations):
        often = checkpoints.kept(often | {generation}, "log")
    assert often == checkpoints.kept(generations, "log")
    assert checkpoints.kept(often, "log") == often


@given(GENERATIONS, st.integers(1, 9))
def test_a_number_keeps_that_many_and_the_founders(generations: set[int], number: int) -> None:
    kept = checkpoints.kept(generations, str(number))
    assert set(sorted(generations)[-number:]) <= kept <= generations
    assert len(kept - {0}) <= number
    assert 0 not in generations or 0 in kept


def test_a_long_run_keeps_few() -> None:
    kept = sorted(checkpoints.kept(range(0, 100_001, 100), "log"))
    assert kept[:6] == [0, 100, 200, 300, 400, 500]
    assert kept[-2:] == [99_900, 100_000]
    assert len(kept) < 30
    assert checkpoints.kept(range(9), "all") == set(range(9))


@pytest.mark.parametrize("keep", ["", "0", "-1", "some", "1.5", "²"])
def test_an_unknown_retention_is_refused(keep: str) -> None:
    with pytest.raises(UsageError, match="--keep"):
        checkpoints.kept([1], keep)


def test_prune_and_cut_delete_files(tmp_path: Path) -> None:
    fill(tmp_path, 0, 100, 200, 300)
    (tmp_path / "notes.txt").write_text("mine")
    assert [path.name for path in checkpoints.prune(tmp_path, "1")] == ["gen_000100.pkl", "gen_000200.pkl"]
    assert [path.name for path in checkpoints.cut(tmp_path, 250)] == ["gen_000300.pkl"]
    assert generations_in(tmp_path) == [0]
    assert (tmp_path / "notes.txt").exists()


def test_a_read_only_folder_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, 0, 100, 200)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        with pytest.raises(RunFolderError, match=r"gen_000100.pkl.*make its folder writable"):
            checkpoints.prune(tmp_path, "1")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        with pytest.raises(RunFolderError, match="make its folder writable"):
            checkpoints.save(tmp_path / "new", 0, {})
