"""Every script in ``analysis/`` that asks no question in the laboratory's frame works as it stands, on small things."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FOLDER, RUNS = ROOT / "analysis", ROOT / "runs"
GA, ES, SEEDS = (str(RUNS / name) for name in ("reference", "reference-eggroll", "reference-seeds"))
#: What each is asked with; "{}" is a folder for what it writes.
ARGUMENTS = {
    "does_bfloat16_select_alike": [GA, ES, "--cohorts", "1", "--output", "{}/a.png"],
    "does_decoding_slow_down_with_the_chain": ["--rounds", "1", "--longest", "30", "--output", "{}/a.png"],
    "evolution_beside_gradients": [ES, SEEDS],
    "how_do_mutations_point": [GA, "--generations", "20,800", "--repeats", "3", "--output", "{}/a.png"],
    "must_one_of_sixteen_improve": [
        "--generations", "2", "--samples", "32", "--examples", "100", "--runs", "{}", "--output", "{}/a.png",
    ],
    "step_size_drift": ["--size", "50", "--generations", "20", "--output", "{}/a.png"],
    "which_law_do_gradients_follow": [GA, "--generations", "0,800", "--output", "{}/a.png"],
}  # fmt: skip


def test_every_script_is_tried_here_or_asks_a_question() -> None:
    asking = {path.stem for path in FOLDER.glob("*.py") if "galab.cli.question_script" in path.read_text()}
    assert {path.stem for path in FOLDER.glob("*.py")} - asking == set(ARGUMENTS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_script_answers(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [word.replace("{}", str(tmp_path)) for word in ARGUMENTS[name]]
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    assert capsys.readouterr().out.strip()
    if "--output" in arguments:
        assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_a_script_says_what_it_asks_and_how(path: Path) -> None:
    text = path.read_text()
    assert f"python analysis/{path.name}" in text
    assert "?" in text.split("\n", 1)[0]
