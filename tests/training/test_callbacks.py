"""Callbacks see a run after every generation, stop it, and cannot change it; patience."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab_outcome import outcome
from torch import nn

import galab
from galab.errors import UsageError
from galab.storage.log import read_log
from galab.training.callbacks import Callbacks, RunView, load_callback

SMALL: dict[str, Any] = {
    "task": "digits", "hidden": "4", "batch": 32, "parents": 3, "children": 6, "seed": 5, "threads": 1,
    "generations": 5, "save_every": 2, "report_every": 2,
}  # fmt: skip


class Listener:
    """Writes down what it is shown."""

    def __init__(self, stop_at: int = 0) -> None:
        self.heard: list[tuple[str, RunView]] = []
        self._stop_at = stop_at

    def on_start(self, view: RunView) -> None:
        self.heard.append(("start", view))

    def on_generation(self, view: RunView) -> bool:
        self.heard.append(("generation", view))
        return view.generation == self._stop_at

    def on_end(self, view: RunView) -> None:
        self.heard.append(("end", view))


def test_it_sees_start_generations_and_end(tmp_path: Path) -> None:
    listener = Listener()
    result = galab.run(runs=tmp_path, name="a", callbacks=[listener], **SMALL)
    names = [name for name, _ in listener.heard]
    assert names == ["start", *["generation"] * 5, "end"]
    assert [view.generation for _, view in listener.heard] == [0, 1, 2, 3, 4, 5, 5]
    lines = read_log(tmp_path / "a" / "log.jsonl")
    for line, (_, view) in zip(lines, listener.heard[1:-1], strict=True):
        assert {**view.line} | {"generation": line["generation"]} == line
        assert len(view.fitness) == 6
        assert np.nanmax(view.fitness) == line["fitness_best"]
        assert (view.config.children, view.folder, view.reason) == (6, tmp_path / "a", "")
        assert isinstance(view.champion(), nn.Module)
    end = listener.heard[-1][1]
    assert (end.reason, dict(end.line)) == ("5 generations done", result.metrics)


def test_looking_changes_nothing(tmp_path: Path) -> None:
    def meddling(view: RunView) -> None:
        view.fitness[:] = 0
        with pytest.raises(TypeError):
            view.line["generation"] = 7  # type: ignore[index]
        with pytest.raises(AttributeError):
            view.generation = 7  # type: ignore[misc]
        for value in view.champion().parameters():
            value.data.zero_()

    galab.run(runs=tmp_path, name="plain", **SMALL)
    galab.run(runs=tmp_path, name="seen", callbacks=[meddling], **SMALL)
    assert outcome(tmp_path / "seen") == outcome(tmp_path / "plain")


@pytest.mark.parametrize("kind", ["function", "object"])
def test_true_stops_the_run_which_goes_on_exactly(kind: str, tmp_path: Path) -> None:
    stop = Listener(stop_at=3) if kind == "object" else lambda view: view.generation == 3
    result = galab.run(runs=tmp_path, name="broken", callbacks=[stop], **SMALL)
    assert (result.generation, result.interrupted) == (3, False)
    assert result.reason.startswith("stopped by callback ")
    assert json.loads((tmp_path / "broken" / "status.json").read_text())["state"] == "stopped"
    galab.resume(tmp_path / "broken", generations=5)
    galab.run(runs=tmp_path, name="whole", **SMALL)
    assert outcome(tmp_path / "broken") == outcome(tmp_path / "whole")


def test_what_it_raises_stops_the_run_as_ctrl_c_does_with_its_traceback(tmp_path: Path, caplog: Any) -> None:
    def broken(view: RunView) -> None:
        if view.generation == 2:
            raise ValueError("no such file")

    result = galab.run(runs=tmp_path, name="broken", callbacks=[broken], **SMALL)
    assert (result.generation, result.interrupted) == (2, True)
    assert result.reason.endswith("raised ValueError: no such file")
    assert "Traceback" in caplog.text
    assert "in broken" in caplog.text
    galab.resume(tmp_path / "broken", generations=5)
    galab.run(runs=tmp_path, name="whole", **SMALL)
    assert outcome(tmp_path / "broken") == outcome(tmp_path / "whole")


@pytest.mark.parametrize("error", [SystemExit(0), KeyboardInterrupt(), GeneratorExit()], ids=lambda e: type(e).__name__)
def test_one_that_exits_loses_nothing(error: BaseException, tmp_path: Path) -> None:
    def leaving(view: RunView) -> None:
        if view.generation == 3:
            raise error

    result = galab.run(runs=tmp_path, name="left", callbacks=[leaving], **SMALL)
    assert (result.generation, result.interrupted) == (3, True)
    galab.resume(tmp_path / "left", generations=5)
    galab.run(runs=tmp_path, name="whole", **SMALL)
    assert outcome(tmp_path / "left") == outcome(tmp_path / "whole")


def test_wrong_callbacks_leave_no_folder_and_a_true_number_stops(tmp_path: Path) -> None:
    for wrong in ([3], len):
        with pytest.raises(UsageError, match="expected (a callback|callbacks)"):
            galab.run(runs=tmp_path, name="bad", callbacks=wrong, **SMALL)  # type: ignore[arg-type]
    assert not (tmp_path / "bad").exists()
    assert galab.run(runs=tmp_path, name="a", callbacks=[lambda view: np.bool_(True)], **SMALL).generation == 1


def test_patience_is_as_fine_as_reports(tmp_path: Path) -> None:
    values = SMALL | {"generations": 60, "patience": 5, "report_every": 10, "sigma": 0.001}
    result = galab.run(runs=tmp_path, name="a", **values)
    assert result.generation % 10 == 0


def test_trials_show_themselves_each(tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []
    values = {name: value for name, value in SMALL.items() if name != "seed"}
    galab.run_trials(
        seeds="0-1", runs=tmp_path, name="both", jobs=1, **values,
        callbacks=[lambda view: seen.append((view.folder.name, view.generation))],
    )  # fmt: skip
    assert sorted(seen) == [(f"seed_{seed}", generation) for seed in (0, 1) for generation in range(1, 6)]


@pytest.mark.parametrize("wrong", [3, object(), "f"])
def test_what_is_no_callback_is_refused_before_the_run(wrong: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a callback to be a function of a run's view, or to have one of on_"):
        galab.run_trials(seeds="0-1", runs=tmp_path, name="no", callbacks=[wrong], task="digits")
    assert not any(tmp_path.iterdir())


def test_one_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "listening.py"
    file.write_text("def stop(view): return view.generation == 1\nclass Quiet:\n    def on_end(self, view): ...\n")
    assert load_callback(f"{file}:stop")(type("View", (), {"generation": 1}))
    assert len(Callbacks([load_callback(f"{file}:Quiet")])) == 1
    for wrong, said in [
        (f"{file}:stopp", "Did you mean 'stop'"), ("listening", "expected a callback as NAME"),
        (f"{tmp_path}/none.py:f", "expected a Python file at"),
    ]:  # fmt: skip
        with pytest.raises(UsageError, match=said):
            load_callback(wrong)


def test_patience_ends_a_run_and_a_resumed_one_at_the_same_generation(tmp_path: Path) -> None:
    values = SMALL | {"generations": 400, "patience": 12, "sigma": 0.3, "step_size": "fixed"}
    whole = galab.run(runs=tmp_path, name="whole", **values)
    assert whole.reason.startswith("no better champion since generation ")
    lines = [line for line in read_log(tmp_path / "whole" / "log.jsonl") if "champion" in line]
    best, since = -1.0, 0
    for line in lines:
        if line["validation_accuracy"] > best:
            best, since = line["validation_accuracy"], line["generation"]
        assert line["generation"] == whole.generation or line["generation"] - since < 12
    assert whole.generation - since >= 12
    stop = whole.generation - 5
    galab.run(runs=tmp_path, name="broken", callbacks=[lambda view: view.generation == stop], **values)
    again = galab.resume(tmp_path / "broken")
    assert (again.generation, again.reason) == (whole.generation, whole.reason)
    assert outcome(tmp_path / "broken") == outcome(tmp_path / "whole")
