"""Every analysis in the registry, on every kind of run: it answers, or says in one sentence why it cannot."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from galab.cli.main import main
from galab.registry import ANALYSES

RUNS = Path(__file__).resolve().parents[2] / "runs"
REFERENCE = {"ga": RUNS / "reference", "eggroll": RUNS / "reference-eggroll"}
#: What keeps an analysis short here; a person's defaults take longer.
QUICK: dict[str, list[str]] = {"memory": []}
#: What an analysis says of a run that it is not for.
ELSEWHERE = {("memory", "any"): "expected a network with memories"}

Analyze = Callable[[str, Path], "Asked"]

SMALL = [
    "--task", "digits", "--hidden", "4", "--batch", "32", "--seed", "5", "--threads", "1", "--generations", "4",
    "--report-every", "2", "--save-every", "2",
]  # fmt: skip
POPULATION = ["--parents", "3", "--children", "6"]
BANK = [
    "--model", "memory(heads=12)", "--hidden", "", "--mutate", "memory-perturb", "--sigma", "0.5",
    "--fitness", "closeness",
]  # fmt: skip
#: A task of one's own, half of whose members fail.
HALF = '''
import torch

from galab.tasks import Classification, load_task


class Half(Classification):
    def measure(self, outputs, targets):
        sums = super().measure(outputs, targets)
        bad = outputs[:, 0, 0] > 0
        sums["loss"] = torch.where(bad, torch.tensor(float("nan")), sums["loss"])
        return sums


def half():
    plain = load_task("digits", "auto", run_key=0)
    parts = {name: (getattr(plain, name).inputs.numpy(), getattr(plain, name).targets.numpy())
             for name in ("train", "validation", "test")}
    return Half(name="half", classes=10, **parts)
'''


class Asked(NamedTuple):
    """What came of an analysis: its answer, or the one sentence that says why there is none."""

    answer: str | None
    refusal: str


@pytest.fixture
def analyze(capsys: pytest.CaptureFixture[str]) -> Callable[[str, Path], Asked]:
    """``analyze("memory", run)``: it ends without a traceback, and with an answer, with files, or with a sentence."""

    def ask(name: str, run: Path) -> Asked:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main(["analyze", name, str(run), "-q", *QUICK.get(name, [])])
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        if stop.value.code == 0:
            check_files(run if run.is_dir() else run.parent, name)
            assert said.out.strip()
            return Asked(said.out, "")
        sentence = said.err.strip()
        assert sentence.startswith("galab: "), sentence
        assert "expected" in sentence, sentence
        assert len(sentence.splitlines()) == 1, sentence
        return Asked(None, sentence)

    return ask


def check_files(run: Path, name: str) -> None:
    """Figure, table and numbers are there and can be read."""
    home = run / "analysis"
    (image,) = home.glob(f"{name}*.png")
    assert image.read_bytes().startswith(b"\x89PNG")
    with image.with_suffix(".csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert rows
    assert all(None not in row for row in rows)
    found = json.loads(image.with_suffix(".json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert found["answer"]


def refuse(constant: str) -> float:
    """JSON has no NaN and no infinity."""
    raise AssertionError(f"{constant} is no JSON")


@pytest.fixture
def made(galab: Any, tmp_path: Path) -> Callable[..., Path]:
    """Makes a small run."""

    def make(*flags: str, generations: int = 4) -> Path:
        galab("run", *SMALL, *flags, "--generations", generations, "--name", "made", "--runs", tmp_path)
        return tmp_path / "made"

    return make


def test_the_reference_runs_are_there_and_small() -> None:
    for path in REFERENCE.values():
        size = sum(file.stat().st_size for file in path.rglob("*") if "analysis" not in file.parts)
        assert 100_000 < size < 4_000_000


@pytest.mark.parametrize("kind", REFERENCE)
@pytest.mark.parametrize("name", ANALYSES.names())
def test_it_answers_on_the_reference_runs(analyze: Analyze, tmp_path: Path, name: str, kind: str) -> None:
    run = Path(shutil.copytree(REFERENCE[kind], tmp_path / "run", ignore=shutil.ignore_patterns("analysis")))
    said = analyze(name, run)
    wanted = ELSEWHERE.get((name, kind), ELSEWHERE.get((name, "any")))
    if wanted is None:
        assert said.answer, said.refusal
    else:
        assert wanted in said.refusal


@pytest.mark.parametrize("name", ANALYSES.names())
def test_one_generation_is_enough_or_said_to_be_too_few(analyze: Analyze, made: Any, name: str) -> None:
    analyze(name, made(*POPULATION, generations=1))


@pytest.mark.parametrize("name", ANALYSES.names())
def test_a_network_of_memories_is_a_network(analyze: Analyze, made: Any, name: str) -> None:
    analyze(name, made(*POPULATION, *BANK))


@pytest.mark.parametrize("name", ANALYSES.names())
def test_members_that_fail_are_no_obstacle(analyze: Analyze, made: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / "half.py").write_text(HALF)
    analyze(name, made(*POPULATION, "--task", "half.py:half"))


@pytest.mark.parametrize("name", ANALYSES.names())
def test_a_lone_checkpoint_is_analysed_or_refused(analyze: Analyze, made: Any, tmp_path: Path, name: str) -> None:
    lone = tmp_path / "alone" / "gen_000004.pkl"
    lone.parent.mkdir()
    shutil.copy(made(*POPULATION) / "checkpoints" / lone.name, lone)
    analyze(name, lone)


@pytest.mark.parametrize("name", ANALYSES.names())
def test_damage_is_one_sentence(analyze: Analyze, made: Any, name: str) -> None:
    run = made(*POPULATION)
    newest = max((run / "checkpoints").glob("*.pkl"))
    newest.write_bytes(newest.read_bytes()[:-100])
    assert newest.name in analyze(name, run).refusal
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").mkdir()
    assert "expected a checkpoint" in analyze(name, run).refusal


@pytest.mark.parametrize("name", ANALYSES.names())
def test_nothing_there_is_one_sentence(analyze: Analyze, tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "nowhere"):
        assert analyze(name, path).refusal
