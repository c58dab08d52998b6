"""Links to actors, with a stand-in for Ray: what needs no cluster."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from galab.errors import UsageError
from galab.evaluation.executors import ray_workers
from galab.evaluation.executors.link import packed, unpacked
from galab.evaluation.executors.ray_workers import LARGE_BYTES, RayLinks, WorkerActor, import_ray
from galab.version import __version__


def test_without_ray_there_is_one_sentence_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError) as caught:
        import_ray()
    assert str(caught.value) == (
        "expected Ray for --executor ray, found none; install it with: pip install 'galab[cluster]'"
    )


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The messages that a worker was given, in its order."""
    taken: list[Any] = []
    monkeypatch.setattr(ray_workers, "work", lambda queues, level, who: taken.append(queues))
    return taken


def test_messages_that_overtake_each_other_reach_a_worker_in_order(worker: list[Any]) -> None:
    actor = WorkerActor(20, __version__)
    for number in (2, 0, 3):
        actor.put(number, packed((number,)))
    actor.put_data(1, "the task")
    (queues,) = worker
    assert [unpacked(queues.recv_bytes()) for _ in range(4)] == [(0,), ("data", "the task"), (2,), (3,)]
    assert not queues.poll()


def test_all_answers_are_taken_together(worker: list[Any]) -> None:
    actor = WorkerActor(20, __version__)
    (queues,) = worker
    for number in range(3):
        queues.send_bytes(packed((number,)))
    assert [unpacked(content) for content in actor.take()] == [(0,), (1,), (2,)]


def test_answers_wait_for_each_other_unless_the_worker_has_nothing_left_to_do(worker: list[Any]) -> None:
    actor = WorkerActor(20, __version__)
    (queues,) = worker
    began = time.monotonic()
    queues.send_bytes(packed((0,)))
    threading.Timer(0.01, queues.send_bytes, [packed((1,))]).start()
    assert [unpacked(content) for content in actor.take()] == [(0,), (1,)]
    assert time.monotonic() - began >= 0.04
    waits = threading.Thread(target=queues.recv_bytes, daemon=True)
    waits.start()
    queues.send_bytes(packed((2,)))
    assert [unpacked(content) for content in actor.take()] == [(2,)]
    actor.put(0, packed(("score",)))
    waits.join(5)


def test_a_machine_with_another_galab_says_so(worker: list[Any]) -> None:
    (content,) = WorkerActor(20, "9.9").take()
    kind, name, sentence, _ = unpacked(content)
    assert (kind, name) == ("error", "UsageError")
    assert sentence.startswith("expected galab 9.9 on ")
    assert sentence.endswith(f", got {__version__}; install it")
    assert worker == []


@pytest.mark.parametrize(
    ("workers", "cpus", "gpus", "said"),
    [
        (4, 1.0, 0.0, None),
        (5, 1.0, 0.0, "5 workers take 5 processor cores, and the cluster has 4 now: 4 start"),
        (3, 2.0, 0.0, "3 workers take 6 processor cores, and the cluster has 4 now: 2 start"),
        (3, 1.0, 0.5, "3 workers take 1.5 GPUs, and the cluster has 1 now: 2 start"),
    ],
)
def test_more_workers_than_there_is_room_for_are_said(workers: int, cpus: float, gpus: float, said: str | None) -> None:
    ray = SimpleNamespace(
        cluster_resources=lambda: {"CPU": 4.0, "GPU": 1.0},
        remote=lambda **options: lambda kind: kind,
        method=lambda **options: lambda function: function,
    )
    found = RayLinks(ray, cpus, gpus, own=False).crowded(workers)
    assert found == (said and f"{said}, the others when nodes join")


def test_a_large_message_is_put_into_the_cluster_once_for_all_workers() -> None:
    stored: list[bytes] = []
    calls: list[list[Any]] = []

    def put(value: bytes) -> tuple[str, int]:
        stored.append(value)
        return "reference", len(stored)

    def started(*arguments: Any) -> Any:
        sent: list[Any] = []
        calls.append(sent)
        return SimpleNamespace(
            put=SimpleNamespace(remote=lambda number, value: sent.append((number, value))),
            take=SimpleNamespace(remote=lambda: SimpleNamespace(future=Future)),
        )

    ray = SimpleNamespace(
        remote=lambda **options: lambda kind: SimpleNamespace(remote=started),
        method=lambda **options: lambda function: function,
        put=put,
        exceptions=SimpleNamespace(RayError=OSError),
    )
    links = RayLinks(ray, 1.0, 0.0, own=False)
    workers = [links.start() for _ in range(3)]
    first, second, small = bytes(LARGE_BYTES), bytes(LARGE_BYTES + 1), bytes(LARGE_BYTES - 1)
    for content in (first, small, second):
        for worker in workers:
            worker.send_packed(content)
    assert stored == [first, second]
    assert calls == 3 * [[(0, ("reference", 1)), (1, small), (2, ("reference", 2))]]
    assert [worker.sent for worker in workers] == 3 * [3 * LARGE_BYTES]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("The actor died unexpectedly: connection error code 2. End of file.", "its actor died: it was killed"),
        ("The actor died because its node has died.", "its actor died: its node is gone"),
        ("something else", "its actor died"),
        (
            "The actor died because of an error raised in its creation task, ray::GalabWorker.__init__()\n"
            "  File \"x.py\", line 1\nModuleNotFoundError: No module named 'galab'\n",
            "its actor died: ModuleNotFoundError: No module named 'galab'",
        ),
    ],
)
def test_why_an_actor_is_gone_is_said(text: str, said: str) -> None:
    assert ray_workers._reason(RuntimeError(text)) == said
