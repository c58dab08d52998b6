"""Evolution strategies on the command line: what is said of them is about them, and not about genomes."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

EVOLUTION = [
    "--task", "digits", "--hidden", "4", "--batch", "32", "--strategy", "eggroll", "--population", "8", "--seed", "5",
    "--threads", "1", "--generations", "4", "--save-every", "2", "--report-every", "2",
]  # fmt: skip


@pytest.fixture
def climb(galab: Any) -> Any:
    """Makes a small run of an evolution strategy."""

    def make(name: str = "es", *flags: Any) -> Path:
        galab("run", *EVOLUTION, "--name", name, "-q", *flags)
        return Path("runs") / name

    return make


@pytest.mark.slow
def test_a_run_says_who_searches(galab: Any) -> None:
    said = galab("run", *EVOLUTION, "--name", "es", "--lr", 0.25, "--optimizer", "adam")
    words = "eggroll, population 8 in pairs where they are worth it, rank 1, sigma 0.02, adam with lr 0.25"
    assert words in said.err
    assert "4 generations done: generation 4, 1,024 evaluations (members x examples)" in said.out
    assert "centre of generation 4: test accuracy" in said.out
    for text in said:
        assert not re.search("parents|child|champion", text)
    dense = galab("run", *EVOLUTION, "--strategy", "openai-es", "--pairs", "one-sided")
    assert "openai-es, population 8 one-sided, full-rank noise" in dense.err


def test_show_says_what_an_evolution_strategy_has(galab: Any, climb: Any) -> None:
    shown = galab("show", climb()).out
    for word in ("* population       8", "  rank ", "  sigma ", "estimate_cosine", "weights_norm", "learning_rate",
                 "centre of generation 4: validation_loss", "score log: 4 updates in 0.2 kB; with the seed, 5,",
                 "evaluations (members x examples)"):  # fmt: skip
        assert word in shown, word
    for word in ("children", "crossover", "mutate", "step_size_", "seed chain", "champion"):
        assert word not in shown, word
    content = json.loads(galab("show", "runs/es", "-f", "json").out)
    assert content["score_log"] == {"updates": 4, "bytes": (Path("runs/es") / "scores.bin").stat().st_size}
    assert "seed_chain" not in content
    older = json.loads(galab("show", "runs/es/checkpoints/gen_000002.pkl", "-f", "json").out)
    assert older["score_log"]["updates"] == 2


def test_show_of_a_genetic_algorithm_hides_evolution_strategies(galab: Any, evolve: Any) -> None:
    shown = galab("show", evolve()).out
    assert re.search(r"\* children +6", shown)
    assert not re.search(r"^ [ *] (population|rank|lr|optimizer|shaping) ", shown, re.MULTILINE)


def test_list_has_a_population_or_children(galab: Any, climb: Any, evolve: Any) -> None:
    climb("es")
    evolve("ga")
    es, ga = csv.DictReader(io.StringIO(galab("list", "-f", "csv").out))
    assert (es["strategy"], es["population"], es["children"], es["parents"]) == ("eggroll", "8", "", "")
    assert (ga["strategy"], ga["population"], ga["children"], ga["parents"]) == ("ga", "", "6", "3")
    assert "eggroll" in galab("list").out


@pytest.mark.slow
def test_strategies_are_compared_by_evaluations(galab: Any, climb: Any, evolve: Any) -> None:
    runs = climb("es"), evolve("ga")
    content = json.loads(galab("compare", *runs, "--at", 512, "-f", "json").out)
    assert [row["group"] for row in content["budgets"][0]["groups"]] == [str(run) for run in runs]
    assert "equal evaluations (members x examples)" in galab("compare", *runs, "--by", "strategy").out
    cosine = json.loads(galab("compare", runs[0], "--metric", "estimate_cosine", "-f", "json").out)
    assert cosine["metric"] == "estimate_cosine"


def test_the_centre_is_evaluated_and_exported(galab: Any, climb: Any) -> None:
    run = climb()
    found = json.loads(galab("evaluate", run, "-f", "json").out)
    assert found["member"] == "centre"
    assert "birth" not in found
    galab("export", run, "--to", "torch", "-o", "centre.pt")
    assert torch.load("centre.pt")["output.weight"].shape == (10, 4)


@pytest.mark.slow
def test_many_seeds_and_a_sweep(galab: Any) -> None:
    flags = [flag for flag in EVOLUTION if flag not in ("--seed", "5")]
    assert "2 of 2 trials finished" in galab("run", *flags, "--seeds", "0-1", "--jobs", 1, "--name", "many").out
    swept = galab("sweep", "--grid", "lr=0.1,0.2", "--seeds", "0", *flags, "--jobs", 1, "--name", "swept").out
    assert "compare runs/swept --by lr" in swept


@pytest.mark.slow
def test_a_run_from_another_kind_of_run(galab: Any, climb: Any, evolve: Any) -> None:
    es, ga = climb("es"), evolve("ga", "--survival", "plus")
    short = ["--generations", 2, "--threads", 1, "-q", "--name"]
    galab("run", "--from", ga, "--strategy", "eggroll", "--population", 4, *short, "es-from-ga")
    galab("run", "--from", es, *short, "es-from-es")
    galab("run", "--from", es, "--strategy", "ga", *short, "ga-from-es")
    values = {run: json.loads(Path(f"runs/{run}/config.json").read_text())["hyperparameters"]
              for run in ("es-from-ga", "es-from-es", "ga-from-es")}  # fmt: skip
    assert [one["strategy"] for one in values.values()] == ["eggroll", "eggroll", "ga"]
    assert (values["es-from-es"]["population"], values["es-from-ga"]["hidden"]) == (8, "4")


def test_tensorboard_has_the_hyperparameters_of_its_strategy_and_tags_for_the_estimate(climb: Any) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    run = climb()
    found = EventAccumulator(str(run)).Reload()
    tags = found.Tags()["scalars"]
    assert {"estimate/norm", "estimate/cosine", "estimate/cosine_predicted", "weights/norm"} <= set(tags)
    content = found.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    start = HParamsPluginData.FromString(content).session_start_info
    assert start.hparams["population"].number_value == 8
    assert "children" not in start.hparams
    spent = EventAccumulator(str(run / "by_evaluations")).Reload().Tags()["scalars"]
    assert "by_evaluations/estimate_cosine" in spent
    assert "by_evaluations/estimate_norm" not in spent


DOCTOR = ["--task", "linear-regression", "--model", "linear", "--population", "64", "--batch", "32", "--threads", "1",
          "--budget", "2"]  # fmt: skip


def test_doctor_fits_into_80_columns_and_writes_nothing(galab: Any) -> None:
    said = galab("doctor", "es", *DOCTOR)
    assert all(len(line) <= 80 for line in said.out.splitlines())
    for word in ("eggroll, population 64, pairs auto, rank 1", "pairs at each sigma", "estimate ", "measured ", "lr "):
        assert word in " ".join(said.out.split("\n")), word
    assert list(Path().iterdir()) == []


def test_doctor_as_json_and_csv(galab: Any) -> None:
    content = json.loads(galab("doctor", "es", *DOCTOR, "--strategy", "openai-es", "-f", "json").out)
    assert (content["strategy"], content["rank"], content["parameters"]) == ("openai-es", None, 1024)
    assert content["cosine_measured"]
    rows = list(csv.DictReader(io.StringIO(galab("doctor", "es", *DOCTOR, "--sigma", 0.1, "-f", "csv").out)))
    assert [float(row["sigma"]) for row in rows] == pytest.approx([0.025, 0.05, 0.1, 0.2, 0.4])


@pytest.mark.slow
def test_doctor_looks_at_the_machine_as_before_and_at_another_runs_weights(
    galab: Any, climb: Any, evolve: Any, sentence: Any
) -> None:
    assert json.loads(galab("doctor", "-f", "json").out)[0]["what"] == "galab"
    runs = climb("es", "--strategy", "openai-es"), evolve("ga")
    found = [json.loads(galab("doctor", "es", "--from", run, "--budget", 1, "-f", "json").out) for run in runs]
    assert [one["strategy"] for one in found] == ["openai-es", "eggroll"]
    assert "expected no --children with --strategy eggroll" in sentence("doctor", "es", "--children", 9, code=2)
