"""``run --seeds``, ``sweep``, ``compare``, and what ``list``, ``show`` and ``resume`` say of groups."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from galab.stats.intervals import mann_whitney, median_interval
from galab.storage.log import read_log

FLAGS = [
    "--task", "digits", "--hidden", "4", "--batch", "32", "--parents", "3", "--children", "6", "--threads", "1",
    "--generations", "5", "--save-every", "2", "--report-every", "2", "--jobs", "1", "-q",
]  # fmt: skip
#: As many children as the grid says.
SWEEP = ["sweep", *(word for word in FLAGS if word not in ("--children", "6"))]


@pytest.fixture
def group(galab: Any) -> Any:
    """Makes a small group: ``group("name", "0-2", "--children", 9)`` is what was printed."""

    def make(name: str = "many", seeds: str = "0-2", *flags: Any) -> Any:
        return galab("run", *FLAGS, "--name", name, "--seeds", seeds, *flags)

    return make


def metric(run: Path, name: str = "validation_accuracy") -> float:
    return float(json.loads((run / "status.json").read_text())["result"][name])


def test_a_group_says_what_it_did_and_what_to_type_next(group: Any) -> None:
    said = group()
    for words in ("seed_0", "seed_2", "finished", "3 of 3 trials finished, 960 evaluations each", "bootstrap 95 %",
                  "on digits, the embedded", "galab show runs/many", "galab compare runs/many"):  # fmt: skip
        assert words in said.out, words
    median = median_interval([metric(Path(f"runs/many/seed_{seed}")) for seed in range(3)])
    assert f"median validation accuracy {median.median:.2%} [{median.low:.2%}, {median.high:.2%}]" in said.out
    assert "galab resume" not in said.out


@pytest.mark.slow
def test_list_and_show_a_group(galab: Any, group: Any, evolve: Any) -> None:
    group()
    evolve("alone")
    assert [row["run"] for row in json.loads(galab("list", "-f", "json").out)] == [
        "alone", "many/seed_0", "many/seed_1", "many/seed_2",
    ]  # fmt: skip
    shown = galab("show", "runs/many").out
    assert shown.startswith("runs/many: one configuration with 3 trials in all (3 finished), digits, ")
    assert "median test accuracy" in shown
    rows = json.loads(galab("show", "runs/many", "-f", "json").out)
    assert [(row["trial"], row["generation"]) for row in rows] == [(f"seed_{seed}", 5) for seed in range(3)]
    assert len(list(csv.DictReader(io.StringIO(galab("show", "runs/many", "-f", "csv").out)))) == 3
    assert "generation 5" in galab("show", "runs/many/seed_1").out


@pytest.mark.slow
def test_a_failed_trial_is_reported_at_the_end_with_status_1(galab: Any, group: Any) -> None:
    group()
    (Path("runs/many/seed_1") / "founders.pkl").write_bytes(b"damaged")
    said = galab("resume", "runs/many", "--generations", 7, "--jobs", 1, "-q", code=1)
    assert "runs/many/seed_1 failed: " in said.err
    assert "founders.pkl" in said.err
    assert "2 of 3 trials finished" in said.out
    assert "galab resume runs/many" in said.out
    assert [len(read_log(Path(f"runs/many/seed_{seed}/log.jsonl"))) for seed in range(3)] == [7, 5, 7]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--seeds", "0-2", "--seed", "3"], "expected --seed or --seeds, got both (3 and 0-2)"),
        (["--seeds", "x"], "expected --seeds as whole numbers, got 'x'"),
        (["--jobs", "2"], "expected --jobs with --seeds"),
        (["--seeds", "1", "--jobs", "0"], "expected --jobs of at least 1, got 0"),
    ],
)
def test_refused_in_a_sentence(sentence: Any, flags: list[str], words: str) -> None:
    assert words in sentence("run", "--task", "digits", *flags, code=2)
    assert not Path("runs").exists()


@pytest.mark.slow
def test_a_flag_of_a_sweep_need_not_mean_something_in_every_cell(galab: Any) -> None:
    galab(*SWEEP, "--grid", "selection=truncation,tournament", "--tournament", 3, "--seeds", "0", "--name", "choose")
    values = {}
    for name in ("truncation", "tournament"):
        path = Path("runs/choose") / f"selection={name}" / "seed_0" / "config.json"
        values[name] = json.loads(path.read_text())["hyperparameters"]["tournament"]
    assert values == {"truncation": 2, "tournament": 3}


def test_a_sweep_and_the_comparison_that_it_proposes(galab: Any) -> None:
    sweep = [*SWEEP, "--grid", "children=6,9", "--seeds", "0-2"]
    said = galab(*sweep)
    assert "galab compare runs/digits-sweep --by children" in said.out
    assert "children=9: median validation accuracy" in said.out
    assert galab(*sweep).out == said.out
    compared = galab("compare", "runs/digits-sweep", "--by", "children").out
    for words in ("children 6", "children 9", "validation_accuracy, measured on validation data of digits",
                  "Mann-Whitney: U = ", "figure: runs/digits-sweep/compare.png"):  # fmt: skip
        assert words in compared, words
    assert Path("runs/digits-sweep/compare.png").read_bytes().startswith(b"\x89PNG")
    assert galab("show", "runs/digits-sweep").out.startswith("runs/digits-sweep: 2 configurations with 6 trials in all")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--grid", "children=1,6"], "got 1 of 2 that are not (children=1: expected --children plus"),
        (["--grid", "childen=1"], "Did you mean 'children'?"),
        (["--grid", "sigma=0.1", "--sigma", "0.2"], "expected 'sigma' in --grid or as a flag, got both"),
        (["--grid", "sigma=0.1", "--seed", "2"], "expected --seeds for the seeds of a sweep"),
    ],
)
def test_sweeps_that_are_refused(sentence: Any, flags: list[str], words: str) -> None:
    assert words in sentence(*SWEEP, *flags, code=2)
    assert not Path("runs").exists()


@pytest.mark.slow
def test_compare_as_json_and_csv_at_equal_evaluations(galab: Any, group: Any) -> None:
    group("few", "0-3")
    group("more", "0-3", "--children", 9)
    answer = json.loads(galab("compare", "runs/few", "runs/more", "-f", "json").out)
    last = answer["budgets"][-1]
    assert last["evaluations"] == 960  # the smaller of the final numbers: 6 or 9 children, 5 generations, 32 images
    few = [metric(Path(f"runs/few/seed_{seed}")) for seed in range(4)]
    more = [read_log(Path(f"runs/more/seed_{seed}/log.jsonl"))[1]["validation_accuracy"] for seed in range(4)]
    expected = [median_interval(few), median_interval(more)]
    assert [row["group"] for row in last["groups"]] == ["runs/few", "runs/more"]
    for row, interval in zip(last["groups"], expected, strict=True):
        assert row["seeds"] == 4
        assert (row["median"], row["low"], row["high"]) == (interval.median, interval.low, interval.high)
    best, other = (more, few) if expected[1].median > expected[0].median else (few, more)
    assert last["test"]["p"] == mann_whitney(best, other).p
    assert answer["measured_on"] == "validation data"
    rows = list(csv.DictReader(io.StringIO(galab("compare", "runs/few", "runs/more", "-f", "csv").out)))
    assert [float(row["median"]) for row in rows[-2:]] == [interval.median for interval in expected]
    assert {row["metric"] for row in rows} == {"validation_accuracy"}


@pytest.mark.slow
def test_compare_more_than_two_groups_and_one_with_a_single_run(galab: Any, group: Any, evolve: Any) -> None:
    for name, children in (("a", 6), ("b", 7), ("c", 8)):
        group(name, "0-2", "--children", children)
    three = galab("compare", "runs", "--by", "children", "--metric", "test_loss", "--at", "600,900").out
    assert three.count("Kruskal-Wallis: H = ") == 2
    assert "test_loss, measured on test data" in three
    assert "at 600 evaluations" in three
    single = evolve("single", "--sigma", 0.05)  # as many evaluations as the others, so its last value is compared
    alone = galab("compare", single, "runs/a", "--figure", "pictures/x.svg").out
    assert "no test is possible: one run only in runs/single" in alone
    assert f"{metric(single):.4f}" in alone
    assert Path("pictures/x.svg").exists()


def test_comparisons_that_are_refused(galab: Any, sentence: Any, evolve: Any) -> None:
    run = evolve()
    assert "at 1,000,000 evaluations, got none; they have values from 384 to 960" in sentence(
        "compare", run, "--at", "1e6", code=2
    )
    assert "got 'many'" in sentence("compare", run, "--at", "many", code=2)
    assert "no hyperparameter is called 'x'" in sentence("compare", run, "--by", "x", code=2)
    assert "found none" in sentence("compare", "runs/nowhere")
    assert "such as compare.png" in sentence("compare", run, "--figure", "a.nonsense", code=2)
    galab("run", *FLAGS, "--name", "g", "--seeds", "1")
    assert "got the group 'runs/g'" in sentence("evaluate", "runs/g")
