"""The individuals in a checkpoint, read and written as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.contracts import Member
from galab.genome.births import Birth, from_rows, to_rows
from galab.genome.weights import Gene, Phenotype, from_float
from galab.operators.es_noise import WeightVector


def candidates_of(state: dict[str, Any]) -> Sequence[Member]:
    """The members that may become champion, best first: parents, or the centre of an evolution strategy."""
    if "births" in state["strategy"]:
        return members_of(state)
    return [WeightVector(np.asarray(row, dtype=np.float32)) for row in state["weights"]]


def numbers_of(state: dict[str, Any]) -> list[int]:
    """The numbers of the members of :func:`candidates_of`: births, or the centre's generation."""
    if "births" in state["strategy"]:
        return [int(birth) for birth in state["strategy"]["births"]["id"]]
    return [int(state["generation"])]


def fixed_points_of(state: dict[str, Any]) -> NDArray[np.int32]:
    """(n, D) their weights in units of 2^-24; a centre is rounded to them."""
    weights = np.asarray(state["weights"])
    return from_float(weights) if weights.dtype.kind == "f" else weights.astype(np.int32)


def members_of(state: dict[str, Any]) -> list[Phenotype]:
    """The parents in a checkpoint of a genetic algorithm, best first."""
    births = from_rows(state["strategy"]["births"])
    weights = np.asarray(state["weights"], dtype=np.int32)
    # A checkpoint of version 0.1.0 has one step size for each parent, which is in its birth.
    plain = np.array([[birth.log_sigma] for birth in births], dtype=np.int16)
    log_sigmas = np.asarray(state.get("log_sigma", plain), dtype=np.int16)
    velocities = np.asarray(state["velocity"], dtype=np.int32) if "velocity" in state else [None] * len(births)
    genes = state.get("genes") or [None] * len(births)
    return [
        Phenotype(row, log_sigma, None if carried is None else _genes_in(carried), velocity)
        for row, log_sigma, velocity, carried in zip(weights, log_sigmas, velocities, genes, strict=True)
    ]


def members_to_state(parents: list[Phenotype], dtype: np.dtype[np.void]) -> dict[str, Any]:
    """Parents as plain data, and only what this kind of run has; :func:`members_of` reads it."""
    content: dict[str, Any] = {
        "weights": np.stack([parent.weights for parent in parents]),
        "log_sigma": np.stack([parent.log_sigma for parent in parents]),
    }
    velocities = [parent.velocity for parent in parents]
    if any(velocity is not None for velocity in velocities):
        still = np.zeros_like(parents[0].weights)
        content["velocity"] = np.stack([still if velocity is None else velocity for velocity in velocities])
    if parents[0].genes is not None:
        content["genes"] = [
            {
                "births": to_rows((gene.birth for gene in (parent.genes or {}).values()), dtype),
                "log_sigma": np.array([gene.log_sigma for gene in (parent.genes or {}).values()], dtype=np.int16),
            }
            for parent in parents
        ]
    return content


def _genes_in(carried: dict[str, Any]) -> dict[int, Gene]:
    births = from_rows(carried["births"])
    log_sigmas = np.asarray(carried["log_sigma"], dtype=np.int16)
    return {birth.id: Gene(birth, log_sigma) for birth, log_sigma in zip(births, log_sigmas, strict=True)}


def lineage_of(rows: NDArray[np.void], ids: list[int]) -> list[Birth]:
    """The individuals ``ids`` and all their ancestors among the rows of a lineage file, oldest first.

    Only rows of ancestors are turned into births, so long files with many extinct lines stay quick.
    """
    place = {birth: index for index, birth in enumerate(rows["id"].tolist())}
    parents = rows["parents"].tolist()
    found: set[int] = set()
    stack = [place[birth] for birth in ids if birth in place]
    while stack:
        index = stack.pop()
        if index not in found:
            found.add(index)
            stack.extend(place[parent] for parent in parents[index] if parent in place)
    return from_rows(rows[sorted(found)])
