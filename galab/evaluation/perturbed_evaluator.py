"""Scores the members of an evolution strategy: one centre, perturbed along numbered directions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from galab.contracts import Examples, Task
from galab.evaluation.around import members_around, members_at_once
from galab.evaluation.blocks import DTYPES, Arrays, EachExample, one_by_one
from galab.evaluation.low_rank import Common, Stack
from galab.evaluation.products import Products
from galab.evaluation.runner import Runner, Running
from galab.genome.noise import table
from galab.perturbation.directions import Factors, Noise, draw, size_of
from galab.perturbation.plan import Plan

#: So many are taken to be run at once when members are counted; more are cut into blocks.
_MOST_EXAMPLES = 1024
_PROBE_SIGMA = 0.1


@dataclass(frozen=True, slots=True)
class Chunk:
    """What some members scored, all plus and then all minus where they are pairs.

    Attributes:
        start: the first direction, from 0.
        directions: how many.
        sums: name to (P,) sums over the examples.
        examples: name to (P, B), what was asked for example by example.
        failures: place to the reason.
    """

    start: int
    directions: int
    sums: Arrays
    examples: Arrays
    failures: dict[int, str]


class PerturbedEvaluator(Running):
    """Runs members around a centre; their weights are formed only where that is faster.

    Args:
        module: the network; only its structure and buffers are used.
        plan: what a direction is made of.
        task: gives ``measure`` and the shape of the examples.
        chunk: members evaluated at once; 0 chooses by the network's widths and the batch.
        batch: examples of a generation, for that choice.
        compile: ``on`` or ``off``.
        pairs: ``antithetic``, ``one-sided``, or ``auto`` for both: what to compile for.
        precision: ``float32`` or ``bfloat16``.
        device: a torch device.

    Attributes:
        chunk: members evaluated at once, an even number.
    """

    def __init__(
        self,
        module: nn.Module,
        plan: Plan,
        task: Task,
        *,
        chunk: int,
        batch: int,
        precision: str,
        device: torch.device,
        compile: str = "off",
        pairs: str = "auto",
    ) -> None:
        self.precision = precision
        self._device, self._dtype = device, DTYPES[precision]
        self._runner = Runner(
            module, task, precision=precision, device=device, probes=self._probe_members(module, plan, 4)
        )
        batch, compiled = min(batch or len(task.train), len(task.train)), compile == "on"
        own = self._runner.blocks.module
        best = members_at_once(own, self._runner.probe, min(batch, _MOST_EXAMPLES), plan, compiled=compiled)
        self.chunk = chunk + chunk % 2 or best
        self._runner.fit(self.chunk, batch, compiled=compiled)
        if compiled:
            self._compile(pairs, module, plan)

    def directions_at_once(self, antithetic: bool) -> int:
        """How many directions make a chunk."""
        return self.chunk // 2 if antithetic else self.chunk

    def along(
        self,
        centre: Mapping[str, Tensor],
        noise: Noise,
        sigma: float,
        examples: Examples,
        each: EachExample | None,
        *,
        antithetic: bool,
        starts: Sequence[int] | None = None,
    ) -> Iterator[Chunk]:
        """The members along some directions, chunk by chunk.

        A chunk that raises is repeated member by member, so one bad member fails alone. What chunks have in common is
        computed for all directions, so a chunk is the same to the bit whichever others are asked for.

        Args:
            centre: name to tensor, float32.
            noise: of the directions.
            sigma: the step size.
            examples: on what.
            each: what to compute example by example besides.
            antithetic: whether each direction makes two members.
            starts: the first directions of those chunks that are wanted; all when absent.
        """
        width = self.directions_at_once(antithetic)
        products = Products(outputs_first=self.compiled)
        common_at = self._common(noise, products)
        for start in range(0, size_of(noise), width) if starts is None else starts:
            part = {name: values.part(start, start + width) for name, values in noise.items()}
            try:
                members = self.members(centre, part, sigma, antithetic=antithetic, common=common_at(start))
                sums, rows = self._runner.sums(members, examples, each, products, antithetic)
                found = sums, rows, dict[int, str]()
            except Exception:
                found = None  # and not here, or the error of the whole chunk would be shown as each member's cause
            found = found or self._one_by_one(centre, part, sigma, examples, each, antithetic)
            yield Chunk(start, size_of(part), *found)

    def members(
        self,
        centre: Mapping[str, Tensor],
        noise: Noise,
        sigma: float,
        *,
        antithetic: bool,
        common: Mapping[str, Common] | None = None,
    ) -> dict[str, Stack]:
        """See :func:`members_around`, in the precision of the forward."""
        return members_around(centre, noise, sigma, antithetic=antithetic, dtype=self._dtype, common=common)

    def _one_by_one(
        self,
        centre: Mapping[str, Tensor],
        noise: Noise,
        sigma: float,
        examples: Examples,
        each: EachExample | None,
        antithetic: bool,
    ) -> tuple[Arrays, Arrays, dict[int, str]]:
        count = size_of(noise)
        signed = [(place, sigma) for place in range(count)]
        signed += [(place, -sigma) for place in range(count)] if antithetic else []

        def alone(member: int) -> tuple[Arrays, Arrays]:
            place, step = signed[member]
            own = {name: part.part(place, place + 1) for name, part in noise.items()}
            return self._runner.sums(self.members(centre, own, step, antithetic=False), examples, each, Products())

        return one_by_one(len(signed), len(signed), alone)

    def _probe_members(
        self,
        module: nn.Module,
        plan: Plan,
        count: int,
        products: Products | None = None,
        *,
        antithetic: bool = True,
    ) -> dict[str, Stack]:
        """Members unlike each other, so that a forward that takes one for another is found out."""
        centre = {name: value.detach().float().to(self._device) for name, value in module.named_parameters()}
        noise = draw(plan, table("normal"), 0, 0, 0, count // 2 if antithetic else count)
        moved = {name: part.to(self._device) for name, part in noise.items()}
        common = None if products is None else self._common(moved, products)(0)
        return self.members(centre, moved, _PROBE_SIGMA, antithetic=antithetic, common=common)

    def _common(self, noise: Noise, products: Products) -> Callable[[int], dict[str, Common]]:
        """From a chunk's first direction to where its products are found."""
        whole = {name: part.b.to(self._dtype) for name, part in noise.items() if isinstance(part, Factors)}
        return lambda start: {name: Common(products, name, b, start) for name, b in whole.items()}

    def _compile(self, pairs: str, module: nn.Module, plan: Plan) -> None:
        """Compile for pairs, for single members, or for both; all or nothing."""
        for antithetic in (True, False):
            if pairs not in ("auto", "antithetic" if antithetic else "one-sided"):
                continue
            products = Products(outputs_first=True)
            members = self._probe_members(module, plan, self.chunk, products, antithetic=antithetic)
            if not self._runner.compile(antithetic, members, products):
                return
