"""Whole generations of EGGROLL against other people's libraries, against pure inference, and in memory.

MLP 784-128-10, 512 images shared by all members. The rows of peers need ``make bench-peers``; else they are left out.
"""

from __future__ import annotations

import dataclasses
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from peers.client import Peers, available
from peers.problem import Problem
from timing import Row, interleaved

from galab.config import RunConfig
from galab.evaluation.around import members_around
from galab.evaluation.minibatch import Minibatches
from galab.evaluation.perturbed import folded
from galab.genome.noise import table
from galab.genome.phenotype import Layout
from galab.genome.torch_laws import tensors_of
from galab.lab.experiment import Experiment, build, network_and_task
from galab.lab.resolving import resolve
from galab.models import build_model
from galab.perturbation.directions import draw
from galab.perturbation.plan import plan_of

_IMAGES = 512
_CONFIG = RunConfig(strategy="eggroll", seed=1, population=4096, batch=_IMAGES, sigma=0.03, pairs="antithetic")
#: Library, precision and the bar that galab has to keep against it at 4,096 members.
_PEERS = (("hyperscale", "float32", 6.0), ("hyperscale", "bfloat16", 10.0))
#: Slow ones are timed at 256 members, where they fit into memory, and compared at as many.
_SLOW = (("evosax", 30.0), ("eggroll-trainer", 30.0))


def evolution_rows(rounds: int = 5) -> list[Row]:
    """All rows of this file."""
    rows = [*_against_inference(rounds), *_own_inputs(rounds), *_memory()]
    return [*_against_peers(rounds), *rows] if available() else rows


def _experiment(precision: str, population: int = 4096) -> Experiment:
    """A run whose every generation sees the same 512 images."""
    config = resolve(dataclasses.replace(_CONFIG, precision=precision, population=population, compile="on"))
    module, task = network_and_task(config)
    experiment = build(config, module, task)
    examples = experiment.executor.examples
    first = dataclasses.replace(examples, inputs=examples.inputs[:_IMAGES], targets=examples.targets[:_IMAGES])
    experiment.executor._minibatches = Minibatches(first, 0, 1)
    return experiment


def _generation(experiment: Experiment) -> None:
    strategy = experiment.strategy
    strategy.tell(experiment.executor.score(strategy.ask()))


def _problem(experiment: Experiment) -> Problem:
    """The same numbers for the other side."""
    examples = experiment.executor._minibatches.examples
    _, members = experiment.search.candidates()
    weights = {name: value.numpy() for name, value in tensors_of(experiment.layout, members[0]).items()}
    return Problem(
        examples.inputs.float().flatten(1).numpy(),
        examples.targets.numpy(),
        weights["hidden.0.weight"],
        weights["hidden.0.bias"],
        weights["output.weight"],
        weights["output.bias"],
    )


def _against_peers(rounds: int) -> list[Row]:
    sides = {precision: _experiment(precision) for precision in ("float32", "bfloat16")}
    small = _experiment("float32", 256)
    rows = []
    with Peers() as peers:
        problem = _problem(sides["float32"])
        peers.load(problem)
        _check_equal(peers, problem)
        for library, precision, bar in _PEERS:
            ratio = _ratio(peers, library, precision, 4096, sides[precision], rounds)
            rows.append(Row(f"EGGROLL {precision} against {library}, population 4,096", ratio, "x", bar, "least"))
        for library, bar in _SLOW:
            ratio = _ratio(peers, library, "float32", 256, small, rounds)
            rows.append(Row(f"EGGROLL float32 against {library}, population 256", ratio, "x", bar, "least"))
    return rows


def _ratio(
    peers: Peers, library: str, precision: str, population: int, experiment: Experiment, rounds: int
) -> float:
    """Median of theirs over median of ours, generation by generation in turn."""
    ours, theirs = [], []
    for number in range(rounds + 1):
        begin = time.perf_counter()
        _generation(experiment)
        elapsed = (time.perf_counter() - begin) * 1e3
        other = peers.generation(library, population=population, rank=1, precision=precision)
        if number:
            ours.append(elapsed)
            theirs.append(other)
    return float(np.median(theirs) / np.median(ours))


def _check_equal(peers: Peers, problem: Problem) -> None:
    """All sides give the unperturbed network the same fitness."""
    x, hidden = torch.from_numpy(problem.inputs), torch.from_numpy(problem.weight1)
    values = torch.relu(x @ hidden.t() + torch.from_numpy(problem.bias1))
    logits = values @ torch.from_numpy(problem.weight2).t() + torch.from_numpy(problem.bias2)
    expected = -float(torch.nn.functional.cross_entropy(logits, torch.from_numpy(problem.targets)))
    for library in dict.fromkeys([name for name, _, _ in _PEERS] + [name for name, _ in _SLOW]):
        got = peers.check(library)
        if abs(got - expected) > 1e-3:
            raise AssertionError(f"{library} gives the same network {got}, torch gives {expected}")


def _against_inference(rounds: int) -> list[Row]:
    """(member, image) pairs a second against the base model on as many images."""
    experiment = _experiment("float32")
    examples = experiment.executor._minibatches.examples
    _, members = experiment.search.candidates()
    module = build_model("mlp", (784,), 10)
    module.load_state_dict(tensors_of(experiment.layout, members[0]))
    repeated = examples.inputs.flatten(1).repeat(16, 1)

    def inference() -> None:
        with torch.inference_mode():
            for _ in range(4096 // 16):
                module(repeated)

    times = interleaved({"eggroll": lambda: _generation(experiment), "inference": inference}, rounds)
    return [
        Row("EGGROLL float32, population 4,096, 512 images", times["eggroll"], "ms"),
        Row("pairs a second against pure inference", times["inference"] / times["eggroll"], "x", 3.0, "least"),
    ]


def _own_inputs(rounds: int) -> list[Row]:
    """784-256-256-10, 2,048 members with one input each: share of pure inference, noise ready or drawn on the fly."""
    module = build_model("mlp", (784,), 10, (256, 256))
    layout_names = {name: tuple(value.shape) for name, value in module.named_parameters()}
    layout = Layout(tuple(layout_names), tuple(layout_names.values()))
    plan = plan_of(layout, 1, [name for name, shape in layout_names.items() if len(shape) > 1])
    inputs = torch.randn(2048, 784)
    centre = {name: value.detach() for name, value in module.named_parameters()}
    law = table("normal")
    ready = draw(plan, law, 1, 1, 0, 1024)

    def run(noise: Callable[[], object]) -> Callable[[], None]:
        def once() -> None:
            with torch.inference_mode():
                members = members_around(centre, noise(), 0.03, antithetic=True)  # type: ignore[arg-type]
                folded(module, members, inputs, each_own=True)

        return once

    def inference() -> None:
        with torch.inference_mode():
            module(inputs)

    generation = iter(range(2, 10_000))
    sides = {
        "inference": inference,
        "ready": run(lambda: ready),
        "drawn": run(lambda: draw(plan, law, 1, next(generation), 0, 1024)),
    }
    times = interleaved(sides, 4 * rounds)
    share = {name: 100 * times["inference"] / times[name] for name in ("ready", "drawn")}
    return [
        Row("2,048 members, an input each: of pure inference, noise ready", share["ready"], "%", 60.0, "least"),
        Row("2,048 members, an input each: of pure inference, noise drawn", share["drawn"], "%", 40.0, "least"),
    ]


def _memory() -> list[Row]:
    """Peak memory of a process of its own."""
    rows = []
    for population, bar in ((4096, 1.5), (65_536, 2.0)):
        code = f"import evolution; evolution.peak({population})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=sys.path[0])
        rows.append(Row(f"peak memory, population {population:,}", float(done.stdout), "GB", bar))
    return rows


def peak(population: int) -> None:
    """Two generations; prints the largest resident set in GB."""
    experiment = _experiment("float32", population)
    for _ in range(2):
        _generation(experiment)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
