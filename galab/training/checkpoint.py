"""The state of a run: what a checkpoint holds, and whether it fits the task and the network at hand.

The individuals of a run are read and written here too, as plain data.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from galab.config import RunConfig
from galab.config.strategy_kinds import kind_of, load_reference
from galab.contracts import Member, SeedDependent, Task
from galab.errors import CheckpointError, GalabError, RunFolderError, UsageError
from galab.genome.births import Birth, birth_dtype, from_rows, to_rows
from galab.genome.domain import REAL, Domain, domain_of
from galab.genome.initial import Founders, frozen_hash
from galab.genome.parameters import evolved_parameters
from galab.genome.weights import Gene, Layout, Phenotype, from_float
from galab.operators.es_noise import WeightVector
from galab.storage import pickle_format
from galab.storage.leaves import Leaves
from galab.storage.run_folder import RunFolder
from galab.training.champion import Champion
from galab.training.checkpoint_schema import check_founders, check_state
from galab.training.log_fields import Totals
from galab.training.search import RunComponents
from galab.version import __version__

#: What a checkpoint of a run has at the least, with its type.
_KEYS = {
    "hyperparameters": dict,
    "task": dict,
    "numeric_profile": dict,
    "generation": int,
    "totals": dict,
    "strategy": dict,
    "layout": dict,
    "weights": np.ndarray,
    "buffers": dict,
    "state_names": dict,
    "champion": dict,
    "founders": str,
    "lineage": dict,
}


def capture(
    components: RunComponents,
    champion: Champion,
    totals: Totals,
    profile: dict[str, Any],
    *,
    lineage: dict[str, Any],
    log: dict[str, Any],
) -> dict[str, Any]:
    """A keyframe: everything needed to continue, as plain data.

    Args:
        components: of the run, between two generations.
        champion: the best parent on validation.
        totals: what the run has spent.
        profile: the numeric profile.
        lineage: ``{"births": rows, "sha256": digest}`` of the records, the lineage file or the score log.
        log: ``{"lines": n, "bytes": n, "sha256": digest}`` of the log.
    """
    layout = components.layout
    return {
        "kind": "galab run",
        "versions": versions(),
        "hyperparameters": components.config.to_dict(),
        "task": data_of(components.task),
        "numeric_profile": profile,
        "generation": components.strategy.generation,
        "totals": totals.to_dict(),
        "strategy": components.strategy.state_dict(),
        "layout": {"names": list(layout.names), "shapes": [list(shape) for shape in layout.shapes]},
        **components.search.state(),
        "buffers": buffers_of(components.module),
        "state_names": state_names(components.module),
        "champion": asdict(champion),
        "founders": components.founders.sha256,
        "lineage": lineage,
        "log": log,
        **({"frozen": frozen_hash(components.founders.frozen)} if components.founders.frozen else {}),
    }


def records_of(config: RunConfig) -> tuple[str, np.dtype[Any]]:
    """Name of the file of records that a run is rebuilt from, and the type of a row."""
    kind = kind_of(config.strategy)
    return kind.record, births_dtype(config) if kind.breeds else load_reference(kind.row)(kind.members(config))


def births_dtype(config: RunConfig) -> np.dtype[np.void]:
    """The row of a birth in a run's lineage file."""
    return birth_dtype(config.parents_per_child or 2)


def layout_of(state: dict[str, Any]) -> Layout:
    """Names and shapes of the parameters in a checkpoint."""
    shapes = tuple(tuple(shape) for shape in state["layout"]["shapes"])
    return Layout(tuple(state["layout"]["names"]), shapes, domain_of(state["hyperparameters"]))


def data_of(task: Task) -> dict[str, Any]:
    """What identifies a task's data and fits a network to it, as plain data."""
    return {
        "description": task.description,
        "fingerprint": task.fingerprint,
        "input_shape": list(task.input_shape),
        "outputs": task.outputs,
        **({"run_key": task.run_key} if isinstance(task, SeedDependent) else {}),
    }


def check_layout(layout: Layout, module: torch.nn.Module, name: str) -> None:
    """Refuse weights that belong to another network.

    Args:
        layout: the parameters that the weights were made for.
        module: the network here.
        name: where the weights come from, for the message.

    Raises:
        UsageError: a parameter is missing, superfluous or of another shape.
    """
    expected = tuple((parameter, tuple(value.shape)) for parameter, value in evolved_parameters(module).items())
    got = tuple(zip(layout.names, layout.shapes, strict=True))
    if got != expected:
        different = next((part for part in (*expected, *got) if part not in expected or part not in got), got[0])
        raise UsageError(
            f"expected '{name}' to hold a network like {type(module).__name__} here, got another one (they differ at "
            f"'{different[0]}' with shape {different[1]}); choose the model and sizes that it was made with"
        )


def check_data(task: Task, state: dict[str, Any], name: str) -> None:
    """Refuse to continue on other data.

    Raises:
        CheckpointError: the data here is not the data that the run was made with.
    """
    saved = state["task"]
    if (list(task.input_shape), task.outputs) != (saved["input_shape"], saved["outputs"]):
        raise CheckpointError(
            f"expected a task with inputs of shape {saved['input_shape']} and {saved['outputs']} outputs, as '{name}' "
            f"has it, got {list(task.input_shape)} and {task.outputs}; provide the task that it was made with"
        )
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
    if not is_kind(state, "galab run") or any(not isinstance(state.get(key), kind) for key, kind in _KEYS.items()):
        raise CheckpointError(f"expected the checkpoint of a run in '{path}', got other data; choose another file")
    config = config_from(state["hyperparameters"], path)
    check_state(state, config, path)
    return config


def is_kind(content: dict[str, Any], kind: str) -> bool:
    """Whether a file in the checkpoint format says that it is of a kind; an array there equals no text."""
    return type(content.get("kind")) is str and content["kind"] == kind


def config_from(values: Any, path: Path, error: type[GalabError] = CheckpointError) -> RunConfig:
    """The configuration out of a file that anybody may have written.

    Args:
        values: its hyperparameters.
        path: the file, for messages.
        error: what is raised where they are no hyperparameters at all.

    Raises:
        UsageError: a name or a value is wrong.
    """
    leaves = Leaves(path, error, "restore the file")
    for name, value in leaves.mapping(values, "hyperparameters").items():
        leaves.scalar(value, f"hyperparameters.{name}")
    try:
        return RunConfig.from_saved(values)
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as problem:  # of a text nobody typed
        raise error(
            f"expected hyperparameters that can be read in '{path}', got {type(problem).__name__}: {problem!s:.200}; "
            "restore the file"
        ) from problem


def config_in(folder: RunFolder) -> RunConfig:
    """The configuration in a run's ``config.json``.

    Raises:
        RunFolderError: the file is missing or damaged.
        UsageError: a hyperparameter in it is wrong.
    """
    return config_from(folder.read_config().get("hyperparameters"), folder.config_path, RunFolderError)


def save_founders(path: Path, founders: Founders) -> None:
    """Write ``founders.pkl``: the recipe of generation 0."""
    pickle_format.dump({"kind": "galab founders", **founders.to_dict()}, path)


def load_founders(path: Path, domain: Domain = REAL) -> Founders:
    """Read ``founders.pkl`` of a run whose weights may be these numbers.

    Raises:
        CheckpointError: the file is missing, damaged or changed.
    """
    content = pickle_format.load(path)
    if not is_kind(content, "galab founders"):
        raise CheckpointError(f"expected the founders of a run in '{path}', got other data; restore the file")
    check_founders(content, Leaves(path, advice="the file was damaged or changed; restore it from a copy"))
    return Founders.from_dict(content, domain)


def buffers_of(module: torch.nn.Module) -> dict[str, NDArray[Any]]:
    """The module's buffers as arrays, copies."""
    return {name: buffer.detach().cpu().numpy().copy() for name, buffer in module.named_buffers()}


def state_names(module: torch.nn.Module) -> dict[str, str]:
    """Each key of the module's ``state_dict`` with the parameter or buffer behind it: tied ones have two keys.

    Behind a parameter of size 0 there is nothing, an empty name: a checkpoint holds nothing of it.
    """
    parameters = ((name if value.numel() else "", value) for name, value in module.named_parameters())
    named = {id(value): name for name, value in (*module.named_buffers(), *parameters)}
    return {key: named[id(value)] for key, value in module.state_dict(keep_vars=True).items() if id(value) in named}


def check_buffers(module: torch.nn.Module, buffers: dict[str, NDArray[Any]], name: str) -> None:
    """Refuse buffers of another network.

    Args:
        module: the network here.
        buffers: name to values.
        name: where they come from, for the message.

    Raises:
        CheckpointError: one has another shape here, or says that something around the network is another one.
    """
    identities: dict[str, str] = getattr(module, "identities", {})
    for key, what in identities.items():
        here = bytes(module.get_buffer(key).cpu().numpy())
        if key in buffers and buffers[key].tobytes() != here:
            raise CheckpointError(
                f"expected the {what} that '{name}' was made with, SHA-256 "
                f"{buffers[key].tobytes().hex()[:12]}, got {here.hex()[:12]} here; provide that one, or start a new run"
            )
    for key, buffer in module.named_buffers():
        if key in buffers and buffers[key].shape != tuple(buffer.shape):
            raise CheckpointError(
                f"expected the buffer '{key}' in '{name}' to have shape {tuple(buffer.shape)}, as the network here has "
                f"it, got {buffers[key].shape}; choose the model that it was made with"
            )


def load_buffers(module: torch.nn.Module, buffers: dict[str, NDArray[Any]], name: str) -> None:
    """Give a freshly built module the run's buffers; see :func:`check_buffers`."""
    check_buffers(module, buffers, name)
    with torch.no_grad():
        for key, buffer in module.named_buffers():
            if key in buffers:
                buffer.copy_(torch.from_numpy(np.array(buffers[key])))


def versions() -> dict[str, str]:
    """Versions of what a result may depend on."""
    return {
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "torch": str(torch.__version__),
        "galab": __version__,
    }


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
    """(n, D) their weights in units of 2^-bits, of 2^-24 for a centre, which is rounded to them."""
    weights = np.asarray(state["weights"])
    return from_float(weights) if weights.dtype.kind == "f" else weights.astype(np.int32)


def members_of(state: dict[str, Any], domain: Domain | None = None) -> list[Phenotype]:
    """The parents in a checkpoint of a genetic algorithm, best first."""
    births = from_rows(state["strategy"]["births"])
    weights = np.asarray(state["weights"], dtype=np.int32)
    # A checkpoint of version 0.1.0 has one step size for each parent, which is in its birth.
    plain = np.array([[birth.log_sigma] for birth in births], dtype=np.int16)
    log_sigmas = np.asarray(state.get("log_sigma", plain), dtype=np.int16)
    velocities = np.asarray(state["velocity"], dtype=np.int32) if "velocity" in state else [None] * len(births)
    genes = state.get("genes") or [None] * len(births)
    bits = (domain_of(state["hyperparameters"]) if domain is None else domain).bits
    return [
        Phenotype(row, log_sigma, None if carried is None else _genes_in(carried), velocity, bits)
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
