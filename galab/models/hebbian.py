"""A network that learns while it runs: fast weights that change by a local rule whose coefficients are the parameters.

Sources: D. Hebb, "The Organization of Behavior", 1949; E. Najarro, S. Risi, "Meta-learning through Hebbian plasticity
in random networks", NeurIPS 2020 (the ABCD rule); B. Widrow, M. Hoff, "Adaptive switching circuits", 1960 (the delta
rule, which is one setting of this one).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from galab.errors import UsageError
from galab.models.mlp import activation_named

#: Step of a fresh network's rule; its coefficients are zero, so nothing changes until they have moved.
RATE = 1.0
#: Terms of a rule, in the order of its coefficients; the last one has only the last layer.
TERMS = ("pre x post", "pre", "post", "decay", "pre x teacher")


class Hebbian(nn.Module):
    """Two layers of fast weights that answer a batch, learn from it for some steps, and answer it again.

    An input is an episode of the task ``plasticity``: S points with their labels beside them. Every episode begins with
    the same weights W. A step adds to each layer ``rate * (a pre x post + b pre + c post - d W)``, means over the
    points; to the last one ``e pre x teacher`` is added. Post is what a layer gives, of the last one the softmax of its
    logits, so with a = -1 and e = 1 alone it descends the gradient of the cross-entropy.

    Args:
        input_shape: (S, dims + C).
        outputs: 2 S C.
        hidden: units of the layer between, one number.
        activation: name of the non-linearity after the first layer.
        steps: how often the weights change.
        initial: whether the weights that an episode begins with are fixed random ones, or parameters too. Then they
            may evolve to begin badly, as that leaves more to improve.
        run_key: the key of those that are fixed.

    Attributes:
        first_rule: (4,) a, b, c, d of the first layer.
        last_rule: (5,) a, b, c, d, e of the last layer.
        rates: (2,) one for each layer.
        first: (hidden, dims) the first layer's weights at the start of an episode.
        last: (C, hidden) the last layer's.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        hidden: tuple[int, ...] = (32,),
        activation: str = "relu",
        steps: int = 5,
        initial: Literal["fixed", "evolved"] = "fixed",
        run_key: int = 0,
    ) -> None:
        super().__init__()
        classes = outputs // (2 * input_shape[0])
        if len(input_shape) != 2 or outputs != 2 * input_shape[0] * classes or not 0 < classes < input_shape[1]:
            raise UsageError(
                f"expected inputs of shape (points, numbers + classes) and logits before and after for the hebbian "
                f"model, got {tuple(input_shape)} and {outputs}; use --task plasticity"
            )
        if len(hidden) != 1:
            raise UsageError(f"expected --hidden with one number for the hebbian model, got {len(hidden)}; name one")
        if steps < 0:
            raise UsageError(f"expected steps of at least 0 for the hebbian model, got {steps}; name a larger number")
        self._points, self._dims, self._classes = input_shape[0], input_shape[1] - classes, classes
        self.steps = steps
        self.activation = activation_named(activation)
        self.first_rule = nn.Parameter(torch.zeros(len(TERMS) - 1))
        self.last_rule = nn.Parameter(torch.zeros(len(TERMS)))
        self.rates = nn.Parameter(torch.full((2,), RATE))
        # Buffers are saved with a run, so it does not depend on torch's stream of random numbers.
        generator = torch.Generator().manual_seed(run_key)
        for name, shape in (("first", (hidden[0], self._dims)), ("last", (classes, hidden[0]))):
            weight = torch.randn(shape, generator=generator) / shape[1] ** 0.5
            if initial == "evolved":
                self.register_parameter(name, nn.Parameter(weight))
            else:
                self.register_buffer(name, weight)
        self.first: torch.Tensor
        self.last: torch.Tensor

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits (B, 2 S C) before and after learning, of episodes (B, S, dims + C)."""
        points, teacher = inputs[..., : self._dims], inputs[..., self._dims :]
        first = self.first.expand(len(inputs), *self.first.shape)
        last = self.last.expand(len(inputs), *self.last.shape)
        middle, before = self._answers(points, first, last)
        logits = before
        for _ in range(self.steps):
            post = logits.softmax(-1)
            taught = _mean_product(middle, teacher) * self.last_rule[4]
            last, first = (
                last + self.rates[1] * (_change(self.last_rule, middle, post, last) + taught),
                first + self.rates[0] * _change(self.first_rule, points, middle, first),
            )
            middle, logits = self._answers(points, first, last)
        return torch.stack([before, logits], 1).flatten(1)

    def _answers(
        self, points: torch.Tensor, first: torch.Tensor, last: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Activations of the layer between (B, S, hidden), and logits (B, S, C)."""
        middle = self.activation(points @ first.transpose(1, 2))
        return middle, middle @ last.transpose(1, 2)


def _change(rule: torch.Tensor, pre: torch.Tensor, post: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """(B, out, in) the local terms of a layer's rule, of pre (B, S, in) and post (B, S, out)."""
    return (
        rule[0] * _mean_product(pre, post)
        + rule[1] * pre.mean(1).unsqueeze(1)
        + rule[2] * post.mean(1).unsqueeze(2)
        - rule[3] * weights
    )


def _mean_product(pre: torch.Tensor, post: torch.Tensor) -> torch.Tensor:
    """(B, out, in) post x pre, averaged over the points."""
    return post.transpose(1, 2) @ pre / pre.shape[1]
