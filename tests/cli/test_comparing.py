"""``compare`` by other axes, with effect sizes and times to a level, and what TensorBoard reads of its groups."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from galab.stats.intervals import median_interval
from galab.storage.log import LogFile

#: Accuracy after generations 2, 4 and 6 of each made-up run.
CURVES = {
    "slow": [[0.1, 0.2, 0.3], [0.1, 0.3, 0.5], [0.2, 0.2, 0.6]],
    "fast": [[0.4, 0.5, 0.9], [0.5, 0.6, 0.8], [0.3, 0.55, 0.7]],
}


@pytest.fixture
def made_up(galab: Any) -> list[str]:
    """Two folders of runs whose logs are written by hand: 10 evaluations a generation, half a second of the slow."""
    flags = ["--task", "digits", "--hidden", "4", "--batch", "32", "--children", "6", "--parents", "3"]
    galab("run", *flags, "--generations", "1", "--threads", "1", "--name", "pattern", "-q")
    config = (Path("runs") / "pattern" / "config.json").read_text()
    for number, (group, curves) in enumerate(CURVES.items()):
        for seed, values in enumerate(curves):
            home = Path("mine") / group / f"seed_{seed}"
            home.mkdir(parents=True)
            other = json.loads(config)
            other["hyperparameters"]["children"] = 6 + number
            (home / "config.json").write_text(json.dumps(other))
            with LogFile(home / "log.jsonl") as log:
                for generation, value in zip((2, 4, 6), values, strict=True):
                    log.append(
                        {
                            "generation": generation,
                            "evaluations": 10 * generation,
                            "seconds": generation * (0.5 if group == "slow" else 0.25),
                            "validation_accuracy": value,
                            "validation_loss": 1 - value,
                        }
                    )
    return [f"mine/{group}" for group in CURVES]


def compare(galab: Any, *arguments: Any) -> Any:
    return json.loads(galab("compare", *arguments, "-f", "json").out)


@pytest.mark.slow
def test_effect_sizes_are_those_of_the_values(galab: Any, made_up: list[str]) -> None:
    answer = compare(galab, *made_up)
    last = answer["budgets"][-1]
    slow, fast = np.array([0.3, 0.5, 0.6]), np.array([0.9, 0.8, 0.7])
    row, best = last["groups"]
    assert (last["evaluations"], row["median"], best["median"], best["best"]) == (60, 0.5, 0.8, True)
    assert row["p"] == pytest.approx(mannwhitneyu(fast, slow).pvalue)
    assert (row["best_is_better"], row["cliffs_delta"], row["difference"]) == (1, 1, pytest.approx(0.3))
    assert row["best_is_better_low"] is None  # complete separation says nothing of the share
    assert 0 < row["difference_low"] < row["difference_high"] < 0.61
    assert best["p"] is None
    # Of a loss, less is better, and the probability is still that of the better one.
    row, best = compare(galab, *made_up, "--metric", "validation_loss")["budgets"][-1]["groups"]
    assert (row["best_is_better"], best["best"], row["difference"]) == (1, True, pytest.approx(-0.3))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("axis", "places", "fast"),
    [("generations", 4, [0.5, 0.6, 0.55]), ("seconds", 1.2, [0.5, 0.6, 0.55]), ("evaluations", 20, [0.4, 0.5, 0.3])],
)
def test_axes(galab: Any, made_up: list[str], axis: str, places: float, fast: list[float]) -> None:
    answer = compare(galab, *made_up, "--axis", axis, "--at", places)
    ((table),) = answer["budgets"]
    assert (answer["axis"], table[axis]) == (axis, places)
    rows = {row["group"]: row for row in table["groups"]}
    interval = median_interval(fast)
    assert (rows["mine/fast"]["median"], rows["mine/fast"]["low"]) == (interval.median, interval.low)
    # After 1.2 seconds the slow ones have done two generations, the fast ones four.
    assert rows["mine/slow"]["median"] == {"generations": 0.2, "seconds": 0.1, "evaluations": 0.1}[axis]
    said = galab("compare", *made_up, "--axis", axis).out
    assert f"medians over runs at equal {axis}" in said
    assert f"at {'1.5' if axis == 'seconds' else {'generations': 6, 'evaluations': 60}[axis]} {axis}" in said


@pytest.mark.slow
def test_times_to_a_level_with_runs_that_never_reach_it(galab: Any, made_up: list[str]) -> None:
    answer = compare(galab, *made_up, "--axis", "generations", "--to", "0.5,0.65")
    half, more = answer["targets"]
    rows = {row["group"]: row for row in half["groups"]}
    assert (rows["mine/slow"]["reached"], rows["mine/slow"]["median"]) == (2, 6)
    assert (rows["mine/slow"]["low"], rows["mine/slow"]["high"]) == (6, None)  # None is never
    assert (rows["mine/fast"]["reached"], rows["mine/fast"]["median"]) == (3, 4)
    assert (half["watched"], half["shortest"], half["beyond"]) == (6, "mine/slow/seed_0", 0)
    assert half["test"]["p"] == pytest.approx(0.1)  # the least that 3 against 3 can have, ties or not
    assert [row["reached"] for row in more["groups"]] == [0, 3]
    assert [row["median"] for row in more["groups"]] == [None, 6]
    said = galab("compare", *made_up, "--axis", "generations", "--to", "0.65").out
    assert "generations to validation_accuracy 0.65" in said
    assert "never [never, never]" in said
    assert "never: not within 6 generations, where mine/slow/seed_0 ended without reaching it" in said


@pytest.mark.slow
def test_a_run_that_was_watched_less_long_sets_the_horizon(galab: Any, made_up: list[str]) -> None:
    log = Path("mine/slow/seed_0/log.jsonl")
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:2]))
    (target,) = compare(galab, *made_up, "--axis", "generations", "--to", "0.6")["targets"]
    assert (target["watched"], target["beyond"]) == (4, 3)
    assert [(row["reached"], row["later"]) for row in target["groups"]] == [(0, 1), (1, 2)]


@pytest.mark.slow
def test_csv_has_every_row_and_a_wrong_number_is_refused(galab: Any, sentence: Any, made_up: list[str]) -> None:
    said = galab("compare", *made_up, "--to", "0.5", "-f", "csv").out
    rows = list(csv.DictReader(io.StringIO(said)))
    assert [row["group"] for row in rows[-2:]] == made_up
    assert [row["to"] for row in rows[-2:]] == ["0.5", "0.5"]
    assert "expected --to as levels of the metric, got 'x'" in sentence(
        "compare", *made_up, "--to", "x", code=2
    )
    assert "got '-1'" in sentence("compare", *made_up, "--at=-1", code=2)


@pytest.mark.slow
@pytest.mark.parametrize(("axis", "unit"), [("seconds", "milliseconds"), ("generations", "generations")])
def test_tensorboard_reads_the_same_groups(galab: Any, made_up: list[str], axis: str, unit: str) -> None:
    galab("compare", "mine", "--by", "children", "--axis", axis, "--tensorboard", "board")
    answer = compare(galab, "mine", "--by", "children", "--axis", axis, "--tensorboard", "board")  # again
    assert sorted(answer["tensorboard"]) == ["board/children 6", "board/children 7"]
    tag = f"validation_accuracy_by_{unit}"
    for children, group in ((6, "slow"), (7, "fast")):
        found = read(Path("board") / f"children {children}")
        assert set(found.Tags()["scalars"]) == {f"{tag}/{name}" for name in ("median", "low", "high")}
        events = found.Scalars(f"{tag}/median")
        assert len(events) == 3
        factor = {"generations": 1, "seconds": 500 if group == "slow" else 250}[axis]
        assert [event.step for event in events] == [2 * factor, 4 * factor, 6 * factor]
        values = np.array(CURVES[group])
        assert [event.value for event in events] == pytest.approx(np.median(values, axis=0), rel=1e-6)
        interval = median_interval(values[:, -1])
        ends = [found.Scalars(f"{tag}/{name}")[-1].value for name in ("low", "high")]
        assert ends == pytest.approx([interval.low, interval.high], rel=1e-6)
        start = hparams(found)
        assert start["children"].number_value == children
        assert start["group"].string_value == f"children {children}"
    layout = read(Path("board")).Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    assert f"{tag}/median".encode() in layout
    assert len(list(Path("board/children 6").iterdir())) == 1  # the first call's events are gone


@pytest.mark.slow
def test_a_folder_of_other_things_is_left_alone(galab: Any, sentence: Any, made_up: list[str]) -> None:
    assert "expected --tensorboard to name a new folder" in sentence(
        "compare", *made_up, "--tensorboard", "mine", code=2
    )
    assert sorted(path.name for path in Path("mine").iterdir()) == ["compare.png", "fast", "slow"]
    # Groups that are called by an absolute path stay inside the folder all the same.
    said = compare(galab, *[str(Path(group).absolute()) for group in made_up], "--tensorboard", "board")
    assert all(Path(folder).resolve().is_relative_to(Path("board").resolve()) for folder in said["tensorboard"])


@pytest.mark.slow
def test_runs_of_a_group_say_so_in_their_own_hparams(galab: Any) -> None:
    flags = ["--task", "digits", "--hidden", "4", "--batch", "32", "--parents", "3", "--threads", "1"]
    flags += ["--generations", "2", "--jobs", "1", "-q", "--name", "grid", "--seeds", "0-1"]
    galab("sweep", *flags, "--grid", "children=6,7")
    found = read(Path("runs/grid/children=7/seed_1"))
    assert hparams(found)["group"].string_value == "grid/children=7"


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def hparams(found: Any) -> Any:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    content = found.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    return HParamsPluginData.FromString(content).session_start_info.hparams
