"""Rows and their verdicts, the order in which sides take turns, the file of results, and the command's flags."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
NOW = {"measured": "2026-11-22T08:00+00:00", "machine": {"summary": "a new machine"}}
BEFORE = {"measured": "2026-11-21T08:00+00:00", "machine": {"summary": "an old machine"}}


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module


@pytest.fixture
def timing(module):
    return module("timing")


@pytest.fixture
def results(module):
    return module("results")


@pytest.mark.parametrize(
    ("value", "bar", "kind", "verdict"),
    [
        (2.0, 2.0, "most", "kept"),
        (2.1, 2.0, "most", "missed"),
        (2.0, 2.0, "least", "kept"),
        (1.9, 2.0, "least", "missed"),
        (1.9, None, "least", ""),
        (None, 2.0, "least", "not measurable"),
        (None, None, "most", "not measurable"),
    ],
)
def test_a_row_is_judged_by_its_side_of_the_bar(timing, value, bar, kind, verdict):
    row = timing.Row("speed", value, "x", bar, kind)
    assert row.verdict == verdict
    assert row.to_dict()["verdict"] == verdict


def test_what_cannot_be_measured_is_neither_kept_nor_missed(timing):
    bars = [(1.0, 2.0), (3.0, 2.0), (None, 2.0), (None, None), (5.0, None)]
    rows = [timing.Row("time", value, "ms", bar) for value, bar in bars]
    assert timing.tally(rows) == {"kept": 1, "missed": 1, "not measurable": 1}


def test_a_ratio_without_one_of_its_figures_says_why(timing):
    assert timing.ratio_row("speed", 6.0, 2.0, 2.5).value == 3.0
    for above, below in ((None, 2.0), (6.0, None)):
        row = timing.ratio_row("speed", above, below, 2.5, reason="no such units")
        assert (row.value, row.reason, row.verdict) == (None, "no such units", "not measurable")


def test_sides_take_turns_and_the_first_round_does_not_count(timing):
    order = []

    def side(name, answers):
        answers = iter(answers)

        def call():
            order.append(name)
            return next(answers)

        return call

    # Floats are milliseconds that were measured elsewhere.
    times = timing.interleaved({"a": side("a", [99.0, 1.0, 5.0, 2.0]), "b": side("b", [0.0, 7.0, 7.0, 8.0])}, 3)
    assert order == ["a", "b"] * 4
    assert times == {"a": 2.0, "b": 7.0}


def test_a_side_that_answers_nothing_is_timed_here(timing):
    assert timing.interleaved({"a": lambda: None}, 1)["a"] >= 0


def test_the_table_shows_bars_and_reasons(timing):
    rows = [
        timing.Row("speed", 3.14159, "x", 2.0, "least"),
        timing.Row("time", 12345.6, "ms", 10_000),
        timing.Row("share", None, "%", 45.0, "least", "no bfloat16 units"),
        timing.Row("peak", 96.0, "GFLOP/s"),
    ]
    assert timing.table(rows).splitlines()[2:] == [
        "| speed | 3.14 x | at least 2 x | kept |",
        "| time | 12,346 ms | at most 10000 ms | MISSED |",
        "| share |  | at least 45 % | not measurable: no bfloat16 units |",
        "| peak | 96 GFLOP/s |  |  |",
    ]


def saved(results, timing, *groups):
    rows = []
    for group, values in groups:
        rows = results.updated(rows, group, [timing.Row(*value) for value in values], BEFORE)
    return rows


def whats(rows):
    return [(row["group"], row["what"], row["value"], row["machine"]["summary"]) for row in rows]


def test_a_group_is_replaced_where_it_was_and_others_stay(results, timing):
    rows = saved(results, timing, ("one", [("a", 1.0, "ms"), ("old", 2.0, "ms")]), ("two", [("b", 3.0, "ms")]))
    rows = results.updated(rows, "one", [timing.Row("a", 4.0, "ms"), timing.Row("new", 5.0, "ms")], NOW)
    assert whats(rows) == [
        ("one", "a", 4.0, "a new machine"),
        ("one", "new", 5.0, "a new machine"),
        ("two", "b", 3.0, "an old machine"),
    ]


def test_a_figure_stays_where_it_cannot_be_measured_again_and_meets_the_new_bar(results, timing):
    rows = saved(results, timing, ("one", [("a", 3.0, "x", 2.0, "least")]))
    nothing = [timing.Row(what, None, "x", 4.0, "least", "no such units") for what in ("a", "b")]
    first, second = results.updated(rows, "one", nothing, NOW)
    assert (first["value"], first["verdict"], first["machine"]) == (3.0, "missed", BEFORE["machine"])
    assert first["measured"] == BEFORE["measured"]
    assert (second["value"], second["verdict"], second["machine"]) == (None, "not measurable", NOW["machine"])


def test_results_come_back_from_the_file_and_become_tables(results, timing, tmp_path):
    path = tmp_path / "results.json"
    assert results.read(path) == []
    rows = saved(results, timing, ("one", [("a", 1.0, "ms")]), ("two", [("b", 3.0, "ms")]))
    rows = results.updated(rows, "two", [timing.Row("b", 4.0, "ms")], NOW)
    results.write(path, rows)
    assert results.read(path) == rows
    text = results.markdown(rows, {"one": "Both", "two": "Both"})
    assert text.count("### Both") == 2  # two machines
    assert "2026-11-22, a new machine." in text
    assert "| b | 4 ms |" in text


def test_flags_choose_groups_and_ga_is_all_of_its_sizes(module, capsys):
    run = module("run")
    assert run.parser().parse_args([]).only == list(run.GROUPS)
    chosen = run.parser().parse_args(["--only", "history,ga,eggroll-256"]).only
    assert chosen == ["history", "ga-60000", "ga-4096", "ga-512", "eggroll-256"]
    with pytest.raises(SystemExit):
        run.parser().parse_args(["--only", "genetics"])
    assert "expected groups of help, ga-60000" in capsys.readouterr().err


def test_every_group_names_a_function_that_exists(module):
    # By their source: importing them takes seconds.
    for group in module("run").GROUPS.values():
        sized = "rounds: int, " if group.size else "rounds: int)"
        assert f"def {group.function}({sized}" in (BENCH / f"{group.module}.py").read_text()


@pytest.mark.parametrize("units", [True, False])
def test_only_what_is_missing_for_want_of_units_leaves_the_command_well(module, timing, monkeypatch, tmp_path, units):
    run, machine = module("run"), module("machine")
    monkeypatch.setattr(machine, "described", lambda cores: {"summary": f"{cores} cores"})
    monkeypatch.setattr(machine, "use_cores", lambda count: 2)
    monkeypatch.setattr(machine, "use_clock", lambda kind: None)
    value = 1.0 if units else None
    monkeypatch.setattr(run, "measure", lambda group, rounds: [timing.Row("a", value, "x", 2.0, "least", "no units")])
    path = tmp_path / "results.json"
    assert run.main(["--only", "help", "--results", str(path)]) == (1 if units else 0)
    row = json.loads(path.read_text())["rows"][0]
    assert row["verdict"] == ("missed" if units else "not measurable")
    assert "| a |" in path.with_suffix(".md").read_text()


def test_processor_time_of_several_cores_is_refused(module, monkeypatch, tmp_path):
    run = module("run")
    monkeypatch.setattr(module("machine"), "use_cores", lambda count: 2)
    with pytest.raises(SystemExit, match="expected --cores 1 with --clock processor"):
        run.main(["--clock", "processor", "--results", str(tmp_path / "results.json")])


@pytest.mark.parametrize(("kind", "function"), [("wall", "perf_counter"), ("processor", "process_time")])
def test_both_sides_read_the_clock_that_was_asked_for(module, monkeypatch, kind, function):
    clock = module("peers.clock")
    monkeypatch.setenv(clock.VARIABLE, kind)
    monkeypatch.setattr(clock.time, function, lambda: -1.0)
    assert clock.now() == -1.0
