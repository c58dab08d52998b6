"""The folder of a run is renamed, moved or removed while the run writes into it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab_outcome import merged, outcome

from galab.config import RunConfig
from galab.errors import RunFolderError
from galab.storage.held_folder import HeldFolder
from galab.storage.run_folder import RunFolder
from galab.training.start_or_resume import resume, start
from galab.training.trials import processes
from galab.training.trials.trials import start_trials

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows lets nobody rename a folder with open files in it")


def at(generation: int, act: Callable[[], object]) -> Callable[[dict[str, Any]], None]:
    """A hook that acts once."""
    return lambda line: act() if line["generation"] == generation else None  # type: ignore[func-returns-value]


@pytest.mark.parametrize("moved", ["renamed", "elsewhere", "with its parent", "replaced"])
def test_a_run_goes_on_where_its_folder_is_now(
    tmp_path: Path, small: dict[str, Any], caplog: Any, moved: str
) -> None:
    runs, new = tmp_path / "runs", tmp_path / "new"
    unbroken = start(RunConfig(**small), name="first", runs=tmp_path / "unbroken")
    here = new / "first" if moved == "with its parent" else new

    def move() -> None:
        if moved == "with its parent":
            runs.rename(new)
        else:
            (runs / "first").rename(new)
        if moved == "replaced":
            shutil.copytree(new, runs / "first")

    result = start(RunConfig(**small), name="first", runs=runs, hooks=[at(3, move)])
    assert result.folder.path == here
    assert outcome(here) == outcome(unbroken.folder.path)
    assert RunFolder(here).read_status()["state"] == "finished"  # type: ignore[index]
    if moved == "replaced":
        assert RunFolder(runs / "first").read_status()["generation"] == 2  # type: ignore[index]
    else:
        assert not (runs / "first").exists()
    told = [record.getMessage() for record in caplog.records if "was moved to" in record.getMessage()]
    assert told == [f"the folder '{runs / 'first'}' of this run was moved to '{here}', where the run goes on"]
    assert resume(here, {"generations": 7}).generation == 7


def test_code_that_changes_the_current_folder_leaves_a_run_where_it_is(
    tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    start(RunConfig(**small), name="first", runs=Path("runs"), hooks=[at(3, lambda: os.chdir("other"))])
    assert not any(Path().iterdir())
    assert RunFolder(tmp_path / "runs" / "first").read_status()["generation"] == 5  # type: ignore[index]


def test_a_run_whose_folder_was_removed_ends_with_a_sentence_and_makes_no_other(
    tmp_path: Path, small: dict[str, Any]
) -> None:
    def move_to_another_disk() -> None:
        shutil.copytree(tmp_path / "first", tmp_path / "copy")
        shutil.rmtree(tmp_path / "first")

    with pytest.raises(RunFolderError, match="found it removed or moved to another disk; if there is a copy, `galab"):
        start(RunConfig(**small), name="first", runs=tmp_path, hooks=[at(3, move_to_another_disk)])
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]
    resume(tmp_path / "copy")
    assert outcome(tmp_path / "copy") == outcome(start(RunConfig(**small), name="whole", runs=tmp_path).folder.path)


def test_a_folder_that_is_moved_in_the_middle_of_a_write_is_written_again(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "first", {})

    def write(place: RunFolder) -> None:
        if place.name == "first":
            place.path.rename(tmp_path / "second")
        place.write_status("running", generation=1)

    with HeldFolder(folder) as home:
        home.write(write)
        assert home.here().path == tmp_path / "second"
        with pytest.raises(RunFolderError, match="a full disk"):
            home.write(full_disk)
    assert [path.name for path in tmp_path.iterdir()] == ["second"]


def full_disk(_folder: RunFolder) -> None:
    raise RunFolderError("a full disk")


def test_trials_that_have_not_begun_make_no_stub_where_their_group_was(
    tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("galab.training.trials.trials.MOST_TOGETHER", 1)
    begun: list[int] = []
    plain = processes.run_batch

    def moving(trials: Any, *rest: Any) -> Any:
        if begun:
            (tmp_path / "group").rename(tmp_path / "moved")
        begun.append(1)
        return plain(trials, *rest)

    monkeypatch.setattr(processes, "run_batch", moving)
    done = start_trials(RunConfig(**merged(small, {})), (5, 6), name="group", runs=tmp_path, jobs=1)
    assert not (tmp_path / "group").exists()
    assert [one.state for one in done.trials][1] == "failed"
    assert "it was moved or removed meanwhile" in done.trials[1].message
    assert RunFolder(tmp_path / "moved" / "seed_5").read_status()["state"] == "finished"  # type: ignore[index]
