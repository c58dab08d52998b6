"""Runs whose mutations follow a distribution that is not built in: its table is made once and kept in the folder."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lab_outcome import newest_state, outcome
from test_resume_exact import Crash, crash_at

import galab
from galab.errors import CheckpointError, GalabError, UsageError
from galab.genome import quantile_tables
from galab.genome.random import table
from galab.saved_runs.export import export, read_genome
from galab.saved_runs.saved_run import evaluate, open_saved
from galab.saved_runs.verify import verify
from galab.storage.run_folder import RunFolder
from galab.training.compose import compose
from galab.training.resolve import load_table
from galab.training.start_or_resume import resume, start

SCIPY = "scipy:t(df=5)"


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    path = tmp_path / "updates.npy"
    np.save(path, np.random.Generator(np.random.Philox(1)).standard_t(4, 5000) * 0.003)
    return path


@pytest.fixture(params=["scipy", "table"])
def law(request: pytest.FixtureRequest, samples: Path) -> str:
    """What is typed after --distribution."""
    return SCIPY if request.param == "scipy" else f"table:{samples}"


@pytest.fixture
def forget(monkeypatch: pytest.MonkeyPatch, samples: Path) -> Callable[[str], None]:
    """Makes it impossible to make a table again: the file is deleted or changed, scipy's laws cannot be imported."""

    def call(how: str) -> None:
        if how == "changed":
            np.save(samples, np.arange(1000.0))
        else:
            samples.unlink()
        monkeypatch.setitem(sys.modules, "scipy.stats", None)

    return call


def stored(folder: Path) -> Path:
    (path,) = (folder / "tables").iterdir()
    return path


def test_the_table_is_stored_by_its_hash_and_everything_names_it(evolve: Any, law: str) -> None:
    folder = evolve(distribution=law)
    made = quantile_tables.make(law)
    assert stored(folder).name == f"{made.sha256}.f32"
    assert stored(folder).read_bytes() == made.quantiles.astype("<f4").tobytes()
    pinned = f"{law}#{made.sha256}"
    assert newest_state(folder)["hyperparameters"]["distribution"] == pinned
    assert json.loads((folder / "config.json").read_text())["hyperparameters"]["distribution"] == pinned
    assert outcome(folder)["verified"]


def test_the_law_decides_the_weights(evolve: Any, law: str) -> None:
    assert outcome(evolve("own", distribution=law))["weights"] != outcome(evolve("normal"))["weights"]


def test_a_built_in_distribution_needs_no_file(evolve: Any) -> None:
    folder = evolve(distribution="cauchy")
    assert not (folder / "tables").exists()
    assert newest_state(folder)["hyperparameters"]["distribution"] == "cauchy"
    assert outcome(folder)["verified"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["gone", "changed"])
def test_a_run_needs_nothing_but_its_folder_again(
    evolve: Any, law: str, how: str, forget: Callable[[str], None], tmp_path: Path
) -> None:
    expected = outcome(evolve("unbroken", distribution=law))
    with pytest.raises(Crash):
        evolve("broken", distribution=law, hooks=[crash_at(4)])
    forget(how)
    resume(tmp_path / "broken")
    assert outcome(tmp_path / "broken") == expected
    assert evaluate(tmp_path / "broken")["test_loss"] == evaluate(tmp_path / "unbroken")["test_loss"]
    export(open_saved(tmp_path / "broken"), "genome", tmp_path / "genome.json")
    weights = open_saved(tmp_path / "broken").member().weights
    assert np.array_equal(read_genome(tmp_path / "genome.json")[1].weights, weights)


def test_a_run_killed_before_its_first_checkpoint_has_its_table(
    evolve: Any, law: str, forget: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = outcome(evolve("unbroken", distribution=law))

    def killed(*_: object, **__: object) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr("galab.training.start_or_resume._run_session", killed)
        with pytest.raises(Crash):
            evolve("killed", distribution=law)
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == ["checkpoints", "config.json", "tables"]
    forget("changed")
    resume(tmp_path / "killed")
    assert outcome(tmp_path / "killed") == expected


def test_an_older_checkpoint_takes_the_table_along(evolve: Any, law: str, forget: Callable[[str], None]) -> None:
    folder = evolve(distribution=law, generations=8, keep="all")
    before = outcome(folder)
    forget("gone")
    new = resume(folder / "checkpoints" / "gen_000004.pkl", {"generations": 8}).folder.path
    shutil.rmtree(folder)
    assert outcome(new) == before


def test_an_origin_hands_on_its_table(
    evolve: Any, law: str, forget: Callable[[str], None], tmp_path: Path, samples: Path
) -> None:
    folder = evolve("origin", distribution=law)
    forget("changed")
    start(compose({"origin": str(folder), "generations": 3}), name="new", runs=tmp_path)
    assert stored(tmp_path / "new").read_bytes() == stored(folder).read_bytes()
    shutil.rmtree(folder)
    assert outcome(tmp_path / "new")["verified"]


def test_a_distribution_typed_for_a_new_run_is_taken_as_it_is_now(evolve: Any, samples: Path, tmp_path: Path) -> None:
    folder = evolve("origin", distribution=f"table:{samples}")
    np.save(samples, np.arange(1000.0))
    flags = {"origin": str(folder), "distribution": f"table:{samples}", "generations": 1}
    start(compose(flags), name="new", runs=tmp_path)
    assert stored(tmp_path / "new").name != stored(folder).name


@pytest.mark.slow
def test_a_lone_checkpoint_does_what_it_did(evolve: Any, law: str, tmp_path: Path, samples: Path) -> None:
    folder = evolve("origin", distribution=law)
    lone = tmp_path / "lone.pkl"
    shutil.copy(folder / "checkpoints" / "gen_000005.pkl", lone)
    start(compose({"origin": str(lone), "generations": 1}), name="again", runs=tmp_path)
    assert stored(tmp_path / "again").read_bytes() == stored(folder).read_bytes()
    np.save(samples, np.arange(1000.0))
    assert evaluate(lone)["test_loss"] == evaluate(folder)["test_loss"]
    export(open_saved(lone), "torch", tmp_path / "out.pt")
    assert torch.load(tmp_path / "out.pt", weights_only=True)
    export(open_saved(lone), "genome", tmp_path / "out.json", keyframe=True)
    assert galab.load(tmp_path / "out.json")
    if law.startswith("table:"):
        with pytest.raises(UsageError, match="that was saved, .* the file was changed; give --distribution again"):
            start(compose({"origin": str(lone), "generations": 1}), name="other", runs=tmp_path)
    start(compose({"origin": str(lone), "distribution": "normal", "generations": 1}), name="other", runs=tmp_path)


def test_a_saved_configuration_repeats_the_run_or_says_why_not(evolve: Any, samples: Path, tmp_path: Path) -> None:
    folder = evolve(distribution=f"table:{samples}")
    config = compose({}, config_file=folder / "config.json")
    start(config, name="again", runs=tmp_path)
    assert outcome(tmp_path / "again") == outcome(folder)
    np.save(samples, np.arange(1000.0))
    with pytest.raises(UsageError, match="to give the quantile table with hash .* that was saved"):
        start(config, name="other", runs=tmp_path)
    assert not (tmp_path / "other").exists()


def test_repeating_the_flag_of_the_start_is_no_change(evolve: Any, law: str, forget: Callable[[str], None]) -> None:
    folder = evolve(distribution=law)
    forget("changed")
    assert resume(folder, {"distribution": law, "generations": 6}).generation == 6
    pinned = newest_state(folder)["hyperparameters"]["distribution"]
    assert resume(folder, {"distribution": pinned, "generations": 7}).generation == 7
    for other in ("normal", "scipy:t(df=6)", f"{law}#{'0' * 64}"):
        with pytest.raises(UsageError, match=r"a resumed run keeps its hyperparameters"):
            resume(folder, {"distribution": other, "generations": 9})
    with pytest.raises(UsageError, match="Did you mean 'normal'"):
        resume(folder, {"distribution": "nornal"})


@pytest.mark.parametrize("damage", ["missing", "short", "one bit", "folder"])
def test_a_damaged_table_is_one_sentence_that_names_the_file(evolve: Any, tmp_path: Path, damage: str) -> None:
    folder = evolve(distribution=SCIPY, keep="all")
    path = stored(folder)
    data = bytearray(path.read_bytes())
    path.unlink()
    if damage == "short":
        path.write_bytes(data[:-4])
    elif damage == "one bit":
        data[1000] ^= 1
        path.write_bytes(data)
    elif damage == "folder":
        path.mkdir()
    log = (folder / "log.jsonl").read_bytes()
    uses: list[Callable[[], Any]] = [
        lambda: resume(folder, {"generations": 9}),
        lambda: resume(folder / "checkpoints" / "gen_000002.pkl", {"generations": 9}),
        lambda: verify(RunFolder(folder)),
        lambda: export(open_saved(folder), "genome", tmp_path / "genome.json"),
    ]
    for use in uses:
        with pytest.raises(CheckpointError) as caught:
            use()
        assert f"expected the quantile table of '{SCIPY}' in '{path}', got" in str(caught.value)
        assert "restore the file from a copy" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert (folder / "log.jsonl").read_bytes() == log
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_dir()] == ["first"]
    assert evaluate(folder)["generation"] == 5  # which needs weights only


def test_an_origin_with_a_damaged_table_is_refused(evolve: Any, tmp_path: Path) -> None:
    folder = evolve("origin", distribution=SCIPY)
    stored(folder).write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"got 1 bytes where a quantile table has 262,144"):
        start(compose({"origin": str(folder), "generations": 1}), name="new", runs=tmp_path)
    stored(folder).unlink()
    start(compose({"origin": str(folder), "generations": 1}), name="new", runs=tmp_path)  # scipy still gives the same
    assert outcome(tmp_path / "new")["verified"]


def test_a_saved_distribution_must_name_its_table(evolve: Any) -> None:
    folder = RunFolder(evolve(distribution=SCIPY))
    with pytest.raises(CheckpointError, match="to end with # and the hash of its table"):
        load_table(SCIPY, folder)
    assert load_table("cauchy", folder) is table("cauchy")


def test_nothing_is_written_where_there_is_no_table(evolve: Any, tmp_path: Path) -> None:
    for wrong in ("scipy:tt(df=5)", "scipy:t(df=1)", f"table:{tmp_path}/absent.npy"):
        with pytest.raises(UsageError):
            evolve(distribution=wrong)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_genome_decodes_where_there_is_no_scipy_and_no_file(
    evolve: Any, law: str, tmp_path: Path, samples: Path
) -> None:
    saved = open_saved(evolve(distribution=law))
    export(saved, "genome", tmp_path / "genome.json")
    assert (tmp_path / "genome.json").stat().st_size < 100_000
    samples.unlink()
    script = (
        "import hashlib, pathlib, sys\nsys.modules['scipy'] = None\nfrom galab.saved_runs.export import read_genome\n"
        "weights = read_genome(pathlib.Path(sys.argv[1]))[1].weights\n"
        "sys.stdout.write(hashlib.sha256(weights.tobytes()).hexdigest())"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "genome.json")]
    environment = {**os.environ, "PYTHONPATH": str(Path(galab.__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True, env=environment)
    assert done.stdout == json.loads((tmp_path / "genome.json").read_text())["sha256"]


def test_a_genome_with_another_table_is_refused(evolve: Any, tmp_path: Path) -> None:
    path = tmp_path / "genome.json"
    export(open_saved(evolve(distribution=SCIPY)), "genome", path)
    good = json.loads(path.read_text())
    other = quantile_tables.pack(quantile_tables.make("scipy:t(df=6)"))
    without = {name: value for name, value in good.items() if name != "quantiles"}
    for content in (good | {"quantiles": other}, good | {"quantiles": "no base64!"}, good | {"quantiles": 7}, without):
        path.write_text(json.dumps(content))
        with pytest.raises(GalabError, match=r"expected an exported genome in '.*genome.json', got"):
            read_genome(path)


def test_a_genome_of_a_built_in_distribution_is_as_it_was(evolve: Any, tmp_path: Path) -> None:
    export(open_saved(evolve(distribution="laplace")), "genome", tmp_path / "genome.json")
    content = json.loads((tmp_path / "genome.json").read_text())
    assert set(content["tables"]) == {"laplace", "uniform"}
    assert "quantiles" not in content


def test_a_search_by_hand_takes_the_same_names(samples: Path) -> None:
    def child(distribution: str) -> bytes:
        search = galab.Search(torch.nn.Linear(3, 2), parents=1, children=1, seed=4, distribution=distribution)
        return b"".join(value.detach().numpy().tobytes() for value in search.ask()[0].parameters())

    laws = ["normal", "cauchy", SCIPY, "scipy:t(df=6)", f"table:{samples}"]
    assert len({child(law) for law in laws}) == len(laws)
    assert child("scipy:t(df=5.0)") == child(SCIPY)
    with pytest.raises(UsageError, match="Did you mean 'df'"):
        child("scipy:t(dff=5)")
