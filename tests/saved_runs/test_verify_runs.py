"""The replay of a run's seeds finds every change to its checkpoints and its lineage."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galab.errors import CheckpointError
from galab.genome.births import BIRTH
from galab.saved_runs.verify import verify
from galab.storage import pickle_format
from galab.storage.lineage import read_rows
from galab.storage.run_folder import RunFolder


@pytest.fixture
def run(evolve: Any) -> Path:
    return evolve(generations=8, keep="all")


def good(folder: Path) -> list[bool]:
    return [verdict.good for verdict in verify(RunFolder(folder))]


def test_a_true_run_is_good(run: Path) -> None:
    verdicts = verify(RunFolder(run))
    assert [verdict.generation for verdict in verdicts] == [0, 2, 4, 6, 8]
    assert all(verdict.identical == verdict.members == 3 for verdict in verdicts)
    assert good(run) == [True] * 5


def test_one_bit_of_one_weight_is_found(run: Path) -> None:
    path = run / "checkpoints" / "gen_000004.pkl"
    state = pickle_format.load(path)
    state["weights"][1, 7] ^= 1
    pickle_format.dump(state, path)
    assert good(run) == [True, True, False, True, True]
    assert verify(RunFolder(run))[2].identical == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [("parents", (1, -1)), ("parents", (10**6, -1)), ("parents", (-1, -1)), ("id", 10**6), ("log_sigma", 30_000),
     ("log_sigma", -1445), ("mutation", 9), ("mutation", 0), ("generation", 1), ("argument", 3)],
)  # fmt: skip
def test_one_field_of_one_birth_is_found(run: Path, field: str, value: Any) -> None:
    rows = read_rows(run / "lineage.bin", BIRTH)
    place = int(np.flatnonzero(rows["generation"] == 4)[0])
    rows[field][place] = value
    (run / "lineage.bin").write_bytes(rows.tobytes())
    found = verify(RunFolder(run))
    assert [verdict.lineage for verdict in found] == [True, True, False, False, False]
    assert not found[-1].good


@pytest.mark.parametrize(
    ("field", "options"),
    [("log_sigma", {"granularity": "parameter"}), ("velocity", {"mutate": "momentum"}),
     ("weights", {"crossover": "row"}), ("weights", {"crossover": "genes-union", "elites": 1})],
)  # fmt: skip
def test_one_bit_of_what_else_an_individual_carries_is_found(evolve: Any, field: str, options: dict[str, Any]) -> None:
    folder = evolve(generations=4, keep="all", **options)
    path = folder / "checkpoints" / "gen_000004.pkl"
    state = pickle_format.load(path)
    state[field][1, 0] ^= 1
    assert good(folder) == [True, True, True]
    pickle_format.dump(state, path)
    assert good(folder) == [True, True, False]


@pytest.mark.parametrize("field", ["parents", "crossover", "mutation"])
def test_one_field_of_a_sexual_birth_is_found(evolve: Any, field: str) -> None:
    folder = evolve(generations=4, keep="all", crossover="row", mutate="dense,layer")
    rows = read_rows(folder / "lineage.bin", BIRTH)
    place = int(np.flatnonzero(rows["generation"] == 4)[0])
    rows[field][place] = rows["parents"][place][::-1] if field == "parents" else 3 - rows[field][place] - 2 * (
        field == "crossover"
    )
    (folder / "lineage.bin").write_bytes(rows.tobytes())
    assert good(folder) == [True, True, False]


def test_a_lineage_cut_short_is_found(run: Path) -> None:
    rows = read_rows(run / "lineage.bin", BIRTH)
    (run / "lineage.bin").write_bytes(rows[:5].tobytes())
    assert good(run) == [True, False, False, False, False]


def test_an_empty_lineage_is_found(run: Path) -> None:
    (run / "lineage.bin").write_bytes(b"")
    assert good(run) == [False] * 5


def test_a_lineage_that_goes_in_a_circle_ends(run: Path) -> None:
    rows = read_rows(run / "lineage.bin", BIRTH)
    rows["parents"][0, 0] = rows["id"][-1]
    (run / "lineage.bin").write_bytes(rows.tobytes())
    assert good(run) == [False] * 5


def test_anothers_founders_are_found(run: Path, evolve: Any) -> None:
    shutil.copy(evolve("other", seed=6) / "founders.pkl", run / "founders.pkl")
    assert good(run) == [False] * 5


def test_changed_founders_are_refused(run: Path) -> None:
    pickle_format.dump(pickle_format.load(run / "founders.pkl") | {"run_key": 6}, run / "founders.pkl")
    with pytest.raises(CheckpointError, match="the file was changed"):
        verify(RunFolder(run))


def test_a_damaged_checkpoint_is_one_sentence_that_names_a_good_one(run: Path) -> None:
    path = run / "checkpoints" / "gen_000008.pkl"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"gen_000008\.pkl.*gen_000006\.pkl"):
        verify(RunFolder(run))


def test_a_run_without_checkpoints_is_one_sentence(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(CheckpointError, match="found none; resume the run first"):
        verify(RunFolder(run))


def test_a_strangers_run_calls_no_function_of_its_choice(run: Path, tmp_path: Path) -> None:
    """``mutate`` and the founders' key are the stranger's: here they spell shutil.rmtree(victim, "normal")."""
    from galab.errors import UsageError
    from galab.genome.initial import Founders

    config = json.loads((run / "config.json").read_text())
    config["hyperparameters"]["mutate"] = "shutil:rmtree"
    (run / "config.json").write_text(json.dumps(config))
    honest = (run / "founders.pkl").read_bytes()
    victim = tmp_path / "victim"
    victim.mkdir()
    content = pickle_format.load(run / "founders.pkl")
    hostile = Founders.of_laws(str(victim), content["laws"], content["given"]).to_dict()  # type: ignore[arg-type]
    pickle_format.dump(content | hostile, run / "founders.pkl")
    for path in (run / "checkpoints").iterdir():
        state = pickle_format.load(path)
        state["hyperparameters"]["mutate"] = "shutil:rmtree"
        pickle_format.dump(state, path)
    with pytest.raises(CheckpointError, match="expected a whole number of 0 or more as 'run_key'"):
        verify(RunFolder(run), trust=True)  # even where somebody trusts it
    (run / "founders.pkl").write_bytes(honest)
    with pytest.raises(UsageError, match="expected a class with a method apply"):
        verify(RunFolder(run), trust=True)
    assert victim.is_dir()
