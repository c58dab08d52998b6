"""Where a run comes from: another run's parents, or an earlier checkpoint of its own run."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from pathlib import Path

import numpy as np
import torch

from galab.config import RunConfig
from galab.config.strategy_kinds import kind_of
from galab.errors import UsageError
from galab.genome.domain import domain_of
from galab.genome.initial import Founders, founders_fixed
from galab.genome.parameters import evolve_also, set_frozen
from galab.storage import checkpoints, pickle_format
from galab.storage.lineage import LineageFile
from galab.storage.log import cut_log, read_log
from galab.storage.run_folder import RunFolder
from galab.training.checkpoint import fixed_points_of, records_of
from galab.training.resolve import table_files
from galab.training.saved_state import SavedState, checkpoint_of, fit_network, load_state
from galab.training.tensorboard import TensorBoard

logger = logging.getLogger("galab")


def pinned_origin(config: RunConfig) -> RunConfig:
    """The configuration with ``--from RUN`` made the very checkpoint that is meant, as the other run may go on."""
    if config.origin is None:
        return config
    return dataclasses.replace(config, origin=str(checkpoint_of(Path(config.origin))))


def origin_founders(config: RunConfig, module: torch.nn.Module) -> Founders | None:
    """Founders made of another run's parents, where ``--from`` names one."""
    if config.origin is None:
        return None
    if config.init is not None:
        raise UsageError(f"expected --from or --init, got both ('{config.origin}', '{config.init}'); drop one of them")
    origin = SavedState.open(Path(config.origin))
    evolve_also(module, origin.layout.names)
    _check_normalized(config, origin)
    fit_network(module, origin.layout, origin.state["buffers"], config.origin)
    set_frozen(module, origin.frozen, config.origin)
    assert config.seed is not None
    clones = kind_of(config.strategy).breeds and config.founders == "clones"
    if clones and len(origin.state["weights"]) > 1:
        logger.warning("every founder is a clone of the fittest parent of %s: gene laws need one base", config.origin)
    weights, domain = fixed_points_of(origin.state), domain_of(config.to_dict())
    if domain != origin.layout.domain:
        weights = domain.units(weights * 2.0**-origin.layout.domain.bits)
    return founders_fixed(module, weights, config.seed, domain)


def _check_normalized(config: RunConfig, origin: SavedState) -> None:
    """Say so where weights that were made for normalised observations will see others, or the other way round."""
    was, wanted = (one.normalize_observations for one in (origin.config, config))
    if was != wanted:
        logger.warning(
            "the weights of %s were made with --normalize-observations %s, and see other numbers now",
            config.origin, was,
        )  # fmt: skip


def branch(folder: RunFolder, file: Path) -> RunFolder:
    """A new run that shares another's history up to one of its checkpoints."""
    saved = SavedState(load_state(file), folder, file)
    saved.check_configuration()
    state, config = saved.state, saved.config
    files = table_files(config.distribution, saved.law)
    generation = state["generation"]
    content = {"hyperparameters": state["hyperparameters"], "branched_from": {"run": folder.name, "file": str(file)}}
    new = RunFolder.create_free(folder.path.parent, f"{folder.name}-from-{generation}", content, files=files)
    name, dtype = records_of(config)
    with LineageFile(new.path / name, dtype) as records:
        records.append(saved.records)
    shutil.copy(folder.founders_path, new.founders_path)
    shutil.copy(folder.log_path, new.log_path)
    cut_log(new.log_path, generation)
    pickle_format.dump(state, checkpoints.checkpoint_path(new.checkpoints, generation))
    board = TensorBoard(new.path, state["hyperparameters"])
    for line in read_log(new.log_path):
        board.record({name: value for name, value in line.items() if name != "champion"}, np.empty(0))
    board.close({})
    return new
