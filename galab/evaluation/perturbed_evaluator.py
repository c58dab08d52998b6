"""Scores the members of an evolution strategy: one centre, perturbed along numbered directions."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from galab.contracts import Examples, Task
from galab.evaluation.blocks import Arrays, Blocks, EachExample, blank
from galab.evaluation.low_rank import LowRank, low_rank
from galab.evaluation.population import perturbed_forward
from galab.evaluation.process import settle_kernels
from galab.perturbation.directions import Dense, Noise
from galab.perturbation.plan import Plan

#: The widest activation of a chunk stays about this small: it is written and read again while it is in the cache.
_BLOCK_BYTES = 4 << 20
_LARGEST_CHUNK = 64


class PerturbedEvaluator:
    """Runs members around a centre without forming their weights where that is slower.

    Args:
        module: the network; only its structure and buffers are used.
        plan: what a direction is made of.
        task: gives ``measure`` and the shape of the examples.
        chunk: members evaluated at once, an even number.
        precision: ``float32`` or ``bfloat16``.
        device: a torch device.
    """

    def __init__(
        self, module: nn.Module, plan: Plan, task: Task, *, chunk: int, precision: str, device: torch.device
    ) -> None:
        settle_kernels()
        self.chunk = chunk
        self.precision = precision
        self.plan = plan
        self._blocks = Blocks(module, task, precision=precision, device=device)
        self.forward_name = "low-rank" if plan.low_rank else "folded"
        self._blocks.block = 512

    @property
    def block(self) -> int:
        return self._blocks.block

    def prepared(self, examples: Examples) -> Examples:
        return self._blocks.prepared(examples)

    def sums(
        self,
        centre: Mapping[str, Tensor],
        noise: Noise,
        sigma: float,
        examples: Examples,
        each: EachExample | None = None,
        *,
        antithetic: bool,
    ) -> tuple[Arrays, Arrays]:
        with torch.inference_mode():
            parameters = self.parameters(centre, noise, sigma, antithetic=antithetic)
            module = self._blocks.module
            return self._blocks.sums(lambda inputs: perturbed_forward(module, parameters, inputs), examples, each)

    def parameters(
        self, centre: Mapping[str, Tensor], noise: Noise, sigma: float, *, antithetic: bool
    ) -> dict[str, Tensor | LowRank]:
        """The members' parameters: of Q directions, all plus and then all minus, or plus alone."""
        found: dict[str, Tensor | LowRank] = {}
        dtype = self._blocks.dtype
        for name, part in noise.items():
            base = centre[name].to(dtype)
            if isinstance(part, Dense):
                step = part.values * sigma
                values = torch.cat([centre[name] + step, centre[name] - step]) if antithetic else centre[name] + step
                found[name] = values.to(dtype)
            else:
                found[name] = low_rank(base, part.a.to(dtype), part.b.to(dtype), sigma, antithetic=antithetic)
        return found
