"""A run's folder, held open while the run writes: it is found again when somebody renames or moves it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from galab.errors import RunFolderError
from galab.storage.files import folder_error
from galab.storage.run_folder import RunFolder

logger = logging.getLogger("galab")
T = TypeVar("T")
#: macOS: the path of an open file, in so many bytes at most.
_F_GETPATH, _MOST_BYTES = 50, 1024


class HeldFolder:
    """Holds the folder of a run by a descriptor, which follows it wherever it goes on its disk.

    Args:
        folder: the run's folder, under the name that it has now.

    Raises:
        RunFolderError: it cannot be opened.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._descriptor: int | None = None
        if os.name == "nt":  # Windows lets nobody rename a folder with open files in it
            return
        try:
            self._descriptor = os.open(folder.path, os.O_RDONLY)
        except OSError as error:
            raise folder_error(folder.path, error) from error

    def here(self) -> RunFolder:
        """The folder under its present name; a new one is told once.

        Raises:
            RunFolderError: it was removed, or moved to where it cannot be followed.
        """
        before = self._folder.path
        if self._is_at(before):
            return self._folder
        path = self._present_path()
        if path is None or not self._is_at(path):
            raise RunFolderError(
                f"expected the folder of this run at '{before}', found it removed or moved to another disk; if there "
                "is a copy, `galab resume` continues it from its last checkpoint"
            )
        logger.warning("the folder '%s' of this run was moved to '%s', where the run goes on", before, path)
        self._folder = RunFolder(path)
        return self._folder

    def write(self, action: Callable[[RunFolder], T]) -> T:
        """Do something that writes into the folder; again if the folder was moved meanwhile.

        Args:
            action: writes whole files, so that nothing is wrong with doing it twice.

        Raises:
            RunFolderError: a file cannot be written, or the folder is gone.
        """
        folder = self.here()
        try:
            return action(folder)
        except RunFolderError:
            moved = self.here()
            if moved is folder:
                raise
            return action(moved)

    def close(self) -> None:
        """Let go of the folder; a second time does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _is_at(self, path: Path) -> bool:
        """Whether a path leads to the folder; always where none is held."""
        if self._descriptor is None:
            return True
        try:
            return os.path.samestat(os.stat(path), os.fstat(self._descriptor))
        except OSError:
            return False

    def _present_path(self) -> Path | None:
        """What the operating system calls the folder now, if it tells."""
        assert self._descriptor is not None
        try:
            if sys.platform == "darwin":
                import fcntl

                name = fcntl.fcntl(self._descriptor, _F_GETPATH, bytes(_MOST_BYTES))
                return Path(os.fsdecode(name.rstrip(b"\0")))
            return Path(os.readlink(f"/proc/self/fd/{self._descriptor}"))
        except OSError:
            return None
