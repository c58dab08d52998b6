"""Text from a language model of a run: bytes that go on with a text, or an answer to a prompt."""

from __future__ import annotations

from collections.abc import Iterator

from galab.errors import UsageError
from galab.evaluation.answers import answer
from galab.evaluation.continued_text import continued
from galab.models.language_model import LanguageModel
from galab.saved_runs.saved_run import SavedRun
from galab.tasks.prompts import PromptTask
from galab.tasks.text import ByteText


def generate(
    saved: SavedRun, prompt: str, *, length: int = 200, temperature: float = 0.8, seed: int = 0,
    member: int | None = None,
) -> Iterator[int]:  # fmt: skip
    """Go on with a text, or answer a prompt.

    An ``egg`` keeps its state over the whole text; any other network sees the last T bytes, as many as a sequence of
    its task has. One seed gives one text.

    A model of prompts is asked by its chat template, and ``length`` are tokens.

    Args:
        saved: a run on a text, or on prompts.
        prompt: how the text begins, in UTF-8.
        length: bytes, or tokens, to draw at most.
        temperature: what the logits are divided by; at 0 the likeliest byte is taken each time.
        seed: of the draws.
        member: rank of a parent by fitness; the champion, or the centre, when absent.

    Returns:
        The bytes drawn, one by one, without the prompt.

    Raises:
        UsageError: the run's task is not a text, or an argument is out of its range.
    """
    if length < 1:
        raise UsageError(f"expected --length 1 or more, got {length}")
    if not 0 <= temperature <= 100:
        raise UsageError(f"expected --temperature from 0 (the likeliest byte each time) to 100, got {temperature}")
    if not 0 <= seed < 2**63:
        raise UsageError(f"expected --seed from 0 to 2^63 - 1, got {seed}")
    begun = prompt.encode("utf-8", "surrogateescape")
    if not begun:
        raise UsageError("expected a text to go on with, got an empty one; leave it out to begin with a new line")
    if isinstance(saved.task, PromptTask):
        return iter(_answer(saved, prompt, length, temperature, seed, member).encode())
    if not isinstance(saved.task, ByteText):
        raise UsageError(
            f"{saved.path}: expected a run on a text or on prompts, such as --task tinyshakespeare, got one on "
            f"'{saved.task.name}'; only a language model can go on with a text"
        )
    module = saved.module_with(saved.member(member)).eval()
    return continued(module, saved.task.length, begun, count=length, temperature=temperature, seed=seed)


def _answer(saved: SavedRun, prompt: str, length: int, temperature: float, seed: int, member: int | None) -> str:
    """The answer of a language model to a prompt."""
    model = saved.module
    assert isinstance(model, LanguageModel)
    weights = {name: value[None].to(model.base.device) for name, value in saved.tensors(saved.member(member)).items()}
    asked = model.base.tokens(prompt)
    most = min(length, model.base.context - len(asked))
    if most < 1:
        raise UsageError(
            f"expected a prompt of less than {model.base.context} tokens, the context of '{model.base.name}', got "
            f"{len(asked)}; shorten it"
        )
    found = answer(model, weights, [asked], most, temperature=temperature, seed=seed)
    return model.base.text(found.tokens[0][0])
