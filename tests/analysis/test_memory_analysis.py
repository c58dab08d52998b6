"""Reading options out of an analysis, and a bank's figure with the odd cases: empty memories, one memory, none used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from galab.analysis.base import Analysis, Option, Progress, options_of, summary_of
from galab.analysis.memory import Bank, BankPicture, draw_bank, sentence_of
from galab.analysis.memory import summary_of as numbers_of
from galab.config.registry import ANALYSES
from galab.models import memory_metrics as bank_of


def example(saved: object, heard: Progress, *, rate: float = 0.5, split: str = "train") -> Analysis:
    """What it is.

    And more of it.

    Args:
        saved: the run.
        heard: hears.
        rate: a number
            in two lines.
        split: a word.

    Raises:
        UsageError: never.
    """
    raise NotImplementedError


def test_options_come_from_the_signature_and_the_docstring() -> None:
    assert summary_of(example) == "What it is."
    assert options_of(example) == [
        Option("rate", float, 0.5, "a number in two lines."),
        Option("split", str, "train", "a word."),
    ]


@pytest.mark.parametrize("name", ANALYSES.names())
def test_every_analysis_says_what_it_is_and_what_may_be_chosen(name: str) -> None:
    found = ANALYSES.load(name)
    assert 10 < len(summary_of(found)) <= 56, "it has to fit a line of the help"
    assert all(one.help and isinstance(one.default, (int, float, str, type(None))) for one in options_of(found))


@pytest.mark.slow
@pytest.mark.parametrize(
    "vectors", [np.zeros((3, 2)), np.array([[1.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 0.0], [-1.0, 0.0]])]
)
def test_odd_banks_are_described_and_drawn(vectors: np.ndarray, tmp_path: Path) -> None:
    inputs = np.array([[1.0, 0.0], [2.0, 1.0]], dtype=np.float32)
    near = np.where(vectors.any(axis=1), inputs @ vectors.T, -np.inf)
    served, heads = bank_of.winners(near), len(vectors)
    classes, targets = np.eye(heads, 3), np.array([0, 1])
    picture = BankPicture(
        near, bank_of.use(served, heads), bank_of.norms(vectors),
        bank_of.smallest_margins(bank_of.margins(near), served, heads), served,
        bank_of.right(served, classes, targets),
    )  # fmt: skip
    draw_bank(tmp_path / "bank.png", picture, title="odd")
    assert (tmp_path / "bank.png").read_bytes().startswith(b"\x89PNG")
    bank = Bank(vectors.astype(np.float32), classes.astype(np.float32), inputs, targets, lambda a, b: a @ b.T, 0)
    numbers = numbers_of(picture, bank)
    assert numbers["filled"] == int(vectors.any(axis=1).sum())
    assert (numbers["norm_median"] is None) == (not vectors.any())
    rest = {"planted": None, "free_dimensions": None, "harmless_steps_1": None}
    assert f"{numbers['used']} of {heads} memories" in sentence_of(numbers | rest, 7, "train")
