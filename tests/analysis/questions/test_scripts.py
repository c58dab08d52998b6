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
    asking = {path.stem for path in FOLDER.glob("*.py") if "import ask" in path.read_text()}
    assert {path.stem for path in FOLDER.glob("*.py")} - asking == set(ARGUMENTS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_script_answers(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [word.replace("{}", str(tmp_path)) for word in ARGUMENTS[name]]
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    assert end.value.code == 0
    assert capsys.readouterr().out.strip()
    if "--output" in arguments:
        assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_a_script_says_what_it_asks_and_how(path: Path) -> None:
    text = path.read_text()
    assert f"python analysis/{path.name}" in text
    assert "?" in text.split("\n", 1)[0]


@pytest.mark.slow
@pytest.mark.parametrize("run", [GA, ES, f"{SEEDS}/seed_0"], ids=lambda run: Path(run).name)
@pytest.mark.parametrize("name", ["how_do_mutations_point", "which_law_do_gradients_follow"])
def test_a_script_that_looks_at_a_run_chooses_its_generations_by_it(
    name: str, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ["--repeats", "2"] if name.startswith("how") else []
    monkeypatch.setattr(sys, "argv", [name, run, *few, "-o", str(tmp_path / "a.png")])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    assert end.value.code == 0
    assert (tmp_path / "a.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([GA, "--generations", "0,2000"], "expected --generations from 0 to 800, the last of the run, got '0,2000'"),
        ([GA, "--generations", "a"], "expected --generations as numbers such as 0,100, got 'a'; correct them"),
        (["no/run"], "no/run"),
    ],
)
def test_what_a_run_does_not_have_is_one_sentence(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["which_law_do_gradients_follow", *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(FOLDER / "which_law_do_gradients_follow.py"), run_name="__main__")
    assert end.value.code in (1, 2)
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
