"""Workers on a machine that has neither the folder of the run nor its code and data: here a process that is told so."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab_outcome import outcome
from small_runs import CLOUDS

from galab.config import RunConfig
from galab.errors import UsageError
from galab.evaluation.executors.worker import MissingDataError
from galab.storage.process_folder import _machine
from galab.training.build import build, network_and_task
from galab.training.initial_weights import initial_founders
from galab.training.probe import probe_digest
from galab.training.resolve import resolve
from galab.training.search import RunComponents
from galab.training.workers import WorkerSearchFactory, sendable


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of a run, which its workers do not find."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    plain = WorkerSearchFactory.of
    away = staticmethod(lambda *inputs: dataclasses.replace(plain(*inputs), place="/no/such/folder"))
    monkeypatch.setattr(WorkerSearchFactory, "of", away)
    return home


def components_of(**changes: Any) -> RunComponents:
    config = resolve(RunConfig(**{"hidden": "4", "batch": 0, "seed": 5, "threads": 1, "chunk": 2} | changes))
    module, task = network_and_task(config)
    return build(config, module, task)


def write_csv(path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 3)).round(3)
    lines = [f"{a},{b},{c},{'yes' if a > b else 'no'}" for a, b, c in rows]
    path.write_text("\n".join(["a,b,c,label", *lines]) + "\n")


def test_code_is_sent_as_files_and_runs_there(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (elsewhere / "own").mkdir()
    (elsewhere / "own" / "clouds.py").write_text(
        "\n".join(line[4:] for line in CLOUDS.splitlines()) + "\n\ndef verdict(outputs, loss):\n    return loss\n"
    )
    factory = WorkerSearchFactory.of(components_of(task="own/clouds.py:clouds"))
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    monkeypatch.setattr("tempfile.tempdir", str(other))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = [other / f"galab-code-{_machine()}-{process}-abc" for process in (ended.pid, os.getppid(), "mine")]
    for folder in left:
        (folder / "own").mkdir(parents=True)
    search, different = factory()
    assert [folder.exists() for folder in left] == [False, True, True]
    assert different == ""
    assert Path.cwd() != other
    assert (Path.cwd() / "own" / "clouds.py").is_file()
    assert search.executor.parts(search.strategy.ask())


def test_code_outside_the_folder_of_the_run_is_refused_where_it_is_absent(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = "\n".join(line[4:] for line in CLOUDS.splitlines()) + "\n\ndef verdict(outputs, loss):\n    return loss\n"
    (tmp_path / "clouds.py").write_text(source)
    for name in ("../clouds.py", str(tmp_path / "clouds.py")):
        factory = WorkerSearchFactory.of(components_of(task=f"{name}:clouds"))
        factory()  # it is found there
        (tmp_path / "clouds.py").rename(tmp_path / "away.py")
        with pytest.raises(UsageError, match="expected your code in the folder where the run is started, or below it"):
            factory()
        (tmp_path / "away.py").rename(tmp_path / "clouds.py")


def test_data_that_is_missing_is_asked_for_and_taken(elsewhere: Path) -> None:
    write_csv(elsewhere / "points.csv")
    components = components_of(task="csv(file=points.csv,target=label)")
    factory = WorkerSearchFactory.of(components)
    factory()
    write = (elsewhere / "points.csv").read_text().replace("yes", "no", 3)
    (elsewhere / "points.csv").write_text(write)
    with pytest.raises(MissingDataError, match="expected the data of .* that the run has, got other data"):
        factory()
    (elsewhere / "points.csv").unlink()
    with pytest.raises(MissingDataError, match=r"points\.csv"):
        factory()
    search, _ = factory(sendable(components.task))
    assert search.executor.parts(search.strategy.ask())


def test_a_run_whose_workers_have_no_data_is_the_same_run(
    evolve: Any, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    write_csv(elsewhere / "points.csv")
    changes = {"task": "csv(file=points.csv,target=label)", "batch": 0, "chunk": 2}
    expected = outcome(evolve("here", **changes))
    plain = WorkerSearchFactory.of

    def hidden(*inputs: Any) -> WorkerSearchFactory:
        (elsewhere / "points.csv").rename(elsewhere / "away.csv")
        return plain(*inputs)

    monkeypatch.setattr(WorkerSearchFactory, "of", staticmethod(hidden))
    folder = evolve("sent", workers=2, **changes)
    (elsewhere / "away.csv").rename(elsewhere / "points.csv")
    assert outcome(folder) == expected
    assert sum("has not got the data, so it is sent" in record.getMessage() for record in caplog.records) == 1


def test_a_task_of_ones_own_class_is_not_sent() -> None:
    class Own:
        name = "own"

    with pytest.raises(UsageError, match="expected the data of task 'own' where each worker runs"):
        sendable(Own())


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"crossover": "genes-independent"}, {"strategy": "eggroll", "population": 8},
        {"strategy": "snes", "population": 8}, {"task": "cartpole", "batch": 2, "episodes": 2},
        {"strategy": "integer-eggroll", "task": "linear-regression", "model": "integer-linear", "hidden": None,
         "population": 8, "batch": 4},
    ],
    ids=["ga", "genes", "eggroll", "snes", "episodes", "integer"],
)  # fmt: skip
def test_the_digest_of_a_run_is_that_of_its_probe_alone(changes: dict[str, Any]) -> None:
    config = resolve(RunConfig(**{"task": "digits", "hidden": "4", "batch": 16, "seed": 5, "threads": 1} | changes))
    module, task = network_and_task(config)
    founders = initial_founders(config, module, lambda seed: network_and_task(config)[0])
    components = build(config, module, task, founders=founders)
    inputs = (config, module, task, founders, components.law)
    first = probe_digest(*inputs)
    for _ in range(2):  # a run that goes on has the same
        cohort = components.strategy.ask()
        components.search.initial_records()
        components.strategy.tell(components.executor.score(cohort))
    assert probe_digest(*inputs) == first
    assert len(first) == 64
    other = resolve(RunConfig(**{"task": "digits", "hidden": "4", "batch": 16, "threads": 1} | changes | {"seed": 6}))
    module, task = network_and_task(other)
    founders = initial_founders(other, module, lambda seed: network_and_task(other)[0])
    assert probe_digest(other, module, task, founders, components.law) != first
