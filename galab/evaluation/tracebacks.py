"""The traceback of a member that failed: in the log once for each error, however many members meet it.

Two errors are the same if they are of one kind and come from the same lines. What was told is known to the whole
process, because a run has several evaluators, and hears of those in its workers.
"""

from __future__ import annotations

import logging
import traceback

logger = logging.getLogger("galab")

#: The attribute of a log record that holds its key, by which several processes tell an error once.
KEY = "galab_key"
_told: set[str] = set()


def tell(error: Exception) -> None:
    """Log an error's traceback, unless one like it was logged before."""
    lines = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    key = repr((type(error).__name__, lines))
    if first_time(key):
        text = "".join(traceback.format_exception(error)).rstrip()
        logger.warning("a member failed; others that fail like it are only counted\n%s", text, extra={KEY: key})


def first_time(key: str) -> bool:
    """Whether a key has not been asked for before."""
    new = key not in _told
    _told.add(key)
    return new


def forget() -> None:
    """Begin anew: another run tells its errors again."""
    _told.clear()
