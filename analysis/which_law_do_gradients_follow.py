"""Which law do gradients follow: normal, as in most mutations, or exponential?

The notes found that gradients fail Shapiro's test for normality and look roughly exponential (Laplace's law). Steps of
SGD and of Adam are taken from networks along a run, and their updates tested layer by layer. Whether it helps to
mutate by that law is asked in ``does_copying_the_law_of_gradients_help.py``.

Runs: galab run --task digits --hidden 32 --batch 512 --generations 2000 --seed 1 --name points
Command: python analysis/which_law_do_gradients_follow.py runs/points [--generations 0,200,2000] [-o FILE]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from galab.analysis.gradients import KINDS, gradients
from galab.cli.question_script import look
from galab.saved_runs.saved_run import SavedRun

DEFAULT = Path(__file__).resolve().parents[1] / "docs" / "observations" / "which_law_do_gradients_follow.png"


def show(values: dict[str, Any], kind: str) -> None:
    """One line of the table."""
    found = values["laws"][kind]
    best = ", ".join(f"{law} {count}" for law, count in found["best"].items() if count)
    distances = " | ".join(f"{value:.3f}" for value in found["distance"].values())
    print(
        f"| {values['generation']:,} | {values['optimizer']} | {kind} | {found['rejected']} of {found['looks']} | "
        f"{best} | {distances} | {found['kurtosis']:.2f} | {found['freedom']:.1f} | "
        f"{values['update_sigma']['median']:.2g} | {values['norm_ratio']:.2f} | "
        f"{values['cosine_with_full_gradient']['median']:.2f} | 10^{values['log10_mutations_for_that_cosine']:.0f} |",
        flush=True,
    )


def along(saved: SavedRun, generations: list[int], output: Path) -> None:
    """Which law gradients follow along a saved run; the figure is that of SGD at the last generation."""
    print("| from | optimiser | numbers of | not normal | most likely | KS normal | KS laplace | KS student-t | "
          "kurtosis | freedom | sigma of an update | times the run's | cosine | mutations |")  # fmt: skip
    print("|---" * 14 + "|")
    for optimizer in ("adam", "sgd"):
        for generation in generations:
            found = gradients(saved, lambda what, share: None, generation=generation, optimizer=optimizer)
            for kind in KINDS:
                show(dict(found.values), kind)
    found.draw(output)


if __name__ == "__main__":
    look(along, shares=(0.0, 0.1, 1.0), output=DEFAULT)
