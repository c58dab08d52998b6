"""Answers of many members of a language model at once: one batch, one cache of keys and values.

Rows are member-major: the prompts of the first member, then those of the second. Without a temperature the token with
the largest logit is taken each time (greedy decoding), so an answer is a function of the weights and the prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from galab.errors import UsageError
from galab.evaluation.batched import dense, low_rank_layers
from galab.evaluation.batched.dense import Fold
from galab.evaluation.batched.low_rank import LowRank, Stack
from galab.models.base_model import BaseModel, plain
from galab.models.language_model import LanguageModel

#: Tokens of prompts that are read at once: more would take more memory than the cache of their keys and values.
_READ_AT_ONCE = 512
#: Members leave as soon as so large a share of them have answered all their prompts.
_LEAVING = 0.25


@dataclass(frozen=True, slots=True)
class Answers:
    """What members answered.

    Attributes:
        tokens: P lists of B answers, without the tokens that end them.
        broken: places of members whose logits were not finite.
        drawn: tokens that were computed, for members that were broken too.
    """

    tokens: list[list[list[int]]]
    broken: frozenset[int]
    drawn: int


class MemberProducts:
    """Products with the parameters of several members, see :data:`galab.models.language_model.Product`.

    Args:
        weights: name to each parameter: a stack of dense values (P, ...), or of low-rank changes.
        prompts: B, rows of each member.
    """

    def __init__(self, weights: Mapping[str, Stack], prompts: int) -> None:
        self._weights = dict(weights)
        self._prompts = prompts
        self.members = members_of(weights)

    def __call__(self, x: Tensor, name: str) -> Tensor:
        """(P B, ..., in) to (P B, ..., out)."""
        weight, fold = self._weights[name], Fold(self.members, self._prompts, by_member=True)
        if isinstance(weight, LowRank):
            # A long prompt would be cheaper with formed weights, but they would take a model's memory for each member.
            return low_rank_layers.linear(fold, x, weight, may_form=False)
        return dense.linear(fold, x, weight)

    @contextmanager
    def only(self, first: int, last: int) -> Iterator[None]:
        """Some of the members alone, for a while."""
        whole = self._weights, self.members
        self._weights = some_members(self._weights, torch.arange(first, last))
        self.members = last - first
        try:
            yield
        finally:
            self._weights, self.members = whole

    def keep(self, places: Tensor) -> None:
        """Go on with some of the members alone."""
        self._weights = some_members(self._weights, places)
        self.members = len(places)


def some_members(weights: Mapping[str, Stack], places: Tensor) -> dict[str, Stack]:
    """The parameters of some of the members."""
    return {name: _chosen(weight, places) for name, weight in weights.items()}


def members_of(weights: Mapping[str, Stack]) -> int:
    """P, how many members there are."""
    first = next(iter(weights.values()))
    return first.members if isinstance(first, LowRank) else len(first)


def _chosen(weight: Stack, places: Tensor) -> Stack:
    if isinstance(weight, LowRank):
        return LowRank(weight.base, weight.a[places], weight.every_b()[places])
    return weight[places]


def answer(
    model: LanguageModel, weights: Mapping[str, Stack] | None, prompts: Sequence[Sequence[int]], most: int, *,
    temperature: float = 0.0, seed: int = 0,
) -> Answers:  # fmt: skip
    """The answers of P members to B prompts.

    Args:
        model: gives the base, and says how its layers are made of the weights.
        weights: of the members; None is the base itself, as one member.
        prompts: their tokens.
        most: tokens of an answer at most.
        temperature: what logits are divided by before a token is drawn; 0 takes the likeliest each time.
        seed: of the draws, which are the same for all members.

    Raises:
        UsageError: a prompt and its answer do not fit the context of the model.
    """
    base, longest = model.base, max(map(len, prompts))
    if longest + most > base.context:
        raise UsageError(
            f"expected prompts of at most {base.context - most} tokens, as the context of '{base.name}' has "
            f"{base.context} and --answer-tokens are {most}, got one of {longest}; shorten it, or lower --answer-tokens"
        )
    products = None if weights is None else MemberProducts(weights, len(prompts))
    rule = plain if products is None else model.rule(products)
    with torch.inference_mode(), base.using(rule) as network:
        chooser = _Chooser(temperature, seed, len(prompts))
        return _Writing(base, network, products, prompts, chooser).to_the_end(most)


class _Chooser:
    """Chooses tokens: the likeliest ones, or drawn with coins that all members share.

    Args:
        temperature: 0 takes the likeliest.
        seed: of the coins.
        prompts: B, each with a coin of its own in every step.
    """

    def __init__(self, temperature: float, seed: int, prompts: int) -> None:
        self._temperature, self._prompts = temperature, prompts
        self._random = np.random.Philox(key=seed)

    def chosen(self, logits: Tensor) -> Tensor:
        """(P B,) tokens from (P B, vocabulary) logits."""
        if not self._temperature:
            return logits.argmax(1)
        coins = torch.from_numpy(self._random.random_raw(self._prompts) / 2.0**64).to(logits.device)
        cumulative = (logits.double() / self._temperature).softmax(1).cumsum(1)
        wanted = coins.repeat(len(logits) // self._prompts)[:, None] * cumulative[:, -1:]
        return torch.searchsorted(cumulative, wanted, right=True)[:, 0].clamp(max=logits.shape[1] - 1)


class _Writing:
    """Answers that are being written."""

    def __init__(
        self, base: BaseModel, network: Any, products: MemberProducts | None, prompts: Sequence[Sequence[int]],
        chooser: _Chooser,
    ) -> None:  # fmt: skip
        self._base, self._network, self._products, self._chooser = base, network, products, chooser
        self._prompts = len(prompts)
        members = 1 if products is None else products.members
        self._device = next(network.parameters()).device
        self._ends = torch.tensor(sorted(base.ends), device=self._device)
        self._ids, self._mask = (part.repeat(members, 1).to(self._device) for part in padded(prompts))
        self._found: list[list[list[int]]] = [[[] for _ in prompts] for _ in range(members)]
        self._present = torch.arange(members)  # of each row's member, its place
        self._done = torch.zeros(members, len(prompts), dtype=torch.bool, device=self._device)
        self._broken = set[int]()
        self._drawn = 0
        self._cache: dict[str, Any] = base.new_cache()

    def to_the_end(self, most: int) -> Answers:
        """Write until all are over."""
        logits = self._read()
        for left in reversed(range(most)):
            self._note_broken(logits)
            tokens = self._chooser.chosen(logits)
            self._take(tokens)
            if not left or bool(self._done.all()):
                break
            ids = self._part(tokens)
            self._mask = torch.cat([self._mask, self._mask.new_ones(len(self._mask), 1)], dim=1)
            logits = self._next_logits(ids, self._mask, self._cache)
        return Answers(self._found, frozenset(self._broken), self._drawn)

    def _read(self) -> Tensor:
        """Read the prompts, some members at a time; (rows, vocabulary) of the first token of the answers."""
        at_once = max(1, _READ_AT_ONCE // self._ids[: self._prompts].numel())
        if self._products is None or self._products.members <= at_once:
            return self._next_logits(self._ids, self._mask, self._cache)
        logits, caches = list[Tensor](), list[dict[str, Any]]()
        for first in range(0, self._products.members, at_once):
            last = min(first + at_once, self._products.members)
            rows = slice(first * self._prompts, last * self._prompts)
            caches.append(self._base.new_cache())
            with self._products.only(first, last):
                logits.append(self._next_logits(self._ids[rows], self._mask[rows], caches[-1]).clone())
        self._cache = self._base.joined_caches(caches)
        return torch.cat(logits)

    def _next_logits(self, ids: Tensor, mask: Tensor, cache: dict[str, Any]) -> Tensor:
        """(rows, vocabulary) of the token that follows."""
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        found = self._network(
            input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=True, logits_to_keep=1, **cache
        )
        logits: Tensor = found.logits[:, -1]
        return logits

    def _note_broken(self, logits: Tensor) -> None:
        bad = ~logits.isfinite().all(1).view(-1, self._prompts)
        for row in (bad & ~self._done).any(1).nonzero().flatten().tolist():
            self._broken.add(int(self._present[row]))
            self._done[row] = True

    def _take(self, tokens: Tensor) -> None:
        """Add a token to each answer that is not over."""
        going = ~self._done
        self._drawn += int(going.sum())
        ended = torch.isin(tokens, self._ends).view(-1, self._prompts)
        self._done |= ended
        for row, prompt in (going & ~ended).nonzero().tolist():
            self._found[int(self._present[row])][prompt].append(int(tokens[row * self._prompts + prompt]))

    def _part(self, tokens: Tensor) -> Tensor:
        """Part with members whose answers are all over, if they are many; the tokens of the others, (rows, 1)."""
        over = self._done.all(1)
        if self._products is None or int(over.sum()) < _LEAVING * len(over):
            return tokens[:, None]
        left = (~over).nonzero().flatten()
        rows = (left[:, None] * self._prompts + torch.arange(self._prompts, device=left.device)).flatten()
        self._products.keep(left)
        for cache in self._cache.values():
            cache.batch_select_indices(rows)
        self._mask, self._done = self._mask[rows], self._done[left]
        self._present = self._present[left.cpu()]
        return tokens[rows, None]


def padded(prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Tokens (B, L), with zeros to the left of shorter prompts, and a mask that is 0 there."""
    longest = max(map(len, prompts))
    ids, mask = torch.zeros(2, len(prompts), longest, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    return ids, mask


def divergence(
    model: LanguageModel, weights: Mapping[str, Stack], prompt: Sequence[int], answer: Sequence[int]
) -> Tensor:
    """KL(base || member) in nats a token, on a given answer to a prompt.

    Args:
        model: gives the base.
        weights: of P members.
        prompt: its tokens.
        answer: tokens of the base's answer; an empty one counts as one token, the end.

    Returns:
        (P,) float64.
    """
    (wanted,) = _logarithms(model, None, prompt, answer)
    chances = wanted.exp()
    each = [(chances * (wanted - own)).sum(1).mean() for own in _logarithms(model, weights, prompt, answer)]
    return torch.stack(each).cpu()


def log_probabilities(
    model: LanguageModel, weights: Mapping[str, Stack] | None, prompt: Sequence[int], answer: Sequence[int]
) -> Tensor:
    """Log-probabilities in nats of the tokens of an answer to a prompt.

    Args:
        model: gives the base.
        weights: of P members; None is the base itself, as one member.
        prompt: its tokens.
        answer: its tokens, T of them.

    Returns:
        (P, T) float64.
    """
    tokens = torch.tensor(answer)[:, None]
    found = _logarithms(model, weights, prompt, answer)
    return torch.stack([own[:-1].cpu().gather(1, tokens)[:, 0] for own in found])


def _logarithms(
    model: LanguageModel, weights: Mapping[str, Stack] | None, prompt: Sequence[int], answer: Sequence[int]
) -> Iterator[Tensor]:
    """Of the probabilities of each member, (T + 1, vocabulary), from the last token of the prompt on."""
    products = None if weights is None else MemberProducts(weights, 1)
    rule, members = (plain, 1) if products is None else (model.rule(products), products.members)
    ids = torch.tensor([[*prompt, *answer]], device=model.base.device)
    with torch.inference_mode(), model.base.using(rule) as network:
        found = network(input_ids=ids.repeat(members, 1), logits_to_keep=len(answer) + 1, use_cache=False)
    for logits in found.logits:
        yield logits.double().log_softmax(1)
