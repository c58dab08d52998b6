"""A generation shared among processes: the same run to the bit, whatever becomes of them."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import multiprocess
import pytest
from lab_outcome import ENGINE, EVOLUTION, log_of, outcome

from galab.errors import GalabError
from galab.evaluation.executors import processes as processes_module
from galab.evaluation.executors import worker_pool
from galab.training.evolution_search import EvolutionSearch
from galab.training.resolve import resolve
from galab.training.saved_state import SavedState
from galab.training.search import SharedSearch
from galab.training.start_or_resume import resume
from galab.training.trials import trials
from galab.training.trials.trials import start_trials
from galab.training.workers import workers_started

pytestmark = pytest.mark.slow  # starting a worker takes seconds

PAIRS = ("antithetic", "one-sided")
ASEXUAL = {"crossover": "none", "elites": 1}
LEXICASE = {"selection": "lexicase", "cases": "classes", "islands": 2, "parents": 4, "children": 7, "elites": 2}
#: In a worker, and only there.
IN_A_WORKER = "__import__('multiprocess').parent_process() is not None"


@pytest.fixture(autouse=True)
def nobody_is_left() -> Any:
    """Whatever happens, a run leaves no process behind."""
    yield
    assert multiprocess.active_children() == []


@pytest.mark.parametrize(
    ("changes", "numbers"),
    [
        (ASEXUAL, (1, 3)),
        (ENGINE["genes"], (2,)),
        (ENGINE["mates"], (1,)),
        (LEXICASE | {"crossover": "row"}, (2,)),
        (ENGINE["low-rank"] | {"generations": 20}, (2,)),
        (EVOLUTION["eggroll"], (3,)),
        (ENGINE["random"], (2,)),
        (ENGINE["binary"], (2,)),
        (ENGINE["reflect"], (2,)),
    ],
    ids=["asexual", "genes", "mates", "lexicase", "low-rank", "eggroll", "random", "binary", "reflect"],
)
def test_the_number_of_workers_never_changes_a_result(
    evolve: Any, changes: dict[str, Any], numbers: tuple[int, ...]
) -> None:
    changes = {"generations": 8, "chunk": 2} | changes
    expected = outcome(evolve("here", **changes))
    for workers in numbers:
        found = outcome(evolve(f"with-{workers}", workers=workers, **changes))
        assert found["verified"]
        assert found == expected


#: A member fails where its first answer is positive, and a worker dies once where the file ``kill`` is.
DANGEROUS = f"""
    import os, pathlib, signal
    try:
        {IN_A_WORKER} and pathlib.Path(__file__).with_name("kill").unlink()
    except FileNotFoundError:
        pass
    else:
        if {IN_A_WORKER}:
            os.kill(os.getpid(), signal.SIGKILL)
    if (outputs[:, 0, 0] > 0).any():
        raise RuntimeError("no positive answers, please")
    return loss
"""


@pytest.mark.usefixtures("fresh_processes")
def test_a_worker_that_is_killed_at_work_is_replaced_and_failures_are_told_once(
    evolve: Any, clouds: Any, tmp_path: Path, caplog: Any
) -> None:
    def kill_later(line: dict[str, Any]) -> None:
        if line["generation"] == 2:
            (tmp_path / "kill").touch()

    changes = {"task": clouds(DANGEROUS), "batch": 0, "precision": "float32", "chunk": 2, "generations": 6}
    expected = outcome(evolve("here", **changes))
    assert sum(line["failures"] for line in expected["log"]) > 0
    told = [record.getMessage() for record in caplog.records if "a member failed; others" in record.getMessage()]
    caplog.clear()
    folder = evolve("shared", workers=2, hooks=[kill_later], **changes)
    again = [record.getMessage() for record in caplog.records if "a member failed; others" in record.getMessage()]
    assert not (tmp_path / "kill").exists()
    assert outcome(folder) == expected
    assert len(told) == len(again) == 1
    assert again[0].count("Traceback") == 1
    assert "no positive answers, please" in again[0]
    died = [record.getMessage() for record in caplog.records if "a worker died" in record.getMessage()]
    assert len(died) == 1
    assert died[0].startswith("generation 3: a worker died (its process was killed by signal 9); another one takes its")


#: A worker hangs once over a whole chunk, where the file ``hang`` is.
HANGING = f"""
    import pathlib, time
    try:
        {IN_A_WORKER} and pathlib.Path(__file__).with_name("hang").unlink()
    except FileNotFoundError:
        pass
    else:
        if {IN_A_WORKER}:
            time.sleep(3600)
    return loss
"""


@pytest.mark.parametrize("chunk", [1, 2])
def test_a_chunk_that_hangs_fails_with_its_worker_and_nothing_else_changes(
    evolve: Any, clouds: Any, tmp_path: Path, caplog: Any, chunk: int
) -> None:
    def hang_later(line: dict[str, Any]) -> None:
        if line["generation"] == 2:
            (tmp_path / "hang").touch()

    caplog.set_level(logging.INFO, "galab")
    own = {"task": clouds(HANGING), "batch": 0, "precision": "float32", "chunk": chunk, "generations": 5}
    expected = log_of(evolve("here", **own))
    folder = evolve("limited", workers=1, member_seconds=2.0, hooks=[hang_later], **own)
    assert not (tmp_path / "hang").exists()
    found = log_of(folder)
    assert found[:2] == expected[:2]
    assert [line["failures"] for line in found] == [0, 0, chunk, 0, 0]
    told = [record.getMessage() for record in caplog.records]
    company = f", or another one of the {chunk} members of its chunk did" if chunk > 1 else ""
    assert f"generation 3: a member failed: took longer than 2 seconds{company}" in told
    (said,) = [text for text in told if "--member-seconds" in text]
    who = "member 0" if chunk == 1 else "members 0 to 1"
    assert said.startswith(f"generation 3: {who} took longer than --member-seconds 2 each and failed; another worker")


def test_a_limit_that_nobody_reaches_changes_nothing(evolve: Any) -> None:
    expected = outcome(evolve("here", chunk=2))
    assert outcome(evolve("limited", chunk=2, workers=2, member_seconds=60.0)) == expected


def test_members_over_which_workers_die_again_and_again_stop_the_run(
    evolve: Any, clouds: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool, "MOST_DEATHS", 2)
    # A whole chunk has three members, whatever tries the task before has fewer.
    task = clouds(f"if len(outputs) == 3 and {IN_A_WORKER}:\n    __import__('os')._exit(7)\nreturn loss")
    with pytest.raises(GalabError, match="members 0 to 2, but 2 workers died over them, .* with code 7; the last"):
        evolve(task=task, batch=0, chunk=3, workers=1)
    assert '"state": "failed"' in (tmp_path / "first" / "status.json").read_text()


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("raise ValueError('I do not like workers')", "that runs, got ValueError: I do not like workers"),
        ("__import__('os')._exit(3)", "expected a worker to start, but its process ended with code 3 before it was"),
    ],
    ids=["raises", "dies"],
)
def test_a_worker_that_cannot_start_is_one_sentence(evolve: Any, clouds: Any, code: str, sentence: str) -> None:
    task = clouds("return loss")
    source = Path(task.rpartition(":")[0])
    source.write_text(f"if {IN_A_WORKER}:\n    {code}\n{source.read_text()}")
    with pytest.raises(GalabError) as error:
        evolve(task=task, batch=0, workers=1)
    assert sentence in str(error.value)


def test_a_worker_refuses_code_that_was_changed_meanwhile(evolve: Any, clouds: Any) -> None:
    """It is loaded again where a worker is replaced, which may be hours later."""
    task = clouds("return loss")
    source = Path(task.rpartition(":")[0])
    later = "from pathlib import Path\nown = Path(__file__)\nown.write_text(own.read_text() + '# later')\n"
    source.write_text(f"{source.read_text()}\n{later}")
    with pytest.raises(GalabError, match="the code and the data that the run began with, got others"):
        evolve(task=task, batch=0, workers=1)


def test_a_worker_that_lost_its_way_is_given_the_state_again(
    evolve: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    changes = {"generations": 6, "chunk": 2} | EVOLUTION["openai-es-adam"]
    expected = outcome(evolve("here", **changes))
    monkeypatch.setattr(
        EvolutionSearch, "result_for_workers", lambda search, fitness: fitness * (search.strategy.generation != 3)
    )
    assert outcome(evolve("misled", workers=1, **changes)) == expected
    lost = [record.getMessage() for record in caplog.records if "is not that of the run" in record.getMessage()]
    assert [sentence.split(":")[0] for sentence in lost] == ["generation 5"]


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Grows with each worker that is started."""
    begun: list[Any] = []
    plain = processes_module.WorkerProcess

    def start(*arguments: Any, **named: Any) -> Any:
        begun.append(plain(*arguments, **named))
        return begun[-1]

    monkeypatch.setattr(processes_module, "WorkerProcess", start)
    return begun


def test_there_are_no_more_workers_than_chunks_whatever_was_asked_for(
    evolve: Any, processes: list[Any], caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes_module, "cores", lambda: 1)
    expected = outcome(evolve("here", chunk=3))
    folder = evolve("crowd", chunk=3, workers=1000)
    assert len(processes) == 2
    assert outcome(folder) == expected
    assert '"workers": 1000' in (folder / "config.json").read_text()
    (crowded,) = [record.getMessage() for record in caplog.records if "share" in record.getMessage()[:20]]
    assert crowded.startswith("2 workers share 1 core and get into each other's way")


@pytest.mark.parametrize(
    "changes",
    [{"elites": 1}, {"fitness": "improvement:loss"}, *(EVOLUTION["eggroll"] | {"pairs": one} for one in PAIRS)],
    ids=["elites", "improvement", *PAIRS],
)
def test_the_start_line_says_how_many_workers_there_are(evolve: Any, changes: dict[str, Any]) -> None:
    saved = SavedState.open(evolve(**{"chunk": 2, **changes}))
    chunks = 0
    for asked in (0, 1, 1000):
        components = saved.built(dataclasses.replace(saved.config, workers=asked))
        chunks = len(components.search_as(SharedSearch).executor.parts(components.strategy.ask()))
        assert workers_started(components) == min(asked, chunks)
    assert chunks > 1


def test_more_processes_for_trials_than_cores_are_said(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setattr(trials, "cores", lambda: 2)
    assert [trials.jobs_for(jobs, 16) for jobs in (None, 2)] == [2, 2]
    assert not caplog.records
    assert trials.jobs_for(1000, 16) == 16
    assert [record.getMessage() for record in caplog.records] == [
        "16 processes share 2 cores and get into each other's way: --jobs 2 is as fast"
    ]


def test_a_run_goes_on_with_another_number_of_workers(evolve: Any, caplog: Any) -> None:
    """More than there are chunks, which is said once."""
    changes = {"chunk": 3, "crossover": "genes-union"}
    expected = outcome(evolve("unbroken", generations=9, **changes))
    folder = evolve("broken", **changes)
    caplog.set_level(logging.WARNING, "galab")
    resume(folder, {"generations": 9, "workers": 3})
    assert outcome(folder) == expected
    (said,) = [record.getMessage() for record in caplog.records if "asked for" in record.getMessage()]
    assert said.startswith("a generation is computed in 2 chunks of up to 3 members, so 2 of the 3 workers asked for")
    assert "--workers 2, or begin a run with --chunk 2" in said


@pytest.mark.parametrize("begun", [5, 13])
def test_workers_that_begin_in_the_middle_know_the_lineage_that_products_follow(evolve: Any, begun: int) -> None:
    changes = ENGINE["low-rank"] | {"chunk": 3}
    expected = outcome(evolve("unbroken", generations=20, **changes))
    folder = evolve("broken", generations=begun, **changes)
    resume(folder, {"generations": 20, "workers": 2})
    assert outcome(folder) == expected


def test_trials_in_processes_may_have_workers(tmp_path: Path, small: dict[str, Any], evolve: Any) -> None:
    from galab.config import RunConfig

    config = RunConfig(**small | {"chunk": 3, "workers": 1})
    done = start_trials(config, (5, 6), name="group", runs=tmp_path, jobs=2)
    assert [(one.state, one.message) for one in done.trials if one.state != "finished"] == []
    assert outcome(done.path / "seed_5") == outcome(evolve("alone", chunk=3))


def test_threads_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from galab.config import RunConfig

    monkeypatch.setattr("galab.training.resolve.default_threads", lambda: 8)
    assert [resolve(RunConfig(workers=workers)).threads for workers in (0, 1, 3, 20)] == [8, 8, 2, 1]
    assert resolve(RunConfig(workers=3, threads=5)).threads == 5
    assert resolve(RunConfig(workers=3)).chunk == resolve(RunConfig()).chunk
