"""Several networks that answer as one: each class by the surest of them, or all weighted by how important they are.

For evolution that changes one network at a time, with the operator ``net``, so that what the others know stays.
"""

from __future__ import annotations

import inspect

import torch
from torch import Tensor, nn

from galab.config.registry import MODELS
from galab.errors import UsageError

COMBINE = ("max", "gated")


class Ensemble(nn.Module):
    """Networks of one kind beside each other.

    Args:
        input_shape: shape of one input.
        outputs: number of outputs.
        hidden: units of each net's hidden layers; its own default when absent.
        activation: of each net.
        nets: how many.
        kind: the registered model that each of them is, such as ``mlp`` or ``conv``.
        combine: ``max``, each logit is the largest of all nets'; ``gated``, each net has one more output, its
            importance for this input, and the logits are the mean under the softmax of importance.

    Raises:
        UsageError: a word or number that is not understood.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        hidden: tuple[int, ...] | None = None,
        activation: str = "relu",
        nets: int = 4,
        kind: str = "mlp",
        combine: str = "max",
    ) -> None:
        super().__init__()
        if combine not in COMBINE:
            raise UsageError(
                f"model 'ensemble': expected combine to be one of {', '.join(COMBINE)}, got {combine!r}; correct it"
            )
        if not isinstance(nets, int) or not 1 <= nets <= 1024:
            raise UsageError(
                f"model 'ensemble': expected nets to be a whole number from 1 to 1024, got {nets!r}; correct it"
            )
        # Code that is named in here would run without having been asked for: trust looks at the model's own name.
        if kind not in MODELS.names() or kind == "ensemble":
            raise UsageError(
                f"model 'ensemble': expected kind to be a name that `galab models` lists, without brackets, got "
                f"{kind!r}; use mlp or conv"
            )
        net = MODELS.load(kind)
        self.combine = combine
        offered = {
            "input_shape": input_shape, "outputs": outputs + (combine == "gated"), "activation": activation,
        } | ({} if hidden is None else {"hidden": hidden})  # fmt: skip
        wanted = inspect.signature(net).parameters
        arguments = {name: value for name, value in offered.items() if name in wanted}
        self.nets = nn.ModuleList(net(**arguments) for _ in range(nets))

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (B, outputs) of inputs (B, ...)."""
        answers = torch.stack([net(inputs) for net in self.nets])  # (nets, B, outputs)
        if self.combine == "max":
            return answers.amax(0)
        return (answers[..., -1:].softmax(0) * answers[..., :-1]).sum(0)
