"""Every example runs, for a few generations."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
from house import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
#: Stands in for wandb, which is no part of the test environment; the example was run with the real one, see NOTES.md.
WANDB = '''
import atexit

def Histogram(values):
    return list(values)

class Run:
    def __init__(self, **given):
        self.summary, self.given, self.steps = {}, given, []
    def define_metric(self, name, step_metric=None):
        assert name in ("evaluations", "*")
    def log(self, values, step):
        assert values["generation"] == step and len(values["fitness"]) == 16
        self.steps.append(step)
    def finish(self):
        assert self.given["config"]["children"] == 16 and self.given["name"] == "weights-and-biases"
        print("logged", self.steps, self.summary["reason"])

init = Run
'''


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_as_it_stands(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [path.name, "--generations", "3"])
    (tmp_path / "wandb.py").write_text(WANDB)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    runpy.run_path(str(path), run_name="__main__")
    said = capsys.readouterr().out
    assert said.strip()
    assert path.stem != "weights_and_biases" or "logged [1, 2, 3] 3 generations done" in said


def test_the_recipe_for_weights_and_biases_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["weights_and_biases.py"])
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(SystemExit, match="expected the package wandb, found none; pip install wandb"):
        runpy.run_path(str(ROOT / "examples" / "weights_and_biases.py"), run_name="__main__")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_says_what_it_is_and_how_it_is_run(path: Path) -> None:
    text = path.read_text()
    assert text.startswith('"""')
    assert f"python examples/{path.name}" in text
