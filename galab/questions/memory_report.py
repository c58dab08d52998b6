"""What is written down of a bank of memories: numbers, a row for each memory, and the answer in a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.analysis import memory as bank_of
from galab.analysis.memory_figure import BankPicture
from galab.questions.analysis import or_none

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
