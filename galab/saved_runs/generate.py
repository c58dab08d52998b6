"""Text from a language model of a run: one byte after the other, each drawn from what the network predicts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from galab.errors import UsageError
from galab.integer.arithmetic import Centre, stored
from galab.models.egg import Egg
from galab.saved_runs.saved_run import SavedRun
from galab.tasks.text import BYTES, ByteText

#: Is sent a byte, answers with (256,) float64 logits of the next, in nats.
Predictor = Generator[NDArray[np.float64], int, None]


def generate(
    saved: SavedRun, prompt: str, *, length: int = 200, temperature: float = 0.8, seed: int = 0,
    member: int | None = None,
) -> Iterator[int]:  # fmt: skip
    """Go on with a text.

    An ``egg`` keeps its state over the whole text; any other network sees the last T bytes, as many as a sequence of
    its task has. One seed gives one text.

    Args:
        saved: a run on a text.
        prompt: how the text begins, in UTF-8.
        length: bytes to draw.
        temperature: what the logits are divided by; at 0 the likeliest byte is taken each time.
        seed: of the draws.
        member: rank of a parent by fitness; the champion, or the centre, when absent.

    Returns:
        The bytes drawn, one by one, without the prompt.

    Raises:
        UsageError: the run's task is not a text, or an argument is out of its range.
    """
    if length < 1:
        raise UsageError(f"expected --length 1 or more, got {length}")
    if not 0 <= temperature <= 100:
        raise UsageError(f"expected --temperature from 0 (the likeliest byte each time) to 100, got {temperature}")
    if not 0 <= seed < 2**63:
        raise UsageError(f"expected --seed from 0 to 2^63 - 1, got {seed}")
    begun = prompt.encode("utf-8", "surrogateescape")
    if not begun:
        raise UsageError("expected a text to go on with, got an empty one; leave it out to begin with a new line")
    if not isinstance(saved.task, ByteText):
        raise UsageError(
            f"{saved.path}: expected a run on a text, such as --task tinyshakespeare, got one on '{saved.task.name}'; "
            "only a language model can go on with a text"
        )
    module = saved.module_with(saved.member(member)).eval()
    predicted = _egg(module) if isinstance(module, Egg) else _windows(module, saved.task.length)
    return itertools.islice(_drawn(predicted, begun, temperature, seed), length)


def _drawn(predicted: Predictor, begun: bytes, temperature: float, seed: int) -> Iterator[int]:
    next(predicted)
    logits = np.zeros(BYTES)
    for byte in begun:
        logits = predicted.send(byte)
    random = np.random.Philox(key=seed)
    while True:
        if temperature:
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
