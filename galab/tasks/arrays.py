"""Data as people have it, brought into tensors: arrays of any kind, lists, frames and data sets of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler, SequentialSampler, default_collate

from galab.errors import UsageError

#: Values of an 8-bit image lie between 0 and this.
_BYTE = 255


class Splits(Protocol):
    """Cuts examples into parts, given one label for each."""

    def __call__(self, labels: NDArray[np.integer], sizes: tuple[int, ...], /) -> list[NDArray[np.int64]]:
        """Indices of parts, the last of which takes the rest."""
        ...


def read_pair(data: Any, where: str) -> tuple[Tensor, Any]:
    """Inputs and targets of a split.

    Args:
        data: a pair (inputs, targets) of arrays, tensors, lists or frames; or a data set of torch whose items are such
            pairs, or its loader, of which the data set is read in its own order.
        where: the task and the split, for messages.

    Returns:
        inputs (B, ...) float32, those of 8 bits divided by 255; and targets as an array, whatever they are.

    Raises:
        UsageError: it is none of these.
    """
    if isinstance(data, DataLoader):
        data = _whole(data, where)
    if isinstance(data, Dataset):
        data = _items(data, where)
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise UsageError(
            f"{where}: expected a pair (inputs, targets) or a data set of torch, got {type(data).__name__}; give two "
            "arrays"
        )
    _check_one(data[0], _several(data[0]) and (len(data[0]),) != np.shape(data[1])[:1], where)
    inputs = to_tensor(data[0], f"{where}: expected inputs that are numbers")
    if inputs.is_complex():
        raise UsageError(f"{where}: expected inputs that are real numbers, got {inputs.dtype}; give their parts")
    scale = _BYTE if inputs.dtype == torch.uint8 else 1
    targets = data[1]
    if not isinstance(targets, Tensor | np.ma.MaskedArray):
        targets = np.asarray(targets)
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    if targets.ndim < 1 or len(inputs) != len(targets):
        got = f"{len(inputs)} inputs and targets of shape {tuple(targets.shape)}"
        raise UsageError(f"{where}: expected as many targets as inputs, got {got}; give one target per input")
    return (inputs.to(torch.float32) / scale).contiguous(), targets


def _several(inputs: Any) -> bool:
    """Whether inputs are a tuple of arrays, and not one of numbers."""
    return isinstance(inputs, tuple) and any(np.ndim(part) > 0 for part in inputs)


def _check_one(inputs: Any, several: bool, where: str) -> None:
    """Refuse the inputs of a network that takes several."""
    if several or (isinstance(inputs, Mapping) and not hasattr(inputs, "to_numpy")):
        raise UsageError(
            f"{where}: expected inputs that are one array, got a {type(inputs).__name__} of several; lay them side by "
            "side in one (B, n) array and take it apart in forward, or use galab.ESOptimizer, whose outputs(...) takes "
            "several"
        )


def to_tensor(values: Any, expected: str) -> Tensor:
    """Numbers of any kind and byte order as a tensor on the CPU.

    Raises:
        UsageError: they are no numbers; the sentence begins with ``expected``.
    """
    if isinstance(values, Tensor):
        if values.is_quantized or values.layout != torch.strided:
            kind = "quantized" if values.is_quantized else "sparse"
            raise UsageError(f"{expected}, got a {kind} tensor; make it an ordinary one")
        return values.detach().cpu()
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        missing = int(np.ma.count_masked(values))
        raise UsageError(f"{expected}, got {missing:,} that are masked; fill them, or take these examples out")
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise UsageError(f"{expected}, got rows of several lengths ({error}); give them one shape") from None
    if array.dtype.kind in "mM":
        raise UsageError(f"{expected}, got dates or times ({array.dtype}); make them numbers, such as days")
    if array.dtype.kind not in "fiubc":
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError):
            raise UsageError(f"{expected}, got {type(values).__name__} of {array.dtype}; convert it") from None
    # In this machine's byte order, and a copy where torch would share memory that may not be written to.
    array = np.require(array.astype(array.dtype.newbyteorder("="), copy=False), requirements=["C", "W"])
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:  # torch computes little with these
        array = array.astype(np.int64)
    return torch.from_numpy(array)


def _whole(loader: DataLoader[Any], where: str) -> Dataset[Any]:
    """The data set of a loader that shows all of it as it is, in whatever order.

    Raises:
        UsageError: it leaves examples out, or changes them.
    """
    plain = isinstance(loader.sampler, SequentialSampler | RandomSampler) and (
        not isinstance(loader.sampler, RandomSampler) or len(loader.sampler) == len(loader.dataset)  # type: ignore[arg-type]
    )
    if not plain or loader.collate_fn is not default_collate:
        what = "a sampler" if not plain else "a collate_fn"
        raise UsageError(
            f"{where}: expected a loader of a whole data set, got one with {what} of its own, whose data would be "
            "another; give the data set itself, such as torch.utils.data.Subset(data, places)"
        )
    return loader.dataset


def _items(data: Dataset[Any], where: str) -> tuple[Any, Any]:
    """All items of a data set, in order."""
    try:
        count = len(data)  # type: ignore[arg-type]
        pairs = [data[place] for place in range(count)]
        inputs, targets = zip(*((pair[0], pair[1]) for pair in pairs), strict=True)
    except Exception as error:
        raise UsageError(
            f"{where}: expected a data set with a length, whose items are pairs (input, target), got "
            f"{type(error).__name__}: {error}; give two arrays"
        ) from error
    _check_one(inputs[0], _several(inputs[0]), where)
    try:
        return _stacked(inputs), _stacked(targets)
    except (RuntimeError, ValueError) as error:
        raise UsageError(f"{where}: expected examples of one shape, got others ({error}); pad or cut them") from None


def _stacked(values: Sequence[Any]) -> Any:
    if all(isinstance(value, Tensor) for value in values):
        return torch.stack([value.detach().cpu() for value in values])
    return np.stack([np.asarray(value) for value in values])


def same_scale(inputs: Mapping[str, Tensor], where: str, given: Mapping[str, Any]) -> None:
    """Refuse 8-bit inputs in one split and others in another: the first are divided by 255.

    Raises:
        UsageError: they are mixed.
    """
    bits = {split: _is_bytes(data) for split, data in given.items() if split in inputs}
    if len(set(bits.values()) - {None}) > 1:
        some = " and ".join(split for split in bits if bits[split])
        raise UsageError(
            f"{where}: expected inputs of one type in all splits, got 8 bits, which are divided by 255, in {some} "
            "alone; convert all"
        )


def _is_bytes(data: Any) -> bool | None:
    """Whether inputs are of 8 bits; None where that is not seen without reading them."""
    if not isinstance(data, tuple | list) or len(data) != 2:
        return None
    kind = getattr(data[0], "dtype", None)
    return None if kind is None else kind in (torch.uint8, np.uint8)


def class_numbers(targets: Sequence[Any], classes: int | None, where: str) -> tuple[list[Tensor], tuple[Any, ...]]:
    """The targets of several splits as class numbers, and the names of the classes.

    Whole numbers from 0 on are class numbers as they stand; any other labels, texts or numbers, are numbered in their
    order, those of all splits together.

    Args:
        targets: of each split, (B,) arrays or tensors.
        classes: how many there are; counted when absent.
        where: the task, for messages.

    Raises:
        UsageError: targets are no labels, or there is one class alone.
    """
    for part in targets:
        if isinstance(part, np.ma.MaskedArray) and np.ma.is_masked(part):
            raise UsageError(f"{where}: expected a label for every example, got some that are masked; clean the data")
    arrays = [part.detach().cpu().numpy() if isinstance(part, Tensor) else np.asarray(part) for part in targets]
    whole = all(part.dtype.kind in "iu" for part in arrays)
    if classes is not None and all(part.dtype.kind in "iuf" for part in arrays):
        return [_numbers(part) for part in arrays], tuple(range(classes))
    for part in arrays:
        if part.ndim != 1:
            raise UsageError(f"{where}: expected targets of shape (B,), got {part.shape}; give one label an example")
        if part.dtype.kind == "f":
            raise UsageError(
                f"{where}: expected labels, got {part.dtype}; give class numbers or texts, or use galab.Regression"
            )
    labels = [label for part in arrays for label in part.tolist()]
    try:
        found = sorted(set(labels))
    except TypeError:
        kinds = sorted({type(label).__name__ for label in labels})
        raise UsageError(f"{where}: expected labels of one kind, got {', '.join(kinds)}; make them all texts") from None
    if any(label is None or label != label for label in found):
        raise UsageError(f"{where}: expected a label for every example, got some that are missing; clean the data")
    if classes is not None and len(found) > classes:
        raise UsageError(f"{where}: expected {classes} classes, got labels of {len(found)}; correct classes")
    if whole and found and found[0] == 0 and found[-1] < 2 * len(found):
        count = int(found[-1]) + 1 if classes is None else classes
        names: tuple[Any, ...] = tuple(range(count))
        numbers = [_numbers(part) for part in arrays]
    else:
        names = tuple(found)
        place = {name: number for number, name in enumerate(names)}
        numbers = [torch.tensor([place[label] for label in part.tolist()], dtype=torch.int64) for part in arrays]
    if len(names) < 2:
        raise UsageError(f"{where}: expected labels of at least 2 classes, got {names}; add examples of others")
    return numbers, names


def _numbers(part: NDArray[Any]) -> Tensor:
    return to_tensor(part, "expected class numbers")


def shares(count: int, validation: float, test: float) -> tuple[int, int]:
    """How many of ``count`` examples are for training and for validation; the rest is for the test.

    Raises:
        UsageError: a part would be empty.
    """
    held = (round(count * validation), round(count * test))
    train = count - sum(held)
    if min(*held, train) < 1:
        raise UsageError(
            f"expected examples for training, validation and test, got {train}, {held[0]} and {held[1]} of {count}; "
            "give more examples, or other shares"
        )
    return train, held[0]
