"""Workers in a Ray cluster of two nodes on this machine: the same run to the bit, whatever becomes of them.

A cluster takes a quarter of a minute to start, so the tests share one.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab_outcome import ENGINE, EPISODES, EVOLUTION, INTEGER, PROMPTS, merged, outcome
from small_runs import SMALL

from galab.config import RunConfig
from galab.errors import NumericProfileError, UsageError
from galab.storage.log import read_log
from galab.training.start_or_resume import resume

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
ray = pytest.importorskip("ray")

#: Kills of workers, nodes and runs, before a release.
MANY = int(os.environ.get("GALAB_KILLS", "50"))
#: A file that says how many there were so far.
PROGRESS = os.environ.get("GALAB_KILLS_FILE")
#: The kinds of runs whose workers follow the search in ways of their own.
KINDS: dict[str, dict[str, Any]] = {
    "sexual": ENGINE["sexual"],
    "genes": ENGINE["genes"],
    "memories": ENGINE["memories"],
    "low-rank": ENGINE["low-rank"],
    "eggroll": EVOLUTION["eggroll"],
    "egg": INTEGER["egg"],
    "cartpole": EPISODES["episodes"],
    **PROMPTS,
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes with two cores each, on loopback alone; its address."""
    from ray.cluster_utils import Cluster

    own = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        own.add_node(num_cpus=2)
        yield own
    finally:
        ray.shutdown()
        own.shutdown()


@pytest.fixture
def on_ray(cluster: Any, evolve: Any) -> Any:
    """Makes a small run whose workers are in the cluster."""

    def make(name: str, **changes: Any) -> Path:
        return evolve(name, **{"executor": "ray", "address": cluster.address, "workers": 2, "chunk": 2} | changes)

    return make


@pytest.mark.release
@pytest.mark.parametrize("workers", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_on_ray_is_the_run_of_one_process(evolve: Any, on_ray: Any, kind: str, workers: int) -> None:
    expected = outcome(evolve("here", **{"chunk": 2} | KINDS[kind]))
    found = outcome(on_ray("ray", workers=workers, **KINDS[kind]))
    assert found["verified"]
    assert found == expected


@pytest.mark.release
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("dialect", ["sglang", "vllm"])
def test_workers_on_ray_ask_a_server_each(evolve: Any, on_ray: Any, dialect: str, workers: int) -> None:
    """Births travel to them, and they write adapters of their own."""
    from language_server import served

    changes = {**PROMPTS["prompts"], "generations": 4, "chunk": 2}
    here = read_log(evolve("here", **changes) / "log.jsonl")
    with served() as (url, language):
        folder = on_ray("ray", workers=workers, generator=dialect, server=url, **changes)
        assert len({name.rsplit("-", 1)[0] for name in language.names}) >= workers
    found = read_log(folder / "log.jsonl")
    for name in ("fitness_best", "fitness_mean", "answers_reward", "answers_changed", "best"):
        assert [line[name] for line in found] == [line[name] for line in here]


def actors() -> list[int]:
    """Processes of workers in the cluster of these tests; another process may have tests with a cluster of its own."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()[1:]]
    parents = {int(pid): int(parent) for pid, parent, *_ in rows}
    return [int(pid) for pid, _, *name in rows if "ray::GalabWorker" in name[0] and _is_below(int(pid), parents)]


def _is_below(pid: int, parents: dict[int, int]) -> bool:
    while pid in parents and pid != os.getpid():
        pid = parents[pid]
    return pid == os.getpid()


@pytest.fixture(autouse=True)
def nobody_is_left() -> Iterator[None]:
    """Whatever happens, a run leaves no worker behind."""
    yield
    end = time.monotonic() + 20
    while actors() and time.monotonic() < end:
        time.sleep(0.1)
    assert actors() == []


def test_a_run_goes_from_one_process_to_ray_loses_a_worker_and_ends_in_processes(
    cluster: Any, evolve: Any, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("galab.evaluation.executors.ray_workers.LARGE_BYTES", 500)  # through the object store
    changes = {"chunk": 2} | KINDS["sexual"]
    expected = outcome(evolve("unbroken", generations=30, **changes))
    folder = evolve("moved", generations=4, **changes)

    def kill_one(line: dict[str, Any]) -> None:
        if line["generation"] == 9:
            os.kill(actors()[0], signal.SIGKILL)
            time.sleep(0.5)  # so that the next generation meets it

    on_ray = {"executor": "ray", "address": cluster.address, "workers": 2}
    resume(folder, {"generations": 20} | on_ray, hooks=[kill_one])
    resume(folder, {"generations": 30, "executor": "processes", "workers": 2})
    assert outcome(folder) == expected
    (died,) = [text for text in messages(caplog) if "died" in text]
    assert died.startswith("generation 10: a worker on ")
    assert "; its actor died" in died or "(its actor died" in died


@pytest.mark.release
def test_nodes_go_and_come_during_a_run(cluster: Any, evolve: Any, on_ray: Any, caplog: Any) -> None:
    changes = {"generations": 60} | KINDS["eggroll"]
    expected = outcome(evolve("here", **{"chunk": 2} | changes))
    node = cluster.add_node(num_cpus=2)

    def move(line: dict[str, Any]) -> None:
        if line["generation"] == 10:
            cluster.remove_node(node, allow_graceful=False)
        if line["generation"] == 30:
            cluster.add_node(num_cpus=2)

    folder = on_ray("ray", hooks=[move], workers=6, **changes)
    assert outcome(folder) == expected
    assert any("another one takes its place" in text for text in messages(caplog))


def messages(caplog: Any) -> list[str]:
    return [record.getMessage() for record in caplog.records]


@pytest.mark.release
def test_other_last_bits_are_refused_unless_they_are_allowed(
    cluster: Any, evolve: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    folder = evolve("first", generations=2, chunk=2)
    monkeypatch.setattr("galab.training.workers.probe_digest", lambda *inputs: "f" * 64)
    changes = {"generations": 4, "executor": "ray", "address": cluster.address, "workers": 2}
    with pytest.raises(NumericProfileError, match="workers to compute as the run does, got scores ffffffff ->"):
        resume(folder, changes)
    resume(folder, changes, allow_numeric_change=True)
    assert any("computes other last bits than the run (scores ffffffff ->" in text for text in messages(caplog))


@pytest.mark.release
def test_what_goes_over_the_wire_is_births_and_scores(on_ray: Any) -> None:
    folder = on_ray("wire", generations=80, children=64, chunk=4, crossover="row")
    lines = read_log(folder / "log.jsonl")
    # A worker that starts is given the state once, which is no part of a generation.
    settled = [line for before, line in itertools.pairwise(lines) if before["workers"] == line["workers"] == 2]
    assert len(settled) > 20
    for line in settled:
        spent = line["worker_bytes_sent"] + line["worker_bytes_received"]
        assert spent / line["workers"] <= 64 * 64 + 4096


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1", r"a Ray cluster at --address 127\.0\.0\.1:1, got no answer .*; start one with `ray start"),
        ("somewhere", "--address local, auto or HOST:PORT .*, got 'somewhere'"),
    ],
)
def test_no_cluster_at_the_address_is_one_sentence_and_nothing_is_written(
    evolve: Any, tmp_path: Path, address: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        evolve(executor="ray", workers=1, address=address)
    assert list(tmp_path.iterdir()) == []


class DriverRun:
    """A run in a process of its own, which can be killed and resumed."""

    def __init__(self, folder: Path, address: str, changes: dict[str, Any]) -> None:
        self.folder, self._where = folder, ["--executor", "ray", "--address", address, "--workers", "3"]
        config = folder.with_suffix(".json")
        config.write_text(json.dumps(RunConfig(**merged(SMALL, changes)).to_dict()))
        self._begin = ["run", "--config", str(config), "--runs", str(folder.parent), "--name", folder.name]
        self.process = self._started(self._begin)

    def _started(self, command: list[str]) -> subprocess.Popen[bytes]:
        log = self.folder.with_suffix(".out").open("ab")
        # Clusters of tests ask for no token, which may lie there from another one.
        env = os.environ | {"RAY_AUTH_MODE": "disabled"}
        words = [sys.executable, "-m", "galab", *command, *self._where]
        return subprocess.Popen(words, stdout=log, stderr=log, env=env)

    def said(self) -> str:
        """All that it has printed so far."""
        return self.folder.with_suffix(".out").read_text()

    def says_that_workers_die(self) -> bool:
        """Whether it ended by itself, in a sentence, because too many died one after the other."""
        last = [line for line in self.said().splitlines() if line.startswith("galab: ")][-1:]
        return any("to start, but" in line or "workers died over them" in line for line in last)

    def kill_and_resume(self) -> None:
        self.process.kill()
        self.process.wait()
        if not (self.folder / "config.json").exists():  # it was killed before it had written anything
            shutil.rmtree(self.folder, ignore_errors=True)
            self.process = self._started(self._begin)
        else:
            self.process = self._started(["resume", str(self.folder)])


@pytest.mark.release
def test_kills_of_workers_nodes_and_drivers_at_random_moments_change_nothing(
    cluster: Any, evolve: Any, tmp_path: Path
) -> None:
    random, kills, node, stops = np.random.default_rng(7), Counter[str](), cluster.add_node(num_cpus=2), 0
    kinds = ("sexual", "eggroll", "egg", "genes", "cartpole")
    for done, kind in enumerate(kinds):
        changes = {"chunk": 2, "generations": 400, "save_every": 20, "report_every": 100} | KINDS[kind]
        changes["generations"] = 400
        expected = outcome(evolve(f"here-{done}", **changes))
        run = DriverRun(tmp_path / f"ray-{done}", cluster.address, changes)
        lost = False
        while run.process.poll() is None or run.process.returncode:
            if run.process.poll() is not None:  # Ray ends a process whose own node is gone
                assert lost or run.says_that_workers_die(), run.said()
                stops, lost = stops + 1, False
                run.kill_and_resume()
            time.sleep(random.uniform(0.1, 2.5))
            if kills.total() >= MANY * (done + 1) // len(kinds):
                continue  # it is left in peace to its end
            victim, there = random.choice([*["worker"] * 5, "node", "run"]), actors()
            # Now and then while it starts, which takes seconds, and mostly when it is at work.
            if run.process.poll() is not None or (not there and (victim == "worker" or random.random() < 0.8)):
                continue
            kills[f"{kind} {victim}"] += 1
            if victim == "worker":
                with suppress(ProcessLookupError):
                    os.kill(int(random.choice(there)), signal.SIGKILL)
            elif victim == "node":
                lost = True
                cluster.remove_node(node, allow_graceful=False)
                node = cluster.add_node(num_cpus=2)
            else:
                run.kill_and_resume()
            if PROGRESS:
                Path(PROGRESS).write_text(f"{kills.total()} in {done} runs, {stops} stops: {dict(kills)}")
        assert outcome(run.folder) == expected, kind
    assert kills.total() == MANY
