"""The weights into one neuron of a champion: their picture, and their law against founders and unselected drift."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from galab.analysis.incoming import compared, drifted, picture_of, strengths
from galab.analysis.incoming_figure import Neuron, draw_incoming
from galab.errors import UsageError, closest
from galab.genome.noise import Stream, draw, table
from galab.questions.analysis import Analysis, Heard
from galab.questions.choices import at_least
from galab.questions.spots import Spot, spot_of

if TYPE_CHECKING:
    from galab.lab.rebuild import Saved

Floats = NDArray[np.floating]
_MEMORIES = ("memories", "free_memories", "angles")


def neuron(
    saved: Saved,
    heard: Heard,
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
        heard: hears how it comes along.
        layer: the layer or its parameter; the first one with two axes or more when absent.
        neuron: the number of one neuron, from 0; the strongest ones when absent.
        strongest: how many of them, at most 16; strength is the length of the outgoing weights.
        generation: of the champion; that of the checkpoint when absent.

    Raises:
        UsageError: there is no such layer, neuron or generation.
    """
    at_least("--strongest", strongest, 1)
    heard("loading the champion", 0.0)
    spot = spot_of(saved, generation)
    name = _layer(saved, layer)
    parts = saved.layout.split(spot.weights)
    weights = parts[name].astype(np.float64)
    power = strengths(weights, _following(saved, name, parts))
    if neuron is not None and not 0 <= neuron < len(weights):
        raise UsageError(f"expected --neuron from 0 to {len(weights) - 1} in '{name}', got {neuron}; choose another")
    order = np.argsort(-power, kind="stable")[: min(strongest, 16)] if neuron is None else np.array([neuron])
    shape = tuple(saved.state["task"]["input_shape"])
    chosen = [
        Neuron(int(one), float(power[one]), weights[one].ravel(), picture_of(weights[one], shape)) for one in order
    ]
    heard("the founder and its drift", 0.4)
    references, told = _references(spot, name)
    values = _values(spot, name, chosen, references, len(weights)) | told
    word = "memory" if name.rpartition(".")[2] in _MEMORIES else "neuron"
    which = f"the {len(chosen)} strongest of {len(weights)}" if neuron is None else f"{word} {neuron}"
    title = (
        f"Weights into {which} in {name}, champion of generation {spot.generation:,} of {saved.path.name}, "
        f"{spot.probe.task.name}"
    )
    rows = [
        {"neuron": one.number, "strength": one.strength, "input": place, "weight": float(weight)}
        for one in chosen
        for place, weight in enumerate(one.weights)
    ]
    draw_it = partial(draw_incoming, neurons=chosen, references=references, word=word, title=title)
    return Analysis(_sentence(values, word), values, rows, draw_it)


def _layer(saved: Saved, asked: str | None) -> str:
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


def _following(saved: Saved, name: str, parts: dict[str, Any]) -> Floats | None:
    """The next matrix, if its inputs are this one's neurons."""
    layout = saved.layout
    later = layout.names[layout.names.index(name) + 1 :]
    count = layout.shapes[layout.names.index(name)][0]
    for other in later:
        shape = layout.shapes[layout.names.index(other)]
        if len(shape) > 1:
            return parts[other] if shape[1] % count == 0 else None
    return None


def _references(spot: Spot, name: str) -> tuple[dict[str, Floats], dict[str, Any]]:
    """The founder's weights in that layer, and those after as many mutations as the line had, unselected."""
    from galab.evolution_compatibility import breeds
    from galab.genome.sigma import sigma
    from galab.lab.history import History
    saved = spot.saved
    if saved.folder is None:
        return {}, {"no_drift_because": "a lone checkpoint has no lineage"}
    history = History(saved)
    line = [] if history.evolution else history.line(spot.number)
    first = history.member(line[0].id if line else 0)
    founder = saved.layout.split(first.floats())[name].astype(np.float64).ravel()
    references: dict[str, Floats] = {"its founder" if line else "where it began": founder}
    config = saved.config
    reason = None
    if not breeds(config):
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
    noise = draw(table("normal"), spot.probe.run_key, 1 << 41, Stream.CHOICE, len(founder))
    references["by its mutations alone"] = drifted(founder, deviation, noise)
    return references, {"no_drift_because": None, "drift_deviation": deviation, "mutations": len(line) - 1}


def _values(
    spot: Spot, name: str, chosen: list[Neuron], references: dict[str, Floats], count: int
) -> dict[str, Any]:
    def against(one: Neuron) -> dict[str, Any]:
        return {
            label: {"reference": found.reference, "p": found.p}
            for label, values in references.items()
            for found in [compared(one.weights, values)]
        }

    return {
        "generation": spot.generation,
        "number": spot.number,
        "layer": name,
        "neurons": count,
        "data": spot.probe.task.description,
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
