"""Any configuration either runs, continues exactly and is verified, or is refused at the start in one sentence.

GALAB_EXAMPLES is how many configurations are drawn.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from lab_outcome import outcome

from galab.config import RunConfig
from galab.config.fields import CLUSTER, EVALUATION, MUTATION, POPULATION
from galab.config.registry import Registry
from galab.errors import UsageError
from galab.saved_runs.export import export, read_genome
from galab.saved_runs.saved_run import open_saved
from galab.saved_runs.verify import verify
from galab.storage.run_folder import RunFolder
from galab.training.start_or_resume import resume, start

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("GALAB_EXAMPLES", "25"))
FIELDS = {
    item.name: item
    for item in dataclasses.fields(RunConfig)
    if item.metadata["group"] in (POPULATION, MUTATION, EVALUATION, CLUSTER)
}
#: Small values for every field whose values are not listed in its metadata.
VALUES: dict[str, list[Any]] = {
    "parents": [1, 2, 3, 4, 6],
    "children": [2, 5, 6, 9],
    "elites": [0, 1, 2, 3],
    "crossover_rate": [0.0, 0.5, 1.0],
    "parents_per_child": [None, 2, 3],
    "mate_choices": [1, 2, 4],
    "tournament": [1, 2, 4],
    "rank_pressure": [1.0, 1.5, 2.0],
    "niche_radius": [0.001, 0.1, 1.0],
    "niche_neighbours": [1, 2, 8],
    "diversity": [0.0, 0.5],
    "islands": [1, 2, 3],
    "migrate_every": [1, 2],
    "migrants": [0, 1, 2],
    "mutate": ["dense", "layer", "weights", "row", "low-rank", "normalised", "relative", "norm-preserving", "momentum",
               "dense:0.8,layer:0.2", "dense,momentum,low-rank", "row:1,weights:2", "flip"],
    "bounds": [None, "-0.3:0.5", "-2:3"],
    "weight_range": [128.0, 16.0, 1024.0],
    "mutate_count": [1, 5],
    "mutate_rank": [1, 2],
    "momentum": [0.0, 0.9, 1.0],
    "distribution": ["normal", "laplace", "uniform", "sign", "cauchy", "scipy:t(df=5)"],
    "sigma": [2**-20, 0.01, 0.3, 2.0],
    "sigma_factors": [None, "1,0.5", "2", "0.001,1"],
    "step_size_rate": [None, 0.0, 0.3, 8.0],
    "step_size_down": [None, 0.0, 0.1],
    "step_size_reversion": [0.0, 0.01, 0.05],
    "step_size_groups": [2, 3, 8],
    "sigma_schedule": [None, "0:0.02", "0:0.02,2:0.001,9:0.5"],
    "sigma_floor": [None, 2**-24, 0.005],
    "sigma_ceiling": [0.4, 8.0],
    "floor_rms": [None, 0.01],
    "ceiling_rms": [None, 0.005, 1.0],
    "sigma_only": [0, 1, 2],
    "sigma_search": [0, 1, 2],
    "fitness": ["cross-entropy", "accuracy", "wrong,cross-entropy", "sampled-accuracy", "improvement",
                "improvement:wrong,expected-accuracy", "inherited:accuracy", "inherited:wrong,cross-entropy"],
    "norm_penalty": [0.0, 0.1],
    "batch": [0, 16],
    "inheritance": [0.0, 0.8, 1.0],
    "device": ["auto", "cpu"],
    "chunk": [0, 1, 4],
    "threads": [1, 2],
    "workers": [0, 0, 0, 1],  # starting processes takes seconds
    "executor": ["processes"],  # and a cluster more: tests/training/test_ray_workers.py
    "address": [None, "local", "nowhere"],
    "worker_cpus": [None, 1.0],
    "worker_gpus": [None, 0.0, 0.5],
    "price_per_hour": [None, 0.0, 2.5],
    "compile": ["auto", "off"],  # as compiling does
    "cache_mb": [1, 256],
}  # fmt: skip
#: What is not drawn, or not drawn this time.
COMMON: dict[str, Any] = {
    "hidden": "3", "seed": 5, "threads": 1, "batch": 16, "parents": 4, "children": 8,
    "save_every": 1, "report_every": 2, "keep": "all",
}  # fmt: skip


def values_of(name: str) -> list[Any]:
    """What is drawn for a field: what stands above, its choices, or the smallest values that a number may have."""
    if name in VALUES:
        return VALUES[name]
    item = FIELDS[name]
    choices = item.metadata["choices"]
    words = choices.names() if isinstance(choices, Registry) else choices
    if words is None:
        low = item.metadata["low"]
        assert low is not None, f"add small values of '{name}' to VALUES"
        words = [low, low + 1] if item.metadata["high"] is None else [low, item.metadata["high"]]
    return [*([None] if item.default is None else []), *words]


@st.composite
def hyperparameters(draw: st.DrawFn) -> dict[str, Any]:
    """Some fields away from their defaults; mostly those are left out that are refused together."""
    names = draw(st.lists(st.sampled_from(list(FIELDS)), max_size=18, unique=True))
    values = {name: draw(st.sampled_from(values_of(name))) for name in names}
    if draw(st.integers(0, 4)):
        while refusal(values):
            values.pop(next(iter(values)))
    return values


def refusal(values: dict[str, Any]) -> str:
    """The sentence that a configuration is refused with, if it is."""
    try:
        RunConfig(**COMMON | values)
    except UsageError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three clouds of points."""
    path = tmp_path_factory.mktemp("task") / "points.py"
    path.write_text(
        "import numpy as np\nfrom galab.tasks import Classification\n"
        "def points():\n"
        "    random = np.random.default_rng(0)\n"
        "    y = random.integers(0, 3, 90)\n"
        "    x = random.normal(0, 1, (90, 3)) + 2 * np.eye(3)[y]\n"
        "    parts = [(x[a:b], y[a:b]) for a, b in ((0, 40), (40, 60), (60, 90))]\n"
        "    return Classification(name='points', train=parts[0], validation=parts[1], test=parts[2], classes=3)\n"
    )
    return f"{path}:points"


def test_every_hyperparameter_is_drawn() -> None:
    for name in FIELDS:
        assert len(set(map(repr, values_of(name)))) > 1 or name == "executor", name
    assert set(VALUES) <= set(FIELDS)


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(hyperparameters())
def test_it_runs_continues_exactly_and_is_verified_or_is_refused_in_one_sentence(
    task: str, changes: dict[str, Any]
) -> None:
    root = Path(tempfile.mkdtemp())
    try:
        event(check(root, task, changes))
    finally:
        shutil.rmtree(root)


def check(root: Path, task: str, changes: dict[str, Any]) -> str:
    """The property, for one configuration; whether it ran or was refused."""

    def begin(name: str, generations: int) -> Path:
        start(RunConfig(**COMMON | changes | {"task": task, "generations": generations}), name=name, runs=root)
        return root / name

    said = ""
    try:
        unbroken = begin("unbroken", 3)
    except UsageError as error:
        said = str(error)
    if said:
        assert re.fullmatch(r"expected [^\n]+ got [^\n]+; [^\n]+", said), said
        assert list(root.iterdir()) == []
        return "refused"
    broken = begin("broken", 2)
    resume(broken, {"generations": 3})
    assert outcome(broken) == outcome(unbroken)
    verdicts = verify(RunFolder(unbroken))
    assert [verdict.generation for verdict in verdicts] == [0, 1, 2, 3]
    assert all(verdict.good for verdict in verdicts)
    saved = open_saved(unbroken)
    export(saved, "genome", root / "genome.json")
    assert (read_genome(root / "genome.json")[1].weights == saved.member().weights).all()
    return "runs"


def test_the_property_can_fail(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that forgets something when it is resumed is found."""
    from galab.strategies.reproduction import Reproduction

    monkeypatch.setattr(Reproduction, "load_state_dict", lambda self, state, parents: None)
    with pytest.raises(AssertionError):
        check(tmp_path, task, {"step_size": "one-fifth"})
