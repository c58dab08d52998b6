"""Step sizes of the parents in figures: quantiles by layer, absolute and relative to the weights.

All are step sizes that move weights. With a step size for each row and column a layer's are those of its rows, as
columns are centred on a factor of 1; tensors that never move have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.genome.phenotype import Phenotype
from galab.genome.sigma import PER_OCTAVE, log2_grid, sigma
from galab.genome.steps import Steps, sum_of_squares

#: Quantiles of step sizes, by the end of their names.
QUANTILES = {"p10": 0.1, "p50": 0.5, "p90": 0.9}


def step_sizes(steps: Steps, parents: Sequence[Phenotype]) -> dict[str, float]:
    """Quantiles of the step size over parents and over a layer's step sizes, and the share of them at the floor.

    The share is left out where floors are relative to the weights: there each tensor of each parent has its own.
    """
    layers = {layer: _joined(parents, places) for layer, places in _places(steps).items()}
    line = dict[str, float]()
    for layer, points in layers.items():
        line |= _named(f"step_size_{layer}" if layer else "step_size", points)
    if steps.relative[0] is None:
        at_floor = sum(int((points <= steps.low).sum()) for points in layers.values())
        line["step_size_at_floor"] = at_floor / max(sum(map(len, layers.values())), 1)
    return line


def step_size_shares(steps: Steps, parents: Sequence[Phenotype]) -> dict[str, float]:
    """Quantiles of the step size relative to the RMS of the layer's weights that move, by whole numbers alone."""
    line, places = dict[str, float](), _places(steps)
    for layer, tensors in _tensors(steps).items():
        shares = []
        for parent in parents:
            scale = _log_rms([parent.weights[part] for part in tensors])
            if scale is not None:
                shares.append(_joined([parent], places[layer if layer in places else ""]).astype(np.int32) - scale)
        if shares:
            line |= _named(f"step_size_share_{layer}", np.concatenate(shares))
    return line


def quantiles(points: NDArray[np.integer[Any]]) -> list[int]:
    """Those of :data:`QUANTILES`: for each share the smallest value that so many values do not exceed."""
    ordered = np.sort(points, axis=None)
    return [int(ordered[int(np.ceil(share * len(ordered))) - 1]) for share in QUANTILES.values()]


def layer_of(steps: Steps, tensor: int) -> str:
    """The name of the layer that a tensor lies in: its module's, or its own where it has none."""
    name = steps.layout.names[tensor]
    return name.rpartition(".")[0] or name


def _named(name: str, points: NDArray[np.integer[Any]]) -> dict[str, float]:
    return {f"{name}_{end}": float(sigma(k)) for end, k in zip(QUANTILES, quantiles(points), strict=True)}


def _places(steps: Steps) -> dict[str, list[slice]]:
    """For each layer the places of its step sizes that move weights; the name is empty where one serves all."""
    found: dict[str, list[slice]] = {}
    for group in steps.groups:
        if steps.granularity == "global":
            found[""] = [slice(group.start, group.stop)]
        elif not group.columns and group.tensor not in steps.frozen and group.stop > group.start:
            found.setdefault(layer_of(steps, group.tensor), []).append(slice(group.start, group.stop))
    return found


def _joined(parents: Sequence[Phenotype], places: list[slice]) -> NDArray[np.int16]:
    parts = [parent.log_sigma[place] for parent in parents for place in places]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _tensors(steps: Steps) -> dict[str, list[slice]]:
    """For each layer the places of its weights that move."""
    found: dict[str, list[slice]] = {}
    for tensor, (start, size) in enumerate(zip(steps.layout.starts, steps.layout.sizes, strict=True)):
        if tensor not in steps.frozen and size:
            found.setdefault(layer_of(steps, tensor), []).append(slice(start, start + size))
    return found


def _log_rms(tensors: Sequence[NDArray[np.int32]]) -> int | None:
    """The grid point at or below the RMS of several tensors' weights; None where all are 0."""
    mean_square = sum(map(sum_of_squares, tensors)) // sum(map(len, tensors))
    return log2_grid(mean_square) - 16 * PER_OCTAVE if mean_square else None  # see galab.genome.steps.log_rms
