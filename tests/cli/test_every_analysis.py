"""Every analysis in the registry, on every kind of run: it answers, or says in one sentence why it cannot."""

from __future__ import annotations

import csv
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from galab.analysis.base import summary_of, takes_many
from galab.cli.main import main
from galab.config.registry import ANALYSES

pytestmark = pytest.mark.slow

RUNS = Path(__file__).resolve().parents[2] / "runs"
REFERENCE = {"ga": RUNS / "reference", "eggroll": RUNS / "reference-eggroll"}
#: What keeps an analysis short here; a person's defaults take longer.
QUICK: dict[str, list[str]] = {
    "gradient-cosine": ["--repeats", "2", "--samples", "16", "--top", "2,8", "--steps", "3", "--examples", "300"],
    "gradients": ["--steps", "3", "--looks", "2", "--examples", "300"],
    "landscape": ["--directions", "2", "--examples", "100"],
    "robustness": ["--mutants", "6", "--ancestors", "4", "--examples", "300"],
    "generation-size": ["--moments", "2", "--children", "32", "--examples", "300"],
    "meeting": ["--trials", "5", "--pairs", "20", "--generations", "4"],
    "mutation-fitness": [
        "--samples", "16", "--children", "16", "--layer-samples", "4", "--examples", "300",
        "--sigmas", "0.001,0.1", "--distributions", "normal,sign",
    ],
    "step-size": ["--samples", "8", "--moments", "2", "--examples", "300", "--sigmas", "0.001,0.01,0.1"],
    "replay": ["--broods", "1", "--examples", "300"],
}  # fmt: skip
#: What an analysis says of a run that it is not for.
ELSEWHERE = {
    ("memory", "any"): "expected a network with memories",
    ("meeting", "eggroll"): "which has one centre and no parents",
    ("variance", "any"): "expected at least 3 runs with different seeds",
}

Analyze = Callable[[str, Path], "Asked"]
Made = Callable[[str], Path]

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


@pytest.fixture(scope="session")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one small run of each kind."""
    home = tmp_path_factory.mktemp("kinds")
    (home / "half.py").write_text(HALF)
    kinds = {
        "plain": [*POPULATION],
        "short": [*POPULATION, "--generations", "1"],
        "memories": [*POPULATION, *BANK],
        "gradients": ["--strategy", "sgd"],
        "genes": ["--parents", "3", "--children", "6", "--crossover", "genes-union"],
        "random": ["--strategy", "random", *POPULATION],
        "failing": [*POPULATION, "--task", f"{home / 'half.py'}:half"],
    }
    level = logging.getLogger("galab").level  # which the command line sets, for the tests after these too
    for name, flags in kinds.items():
        with pytest.raises(SystemExit, match="0"):
            main(["run", *SMALL, *flags, "--name", name, "--runs", str(home), "-q"])
    logging.getLogger("galab").setLevel(level)
    return home


@pytest.fixture
def made(kinds: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A run of a kind, to do anything with."""
    return lambda name: Path(shutil.copytree(kinds / name, tmp_path / name))


@pytest.mark.parametrize("name", ANALYSES.names())
def test_the_registry_has_the_first_line_of_its_help(name: str) -> None:
    assert ANALYSES.summary(name) == summary_of(ANALYSES.load(name))


def test_the_reference_runs_are_there_and_small() -> None:
    for path in REFERENCE.values():
        size = sum(file.stat().st_size for file in path.rglob("*") if "analysis" not in file.parts)
        assert 100_000 < size < 4_000_000


@pytest.mark.usefixtures("whole_figures")
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


def test_analyses_of_many_runs_answer_on_the_reference_seeds(analyze: Analyze, tmp_path: Path) -> None:
    several = [name for name in ANALYSES.names() if takes_many(ANALYSES.load(name))]
    assert several == ["robustness", "variance"]
    runs = Path(shutil.copytree(RUNS / "reference-seeds", tmp_path / "runs", ignore=shutil.ignore_patterns("analysis")))
    for name in several:
        said = analyze(name, runs)
        assert said.answer, said.refusal


@pytest.mark.parametrize("name", ANALYSES.names())
def test_one_generation_is_enough_or_said_to_be_too_few(analyze: Analyze, made: Made, name: str) -> None:
    analyze(name, made("short"))


@pytest.mark.parametrize("name", ANALYSES.names())
def test_a_network_of_memories_is_a_network(analyze: Analyze, made: Made, name: str) -> None:
    analyze(name, made("memories"))


@pytest.mark.parametrize("name", ANALYSES.names())
def test_a_baseline_by_gradients_is_a_run(analyze: Analyze, made: Made, name: str) -> None:
    said = analyze(name, made("gradients"))
    refused = {"memory", "variance", "meeting", "step-size", "generation-size"}
    assert bool(said.answer) == (name not in refused), said.refusal


@pytest.mark.parametrize("kind", ["genes", "random"])
@pytest.mark.parametrize("name", ANALYSES.names())
def test_other_kinds_of_search_are_runs(analyze: Analyze, made: Made, name: str, kind: str) -> None:
    said = analyze(name, made(kind))
    assert said.answer or name in ("memory", "variance") or kind == "random", said.refusal


@pytest.mark.parametrize("name", ANALYSES.names())
def test_members_that_fail_are_no_obstacle(analyze: Analyze, made: Made, name: str) -> None:
    analyze(name, made("failing"))


@pytest.mark.parametrize("name", ANALYSES.names())
def test_a_lone_checkpoint_is_analysed_or_refused(analyze: Analyze, made: Made, tmp_path: Path, name: str) -> None:
    lone = tmp_path / "alone" / "gen_000004.pkl"
    lone.parent.mkdir()
    shutil.copy(made("plain") / "checkpoints" / lone.name, lone)
    analyze(name, lone)


@pytest.mark.parametrize("name", ANALYSES.names())
def test_damage_is_one_sentence(analyze: Analyze, made: Made, name: str) -> None:
    run = made("plain")
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
