"""Prompts as a task: a language model answers them in text, and a reward grades each answer.

The examples of such a task are numbers of prompts. The champion is chosen by the training prompts, unless there are
prompts for validation; the test prompts are only reported.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from galab.config.registry import Registry
from galab.contracts import Examples
from galab.errors import DataError, UsageError

#: What an answer is measured by, in the order of the columns: its reward; whether it contains the target; whether it
#: differs from the base model's; what its reward is more than the base's; whether the base's contains the target and
#: this one does not, and whether the base's does; its characters; and the divergence from the base model, where that is
#: asked for.
MEASURES = ("reward", "correct", "changed", "gained", "lost", "base_correct", "characters", "kl")
#: From an answer and what was wanted to a number, larger is better.
Reward = Callable[[str, str], float]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked.

    Attributes:
        text: as the user says it, before a chat template.
        target: what a good answer says.
    """

    text: str
    target: str


class PromptTask:
    """Prompts and a reward, see :class:`galab.contracts.Task`: the targets of its examples are numbers of prompts.

    Args:
        name: of the task.
        train: what members are scored by.
        test: what is only reported.
        reward: grades an answer.
        validation: what the champion is chosen by; the training prompts when absent.
        description: one line.
        right: says of an answer and a target whether it is right; when absent, whether it contains the target.

    Attributes:
        prompts: all of them, in the order of their numbers.
    """

    input_shape = (1,)
    #: As many as the model knows tokens.
    outputs = 0

    def __init__(
        self, name: str, train: Sequence[Prompt], test: Sequence[Prompt], reward: Reward, *,
        validation: Sequence[Prompt] = (), description: str = "", right: Callable[[str, str], bool] | None = None,
    ) -> None:  # fmt: skip
        if not train or not test:
            raise UsageError(
                f"task '{name}': expected prompts to train on and to test by, got {len(train)} and {len(test)}; add "
                "some"
            )
        self.name = name
        self.prompts = (*train, *validation, *test)
        self.description = description or f"{name}, {len(train):,} prompts, and {len(test):,} to test by"
        told = json.dumps([name, [len(train), len(validation)], [[one.text, one.target] for one in self.prompts]])
        self.fingerprint = hashlib.sha256(told.encode()).hexdigest()
        self._reward, self._right = reward, right or contains
        self.train = _numbered(0, len(train))
        self.validation = _numbered(len(train), len(validation)) if validation else self.train
        self.test = _numbered(len(train) + len(validation), len(test))

    @property
    def measures(self) -> tuple[str, ...]:
        """The columns of results."""
        return MEASURES

    def grade(self, number: int, answer: str) -> float:
        """The reward of an answer to a prompt.

        Raises:
            UsageError: the reward raises, or is no finite number.
        """
        prompt = self.prompts[number]
        try:
            found = self._reward(answer, prompt.target)
            value = float(found)
        except Exception as error:
            raise UsageError(
                f"task '{self.name}': expected its reward to return a number for the answer {answer[:60]!r} to "
                f"{prompt.text[:60]!r}, got {type(error).__name__}: {error}; correct it"
            ) from error
        if not math.isfinite(value):
            raise UsageError(
                f"task '{self.name}': expected a finite reward for the answer {answer[:60]!r} to {prompt.text[:60]!r}, "
                f"got {value}; correct it"
            )
        return value

    def is_right(self, number: int, answer: str) -> bool:
        """Whether an answer is right, whatever its reward."""
        return self._right(answer, self.prompts[number].target)

    def measure(self, outputs: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
        """Sums of results (P, B, 8), whose columns are :data:`MEASURES`, over the prompts: name to (P,)."""
        return {name: outputs[..., column].sum(1) for column, name in enumerate(MEASURES)}


def _numbered(first: int, count: int) -> Examples:
    """Prompts by their numbers; a model's inputs are texts, so all of these are zeros."""
    return Examples(torch.zeros(count, 1), torch.arange(first, first + count))


def contains(answer: str, target: str) -> bool:
    """Whether an answer contains the target; upper and lower case are alike."""
    return target.casefold() in answer.casefold()


def minus_length_difference(answer: str, target: str) -> float:
    """-|len(answer) - len(target)| in characters (Qiu et al., arXiv 2509.24372), of the answer alone."""
    return -float(abs(len(answer) - len(target)))


def conciseness(prompts: str = "words") -> PromptTask:
    """Two questions, and eight to test by, whose answers should be as short as the targets.

    Args:
        prompts: ``words``, those of Qiu et al. (arXiv 2509.24372, Table 5); or ``sums`` of two digits, which galab's
            tiny model understands.
    """
    if prompts not in ("words", "sums"):
        raise UsageError(f"task 'conciseness': expected prompts=words or prompts=sums, got '{prompts}'; correct it")
    data = json.loads(resources.files("galab.tasks.data").joinpath("conciseness.json").read_text(encoding="utf-8"))
    chosen = data if prompts == "words" else data[prompts]
    train, test = ([Prompt(*pair) for pair in chosen[split]] for split in ("train", "test"))
    return PromptTask("conciseness", train, test, minus_length_difference)


def prompts(file: str, reward: str) -> PromptTask:
    """Prompts of one's own.

    Args:
        file: JSON Lines with ``prompt`` and ``target`` in each line, and ``split``: ``train`` (when absent),
            ``validation`` or ``test``.
        reward: ``FILE.py:function``, which takes an answer and a target and returns a number.

    Raises:
        DataError: the file cannot be read.
        UsageError: a line or the function is not as described.
    """
    if ":" not in reward:
        raise UsageError(f"task 'prompts': expected a reward such as my.py:function, got '{reward}'; name a function")
    function = Registry("reward", "galab.rewards", {}, "docs/language-models.md", called=True).load(reward)
    found: dict[str, list[Prompt]] = {"train": [], "validation": [], "test": []}
    for number, line in enumerate(_lines(file), 1):
        row = _row(file, number, line)
        if row is not None:
            found[row.pop("split", "train")].append(Prompt(row["prompt"], row["target"]))
    if not callable(function):
        raise UsageError(f"task 'prompts': expected a function as reward, got {type(function).__name__}; name one")
    train, test = found["train"], found["test"]
    return PromptTask(Path(file).stem, train, test, function, validation=found["validation"])


def _lines(file: str) -> list[str]:
    try:
        if not Path(file).is_file() or Path(file).stat().st_size > _MOST_BYTES:
            kind = "a larger one" if Path(file).is_file() else "none" if not Path(file).exists() else "no regular file"
            raise DataError(f"expected prompts in '{file}', a file of at most 256 MB, got {kind}; check the path")
        return Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"expected prompts in '{file}', a JSON object a line, got {reason}; check the path") from error


def _row(file: str, number: int, line: str) -> dict[str, Any] | None:
    """A line of a file; None for an empty one."""
    if not line.strip():
        return None
    try:
        row = json.loads(line)
    except ValueError as error:
        raise UsageError(f"expected JSON in line {number} of '{file}', got {line[:40]!r} ({error})") from error
    known = {"prompt", "target", "split"}
    texts = isinstance(row, dict) and all(isinstance(value, str) for value in row.values())
    if not texts or not {"prompt", "target"} <= row.keys() <= known or row.get("split", "train") not in _SPLITS:
        raise UsageError(
            f"expected 'prompt', 'target' and perhaps 'split' ({', '.join(_SPLITS)}) as texts in line {number} of "
            f"'{file}', got {line[:60]!r}; correct it"
        )
    return dict(row)


_MOST_BYTES = 256 << 20
_SPLITS = ("train", "validation", "test")
