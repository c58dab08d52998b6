"""Landscape, robustness, variance, generation size, meeting and neuron of small runs, against what the runs logged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analysis_runs import CLOUDS_WITH_FAILURES
from analysis_runs import KINDS as RUNS
from analysis_runs import SMALL as BASE

from galab.analysis.base import Analysis
from galab.analysis.generation_size import generation_size
from galab.analysis.landscape import landscape
from galab.analysis.meeting import meeting
from galab.analysis.neuron import neuron
from galab.analysis.robustness import robustness
from galab.analysis.variance import variance
from galab.analysis.weight_space import is_perceptron, layers_of, weights_in
from galab.config import RunConfig
from galab.errors import GalabError, UsageError
from galab.genome.step_sizes import sigma
from galab.saved_runs.history import History
from galab.saved_runs.probe import Probe
from galab.saved_runs.saved_run import open_below, open_saved
from galab.training.start_or_resume import start

Evolve = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("rough_figures")

def silent(what: str, share: float) -> None:
    """Ignores the progress."""


def drawn(found: Analysis, path: Path) -> Analysis:
    """It has a sentence, a table whose rows share their keys, and a figure."""
    assert found.sentence.endswith(".")
    assert "\n" not in found.sentence
    assert len({tuple(row) for row in found.rows}) == 1
    found.draw(path / "figure.png")
    assert (path / "figure.png").read_bytes().startswith(b"\x89PNG")
    return found


KINDS: dict[str, dict[str, Any]] = {
    "one": {"generations": 1}, "alone": {"parents": 1, "crossover": "none"}, "memories": RUNS["memories"],
    "wrong": {"fitness": "wrong"}, "eggroll": RUNS["eggroll"], "fresh": RUNS["fresh"],
}  # fmt: skip
SMALL: dict[Any, dict[str, Any]] = {
    landscape: {"directions": 2, "examples": 40}, robustness: {"mutants": 3, "ancestors": 3, "examples": 40},
    generation_size: {"children": 8, "moments": 2, "examples": 40},
    meeting: {"trials": 3, "generations": 3, "pairs": 5}, neuron: {},
}  # fmt: skip


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer points in pictures."""
    for name, value in (("_STEPS", 3), ("_GRID", 2), ("_WAY", 5)):
        monkeypatch.setattr(f"galab.analysis.landscape.{name}", value)
    monkeypatch.setattr("galab.analysis.meeting._SIZES", (2, 4))


@pytest.mark.slow
@pytest.mark.usefixtures("coarse")
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_run_gets_an_answer_or_a_sentence(evolve: Evolve, tmp_path: Path, kind: str) -> None:
    run = evolve(**KINDS[kind])
    lone = tmp_path / "lone.pkl"
    lone.write_bytes(max((run / "checkpoints").iterdir()).read_bytes())
    refused = set()
    for analysis, options in SMALL.items():
        for path in (run, lone) if kind in ("one", "eggroll") else (run,):
            saved = open_saved(path)
            try:
                found = analysis([saved] if analysis is robustness else saved, silent, **options)
            except GalabError as error:
                refused.add((analysis.__name__, str(error).partition(" ")[0]))
                continue
            assert "nan" not in found.sentence.lower().split(), found.sentence
            if path is run and (kind == "one" or (kind == "fresh" and analysis is robustness)):
                drawn(found, tmp_path)
    assert refused == ({("meeting", "expected")} if kind in ("eggroll", "fresh") or kind == "alone" else set())


@pytest.mark.slow
@pytest.mark.usefixtures("coarse")
def test_members_that_fail_leave_holes_and_no_traceback(evolve: Evolve, tmp_path: Path) -> None:
    # Far-away members fail, and the champion does not.
    task = tmp_path / "clouds.py"
    task.write_text(CLOUDS_WITH_FAILURES)
    saved = open_saved(evolve(task=f"{task}:clouds", hidden="4"))
    for analysis, options in SMALL.items():
        more = {"sizes": "1,30,300"} if analysis is robustness else {"reach": 100.0} if analysis is landscape else {}
        found = analysis([saved] if analysis is robustness else saved, silent, **options, **more)
        if more:
            drawn(found, tmp_path)
            assert "nan" not in found.sentence.lower().split(), found.sentence
            if analysis is robustness:
                assert found.values["sides"][0]["failed"] > 0


@pytest.mark.slow
def test_the_ends_of_the_way_are_the_champions_and_alignment_keeps_them(evolve: Evolve, tmp_path: Path) -> None:
    first = evolve("first", batch=0, hidden="6,5")
    second = evolve("second", batch=0, hidden="6,5", seed=9)
    found = landscape(open_saved(first), silent, other=str(second), directions=2, examples=0)
    ends = [Probe(open_saved(path)).means([open_saved(path).member()], Probe(open_saved(path)).examples())["loss"][0]
            for path in (first, second)]  # fmt: skip
    for label in ("as they are", "with hidden neurons aligned"):
        losses = [row["loss"] for row in found.rows if row["kind"] == f"way {label}"]
        assert [losses[0], losses[-1]] == pytest.approx(ends, rel=1e-5)
    assert found.values["loss"] == pytest.approx(ends[0], rel=1e-5)
    assert found.values["distance_aligned"] < found.values["distance"]
    # By hand: the gradient of the loss is as long as its slope along it, and fitness rises along it.
    probe = Probe(open_saved(first))
    length = np.linalg.norm(probe.gradient(probe.weights(), probe.examples()).astype(np.float64))
    assert found.values["gradient_slope"] == pytest.approx(-length, rel=0.02)
    with pytest.raises(UsageError, match="expected --other as a run of the same network"):
        landscape(open_saved(first), silent, other=str(evolve("third", hidden="7")), directions=1, examples=20)


def test_a_network_with_exchanged_neurons_has_no_barrier(evolve: Evolve) -> None:
    import torch

    saved = open_saved(evolve(hidden="8"))
    assert is_perceptron(saved.module)
    weights = saved.member().floats()
    layers = layers_of(saved.layout, weights)
    np.testing.assert_array_equal(weights_in(layers, saved.layout), weights)
    assert not is_perceptron(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Conv1d(1, 2, 3)))
    assert not is_perceptron(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(5, 2)))


@pytest.mark.slow
def test_networks_that_cannot_be_aligned_say_so(evolve: Evolve) -> None:
    first, second = evolve("first", **KINDS["memories"]), evolve("second", seed=8, **KINDS["memories"])
    found = landscape(open_saved(first), silent, other=str(second), directions=1, examples=20)
    assert "they were not aligned, because the hidden neurons of memory" in found.sentence
    assert found.values["barrier_aligned"] is None


def test_equal_levels_of_two_runs(evolve: Evolve) -> None:
    first, second = evolve("first", report_every=1), evolve("second", sigma=0.1, report_every=1)
    levels = [line["fitness_best"] for line in History(open_saved(first)).log]
    found = landscape(open_saved(first), silent, level=levels[2], directions=1, examples=20)
    assert found.values["generation"] == next(i + 1 for i, level in enumerate(levels) if level >= levels[2])
    with pytest.raises(UsageError, match="expected a --level that a report"):
        landscape(open_saved(second), silent, level=5.0, directions=1, examples=20)
    with pytest.raises(UsageError, match="--generation or --level"):
        landscape(open_saved(second), silent, level=-3.0, generation=2, directions=1, examples=20)


@pytest.mark.slow
def test_mutations_of_no_length_harm_nothing(evolve: Evolve, tmp_path: Path) -> None:
    run = open_saved(evolve())
    found = robustness([run], silent, sizes="1e-30,1e-29,1", mutants=4, ancestors=4, examples=200)
    none = [row for row in found.rows if row["size"] < 1]
    assert {row["kept"] for row in none} == {1.0}
    assert {row["fitness_lost"] for row in none} == {0.0}
    assert any(row["kept"] < 1 for row in found.rows if row["size"] == 1)
    side = found.values["sides"][0]
    assert sum(age["examples"] for age in side["by_age"]) == round(side["right"][0] * 200)


def evolve_in(folder: Path, seed: int, **changes: Any) -> None:
    """A run whose name is its seed."""
    start(RunConfig(**{**BASE, **changes, "seed": seed}), name=str(seed), runs=folder)


@pytest.mark.slow
def test_groups_of_champions_are_compared(tmp_path: Path) -> None:
    for seed in range(3):
        evolve_in(tmp_path / "few", seed, parents=1, crossover="none")
        evolve_in(tmp_path / "many", seed, parents=4)
    few = open_below([tmp_path / "few"])
    assert len(few) == 3
    found = drawn(robustness(few, silent, other=str(tmp_path / "many"), mutants=3, ancestors=3, examples=60), tmp_path)
    assert [side["champions"] for side in found.values["sides"]] == [3, 3]
    assert found.values["compared"] == "champions"
    from scipy.stats import mannwhitneyu

    lost = [
        [np.mean([row["fitness_lost"] for row in found.rows
                  if (row["side"], row["run"], row["size"]) == (side, str(seed), 0.1)]) for seed in range(3)]
        for side in (0, 1)
    ]  # fmt: skip
    assert found.values["lost_test"]["p"] == pytest.approx(mannwhitneyu(*lost).pvalue)


@pytest.mark.slow
def test_starts_and_ends_of_seeds(evolve: Evolve, tmp_path: Path) -> None:
    from scipy.stats import spearmanr

    for seed in range(4):
        evolve_in(tmp_path / "seeds", seed)
    runs = open_below([tmp_path / "seeds", tmp_path / "seeds" / "1"])
    found = drawn(variance(runs, silent, early="20,60"), tmp_path)
    logs = [[line["fitness_best"] for line in History(saved).log] for saved in runs]
    assert len(logs) == found.values["runs"] == 4
    assert found.values["final_variance"] == pytest.approx(np.var([log[-1] for log in logs], ddof=1))
    for place, one in zip((0, 2), found.values["early"], strict=True):
        other = spearmanr([log[place] for log in logs], [log[-1] for log in logs])
        assert (one["generation"], one["rho"]) == (place + 1, pytest.approx(other.statistic))
    both = [one["p"] for one in found.values["early"]]
    assert [one["p_holm"] for one in found.values["early"]] == pytest.approx(
        [min(1, 2 * p) if p == min(both) else min(1, max(p, 2 * min(both))) for p in both]
    )
    once = variance(runs, silent, early="15,20,60").values  # the first two are one generation, which is one test
    assert [one["generation"] for one in once["early"]] == [1, 1, 3]
    assert (once["tests"], once["early"][1:]) == (2, found.values["early"])
    assert "which so few runs cannot have" in found.sentence, "the smallest p of 4 runs is 1/12"
    loss = variance(runs, silent, early="20", metric="train_loss").values["early"][0]["rho"]
    assert loss == pytest.approx(found.values["early"][0]["rho"])
    for wrong, words in (
        (lambda: variance(runs[:2], silent), "at least 3 runs"),
        (lambda: variance([*runs, open_saved(evolve("big", children=9))], silent), "differ in their seeds alone"),
        (lambda: variance([*runs, runs[0]], silent), "different seeds"),
        (lambda: variance(runs, silent, metric="train_los"), "Did you mean 'train_loss'"),
        (lambda: variance(runs, silent, early="20,100"), "below 100 percent"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=words):
            wrong()


def test_the_gain_of_one_child_is_the_mean_gain(evolve: Evolve, tmp_path: Path) -> None:
    from galab.saved_runs.mutants import Mutants

    run = open_saved(evolve(batch=0))
    found = generation_size(run, silent, children=16, moments=1, examples=0)
    probe = Probe(run)
    shown = probe.examples()
    children = list(Mutants(run).children(run.member(), 16, generation=run.generation))
    gains = probe.fitness(children, shown) - probe.fitness([run.member()], shown)
    said = found.values["moments"][-1]
    assert said["gains"]["1"] == pytest.approx(gains.mean(), rel=1e-5)
    assert said["gains"]["16"] == pytest.approx(gains.max(), rel=1e-5)
    assert said["share_improving"] == (gains > 0).mean()


@pytest.mark.slow
def test_a_small_step_gains_what_a_linear_fitness_would(evolve: Evolve) -> None:
    run = open_saved(evolve(batch=0, sigma=0.0005, sigma_floor=0.0001, step_size="fixed", hidden="8"))
    said = generation_size(run, silent, children=1024, moments=1, examples=0).values["moments"][0]
    probe = Probe(run)
    length = float(np.linalg.norm(probe.gradient(probe.weights(), probe.examples()).astype(np.float64)))
    assert said["linear_deviation"] == pytest.approx(said["step_size"] * length, rel=0.1)
    assert said["gains"]["64"] == pytest.approx(2.3437 * said["step_size"] * length, rel=0.1)  # c_64


@pytest.mark.usefixtures("coarse")
def test_the_run_of_a_gene_law_meets_as_calculated(evolve: Evolve, tmp_path: Path) -> None:
    run = open_saved(evolve(crossover="genes-union", parents=4, children=8, generations=12))
    found = meeting(run, silent, generations=4, trials=60, pairs=40)
    assert found.values["law"] == "genes-union"
    calculated = found.values["calculated_genes-union_neutral"][-1]
    assert found.values["bred_neutral"][-1] == pytest.approx(calculated, abs=0.2)
    assert found.values["observed_pairs"] == 40
    with pytest.raises(UsageError, match="--law among none"):
        meeting(run, silent, law="genes-unions")
    es = open_saved(evolve("es", **RUNS["openai-es"]))
    assert meeting(es, silent, parents=3, children=6, trials=2).values["observed"] is None
    large = meeting(run, silent, parents=100, children=100, trials=2, generations=2)
    assert "beyond 64 parents the chain is not calculated" in large.sentence


def test_weights_into_neurons_and_their_drift(evolve: Evolve, tmp_path: Path) -> None:
    run = open_saved(evolve(crossover="none", hidden="4,3"))
    found = neuron(run, silent)
    parts = run.layout.split(run.member().floats())
    lengths = np.linalg.norm(parts["hidden.1.weight"], axis=0)
    assert [one["neuron"] for one in found.values["chosen"]] == np.argsort(-lengths).tolist()
    one = found.values["chosen"][0]
    assert one["deviation"] == pytest.approx(np.sqrt((parts["hidden.0.weight"][one["neuron"]] ** 2).mean()))
    line = History(run).descent(History(run).champion())
    assert found.values["drift_deviation"] == pytest.approx(
        np.sqrt(sum(float(sigma(birth.log_sigma)) ** 2 for birth in line[1:]))
    )
    assert neuron(run, silent, layer="output", neuron=2).values["chosen"][0]["inputs"] == 3
    with pytest.raises(UsageError, match="--neuron from 0 to 3"):
        neuron(run, silent, neuron=4)
    with pytest.raises(UsageError, match="Did you mean 'hidden.1.weight'"):
        neuron(run, silent, layer="hidden.1.weigh")
