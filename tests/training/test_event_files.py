"""What TensorBoard reads in the event files, and that a resumed run tells each step once."""

from pathlib import Path
from typing import Any

import pytest
from lab_outcome import generations_of, log_of
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.summary_pb2 import Summary

from galab.training.start_or_resume import resume
from galab.training.tensorboard import EventFile, TensorBoard, has_point, tag

CURVES = {
    "fitness/best", "fitness/mean", "fitness/worst", "fitness/std", "train/loss", "train/accuracy", "validation/loss",
    "validation/accuracy", "test/loss", "test/accuracy", "step_size/mean", "step_size/min", "step_size/max",
    "run/evaluations", "run/seconds", "run/generation_seconds", "run/evaluations_per_second", "run/failures",
    "run/lethal", "cache/hits", "cache/misses", "lineage/births", "lineage/bytes", "step_size/p10", "step_size/p50",
    "step_size/p90", "step_size/at_floor", "diversity/common_ancestor", "diversity/segregating",
    "diversity/fixed_generations", "diversity/distance",
    *(f"step_size_share/{layer}_{end}" for layer in ("hidden.0", "output") for end in ("p10", "p50", "p90")),
}  # fmt: skip
FINAL = {"validation/loss", "validation/accuracy", "test/loss", "test/accuracy"}


def read(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "histograms": 0}, purge_orphaned_data=True)
    found.Reload()
    return found


def curve(found: EventAccumulator, name: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in found.Scalars(name)]


def test_the_tags_and_the_steps(evolve: Any) -> None:
    folder = evolve()
    found, log = read(folder), log_of(folder)
    assert set(found.Tags()["scalars"]) == CURVES
    assert curve(found, "fitness/best") == [
        (line["generation"], pytest.approx(line["fitness_best"], rel=1e-6)) for line in log
    ]
    assert [step for step, _ in curve(found, "test/accuracy")] == [2, 4, 5]  # two reports, and how the run ended
    assert [event.step for event in found.Histograms("fitness/histogram")] == [2, 4]
    assert sum(found.Histograms("fitness/histogram")[0].histogram_value.bucket) == 6
    by_evaluations = read(folder / "by_evaluations")
    groups = ("fitness/", "validation/", "test/", "step_size/m")
    expected = {f"by_evaluations/{name.replace('/', '_')}" for name in CURVES if name.startswith(groups)}
    assert set(by_evaluations.Tags()["scalars"]) == expected
    steps = [step for step, _ in curve(by_evaluations, "by_evaluations/fitness_best")]
    assert steps == [line["evaluations"] for line in log]


def test_the_hyperparameters_are_in_the_hparams_tab(evolve: Any) -> None:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    found = read(evolve(elites=2))
    content = found.PluginTagToContent("hparams")
    assert {"_hparams_/experiment", "_hparams_/session_start_info", "_hparams_/session_end_info"} <= set(content)
    start = HParamsPluginData.FromString(content["_hparams_/session_start_info"]).session_start_info
    assert start.hparams["children"].number_value == 6
    assert start.hparams["elites"].number_value == 2
    assert start.hparams["task"].string_value == "digits"
    assert "save_every" not in start.hparams
    experiment = HParamsPluginData.FromString(content["_hparams_/experiment"]).experiment
    assert {info.name.tag for info in experiment.metric_infos} == FINAL


@pytest.mark.slow
def test_a_resumed_run_tells_each_step_once(evolve: Any, tmp_path: Path) -> None:
    """It was killed after generation 7 and continues from 6: what the killed sitting said of 7 is forgotten."""

    def crash(line: dict[str, Any]) -> None:
        if line["generation"] == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evolve(generations=12, hooks=[crash])
    folder = tmp_path / "first"
    assert [step for step, _ in curve(read(folder), "fitness/best")] == list(range(1, 8))
    resume(folder)
    resume(folder)  # nothing left to do
    resume(folder, {"generations": 13})
    log = log_of(folder)
    for place, axis, name in (
        (folder, "generation", "fitness/best"),
        (folder / "by_evaluations", "evaluations", "by_evaluations/fitness_best"),
    ):
        steps = [step for step, _ in curve(read(place), name)]
        assert steps == [line[axis] for line in log]
    found = read(folder)
    for name in found.Tags()["scalars"]:
        values: dict[int, set[float]] = {}
        for step, value in curve(found, name):
            values.setdefault(step, set()).add(value)
        assert all(len(several) == 1 for several in values.values()), (name, values)
    assert [step for step, _ in curve(found, "test/accuracy")][-1] == 13


@pytest.mark.parametrize("again", [0, 2], ids=["at its end", "and once more"])
def test_the_last_point_is_written_by_a_resume_after_a_kill_in_between(
    evolve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: int
) -> None:
    """The kill falls between the last checkpoint, of a generation without a report, and the end."""
    unbroken = read(evolve("unbroken"))
    with monkeypatch.context() as patch:
        patch.setattr(TensorBoard, "_is_missing", killed)
        with pytest.raises(KeyboardInterrupt):
            evolve()
    folder = tmp_path / "first"
    assert generations_of(folder)[-1] == 5
    assert [step for step, _ in curve(read(folder), "validation/accuracy")] == [2, 4]
    for _ in range(1 + again):
        resume(folder)
    found = read(folder)
    for name in FINAL:
        assert curve(found, name) == curve(unbroken, name)


def killed(*_: Any) -> None:
    raise KeyboardInterrupt


def test_a_point_counts_until_a_later_session_forgets_it(tmp_path: Path) -> None:
    assert not has_point(tmp_path, "a", 3)
    for purged, seen in ((1, True), (4, True), (3, False), (9, False)):
        file = EventFile(tmp_path, purge_step=purged)
        if purged == 1:
            file.add(Summary(value=[Summary.Value(tag="a", simple_value=1.0)]), 3)
        file.close()
        assert has_point(tmp_path, "a", 3) is seen
    assert not has_point(tmp_path, "b", 3)


def test_a_record_that_a_kill_left_unfinished_ends_its_file(tmp_path: Path) -> None:
    file = EventFile(tmp_path, purge_step=1)
    for step in (1, 2):
        file.add(Summary(value=[Summary.Value(tag="a", simple_value=1.0)]), step)
    file.close()
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-3])
    assert [has_point(tmp_path, "a", step) for step in (1, 2)] == [True, False]


def test_a_branch_brings_its_history_along(evolve: Any) -> None:
    folder = evolve(keep="all")
    new = resume(folder / "checkpoints" / "gen_000002.pkl", {"generations": 4}).folder.path
    expected = [pytest.approx(line["fitness_best"], rel=1e-6) for line in log_of(folder)[:4]]
    assert curve(read(new), "fitness/best") == list(zip(range(1, 5), expected, strict=True))


def test_every_event_is_on_the_disk_at_once(tmp_path: Path) -> None:
    """So that a kill loses none from before the checkpoint."""
    file = EventFile(tmp_path, purge_step=1)
    for step in range(1, 4):
        file.add(Summary(value=[Summary.Value(tag="a", simple_value=step)]), step)
        assert curve(read(tmp_path), "a")[-1] == (step, step)
    file.close()
    file.close()


def test_files_of_one_second_are_read_in_order(tmp_path: Path) -> None:
    for sitting in range(12):
        file = EventFile(tmp_path, purge_step=1)
        file.add(Summary(value=[Summary.Value(tag="a", simple_value=sitting)]), 1)
        file.close()
    assert curve(read(tmp_path), "a") == [(1, 11)]


def test_tags() -> None:
    assert tag("fitness_best") == "fitness/best"
    assert tag("step_size") == "step_size/mean"
    assert tag("step_size_max") == "step_size/max"
    assert tag("seconds") == "run/seconds"
