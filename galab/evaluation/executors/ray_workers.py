"""Workers in actors of a Ray cluster, and their links to the pool; the extra ``cluster``.

An actor is two queues: what the pool sends goes into one, what the worker answers comes out of the other. The worker
itself runs in a thread of the actor, the same loop as in a process of this machine
(:func:`galab.evaluation.executors.worker.work`). Ray decides where actors run and says when one is gone; it restarts
none, because a successor has to be given the run's state first.
"""

from __future__ import annotations

import importlib
import logging
import math
import os
import platform
import queue
import re
import signal
import socket
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Collection, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from galab.errors import UsageError
from galab.evaluation.executors.link import LinkClosedError, Message, packed, unpacked
from galab.evaluation.executors.worker import work
from galab.version import __version__

logger = logging.getLogger("galab")
#: What a worker answers within so many seconds comes together, unless it has nothing left to do.
_TOGETHER_SECONDS = 0.05
#: Messages of so many bytes go through the object store; below, Ray sends them with the call.
LARGE_BYTES = 100_000
#: For the head of a cluster to answer.
_ANSWER_SECONDS = 5.0
#: What lets a machine into a cluster.
_TOKEN = Path("~/.ray/auth_token")
#: The file, where it is used because it lies there, and not because somebody said so.
_TAKEN: set[str] = set()
#: What its absence is answered with.
INSTALL = "pip install 'galab[cluster]'"


def import_ray() -> Any:
    """Ray.

    Raises:
        UsageError: it is not installed.
    """
    # A driver without a GPU must not hide those of its workers, and nothing is reported to anybody.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray itself looks for it at the address `auto` alone, and reads this when it is imported.
    if "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ and _TOKEN.expanduser().is_file():
        os.environ["RAY_AUTH_MODE"] = "token"
        _TAKEN.add(str(_TOKEN))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("ray")
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise UsageError(f"expected Ray for --executor ray, found none; install it with: {INSTALL}") from error


class _Queues:
    """A worker's end of a link; see :class:`galab.evaluation.executors.link.Connection`."""

    def __init__(self) -> None:
        self._inbox: deque[bytes] = deque()
        self._outbox: list[bytes] = []
        self._waits = False
        self._changed = threading.Condition()

    def send_bytes(self, content: bytes) -> None:
        """See :class:`galab.evaluation.executors.link.Connection`."""
        with self._changed:
            self._outbox.append(content)
            self._changed.notify_all()

    def recv_bytes(self) -> bytes:
        """See :class:`galab.evaluation.executors.link.Connection`."""
        with self._changed:
            while not self._inbox:
                self._waits = True
                self._changed.notify_all()
                self._changed.wait()
            self._waits = False
            return self._inbox.popleft()

    def poll(self) -> bool:
        """See :class:`galab.evaluation.executors.link.Connection`."""
        return bool(self._inbox)

    def put(self, content: bytes) -> None:
        """Give the worker a message."""
        with self._changed:
            self._inbox.append(content)
            self._changed.notify_all()

    def take(self) -> list[bytes]:
        """What the worker has answered: when it waits for a message, or some time after its first answer."""
        with self._changed:
            while not self._outbox:
                self._changed.wait()
            end = time.monotonic() + _TOGETHER_SECONDS
            while not (self._waits and not self._inbox) and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
            found, self._outbox = self._outbox, []
            return found


class WorkerActor:
    """The actor: its methods only move messages.

    Args:
        level: the level of the log of the run.
        version: galab's, where the run is.
    """

    def __init__(self, level: int, version: str) -> None:
        self._queues = _Queues()
        self._early: dict[int, bytes] = {}
        self._next = 0
        who = f"{platform.node()} (process {os.getpid()})"
        if version != __version__:
            sentence = f"expected galab {version} on {platform.node()}, as the run has, got {__version__}; install it"
            self._queues.send_bytes(packed(("error", "UsageError", sentence, "")))
            return
        threading.Thread(target=work, args=(self._queues, level, who), daemon=True).start()

    def put(self, number: int, content: bytes) -> None:
        """Take a message for the worker; they are numbered, as calls may overtake each other."""
        self._early[number] = content
        while self._next in self._early:
            self._queues.put(self._early.pop(self._next))
            self._next += 1

    def put_data(self, number: int, task: Any) -> None:
        """Take the task, which has come through the object store."""
        self.put(number, packed(("data", task)))

    def take(self) -> list[bytes]:
        """Wait for what the worker answers; all of it that there is."""
        return self._queues.take()


class _Shared:
    """Puts what several workers are sent into the object store once: each machine fetches it once, from any other."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._last: tuple[Any, Any] = (None, None)

    def reference(self, value: Any) -> Any:
        """The reference of a value; only the last one is remembered."""
        if self._last[0] is not value:
            self._last = (value, self._ray.put(value))
        return self._last[1]


class RayLink:
    """See :class:`galab.evaluation.executors.link.Link`."""

    def __init__(
        self, ray: Any, actor: Any, shared: tuple[_Shared, _Shared], events: queue.SimpleQueue[RayLink]
    ) -> None:
        self.ready = False
        self.place = ""
        self.sent = self.received = 0
        self._ray = ray
        self._actor = actor
        self._task, self._message = shared
        self._why = "its actor ended"
        self._unread: BaseException | None = None
        self._messages = 0
        self._events = events
        self._answer = self._asked()

    def send(self, *message: Any) -> None:
        """See :class:`galab.evaluation.executors.link.Link`."""
        self.send_packed(packed(message))

    def send_packed(self, content: bytes) -> None:
        """See :class:`galab.evaluation.executors.link.Link`. What is large goes through the object store."""
        self.sent += len(content)
        with suppress(self._ray.exceptions.RayError):
            argument = content if len(content) < LARGE_BYTES else self._message.reference(content)
            self._actor.put.remote(self._count(), argument)

    def send_data(self, task: Any) -> None:
        """See :class:`galab.evaluation.executors.link.Link`. It is put into the object store once."""
        with suppress(self._ray.exceptions.RayError):
            put = self._actor.put_data.remote(self._count(), self._task.reference(task)).future()
            put.add_done_callback(self._was_put)

    def _was_put(self, put: Future[None]) -> None:
        """What the actor could not read ends the link: all that follows would wait for it."""
        if (error := put.exception()) is not None and not isinstance(error, self._ray.exceptions.RayActorError):
            self._unread = error
            self._events.put(self)

    def _count(self) -> int:
        """The number of the next message."""
        self._messages += 1
        return self._messages - 1

    def poll(self) -> list[Message]:
        """See :class:`galab.evaluation.executors.link.Link`."""
        if self._unread is not None:
            self._why = f"it could not read the task: {str(self._unread).strip().splitlines()[-1]:.200}"
            raise LinkClosedError from self._unread
        if not self._answer.done():
            return []
        try:
            contents = self._answer.result()
        except self._ray.exceptions.RayError as error:
            self._why = _reason(error)
            raise LinkClosedError from error
        self.received += sum(map(len, contents))
        self._answer = self._asked()
        return [unpacked(content) for content in contents]

    def _asked(self) -> Future[list[bytes]]:
        """What the worker will answer; once it has, this link is among the events."""
        answer: Future[list[bytes]] = self._actor.take.remote().future()
        answer.add_done_callback(lambda _: self._events.put(self))
        return answer

    def fate(self) -> str:
        """See :class:`galab.evaluation.executors.link.Link`."""
        self.end(0.0)
        if self.ready:
            return self._why
        hint = f"; {_TOKEN} was used: set RAY_AUTH_MODE=disabled where a cluster asks for no token"
        return f"{self._why} before it was ready{hint if _TAKEN else ''}"

    def end(self, seconds: float) -> None:
        """See :class:`galab.evaluation.executors.link.Link`; a worker has nothing to save, so it is killed at once."""
        with suppress(self._ray.exceptions.RayError):
            self._ray.kill(self._actor, no_restart=True)


def _reason(error: Exception) -> str:
    """Why an actor is gone, in words."""
    names = {"ActorUnavailableError": "its actor does not answer", "OutOfMemoryError": "its machine had no memory left"}
    kind = next((words for name, words in names.items() if name == type(error).__name__), "its actor died")
    signs = {"connection error code 2": "it was killed", "node": "its node is gone"}
    why = next((words for sign, words in signs.items() if sign in str(error)), "")
    raised = re.findall(r"^\s*(\w+(?:Error|Exception): .+)$", str(error), re.MULTILINE)
    if raised and "creation task" in str(error):  # such as a machine without galab
        why = raised[-1][:200]
    return f"{kind}{': ' * bool(why)}{why}"


class RayLinks:
    """See :class:`galab.evaluation.executors.link.Links`.

    Args:
        ray: the module, connected to a cluster.
        cpus: that Ray keeps for each worker.
        gpus: likewise.
        own: whether this process was connected for this run.
    """

    attempts = 3

    def __init__(self, ray: Any, cpus: float, gpus: float, *, own: bool) -> None:
        self._ray = ray
        self._cpus, self._gpus, self._own = cpus, gpus, own
        self._shared = _Shared(ray), _Shared(ray)
        self._events: queue.SimpleQueue[RayLink] = queue.SimpleQueue()
        self._kind = ray.remote(
            num_cpus=cpus, num_gpus=gpus, max_restarts=0, max_task_retries=0,
            concurrency_groups={"in": 1, "out": 1},
        )(_grouped(ray))  # fmt: skip

    @classmethod
    def connect(cls, address: str, workers: int, cpus: float | None, gpus: float | None) -> RayLinks:
        """Connect to a cluster, or start one for this run.

        Args:
            address: ``local``, ``auto`` or HOST:PORT.
            workers: how many there will be.
            cpus: that Ray keeps for each; 1 when absent.
            gpus: likewise; 0 when absent.

        Raises:
            UsageError: Ray is not installed, or there is no such cluster.
        """
        ray = import_ray()
        cpus, gpus = 1.0 if cpus is None else cpus, gpus or 0.0
        join(ray, address, math.ceil(workers * cpus))
        links = cls(ray, cpus, gpus, own=bool(_OURS))
        if {"local"} == _OURS and gpus > ray.cluster_resources().get("GPU", 0.0):
            links.close()
            raise UsageError(
                f"expected at most the GPUs of this machine with --worker-gpus and --address local, got {gpus:g} for "
                "each worker, which it has not; lower it, or join a cluster that has them"
            )
        return links

    def start(self) -> RayLink:
        """See :class:`galab.evaluation.executors.link.Links`."""
        actor = self._kind.remote(logger.getEffectiveLevel(), __version__)
        return RayLink(self._ray, actor, self._shared, self._events)

    def wait(self, links: Collection[RayLink], seconds: float | None) -> list[RayLink]:
        """See :class:`galab.evaluation.executors.link.Links`."""
        found: list[RayLink] = []
        with suppress(queue.Empty):
            found.append(self._events.get(timeout=seconds))
            while True:
                found.append(self._events.get_nowait())
        return list(dict.fromkeys(found))

    def crowded(self, workers: int) -> str | None:
        """See :class:`galab.evaluation.executors.link.Links`."""
        there = self._ray.cluster_resources()
        cpus, gpus = there.get("CPU", 0.0), there.get("GPU", 0.0)
        for have, each, what in ((cpus, self._cpus, "processor core"), (gpus, self._gpus, "GPU")):
            if each and workers * each > have:
                return (
                    f"{workers} workers take {workers * each:g} {what}s, and the cluster has {have:g} now: "
                    f"{int(have // each)} start, the others when nodes join"
                )
        return None

    def close(self) -> None:
        """See :class:`galab.evaluation.executors.link.Links`."""
        if self._own:
            _OURS.clear()
            with signals_kept():
                self._ray.shutdown()


def _grouped(ray: Any) -> type:
    """The class of actors: messages to a worker in one thread, so that they keep their order; answers in another."""

    class Grouped(WorkerActor):
        put = ray.method(concurrency_group="in")(WorkerActor.put)
        put_data = ray.method(concurrency_group="in")(WorkerActor.put_data)
        take = ray.method(concurrency_group="out")(WorkerActor.take)

    Grouped.__name__ = Grouped.__qualname__ = "GalabWorker"
    return Grouped


#: The address that this process is connected to because a run asked for it; empty where a script did it.
_OURS: set[str] = set()


def join(ray: Any, address: str, cores: int) -> None:
    """Connect, unless this process is connected already: by a script that starts runs, or for this run.

    Raises:
        UsageError: there is no such cluster.
    """
    if ray.is_initialized():
        return
    logger.warning("%s", "starting Ray takes some seconds" if address == "local" else f"joining Ray at {address}")
    connect(ray, address, cores)
    _OURS.clear()
    _OURS.add(address)


def check_address(address: str) -> None:
    """Refuse an address where nobody answers; Ray itself would try for minutes.

    Raises:
        UsageError: nobody does, or it is no address.
    """
    if address in ("local", "auto"):
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal() or int(port) > 65_535:
        raise UsageError(
            f"expected --address local, auto or HOST:PORT (the port of `ray start`, not one of Ray Client), got "
            f"'{address}'; correct it"
        )
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"expected a Ray cluster at --address {address}, got no answer ({error}); start one with `ray start "
            "--head`, or use --address local"
        ) from error


def connect(ray: Any, address: str, cpus: int) -> None:
    """Connect to a cluster, or start one of so many cores on this machine.

    Raises:
        UsageError: there is no such cluster.
    """
    check_address(address)
    options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        os.environ.setdefault("RAY_worker_niceness", "0")  # workers are the run itself, and not behind others
        options |= {"num_cpus": cpus, "include_dashboard": False}
    _quiet(ray)
    with signals_kept(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ray.init(**options)
        except Exception as error:  # ConnectionError, ValueError and others, as Ray's versions have it
            raise UsageError(
                f"expected a Ray cluster at --address {address}, got {type(error).__name__}: "
                f"{str(error).strip().splitlines()[0]:.200}; start one with `ray start --head`; where one runs, copy "
                f"its {_TOKEN} to this machine and set RAY_AUTH_MODE=token; or use --address local"
            ) from error


def _quiet(ray: Any) -> None:
    """Keep what Ray prints of nodes and workers that are gone, pages of it, out of the terminal: galab says it too."""
    worker: Any = getattr(getattr(ray, "_private", None), "worker", None)
    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda data, **_: logger.debug("Ray: %s", "\n".join(map(str, data["lines"])))


@contextmanager
def signals_kept() -> Iterator[None]:
    """Around what Ray does to a process: it sets handlers of its own for the signals to stop, which the run acts on."""
    here = threading.current_thread() is threading.main_thread()
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)} if here else {}
    try:
        yield
    finally:
        for number, handler in kept.items():
            if handler is not None:
                signal.signal(number, handler)
