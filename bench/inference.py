"""EGGROLL against pure inference of the base model on as many (member, image) pairs, and how much memory it takes."""

from __future__ import annotations

import dataclasses
import resource
import subprocess
import sys
from collections.abc import Callable

import torch
from evolution import CONFIG, IMAGES
from sides import components, generation, images
from timing import Row, interleaved

from galab.evaluation.batched.forward import folded
from galab.evaluation.es_evaluator import perturbed_parameters
from galab.genome.initial import tensors_of
from galab.genome.random import table
from galab.genome.weights import Layout
from galab.models import build_model
from galab.operators.es_noise import draw, plan_of
from galab.training.build import build, network_and_task
from galab.training.resolve import resolve


def inference_rows(rounds: int) -> list[Row]:
    """Pairs a second, with shared inputs and with an input for each member."""
    return [*_pairs(rounds), *_own_inputs(rounds)]


def _pairs(rounds: int) -> list[Row]:
    """(member, image) pairs a second against the base model on as many images."""
    examples = images(IMAGES)
    search = components(CONFIG, examples, precision="float32")
    _, members = search.search.candidates()
    module = build_model("mlp", (784,), 10)
    module.load_state_dict(tensors_of(search.layout, members[0]))
    repeated = examples.inputs.flatten(1).repeat(16, 1)

    def plain() -> None:
        with torch.inference_mode():
            for _ in range(4096 // 16):
                module(repeated)

    times = interleaved({"eggroll": generation(search), "inference": plain}, rounds)
    return [
        Row("EGGROLL float32 beside inference, population 4,096", times["eggroll"], "ms"),
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
                members = perturbed_parameters(centre, noise(), 0.03, antithetic=True)  # type: ignore[arg-type]
                folded(module, members, inputs, each_own=True)

        return once

    def plain() -> None:
        with torch.inference_mode():
            module(inputs)

    numbers = iter(range(2, 10_000))
    sides = {
        "inference": plain,
        "ready": run(lambda: ready),
        "drawn": run(lambda: draw(plan, law, 1, next(numbers), 0, 1024)),
    }
    times = interleaved(sides, 4 * rounds)
    share = {name: 100 * times["inference"] / times[name] for name in ("ready", "drawn")}
    return [
        Row("2,048 members, an input each: of pure inference, noise ready", share["ready"], "%", 60.0, "least"),
        Row("2,048 members, an input each: of pure inference, noise drawn", share["drawn"], "%", 40.0, "least"),
    ]


def memory_rows(rounds: int) -> list[Row]:
    """Peak memory of a process of its own."""
    del rounds  # it is the same every time
    rows = []
    for population, bar in ((4096, 1.5), (65_536, 2.0)):
        code = f"import inference; inference.peak({population})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=sys.path[0])
        rows.append(Row(f"peak memory, population {population:,}", float(done.stdout), "GB", bar))
    return rows


def peak(population: int) -> None:
    """Two generations of a run as a person starts it; prints the largest resident set in GB."""
    config = resolve(dataclasses.replace(CONFIG, precision="float32", population=population, batch=IMAGES))
    once = generation(build(config, *network_and_task(config)))
    for _ in range(2):
        once()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
