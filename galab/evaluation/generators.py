"""Where the answers of members come from: this process, by transformers, or a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from galab.evaluation.answers import answer
from galab.evaluation.batched.low_rank import Stack
from galab.models.language_model import LanguageModel


@dataclass(frozen=True, slots=True)
class Texts:
    """What members answered.

    Attributes:
        texts: P lists of B answers.
        broken: places of members whose outputs were not finite.
        tokens: that were computed.
    """

    texts: list[list[str]]
    broken: frozenset[int]
    tokens: int


class Generator(Protocol):
    """Answers prompts as members of a language model would."""

    @property
    def name(self) -> str:
        """What computes answers, with its version, for the numeric profile."""

    def texts(self, weights: Mapping[str, Stack] | None, prompts: Sequence[Sequence[int]]) -> Texts:
        """The likeliest answers.

        Args:
            weights: of P members; None is the base itself, as one member.
            prompts: tokens of B prompts.
        """

    def check(self, prompts: Sequence[Sequence[int]]) -> None:
        """Try on a few prompts that answers follow the weights of members.

        Raises:
            GalabError: they do not.
        """


class TransformersGenerator:
    """Answers by transformers, in this process. See :class:`Generator`.

    Args:
        module: the language model.
        tokens: of an answer at most.
    """

    def __init__(self, module: LanguageModel, tokens: int) -> None:
        self._module, self._tokens = module, tokens

    @property
    def name(self) -> str:
        """See :attr:`Generator.name`."""
        return self._module.base.library

    def texts(self, weights: Mapping[str, Stack] | None, prompts: Sequence[Sequence[int]]) -> Texts:
        """See :meth:`Generator.texts`."""
        found = answer(self._module, weights, prompts, self._tokens)
        text = self._module.base.text
        return Texts([[text(one) for one in own] for own in found.tokens], found.broken, found.drawn)

    def check(self, prompts: Sequence[Sequence[int]]) -> None:
        """Nothing to try: what computes these answers is what the probe of an evaluator looks at."""
