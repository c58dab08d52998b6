"""The shared minibatch of a generation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from galab.contracts import Examples, Generated, Task
from galab.genome.noise import Stream, codes, permutation

#: From run key, generation and size to the examples of that generation.
Fresh = Callable[[int, int, int], Examples]


class Minibatches:
    """Gives every generation its examples, the same for all members.

    A task that makes its own gives each generation fresh ones. Else the training data is cut into as many minibatches
    as fit, in an order drawn anew for each epoch, so every example is seen equally often. Which ones a generation sees
    depends on the run key and its number alone.

    Args:
        examples: the training data.
        size: examples per generation; 0, or as many as there are, gives all of them every time. Of fresh ones there
            are as many as are asked for, and 0 takes the number of the training data.
        run_key: the run's key.
        fresh: makes the examples of a generation, see :func:`fresh_examples`.

    Attributes:
        fixed: whether every generation sees the same examples.
        size: examples per generation.
        examples: the training data.
    """

    def __init__(self, examples: Examples, size: int, run_key: int, fresh: Fresh | None = None) -> None:
        whole = size == 0 or (size >= len(examples) and fresh is None)
        self.fixed = whole and fresh is None
        self.size = len(examples) if whole else size
        self.examples = examples
        self._fresh = fresh
        self._made: tuple[int, Examples] | None = None
        self._run_key = run_key
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    def of(self, generation: int) -> Examples:
        """The examples of a generation, numbered from 1."""
        if self.fixed:
            return self.examples
        if self._fresh is not None:
            # The last ones are kept: parents may be scored again on the examples of their children.
            if self._made is None or self._made[0] != generation:
                self._made = generation, self._fresh(self._run_key, generation, self.size)
            return self._made[1]
        per_epoch = len(self.examples) // self.size
        epoch, place = divmod(generation - 1, per_epoch)
        if epoch != self._epoch:
            self._order = torch.from_numpy(permutation(len(self.examples), self._run_key, epoch, Stream.BATCH))
            self._order = self._order.to(self.examples.targets.device)
            self._epoch = epoch
        # Gathered anew by each generation: all of an epoch at once would be another copy of the data.
        part = self._order[place * self.size : (place + 1) * self.size]
        return Examples(self.examples.inputs[part], self.examples.targets[part])

    def coins(self, generation: int) -> torch.Tensor:
        """One number between 0 and 1, both excluded, per example of a generation: (B,) float32, where the examples are.

        The same for all members, and others in every generation.
        """
        drawn = codes(self._run_key, generation, Stream.COINS, self.size)
        # Seventeen bits and a power of two: float32 holds each of these numbers exactly.
        numbers = (drawn.astype(np.float32) + np.float32(0.5)) / np.float32(65536)
        return torch.from_numpy(numbers).to(self.examples.targets.device)


def fresh_examples(task: Task, prepared: Callable[[Examples], Examples]) -> Fresh | None:
    """What makes a task's examples anew in every generation; None where it has fixed ones.

    Args:
        task: what is learned.
        prepared: brings examples to where and into what they are used in (``Evaluator.prepared``).
    """
    if not isinstance(task, Generated):
        return None
    return lambda run_key, generation, size: prepared(task.sample(run_key, generation, size))
