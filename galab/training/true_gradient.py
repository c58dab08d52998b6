"""The true gradient of a fitness, by automatic differentiation: estimates are compared with it, baselines go by it."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from galab.config.parsing import SMOOTH
from galab.contracts import Examples, Task
from galab.errors import pass_interrupts
from galab.genome.initial import tensors_of
from galab.genome.parameters import own_dtypes
from galab.genome.weights import Layout
from galab.operators.es_noise import WeightVector


class TrueGradient:
    """Differentiates a task's loss where it can be differentiated.

    Args:
        module: the network; only its structure and buffers are used.
        task: gives ``measure``.
        base: what the fitness is made of.
        device: where the examples are.
    """

    def __init__(self, module: nn.Module, task: Task, base: str, device: torch.device) -> None:
        self._module = copy.deepcopy(module).to(device)
        self._dtypes = own_dtypes(module)
        self._task = task
        self._device = device
        self._smooth = base in SMOOTH

    def at(self, centre: Mapping[str, Tensor], examples: Examples) -> dict[str, Tensor] | None:
        """The gradient of the fitness, minus the mean loss, in float32.

        Args:
            centre: name to tensor.
            examples: on what.

        Returns:
            Name to gradient; None where the fitness or the task has none.
        """
        if not self._smooth:
            return None
        try:
            _, gradient = self.measured(centre, examples)
        except BaseException as error:  # a network or task that overwrites what it computed, or measures no loss
            pass_interrupts(error)
            return None
        return {name: -part for name, part in gradient.items()}

    def measured(self, centre: Mapping[str, Tensor], examples: Examples) -> tuple[dict[str, float], dict[str, Tensor]]:
        """What the task measures of a network, and the gradient of its mean loss, in float32.

        Args:
            centre: name to tensor.
            examples: on what.

        Returns:
            Name to mean over the examples; and name of a parameter to its gradient, zero where the loss does not
            depend on it.

        Raises:
            RuntimeError: autograd finds no gradient.
        """
        weights = {name: value.detach().clone().requires_grad_() for name, value in centre.items()}
        inputs = examples.inputs.float() if examples.inputs.is_floating_point() else examples.inputs
        with torch.enable_grad():
            given = {name: value.to(self._dtypes.get(name, value.dtype)) for name, value in weights.items()}
            outputs = functional_call(self._module, given, (inputs,)).unsqueeze(0)
            sums = self._task.measure(outputs, examples.targets)
            loss = sums["loss"].sum() / len(examples)
            found = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
        gradient = {
            name: torch.zeros_like(value) if part is None else part
            for (name, value), part in zip(weights.items(), found, strict=True)
        }
        return {name: float(total.detach().sum()) / len(examples) for name, total in sums.items()}, gradient

    def flat(self, layout: Layout, weights: NDArray[np.float32], examples: Examples) -> NDArray[np.float32] | None:
        """:meth:`at` as one vector.

        Args:
            layout: where each parameter lies.
            weights: (D,) where.
            examples: on what.

        Returns:
            (D,) the gradient; None where the fitness has none.
        """
        parts = {name: part.to(self._device) for name, part in tensors_of(layout, WeightVector(weights)).items()}
        found = self.at(parts, examples)
        if found is None:
            return None
        return np.array(torch.cat([found[name].flatten() for name in layout.names]).float().cpu().numpy())
