"""``neuron``: the weights into a champion's neurons: as images, and against its founder and unselected drift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from galab.analysis.base import Analysis, Progress, at_least
from galab.config.strategy_kinds import kind_of
from galab.errors import UsageError, closest
from galab.genome.random import Stream, draw, table
from galab.genome.step_sizes import sigma
from galab.saved_runs.history import History
from galab.saved_runs.probe import ProbedChampion, probe_champion
from galab.saved_runs.saved_run import SavedRun
from galab.stats.plots import COLOURS, plain, save, sheet

Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Spread:
    """Weights into a neuron against others.

    Attributes:
        deviation: root mean square of the weights.
        reference: the same of the others.
        p: two-sided p value of a Kolmogorov-Smirnov test that both come of one law.
    """

    deviation: float
    reference: float
    p: float


def strengths(weights: Floats, following: Floats | None) -> NDArray[np.float64]:
    """How much of what comes after depends on each neuron.

    Args:
        weights: (n, ...) into n neurons.
        following: (m, k, ...) the next layer's, k being n or, where a channel is flattened into several inputs, a
            multiple of it; None where there is none.

    Returns:
        (n,) Euclidean lengths of the outgoing weights; of the incoming ones where no layer follows them.
    """
    count = len(weights)
    if following is None or following.ndim < 2 or following.shape[1] % count:
        return np.linalg.norm(weights.reshape(count, -1).astype(np.float64), axis=1)
    parts = following.astype(np.float64).reshape(len(following), count, -1)
    return np.sqrt((parts**2).sum(axis=(0, 2)))


def drifted(founder: Floats, deviation: float, noise: Floats) -> NDArray[np.float64]:
    """Weights that a founder's would have become by mutations that nothing selected.

    A sum of independent mutations of variances s1^2, s2^2, ... has the variance s1^2 + s2^2 + ...; of many it is
    normal.

    Args:
        founder: (n,) its weights.
        deviation: the root of the sum of squared step sizes along a line of descent.
        noise: (n,) standard normal.
    """
    found: NDArray[np.float64] = founder.astype(np.float64) + deviation * noise.astype(np.float64)
    return found


def compared(weights: Floats, others: Floats) -> Spread:
    """Weights into a neuron against others.

    Args:
        weights: (n,).
        others: (m,).
    """
    mine, theirs = (values.astype(np.float64).ravel() for values in (weights, others))
    return Spread(
        float(np.sqrt((mine**2).mean())), float(np.sqrt((theirs**2).mean())), float(ks_2samp(mine, theirs).pvalue)
    )


def picture_of(weights: Floats, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    """The weights into a neuron as an image: (height, width), channels side by side.

    Args:
        weights: (...) of one neuron: of inputs in the order of an image, or a kernel (channels, height, width).
        shape: of one input.

    Returns:
        None where they have no such form.
    """
    values = weights.astype(np.float64)
    if values.ndim == 1 and values.size == int(np.prod(shape)) and 2 <= len(shape) <= 3:
        values = values.reshape(shape)
    if values.ndim == 2:
        return values
    if values.ndim != 3:
        return None
    gap = np.full((values.shape[1], 1), np.nan)
    columns = [part for channel in values for part in (channel, gap)][:-1]
    return np.concatenate(columns, axis=1)


_COLUMNS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Neuron:
    """One neuron.

    Attributes:
        number: in its layer.
        strength: length of its outgoing weights, or of those into it.
        weights: (n,) into it.
        picture: (height, width), NaN between channels; None where they are no image.
    """

    number: int
    strength: float
    weights: Floats
    picture: Floats | None


def draw_incoming(
    path: Path,
    neurons: Sequence[Neuron],
    references: dict[str, Floats],
    *,
    word: str,
    title: str,
) -> None:
    """Draw up to eight neurons on the left and the histogram of all their weights on the right.

    Args:
        path: the image to write; its suffix decides the format.
        neurons: the strongest first.
        references: label to weights that they are compared with.
        word: for one of them, such as ``neuron`` or ``memory``.
        title: above the figure.

    Raises:
        OSError: the file cannot be written.
        ValueError: the suffix names no known format.
    """
    columns = min(_COLUMNS, len(neurons))
    rows = -(-len(neurons) // columns)
    wide = max(2.5 * columns, 4.5)
    figure = sheet(wide + 6.0, max(4.6, 2.5 * rows + 0.9))
    left, right = figure.subfigures(1, 2, width_ratios=(wide, 5.6), squeeze=False)[0]
    panels = np.atleast_1d(left.subplots(rows, columns, squeeze=False)).ravel()
    top = max(float(np.abs(one.weights).max(initial=0.0)) for one in neurons) or 1.0
    image = None
    for axes, one in zip(panels, neurons, strict=False):
        axes.set_title(f"{word} {one.number}, strength {one.strength:.3g}", fontsize=9)
        if one.picture is None:
            axes.bar(np.arange(len(one.weights)), one.weights, width=1.0, color=COLOURS[0])
            axes.set_ylim(-1.05 * top, 1.05 * top)
            axes.tick_params(labelsize=7)
        else:
            image = axes.imshow(np.ma.masked_invalid(one.picture), cmap="RdBu_r", vmin=-top, vmax=top)
            axes.set_xticks([])
            axes.set_yticks([])
    for axes in panels[len(neurons) :]:
        axes.set_axis_off()
    if image is not None:
        bar = left.colorbar(image, ax=panels.tolist(), location="bottom", fraction=0.05, pad=0.03, shrink=0.6)
        bar.set_label("weight")
    else:
        left.supxlabel("number of the input", fontsize=9)
        left.supylabel("weight", fontsize=9)
    _draw_histograms(right.subplots(), neurons, references, word)
    save(figure, path, title)


def _draw_histograms(axes: Axes, neurons: Sequence[Neuron], references: dict[str, Floats], word: str) -> None:
    own = np.concatenate([one.weights.ravel() for one in neurons])
    who = f"these {len(neurons)}" if len(neurons) > 1 else f"{word} {neurons[0].number}"
    known = {f"{who}, root mean square {_rms(own):.3g}": own}
    known |= {f"{label}, {_rms(values):.3g}": values for label, values in references.items()}
    # Wide enough for nearly all weights; the rest counts in the outermost bins.
    reach = max(float(np.quantile(np.abs(values), 0.995)) for values in known.values()) or 1.0
    edges = np.linspace(-reach, reach, 51 if own.size > 300 else 25)
    for number, (label, values) in enumerate(known.items()):
        inside = np.clip(values, edges[0], edges[-1])
        axes.hist(
            inside, bins=edges.tolist(), density=True, histtype="stepfilled" if not number else "step", linewidth=1.6,
            color=COLOURS[number], alpha=0.45 if not number else 1.0, label=label,
        )  # fmt: skip
    axes.set(xlabel=f"weight into a {word}", ylabel="probability density")
    plain(axes)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), frameon=False, fontsize=9)


def _rms(values: Floats) -> float:
    return float(np.sqrt((values.astype(np.float64) ** 2).mean()))


_MEMORIES = ("memories", "free_memories", "angles")


def neuron(
    saved: SavedRun,
    progress: Progress,
    *,
    layer: str | None = None,
    neuron: int | None = None,
    strongest: int = 8,
    generation: int | None = None,
) -> Analysis:
    """What do the weights into a neuron look like?

    Of a layer's strongest neurons, or of one: weights, as an image where inputs or kernels are images, and their law
    against the founder's and against what its mutations alone would have made of that.

    Args:
        saved: the run.
        progress: called with what is being done, and the share of the whole that is done.
        layer: the layer or its parameter; the first one with two axes or more when absent.
        neuron: the number of one neuron, from 0; the strongest ones when absent.
        strongest: how many of them, at most 16; strength is the length of the outgoing weights.
        generation: of the champion; that of the checkpoint when absent.

    Raises:
        UsageError: there is no such layer, neuron or generation.
    """
    at_least("--strongest", strongest, 1)
    progress("loading the champion", 0.0)
    champion = probe_champion(saved, generation)
    name = _layer(saved, layer)
    parts = saved.layout.split(champion.weights)
    weights = parts[name].astype(np.float64)
    power = strengths(weights, _following(saved, name, parts))
    if neuron is not None and not 0 <= neuron < len(weights):
        raise UsageError(f"expected --neuron from 0 to {len(weights) - 1} in '{name}', got {neuron}; choose another")
    order = np.argsort(-power, kind="stable")[: min(strongest, 16)] if neuron is None else np.array([neuron])
    shape = tuple(saved.state["task"]["input_shape"])
    chosen = [
        Neuron(int(one), float(power[one]), weights[one].ravel(), picture_of(weights[one], shape)) for one in order
    ]
    progress("the founder and its drift", 0.4)
    references, facts = _references(champion, name)
    values = _values(champion, name, chosen, references, len(weights)) | facts
    word = "memory" if name.rpartition(".")[2] in _MEMORIES else "neuron"
    which = f"the {len(chosen)} strongest of {len(weights)}" if neuron is None else f"{word} {neuron}"
    title = (
        f"Weights into {which} in {name}, champion of generation {champion.generation:,} of {saved.path.name}, "
        f"{champion.probe.task.name}"
    )
    rows = [
        {"neuron": one.number, "strength": one.strength, "input": place, "weight": float(weight)}
        for one in chosen
        for place, weight in enumerate(one.weights)
    ]
    draw_it = partial(draw_incoming, neurons=chosen, references=references, word=word, title=title)
    return Analysis(_sentence(values, word), values, rows, draw_it)


def _layer(saved: SavedRun, asked: str | None) -> str:
    """The parameter that is meant: its weights lie in rows, one row a neuron."""
    layout = saved.layout
    known = [name for name, shape in zip(layout.names, layout.shapes, strict=True) if len(shape) > 1]
    if not known:
        raise UsageError(f"expected a network with matrices, got {', '.join(layout.names)}; analyse a run of another")
    if asked is None:
        return known[0]
    fitting = [name for name in known if asked in (name, name.rpartition(".")[0])]
    if not fitting:
        raise UsageError(f"expected --layer among {', '.join(known)}, got '{asked}'.{closest(asked, known)}")
    return fitting[0]


def _following(saved: SavedRun, name: str, parts: dict[str, Any]) -> Floats | None:
    """The next matrix, if its inputs are this one's neurons."""
    layout = saved.layout
    later = layout.names[layout.names.index(name) + 1 :]
    count = layout.shapes[layout.names.index(name)][0]
    for other in later:
        shape = layout.shapes[layout.names.index(other)]
        if len(shape) > 1:
            return parts[other] if shape[1] % count == 0 else None
    return None


def _references(champion: ProbedChampion, name: str) -> tuple[dict[str, Floats], dict[str, Any]]:
    """The founder's weights in that layer, and those after as many mutations as the line had, unselected."""
    saved = champion.saved
    if saved.folder is None:
        return {}, {"no_drift_because": "a lone checkpoint has no lineage"}
    history = History(saved)
    line = [] if history.has_centre else history.descent(champion.number)
    first = history.member(line[0].id if line else 0)
    founder = saved.layout.split(first.floats())[name].astype(np.float64).ravel()
    references: dict[str, Floats] = {"its founder" if line else "where it began": founder}
    config = saved.config
    reason = None
    if not kind_of(config.strategy).breeds:
        reason = "an evolution strategy's centre has no line of mutations"
    elif config.mutate != "dense":
        reason = f"the mutation {config.mutate} does not move every weight by its step size"
    elif config.granularity != "global":
        reason = "step sizes of several weights are not in the lineage"
    elif config.crossover in ("blend", "mean") or config.crossover.startswith("genes-"):
        reason = f"the crossover {config.crossover} adds and averages mutations"
    if reason is not None:
        return references, {"no_drift_because": reason}
    deviation = float(np.sqrt(sum(float(sigma(birth.log_sigma)) ** 2 for birth in line[1:])))
    noise = draw(table("normal"), champion.probe.run_key, 1 << 41, Stream.CHOICE, len(founder))
    references["by its mutations alone"] = drifted(founder, deviation, noise)
    return references, {"no_drift_because": None, "drift_deviation": deviation, "mutations": len(line) - 1}


def _values(
    champion: ProbedChampion, name: str, chosen: list[Neuron], references: dict[str, Floats], count: int
) -> dict[str, Any]:
    def against(one: Neuron) -> dict[str, Any]:
        return {
            label: {"reference": found.reference, "p": found.p}
            for label, values in references.items()
            for found in [compared(one.weights, values)]
        }

    return {
        "generation": champion.generation,
        "number": champion.number,
        "layer": name,
        "neurons": count,
        "data": champion.probe.task.description,
        "chosen": [
            {
                "neuron": one.number, "strength": one.strength, "inputs": len(one.weights),
                "deviation": float(np.sqrt((one.weights**2).mean())), "mean": float(one.weights.mean()),
                "largest": float(np.abs(one.weights).max()), "zero": float((one.weights == 0).mean()),
                "against": against(one),
            }
            for one in chosen
        ],
    }  # fmt: skip


def _sentence(values: dict[str, Any], word: str) -> str:
    one = values["chosen"][0]
    parts = [
        f"{label} {said['reference']:.3g} (Kolmogorov-Smirnov p = {said['p']:.2g})"
        for label, said in one["against"].items()
    ]
    text = (
        f"In {values['layer']} of the champion of generation {values['generation']:,}, trained on {values['data']}, "
        f"{word} {one['neuron']}"
        + (f", the strongest of {values['neurons']:,}," if len(values["chosen"]) > 1 else "")
        + f" has {one['inputs']:,} weights of root mean square {one['deviation']:.3g}, the largest {one['largest']:.3g}"
    )
    if parts:
        text += f"; in that layer {' and '.join(parts)}"
    if values.get("no_drift_because"):
        text += f"; drift is unknown, as {values['no_drift_because']}"
    return text + "."
