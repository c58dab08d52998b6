"""How the numbers of gradient steps are distributed, and which mutation could take such a step."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from galab.errors import UsageError
from galab.questions.analysis import Analysis, Heard
from galab.questions.choices import at_least

if TYPE_CHECKING:
    from galab.analysis.update_laws import Shape
    from galab.contracts import Examples
    from galab.genome.layout import Layout
    from galab.lab.gradient_steps import GradientStep
    from galab.lab.probe import Probe
    from galab.lab.rebuild import Saved

ALL = "all layers"
#: What steps that are looked at are compared with: the update on a minibatch, and the gradient on the full data.
KINDS = ("update", "full gradient")
#: Learning rates that serve a small network, where none is given.
_RATES = {"sgd": 0.1}
_OTHER_RATE = 1e-3


def gradients(
    saved: Saved, heard: Heard, *, generation: int | None = None, optimizer: str = "sgd", lr: float | None = None,
    steps: int = 20, looks: int = 5, batch: int = 0, examples: int = 0, export: str | None = None,
) -> Analysis:  # fmt: skip
    """Which law an optimiser's updates follow; its export.

    Steps are taken from a network of the run along the gradient on its minibatches. Zeros are counted and left out of
    tests and fits, which look at no more than 5,000 numbers of each layer.

    Args:
        saved: the run.
        heard: hears how it comes along.
        generation: whose champion, or centre, the steps start from; 0 is a founder; the checkpoint's when absent.
        optimizer: of torch.optim, such as sgd, sgd(momentum=0.9) or adam.
        lr: its learning rate; 0.1 of sgd and 0.001 of any other when absent.
        steps: how many are taken.
        looks: at how many of them, evenly spaced, the law is tested.
        batch: training examples of a minibatch; the run's when 0.
        examples: the first so many training examples stand for the full data; all when 0.
        export: a .npy file for the law of the updates, of unit variance, to mutate with.

    Raises:
        UsageError: there is no gradient, it is 0, or the steps diverge.
    """
    from galab.analysis.gradients_figure import draw_updates
    from galab.lab.gradient_steps import gradient_steps
    from galab.lab.probe import Probe
    from galab.questions.gradients_report import report
    from galab.questions.trying import member_of, minibatches_of, require_directions, step_size_of

    at_least("--steps", steps, 1), at_least("--looks", looks, 1)
    rate, file = _rate(optimizer, lr), _checked(export)
    heard("loading", 0.0)
    probe, member = Probe(saved), member_of(saved, generation)
    require_directions(probe)
    full = probe.examples("train", at_least("--examples", examples, 0))
    size = min(at_least("--batch", batch, 0) or saved.config.batch or len(full), len(full))
    wanted = {round(place) for place in np.linspace(1, steps, min(looks, steps))}
    rows, lengths, pooled = list[dict[str, Any]](), list[dict[str, Any]](), list[Any]()
    seen: dict[Any, Shape] = {}
    minibatches = minibatches_of(probe, full, size)
    taken = gradient_steps(probe, member.floats(), minibatches, optimizer=optimizer, learning_rate=rate, steps=steps)
    last: dict[str, NDArray[np.float32]] = {}
    for step in taken:
        heard("steps", 0.05 + 0.85 * step.number / steps)
        lengths.append(_lengths(step, probe.layout))
        if step.number in wanted:
            last = _look(step, probe, full, rows, seen)
            pooled.append(_unit(last[KINDS[0]]))
    moment = {
        "generation": saved.generation if generation is None else generation, "optimizer": optimizer, "lr": rate,
        "steps": steps, "batch": size, "examples": len(full), "dimensions": probe.layout.size,
        "sigma": step_size_of(saved, member), "smooth": probe.smooth, "export": export,
    }  # fmt: skip
    values, picture, sentence = report(moment, (rows, lengths, seen), last, probe)
    if file is not None:
        sentence += _exported(file, np.concatenate(pooled))
    return Analysis(sentence, values, rows, partial(draw_updates, picture=picture))


def _rate(optimizer: str, lr: float | None) -> float:
    """The learning rate that was asked for, or one that serves a small network.

    Raises:
        UsageError: it is not above 0, or there is no such optimiser.
    """
    from galab.strategies.optimizers import parse

    rate = _RATES.get(parse(optimizer)[0], _OTHER_RATE) if lr is None else lr
    if not (math.isfinite(rate) and rate > 0):
        raise UsageError(f"expected --lr above 0, got {rate:g}; choose a learning rate")
    return rate


def _checked(export: str | None) -> Path | None:
    """The file of an export.

    Raises:
        UsageError: it is no .npy file.
    """
    if export is None:
        return None
    if Path(export).suffix != ".npy":
        raise UsageError(f"expected --export as the name of a .npy file, got '{export}'; add .npy")
    return Path(export)


def _parts(layout: Layout, flat: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """All numbers, and those of each tensor."""
    return {ALL: flat, **{name: np.asarray(part, np.float32).ravel() for name, part in layout.split(flat).items()}}


def _lengths(step: GradientStep, layout: Layout) -> dict[str, Any]:
    """Root mean squares of an update, of all weights and of each tensor's."""
    parts = _parts(layout, step.update)
    return {"step": step.number} | {
        name: float(np.sqrt(np.mean(np.square(part, dtype=np.float64)))) for name, part in parts.items()
    }


def _unit(update: NDArray[np.float32]) -> NDArray[np.float64]:
    """The numbers that are not 0, divided by the root of their mean square, so that no step outweighs another."""
    moving = update[update != 0].astype(np.float64)
    return moving / np.sqrt(np.mean(np.square(moving)))


def _look(
    step: GradientStep, probe: Probe, full: Examples, rows: list[dict[str, Any]], seen: dict[Any, Shape]
) -> dict[str, NDArray[np.float32]]:
    """Test the laws of one step; the update and the full gradient where it starts."""
    from galab.analysis.cosines import cosines
    from galab.analysis.update_laws import shape_of

    whole = probe.gradient(step.before, full)
    found = dict(zip(KINDS, (step.update, whole), strict=True))
    if not (step.update.any() and whole.any() and np.isfinite(whole).all()):
        raise UsageError(
            f"expected gradients that point somewhere in '{probe.saved.path}', got 0 or NaN in step {step.number}; "
            "look at another --generation"
        )
    cosine = float(cosines(step.update[None], whole)[0])
    for kind, flat in found.items():
        for name, part in _parts(probe.layout, flat).items():
            shape = shape_of(part)
            if shape is not None:
                seen[step.number, kind, name] = shape
            rows.append(_row(step.number, kind, name, part, shape) | {"cosine": cosine if name == ALL else None})
    return found


def _row(
    number: int, kind: str, name: str, part: NDArray[np.float32], shape: Shape | None
) -> dict[str, Any]:
    from galab.analysis.update_laws import LAWS

    row: dict[str, Any] = {"step": number, "of": kind, "layer": name, "numbers": len(part)}
    row["zeros"] = float(np.mean(part == 0))
    known = shape is not None
    row |= {
        "deviation": shape.deviation if shape else None, "kurtosis": shape.kurtosis if shape else None,
        "shapiro_w": shape.w if shape else None, "shapiro_p": shape.p if shape else None,
        "best": shape.best.law if shape else None,
    }  # fmt: skip
    fits = {fit.law: fit for fit in shape.fits} if shape else {}
    for law in LAWS:
        own = fits.get(law)
        row[f"{law}_ks"] = own.distance if own else None
        row[f"{law}_p"] = own.p if own else None
        row[f"{law}_location"] = own.parameters["location"] if own else None
        row[f"{law}_scale"] = own.parameters["scale"] if own else None
    row["student-t_freedom"] = fits["student-t"].parameters["freedom"] if known else None
    return row


def _exported(file: Path, values: NDArray[np.float64]) -> str:
    """Write the law of the updates, and say how to mutate with it."""
    from galab.analysis.update_laws import unit_quantiles
    from galab.genome.quantiles import LEVELS
    from galab.store.files import folder_error

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, unit_quantiles(values, LEVELS))
    except OSError as error:
        raise folder_error(file.parent, error) from error
    return f" Mutate with this law: galab run --distribution table:{file}"
