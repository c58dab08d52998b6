"""Where a run comes from: another run's parents, or an earlier checkpoint of its own run."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from galab.compatibility import decided
from galab.config import RunConfig
from galab.errors import CheckpointError, UsageError
from galab.evolution_compatibility import breeds
from galab.genome.founders import Founders
from galab.genome.torch_laws import founders_fixed
from galab.lab import tables
from galab.lab.members import fixed_points_of
from galab.lab.recorders import TensorBoard
from galab.lab.state import check_layout, config_of, layout_of, load_buffers, records_of
from galab.store import checkpoints, journal, plain
from galab.store.lineage_file import LineageFile, read_rows
from galab.store.run_folder import RunFolder, locate

logger = logging.getLogger("galab")


def pinned_origin(config: RunConfig) -> RunConfig:
    """The configuration with ``--from RUN`` made the very checkpoint that is meant, as the other run may go on."""
    if config.origin is None:
        return config
    return dataclasses.replace(config, origin=str(_file(Path(config.origin))))


def origin_founders(config: RunConfig, module: torch.nn.Module) -> Founders | None:
    """Founders made of another run's parents (``--from``), or None."""
    if config.origin is None:
        return None
    if config.init is not None:
        raise UsageError(f"expected --from or --init, got both ('{config.origin}', '{config.init}'); drop one of them")
    state = read_state(Path(config.origin))
    check_layout(layout_of(state), module, config.origin)
    load_buffers(module, state["buffers"])
    assert config.seed is not None
    if breeds(config) and decided(config)["founders"] == "clones" and len(state["weights"]) > 1:
        logger.warning("every founder is a clone of the fittest parent of %s: gene laws need one base", config.origin)
    return founders_fixed(module, fixed_points_of(state), config.seed)


def newest(folder: RunFolder) -> Path:
    """The newest checkpoint of a run.

    Raises:
        CheckpointError: there is none.
    """
    present = checkpoints.list_checkpoints(folder.checkpoints)
    if not present:
        raise CheckpointError(
            f"expected a checkpoint in '{folder.checkpoints}', found none: the run was killed before its first; "
            f"continue it with `galab resume {folder.path}`"
        )
    return present[-1][1]


def read_state(path: Path) -> dict[str, Any]:
    """The newest checkpoint of a run folder, or the checkpoint at a path.

    Raises:
        CheckpointError: it is damaged; the newest good one beside it is named.
        RunFolderError: there is no run at that path.
    """
    file = _file(path)
    state = checkpoints.load_checked(file)
    config_of(state, file)
    return state


def branch(folder: RunFolder, file: Path) -> RunFolder:
    """A new run that shares another's history up to one of its checkpoints."""
    state = checkpoints.load_checked(file)
    config = config_of(state, file)
    files = tables.files_of(config.distribution, tables.resolve(config.distribution, folder))
    generation = state["generation"]
    content = {"hyperparameters": state["hyperparameters"], "branched_from": {"run": folder.name, "file": str(file)}}
    new = RunFolder.create_free(folder.path.parent, f"{folder.name}-from-{generation}", content, files=files)
    name, dtype = records_of(config)
    with LineageFile(new.path / name, dtype) as records:
        records.append(read_rows(folder.path / name, dtype)[: state["lineage"]["births"]])
    shutil.copy(folder.founders_path, new.founders_path)
    shutil.copy(folder.log_path, new.log_path)
    journal.cut(new.log_path, generation)
    plain.dump(state, checkpoints.checkpoint_path(new.checkpoints, generation))
    board = TensorBoard(new.path, state["hyperparameters"])
    for line in journal.read(new.log_path):
        board.record({name: value for name, value in line.items() if name != "champion"}, np.empty(0))
    board.close({})
    return new


def _file(path: Path) -> Path:
    """The checkpoint that a path on the command line means."""
    folder, file = locate(path)
    if file is not None:
        return file
    assert folder is not None
    return newest(folder)
