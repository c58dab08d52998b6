"""Scores members of a language model by their answers to prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from galab.contracts import Examples, Member
from galab.errors import UsageError, pass_interrupts
from galab.evaluation import numeric_profile
from galab.evaluation.answers import Answers, answer, divergence
from galab.evaluation.batched.low_rank import LowRank, Stack
from galab.evaluation.blocks import EachExample, added
from galab.evaluation.dense_evaluator import Measurements
from galab.evaluation.es_evaluator import Chunk, perturbed_parameters
from galab.genome.weights import Layout
from galab.models.language_model import LanguageModel
from galab.operators.es_noise import Noise, size_of
from galab.tasks.prompts import MEASURES, PromptTask


class PromptEvaluator:
    """Scores members by their answers; see :mod:`galab.evaluation.sources`.

    Args:
        module: the language model.
        layout: where each parameter lies in a weight vector.
        task: the prompts and their reward.
        chunk: members that answer side by side.
        tokens: of an answer at most.
        device: where the model is computed.
        divergence: whether the divergence from the base is computed, too.
    """

    #: The use of memories is not reported.
    heads = 0
    #: Examples run at once: all.
    block = 0
    compiled = False
    recompilations = 0
    outputs = 1
    forward_name = "answers"

    def __init__(
        self, module: LanguageModel, layout: Layout, task: PromptTask, *, chunk: int, tokens: int,
        device: torch.device, divergence: bool = False,
    ) -> None:  # fmt: skip
        self.module = module
        self.chunk = chunk
        self._layout, self._task, self._tokens, self._device = layout, task, tokens, device
        self._divergence = divergence
        self._prompts: dict[int, list[int]] = {}
        self._base_answers: dict[int, list[int]] = {}
        module.base.model.to(device)

    def prepared(self, examples: Examples) -> Examples:
        """The same: prompts are whole numbers."""
        return examples

    def measure(self, members: Sequence[Member], examples: Examples, each: EachExample | None = None) -> Measurements:
        """Mean results of each member over the prompts; ``spent`` has the tokens that were written.

        Args:
            members: to score.
            examples: the prompts.
            each: not asked for here.
        """
        sums: dict[str, list[NDArray[np.float64]]] = {}
        failures, spent = dict[int, str](), dict[str, int]()
        for first in range(0, len(members), self.chunk):
            found, broken, tokens = self._scored(self._stacked(members[first : first + self.chunk]), examples)
            for name, values in found.items():
                sums.setdefault(name, []).append(values)
            failures |= {first + place: reason for place, reason in broken.items()}
            spent = added([spent, {"tokens": tokens}])
        means = {name: np.concatenate(parts) / len(examples) for name, parts in sums.items()}
        return Measurements(means, failures, len(members) * len(examples), spent=spent)

    def directions_at_once(self, antithetic: bool) -> int:
        """How many directions make a chunk."""
        return max(1, self.chunk // 2) if antithetic else self.chunk

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
        """The members along some directions, see :class:`galab.evaluation.es_evaluator.PerturbedEvaluator`."""
        width = self.directions_at_once(antithetic)
        for first in range(0, size_of(noise), width) if starts is None else starts:
            part = {name: values.part(first, first + width) for name, values in noise.items()}
            weights = perturbed_parameters(centre, part, sigma, antithetic=antithetic)
            sums, failures, tokens = self._scored(weights, examples)
            count = size_of(part) * (2 if antithetic else 1)
            yield Chunk(first, size_of(part), sums, {}, failures, count * len(examples), {"tokens": tokens})

    def _scored(
        self, weights: Mapping[str, Stack], examples: Examples
    ) -> tuple[dict[str, NDArray[np.float64]], dict[int, str], int]:
        """Sums over the prompts, name to (P,); the failures; and the tokens that were written."""
        numbers = examples.targets.tolist()
        try:
            found = self._answered(weights, numbers)
        except BaseException as error:
            pass_interrupts(error)
            if isinstance(error, (MemoryError, UsageError)):
                raise  # no fault of a member's
            numeric_profile.log_member_failure(error)
            reasons = dict.fromkeys(range(_members(weights)), f"{type(error).__name__}: {error}")
            return self._sums(np.full((len(reasons), len(numbers), len(MEASURES)), np.nan)), reasons, 0
        results = np.full((len(found.tokens), len(numbers), len(MEASURES)), np.nan)
        base = self._base_answered(numbers)
        for place, answers in enumerate(found.tokens):
            if place not in found.broken:
                results[place, :, :-1] = [
                    self._graded(number, tokens, own)
                    for number, tokens, own in zip(numbers, answers, base, strict=True)
                ]
        failures = dict.fromkeys(sorted(found.broken), "its outputs are not finite")
        if self._divergence:
            results[..., -1] = divergence(self.module, weights, [self._tokens_of(one) for one in numbers], base).numpy()
        return self._sums(results), failures, found.drawn

    def _sums(self, results: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        found = self._task.measure(torch.from_numpy(results), torch.zeros(0))
        wanted = MEASURES if self._divergence else MEASURES[:-1]
        return {name: found[name].numpy() for name in wanted}

    def _graded(self, number: int, tokens: list[int], base: list[int]) -> tuple[float, ...]:
        """What :data:`galab.tasks.prompts.MEASURES` says of an answer, but the divergence."""
        task, text, before = self._task, self.module.base.text(tokens), self.module.base.text(base)
        reward, right = task.grade(number, text), task.is_right(number, text)
        gained, lost = reward - task.grade(number, before), task.is_right(number, before) and not right
        return reward, float(right), float(tokens != base), gained, float(lost), float(len(text))

    def shown(self, member: Member, numbers: Sequence[int]) -> str:
        """Some prompts with the base's answers and a member's, in words."""
        found, base = self._answered(self._stacked([member]), numbers).tokens[0], self._base_answered(numbers)
        text = self.module.base.text
        return "\n\n".join(
            f"{self._task.prompts[number].text}\n  base: {text(before)}\n  now: {text(now)}"
            for number, before, now in zip(numbers, base, found, strict=True)
        )

    def _answered(self, weights: Mapping[str, Stack] | None, numbers: Sequence[int]) -> Answers:
        return answer(self.module, weights, [self._tokens_of(number) for number in numbers], self._tokens)

    def _base_answered(self, numbers: Sequence[int]) -> list[list[int]]:
        """What the base itself answers; asked once."""
        if new := [number for number in dict.fromkeys(numbers) if number not in self._base_answers]:
            self._base_answers |= zip(new, self._answered(None, new).tokens[0], strict=True)
        return [self._base_answers[number] for number in numbers]

    def _tokens_of(self, number: int) -> list[int]:
        if number not in self._prompts:
            self._prompts[number] = self.module.base.tokens(self._task.prompts[number].text)
        return self._prompts[number]

    def _stacked(self, members: Sequence[Member]) -> dict[str, Stack]:
        layout = self._layout
        stacks = {
            name: np.empty((len(members), *shape), dtype=np.float32)
            for name, shape in zip(layout.names, layout.shapes, strict=True)
        }
        for row, member in enumerate(members):
            member.write([stacks[name][row].reshape(-1) for name in layout.names])
        return {name: torch.from_numpy(stack).to(self._device) for name, stack in stacks.items()}


def _members(weights: Mapping[str, Stack]) -> int:
    first = next(iter(weights.values()))
    return first.members if isinstance(first, LowRank) else len(first)
