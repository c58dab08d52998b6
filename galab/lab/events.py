"""TensorBoard event files, written at once and record by record.

torch's ``SummaryWriter`` writes from a thread: a kill loses up to two minutes of events from before the checkpoint, and
a full disk prints that thread's traceback. Format: TensorBoard's records (length, CRC, ``Event`` message, CRC).
"""

from __future__ import annotations

import os
import socket
import time
from io import FileIO
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from galab.store.files import append_whole, folder_error


class EventFile:
    """One event file of a sitting.

    Args:
        folder: where to make it.
        purge_step: TensorBoard forgets what earlier files in the folder say about this step and later ones.

    Raises:
        RunFolderError: the file cannot be written.
    """

    def __init__(self, folder: Path, *, purge_step: int) -> None:
        # TensorBoard reads the files of a folder in order of their names, and two sittings may begin in one second.
        self._path = folder / f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._handle = FileIO(self._path, "x")
        except OSError as error:
            raise folder_error(self._path, error) from error
        self._records = RecordWriter(self)
        try:
            self._add(Event(file_version="brain.Event:2"))
            self._add(Event(step=purge_step, session_log=SessionLog(status=SessionLog.START)))
        except BaseException:
            self.close()
            raise

    def add(self, summary: Summary, step: int) -> None:
        """Add one event that holds any number of values.

        Raises:
            RunFolderError: the disk is full or fails.
        """
        self._add(Event(step=step, summary=summary))

    def write(self, record: bytes) -> None:
        """Called by TensorBoard's writer of records."""
        append_whole(self._handle, record, self._path)

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        self._handle.close()

    def _add(self, event: Event) -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())
