"""Two tasks at once, storing random points and learning a function: which does a search do, at whose cost?"""

from __future__ import annotations

from typing import Any

import numpy as np

from galab.contracts import Examples, Generated
from galab.errors import UsageError
from galab.registry import TASKS
from galab.tasks.classification import Classification
from galab.tasks.drawn import at_least, normals, whole_numbers
from galab.tasks.load import load_task

_POINTS, _LABELS = 64, 65


class Mixed(Classification):
    """A classification whose training set has two parts.

    Args:
        points: how many of the training examples are random points; they come first.
        data: what a :class:`Classification` is made of.

    Attributes:
        parts: the random points as ``noise``, the others as ``function``; see :class:`galab.contracts.Divided`.
    """

    def __init__(self, *, points: int, **data: Any) -> None:
        super().__init__(**data)
        inputs, targets = self.train.inputs, self.train.targets
        self.parts = {
            "noise": Examples(inputs[:points], targets[:points]),
            "function": Examples(inputs[points:], targets[points:]),
        }


def mixed(
    function: str = "count-ones", points: int = 32, examples: int | None = None, data: str = "auto", run_key: int = 0
) -> Mixed:
    """Random points to be stored among the examples of a function to be learned, of which validation and test are made.

    The log has the champion's ``train_noise_accuracy`` beside its ``train_function_accuracy``.

    Args:
        function: the task that is learned, such as ``shapes`` or ``'count-ones(bits=12)'``.
        points: random points, standard normal, with random labels.
        examples: how many training examples of the function are used, the first ones; all when absent.
        data: passed on to the function.
        run_key: the key that the points are made from, and the function's data where it is made from one.

    Raises:
        UsageError: the function is no task with class numbers and fixed examples, or a size is too small.
    """
    if ":" in TASKS.parse(function).name:
        # Code that is named in here would run without having been asked for: trust looks at the task's own name.
        raise UsageError(f"task 'mixed': expected function to be a name that `galab tasks` lists, got '{function}'")
    found = load_task(function, data, run_key=run_key)
    if not isinstance(found, Classification) or isinstance(found, Generated):
        raise UsageError(f"task 'mixed': expected a function with classes and fixed examples, got '{function}'")
    count = len(found.train) if examples is None else examples
    at_least("mixed", 1, points=points, examples=count)
    if count > len(found.train):
        raise UsageError(
            f"task 'mixed': expected at most {len(found.train):,} examples of '{function}', got {count:,}; name fewer"
        )
    noise = normals(run_key, _POINTS, (points, *found.input_shape))
    labels = whole_numbers(found.outputs, run_key, _LABELS, points)
    train = (
        np.concatenate([noise, found.train.inputs[:count].numpy()]),
        np.concatenate([labels, found.train.targets[:count].numpy()]),
    )
    return Mixed(
        points=points,
        name="mixed",
        train=train,
        validation=(found.validation.inputs, found.validation.targets),
        test=(found.test.inputs, found.test.targets),
        classes=found.outputs,
        description=(
            f"mixed, {points:,} random points with random labels among {count:,} training examples of: "
            f"{found.description}"
        ),
    )
