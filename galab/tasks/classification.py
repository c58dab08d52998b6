"""Classification of fixed examples: cross-entropy and the count of right answers, for many members at once.

Data is divided the same way on every machine and with every version of NumPy. Only the raw bits of the counter-based
generator Philox are used, which NumPy guarantees, never a method of ``numpy.random.Generator``, whose stream may
change. Source: J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

import hashlib
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from galab.contracts import Examples
from galab.errors import UsageError
from galab.tasks.arrays import class_numbers, read_pair, same_scale, shares

#: Among fewer than one answer in so many, possible ties are looked at one by one.
_RARE = 32
#: The exponential of this is a normal float32, and nothing beside 1.
_LEAST = -87.0
#: Key of the generator; another one would be another split, and every fingerprint would change.
SPLIT_KEY = 0x67616C6162


class Classification:
    """A task with a class number as the target of every example.

    Args:
        name: the name of the task.
        train: a pair of inputs (B, ...) and labels (B,), as arrays, tensors, lists or frames of any kind and byte
            order, or a data set or loader of torch. Inputs of 8 bits are divided by 255. Labels are class numbers from
            0 on, or any others, texts too, which are numbered in their order.
        validation: the same, for the champion and ``--target``.
        test: the same, only ever reported.
        classes: number of classes, which is the number of outputs; counted in the data when absent.
        description: one line about the data; when absent, one is made of name and sizes.

    Attributes:
        name: the name of the task.
        description: one line about the data.
        fingerprint: SHA-256 (hex) of classes and of dtype, shape and bytes of every split.
        input_shape: shape of one input.
        outputs: number of classes.
        labels: the name of each class, its number where it has no other.
        train: what selection sees.
        validation: what the champion is chosen by.
        test: what is only reported.

    Raises:
        UsageError: the data is not as described; the sentence says which part and why.
    """

    def __init__(
        self,
        *,
        name: str,
        train: Any,
        validation: Any,
        test: Any,
        classes: int | None = None,
        description: str | None = None,
    ) -> None:
        if classes is not None and classes < 2:
            raise UsageError(f"task '{name}': expected at least 2 classes, got {classes}; correct classes")
        self.name = name
        splits = {"train": train, "validation": validation, "test": test}
        pairs = {split: read_pair(data, f"task '{name}', {split}") for split, data in splits.items()}
        same_scale({split: pair[0] for split, pair in pairs.items()}, f"task '{name}'", splits)
        numbers, self.labels = class_numbers([pair[1] for pair in pairs.values()], classes, f"task '{name}'")
        self.outputs = len(self.labels)
        found = []
        for (split, (inputs, _)), targets in zip(pairs.items(), numbers, strict=True):
            check_classes(name, split, targets, self.outputs)
            found.append(Examples(inputs, targets.to(torch.int64).contiguous()))
            check_examples(name, split, found[-1])
        self.train, self.validation, self.test = found
        self.input_shape = tuple(self.train.inputs.shape[1:])
        for split, examples in (("validation", self.validation), ("test", self.test)):
            if (shape := tuple(examples.inputs.shape[1:])) != self.input_shape:
                raise UsageError(
                    f"task '{name}', {split}: expected inputs of shape {self.input_shape} as in train, got {shape}; "
                    "use one shape"
                )
        self.description = description or (
            f"{name}, {len(self.train):,} training, {len(self.validation):,} validation and {len(self.test):,} test "
            "examples"
        )

        self.fingerprint = self._fingerprint()

    @classmethod
    def split(
        cls, name: str, data: Any, *, validation: float = 0.15, test: float = 0.15, classes: int | None = None
    ) -> Self:
        """A task from one set of examples, cut into three parts in which every class has its share.

        The same data is cut in the same way on every machine.

        Args:
            name: the name of the task.
            data: as ``train`` above.
            validation: share of the examples.
            test: share of the examples.
            classes: see above.

        Raises:
            UsageError: the data is not as described, or too little.
        """
        inputs, targets = read_pair(data, f"task '{name}'")
        (numbers,), labels = class_numbers([targets], classes, f"task '{name}'")
        parts = stratified(numbers.numpy(), shares(len(numbers), validation, test))
        pairs = [(inputs[part], numbers[part]) for part in map(torch.from_numpy, parts)]
        made = cls(name=name, train=pairs[0], validation=pairs[1], test=pairs[2], classes=len(labels))
        made.labels = labels
        return made

    def _fingerprint(self) -> str:
        digest = hashlib.sha256(f"classification {self.outputs}\n".encode())
        for split, examples in (("train", self.train), ("validation", self.validation), ("test", self.test)):
            for part, tensor, kind in (("inputs", examples.inputs, "<f4"), ("targets", examples.targets, "<i8")):
                # Little-endian on every machine, so that a fingerprint travels.
                array = np.ascontiguousarray(tensor.numpy(), dtype=kind)
                digest.update(f"{split} {part} {kind} {array.shape}\n".encode())
                digest.update(array.data)
        return digest.hexdigest()

    def measure(self, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        """Cross-entropy and right answers, summed over the examples. A member's sums do not depend on the others.

        Args:
            outputs: (P, B, C) logits.
            targets: (B,) class numbers.

        Returns:
            ``loss`` (P,) float32, NaN where a logit is NaN, and ``correct`` (P,) float32, the number of examples whose
            largest logit, the first of equals, is the target's.
        """
        loss, correct = loss_and_correct(outputs, targets)
        return {"loss": loss.sum(1), "correct": correct.sum(1).float()}


def loss_and_correct(outputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of every example, and whether it is answered right.

    Computed with the classes on the middle axis: reductions then run along memory, twice as fast as
    ``torch.nn.functional.cross_entropy`` and ``argmax`` over a short last axis.

    Args:
        outputs: (P, B, C) logits.
        targets: (B,) class numbers.

    Returns:
        (P, B) float32 in nats, NaN where a logit is NaN; and (P, B) bool, whether the largest logit, the first of
        equals, is the target's.
    """
    if _is_traced():
        return _loss_and_correct_in_one_pass(outputs.float().transpose(1, 2), targets)
    members, examples, classes = outputs.shape
    logits = outputs.float().transpose(1, 2).contiguous()  # (P, C, B)
    places = targets * examples + torch.arange(examples, device=targets.device)
    chosen = logits.view(members, -1).index_select(1, places)  # (P, B)
    top = logits.amax(1)  # (P, B)
    below = logits - top.unsqueeze(1)  # (P, C, B)
    # Below -87.3 exponentials leave the normal numbers, which takes seventy times as long. Beside the 1 of the largest
    # logit they round to nothing either way.
    total = below.clamp_min_(_LEAST).exp_().sum(1)  # in place: below is of no more use
    correct = chosen == top
    # argmax names the first of equal maxima; a network that answers with a constant must not always be right. Every
    # maximum has become a 1, so only a sum of two or more can hide a tie. Looking at those costs by their number, and
    # counting the ones among all costs the same always.
    suspects = correct & (total >= 2)
    few = int(torch.count_nonzero(suspects)) * _RARE < suspects.numel()
    if few or torch.count_nonzero(below == 1) > torch.count_nonzero(total >= 1):
        ties = suspects.nonzero(as_tuple=True)
        earlier = torch.arange(classes, device=targets.device) < targets[ties[1]].unsqueeze(1)
        equal = logits[ties[0], :, ties[1]] == top[ties].unsqueeze(1)  # (ties, C)
        correct[ties] = ~(equal & earlier).any(1)
    loss = total.log() + (top - chosen)
    return loss, correct


def _is_traced() -> bool:
    """Whether this is traced, to be compiled: then nothing may depend on values."""
    return get_proxy_mode() is not None


def _loss_and_correct_in_one_pass(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """:func:`loss_and_correct` of logits (P, C, B), class by class, which a compiler makes one pass over examples."""
    one = logits[:, 0]
    top = chosen = one
    for number in range(1, logits.shape[1]):
        top = torch.maximum(top, logits[:, number])
        chosen = torch.where(targets == number, logits[:, number], chosen)
    total, earlier = torch.zeros_like(one), torch.zeros_like(one, dtype=torch.bool)
    for number in range(logits.shape[1]):
        total = total + (logits[:, number] - top).exp()
        earlier = earlier | ((logits[:, number] == top) & (targets > number))
    return total.log() + (top - chosen), (chosen == top) & ~earlier


def check_examples(task: str, split: str, examples: Examples) -> None:
    """Refuse inputs that are not float32, not finite or not as many as the targets, and a split without examples.

    Args:
        task: the task's name, for messages.
        split: ``train``, ``validation`` or ``test``, for messages.
        examples: inputs (B, ...) and targets (B,).

    Raises:
        UsageError: one of these.
    """
    where = f"task '{task}', {split}"
    inputs, targets = examples.inputs, examples.targets
    if inputs.dtype != torch.float32:
        raise UsageError(f"{where}: expected inputs of dtype float32, got {_dtype(inputs)}; convert them")
    if inputs.ndim < 2:
        raise UsageError(
            f"{where}: expected inputs of shape (B, ...) with an axis per example and one more, "
            f"got {tuple(inputs.shape)}; reshape them"
        )
    if targets.ndim < 1 or len(inputs) != len(targets):
        got = f"{len(inputs)} inputs and targets of shape {tuple(targets.shape)}"
        raise UsageError(f"{where}: expected as many targets as inputs, got {got}; give one target per input")
    if inputs.numel() == 0:
        raise UsageError(f"{where}: expected at least one example, got inputs of shape {tuple(inputs.shape)}; add some")
    # One pass without a temporary: a NaN or an infinity anywhere shows in the extremes.
    if not torch.stack(torch.aminmax(inputs)).isfinite().all():
        count = int((~inputs.isfinite()).sum())
        raise UsageError(f"{where}: expected finite inputs, got {count:,} that are NaN or infinite; clean the data")


def check_classes(task: str, split: str, targets: torch.Tensor, classes: int) -> None:
    """Refuse targets (B,) that are not class numbers from 0 to ``classes - 1``.

    Raises:
        UsageError: they are not.
    """
    where = f"task '{task}', {split}"
    if targets.ndim != 1:
        raise UsageError(f"{where}: expected targets of shape (B,), got {tuple(targets.shape)}; give class numbers")
    if targets.dtype == torch.bool or targets.is_floating_point() or targets.is_complex():
        raise UsageError(f"{where}: expected targets of an integer dtype, got {_dtype(targets)}; give class numbers")
    if len(targets) == 0:
        return
    low, high = (int(value) for value in torch.aminmax(targets))
    if low < 0 or high >= classes:
        raise UsageError(
            f"{where}: expected targets between 0 and {classes - 1} ({classes} classes), got {low} to {high}; "
            "correct the targets or classes"
        )


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def permutation(count: int) -> NDArray[np.int64]:
    """The numbers 0 to ``count - 1`` in a fixed random order."""
    bits = np.random.Philox(key=[SPLIT_KEY, 0]).random_raw(count)
    return np.argsort(bits, kind="stable")


def stratified(labels: NDArray[np.integer], sizes: tuple[int, ...]) -> list[NDArray[np.int64]]:
    """Indices of parts in which every class has its share, each part in a fixed random order.

    Args:
        labels: (B,) class numbers.
        sizes: size of each part but the last, which takes the rest.

    Returns:
        ``len(sizes) + 1`` arrays of indices, together every example once.
    """
    order = permutation(len(labels))
    shuffled = labels[order]
    # An example's place is its rank within its class over the size of the class: cutting the examples sorted by place
    # takes the same share of every class.
    place = np.empty(len(labels), dtype=np.float64)
    for label in np.unique(labels):
        where = np.flatnonzero(shuffled == label)
        place[where] = (np.arange(len(where)) + 0.5) / len(where)
    by_place = np.argsort(place, kind="stable")
    return [order[np.sort(part)] for part in np.split(by_place, np.cumsum(sizes))]
