"""Episodes for a plasticity rule: a network sees labelled points, changes itself, and is asked again.

What is scored is how much better it answers afterwards, so what evolves is how it learns. Sources: Y. Bengio,
S. Bengio, J. Cloutier, "Learning a synaptic learning rule", IJCNN 1991; E. Najarro, S. Risi, "Meta-learning through
Hebbian plasticity in random networks", NeurIPS 2020.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from galab.contracts import Examples
from galab.genome.random import Stream, draw, scaled, table, words
from galab.tasks.synthetic import FIXED, at_least

#: Episodes of each fixed set.
EPISODES = 256
_TRAIN, _VALIDATION, _TEST = range(3)


class Plasticity:
    """An example is an episode: points with labels, given to the network at once.

    Letters: S points an episode, C classes.

    Args:
        points: S.
        dims: standard normal numbers of each point.
        classes: C, all equally likely and independent of the points.
        run_key: the key that the fixed sets are made from.

    Attributes:
        name, description, fingerprint, input_shape, outputs, train, validation, test: see
            :class:`galab.contracts.Task`. An input is (S, dims + C), the points and their labels as ones among zeros;
            outputs are the logits (2, S, C) before and after learning, in one row; targets are (B, S) class numbers.
    """

    def __init__(self, points: int, dims: int, classes: int, run_key: int) -> None:
        at_least("plasticity", 1, points=points, dims=dims)
        at_least("plasticity", 2, classes=classes)
        self.name = "plasticity"
        self.description = (
            f"plasticity, episodes of {points:,} points of {dims:,} numbers with random labels out of {classes} "
            f"classes, {EPISODES} training (a generation sees fresh ones), {EPISODES} validation and {EPISODES} test "
            "episodes"
        )
        self._points, self._dims, self._classes = points, dims, classes
        self.input_shape = (points, dims + classes)
        self.outputs = 2 * points * classes
        self.train, self.validation, self.test = (
            self.sample(run_key, FIXED + part, EPISODES) for part in (_TRAIN, _VALIDATION, _TEST)
        )
        digest = hashlib.sha256(f"plasticity {points} {dims} {classes}\n".encode())
        for examples in (self.train, self.validation, self.test):
            digest.update(np.ascontiguousarray(examples.inputs.numpy(), dtype="<f4").data)
        self.fingerprint = digest.hexdigest()

    def sample(self, run_key: int, generation: int, size: int) -> Examples:
        """Fresh episodes, see :class:`galab.contracts.FreshExamples`.

        Returns:
            inputs (size, S, dims + C) float32 and targets (size, S) int64.
        """
        count = size * self._points
        drawn = draw(table("normal"), run_key, generation, Stream.EXAMPLES, count * self._dims)
        # Labels come from the words after those of the points.
        used = -(-count * self._dims // 4)
        labels = scaled(words(run_key, generation, Stream.EXAMPLES, used + count)[used:], self._classes)
        ones = np.eye(self._classes, dtype=np.float32)[labels]
        inputs = np.concatenate([drawn.reshape(count, self._dims), ones], axis=1).reshape(size, *self.input_shape)
        return Examples(torch.from_numpy(inputs), torch.from_numpy(labels.reshape(size, self._points)))

    def measure(self, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        """How much better the answers are after learning; each figure a mean over the points, summed over the episodes.

        Args:
            outputs: (P, B, 2 S C) logits before and after.
            targets: (B, S) class numbers.

        Returns:
            (P,) float32 each: ``before`` and ``after``, cross-entropies in nats; ``loss``, after minus before, so that
            the fitness ``loss`` is the improvement; ``accuracy_before`` and ``accuracy_after``.
        """
        members, episodes, _ = outputs.shape
        logits = outputs.float().view(members, episodes, 2, self._points, self._classes)
        wanted = targets[None, :, None, :, None].expand(members, -1, 2, -1, 1)
        likelihoods = logits.log_softmax(4).gather(4, wanted).squeeze(4)  # (P, B, 2, S)
        entropy = -likelihoods.mean(3)  # (P, B, 2)
        right = (logits.argmax(4) == wanted.squeeze(4)).float().mean(3)
        return {
            "loss": (entropy[:, :, 1] - entropy[:, :, 0]).sum(1),
            "before": entropy[:, :, 0].sum(1),
            "after": entropy[:, :, 1].sum(1),
            "accuracy_before": right[:, :, 0].sum(1),
            "accuracy_after": right[:, :, 1].sum(1),
        }


def plasticity(points: int = 32, dims: int = 16, classes: int = 4, run_key: int = 0) -> Plasticity:
    """Episodes of random labelled points: how much better does a network answer after it has changed itself?

    It goes with ``--model hebbian`` and ``--fitness loss``, which is the improvement.

    Args:
        points: points of an episode.
        dims: numbers of a point.
        classes: labels, all equally likely.
        run_key: the key that the fixed sets are made from.

    Raises:
        UsageError: a size is too small.
    """
    return Plasticity(points, dims, classes, run_key)
