"""Whole generations of (8, 32) on 60,000 images: galab against the naive loop over members."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from timing import Row, interleaved
from torch.func import functional_call

from galab.config import RunConfig
from galab.contracts import Examples
from galab.evaluation.evaluator import Evaluator
from galab.evaluation.minibatch import Minibatches
from galab.genome.torch_laws import tensors_of
from galab.lab.experiment import Experiment, build, network_and_task
from galab.lab.resolving import resolve


def generation_rows(rounds: int = 9) -> list[Row]:
    """Interleaved medians of noise + evaluation + selection; equal fitness is checked first."""
    module, task = network_and_task(resolve(RunConfig(seed=1)))
    # All 60,000 published training images, as the prototypes were measured; a run uses 55,000 of them.
    images = Examples(
        torch.cat([task.train.inputs, task.validation.inputs]), torch.cat([task.train.targets, task.validation.targets])
    )
    sides = {}
    for precision in ("float32", "bfloat16"):
        config = resolve(RunConfig(seed=1, batch=0, precision=precision))
        experiment = build(config, module, task)
        experiment.search.decoder.pin(experiment.strategy.parents.tolist())
        experiment.executor._minibatches = Minibatches(experiment.search.evaluator.prepared(images), 0, 1)
        sides[precision] = experiment
    _check_equal(sides, images)
    times = interleaved(
        {
            "naive": lambda: _naive_generation(sides["float32"], images),
            "float32": lambda: _generation(sides["float32"]),
            "bfloat16": lambda: _generation(sides["bfloat16"]),
        },
        rounds,
    )
    count = f"{len(images):,} images"
    return [
        Row(f"naive torch loop, {count}", times["naive"], "ms"),
        Row(f"galab float32, {count}", times["float32"], "ms"),
        Row(f"galab bfloat16, {count}", times["bfloat16"], "ms"),
        Row("float32 against naive", times["naive"] / times["float32"], "x", 1.0, "least"),
        Row("bfloat16 against naive", times["naive"] / times["bfloat16"], "x", 4.0, "least"),
    ]


def _generation(experiment: Experiment) -> None:
    cohort = experiment.strategy.ask()
    outcome = experiment.strategy.tell(experiment.executor.score(cohort))
    experiment.search.decoder.pin(outcome.parents.tolist())


def _naive_generation(experiment: Experiment, images: Examples) -> None:
    """What a person writes first: torch.randn per child, one forward per member, sort."""
    parents = [experiment.search.decoder.decode(birth) for birth in experiment.strategy.parents.tolist()]
    generator = torch.Generator().manual_seed(0)
    scores = []
    with torch.inference_mode():
        for child in range(experiment.config.children):
            tensors = tensors_of(experiment.founders.layout, parents[child % len(parents)])
            moved = {name: t + 0.02 * torch.randn(t.shape, generator=generator) for name, t in tensors.items()}
            scores.append(float(_loss(experiment, moved, images)))
    np.argsort(scores)


def _loss(experiment: Experiment, tensors: dict[str, torch.Tensor], images: Examples) -> torch.Tensor:
    return F.cross_entropy(functional_call(experiment.module, tensors, (images.inputs,)), images.targets)


def _check_equal(sides: dict[str, Experiment], images: Examples) -> None:
    """Both precisions and the plain loop must compute the same fitness before anything is timed."""
    experiment = sides["float32"]
    ids = experiment.strategy.parents.tolist()
    members = [experiment.search.decoder.decode(birth) for birth in ids]
    with torch.inference_mode():
        tensors = [tensors_of(experiment.founders.layout, member) for member in members]
        expected = np.array([float(_loss(experiment, one, images)) for one in tensors])
    for name, tolerance in (("float32", 1e-4), ("bfloat16", 1e-2)):
        evaluator: Evaluator = sides[name].evaluator
        got = evaluator.measure(members, images).means["loss"]
        assert np.allclose(got, expected, rtol=tolerance), (name, got, expected)
