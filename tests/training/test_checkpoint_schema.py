"""A checkpoint is checked to its leaves: what galab writes is accepted, and any value out of place is a sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_files import CONTROLS, changed, leaves_of
from lab_outcome import ENGINE, EPISODES, EVOLUTION, GRADIENTS, INTEGER, VECTORS, merged, newest_state
from small_runs import SMALL

import galab
from galab.config.run_config import RunConfig
from galab.errors import CheckpointError, GalabError, RunFolderError
from galab.saved_runs.saved_run import SavedRun, open_saved
from galab.saved_runs.verify import verify
from galab.storage import checkpoints, pickle_format
from galab.storage.lineage import read_rows
from galab.storage.run_folder import RunFolder
from galab.training.checkpoint import load_founders
from galab.training.saved_state import load_state
from galab.training.start_or_resume import resume, start

RUNS = Path(__file__).resolve().parents[2] / "runs"
OLD = Path(__file__).parent / "runs" / "version-0.1.0"
ALL: dict[str, dict[str, Any]] = ENGINE | EVOLUTION | GRADIENTS | VECTORS | INTEGER | EPISODES
#: Texts and numbers about a run of which nothing follows.
ABOUT = ("versions", "numeric_profile", "galab_version", "task.description", "task.fingerprint", "state_names")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``runs("genes")`` is the folder of a small run of that kind, made once."""
    root = tmp_path_factory.mktemp("kinds")

    def folder(kind: str) -> Path:
        if not (root / kind).exists():
            start(RunConfig(**merged(SMALL, ALL.get(kind, {}))), name=kind, runs=root)
        return root / kind

    return folder


def sealed(folder: Path, state: dict[str, Any]) -> Path:
    """The newest checkpoint of a run with another content and a right seal, beside its run and alone."""
    path = folder.parent / f"{folder.name}.pkl"
    pickle_format.dump(state, path)
    return path


def refusal(folder: Path, state: dict[str, Any]) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_state(sealed(folder, state))
    said = str(caught.value)
    assert f"'{folder.parent / f'{folder.name}.pkl'}'" in said
    assert "\n" not in said
    return said


@pytest.mark.slow
@pytest.mark.parametrize("kind", [None, *ALL])
def test_every_kind_of_run_is_accepted(runs: Any, kind: str | None) -> None:
    folder = runs(kind or "plain")
    for _, file in checkpoints.list_checkpoints(folder / "checkpoints"):
        load_state(file)
    saved = SavedRun.open(folder)
    assert len(saved.records) == saved.state["lineage"]["births"]
    load_founders(folder / "founders.pkl", saved.layout.domain)


@pytest.mark.parametrize("root", [RUNS, OLD], ids=["reference runs", "version 0.1.0"])
def test_what_galab_ever_wrote_is_accepted(root: Path) -> None:
    files = sorted(root.rglob("gen_*.pkl"))
    assert len(files) >= 5
    for file in files:
        load_state(file)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "genes", "eggroll", "adam", "snes", "gesmr", "mates", "shares"])
def test_another_type_at_any_leaf_is_a_sentence(runs: Any, kind: str) -> None:
    folder = runs(kind)
    state = newest_state(folder)
    tried = 0
    for path in leaves_of(state):
        place, free = ".".join(map(str, path)), path[0] in ("hyperparameters", "format", "kind", "buffers")
        if free or place.startswith(ABOUT) or place.startswith("strategy.vectors."):
            continue
        for new in ([[]], np.zeros((1, 2, 3)), "text" if not isinstance(_at(state, path), str) else 3):
            other = changed(state, path, new)
            if place.startswith("champion.metrics.") or place.startswith("totals.began."):
                assert "expected" in refusal(folder, other)
            else:
                said = refusal(folder, other)
                assert re.search(r"expected .* as '[\w.\[\]]+' in |expected the checkpoint of a run", said), said
            tried += 1
    assert tried > 60


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


@pytest.mark.parametrize(
    ("kind", "path", "new", "words"),
    [
        ("plain", ("generation",), -1, "a whole number from 0 to 2147483647 as 'generation'"),
        ("plain", ("generation",), 4, "expected generation 4 as 'strategy.generation'"),
        ("plain", ("layout", "shapes"), [[4, 64]], "a list of length 4 as 'layout.shapes'"),
        ("plain", ("layout", "names", 1), "hidden.0.weight", "each once, as 'layout.names'"),
        ("plain", ("layout", "shapes", 0), [4, 2**50], "as 'layout.shapes'"),
        ("plain", ("layout", "shapes", 0), [4, 65], r"an array of int32 of shape \(3, 314\) as 'weights'"),
        ("plain", ("weights",), np.zeros((3, 310), np.float32), r"an array of int32 of shape \(3, 310\) as 'weights'"),
        ("plain", ("strategy", "next_id"), 34, "expected 33, as there were so many births, as 'strategy.next_id'"),
        ("plain", ("champion", "place"), 3, "from 0 to 2 as 'champion.place'"),
        ("plain", ("champion", "id"), 7, "as its place says, as 'champion.id'"),
        ("plain", ("totals", "seconds"), float("nan"), "a finite number of 0 or more as 'totals.seconds'"),
        ("plain", ("totals", "more"), 1, "as 'totals'"),
        ("plain", ("lineage", "sha256"), "A" * 64, "64 hexadecimal digits as 'lineage.sha256'"),
        ("plain", ("lineage", "births"), 2, "from 1 to 3 parents"),
        ("plain", ("genes",), [], "expected nothing, as the run has no gene law, as 'genes'"),
        ("plain", ("velocity",), np.zeros((3, 310), np.int32), "no mutation of the run has momentum"),
        ("plain", ("strategy", "islands"), np.ones(3, np.int64), "whole numbers from 0 to 0 as 'strategy.islands'"),
        ("plain", ("strategy", "control"), {"centre": 0.5}, "as 'strategy.control'"),
        ("plain", ("state_names", "output.bias"), "other", "the name of a parameter or a buffer"),
        ("plain", ("task", "input_shape"), [2**20, 2**20], "at most 67,108,864 numbers as 'task.input_shape'"),
        ("plain", ("task", "input_shape"), [0] * 5000, "at most 64 dimensions as 'task.input_shape' .* a list of 5000"),
        ("plain", ("layout", "shapes", 0), [1] * 65, "at most 64 dimensions as 'layout.shapes'"),
        ("plain", ("founders",), "f" * 63, "64 hexadecimal digits as 'founders'"),
        ("plain", ("log",), {"lines": 5}, "as 'log.bytes'"),
        ("eggroll", ("ranks", 0), 3, "from 0 to 2 as 'ranks'"),
        ("eggroll", ("strategy", "optimizer"), [{}], "a list of length 4 as 'strategy.optimizer'"),
        ("eggroll", ("strategy", "optimizer", 0, "exp_avg"), np.zeros((2, 64), np.float32), r"fits shape \(4, 64\)"),
        ("eggroll", ("strategy", "optimizer", 0, "step"), np.float32(7), "expected 5 steps"),
        ("eggroll", ("lineage", "births"), 6, "5, one row of scores for each generation"),
        ("gesmr", ("strategy", "control", "log_sigmas"), [1, 2], "a list of length 3"),
        ("genes", ("genes",), [], "a list of length 3 as 'genes'"),
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_named(runs: Any, kind: str, path: Any, new: Any, words: str) -> None:
    folder = runs(kind)
    assert re.search(words, refusal(folder, changed(newest_state(folder), path, new)))


def test_births_that_cannot_be_are_named(runs: Any) -> None:
    folder = runs("plain")
    for field, value in (("id", 33), ("parents", 32), ("generation", 6), ("mutation", 2), ("log_sigma", -9000)):
        state = newest_state(folder)
        state["strategy"]["births"][field][0] = value
        assert "strategy.births" in refusal(folder, state)


def test_an_optimiser_that_keeps_something_else_is_a_sentence(evolve: Any) -> None:
    folder = _run(evolve, "openai-es-adam")
    state = newest_state(folder)
    for part in state["strategy"]["optimizer"]:
        del part["exp_avg_sq"]
    _replace(folder, state)
    with pytest.raises(CheckpointError, match=r"expected the state of Adam for parameter 0 as exp_avg \(float32"):
        resume(folder, {"generations": 7})


def _run(evolve: Any, kind: str) -> Path:
    runs = evolve().parent
    start(RunConfig(**merged(SMALL, ALL[kind])), name=kind, runs=runs)
    return runs / kind


def _replace(folder: Path, state: dict[str, Any]) -> None:
    pickle_format.dump(state, checkpoints.list_checkpoints(folder / "checkpoints")[-1][1])


def test_a_sealed_checkpoint_must_agree_with_its_lineage(evolve: Any) -> None:
    folder = evolve()
    state = newest_state(folder)
    state["strategy"]["births"]["argument"][0] += 1
    _replace(folder, state)
    for action in (lambda: resume(folder, {"generations": 7}), lambda: verify(RunFolder(folder))):
        with pytest.raises(CheckpointError, match="as the lineage has it as 'strategy.births'"):
            action()


@pytest.mark.parametrize("change", [{"children": 9}, {"sigma": 0.5}, {"hidden": "5"}, {"activation": "tanh"}])
def test_a_sealed_checkpoint_must_agree_with_its_configuration(evolve: Any, change: dict[str, Any]) -> None:
    folder = evolve()
    config = json.loads((folder / "config.json").read_text())
    config["hyperparameters"] |= change
    (folder / "config.json").write_text(json.dumps(config))
    for action in (open_saved, galab.load, resume, lambda path: verify(RunFolder(path))):
        with pytest.raises(CheckpointError, match=f"expected --{next(iter(change))} .*config.json' has it, got"):
            action(folder)


def test_a_config_that_cannot_be_read_does_not_lose_a_run(evolve: Any, caplog: pytest.LogCaptureFixture) -> None:
    folder = evolve()
    (folder / "config.json").write_text("{")
    assert open_saved(folder).generation == 5
    assert "its checkpoint says what the run is" in caplog.text


def test_a_checkpoint_under_another_generations_name_is_refused(evolve: Any) -> None:
    folder = evolve()
    newest = folder / "checkpoints" / "gen_000005.pkl"
    newest.rename(newest.with_name("gen_000007.pkl"))
    with pytest.raises(CheckpointError, match="generation 7 in .* as its name says, got that of generation 5"):
        open_saved(folder)


def test_founders_of_another_network_are_refused(evolve: Any) -> None:
    folder, other = evolve(), evolve("other", hidden="5")
    (folder / "founders.pkl").write_bytes((other / "founders.pkl").read_bytes())
    with pytest.raises(CheckpointError, match="founders of the network of"):
        verify(RunFolder(folder))


@pytest.mark.parametrize(
    ("key", "new", "words"),
    [
        ("run_key", -1, "as 'run_key'"), ("laws", [], "as 'layout.names'"),
        ("laws", [["a", [2], "x", 1.0]], "a law among"),
        ("laws", [["a", [2], "given", 0.0]], r"shape \(any, 2\) as 'given'"), ("given", [1], "as 'given'"),
        ("laws", [["a", ["a"], "uniform", 1.0]], "as 'layout.shapes'"), ("sha256", "0", "as 'sha256'"),
        ("frozen", {"a": "b"}, "as 'frozen.a'"), ("laws", [["a", [2], "uniform", float("inf")]], "a scale"),
    ],
)  # fmt: skip
def test_founders_are_checked_to_their_leaves(runs: Any, tmp_path: Path, key: str, new: Any, words: str) -> None:
    path = tmp_path / "founders.pkl"
    pickle_format.dump(pickle_format.load(runs("plain") / "founders.pkl") | {key: new}, path)
    with pytest.raises(CheckpointError, match=words):
        load_founders(path)


def test_a_network_larger_than_the_checkpoint_takes_no_memory(runs: Any) -> None:
    folder = runs("plain")
    state = newest_state(folder)
    for change in (
        {"hidden": "1000000000"}, {"hidden": "9" * 5000}, {"hidden": "1," * 50_000},
        {"model": "memory(heads=60000, project=60000)", "hidden": None},
    ):  # fmt: skip
        other = changed(state, ("hyperparameters",), state["hyperparameters"] | change)
        with pytest.raises(GalabError):
            galab.load(sealed(folder, other))


@pytest.mark.parametrize(
    ("file", "key", "new"),
    [
        ("status.json", "state", "done"), ("status.json", "generation", "5"), ("status.json", "message", 3),
        ("status.json", "result", {"validation_accuracy": "high"}), ("config.json", "data", 3),
        ("config.json", "hyperparameters", []), ("config.json", "hyperparameters", {"task": []}),
        ("config.json", "hyperparameters", {"strategy": 3}), ("status.json", "generation", -1),
    ],
)  # fmt: skip
def test_status_and_config_are_checked_to_their_leaves(
    runs: Any, tmp_path: Path, file: str, key: str, new: Any
) -> None:
    content = json.loads((runs("plain") / file).read_text())
    (tmp_path / file).write_text(json.dumps(content | {key: new}))
    folder = RunFolder(tmp_path)
    with pytest.raises(RunFolderError, match=rf"as '{key}.*' in '.*{file}', got .*; restore the file"):
        folder.read_status() if file == "status.json" else folder.read_config()


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 100_000 + "]" * 100_000, "[" + "[]," * 600_000 + "[]]", "\xff"])
def test_a_deep_or_large_json_file_is_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(RunFolderError) as caught:
        RunFolder(tmp_path).read_config()
    assert "\n" not in str(caught.value)


def test_what_a_message_quotes_is_cleaned(runs: Any) -> None:
    folder = runs("plain")
    said = refusal(folder, changed(newest_state(folder), ("founders",), CONTROLS[:-1]))
    assert "\\x1b[31m" in said
    assert said.isprintable()


def test_records_of_a_centre_count_generations(evolve: Any) -> None:
    folder = _run(evolve, "snes")
    rows = read_rows(folder / "scores.bin", SavedRun.open(folder).records.dtype)
    rows["generation"] = rows["generation"][::-1].copy()
    (folder / "scores.bin").write_bytes(rows.tobytes())
    with pytest.raises(CheckpointError, match="SHA-256"):
        resume(folder, {"generations": 7})
