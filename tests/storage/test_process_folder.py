"""Temporary folders of a process: those of killed ones are deleted, and nobody else's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from galab.storage import process_folder as module
from galab.storage.process_folder import process_folder


def test_only_folders_of_this_machines_dead_processes_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    mine = process_folder("galab-test-", tmp_path)
    machine = mine.name.split("-")[2]
    dead, elsewhere = tmp_path / f"galab-test-{machine}-{gone.pid}-x", tmp_path / f"galab-test-00000000-{gone.pid}-x"
    for folder in (dead, elsewhere):
        folder.mkdir()
    another = process_folder("galab-test-", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {mine.name, elsewhere.name, another.name}
    monkeypatch.setattr(module.platform, "node", lambda: "another machine")
    assert process_folder("galab-test-", tmp_path).name.split("-")[2] != machine
