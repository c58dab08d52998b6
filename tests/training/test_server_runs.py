"""Runs whose answers come from servers: the same as in this process, whatever computes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lab_outcome import outcome

from galab.config import RunConfig
from galab.config.spelling import OptionError
from galab.errors import GalabError, NumericProfileError, ServerError
from galab.evaluation.answer_servers import AnswerServer
from galab.saved_runs.saved_run import open_saved
from galab.storage.log import read_log
from galab.training.start_or_resume import resume, start

pytest.importorskip("transformers")

from language_server import served

RUN: dict[str, Any] = {
    "task": "conciseness(prompts=sums)", "seed": 3, "generations": 2, "report_every": 2, "save_every": 1, "threads": 1,
    "adapt": "lora", "lora_rank": 2, "answer_tokens": 12,
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "eggroll": {"strategy": "eggroll", "population": 6, "sigma": 0.05, "lr": 0.001, "layers": "1"},
    "ga": {"parents": 2, "children": 4, "elites": 1, "sigma": 0.1, "crossover": "row"},
}


@pytest.fixture
def write(tmp_path: Path, no_waiting_for_the_disk: None, forked_processes: None) -> Any:
    def make(name: str, kind: str, **changes: Any) -> Path:
        start(RunConfig(**RUN | KINDS[kind] | changes), name=name, runs=tmp_path)
        return tmp_path / name

    return make


def result(folder: Path) -> dict[str, Any]:
    """What a run found, without what says who computed it."""
    found = outcome(folder)
    found.pop("numeric_profile")
    found["totals"]["began"].pop("server", None)
    found["totals"]["warned"] = [name for name in found["totals"]["warned"] if name != "server"]
    for line in found["log"]:
        line.pop("warnings", None)
        line.pop("tokens")  # a server counts the token that ends an answer in another way
    return found


@pytest.mark.parametrize(("kind", "dialect"), [("eggroll", "sglang"), ("ga", "vllm"), ("ga", "sglang")])
def test_a_server_gives_the_run_of_this_process(write: Any, kind: str, dialect: str) -> None:
    expected = result(write("here", kind))
    with served() as (url, language):
        folder = write("there", kind, generator=dialect, server=url)
        assert len(language.names) > 2 * 4
    found = result(folder)
    assert found == expected
    assert found["verified"]  # from the scores in the log, without the server


def test_the_log_says_that_its_scores_are_a_servers(write: Any) -> None:
    with served() as (url, _):
        folder = write("there", "eggroll", generator="sglang", server=url)
    said = [sentence for line in read_log(folder / "log.jsonl") for sentence in line.get("warnings", [])]
    assert [sentence for sentence in said if "scores come from a server (sglang)" in sentence] == said[:1]
    state = open_saved(folder).state
    assert state["numeric_profile"]["forward"] == "perturbed answers by a server of sglang 0.5.9"


def test_a_run_that_loses_its_server_goes_on_with_another_one(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = result(write("here", "ga", generations=4))
    monkeypatch.setattr(AnswerServer.__init__, "__defaults__", (None, 0.3))
    with served() as (url, language):
        answered = language.answer

        def gone_later(*arguments: Any) -> Any:
            if len(language.names) > 30:
                language.faults.busy = 1000
            return answered(*arguments)

        language.answer = gone_later  # type: ignore[method-assign]
        with pytest.raises(GalabError, match="expected the server of sglang .*, got status 503"):
            write("broken", "ga", generations=4, generator="sglang", server=url)
    folder = tmp_path / "broken"
    assert 0 < len(read_log(folder / "log.jsonl")) < 4
    with served() as (url, _):
        resume(folder, {"server": url})
    assert result(folder) == expected


def test_a_run_of_a_server_goes_on_in_this_process(write: Any) -> None:
    expected = result(write("here", "ga", generations=3))
    with served() as (url, _):
        folder = write("there", "ga", generations=1, generator="vllm", server=url)
    with pytest.raises(NumericProfileError, match="answers by a server of vllm 0.19.0 -> "):
        resume(folder, {"generations": 3, "generator": "transformers"})
    resume(folder, {"generations": 3, "generator": "transformers"}, allow_numeric_change=True)
    found = result(folder)
    for line in found["log"]:
        line.pop("numeric_change", None)
    assert found == expected


@pytest.mark.slow
def test_workers_ask_one_server(write: Any) -> None:
    expected = result(write("here", "ga", chunk=2))
    with served() as (url, language):
        found = result(write("there", "ga", chunk=2, generator="vllm", server=url, workers=2))
        assert len(set(language.names)) == len(language.names)
    assert found == expected


@pytest.mark.slow
def test_a_server_that_is_gone_is_one_sentence_of_the_workers_too(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AnswerServer.__init__, "__defaults__", (None, 0.3))
    with served() as (url, language):
        loaded = language.load

        def dies(name: str, folder: str) -> None:
            if len(language.names) > 14:
                language.faults.refuses_prompts = True
            loaded(name, folder)

        language.load = dies  # type: ignore[method-assign]
        with pytest.raises(ServerError, match="expected the server of vllm .*to answer prompts, got status 400"):
            write("there", "ga", chunk=2, generator="vllm", server=url, workers=2)


def test_what_makes_no_sense_with_a_server_is_refused() -> None:
    with pytest.raises(OptionError, match="expected --adapt lora with --generator sglang, whose server loads adapters"):
        start(RunConfig(**RUN | KINDS["ga"] | {"adapt": "full", "lora_rank": None, "generator": "sglang"}))
    with pytest.raises(OptionError, match="expected a URL such as http://127.0.0.1:30000 as --server, got localhost"):
        start(RunConfig(**RUN | KINDS["ga"] | {"generator": "sglang", "server": "localhost:30000"}))
    with pytest.raises(OptionError, match="expected --generator sglang or --generator vllm with --server"):
        start(RunConfig(**RUN | KINDS["ga"] | {"server": "http://127.0.0.1:1"}))
