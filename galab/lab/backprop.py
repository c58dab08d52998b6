"""Training by gradients on the same task, network and minibatches: what searches without gradients stand beside."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.func import functional_call

from galab.config import RunConfig
from galab.evaluation.evaluator import Evaluator
from galab.evaluation.minibatch import Minibatches, fresh_examples
from galab.evaluation.process import keep_freed_memory, settle_kernels
from galab.genome.layout import Layout
from galab.genome.torch_laws import founders_of, tensors_of
from galab.lab.champion import Judge
from galab.lab.evolution_search import start_of
from galab.lab.experiment import network_and_task, own_threads
from galab.lab.resolving import resolve
from galab.perturbation.centre import Centre
from galab.schedules import parse_rate_schedule
from galab.strategies.optimizers import Optimizers


@dataclass(frozen=True, slots=True)
class Point:
    """Where a training stands.

    Attributes:
        step: updates done.
        forwards: examples that the network was run on to train it, each of them backwards too.
        validation_accuracy: share of the validation examples answered right.
        test_accuracy: share of the test examples answered right.
    """

    step: int
    forwards: int
    validation_accuracy: float
    test_accuracy: float


@own_threads()
def train(config: RunConfig, steps: int, report_every: int) -> list[Point]:
    """Train from where a run with this configuration begins, on the minibatches that it sees.

    Args:
        config: gives task, network, seed, ``batch``, ``optimizer``, ``lr``, ``lr_schedule``, ``weight_decay``.
        steps: updates.
        report_every: updates between two points.
    """
    keep_freed_memory()
    settle_kernels()
    config = resolve(config)
    torch.set_num_threads(config.threads)
    module, task = network_and_task(config)
    assert config.seed is not None
    founders = founders_of(module, config.seed)
    layout, device = founders.layout, torch.device(config.device)
    evaluator = Evaluator(module, layout, task, chunk=1, precision="float32", device=device)
    minibatches = Minibatches(
        evaluator.prepared(task.train), config.batch, config.seed, fresh_examples(task, evaluator.prepared)
    )
    judge = Judge(config, module, layout, task)
    start = tensors_of(layout, Centre(start_of(founders)))
    weights = {name: nn.Parameter(value.to(device)) for name, value in start.items()}
    optimizers = Optimizers(config.optimizer, list(weights.values()), config.lr, config.weight_decay)
    schedule = parse_rate_schedule(config.lr_schedule, "--lr-schedule")
    network = module.to(device)
    points: list[Point] = []
    forwards = 0
    for step in range(1, steps + 1):
        examples = minibatches.of(step)
        outputs = functional_call(network, dict(weights), (examples.inputs,)).unsqueeze(0)
        loss = task.measure(outputs, examples.targets)["loss"].sum() / len(examples)
        gradients = torch.autograd.grad(loss, list(weights.values()))
        for parameter, gradient in zip(weights.values(), gradients, strict=True):
            parameter.grad = gradient
        optimizers.step(config.lr * schedule.factor(step, steps))
        forwards += len(examples)
        if step % report_every == 0 or step == steps:
            points.append(_point(step, forwards, judge, layout, weights))
    return points


def _point(step: int, forwards: int, judge: Judge, layout: Layout, weights: dict[str, nn.Parameter]) -> Point:
    centre = Centre(torch.cat([weights[name].detach().flatten() for name in layout.names]).cpu().numpy())
    found = {split: judge.score(centre, split)[f"{split}_accuracy"] for split in ("validation", "test")}
    return Point(step, forwards, found["validation"], found["test"])
