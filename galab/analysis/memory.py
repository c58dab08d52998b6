"""``memory``: which memories of a network are used, by what margin, what a planted one changes, what room is left."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import nn

from galab.analysis.base import Analysis, Progress, or_none
from galab.contracts import Examples, ReportsMemoryUse
from galab.errors import UsageError
from galab.models import memory_metrics as bank_of
from galab.models.memory_metrics import Floats, free_directions, free_subspace
from galab.saved_runs.saved_run import SavedRun
from galab.stats.plots import COLOURS, save, sheet

_BLUE, _ORANGE, _GREEN = COLOURS[:3]
#: Dots get smaller where there are more of them, down to something that can still be seen.
_DOTS = 3000.0


@dataclass(frozen=True, slots=True, eq=False)
class BankPicture:
    """What is drawn of a bank.

    Attributes:
        nearness: (B, H) closeness of inputs to memories; -inf to empty ones.
        use: (H,) inputs that each memory answers.
        norms: (H,) lengths; 0 is an empty memory.
        margins: (H,) smallest margins; NaN or infinite ones are not drawn.
        served: (B,) the memory that answers each input; -1 for none.
        right: (B,) whether the answer is right.
    """

    nearness: NDArray[np.floating]
    use: NDArray[np.int64]
    norms: NDArray[np.float64]
    margins: NDArray[np.float64]
    served: NDArray[np.int64]
    right: NDArray[np.bool_]


def draw_bank(path: Path, bank: BankPicture, *, title: str) -> None:
    """Draw four panels; memories stand in the same order in all of them, the most used first.

    Args:
        path: the image to write; its suffix decides the format.
        bank: what is drawn.
        title: above the figure.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix names no known format.
    """
    figure = sheet(12, 6.6)
    grid = figure.add_gridspec(3, 2, width_ratios=(1, 1))
    first = figure.add_subplot(grid[0, 0])
    use, norms, margins = first, *(figure.add_subplot(grid[row, 0], sharex=first) for row in (1, 2))
    pairs = figure.add_subplot(grid[:, 1])
    order = np.argsort(-bank.use, kind="stable")
    _draw_memories(use, norms, margins, bank, order)
    _draw_pairs(pairs, bank, order)
    for axes in (use, norms, margins, pairs):
        axes.set_axisbelow(True)
        if axes is not pairs:  # a grid would hide in the picture, or hide it
            axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in (use, norms):
        axes.tick_params(labelbottom=False)
    figure.legend(loc="outside lower right", ncols=4, frameon=False, fontsize=9)
    save(figure, path, title)


def _draw_memories(use: Axes, norms: Axes, margins: Axes, bank: BankPicture, order: NDArray[np.int64]) -> None:
    places = np.arange(len(order))
    use.bar(places, bank.use[order], color=_BLUE, width=0.85)
    use.set_ylabel("inputs served")
    use.yaxis.set_major_locator(MaxNLocator(integer=True))
    lengths, serves = bank.norms[order], bank.use[order] > 0
    size = _size(len(order))
    for chosen, face, label in (
        (serves, _BLUE, "memory that serves"),
        (~serves & (lengths > 0), "none", "filled memory that serves nothing"),
    ):
        if chosen.any():
            norms.scatter(places[chosen], lengths[chosen], s=size, facecolors=face, edgecolors=_BLUE, label=label)
    norms.set_ylabel("length of the vector")
    norms.set_ylim(0, 1.1 * float(lengths.max(initial=0.0)) or 1.0)
    there = np.isfinite(bank.margins[order])
    margins.scatter(places[there], bank.margins[order][there], s=size, color=_BLUE)
    margins.set_ylim(0, 1.1 * float(bank.margins[order][there].max(initial=0.0)) or 1.0)
    margins.set_ylabel("smallest margin\n(closeness)")
    margins.set_xlabel("memory, in order of use")


def _draw_pairs(axes: Axes, bank: BankPicture, order: NDArray[np.int64]) -> None:
    """A dot for each input at the memory that answers it, over how near the others come; inputs by their memories."""
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    there = np.flatnonzero(bank.served >= 0)
    rows = place[bank.served[there]]
    along = np.argsort(rows, kind="stable")
    x, y, good = np.arange(len(there)), rows[along], bank.right[there][along]
    size = 0.7 * _size(len(there))
    if len(there):
        near = bank.nearness[there[along]][:, order].astype(np.float64)
        behind = near.max(axis=1, keepdims=True) - near
        far = np.quantile(behind[np.isfinite(behind)], 0.9) or 1.0
        image = axes.imshow(
            np.ma.masked_invalid(behind).T, cmap="Greys_r", vmin=0, vmax=far, aspect="auto", interpolation="nearest",
            alpha=0.55,
        )  # fmt: skip
        bar = axes.figure.colorbar(image, ax=axes, extend="max", pad=0.01, fraction=0.04)
        bar.set_label("closeness behind the winner's")
    axes.scatter(x[good], y[good], s=size, color=_GREEN, marker="o", label=f"right answer ({int(good.sum()):,})")
    wrong = f"wrong answer ({int((~good).sum()):,})"
    axes.scatter(x[~good], y[~good], s=1.6 * size, color=_ORANGE, marker="x", label=wrong)
    axes.set_xlim(-1, max(1, len(there)))
    axes.set_ylim(max(1.0, len(order) - 0.5), -1)
    axes.set_xlabel("input, in the order of the memories")
    axes.set_ylabel("memory that answers it, in order of use")


def _size(count: int) -> float:
    return float(np.clip(_DOTS / max(1, count), 4.0, 36.0))


#: Lengths of the steps that a bank is tested with, as shares of its median length.
STEPS = (0.1, 0.3, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """A network's memories and the points that they are shown, as arrays.

    Attributes:
        vectors: (H, dims) as they are compared.
        classes: (H, C) logits.
        inputs: (B, ...) flattened points.
        targets: (B,) class numbers.
        nearness: the network's closeness of inputs to any vectors.
        by_forward: how many points the network itself answers rightly.
    """

    vectors: NDArray[np.float32]
    classes: NDArray[np.float32]
    inputs: NDArray[np.float32]
    targets: NDArray[np.int64]
    nearness: bank_of.Nearness
    by_forward: int

    @property
    def sees_inputs(self) -> bool:
        """Whether memories have the shape of inputs; else an input cannot be planted."""
        return self.vectors.shape[1] == self.inputs.shape[1]


def summary_of(picture: BankPicture, bank: Bank) -> dict[str, Any]:
    """The numbers that need no experiment."""
    filled = picture.norms > 0
    lengths = picture.norms[filled]
    safe = picture.margins[np.isfinite(picture.margins)]
    return {
        "points": len(bank.targets),
        "heads": len(bank.vectors),
        "dimensions": bank.vectors.shape[1],
        "right": int(picture.right.sum()),
        "right_by_forward": bank.by_forward,
        "used": int((picture.use > 0).sum()),
        "filled": int(filled.sum()),
        "most_used_serves": int(picture.use.max(initial=0)),
        "norm_median": float(np.median(lengths)) if lengths.size else None,
        "norm_smallest": float(lengths.min()) if lengths.size else None,
        "norm_largest": float(lengths.max()) if lengths.size else None,
        "margin_smallest": float(safe.min()) if safe.size else None,
        "margin_median": float(np.median(safe)) if safe.size else None,
    }


def rows_of(picture: BankPicture, bank: Bank) -> list[dict[str, Any]]:
    """A row for each memory."""
    said = bank.classes.argmax(1)
    rights = bank_of.use(picture.served[picture.right], len(bank.vectors))
    return [
        {
            "memory": head,
            "class": int(said[head]),
            "serves": int(picture.use[head]),
            "right": int(rights[head]),
            "norm": float(picture.norms[head]),
            "smallest_margin": or_none(picture.margins[head]),
        }
        for head in range(len(bank.vectors))
    ]


def sentence_of(values: dict[str, Any], generation: int, split: str) -> str:
    """The answer in one sentence."""
    text = (
        f"The champion of generation {generation:,} answers {values['right']:,} of {values['points']:,} {split} inputs "
        f"rightly with {values['used']:,} of {values['heads']:,} memories ({values['filled']:,} filled)"
    )
    if (planted := values["planted"]) is not None:
        tried = "wrong inputs" if planted["tried_wrong"] else "inputs (none is wrong)"
        text += (
            f"; planting any of the {planted['points']:,} {tried} exactly, as long as it is, leaves "
            f"{planted['after']:.1f} right in the mean ({planted['broken']:.1f} break), and "
            f"{values['planted_scaled']['after']:.1f} when it is as long as the bank's memories"
        )
    if values["free_dimensions"] is not None:
        text += f"; {values['free_dimensions']:,} of {values['dimensions']:,} dimensions are seen by no input"
        if values["free_share_median"] is not None:
            text += f" and hold {values['free_share_median']:.0%} of a memory's squared length"
    if (harmless := values[f"harmless_steps_{STEPS[-1]:g}"]) is not None:
        text += f"; {harmless:.0%} of random steps as long as a memory break nothing"
    return text + "."


def median_of(values: NDArray[np.float64]) -> float | None:
    """The median of the finite values; None without any."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else None


_SPLITS = ("train", "validation", "test")


def memory(
    saved: SavedRun, progress: Progress, *, split: str = "train", points: int = 512, draws: int = 64
) -> Analysis:
    """Who uses which memory, how safely, what room is left.

    Of a network with a bank of memories: inputs served, lengths and margins; what happens when the least used memory is
    set to exactly one input; and which steps and directions break no answer.

    Args:
        saved: the run.
        progress: called with what is being done, and the share of the whole that is done.
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
    progress("loading the champion", 0.0)
    module = saved.module_with(saved.member())
    _require_memories(module, saved)
    task = saved.task
    bank = _bank(module, getattr(task, split), points)
    progress("who serves whom", 0.1)
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
    progress("planting vectors", 0.3)
    values |= _planting(bank) | _room(bank, rows)
    for number, share in enumerate(STEPS):
        progress("random steps", 0.4 + 0.2 * number)
        values |= _robustness(bank, rows, share, draws, saved.config.seed or 0)
    who = {"generation": saved.generation, "member": "champion", "split": split, "data": task.description}
    sentence = sentence_of(values, saved.generation, split)
    title = f"Memories of the champion of generation {saved.generation:,}, {len(good):,} {split} inputs; {task.name}"
    return Analysis(sentence, who | values, rows, partial(draw_bank, bank=picture, title=title))


def _require_memories(module: nn.Module, saved: SavedRun) -> None:
    if not isinstance(module, ReportsMemoryUse):
        raise UsageError(
            f"expected a network with memories, such as --model memory, got {saved.config.model} in '{saved.path}'; "
            "analyse a run of such a network"
        )


def _bank(module: Any, examples: Examples, points: int) -> Bank:
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
