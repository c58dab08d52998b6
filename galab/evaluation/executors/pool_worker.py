"""A worker as the pool sees it, and what workers did in a generation."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from galab.contracts import Scores
from galab.evaluation.executors.link import Link
from galab.evaluation.sources import Part

#: Fields of scores that have a number for each member; what was spent and cached is not among them.
_SCORED = ("fitness", "further", "cases", "behaviour", "use", "hidden")


class PoolWorker:
    """A worker, seen from the pool.

    Attributes:
        link: to it.
        todo: parts that it is to score and has not.
        told: whether it was sent them.
        stale: parts that it was sent and others score now, until it says what became of them; it is sent nothing else
            until then.
        results: packed messages that it has to be sent then first.
        behind: whether it has missed a whole generation meanwhile.
        decoded: ids of the births that it decoded in the last generation.
        lost: the generation in which its search was last found to differ.
        since: when it began the first of its parts, on the monotonic clock; None while it is at none.
        heard: when it last sent something, or was asked.
        busy: seconds that it has scored.
        load: what :mod:`galab.evaluation.executors.balance` has noted of its parts.
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        self.todo: list[Part] = []
        self.told = False
        self.stale: set[tuple[int, int]] = set()
        self.results: list[bytes] = []
        self.behind = False
        self.decoded: set[int] = set()
        self.lost = 0
        self.since: float | None = None
        self.heard = 0.0
        self.busy = 0.0
        self.load = 0

    @property
    def free(self) -> bool:
        """Whether it could do more."""
        return self.told and not self.todo and not self.stale


@dataclass(slots=True)
class WorkerUse:
    """What workers did in a generation, second looks included.

    Attributes:
        workers: those that were ready at its end.
        parts: parts that were scored.
        sent: bytes that were sent to them all.
        received: bytes that they sent.
        busy: seconds that they scored, all of them together.
        paid: seconds that they were there, all of them together, since the generation before.
        waited: seconds that scoring took, times those workers.
    """

    workers: int = 0
    parts: int = 0
    sent: int = 0
    received: int = 0
    busy: float = 0.0
    paid: float = 0.0
    waited: float = 0.0

    def plus(self, more: WorkerUse) -> WorkerUse:
        """This and what they did afterwards."""
        sums = [one + other for one, other in zip(astuple(self), astuple(more), strict=True)]
        return WorkerUse(more.workers, *sums[1:])

    @property
    def idle_share(self) -> float:
        """Share of their time, while a generation was scored, in which they scored nothing."""
        return max(0.0, 1.0 - self.busy / self.waited) if self.waited else 0.0


def score_bytes(scores: Scores) -> bytes:
    """The numbers that members scored, to the last bit; equal for equal scores on every machine."""
    arrays = {**scores.metrics, **{name: getattr(scores, name) for name in _SCORED}}
    content = [
        f"{name} {array.dtype.str} {array.shape}\n".encode() + array.tobytes()
        for name, array in sorted(arrays.items())
        if array is not None
    ]
    return b"".join([repr(sorted(scores.failures)).encode(), *content])


def at(worker: PoolWorker) -> str:
    """Where a worker is, in words."""
    return f" on {worker.link.place}" if worker.link.place else ""
