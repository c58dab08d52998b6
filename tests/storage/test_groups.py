"""Groups of runs on the disk."""

import json
from pathlib import Path

import pytest
from hostile_files import NAMES

from galab.errors import RunFolderError, UsageError
from galab.storage.groups import GroupFolder, is_group, runs_below
from galab.storage.run_folder import RunFolder, locate


def test_a_group_is_made_once_and_appears_with_its_content(tmp_path: Path) -> None:
    content = {"kind": "trials", "seeds": [1], "hyperparameters": {"task": "digits"}}
    group = GroupFolder.create(tmp_path, "g", content)
    assert group.read() == content
    assert is_group(tmp_path / "g")
    assert not is_group(tmp_path)
    assert sorted(path.name for path in group.path.iterdir()) == ["group.json"]
    with pytest.raises(RunFolderError, match=r"galab resume .*/g"):
        GroupFolder.create(tmp_path, "g", {"kind": "trials"})
    assert GroupFolder.create_free(tmp_path, "g", {"kind": "sweep"}).path.name == "g-2"
    with pytest.raises(UsageError, match="plain word"):
        GroupFolder.create(tmp_path, "a/b", {})


def test_a_group_of_another_kind_is_refused(tmp_path: Path) -> None:
    for content in ('{"kind": "other"}', "[]", "{"):
        (tmp_path / "group.json").write_text(content)
        with pytest.raises(RunFolderError):
            GroupFolder(tmp_path).read()


def test_runs_are_found_at_any_depth_in_natural_order(tmp_path: Path) -> None:
    for place in ("g/seed_10", "g/seed_2", "s/a=1/seed_0", "lone", "too/deep/to/find"):
        folder = tmp_path / place
        RunFolder.create(folder.parent, folder.name, {})
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "file").write_text("")
    names = [run.path.relative_to(tmp_path).as_posix() for run in runs_below(tmp_path)]
    assert names == ["g/seed_2", "g/seed_10", "lone", "s/a=1/seed_0"]
    assert [run.path for run in runs_below(tmp_path / "lone")] == [tmp_path / "lone"]
    assert runs_below(tmp_path / "missing") == []


def test_a_command_for_one_run_says_what_a_group_is(tmp_path: Path) -> None:
    GroupFolder.create(tmp_path, "g", {"kind": "trials"})
    with pytest.raises(RunFolderError, match=r"got the group .*seed_0"):
        locate(tmp_path / "g")


@pytest.mark.parametrize("name", NAMES, ids=lambda name: f"{name!r:.20}")
def test_a_cell_is_a_folder_in_its_group_and_nowhere_else(tmp_path: Path, name: object) -> None:
    (tmp_path / "group.json").write_text(json.dumps({"kind": "sweep", "cells": ["a", name]}))
    with pytest.raises(RunFolderError, match="expected .* as 'cells' in '.*group.json'") as caught:
        GroupFolder(tmp_path).read()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("seeds", [[], [0, 0], [-1], [2**70], [True], [0.5], ["0"], "0", None, ["../other"]])
def test_seeds_are_whole_numbers_each_once(tmp_path: Path, seeds: object) -> None:
    (tmp_path / "group.json").write_text(json.dumps({"kind": "trials", "seeds": seeds, "hyperparameters": {}}))
    with pytest.raises(RunFolderError, match="as 'seeds' in '.*group.json'"):
        GroupFolder(tmp_path).read()
