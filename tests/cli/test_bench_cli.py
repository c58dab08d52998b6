"""``galab benchmark`` on the command line: what it prints, refuses and writes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

SMALL = [
    "--task", "digits", "--hidden", "4", "--batch", "32", "--parents", "3", "--children", "6", "--seed", "5",
    "--threads", "1", "--precision", "float32", "--generations", "3",
]  # fmt: skip
QUICK = ["--vary", "chunk", "--budget", "60", "-q"]  # so much is never needed, and a busy machine changes nothing


@pytest.fixture(autouse=True)
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """One generation a turn: nobody looks at the times."""
    monkeypatch.setattr("galab.doctor.interleaved_timing.TURN_SECONDS", 0.0)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 2 are twice as fast as all others."""
    from galab.doctor.benchmark import PreparedRun
    from galab.doctor.interleaved_timing import Timing

    def time_generation(self: Any) -> Timing:
        return Timing(0.002, 0.010 if self.numerics["chunk"] == 2 else 0.022, 0.0, 192.0)

    monkeypatch.setattr(PreparedRun, "time_generation", time_generation)


@pytest.mark.slow
def test_it_takes_the_flags_of_run_and_writes_nothing(galab: Any) -> None:
    said = galab("bench", *SMALL, *QUICK)
    assert "digits" in said.out
    assert "192 evaluations a generation" in said.out
    for setting in (
        "chunk 6, float32, eager, 1 thread (default)",
        "chunk 2, float32, eager, 1 thread",
        "chunk 3, float32, eager, 1 thread",
    ):
        assert setting in said.out
    assert "galab run --task digits" in said.out
    assert "as good" in said.out or "best here" in said.out
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.slow
@pytest.mark.usefixtures("fast")
def test_the_best_settings_are_named_with_the_command(galab: Any) -> None:
    said = galab("bench", *SMALL, *QUICK).out
    assert (
        "best here: chunk 2, float32, eager, 1 thread: 2.00 x the default (2.00 to 2.00 in half of the rounds)"
        in said.replace("\n", " ")
    )
    assert said.rstrip().endswith("--generations 3 --chunk 2")
    values = json.loads(galab("bench", *SMALL, *QUICK, "-f", "json").out)
    assert values["best"] == {"chunk": 2}
    assert [row["gain"] for row in values["rows"] if row["changes"] == "--chunk 2"] == pytest.approx([2.0])
    rows = list(csv.DictReader(io.StringIO(galab("bench", *SMALL, *QUICK, "-f", "csv").out)))
    assert [row["changes"] for row in rows] == ["default", "--chunk 2", "--chunk 3"]


@pytest.mark.usefixtures("fast")
def test_tuning_options_writes_a_file_that_run_accepts(galab: Any) -> None:
    said = galab("bench", *SMALL, *QUICK, "--tune", "-o", "fast.json")
    assert "run --config fast.json" in said.out
    galab("run", "--config", "fast.json", "--name", "tuned", "-q")
    saved = json.loads(Path("runs/tuned/config.json").read_text())["hyperparameters"]
    assert (saved["chunk"], saved["children"]) == (2, 6)


@pytest.mark.slow
@pytest.mark.usefixtures("fast")
def test_tuning_a_run_prints_the_command_that_goes_on(galab: Any, evolve: Any) -> None:
    path = evolve()
    before = (path / "config.json").read_bytes()
    said = galab("bench", path, *QUICK)
    assert f"bench {path} --tune" in said.out
    assert (path / "config.json").read_bytes() == before
    said = galab("bench", path, *QUICK, "--tune").out
    assert f"resume {path} --allow-numeric-change --generations 10" in said
    galab("resume", path, "--allow-numeric-change", "--generations", "10", "-q")
    assert json.loads((path / "config.json").read_text())["hyperparameters"]["chunk"] == 2


def test_what_it_refuses(sentence: Any, evolve: Any) -> None:
    path = evolve()
    both = "expected a run or hyperparameters, got both ('runs/first' and --chunk)"
    assert both in sentence("bench", path, "--chunk", 4, code=2)
    assert "expected --vary to name some of" in sentence("bench", *SMALL, "--vary", "sigma", code=2)
    pkl = path / "checkpoints" / "gen_000005.pkl"
    assert "expected a run's folder with --tune" in sentence("bench", pkl, "--tune", code=2)
    Path("tuned.json").write_text("{}")
    assert "expected 'tuned.json' to be free" in sentence("bench", *SMALL, "--tune", code=2)
    assert "got nothing" in sentence("bench", "runs/absent")
