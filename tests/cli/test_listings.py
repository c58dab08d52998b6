"""``list``, ``show``, ``evaluate``, ``verify``, ``tasks``, ``models``, ``doctor``: tables, JSON and CSV."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from galab.cli.inspect import sparkline
from galab.config.registry import MODELS, TASKS
from galab.storage.log import read_log


def rows_of(text: str, style: str) -> list[dict[str, Any]]:
    if style == "csv":
        return list(csv.DictReader(io.StringIO(text)))
    value = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("style", ["json", "csv"])
def test_list(galab: Any, evolve: Any, style: str) -> None:
    evolve("first")
    evolve("second", "--children", 9)
    first, second = rows_of(galab("list", "-f", style).out, style)
    assert (first["run"], second["run"]) == ("first", "second")
    assert (str(first["children"]), str(second["children"])) == ("6", "9")
    assert first["state"] == "finished"
    assert 0 < float(first["test_accuracy"]) < 1


def test_list_as_a_table_and_of_another_folder(galab: Any, evolve: Any) -> None:
    assert galab("list").out == "no runs in 'runs'; `galab run` makes one\n"
    assert json.loads(galab("list", "-f", "json").out) == []
    evolve("first")
    evolve("elsewhere", "--runs", "other")
    table = galab("list").out
    assert "first" in table
    assert "elsewhere" not in table
    assert "elsewhere" in galab("list", "--runs", "other").out
    assert "\x1b" not in table


@pytest.mark.slow
def test_list_tells_killed_and_new_runs_apart_and_survives_a_damaged_one(galab: Any, evolve: Any) -> None:
    killed, damaged, new = evolve("killed"), evolve("damaged"), evolve("new")
    status = json.loads((killed / "status.json").read_text())
    (killed / "status.json").write_text(json.dumps(status | {"state": "running", "result": {}}))
    (damaged / "config.json").write_text("{")
    (new / "status.json").unlink()
    said = galab("list", "-f", "json")
    rows = {row["run"]: row for row in json.loads(said.out)}
    assert all(row["state"] == name for name, row in rows.items())
    assert len(rows) == 3
    assert rows["killed"]["test_accuracy"] is not None  # of the last report
    assert "config.json" in said.err
    assert "damaged" in galab("list").out


def test_show(galab: Any, evolve: Any) -> None:
    run = evolve("first", "--crossover", "none")
    shown = galab("show", run).out
    for word in ("first: digits, the embedded", "generation 5", "checkpoints at 0, 2, 4, 5", "* hidden", "fitness_best",
                 "test_accuracy", "champion", "seed chain, 6 births from founder to champion"):  # fmt: skip
        assert word in shown, word
    content = json.loads(galab("show", run, "-f", "json").out)
    assert content["generation"] == 5
    assert content["checkpoints"] == [0, 2, 4, 5]
    assert content["hyperparameters"]["children"] == 6
    chain = content["seed_chain"]
    assert [birth["generation"] for birth in chain] == [0, 1, 2, 3, 4, 5]
    assert [birth["parents"] for birth in chain[1:]] == [[birth["birth"]] for birth in chain[:-1]]
    assert chain[-1]["birth"] == content["champion"]["id"]
    log = rows_of(galab("show", run, "-f", "csv").out, "csv")
    assert [int(line["generation"]) for line in log] == [1, 2, 3, 4, 5]


def test_show_a_long_chain_by_its_ends_or_in_full(galab: Any, evolve: Any) -> None:
    run = evolve("long", "--generations", 12, "--crossover", "none")
    assert "..." in galab("show", run).out
    full = galab("show", run, "--full").out
    assert "..." not in full
    assert full.count("  generation ") == 13


def test_show_the_lineage_of_a_child_of_two_parents(galab: Any, evolve: Any) -> None:
    run = evolve("two", "--crossover", "row")
    chain = json.loads(galab("show", run, "-f", "json").out)["seed_chain"]
    shown = galab("show", run, "--full").out
    assert f"lineage, {len(chain)} births from the founders to champion" in shown
    assert len(chain[-1]["parents"]) == 2
    assert f" of {' and '.join(map(str, chain[-1]['parents']))}" in shown
    assert "seed chain" not in shown


def test_show_an_older_checkpoint_and_a_lone_one(galab: Any, evolve: Any, tmp_path: Path) -> None:
    run = evolve()
    older = galab("show", run / "checkpoints" / "gen_000002.pkl").out
    assert "generation 2," in older
    assert len(rows_of(galab("show", run / "checkpoints" / "gen_000002.pkl", "-f", "csv").out, "csv")) == 2
    (tmp_path / "lone.pkl").write_bytes((run / "checkpoints" / "gen_000002.pkl").read_bytes())
    assert "seed chain: not at hand" in galab("show", "lone.pkl").out


@pytest.mark.parametrize("style", ["json", "csv"])
def test_evaluate(galab: Any, evolve: Any, style: str) -> None:
    run = evolve("first", "--generations", 4)
    last = read_log(run / "log.jsonl")[-1]
    (row,) = rows_of(galab("evaluate", run, "-f", style).out, style)
    assert float(row["test_accuracy"]) == last["test_accuracy"]
    assert float(row["test_loss"]) == last["test_loss"]
    assert int(row["birth"]) == last["champion"]
    assert int(row["evaluations"]) == last["evaluations"]


def test_evaluate_as_a_table_says_on_which_data(galab: Any, evolve: Any) -> None:
    run = evolve()
    shown = galab("evaluate", run).out
    for word in ("test accuracy", "evaluations", "digits, the embedded 1,797 images", "examples", "270"):
        assert word in shown
    assert "validation accuracy" in galab("evaluate", run, "--split", "validation").out
    assert json.loads(galab("evaluate", run, "--member", 2, "-f", "json").out)["member"] == 2


def test_verify(galab: Any, evolve: Any) -> None:
    run = evolve()
    assert "every checkpoint follows from its seeds" in galab("verify", run).out
    rows = json.loads(galab("verify", run, "-f", "json").out)
    assert [(row["generation"], row["identical"], row["lineage"]) for row in rows] == [
        (generation, 3, "whole") for generation in (0, 2, 4, 5)
    ]
    (run / "lineage.bin").write_bytes((run / "lineage.bin").read_bytes()[:72])
    said = galab("verify", run, code=1)
    assert "a checkpoint does not follow from its seeds" in said.out
    assert json.loads(galab("verify", run, "-f", "json", code=1).out)[0]["lineage"] == "changed"


@pytest.mark.parametrize("style", ["json", "csv"])
@pytest.mark.parametrize(("command", "registry"), [("tasks", TASKS), ("models", MODELS)])
def test_catalogues(galab: Any, style: str, command: str, registry: Any) -> None:
    rows = rows_of(galab(command, "-f", style).out, style)
    assert [row["name"] for row in rows] == registry.names()
    assert all(len(row["what"]) > 10 and "\n" not in row["what"] for row in rows)
    assert all(name in galab(command).out for name in registry.names())


@pytest.mark.parametrize("style", ["json", "csv"])
def test_doctor(galab: Any, style: str) -> None:
    rows = {row["what"]: row for row in rows_of(galab("doctor", "-f", style).out, style)}
    assert {"galab", "python", "numpy", "torch", "cpu", "cuda", "c++ compiler", "data: mnist"} <= set(rows)
    assert all(row["found"] and row["fine"] for row in rows.values())
    assert "GALAB_DATA" in galab("doctor").out


def test_doctor_names_what_is_wrong_instead_of_failing(
    galab: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GALAB_DATA", str(tmp_path / "absent"))
    rows = {row["what"]: row for row in json.loads(galab("doctor", "-f", "json").out)}
    assert f"expected a folder at '{tmp_path / 'absent'}' (GALAB_DATA)" in rows["GALAB_DATA"]["fine"]


def test_figures_that_are_no_numbers_are_valid_json(galab: Any, evolve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = evolve()
    monkeypatch.setattr("galab.training.champion.ChampionSelector.score", lambda *_: {"test_accuracy": float("nan")})
    assert rows_of(galab("evaluate", run, "-f", "json").out, "json")[0]["test_accuracy"] is None


@pytest.mark.slow
def test_show_draws_how_the_search_fares_and_repeats_its_warnings(galab: Any, evolve: Any) -> None:
    flags = ("--sigma", "8", "--step-size", "fixed", "--elites", "1", "--batch", "0", "--generations", "55")
    said = galab("show", evolve("stuck", *flags)).out
    for curve in ("selection_success_rate", "diversity_distance", "diversity_common_ancestor"):
        assert any(line.split()[:1] == [curve] for line in said.splitlines())
    _, _, warnings = said.partition("\nwarnings\n")
    assert "the best parent was born 50 generations ago" in warnings.split("\n\n")[0]
    assert "warnings" not in galab("show", evolve("well")).out


def test_curves_in_text() -> None:
    assert sparkline([1.0]) == "▁"
    assert sparkline([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]) == "▁▂▃▄▅▆▇█"
    assert len(sparkline([float(value) for value in range(1000)])) == 60
    assert sparkline([3.0] * 5) == "▁▁▁▁▁"


def test_show_and_config_json_agree_on_what_holds_after_a_resume(galab: Any, evolve: Any) -> None:
    run = evolve()
    assert "started" not in galab("show", run).out
    galab("resume", run, "--seconds", 0.001, "--save-every", 3, "-q")
    galab("resume", run, "--generations", 9, "-q")
    content = json.loads((run / "config.json").read_text())
    assert content["started_with"] == {"generations": 5, "save_every": 2}
    shown = json.loads(galab("show", run, "-f", "json").out)
    assert shown["hyperparameters"] == content["hyperparameters"]
    assert shown["started_with"] == content["started_with"]
    assert {name: content["hyperparameters"][name] for name in ("generations", "seconds", "save_every")} == {
        "generations": 9, "seconds": None, "save_every": 3,
    }  # fmt: skip
    lines = galab("show", run).out.splitlines()
    assert "  * generations      9  (5 when the run was started)" in lines
    assert "  * save_every       3  (2 when the run was started)" in lines
    galab("resume", run, "--seconds", 600, "--generations", 10, "-q")
    galab("resume", run, "--seconds", 0.001, "-q")
    lines = galab("show", run).out.splitlines()
    assert "    generations      -  (5 when the run was started)" in lines
    assert "  * seconds          0.0010  (- when the run was started)" in lines
    older = json.loads(galab("show", run / "checkpoints" / "gen_000002.pkl", "-f", "json").out)
    assert older["hyperparameters"]["generations"] == 5
    assert older["started_with"] == {}


def test_show_says_that_output_was_lost(galab: Any, evolve: Any) -> None:
    run = evolve()
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps(status | {"output": "standard error was lost"}))
    assert "output: standard error was lost" in galab("show", run).out.splitlines()
