"""Going on with a text: one byte after the other, each drawn from what a language model predicts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from galab.integer.arithmetic import Centre, stored
from galab.models.egg import Egg
from galab.tasks.text import BYTES

#: Is sent a byte, answers with (256,) float64 logits of the next, in nats.
Predictor = Generator[NDArray[np.float64], int, None]
#: Of a sample that a run logs: how it begins, bytes, temperature and seed.
_SAMPLE = (b"\n", 200, 0.8, 1)


def continued(
    module: nn.Module, length: int, begun: bytes, *, count: int, temperature: float, seed: int
) -> Iterator[int]:
    """Go on with a text.

    Args:
        module: a network of a text, in ``eval()``. An ``egg`` keeps its state over the whole text; any other sees the
            last bytes.
        length: T, the bytes of a sequence.
        begun: how the text begins.
        count: bytes to draw.
        temperature: what the logits are divided by; at 0 the likeliest byte is taken each time.
        seed: of the draws; one seed gives one text.

    Returns:
        The bytes drawn, one by one.
    """
    predicted = _egg(module) if isinstance(module, Egg) else _windows(module, length)
    return itertools.islice(_drawn(predicted, begun, temperature, seed), count)


def sample(module: nn.Module, length: int) -> str:
    """A short text for the log; bytes that are no UTF-8 are marked."""
    begun, count, temperature, seed = _SAMPLE
    drawn = bytes(continued(module, length, begun, count=count, temperature=temperature, seed=seed))
    return drawn.decode("utf-8", "replace")


def sampled(generation: int, every: int) -> bool:
    """Whether a report of a generation has a sample: the first one, the second, the fourth, the eighth, and so on."""
    report, rest = divmod(generation, every)
    return rest == 0 and report > 0 and report & (report - 1) == 0


def _drawn(predicted: Predictor, begun: bytes, temperature: float, seed: int) -> Iterator[int]:
    next(predicted)
    logits = np.zeros(BYTES)
    for byte in begun:
        logits = predicted.send(byte)
    random = np.random.Philox(key=seed)
    while True:
        if temperature:
            with np.errstate(over="ignore"):  # minus infinity is as good as a large number
                weights = np.exp((logits - logits.max()) / temperature)
            uniform = random.random_raw() / 2**64
            byte = min(int(np.searchsorted(weights.cumsum(), uniform * weights.sum(), side="right")), BYTES - 1)
        else:
            byte = int(logits.argmax())
        yield byte
        logits = predicted.send(byte)


def _egg(model: Egg) -> Predictor:
    """Predicts by one step a byte."""
    centre = Centre({name: stored(value.detach()) for name, value in model.named_parameters()})
    state = torch.zeros(1, model.layers, model.width, dtype=torch.int32)
    logits = np.zeros(BYTES)
    while True:
        answer, state = model.step(centre, torch.tensor([(yield logits)]), state)
        logits = answer[0].numpy() * (math.log(2) / 16)


def _windows(model: nn.Module, length: int) -> Predictor:
    """Predicts from the last bytes; what follows them in a sequence does not matter to a model of texts."""
    text: list[int] = []
    logits = np.zeros(BYTES)
    while True:
        text = [*text, (yield logits)][-length:]
        inputs = torch.zeros(1, length)
        inputs[0, : len(text)] = torch.tensor(text, dtype=torch.float32)
        with torch.inference_mode():
            logits = model(inputs).unflatten(1, (length, BYTES))[0, len(text) - 1].double().numpy()
