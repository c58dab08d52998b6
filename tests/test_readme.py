"""The README's Python runs as it stands, on small data and for few generations where it would take minutes."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest
import torch
from house import ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
#: What makes a snippet short, and nothing else of it.
SHORTER = {
    'task="mnist"': 'task="digits"', "generations=100": "generations=2", 'seeds="0-7"': 'seeds="0-1", jobs=1',
}  # fmt: skip


def snippet(words: str) -> str:
    """The one snippet with these words."""
    (found,) = [code for code in SNIPPETS if words in code]
    return found


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


def test_every_snippet_is_run_here() -> None:
    known = ("def moons", "ESOptimizer", "class Doubting", "galab.run(", "galab.Search(", "galab.minimize")
    assert [code for code in SNIPPETS if sum(words in code for words in known) != 1] == []


@pytest.mark.slow
def test_the_evolution_strategy_trains_what_it_prints(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    exec(snippet("ESOptimizer"), {})
    assert float(re.search(r"tensor\((\S+?),", capsys.readouterr().out)[1]) < 0.02  # type: ignore[index]


@pytest.mark.slow
def test_the_search_finds_its_target(capsys: pytest.CaptureFixture[str]) -> None:
    exec(snippet("galab.Search("), {})
    numbers = re.findall(r"\d\.\d+", capsys.readouterr().out)
    assert [round(float(number), 2) for number in numbers] == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.slow
def test_a_minimum_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    exec("import galab\n" + snippet("galab.minimize"), {})
    assert capsys.readouterr().out.count("3.") >= 8


def test_a_task_and_a_network_are_files_of_that_kind() -> None:
    Path("readme_moons.py").write_text(snippet("def moons"))
    task = importlib.import_module("readme_moons").moons()
    assert (task.outputs, task.input_shape, len(task.train)) == (2, (2,), 600)
    Path("readme_doubt.py").write_text(snippet("class Doubting"))
    assert issubclass(importlib.import_module("readme_doubt").Doubting, torch.nn.Module)
    for name in ("readme_moons", "readme_doubt"):
        del sys.modules[name]


@pytest.mark.slow
def test_runs_from_python() -> None:
    code = snippet("galab.run(")
    for words, shorter in SHORTER.items():
        assert words in code
        code = code.replace(words, shorter)
    before, _, last = code.rstrip().rpartition("\n")
    names: dict[str, object] = {}
    exec(before, names)
    assert isinstance(names["network"], torch.nn.Module)
    from galab.saved_runs.export import export
    from galab.saved_runs.saved_run import open_saved

    export(open_saved(names["result"].folder.path), "genome", Path("champion.json"))  # type: ignore[attr-defined]
    exec(last, names)
    assert isinstance(names["network"], torch.nn.Module)
