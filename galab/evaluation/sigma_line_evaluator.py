"""Scores ``centre + sigma * z`` for many directions and step sizes on a set of examples."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from galab.contracts import Examples, Task
from galab.errors import pass_interrupts
from galab.evaluation.batched.dense import PROBE_SIZES, first_that_agrees, looped, power_of_two, widest_activation
from galab.evaluation.batched.sigma_lines import SigmaLines, VaryingInputs, forward_along_lines
from galab.evaluation.blocks import Arrays, Blocks, EachExample
from galab.evaluation.dense_evaluator import Evaluator, Measurements
from galab.evaluation.member_evaluator import MemberEvaluator
from galab.genome.weights import Layout
from galab.operators.es_noise import WeightVector

logger = logging.getLogger("galab")

#: What the widest activation of a chunk may take: products over fewer examples are slow, more leave the cache.
_BLOCK_BYTES = 4 << 20
_FEWEST, _MOST = 32, 4096
#: Different step sizes, so that the probe detects mixed-up members.
_PROBE = (0.05, 0.1)

Floats = NDArray[np.float32]


class SigmaLineEvaluator:
    """Runs a network's mutants, as fast as their common noise allows (:mod:`galab.evaluation.batched.sigma_lines`).

    Weights are ``centre + sigma * z`` in float32: steps are not rounded to 2^-24 as those of births are, which moves a
    weight by 2^-25 at the most. Where the network's parameters are used in a way that is not known, and of networks
    that report memory use, each mutant is formed and given to the plain evaluator.

    Args:
        module: the network; only its structure and buffers are used.
        layout: where each parameter lies in a weight vector.
        task: gives ``measure``.
        plain: scores members that are formed.
        device: a torch device.
        chunk: directions at once.

    Attributes:
        chunk: directions at once.
        together: whether step sizes share their products.
    """

    def __init__(
        self, module: nn.Module, layout: Layout, task: Task, plain: MemberEvaluator, *,
        device: torch.device, chunk: int = 16,
    ) -> None:  # fmt: skip
        self.chunk = chunk
        self._layout = layout
        self._plain = plain
        self._blocks = Blocks(module, task, precision="float32", device=device)
        self._varying: tuple[Tensor | None, VaryingInputs | None] = (None, None)
        self._in_place = False
        self.together = isinstance(plain, Evaluator) and plain.heads == 0 and self._probed()

    def measure(
        self,
        centre: Floats,
        directions: Floats,
        sigmas: Sequence[float],
        examples: Examples,
        *,
        subsets: Sequence[Sequence[str]] = (),
        each: EachExample | None = None,
    ) -> Measurements:
        """Of V * S * P mutants: P directions fastest, then S step sizes, subsets slowest.

        Args:
            centre: (D,) weights.
            directions: (P, D), z.
            sigmas: S step sizes.
            examples: to score on.
            subsets: V sets of parameters; in each these alone are mutated. All parameters when it is empty.
            each: what else to compute, example by example.
        """
        chosen = [tuple(one) for one in subsets] or [self._layout.names]
        if self.together:
            try:
                sums, rows = self._sums(centre, directions, sigmas, chosen, examples, each)
                means = {name: values / len(examples) for name, values in sums.items()}
                return Measurements(means, {}, len(chosen) * len(sigmas) * len(directions) * len(examples), rows)
            except BaseException as error:  # one bad mutant fails alone, in the plain evaluator
                pass_interrupts(error)
                logger.debug("mutants are evaluated one by one: %s", error)
        return self._plain.measure(self._formed(centre, directions, sigmas, chosen), examples, each)

    def _sums(
        self,
        centre: Floats,
        directions: Floats,
        sigmas: Sequence[float],
        subsets: Sequence[Sequence[str]],
        examples: Examples,
        each: EachExample | None,
    ) -> tuple[Arrays, Arrays]:
        with torch.inference_mode():
            lines = SigmaLines(
                self._parts(centre),
                self._parts(directions),
                varying=self._varying_inputs(examples),
                in_place=self._in_place,
            )
            run = partial(forward_along_lines, self._blocks.module, lines, sigmas=sigmas, subsets=subsets)
            return self._blocks.sums(lambda inputs, start: run(inputs, start=start), examples, each)

    def _varying_inputs(self, examples: Examples) -> VaryingInputs | None:
        """Of these examples, which are mostly those of the call before."""
        known, varying = self._varying
        if known is not examples.inputs:
            flat = examples.inputs.dim() > 1 and examples.inputs.is_floating_point() and len(examples.inputs)
            varying = VaryingInputs(self._blocks.cast(examples.inputs)) if flat else None
            self._varying = examples.inputs, varying
        return varying

    def _formed(
        self, centre: Floats, directions: Floats, sigmas: Sequence[float], subsets: Sequence[Sequence[str]]
    ) -> list[WeightVector]:
        found = []
        for subset in subsets:
            mask = np.repeat([name in subset for name in self._layout.names], self._layout.sizes)
            found += [WeightVector(centre + np.float32(sigma) * z * mask) for sigma in sigmas for z in directions]
        return found

    def _parts(self, values: Floats) -> dict[str, Tensor]:
        """(..., D) as tensors by name."""
        device = self._blocks.device
        return {name: torch.tensor(part, device=device) for name, part in self._layout.split(values).items()}

    def _probed(self) -> bool:
        """Whether mutants come out as they do one by one; then the size of a block is set, too."""
        generator = torch.Generator().manual_seed(0)
        centre, *directions = (
            torch.empty(self._layout.size).uniform_(-0.2, 0.2, generator=generator).numpy() for _ in range(3)
        )
        names = [self._layout.names, self._layout.names[-1:], self._layout.names[:1]]
        parts = self._parts(centre), self._parts(np.stack(directions))
        candidates = {"in place": SigmaLines(*parts, in_place=True), "lines": SigmaLines(*parts)}
        formed = np.stack([one.weights for one in self._formed(centre, np.stack(directions), _PROBE, names)])
        module = self._blocks.module
        ways = {
            name: partial(forward_along_lines, module, one, sigmas=_PROBE, subsets=names)
            for name, one in candidates.items()
        }
        probe = self._blocks.cast(self._blocks.task.train.inputs[: max(PROBE_SIZES)])
        with torch.inference_mode():
            loop = partial(looped, module, self._parts(formed))
            # A network that looks at a sum again after its ReLU disagrees where that is overwritten.
            found = first_that_agrees({**ways, "loop": loop}, [probe[:size] for size in PROBE_SIZES])
            self._in_place = found == "in place"
            if found != "loop":
                # Of two members at one step size, so half of it is one's.
                once = partial(forward_along_lines, module, candidates[found], probe, _PROBE[:1], names[:1])
                widest = max(1, widest_activation(module, len(probe), once) // 2)
                fits = power_of_two(_BLOCK_BYTES, 4 * widest * self.chunk)
                self._blocks.block = min(_MOST, max(_FEWEST, fits))
        return found != "loop"
