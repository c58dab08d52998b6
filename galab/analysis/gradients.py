"""``gradients``: how the numbers of gradient steps are distributed, and which mutation could take such a step."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.analysis.base import Analysis, Progress, at_least, or_none
from galab.analysis.cosines import cosines, log10_mutations_for
from galab.analysis.sampling import (
    GradientStep,
    gradient_steps,
    minibatches_of,
    require_directions,
)
from galab.analysis.update_laws import LAWS, Shape, UpdatePicture, draw_updates, shape_of, unit_quantiles
from galab.contracts import Examples
from galab.errors import UsageError
from galab.genome.quantile_tables import LEVELS
from galab.genome.weights import Layout
from galab.saved_runs.history import champion_of
from galab.saved_runs.probe import Probe
from galab.saved_runs.saved_run import SavedRun
from galab.stats.intervals import Interval, median_interval
from galab.storage.files import folder_error
from galab.strategies.centre import parse_optimizer

ALL = "all layers"
#: What is measured of a step: the update on a minibatch, and the gradient on the full data.
KINDS = ("update", "full gradient")
#: Learning rates that serve a small network, where none is given.
_RATES = {"sgd": 0.1}
_OTHER_RATE = 1e-3


def gradients(
    saved: SavedRun, progress: Progress, *,
    generation: int | None = None, optimizer: str = "sgd", lr: float | None = None,
    steps: int = 20, looks: int = 5, batch: int = 0, examples: int = 0, export: str | None = None,
) -> Analysis:  # fmt: skip
    """Which law an optimiser's updates follow; its export.

    Steps are taken from a network of the run along the gradient on its minibatches. Zeros are counted and left out of
    tests and fits, which look at no more than 5,000 numbers of each layer.

    Args:
        saved: the run.
        progress: called with what is being done, and the share of the whole that is done.
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
    at_least("--steps", steps, 1), at_least("--looks", looks, 1)
    rate, file = _rate(optimizer, lr), _checked(export)
    progress("loading", 0.0)
    probe, champion = Probe(saved), champion_of(saved, generation)
    require_directions(probe)
    full = probe.examples("train", at_least("--examples", examples, 0))
    size = min(at_least("--batch", batch, 0) or saved.config.batch or len(full), len(full))
    wanted = {round(place) for place in np.linspace(1, steps, min(looks, steps))}
    rows, lengths, pooled = list[dict[str, Any]](), list[dict[str, Any]](), list[Any]()
    seen: dict[Any, Shape] = {}
    minibatches = minibatches_of(probe, full, size)
    taken = gradient_steps(probe, champion.weights, minibatches, optimizer=optimizer, learning_rate=rate, steps=steps)
    last: dict[str, NDArray[np.float32]] = {}
    for step in taken:
        progress("steps", 0.05 + 0.85 * step.number / steps)
        lengths.append(_lengths(step, probe.layout))
        if step.number in wanted:
            last = _look(step, probe, full, rows, seen)
            pooled.append(_unit(last[KINDS[0]]))
    moment = {
        "generation": champion.generation, "optimizer": optimizer, "lr": rate,
        "steps": steps, "batch": size, "examples": len(full), "dimensions": probe.layout.size,
        "sigma": saved.typical_step_size(champion.member, champion.generation), "smooth": probe.smooth,
        "export": export,
    }  # fmt: skip
    values, picture, sentence = _report(moment, (rows, lengths, seen), last, probe)
    if file is not None:
        sentence += _exported(file, np.concatenate(pooled))
    return Analysis(sentence, values, rows, partial(draw_updates, picture=picture))


def _rate(optimizer: str, lr: float | None) -> float:
    """The learning rate that was asked for, or one that serves a small network.

    Raises:
        UsageError: it is not above 0, or there is no such optimiser.
    """
    rate = _RATES.get(parse_optimizer(optimizer)[0], _OTHER_RATE) if lr is None else lr
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


def _row(number: int, kind: str, name: str, part: NDArray[np.float32], shape: Shape | None) -> dict[str, Any]:
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
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, unit_quantiles(values, LEVELS))
    except OSError as error:
        raise folder_error(file.parent, error) from error
    return f" Mutate with this law: galab run --distribution {shlex.quote(f'table:{file}')}"


#: A test that finds less than this rejects.
_LEVEL = 0.001

Shapes = dict[Any, Shape]


def _report(
    moment: dict[str, Any],
    measured: tuple[list[dict[str, Any]], list[dict[str, Any]], Shapes],
    last: dict[str, Any],
    probe: Probe,
) -> tuple[dict[str, Any], UpdatePicture, str]:
    """Put together what was measured.

    Args:
        moment: of which network, by which optimiser.
        measured: rows of the table; sizes of each step; and how numbers are distributed, by step, kind and layer.
        last: the update and the full gradient of the last step that was looked at.
        probe: whose data it is.

    Returns:
        Values, picture and sentence of the analysis.
    """
    rows, lengths, seen = measured
    laws = {kind: _laws({key: one for key, one in seen.items() if key[1] == kind}) for kind in KINDS}
    cosine = median_interval([row["cosine"] for row in rows if row["cosine"] is not None and row["of"] == KINDS[0]])
    sizes = median_interval([row[ALL] for row in lengths])
    size = moment["dimensions"]
    values = moment | {
        "data": probe.task.description,
        "laws": laws,
        "zeros": _middle([row["zeros"] for row in rows if row["layer"] == ALL and row["of"] == KINDS[0]]),
        "update_sigma": _plain(sizes),
        "norm_ratio": sizes.median / moment["sigma"],
        "cosine_with_full_gradient": _plain(cosine),
        "log10_mutations_for_that_cosine": or_none(log10_mutations_for(cosine.median, size)),
        "log10_mutations_by_the_normal_law": or_none(log10_mutations_for(cosine.median, size, normal=True)),
        "sizes": lengths,
    }
    picture = UpdatePicture(
        values={kind: flat[flat != 0].astype(np.float64) for kind, flat in last.items()},
        shapes={kind: seen.get((max(row["step"] for row in rows), kind, ALL)) for kind in KINDS},
        distances={
            kind: {
                name: _distances({key: one for key, one in seen.items() if key[1:] == (kind, name)})
                for name in dict.fromkeys(n for _, _, n in seen)
            }
            for kind in KINDS
        },
        steps=np.array([row["step"] for row in lengths]),
        sizes={name: np.array([row[name] for row in lengths]) for name in lengths[0] if name != "step"},
        sigma=moment["sigma"],
        title=_title(moment, probe),
    )
    return values, picture, _sentence(moment, values, laws, sizes, cosine)


def _laws(seen: Shapes) -> dict[str, Any]:
    """Over layers and steps: how often normality is rejected, which law is most likely, and how far each is off.

    Of single layers: all of them together are a mixture of several scales.
    """
    single = [one for (_, _, name), one in seen.items() if name != ALL]
    if not single:
        return {"looks": 0, "rejected": 0, "best": {}, "distance": {}, "kurtosis": None, "freedom": None}
    best = Counter(one.best.law for one in single)
    return {
        "looks": len(single),
        "rejected": sum(one.p < _LEVEL for one in single),
        "best": {law: best[law] for law in LAWS},
        "distance": {law: _middle([_distance(one, law) for one in single]) for law in LAWS},
        "kurtosis": _middle([one.kurtosis for one in single]),
        "freedom": _middle([one.fits[-1].parameters["freedom"] for one in single]),
    }


def _distances(seen: Shapes) -> dict[str, list[float]]:
    return {law: [_distance(one, law) for one in seen.values()] for law in LAWS}


def _distance(shape: Shape, law: str) -> float:
    return next(fit.distance for fit in shape.fits if fit.law == law)


def _middle(values: list[float]) -> float | None:
    return float(np.median(values)) if values else None


def _plain(one: Interval) -> dict[str, Any]:
    return {"median": one.median, "low": or_none(one.low), "high": or_none(one.high), "count": one.count}


def _title(moment: dict[str, Any], probe: Probe) -> str:
    return (
        f"{moment['steps']} steps of {moment['optimizer']} (lr {moment['lr']:g}, minibatches of {moment['batch']:,}) "
        f"from generation {moment['generation']:,}, D = {moment['dimensions']:,}; full gradient over "
        f"{moment['examples']:,} training examples of {probe.task.name}; zeros left out"
    )


def _sentence(
    moment: dict[str, Any], values: dict[str, Any], laws: dict[str, Any], sizes: Interval, cosine: Interval
) -> str:
    tries = values["log10_mutations_for_that_cosine"]
    wanted = "no random mutation ever points as well" if tries is None else (
        f"a random mutation points as well once in 10^{tries:.1f} (exact law of directions in {moment['dimensions']:,} "
        "dimensions)"
    )  # fmt: skip
    return (
        f"{moment['steps']} steps of {moment['optimizer']} (lr {moment['lr']:g}) from generation "
        f"{moment['generation']:,} on minibatches of {moment['batch']:,} training examples: "
        f"{_of_laws(laws[KINDS[0]])}. Of the full gradient on {moment['examples']:,} examples: "
        f"{_of_laws(laws[KINDS[1]], short=True)}. {values['zeros']:.0%} of an update is exactly 0 and left out. An "
        f"update is as long as a mutation with sigma {_around(sizes)}, {values['norm_ratio']:.3g} times the run's "
        f"({moment['sigma']:.3g}); its cosine with the full gradient is {_around(cosine)}, and {wanted}."
    )


def _of_laws(found: dict[str, Any], *, short: bool = False) -> str:
    if not found["looks"]:
        return "no layer has 50 numbers that are not 0"
    best = ", ".join(f"{law} in {count}" for law, count in found["best"].items())
    distances = ", ".join(f"{law} {value:.3f}" for law, value in found["distance"].items())
    if short:
        return f"normal rejected in {found['rejected']} of {found['looks']}; most likely {best}"
    return (
        f"Shapiro-Wilk (at most 5,000 numbers) rejects the normal law with p < 0.001 in {found['rejected']} of "
        f"{found['looks']} layers and steps; most likely is {best}; Kolmogorov-Smirnov distance (medians) {distances}; "
        f"excess kurtosis {found['kurtosis']:.3g}, Student's t with {found['freedom']:,.1f} degrees of freedom"
    )


def _around(one: Interval) -> str:
    return f"{one.median:.3g}" + ("" if math.isnan(one.low) else f" [{one.low:.3g}, {one.high:.3g}]")
