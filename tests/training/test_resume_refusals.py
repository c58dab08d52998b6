"""What resuming refuses, what it allows, and which command it names instead."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab_outcome import generations_of, log_of, newest_state, outcome

from galab.errors import CheckpointError, GalabError, NumericProfileError, RunFolderError, UsageError
from galab.genome.births import BIRTH
from galab.saved_runs.saved_run import evaluate
from galab.storage import checkpoints, pickle_format
from galab.storage.lineage import read_rows
from galab.storage.run_folder import RunFolder
from galab.training.start_or_resume import resume


def rewrite(folder: Path, **changes: Any) -> None:
    """Change the newest checkpoint and give it a right trailer again."""
    path = checkpoints.list_checkpoints(folder / "checkpoints")[-1][1]
    pickle_format.dump(pickle_format.load(path) | changes, path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"children": 9}, ["expected --children 6 ", "got --children 9", "--children 9`"]),
        ({"sigma": 0.5}, ["expected --sigma 0.0199", "got --sigma 0.5", "--sigma 0.5`"]),
        ({"batch": 0, "report_every": 3}, ["--report-every 3", "--batch 0", "--batch 32, --report-every 2 as"]),
        ({"seed": 7}, ["--seed 5 as", "--seed 7`"]),
        ({"threads": 2}, ["--threads 1 as", "--threads 2`"]),
        ({"model": "conv"}, ["--model mlp as", "--model conv`"]),
    ],
)
def test_a_changed_hyperparameter_is_answered_with_the_command_that_works(
    evolve: Any, change: dict[str, Any], words: list[str]
) -> None:
    folder = evolve()
    before = outcome(folder)
    with pytest.raises(UsageError) as error:
        resume(folder, change | {"generations": 9})
    assert f"`galab run --from {folder} --" in str(error.value)
    for word in words:
        assert word in str(error.value)
    assert "generations" not in str(error.value)
    assert outcome(folder) == before


def test_another_origin_is_answered_with_a_new_run(evolve: Any) -> None:
    with pytest.raises(UsageError, match=r"expected no such flag as .* got --from x: .* `galab run --from x`"):
        resume(evolve(), {"origin": "x"})


def test_a_folder_with_a_space_in_its_name_is_quoted_in_the_command(evolve: Any) -> None:
    folder = evolve("my run")
    with pytest.raises(UsageError) as error:
        resume(folder, {"children": 9})
    assert f"--from '{folder}' --children 9`" in str(error.value)


def test_repeating_the_flags_of_the_start_is_no_change(evolve: Any) -> None:
    """The saved step size is the snapped one, and a 0 that means "choose" was replaced by what was chosen."""
    folder = evolve(sigma=0.03, survival="plus", chunk=0)
    changes = {"sigma": 0.03, "survival": "plus", "chunk": 0, "elites": 0, "device": "auto", "children": 6}
    assert resume(folder, changes | {"generations": 6}).generation == 6


@pytest.mark.slow
def test_an_older_checkpoint_continues_as_a_new_run(evolve: Any, caplog: pytest.LogCaptureFixture) -> None:
    folder = evolve(generations=12, keep="all")
    before = outcome(folder)
    result = resume(folder / "checkpoints" / "gen_000004.pkl", {"generations": 12})
    new = result.folder.path
    assert new == folder.parent / "first-from-4"
    assert "continuing as the new run" in caplog.text
    assert outcome(new) == before == outcome(folder)
    assert generations_of(new) == [4, 6, 8, 10, 12]
    assert json.loads((new / "config.json").read_text())["branched_from"]["run"] == "first"


def test_an_older_checkpoint_shares_the_past_only(evolve: Any) -> None:
    folder = evolve(generations=12, keep="all")
    new = resume(folder / "checkpoints" / "gen_000004.pkl", {"generations": 6}).folder.path
    assert log_of(new) == log_of(folder)[:6]
    rows, all_rows = (read_rows(path / "lineage.bin", BIRTH) for path in (new, folder))
    assert 0 < len(rows) < len(all_rows)
    assert np.array_equal(rows, all_rows[: len(rows)])


def test_the_newest_checkpoint_continues_its_own_run(evolve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = evolve()
    monkeypatch.chdir(folder.parent)
    for path in ("first/checkpoints/gen_000005.pkl", "first/../first/checkpoints/./gen_000005.pkl"):
        assert resume(Path(path), {"generations": 6}).folder.path.resolve() == folder
        (folder / "checkpoints" / "gen_000006.pkl").unlink()


def test_a_lone_checkpoint_is_answered_with_a_new_run(evolve: Any, tmp_path: Path) -> None:
    lone = tmp_path / "lone.pkl"
    shutil.copy(evolve() / "checkpoints" / "gen_000005.pkl", lone)
    with pytest.raises(UsageError, match=f"lone checkpoint '{lone}'.* `galab run --from {lone}`"):
        resume(lone)


def test_another_file_of_the_run_is_no_checkpoint(evolve: Any) -> None:
    folder = evolve()
    with pytest.raises(CheckpointError, match=r"expected the checkpoint of a run in '.*founders.pkl', got other data"):
        resume(folder / "founders.pkl")
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == ["first"]


@pytest.mark.slow
def test_a_run_killed_before_its_first_checkpoint_starts_at_0(evolve: Any, tmp_path: Path) -> None:
    expected = outcome(evolve("unbroken"))
    config = json.loads((tmp_path / "unbroken" / "config.json").read_text())
    for litter in (False, True):
        folder = RunFolder.create(tmp_path, f"killed-{litter}", config).path
        if litter:
            (folder / "log.jsonl").write_text('{"gener')
            (folder / "lineage.bin").write_bytes(b"x" * 50)
        with pytest.raises(CheckpointError, match="killed before its first; continue it with `galab resume"):
            evaluate(folder)
        resume(folder)
        assert outcome(folder) == expected


def test_a_run_that_lost_its_checkpoints_is_not_begun_anew(evolve: Any) -> None:
    folder = evolve()
    shutil.rmtree(folder / "checkpoints")
    log = (folder / "log.jsonl").read_bytes()
    with pytest.raises(CheckpointError, match="up to generation 5, as the log has it, found none"):
        resume(folder, {"generations": 9})
    assert (folder / "log.jsonl").read_bytes() == log


def test_a_run_killed_before_its_first_checkpoint_begins_on_its_own_data_only(evolve: Any, tmp_path: Path) -> None:
    config = json.loads((evolve() / "config.json").read_text())
    config["data"] |= {"description": "other digits", "fingerprint": "0" * 64}
    folder = RunFolder.create(tmp_path, "killed", config).path
    with pytest.raises(CheckpointError, match="other digits"):
        resume(folder)


def test_other_data_is_refused(evolve: Any) -> None:
    folder = evolve()
    other = {"description": "other digits", "fingerprint": "0" * 64}
    rewrite(folder, task=newest_state(folder)["task"] | other)
    with pytest.raises(CheckpointError, match=r"other digits, fingerprint 000000000000\).*got digits.*run --from"):
        resume(folder, {"generations": 9})
    assert len(log_of(folder)) == 5


@pytest.mark.slow
def test_another_numeric_profile_is_refused_unless_allowed(evolve: Any, caplog: pytest.LogCaptureFixture) -> None:
    folder = evolve()
    rewrite(folder, numeric_profile=newest_state(folder)["numeric_profile"] | {"torch": "1.0"})
    with pytest.raises(NumericProfileError, match=r"torch 1\.0 -> .*--allow-numeric-change"):
        resume(folder, {"generations": 7})
    assert len(log_of(folder)) == 5
    assert resume(folder, {"generations": 7}, allow_numeric_change=True).generation == 7
    assert "scores are no longer bit-identical" in caplog.text
    assert resume(folder, {"generations": 8}).generation == 8  # the new profile is the run's now


def test_a_run_made_on_a_gpu_says_so_where_there_is_none(evolve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    folder = evolve()
    rewrite(folder, hyperparameters=newest_state(folder)["hyperparameters"] | {"device": "cuda"})
    with pytest.raises(NumericProfileError, match=r"expected a CUDA device.*--allow-numeric-change"):
        resume(folder, {"generations": 6})
    assert resume(folder, {"generations": 6}, allow_numeric_change=True).generation == 6


def test_other_founders_are_refused(evolve: Any) -> None:
    folder, other = evolve(), evolve("other", seed=9)
    shutil.copy(other / "founders.pkl", folder / "founders.pkl")
    with pytest.raises(CheckpointError, match="to hold the founders of this run, got others"):
        resume(folder, {"generations": 9})


def test_another_lineage_is_refused(evolve: Any) -> None:
    folder, other = evolve(), evolve("other", seed=9)
    shutil.copy(other / "lineage.bin", folder / "lineage.bin")
    with pytest.raises(CheckpointError, match=r"lineage\.bin"):
        resume(folder, {"generations": 9})


@pytest.mark.parametrize("left", ["", "{}", '{"hyperparameters": null}', '{"hyperparameters": {"tusk": "mnist"}}'])
def test_a_damaged_config_is_one_sentence(evolve: Any, left: str) -> None:
    folder = evolve()
    shutil.rmtree(folder / "checkpoints")
    (folder / "log.jsonl").unlink()
    (folder / "config.json").write_text(left)
    with pytest.raises(GalabError, match=r"config\.json|tusk"):
        resume(folder)


def test_the_folder_has_one_writer(evolve: Any) -> None:
    folder = evolve()
    with RunFolder(folder).lock(), pytest.raises(RunFolderError, match="in use by another process"):
        resume(folder, {"generations": 9})


@pytest.mark.parametrize("change", ["a number", "a line gone", "lines exchanged", "empty", "gone"])
def test_a_log_that_was_changed_before_its_end_is_noticed(evolve: Any, change: str) -> None:
    folder = evolve()
    log = folder / "log.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    if change == "a number":
        lines[1] = lines[1].replace('"failures": 0', '"failures": 1')
    elif change == "a line gone":
        del lines[1]
    elif change == "lines exchanged":
        lines[1:3] = lines[2:0:-1]
    log.write_text("" if change == "empty" else "".join(lines))
    if change == "gone":
        log.unlink()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.suffix in (".bin", ".pkl")}
    with pytest.raises(RunFolderError, match=r"expected the first 5 lines of '.*log.jsonl' as they were"):
        resume(folder, {"generations": 7})
    assert before == {path: path.read_bytes() for path in before}


def test_lines_after_the_checkpoint_are_cut_and_older_checkpoints_count_on_fewer(evolve: Any) -> None:
    folder = evolve()
    with open(folder / "log.jsonl", "a", encoding="utf-8") as log:
        log.write('{"generation": 6}\n{"gen')
    (folder / "checkpoints" / "gen_000005.pkl").unlink()
    assert resume(folder, {"generations": 7}).generation == 7
    state = newest_state(folder)
    content = (folder / "log.jsonl").read_bytes()
    assert state["log"] == {"lines": 7, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_a_checkpoint_that_says_nothing_of_the_log_goes_on(evolve: Any) -> None:
    folder = evolve()
    path = folder / "checkpoints" / "gen_000005.pkl"
    state = pickle_format.load(path)
    del state["log"]
    pickle_format.dump(state, path)
    assert resume(folder, {"generations": 7}).generation == 7
    assert newest_state(folder)["log"]["lines"] == 7
