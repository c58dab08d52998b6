"""A group that names what lies elsewhere continues nothing there."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from galab.errors import RunFolderError
from galab.training.trials.trials import resume_trials


@pytest.mark.parametrize("absolute", [False, True])
def test_a_cell_elsewhere_is_not_continued(evolve: Any, tmp_path: Path, absolute: bool) -> None:
    other = evolve("other")
    victim = tmp_path / "victim"
    victim.mkdir()
    config = json.loads((other / "config.json").read_text())["hyperparameters"]
    (victim / "group.json").write_text(json.dumps({"kind": "trials", "seeds": [5], "hyperparameters": config}))
    shutil.copytree(other, victim / "seed_5")
    group = tmp_path / "group"
    group.mkdir()
    name = str(victim) if absolute else "../victim"
    (group / "group.json").write_text(json.dumps({"kind": "sweep", "cells": [name]}))
    before = {path: path.stat().st_mtime_ns for path in victim.rglob("*")}
    with pytest.raises(RunFolderError, match="expected names of folders in this one, without separators, as 'cells'"):
        resume_trials(group, {"generations": 9}, jobs=1)
    assert {path: path.stat().st_mtime_ns for path in victim.rglob("*")} == before


def test_groups_that_lie_in_each_other_for_ever_come_to_an_end(tmp_path: Path) -> None:
    (tmp_path / "group.json").write_text(json.dumps({"kind": "sweep", "cells": ["a"]}))
    (tmp_path / "a").symlink_to(tmp_path)
    with pytest.raises(RunFolderError, match="expected a group of kind trials"):
        resume_trials(tmp_path, jobs=1)
