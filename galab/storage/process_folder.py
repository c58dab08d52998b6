"""Temporary folders of one process, which the next one deletes where their own was killed."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import tempfile
from pathlib import Path


def process_folder(prefix: str, parent: Path | None = None) -> Path:
    """A new folder, named by this process; those of this machine's processes that are gone are deleted.

    Args:
        prefix: what its name begins with, ending in a hyphen.
        parent: where it lies; the system's folder for temporary files when None.

    Raises:
        OSError: it cannot be made.
    """
    place, prefix = Path(tempfile.gettempdir()) if parent is None else parent, f"{prefix}{_machine()}-"
    for old in place.glob(f"{prefix}*-*"):
        number = old.name.removeprefix(prefix).partition("-")[0]
        if number.isdecimal() and _is_gone(int(number)):
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=place)).resolve()


def _machine() -> str:
    """Whose numbers of processes these are: a folder may be shared by machines, or by containers of one."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return hashlib.sha256(f"{platform.node()} {space}".encode()).hexdigest()[:8]


def _is_gone(process: int) -> bool:
    """Whether a process of this machine has ended; where systems cannot say, none has."""
    if os.name != "posix":
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # somebody else's
        pass
    return False
