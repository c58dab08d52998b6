"""Links between threads of this process: what carries messages where the rules of a pool of workers are tested."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from galab.evaluation.executors.link import LinkClosedError, packed, unpacked
from galab.evaluation.executors.worker import Worker

GONE = b""


class PulledOutError(Exception):
    """Ends a worker without a word."""


class Queues:
    """A worker's end of a link."""

    def __init__(self, bell: threading.Event) -> None:
        self.inbox: queue.Queue[bytes] = queue.Queue()
        self.outbox: queue.Queue[bytes] = queue.Queue()
        self._bell = bell

    def send_bytes(self, content: bytes) -> None:
        self.outbox.put(content)
        self._bell.set()

    def recv_bytes(self) -> bytes:
        content = self.inbox.get()
        if content == GONE:
            raise EOFError
        return content

    def poll(self) -> bool:
        return not self.inbox.empty()


class MemoryLink:
    """See :class:`galab.evaluation.executors.link.Link`."""

    def __init__(self, number: int, bell: threading.Event) -> None:
        self.ready = False
        self.place = f"machine {number}"
        self.sent = self.received = 0
        self.number = number
        self.kinds: list[str] = []
        self.ended = False
        self._bell = bell
        self.queues = Queues(bell)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        NUMBER.value = self.number
        with suppress(Exception):
            Worker(self.queues, None).run(self.place)
        self.queues.send_bytes(GONE)

    def send(self, *message: Any) -> None:
        self.kinds.append(message[0])
        content = packed(message) if message[0] != "build" else None
        self.sent += len(content or b"")
        self.queues.inbox.put(content if content is not None else packed(("build", *map(Reference, message[1:]))))

    def send_packed(self, content: bytes) -> None:
        self.kinds.append(unpacked(content)[0])
        self.sent += len(content)
        self.queues.inbox.put(content)

    def send_data(self, task: Any) -> None:
        self.send("data", task)

    def poll(self) -> list[Any]:
        found: list[Any] = []
        while not self.queues.outbox.empty():
            content = self.queues.outbox.get()
            if content == GONE:
                if found:
                    self.queues.outbox.put(GONE)
                    return found
                raise LinkClosedError
            self.received += len(content)
            found.append(unpacked(content))
        return found

    def fate(self) -> str:
        return "it was pulled out"

    def end(self, seconds: float) -> None:
        self.ended = True
        self.queues.inbox.put(GONE)


#: What cannot be sent by pickle, by its number.
OBJECTS: dict[int, Any] = {}
NUMBER = threading.local()


class Reference:
    """Stands for a function in a message."""

    def __init__(self, value: Any) -> None:
        self.key = id(value)
        OBJECTS[self.key] = value

    def __call__(self, task: Any) -> Any:
        return OBJECTS[self.key](task)


class MemoryLinks:
    """See :class:`galab.evaluation.executors.link.Links`."""

    attempts = 3

    def __init__(self) -> None:
        self.links: list[MemoryLink] = []
        self._bell = threading.Event()

    def start(self) -> MemoryLink:
        self.links.append(MemoryLink(len(self.links), self._bell))
        return self.links[-1]

    def wait(self, links: Collection[MemoryLink], seconds: float | None) -> list[MemoryLink]:
        end = time.monotonic() + (20.0 if seconds is None else seconds)
        while True:
            self._bell.clear()
            found = [link for link in links if not link.queues.outbox.empty()]
            left = end - time.monotonic()
            if found or left <= 0:
                assert found or seconds is not None, "nobody sends anything any more"
                return found
            self._bell.wait(left)

    def crowded(self, workers: int) -> str | None:
        return None

    def close(self) -> None:
        for link in self.links:
            link.end(0.0)
