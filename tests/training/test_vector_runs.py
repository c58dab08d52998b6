"""Runs of strategies over weight vectors: galab's own by name, and a class that a user wrote."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import multiprocess
import numpy as np
import pytest
import torch
from lab_outcome import VECTORS, log_of, newest_state, outcome

import galab
from galab.config.registry import STRATEGIES
from galab.config.run_config import RunConfig
from galab.config.strategy_kinds import VECTORS as KIND
from galab.config.strategy_kinds import kind_of
from galab.errors import CheckpointError, GalabError, UsageError
from galab.saved_runs.export import export
from galab.saved_runs.history import History
from galab.saved_runs.saved_run import evaluate, open_saved
from galab.saved_runs.verify import conclusion, verify
from galab.storage import pickle_format
from galab.storage.run_folder import RunFolder
from galab.training.compose import compose, varied
from galab.training.saved_state import read_state
from galab.training.start_or_resume import resume, start
from galab.training.trials.trials import start_trials

#: A cross-entropy method: the mean and the spread of the best members, with a spread of its own for every weight.
OWN = """
    import numpy as np

    class CEM:
        def __init__(self, start, *, run_key, population, sigma, share: float = 0.5):
            self.generation, self.centre = 0, start
            self.sigma = np.full(start.size, sigma)
            self._key, self._population, self._best = run_key, population, max(1, int(share * population))

        def ask(self):
            random = np.random.Generator(np.random.Philox(key=self._key, counter=[0, 0, 0, self.generation]))
            noise = random.standard_normal((self._population, self.centre.size))
            return (self.centre + self.sigma * noise).astype(np.float32)

        def tell(self, fitness):
            best = self.ask()[np.argsort(-np.nan_to_num(fitness, nan=-np.inf))[: self._best]].astype(np.float64)
            self.centre = best.mean(axis=0).astype(np.float32)
            self.sigma *= 0.5
            self.sigma += 0.5 * best.std(axis=0)
            self.generation += 1

        def state_dict(self):
            return {"generation": self.generation, "centre": self.centre, "sigma": self.sigma}

        def load_state_dict(self, state):
            self.generation, self.centre, self.sigma = state["generation"], state["centre"], state["sigma"]

    class Forgetful(CEM):
        def state_dict(self):
            return {"generation": self.generation}

        def load_state_dict(self, state):
            self.generation = state["generation"]

    class Double(CEM):
        def ask(self):
            return super().ask().astype(np.float64)

    class Late(CEM):
        def __init__(self, start, **options):
            super().__init__(start, **options)
            self.generation = 1

    class Unasked:
        def tell(self, fitness): ...

    def function(start, **options):
        return CEM(start, **options)
"""
KINDS = [*VECTORS, "own"]


@pytest.fixture(autouse=True)
def nobody_is_left() -> Any:
    """Whatever happens, a run leaves no process behind."""
    yield
    assert multiprocess.active_children() == []


@pytest.fixture
def own(tmp_path: Path) -> str:
    """A file of strategies that somebody wrote; ``own + ":CEM"`` is one of them."""
    import textwrap

    path = tmp_path / "own.py"
    path.write_text(textwrap.dedent(OWN))
    return str(path)


@pytest.fixture
def values(own: str) -> Any:
    """The hyperparameters of a kind of run."""
    made = VECTORS | {"own": {"strategy": f"{own}:CEM(share=0.3)", "population": 10, "sigma": 0.1}}
    return lambda kind: made[kind]


def test_every_built_in_strategy_of_the_kind_is_run_here() -> None:
    assert set(VECTORS) == set(KIND.strategies) <= set(STRATEGIES.names())


@pytest.mark.parametrize("kind", KINDS)
def test_broken_off_and_resumed_is_unbroken(evolve: Any, tmp_path: Path, values: Any, kind: str) -> None:
    def crash(line: dict[str, Any]) -> None:
        if line["generation"] == 7:
            raise RuntimeError("crash")

    unbroken = outcome(evolve("unbroken", generations=12, **values(kind)))
    with pytest.raises(RuntimeError, match="crash"):
        evolve("broken", generations=12, hooks=[crash], **values(kind))
    resume(tmp_path / "broken")
    assert outcome(tmp_path / "broken") == unbroken
    assert unbroken["verified"]
    assert not np.array_equal(unbroken["log"][0]["fitness_best"], unbroken["log"][-1]["fitness_best"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_workers_never_changes_a_result(evolve: Any, values: Any, kind: str) -> None:
    expected = outcome(evolve("here", chunk=3, **values(kind)))
    for workers in (1, 2):
        assert outcome(evolve(f"with-{workers}", chunk=3, workers=workers, **values(kind))) == expected


def test_a_worker_that_begins_later_is_where_the_run_is(evolve: Any, values: Any) -> None:
    expected = outcome(evolve("unbroken", generations=9, chunk=3, **values("own")))
    folder = evolve("broken", chunk=3, **values("own"))
    resume(folder, {"generations": 9, "workers": 2})
    assert outcome(folder) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_verify_finds_a_changed_weight_and_a_changed_score(evolve: Any, values: Any, kind: str) -> None:
    folder = evolve(keep="all", **values(kind))
    verdicts = verify(RunFolder.open(folder))
    assert [verdict.generation for verdict in verdicts] == [0, 2, 4, 5]
    assert conclusion(verdicts) == "every checkpoint follows from the seed and the scores"
    path = folder / "checkpoints" / "gen_000004.pkl"
    state = pickle_format.load(path)
    state["weights"] = np.array(state["weights"])
    state["weights"][0, 3] += 1e-3
    pickle_format.dump(state, path)
    bad = [verdict for verdict in verify(RunFolder.open(folder)) if not verdict.good]
    assert [(one.generation, one.weights - one.identical) for one in bad] == [(4, 1)]
    content = bytearray((folder / "scores.bin").read_bytes())
    content[8:12] = np.float32(9).tobytes()  # the first member of the first generation is the best now
    (folder / "scores.bin").write_bytes(content)
    assert [verdict.good for verdict in verify(RunFolder.open(folder))] == [True, False, False, False]


def test_they_improve_and_log_what_they_do(evolve: Any) -> None:
    folder = evolve(strategy="snes", population=20, sigma=0.1, generations=30, batch=0, report_every=10)
    lines = log_of(folder)
    assert lines[-1]["fitness_mean"] > lines[0]["fitness_mean"] + 0.3
    for line in lines:
        assert line["fitness_worst"] <= line["fitness_mean"] <= line["fitness_best"] == -line["train_loss"]
        assert line["step_size_min"] < line["step_size"] < line["step_size_max"]
        assert line["estimate_change"] > 0
        assert ("weights_norm" in line) == ("validation_accuracy" in line) == (line["generation"] % 10 == 0)
    centres = [member.floats() for _, member in History(open_saved(folder)).trajectory()]
    assert len(centres) == 31
    assert np.linalg.norm(centres[2] - centres[1]) == pytest.approx(lines[1]["estimate_change"], rel=1e-5)
    assert np.linalg.norm(centres[30]) == pytest.approx(lines[29]["weights_norm"], rel=1e-5)


def test_failures_are_counted_and_worst(evolve: Any, clouds: Any, values: Any) -> None:
    """A member fails where its first answer is positive; the strategy moves away from there."""
    task = clouds("return torch.where(outputs[:, 0, 0] > 0, torch.nan, loss)")
    folder = evolve(task=task, batch=0, generations=15, report_every=1, **values("snes"))
    lines = log_of(folder)
    assert 0 < lines[0]["failures"] < 10
    assert all(np.isfinite(line["fitness_mean"]) for line in lines)
    rows = np.fromfile(folder / "scores.bin", dtype=[("generation", "<u4"), ("planned", "<u4"), ("fitness", "<f4", 10)])
    assert [int(np.isnan(row["fitness"]).sum()) for row in rows] == [line["failures"] for line in lines]


def test_a_generation_without_a_finite_score_ends_the_run(evolve: Any, clouds: Any, values: Any) -> None:
    with pytest.raises(GalabError, match="generation 1: not one of 10 members has a finite fitness .*--sigma, or"):
        evolve(task=clouds("return loss * torch.nan"), batch=0, **values("pgpe"))


def test_the_centre_is_evaluated_exported_and_handed_on(evolve: Any, tmp_path: Path, values: Any) -> None:
    folder = evolve(**values("own"))
    found = evaluate(folder, split="validation")
    assert (found["member"], found["generation"]) == ("centre", 5)
    assert found["validation_accuracy"] == newest_state(folder)["champion"]["metrics"]["validation_accuracy"]
    export(open_saved(folder), "torch", tmp_path / "net.pt")
    weights = torch.cat([part.flatten() for part in torch.load(tmp_path / "net.pt").values()])
    assert weights.numpy().tobytes() == newest_state(folder)["weights"][0].tobytes()
    with pytest.raises(UsageError, match="expected --to torch or safetensors for the centre of"):
        export(open_saved(folder), "genome", tmp_path / "genome.json")
    child = evolve("child", origin=str(folder), strategy="snes", population=10, generations=1)
    saved = read_state(child)["founders"]
    assert saved != read_state(folder)["founders"]


def test_trials_share_an_evaluator(tmp_path: Path, small: dict[str, Any], evolve: Any, values: Any) -> None:
    kept = {name: value for name, value in small.items() if name not in ("parents", "children")}
    done = start_trials(RunConfig(**kept | values("own")), (5, 6), name="group", runs=tmp_path)
    assert [(one.state, one.message) for one in done.trials if one.state != "finished"] == []
    assert outcome(done.path / "seed_5") == outcome(evolve("alone", **values("own")))


def test_a_class_by_its_file_alone_is_saved_as_a_call(tmp_path: Path, own: str, small: dict[str, Any]) -> None:
    kept = {name: value for name, value in small.items() if name not in ("parents", "children")}
    result = galab.run(name="run", runs=tmp_path, strategy=f"{own}:CEM", population=6, **kept)
    saved = open_saved(result.folder.path).config
    assert saved.strategy == f"{own}:CEM()"
    assert (kind_of(saved.strategy), saved.population) == (KIND, 6)
    assert start(RunConfig(**kept, strategy=f"{own}:CEM"), runs=tmp_path).strategy == f"{own}:CEM()"
    assert varied(RunConfig(**small), {"strategy": f"{own}:CEM", "population": 4}).strategy == f"{own}:CEM()"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Unasked", "expected a subclass of galab's GeneticAlgorithm or a class with ask, tell, state_dict and"),
        ("function", "expected a subclass of galab's GeneticAlgorithm or a class with ask, tell, state_dict and"),
        ("CEM(sharp=1)", "expected strategy '.*:CEM' with arguments out of share, got 'sharp'. Did you mean 'share'"),
        ("CEM(share=high)", "expected strategy '.*:CEM' with share of type float, got 'high'"),
        ("CEM(population=4)", "without 'population' in brackets, which galab gives itself; use --population"),
        ("Double", r"expected what ask\(\) gives of strategy '.*' as float32 of shape \(256, 310\), got float64"),
        ("Late", "expected strategy '.*:Late' to begin at generation 0 with a centre of 310 float32 weights, got"),
    ],
)  # fmt: skip
def test_what_follows_no_contract_is_refused(own: str, tmp_path: Path, small: dict[str, Any], name: str, sentence: str):
    kept = {key: value for key, value in small.items() if key not in ("parents", "children")}
    with pytest.raises(GalabError, match=sentence):
        galab.run(name="run", runs=tmp_path, strategy=f"{own}:{name}", **kept)


def test_a_state_that_is_not_everything_is_found_out(evolve: Any, own: str) -> None:
    folder = evolve(strategy=f"{own}:Forgetful()", population=6)
    with pytest.raises(CheckpointError, match="to be at the saved centre after load_state_dict.., got another one"):
        resume(folder, {"generations": 9})


def test_strangers_code_is_not_run(evolve: Any, own: str, tmp_path: Path) -> None:
    folder = evolve(strategy=f"{own}:CEM()", population=6)
    Path(own).write_text(Path(own).read_text() + "\n# changed\n")
    for ask in (verify, lambda run: resume(run.path, {"generations": 9})):
        with pytest.raises(UsageError, match="expected code that you have run before for --strategy '.*:CEM', got new"):
            ask(RunFolder.open(folder))
    assert evaluate(folder)["member"] == "centre"  # the weights alone need no strategy
    assert all(verdict.good for verdict in verify(RunFolder.open(folder), trust=True))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"parents": 4}, "expected no --parents with --strategy snes, got 4: only the genetic algorithm"),
        ({"rank": 2}, "expected no --rank with --strategy snes, got 2: only --strategy eggroll, openai-es or"),
        ({"lr": 0.5}, "expected no --lr with --strategy snes"),
        ({"distribution": "sign"}, "expected no --distribution with --strategy snes"),
        ({"compile": "on"}, "expected no --compile with --strategy snes"),
        ({"norm_penalty": 0.1}, "expected no --norm-penalty with --strategy snes"),
        ({"fitness": "improvement"}, "expected one base as --fitness with --strategy snes"),
        ({"strategy": "eggroll(rank=2)"}, "expected --strategy eggroll without arguments, got eggroll.rank=2.: its"),
        ({"strategy": "ga()"}, "expected --strategy ga without arguments"),
    ],
    ids=str,
)
def test_foreign_options_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        RunConfig(**{"strategy": "snes"} | changes)


def test_options_of_the_class_are_refused_by_the_class(evolve: Any) -> None:
    with pytest.raises(UsageError, match="expected lr_sigma to be a number above 0"):
        evolve(strategy="snes(lr_sigma=-1)")
    with pytest.raises(UsageError, match="expected a population of an even number from 2"):
        evolve(strategy="pgpe", population=5)


def test_a_strategy_of_another_kind_inherits_no_foreign_options(evolve: Any, values: Any, caplog: Any) -> None:
    caplog.set_level(logging.WARNING)
    folder = evolve(**values("snes"))
    config = compose({"strategy": "ga"}, config_file=folder / "config.json")
    assert (config.population, config.children) == (RunConfig().population, RunConfig().children)
    again = compose({"strategy": "pgpe"}, config_file=folder / "config.json")
    assert (again.population, again.sigma) == (10, 0.1)
