"""Runs of memories: what they are scored by, what is logged of them, which memories change, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab_outcome import log_of, outcome
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from galab.config import RunConfig
from galab.errors import UsageError
from galab.saved_runs.saved_run import open_saved
from galab.training.build import build, network_and_task
from galab.training.resolve import resolve
from galab.training.start_or_resume import start

pytestmark = pytest.mark.usefixtures("one_thread", "no_waiting_for_the_disk")
COMMON: dict[str, Any] = {
    "task": "memorize(points=12, dims=16)", "model": "memory(heads=16)", "mutate": "memory-replace,memory-perturb",
    "sigma": 0.5, "step_size": "fixed", "parents": 4, "children": 12, "batch": 0, "fitness": "wrong", "seed": 3,
    "threads": 1, "report_every": 5, "precision": "float32",
}  # fmt: skip


def run(folder: Path, name: str = "run", **changes: Any) -> Path:
    start(RunConfig(**COMMON | {"generations": 10} | changes), name=name, runs=folder)
    return folder / name


def scored(**changes: Any) -> tuple[Any, Any, Any]:
    """An experiment, a cohort of its second generation and the scores."""
    config = resolve(RunConfig(**COMMON | {"generations": 5} | changes))
    components = build(config, *network_and_task(config))
    search = components.search
    search.initial_records()
    for _ in range(2):
        cohort = search.strategy.ask()
        scores = search.executor.score(cohort)
        search.before_tell(cohort)
        search.after_tell(search.strategy.tell(scores))
    return components, search.strategy.ask(), search.executor


def test_intrinsic_scores_are_those_of_each_network_alone(tmp_path: Path) -> None:
    components, cohort, executor = scored(fitness="wrong+0.25*closeness,unused,used")
    scores = executor.score(cohort)
    task, module = components.task, components.module
    for place, birth in enumerate(cohort.births["id"].tolist()):
        weights = components.layout.split(components.search.decoder.decode(birth).floats())
        for name, parameter in module.named_parameters():
            parameter.copy_(parameter.new_tensor(weights[name]))
        near = module.nearness(task.train.inputs)
        wrong = int((module(task.train.inputs).argmax(1) != task.train.targets).sum())
        used = len(near.argmax(1).unique())
        closeness = float(near.amax(1).mean())
        assert scores.fitness[place] == pytest.approx(-wrong + 0.25 * closeness, abs=1e-5)
        assert scores.further[place].tolist() == [-used, used]
        assert scores.metrics["closeness"][place] == pytest.approx(closeness, abs=1e-6)


def test_heads_that_are_used_and_unused_are_chosen_by_what_the_parent_answers() -> None:
    for rule in ("used", "unused", "use"):
        components, cohort, _ = scored(mutate=f"memory-perturb(heads={rule})", crossover="none")
        births = cohort.births[: cohort.children]
        assert (births["argument"] > 0).all()
        module, decode = components.module, components.search.decoder.decode
        chosen = []
        for row in births:
            weights = components.layout.split(decode(int(row["parents"][0])).floats())
            for name, parameter in module.named_parameters():
                parameter.copy_(parameter.new_tensor(weights[name]))
            answers = module.nearness(components.task.train.inputs).argmax(1).numpy()
            chosen.append(bool(np.isin(row["argument"] - 1, answers)))
        assert all(chosen) if rule != "unused" else not any(chosen)


def test_reports_say_what_the_memories_of_the_best_parent_do(tmp_path: Path) -> None:
    folder = run(tmp_path)
    lines = log_of(folder)
    assert [line["generation"] for line in lines if "memory_use" in line] == [5, 10]
    last = lines[-1]
    assert len(last["memory_use"]) == 4
    assert all(sum(uses) == 12 and len(uses) == 16 for uses in last["memory_use"])
    assert last["memory_used"] == sum(use > 0 for use in last["memory_use"][0])
    assert last["memory_used"] <= last["memory_filled"] <= 10  # two founders' generations fill one each
    assert last["memory_norm"] == pytest.approx(1, abs=1e-5)
    assert 0 <= last["memory_margin_min"] <= last["memory_margin"]
    assert {"train_closeness", "train_used"} <= set(lines[0])
    events = EventAccumulator(str(folder)).Reload()
    assert "memory/used" in events.Tags()["scalars"]
    (image,) = events.Tags()["images"]
    assert "use of each memory" in image
    assert events.Images(image)[-1].width == 640


def test_weights_of_a_sum_may_have_exponents(tmp_path: Path) -> None:
    lines = log_of(run(tmp_path, fitness="1e16*wrong+1e+2*closeness", generations=5))
    assert lines[-1]["fitness_best"] < -1e16


def test_an_empty_bank_uses_no_memory(tmp_path: Path) -> None:
    line = log_of(run(tmp_path, mutate="memory-delete", generations=1, report_every=1))[0]
    assert (line["train_used"], line["memory_used"], line["memory_filled"]) == (0, 0, 0)
    assert not any(map(any, line["memory_use"]))


def test_a_class_that_chooses_by_use_has_to_be_announced(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from galab.operators.mutation.memory import Perturb\nclass Mine(Perturb):\n    _heads = 'used'\n"
    )
    config = resolve(RunConfig(**COMMON | {"generations": 5, "mutate": f"{tmp_path}/own.py:Mine"}))
    parts = network_and_task(config)
    with pytest.raises(UsageError, match="heads=used"):
        build(config, *parts)


@pytest.mark.slow
def test_a_bank_learns_by_heart(tmp_path: Path) -> None:
    folder = run(tmp_path, generations=150, mutate="memory-replace,memory-perturb,memory-target", children=32)
    assert log_of(folder)[-1]["fitness_best"] >= -1
    saved = open_saved(folder)
    network = saved.module_with(saved.member())
    assert network(saved.task.train.inputs).shape == (12, 10)


@pytest.mark.slow
def test_bit_for_bit_with_workers(tmp_path: Path) -> None:
    mix = "memory-perturb(heads=used),memory-replace(heads=unused)"
    one, other = (
        run(tmp_path, f"w{workers}", workers=workers, mutate=mix, fitness="tilldeath,closeness", chunk=4, generations=4)
        for workers in (0, 2)
    )
    assert outcome(one) == outcome(other)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model": "mlp", "mutate": "dense", "fitness": "closeness"}, "expected a network of memories with --fitness"),
        ({"model": "mlp", "mutate": "dense", "fitness": "wrong+nan*used"}, "expected a number before the"),
        ({"fitness": "wrong+closenes"}, "got 'closenes'. Did you mean 'closeness'"),
        ({"model": "mlp"}, "expected a network with parameters 'memories'"),
        ({"mutate": "memory-perturb(heads=best)"}, "expected heads of a memory mutation"),
        ({"mutate": "memory-perturb(heads=plasticity)"}, "plastic=True"),
        ({"selection": "lexicase", "fitness": "closeness"}, "a fitness of single examples"),
        ({"crossover": "genes-union"}, "got memory-replace, whose change depends on the parent"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path: Path, changes: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        run(tmp_path, **changes)
    assert list(tmp_path.iterdir()) == []
