"""The memories of a run's network: which are used, how safely, what a planted one changes, how much room is left."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from galab.analysis import memory as bank_of
from galab.analysis.memory import Floats
from galab.analysis.memory_figure import BankPicture, draw_bank
from galab.analysis.memory_space import free_directions, free_subspace
from galab.contracts import Telling
from galab.errors import UsageError
from galab.questions.analysis import Analysis, Heard, or_none
from galab.questions.memory_report import STEPS, Bank, median_of, rows_of, sentence_of, summary_of

if TYPE_CHECKING:
    import torch
    from torch import nn

    from galab.contracts import Examples
    from galab.lab.rebuild import Saved

_SPLITS = ("train", "validation", "test")


def memory(
    saved: Saved, heard: Heard, *, split: str = "train", points: int = 512, draws: int = 64
) -> Analysis:
    """Who uses which memory, how safely, what room is left.

    Of a network with a bank of memories: inputs served, lengths and margins; what happens when the least used memory is
    set to exactly one input; and which steps and directions break no answer.

    Args:
        saved: the run.
        heard: hears how it comes along.
        split: the data that the memories are shown: train, validation or test.
        points: the first so many of them.
        draws: random steps of each memory, per length.

    Raises:
        UsageError: the network has no memories, or there is no such data.
    """
    if split not in _SPLITS or points < 1 or draws < 1:
        raise UsageError(
            f"expected --split {', '.join(_SPLITS)} and at least one of --points and --draws, got {split}, {points} "
            f"and {draws}; correct them"
        )
    heard("loading the champion", 0.0)
    module = saved.module_with(saved.member())
    _require_memories(module, saved)
    task = saved.task()
    bank = _bank(module, getattr(task, split), points)
    heard("who serves whom", 0.1)
    near = bank.nearness(bank.inputs, bank.vectors)
    served = bank_of.winners(near)
    good = bank_of.right(served, bank.classes, bank.targets)
    heads = len(bank.vectors)
    picture = BankPicture(
        nearness=near,
        use=bank_of.use(served, heads),
        norms=bank_of.norms(bank.vectors),
        margins=bank_of.smallest_margins(bank_of.margins(near), served, heads),
        served=served,
        right=good,
    )
    values, rows = summary_of(picture, bank), rows_of(picture, bank)
    heard("planting vectors", 0.3)
    values |= _planting(bank) | _room(bank, rows)
    for number, share in enumerate(STEPS):
        heard("random steps", 0.4 + 0.2 * number)
        values |= _robustness(bank, rows, share, draws, saved.config.seed or 0)
    who = {"generation": saved.generation, "member": "champion", "split": split, "data": task.description}
    sentence = sentence_of(values, saved.generation, split)
    title = f"Memories of the champion of generation {saved.generation:,}, {len(good):,} {split} inputs; {task.name}"
    return Analysis(sentence, who | values, rows, partial(draw_bank, bank=picture, title=title))


def _require_memories(module: nn.Module, saved: Saved) -> None:
    if not isinstance(module, Telling):
        raise UsageError(
            f"expected a network with memories, such as --model memory, got {saved.config.model} in '{saved.path}'; "
            "analyse a run of such a network"
        )


def _bank(module: Any, examples: Examples, points: int) -> Bank:
    import torch

    inputs, targets = examples.inputs[:points], examples.targets[:points]
    if targets.ndim != 1 or targets.dtype.is_floating_point:
        raise UsageError(f"expected class numbers as targets, got {targets.dtype}; analyse a run of a classification")
    with torch.no_grad():
        right = int((module(inputs).argmax(1) == targets).sum())
        # As memories are compared with them, and as long as they were: projected, where there is a projection.
        flat, shown = inputs.flatten(1), module.shown(inputs)
        projection = getattr(module, "projection", None)
        seen = flat if projection is None else flat @ projection.T
        long = shown * torch.linalg.vector_norm(seen, dim=1, keepdim=True)
    return Bank(
        _array(module.stored),
        _array(module.classes),
        _array(long),
        targets.numpy().astype(np.int64),
        partial(_nearness, module),
        right,
    )


def _nearness(module: Any, inputs: Floats, vectors: Floats) -> Floats:
    """(B, n) the module's own closeness of inputs, of any length, to any n vectors; minus infinity for empty ones."""
    import torch

    shown = torch.nn.functional.normalize(torch.from_numpy(np.ascontiguousarray(inputs)), dim=1)
    stored = torch.from_numpy(np.ascontiguousarray(vectors, dtype=np.float32))
    with torch.no_grad():
        near = _array(module.rows(stored, shown).T)
    near[:, ~np.asarray(vectors).any(axis=1)] = -np.inf
    return near


def _array(tensor: torch.Tensor) -> NDArray[np.float32]:
    return np.array(tensor.detach().float().numpy())


def _planting(bank: Bank) -> dict[str, Any]:
    if not bank.sees_inputs:
        return {"planted": None, "planted_scaled": None}
    arrays = (bank.vectors, bank.classes, bank.inputs, bank.targets, bank.nearness)
    return {
        name: dataclasses.asdict(bank_of.planted(*arrays, scaled=scaled))
        for name, scaled in (("planted", False), ("planted_scaled", True))
    }


def _room(bank: Bank, rows: list[dict[str, Any]]) -> dict[str, Any]:
    if not bank.sees_inputs:
        return {"input_rank": None, "free_dimensions": None, "free_share_median": None}
    found = free_subspace(bank.inputs, bank.vectors)
    for row, share in zip(rows, found.shares, strict=True):
        row["free_share"] = or_none(share)
    return {"input_rank": found.rank, "free_dimensions": found.free, "free_share_median": median_of(found.shares)}


def _robustness(bank: Bank, rows: list[dict[str, Any]], share: float, draws: int, key: int) -> dict[str, Any]:
    lengths = bank_of.norms(bank.vectors)
    typical = median_of(np.where(lengths > 0, lengths, np.nan))
    name = f"harmless_steps_{share:g}"
    if typical is None:
        shares = np.full(len(rows), np.nan)
    else:
        shares = free_directions(
            bank.vectors, bank.classes, bank.inputs, bank.targets, bank.nearness,
            sigma=share * typical, draws=draws, key=key,
        )  # fmt: skip
    for row, one in zip(rows, shares, strict=True):
        row[name] = or_none(one)
    known = shares[np.isfinite(shares)]
    return {name: float(known.mean()) if known.size else None}
