"""The best settings get into runs and files, and what then happens is what is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lab_outcome import merged

from galab.config import RunConfig
from galab.doctor.benchmark import (
    benchmark_of_config,
    benchmark_of_run,
    best_settings,
    check_unused,
    write_file,
    write_into,
)
from galab.doctor.fastest_settings import SettingResult, TuningResult
from galab.doctor.interleaved_timing import Speedup, Timing
from galab.errors import NumericProfileError, RunFolderError, UsageError
from galab.saved_runs.saved_run import open_saved
from galab.saved_runs.verify import verify
from galab.storage import checkpoints
from galab.storage.log import read_log
from galab.storage.run_folder import RunFolder
from galab.training.compose import compose
from galab.training.start_or_resume import resume, start

TIMING = Timing(0.0, 1.0, 0.0, 1.0)


def found(config: RunConfig, profile: dict[str, Any], gain: float = 2.0, **changes: Any) -> TuningResult:
    """As if these changes had won."""
    default = SettingResult({}, "default", TIMING, None, None, 0, 3)
    best = SettingResult(changes, "tuned", TIMING, Speedup(gain, gain, gain), None, 0, 3)
    return TuningResult(config, [default, best], best, profile, [])


def tuned(path: Path, **changes: Any) -> bool:
    benchmark = benchmark_of_run(path)
    config = RunConfig.from_dict(benchmark.config.to_dict() | changes)
    return write_into(RunFolder.open(path), found(benchmark.config, benchmark.make(config).profile, **changes))


def at_generation_0(evolve: Callable[..., Path]) -> Path:
    """A run that was killed right after its checkpoint 0."""
    path = evolve("begun", generations=1)
    (path / "checkpoints" / "gen_000001.pkl").unlink()
    return path


def test_a_run_that_has_begun_needs_to_be_told(evolve: Callable[..., Path]) -> None:
    path = evolve()
    assert tuned(path, chunk=2)
    assert open_saved(path).config.chunk == 2
    assert RunFolder(path).read_config()["tuned"] == [{"generation": 5, "chunk": 2}]
    assert open_saved(path / "checkpoints" / "gen_000002.pkl").config.chunk == 6, "older ones keep theirs"
    with pytest.raises(NumericProfileError, match="chunk 6 -> 2.*--allow-numeric-change"):
        resume(path, {"generations": 7})
    resume(path, {"generations": 7}, allow_numeric_change=True)
    lines = list(read_log(path / "log.jsonl"))
    assert [line.get("numeric_change") for line in lines] == [None] * 5 + ["chunk 6 -> 2", None]
    resume(path, {"generations": 8})  # from now on these are the run's own


def test_a_run_before_its_first_generation_becomes_one_that_was_started_so(
    evolve: Callable[..., Path], small: dict[str, Any], tmp_path: Path
) -> None:
    path = at_generation_0(evolve)
    assert not tuned(path, chunk=2)
    resume(path, {"generations": 5})
    other = start(RunConfig(**merged(small, {"chunk": 2})), name="other", runs=tmp_path).folder.path
    ends = [checkpoints.load_checked(run / "checkpoints" / "gen_000005.pkl") for run in (path, other)]
    for key in ("hyperparameters", "numeric_profile", "strategy", "champion"):
        assert repr(ends[0][key]) == repr(ends[1][key]), key


@pytest.mark.parametrize("strategy", ["ga", "eggroll"])
def test_a_tuned_run_can_be_verified(strategy: str, small: dict[str, Any], tmp_path: Path) -> None:
    kind = {"strategy": "eggroll", "population": 8, "compile": "off"} if strategy == "eggroll" else {}
    own = {name: value for name, value in small.items() if not kind or name not in ("parents", "children")}
    path = start(RunConfig(**own, **kind), name="first", runs=tmp_path).folder.path
    assert tuned(path, chunk=2)
    resume(path, {"generations": 8}, allow_numeric_change=True)
    assert open_saved(path).config.chunk == 2
    assert all(verdict.good for verdict in verify(RunFolder(path)))


def test_a_run_killed_before_its_first_checkpoint_is_tuned_by_its_configuration(evolve: Callable[..., Path]) -> None:
    path = at_generation_0(evolve)
    (path / "checkpoints" / "gen_000000.pkl").unlink()
    (path / "log.jsonl").unlink()
    assert not tuned(path, chunk=2)
    resume(path)
    assert open_saved(path).config.chunk == 2


def test_a_run_that_goes_on_is_left_alone(evolve: Callable[..., Path]) -> None:
    path = evolve()
    before = (path / "config.json").read_bytes()
    with RunFolder(path).lock(), pytest.raises(RunFolderError, match="in use by another process"):
        tuned(path, chunk=2)
    assert (path / "config.json").read_bytes() == before


def test_a_file_holds_what_was_asked_for_and_what_was_found(small: dict[str, Any], tmp_path: Path) -> None:
    asked = compose({name: value for name, value in small.items() if name != "seed"})
    path = tmp_path / "tuned.json"
    write_file(path, asked, found(asked, {}, chunk=3, threads=2), "about it")
    content = json.loads(path.read_text())
    assert content["about"] == "about it"
    assert "seed" not in content["hyperparameters"]
    again = compose({}, config_file=path)
    assert again.changed(asked) == {"chunk": (3, 0), "threads": (2, 1)}
    with pytest.raises(UsageError, match="expected '.*tuned.json' to be free"):
        check_unused(path)


def test_a_gain_that_is_noise_changes_nothing(small: dict[str, Any]) -> None:
    config = RunConfig(**small)
    assert found(config, {}, gain=1.04, chunk=3).changes == {}
    assert found(config, {}, gain=1.06, chunk=3).changes == {"chunk": 3}


def test_real_generations_are_measured_and_torch_gets_its_threads_back(
    small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("galab.doctor.interleaved_timing.TURN_SECONDS", 0.0)

    before, heard = torch.get_num_threads(), []
    measured = best_settings(
        benchmark_of_config(RunConfig(**small)), vary=("chunk",), budget=60.0, progress=heard.append
    )
    assert torch.get_num_threads() == before
    assert [row.name for row in measured.rows] == ["default", "--chunk 2", "--chunk 3"]
    assert all(row.timing.seconds > 0 and row.timing.evaluations == 6 * 32 for row in measured.rows)
    assert heard[0] == "making the default ready"
    pinned = best_settings(
        benchmark_of_config(RunConfig(**small)), fixed=("precision", "workers", "threads", "chunk"), budget=0.5
    )
    assert [row.name for row in pinned.rows] == ["default"]


@pytest.mark.parametrize(("load", "said"), [(0.1, False), (1000.0, True)])
def test_a_busy_machine_is_mentioned(
    small: dict[str, Any], monkeypatch: pytest.MonkeyPatch, load: float, said: bool
) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (load, load, load))
    measured = best_settings(benchmark_of_config(RunConfig(**small)), vary=("threads",), budget=0.0)
    assert any("others were computing" in note for note in measured.notes) == said
