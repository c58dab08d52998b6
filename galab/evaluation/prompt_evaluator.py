"""Scores members of a language model by their answers to prompts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from galab.contracts import Examples, Member
from galab.errors import GalabError, UsageError, pass_interrupts
from galab.evaluation import numeric_profile
from galab.evaluation.answers import answer, divergence, members_of, some_members
from galab.evaluation.batched.low_rank import LowRank, Stack
from galab.evaluation.blocks import EachExample, added, stacked
from galab.evaluation.dense_evaluator import Measurements
from galab.evaluation.es_evaluator import Chunk, perturbed_parameters
from galab.evaluation.generators import Generator, Texts, TransformersGenerator
from galab.genome.weights import Layout
from galab.models.language_model import LanguageModel
from galab.operators.es_noise import Noise, chunks_of, size_of
from galab.tasks.prompts import MEASURES, PromptTask

#: KL in nats a token that counts as no change, and the least that counts as one.
_NOTHING, _SOMETHING = 1e-6, 1e-3
#: Training prompts that a server is tried on.
_TRIED = 4
#: Prompts that a member answers at once.
_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class _BaseAnswer:
    """What the base answers to a prompt, what that is worth, and whether it is right."""

    text: str
    reward: float
    right: bool


@dataclass(frozen=True, slots=True)
class _Scored:
    """Of P members: sums over the prompts, name to (P,); rewards (P, B); failures; and the tokens that were written."""

    sums: dict[str, NDArray[np.float64]]
    rewards: NDArray[np.float64]
    failures: dict[int, str]
    tokens: int


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
        generator: where answers come from; transformers when None.
    """

    #: The use of memories is not reported.
    heads = 0
    #: Examples run at once: all.
    block = 0
    compiled = False
    recompilations = 0
    outputs = 0

    def __init__(
        self, module: LanguageModel, layout: Layout, task: PromptTask, *, chunk: int, tokens: int,
        device: torch.device, divergence: bool = False, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self.module = module
        self.chunk = chunk
        self._layout, self._task, self._tokens, self._device = layout, task, tokens, device
        self._divergence = divergence
        self._generator = generator or TransformersGenerator(module, tokens)
        self._prompts: dict[int, list[int]] = {}
        self._base_answers: dict[int, _BaseAnswer] = {}
        self._base_tokens: dict[int, list[int]] = {}
        module.base.model.to(device)

    @property
    def forward_name(self) -> str:
        """How answers are computed, for the numeric profile."""
        return f"answers by {self._generator.name}"

    def prepared(self, examples: Examples) -> Examples:
        """The same: prompts are whole numbers."""
        return examples

    def check_adapts(self, seed: int = 0) -> None:
        """Try that steps reach the answers: none must change nothing, a large one something, and twice the same.

        Raises:
            UsageError: they do not, so that a run would evolve what nobody hears.
        """
        number = int(self._task.train.targets[0])
        weights = _probes({name: value.detach() for name, value in self.module.named_parameters()}, seed, self._device)
        base = self._tokens_by_base(number)
        none, large, again = divergence(self.module, weights, self._tokens_of(number), base).tolist()
        if none > _NOTHING:
            found = f"others with a step of zero (KL {none:.3g})"
        elif large < _SOMETHING:
            found = f"the same with a large step (KL {large:.3g})"
        elif not math.isclose(large, again, rel_tol=1e-3):
            found = f"others with the same step once more (KL {large:.6g} and {again:.6g})"
        else:
            self._generator.check([self._tokens_of(one) for one in self._task.train.targets[:_TRIED].tolist()])
            return
        raise UsageError(
            f"expected answers of '{self.module.base.name}' that follow its evolved weights, got {found}; choose other "
            "layers (--layers) or another base"
        )

    def measure(self, members: Sequence[Member], examples: Examples, each: EachExample | None = None) -> Measurements:
        """Mean results of each member over the prompts; ``spent`` has the tokens that were written.

        Args:
            members: to score.
            examples: the prompts.
            each: rewards of each prompt are given where something is asked for example by example.
        """
        sums: dict[str, list[NDArray[np.float64]]] = {}
        rewards = list[NDArray[np.float64]]()
        failures, spent = dict[int, str](), dict[str, int]()
        for first in range(0, len(members), self.chunk):
            scored = self._scored(self._stacked(members[first : first + self.chunk]), examples)
            for name, values in scored.sums.items():
                sums.setdefault(name, []).append(values)
            rewards.append(scored.rewards)
            failures |= {first + place: reason for place, reason in scored.failures.items()}
            spent = added([spent, {"tokens": scored.tokens}])
        means = {name: np.concatenate(parts) / len(examples) for name, parts in sums.items()}
        by_prompt = {"reward": np.concatenate(rewards)} if each is not None else {}
        return Measurements(means, failures, len(members) * len(examples), by_prompt, spent)

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
        for first, part in chunks_of(noise, width, starts):
            weights = perturbed_parameters(centre, part, sigma, antithetic=antithetic)
            scored = self._scored(weights, examples)
            count = len(scored.rewards) * len(examples)
            by_prompt = {"reward": scored.rewards} if each is not None else {}
            spent = {"tokens": scored.tokens}
            yield Chunk(first, size_of(part), scored.sums, by_prompt, scored.failures, count, spent)

    def _scored(self, weights: Mapping[str, Stack], examples: Examples) -> _Scored:
        """What members' answers are worth."""
        numbers = examples.targets.tolist()
        results = np.full((members_of(weights), len(numbers), len(MEASURES)), np.nan)
        failures, drawn = self._fill(results, weights, numbers)
        results[list(failures)] = np.nan
        found = self._task.measure(torch.from_numpy(results), torch.zeros(0))
        wanted = MEASURES if self._divergence else MEASURES[:-1]
        return _Scored({name: found[name].numpy() for name in wanted}, results[:, :, 0], failures, drawn)

    def _fill(
        self, results: NDArray[np.float64], weights: Mapping[str, Stack], numbers: Sequence[int]
    ) -> tuple[dict[int, str], int]:
        """Enter what members' answers are worth: (P, B, measures). An error fails those alone whose it is."""
        try:
            found = [self._answered(weights, block) for block in _blocks(numbers)]
            if self._divergence:
                for column, number in enumerate(numbers):
                    prompt, own = self._tokens_of(number), self._tokens_by_base(number)
                    results[:, column, -1] = divergence(self.module, weights, prompt, own).numpy()
        except BaseException as error:
            pass_interrupts(error)
            if isinstance(error, (MemoryError, GalabError, torch.OutOfMemoryError)):
                raise  # no fault of a member's
            if len(results) == 1:
                numeric_profile.log_member_failure(error)
                return {0: f"{type(error).__name__}: {error}"}, 0
            found = None  # and not here, or the error of all would be shown as each member's cause
        if found is None:
            alone = [
                self._fill(results[place : place + 1], some_members(weights, torch.tensor([place])), numbers)
                for place in range(len(results))
            ]
            failures = {place: reason for place, (own, _) in enumerate(alone) for reason in own.values()}
            return failures, sum(drawn for _, drawn in alone)
        broken = frozenset().union(*(answers.broken for answers in found))
        for place in sorted(set(range(len(results))) - broken):
            told = [text for answers in found for text in answers.texts[place]]
            results[place, :, :-1] = [self._graded(*pair) for pair in zip(numbers, told, strict=True)]
        return dict.fromkeys(sorted(broken), "its outputs are not finite"), sum(answers.tokens for answers in found)

    def _graded(self, number: int, text: str) -> tuple[float, ...]:
        """What :data:`galab.tasks.prompts.MEASURES` says of an answer, but the divergence."""
        base = self._base_answer(number)
        reward, right = self._task.grade(number, text), self._task.is_right(number, text)
        changed, lost = text != base.text, base.right and not right
        return reward, right, changed, reward - base.reward, lost, base.right, len(text)

    def shown(self, member: Member, numbers: Sequence[int]) -> str:
        """Some prompts with the base's answers and a member's, in words."""
        (found,) = self._answered(self._stacked([member]), numbers).texts
        return "\n\n".join(
            f"{self._task.prompts[number].text}\n  base: {self._base_answer(number).text}\n  now: {now}"
            for number, now in zip(numbers, found, strict=True)
        )

    def _answered(self, weights: Mapping[str, Stack], numbers: Sequence[int]) -> Texts:
        return self._generator.texts(weights, [self._tokens_of(number) for number in numbers])

    def _base_answer(self, number: int) -> _BaseAnswer:
        """What the base itself answers to a prompt alone; asked once."""
        if number not in self._base_answers:
            if isinstance(self._generator, TransformersGenerator):  # the base that is here, which is asked once
                text = self.module.base.text(self._tokens_by_base(number))
            else:
                ((text,),) = self._generator.texts(None, [self._tokens_of(number)]).texts
            found = _BaseAnswer(text, self._task.grade(number, text), self._task.is_right(number, text))
            self._base_answers[number] = found
        return self._base_answers[number]

    def _tokens_by_base(self, number: int) -> list[int]:
        """The answer by the base that is here, which divergence is measured on."""
        if number not in self._base_tokens:
            ((tokens,),) = answer(self.module, None, [self._tokens_of(number)], self._tokens).tokens
            self._base_tokens[number] = tokens
        return self._base_tokens[number]

    def _tokens_of(self, number: int) -> list[int]:
        if number not in self._prompts:
            self._prompts[number] = self.module.base.tokens(self._task.prompts[number].text)
        return self._prompts[number]

    def _stacked(self, members: Sequence[Member]) -> dict[str, Stack]:
        stacks = stacked(self._layout, members)
        return {name: torch.from_numpy(values).to(self._device) for name, values in stacks.items()}


def _probes(parameters: Mapping[str, Tensor], seed: int, device: torch.device) -> dict[str, Stack]:
    """Three members: the network as it is, and twice with one step about as large as its weights."""
    generator = torch.Generator().manual_seed(seed)
    found = dict[str, Stack]()
    for name, value in parameters.items():
        size = float(value.square().mean().sqrt()) or 1.0
        a, b = (torch.randn(length, 1, generator=generator) for length in value.shape)
        steps = torch.stack([torch.zeros_like(a), size * a, size * a])
        found[name] = LowRank(value.to(device), steps.to(device), b.expand(3, -1, -1).to(device))
    return found


def _blocks(numbers: Sequence[int]) -> list[Sequence[int]]:
    """Prompts that are answered at once."""
    return [numbers[first : first + _AT_ONCE] for first in range(0, len(numbers), _AT_ONCE)]
