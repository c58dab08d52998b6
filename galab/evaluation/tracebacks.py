"""The traceback of a member that failed: in the log once for each error, however many members meet it."""

from __future__ import annotations

import logging
import traceback

logger = logging.getLogger("galab")

#: The attribute of a log record that says what it is about, so that several processes say it once.
ONCE = "galab_once"


class Tracebacks:
    """Logs each distinct error once; two are the same if they are of one kind and come from the same lines."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def tell(self, error: Exception) -> None:
        """Log an error's traceback, unless one like it was logged before."""
        lines = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
        key = repr((type(error).__name__, lines))
        if key in self._told:
            return
        self._told.add(key)
        text = "".join(traceback.format_exception(error)).rstrip()
        logger.warning("a member failed; others that fail like it are only counted\n%s", text, extra={ONCE: key})
