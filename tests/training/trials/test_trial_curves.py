"""Runs read for a comparison: who is in which group, and what was measured when."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from galab.errors import RunFolderError, UsageError
from galab.storage.log import read_log
from galab.training.trials.curves import read_curves


@pytest.mark.slow
def test_groups_by_hyperparameter_and_by_argument(evolve: Any, tmp_path: Path) -> None:
    a, b, c = evolve("a"), evolve("b", children=7), evolve("c", children=7, seed=6)
    by = read_curves([tmp_path], by=["children"])
    assert by.groups == ["children 6", "children 7"]
    assert [(curve.group, curve.path.name) for curve in by.curves] == [
        ("children 6", "a"), ("children 7", "b"), ("children 7", "c"),
    ]  # fmt: skip
    assert read_curves([a, b, c], by=["children", "--seed"]).groups == [
        "children 6, seed 5", "children 7, seed 5", "children 7, seed 6",
    ]  # fmt: skip
    assert read_curves([a, c]).groups == [str(a), str(c)]
    assert len(read_curves([tmp_path, a]).curves) == 3  # nobody counts twice


def test_labels_have_as_many_digits_as_keep_groups_apart(evolve: Any, tmp_path: Path) -> None:
    for name, sigma in (("a", 0.05), ("b", 0.02)):
        evolve(name, sigma=sigma)
    assert read_curves([tmp_path], by=["sigma"]).groups == ["sigma 0.05", "sigma 0.02"]
    evolve("c", sigma=0.0203)
    assert read_curves([tmp_path], by=["sigma"]).groups == ["sigma 0.05006", "sigma 0.01999", "sigma 0.02032"]


def test_a_curve_is_what_the_log_says_and_ends_with_the_champion(evolve: Any) -> None:
    run = evolve()
    log = read_log(run / "log.jsonl")
    (curve,) = read_curves([run]).curves
    reports = [line for line in log if "champion" in line]
    assert [line["generation"] for line in reports] == [2, 4]
    result = json.loads((run / "status.json").read_text())["result"]
    assert curve.places.tolist() == [line["evaluations"] for line in (*reports, log[-1])]
    assert curve.values.tolist() == [*(line["validation_accuracy"] for line in reports), result["validation_accuracy"]]
    (every,) = read_curves([run], metric="fitness_best").curves
    assert every.values.tolist() == [line["fitness_best"] for line in log]


def test_a_run_without_a_measurement_is_left_out(evolve: Any) -> None:
    begun, measured = evolve("begun"), evolve("measured")
    (begun / "log.jsonl").write_text("")
    found = read_curves([begun, measured])
    assert [curve.path for curve in found.curves] == [measured]
    assert found.left_out == (begun,)


def test_refusals(evolve: Any, clouds: Any, tmp_path: Path) -> None:
    run = evolve()
    with pytest.raises(UsageError, match="Did you mean 'children'"):
        read_curves([run], by=["childen"])
    with pytest.raises(UsageError, match="Did you mean 'validation_accuracy'.* They have measured: generation, "):
        read_curves([run], metric="validation_acuracy")
    with pytest.raises(RunFolderError, match="found none"):
        read_curves([tmp_path / "nowhere"])
    other = evolve("other", task=clouds("return loss"))
    with pytest.raises(UsageError, match=r"runs on the same data, got '.*first' on digits.*'.*other' on clouds"):
        read_curves([run, other])
