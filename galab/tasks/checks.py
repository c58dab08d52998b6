"""What the data of a task must be; each check says in one sentence what is wrong with it."""

from __future__ import annotations

import torch

from galab.contracts import Examples
from galab.errors import UsageError


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
