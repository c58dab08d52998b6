"""A full disk and a read-only folder: one sentence, whole checkpoints, and a run that goes on later."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from lab_outcome import generations_of, outcome

from galab.errors import RunFolderError
from galab.storage import checkpoints, files, lineage, log, pickle_format
from galab.training import tensorboard
from galab.training.start_or_resume import resume

FULL = "No space left on device"


class Disk:
    """Has room for so many writes; a write that finds no room writes half."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.writes = 0

    def take(self) -> bool:
        self.writes += 1
        return self.writes <= self.room

    def append_whole(self, handle: Any, data: bytes, path: Path) -> None:
        real = files.append_whole
        if self.take():
            real(handle, data, path)
        else:
            real(_Full(handle), data, path)

    def fsync(self, descriptor: int) -> None:
        if not self.take():
            raise OSError(errno.ENOSPC, FULL)
        os.fsync(descriptor)


class _Full:
    """A file that takes half of the first write and then no more."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._half = True

    def write(self, data: memoryview) -> int:
        if not self._half:
            raise OSError(errno.ENOSPC, FULL)
        self._half = False
        return self._handle.write(data[: len(data) // 2])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle, name)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Any:
    def of(room: int) -> Disk:
        disk = Disk(room)
        for module in (lineage, log, tensorboard):
            monkeypatch.setattr(module, "append_whole", disk.append_whole)
        monkeypatch.setattr(files, "os", _Os(disk))
        return disk

    return of


class _Os:
    """The module ``os`` with another ``fsync``."""

    def __init__(self, disk: Disk) -> None:
        self.fsync = disk.fsync

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_loses_nothing(
    evolve: Any, disk: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever the disk has room for: the error names the file, checkpoints are whole, resuming gives the same run."""
    expected = outcome(evolve("unbroken"))
    hits = set()
    for room in (8, 9, 14, 15, 16, 17, 18, 19, 20, 24, 28, 31, 36):
        with monkeypatch.context() as patch:
            writes = disk(room)
            with pytest.raises(RunFolderError, match=FULL) as error:
                evolve(f"full-{room}")
            assert writes.writes > room
            patch.undo()
        monkeypatch.undo()
        assert "free some space on that disk" in str(error.value)
        folder = tmp_path / f"full-{room}"
        hits.add(Path(str(error.value).split("'")[1]).name.split(".tfevents")[0])
        for generation in generations_of(folder):
            pickle_format.load(checkpoints.checkpoint_path(folder / "checkpoints", generation))
        resume(folder)
        assert outcome(folder) == expected, f"room for {room} writes"
    assert {"log.jsonl", "events.out", "lineage.bin"} <= hits, hits
    assert any(name.startswith("gen_") for name in hits), hits


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_one_sentence(evolve: Any, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(RunFolderError, match="make its folder writable"):
            evolve()
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("name", ["mkdir", "open"])
def test_a_read_only_folder_is_one_sentence_for_root_too(
    evolve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def refuse(*arguments: Any, **named: Any) -> Any:
        raise OSError(errno.EROFS, "Read-only file system")

    folder = evolve()
    before = outcome(folder)
    if name == "mkdir":
        monkeypatch.setattr(Path, "mkdir", refuse)
        with pytest.raises(RunFolderError, match=r"Read-only file system'; make its folder writable"):
            evolve("second")
        assert not (tmp_path / "second").exists()
    else:
        monkeypatch.setattr("filelock.FileLock.acquire", refuse)
        with pytest.raises(RunFolderError, match=r"Read-only file system'; make its folder writable"):
            resume(folder, {"generations": 9})
    monkeypatch.undo()
    assert outcome(folder) == before
