"""Text from a run: what the network predicts is what is drawn, and a seed is a text."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from galab.config.run_config import RunConfig
from galab.errors import UsageError, printable
from galab.evaluation.continued_text import _drawn, _egg, _windows, sampled
from galab.models.egg import Egg
from galab.models.sequence import GRU
from galab.saved_runs.generate import generate
from galab.saved_runs.saved_run import SavedRun, open_saved
from galab.tasks.text import BYTES
from galab.training.start_or_resume import start

TEXT = b"1234 1235 1236"


def always(logits: np.ndarray) -> Any:
    while True:
        yield logits


def test_bytes_are_drawn_as_often_as_the_network_says() -> None:
    logits = np.full(BYTES, -50.0)
    logits[[65, 66, 200]] = [0.0, 1.0, -1.0]
    for temperature in (0.5, 1.0, 2.0):
        drawn = list(itertools.islice(_drawn(always(logits), b"x", temperature, 7), 20_000))
        assert {*drawn} == {65, 66, 200}
        odds = np.exp(logits[[65, 66, 200]] / temperature)
        seen = [drawn.count(byte) for byte in (65, 66, 200)]
        assert stats.chisquare(seen, 20_000 * odds / odds.sum()).pvalue > 1e-3
    assert list(itertools.islice(_drawn(always(logits), b"x", 0, 7), 5)) == [66] * 5


def test_an_egg_predicts_byte_by_byte_what_its_forward_says() -> None:
    torch.manual_seed(1)
    model = Egg((len(TEXT),), BYTES * len(TEXT), width=32, layers=2)
    predicted = _egg(model)
    next(predicted)
    stepped = np.stack([predicted.send(byte) for byte in TEXT])
    whole = model(torch.tensor([list(TEXT)], dtype=torch.float32)).unflatten(1, (-1, BYTES))[0]
    assert np.allclose(stepped, whole.detach().numpy(), rtol=1e-6, atol=0)


def test_another_network_sees_the_last_bytes() -> None:
    torch.manual_seed(1)
    model = GRU((8,), BYTES * 8, width=16)
    predicted = _windows(model, 8)
    next(predicted)
    stepped = [predicted.send(byte) for byte in TEXT]
    for place in (0, 3, 7, 8, len(TEXT) - 1):
        seen = torch.tensor([list(TEXT[max(0, place - 7) : place + 1])], dtype=torch.float32)
        expected = model(seen).unflatten(1, (-1, BYTES))[0, -1].detach().numpy()
        assert np.allclose(stepped[place], expected, rtol=0, atol=1e-5)


RUN: dict[str, Any] = {
    "task": "counting(length=8)", "model": "gru(width=8)", "strategy": "adam", "fitness": "loss", "batch": 4,
    "generations": 1, "seed": 1, "threads": 1, "report_every": 1,
}  # fmt: skip


@pytest.fixture
def saved(tmp_path: Path) -> SavedRun:
    start(RunConfig(**RUN), name="text", runs=tmp_path)
    return open_saved(tmp_path / "text")


def test_a_seed_is_a_text(saved: SavedRun) -> None:
    first, again, other = (bytes(generate(saved, "12", length=40, seed=seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert len(first) == 40


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"prompt": ""}, "text to go on with"),
        ({"length": 0}, "--length"),
        ({"temperature": -1.0}, "--temperature"),
        ({"temperature": float("nan")}, "--temperature"),
        ({"seed": -1}, "--seed"),
        ({"member": 5}, "--member"),
    ],
)
def test_what_cannot_be_drawn_is_said(saved: SavedRun, changes: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        generate(saved, **{"prompt": "12"} | changes)


def test_only_a_language_model_goes_on_with_a_text(evolve: Any) -> None:
    with pytest.raises(UsageError, match="expected a run on a text"):
        generate(open_saved(evolve()), "12")


def test_the_command_writes_the_prompt_and_what_follows(saved: SavedRun, capfdbinary: Any) -> None:
    from galab.cli.main import main

    with pytest.raises(SystemExit) as ended:
        main(["generate", str(saved.path), "12", "--length", "30", "--temperature", "0"])
    assert ended.value.code == 0
    out = capfdbinary.readouterr().out.decode()
    drawn = bytes(generate(saved, "12", length=30, temperature=0)).decode("utf-8", "replace")
    assert out == f"12{printable(drawn, lines=True)}\n"


def test_samples_come_with_the_first_report_the_second_the_fourth_and_so_on() -> None:
    assert [generation for generation in range(1, 1001) if sampled(generation, 25)] == [25, 50, 100, 200, 400, 800]
    assert [generation for generation in range(0, 20) if sampled(generation, 1)] == [1, 2, 4, 8, 16]


def test_samples_are_in_the_log_in_tensorboard_and_in_the_report(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from galab.analysis.report.report import report
    from galab.storage.log import read_log
    from galab.storage.run_folder import RunFolder

    start(RunConfig(**RUN | {"generations": 6}), name="run", runs=tmp_path)
    log = read_log(RunFolder(tmp_path / "run").log_path)
    samples = {line["generation"]: line["sample"] for line in log if "sample" in line}
    assert list(samples) == [1, 2, 4]
    assert all(0 < len(text) <= 200 for text in samples.values())
    events = EventAccumulator(str(tmp_path / "run"), size_guidance={"tensors": 0})
    events.Reload()
    assert [event.step for event in events.Tensors("sample/text_summary")] == [1, 2, 4]
    page = report(tmp_path / "run", lambda what, share: None).read_text(encoding="utf-8")
    assert "<h2>Text</h2>" in page
    assert all(f"<summary>generation {generation}</summary><pre>" in page for generation in samples)
