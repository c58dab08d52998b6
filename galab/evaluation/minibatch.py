"""The shared minibatch of a generation."""

from __future__ import annotations

import numpy as np
import torch

from galab.contracts import Examples
from galab.genome.noise import Stream, codes, permutation


class Minibatches:
    """Gives every generation its examples, the same for all members.

    The training data is cut into as many minibatches as fit, in an order drawn anew for each epoch, so every example
    is seen equally often. Which ones a generation sees depends on the run key and its number alone.

    Args:
        examples: the training data.
        size: examples per generation; 0, or as many as there are, gives all of them every time.
        run_key: the run's key.
    """

    def __init__(self, examples: Examples, size: int, run_key: int) -> None:
        self.fixed = size == 0 or size >= len(examples)
        self.size = len(examples) if self.fixed else size
        self.examples = examples
        self._run_key = run_key
        self._epoch = -1
        self._shuffled = examples

    def of(self, generation: int) -> Examples:
        """The examples of a generation, numbered from 1."""
        if self.fixed:
            return self.examples
        per_epoch = len(self.examples) // self.size
        epoch, place = divmod(generation - 1, per_epoch)
        if epoch != self._epoch:
            # One gather an epoch instead of one a generation: each minibatch is then a slice, without a copy.
            order = permutation(len(self.examples), self._run_key, epoch, Stream.BATCH)
            self._shuffled = Examples(self.examples.inputs[order], self.examples.targets[order])
            self._epoch = epoch
        part = slice(place * self.size, (place + 1) * self.size)
        return Examples(self._shuffled.inputs[part], self._shuffled.targets[part])

    def coins(self, generation: int) -> torch.Tensor:
        """One number between 0 and 1, both excluded, per example of a generation: (B,) float32, where the examples are.

        The same for all members, and others in every generation.
        """
        drawn = codes(self._run_key, generation, Stream.COINS, self.size)
        # Seventeen bits and a power of two: float32 holds each of these numbers exactly.
        numbers = (drawn.astype(np.float32) + np.float32(0.5)) / np.float32(65536)
        return torch.from_numpy(numbers).to(self.examples.targets.device)
