"""A run's state: what a checkpoint holds, and how a run continues from it."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from galab import __version__
from galab.config import RunConfig
from galab.contracts import Task
from galab.errors import CheckpointError
from galab.genome.births import Birth, from_rows
from galab.genome.founders import Founders
from galab.genome.phenotype import Layout, Phenotype
from galab.lab.champion import Champion
from galab.lab.describe import Totals
from galab.lab.experiment import Experiment
from galab.store import plain


def capture(
    experiment: Experiment, champion: Champion, totals: Totals, profile: dict[str, Any], *, lineage: dict[str, Any]
) -> dict[str, Any]:
    """A keyframe: everything needed to continue, as plain data.

    Args:
        experiment: the run's parts, between two generations.
        champion: the best parent on validation.
        totals: what the run has spent.
        profile: the numeric profile.
        lineage: ``{"births": rows, "sha256": digest}`` of the lineage file.
    """
    layout = experiment.founders.layout
    parents = [experiment.decoder.decode(birth) for birth in experiment.strategy.parents.tolist()]
    return {
        "kind": "galab run",
        "versions": versions(),
        "hyperparameters": experiment.config.to_dict(),
        "task": {"description": experiment.task.description, "fingerprint": experiment.task.fingerprint},
        "numeric_profile": profile,
        "generation": experiment.strategy.generation,
        "totals": asdict(totals),
        "strategy": experiment.strategy.state_dict(),
        "layout": {"names": list(layout.names), "shapes": [list(shape) for shape in layout.shapes]},
        "weights": np.stack([parent.weights for parent in parents]),
        "buffers": buffers_of(experiment.module),
        "champion": asdict(champion),
        "founders": experiment.founders.sha256,
        "lineage": lineage,
    }


def restore(experiment: Experiment, state: dict[str, Any], ancestors: list[Birth]) -> None:
    """Bring a freshly built experiment to where the checkpoint was written."""
    for ancestor in ancestors:
        experiment.pedigree.add(ancestor)
    experiment.strategy.load_state_dict(state["strategy"])
    ids = experiment.strategy.parents.tolist()
    for birth, member in zip(ids, members_of(state), strict=True):
        experiment.decoder.insert(birth, member)
    experiment.decoder.pin(ids)


def members_of(state: dict[str, Any]) -> list[Phenotype]:
    """The parents in a checkpoint, best first."""
    births = from_rows(state["strategy"]["births"])
    return [
        Phenotype(weights, birth.log_sigma)
        for birth, weights in zip(births, np.asarray(state["weights"], dtype=np.int32), strict=True)
    ]


def layout_of(state: dict[str, Any]) -> Layout:
    """Names and shapes of the parameters in a checkpoint."""
    return Layout(tuple(state["layout"]["names"]), tuple(tuple(shape) for shape in state["layout"]["shapes"]))


def check_data(task: Task, state: dict[str, Any], name: str) -> None:
    """Refuse to continue on other data.

    Raises:
        CheckpointError: the data here is not the data that the run was made with.
    """
    saved = state["task"]
    if task.fingerprint != saved["fingerprint"]:
        raise CheckpointError(
            f"expected the data of '{name}' ({saved['description']}, fingerprint {saved['fingerprint'][:12]}), got "
            f"{task.description}, fingerprint {task.fingerprint[:12]}; provide that data, or start a new run on this "
            f"one with `galab run --from {name}`"
        )


def config_of(state: dict[str, Any], path: Path) -> RunConfig:
    """The configuration in a checkpoint.

    Raises:
        CheckpointError: the file is plain data, but no checkpoint of a run.
    """
    if state.get("kind") != "galab run":
        raise CheckpointError(f"expected the checkpoint of a run in '{path}', got other data; choose another file")
    return RunConfig.from_dict(state["hyperparameters"])


def save_founders(path: Path, founders: Founders, module: torch.nn.Module) -> None:
    """Write ``founders.pkl``: the recipe of generation 0 and the module's frozen buffers."""
    plain.dump({"kind": "galab founders", **founders.to_dict(), "buffers": buffers_of(module)}, path)


def load_founders(path: Path) -> Founders:
    """Read ``founders.pkl``.

    Raises:
        CheckpointError: the file is missing, damaged or changed.
    """
    return Founders.from_dict(plain.load(path))


def lineage_of(rows: NDArray[np.void], ids: list[int]) -> list[Birth]:
    """The individuals ``ids`` and all their ancestors among the rows of a lineage file, oldest first.

    Only rows on the way are turned into births, so long files with many dead lines stay quick.
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


def buffers_of(module: torch.nn.Module) -> dict[str, NDArray[Any]]:
    """The module's frozen buffers as arrays."""
    return {name: buffer.detach().cpu().numpy() for name, buffer in module.named_buffers()}


def load_buffers(module: torch.nn.Module, buffers: dict[str, NDArray[Any]]) -> None:
    """Give a freshly built module the run's buffers."""
    with torch.no_grad():
        for name, buffer in module.named_buffers():
            if name in buffers:
                buffer.copy_(torch.from_numpy(np.array(buffers[name])))


def versions() -> dict[str, str]:
    """Versions of what a result may depend on."""
    return {
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "torch": str(torch.__version__),
        "galab": __version__,
    }

