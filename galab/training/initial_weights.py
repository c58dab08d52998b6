"""Where a run's weights begin: drawn as torch would, the module's own, or those in a file."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from galab.config import RunConfig
from galab.config.strategy_kinds import kind_of
from galab.errors import UsageError, closest
from galab.genome.domain import domain_of
from galab.genome.initial import (
    Founders,
    drawn_names,
    founders_fixed,
    founders_given,
    founders_of,
    like_torchs_own,
    weights_in,
)
from galab.genome.parameters import evolved_parameters, frozen_parameters
from galab.models.normalized import plain_class

logger = logging.getLogger("galab")
#: Words of ``--init`` that are no file.
OWN, DRAW = "own", "draw"


def initial_founders(config: RunConfig, module: nn.Module, again: Callable[[int], nn.Module]) -> Founders:
    """The founders of a new run.

    Args:
        config: resolved; ``init`` says where the weights begin.
        module: the network, which gets a file's buffers and frozen weights.
        again: builds it once more under a seed of torch's generator.

    Raises:
        UsageError: ``--init`` names a file that does not hold weights for this network.
    """
    assert config.seed is not None
    domain = domain_of(config.to_dict())
    if config.init is not None and config.init not in (OWN, DRAW):
        weights = _read_weights(Path(config.init))
        founders = founders_given(module, weights, config.seed, domain)
        _check_names(module, weights, config.init)
        _take_fixed(module, weights)
        # Frozen weights come out of the file too.
        return founders_fixed(module, founders.given, config.seed, domain)
    kind = kind_of(config.strategy)
    if config.init == DRAW or (kind.breeds and not kind.inherits):  # random search draws all its members
        return founders_of(module, config.seed, domain)
    if config.init is None and plain_class(module).__module__.partition(".")[0] == "galab":
        return founders_of(module, config.seed, domain)
    own, other = evolved_parameters(module), evolved_parameters(again(1))
    if config.init is None and other.keys() != own.keys():  # a module that was not built from this configuration
        return founders_of(module, config.seed, domain)
    fixed = {name for name, value in own.items() if torch.equal(value, other[name])}
    if config.init is None and not fixed & set(drawn_names(module)) and like_torchs_own(module):
        return founders_of(module, config.seed, domain)
    return _own_founders(config, module, again, alike=fixed == set(own))


def _own_founders(
    config: RunConfig, module: nn.Module, again: Callable[[int], nn.Module], *, alike: bool
) -> Founders:
    """Founders with the weights that the constructor sets; the run says so."""
    assert config.seed is not None
    count, domain = 1, domain_of(config.to_dict())
    if not alike and kind_of(config.strategy).breeds and config.founders != "clones":
        count = config.parents
    if alike:
        rows = [weights_in(module, module.state_dict(), domain)]
        said = "as its constructor sets them, the same for all"
    else:
        seeds = [(config.seed + founder) % 2**63 for founder in range(count)]
        rows = [weights_in(module, again(seed).state_dict(), domain) for seed in seeds]
        said = "each constructed with a seed of torch of its own" if count > 1 else "as its constructor draws them"
    logger.warning("the weights begin as the module's own (%s); --init draw draws torch's instead", said)
    return founders_fixed(module, np.stack(rows), config.seed, domain)


def _check_names(module: nn.Module, weights: Mapping[str, torch.Tensor], path: str) -> None:
    """Refuse weights for which the network has no place, and other values under the names of one parameter."""
    if unknown := sorted(set(weights) - set(module.state_dict())):
        few = ", ".join(f"'{name:.60}'" for name in unknown[:3]) + (", ..." if len(unknown) > 3 else "")
        raise UsageError(
            f"expected --init '{path}' to hold weights of the network alone, got {few} besides, for which it has no "
            "place; choose the model that they were trained with, or take them out of the file"
        )
    first: dict[int, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        other = first.setdefault(id(parameter), name)
        both = other != name and other in weights and name in weights
        if both and not _same(weights[name], parameter, weights[other]):
            raise UsageError(
                f"expected --init '{path}' to hold one value for '{other}' and '{name}', which the network shares, got "
                "two; leave out one of them"
            )


def _same(value: torch.Tensor, parameter: torch.Tensor, other: torch.Tensor) -> bool:
    return value.shape == parameter.shape == other.shape and torch.equal(value, other)


def _take_fixed(module: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """A trained network is its parameters, the frozen ones too, and its buffers."""
    fixed = {**{f"buffer '{name}'": (name, value) for name, value in module.named_buffers()},
             **{f"frozen '{name}'": (name, value) for name, value in frozen_parameters(module).items()}}
    for called, (name, value) in fixed.items():
        if name in weights:
            if weights[name].shape != value.shape:
                raise UsageError(
                    f"expected the given {called} to have shape {tuple(value.shape)}, got "
                    f"{tuple(weights[name].shape)}; choose the model that it was made with"
                )
            with torch.no_grad():
                value.copy_(weights[name])


def _read_weights(path: Path) -> Mapping[str, torch.Tensor]:
    """A ``state_dict`` from a ``.pt`` file, read without running code."""
    _check_file(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = " ".join(str(error).split()[:40]) or type(error).__name__
        if "Weights only load failed" in reason:
            reason = "objects beside tensors, such as a whole module, which galab does not run code for"
        raise UsageError(
            f"expected --init '{path}' to be a state_dict saved by torch.save, got: {reason:.300}; save it with "
            "torch.save(module.state_dict(), path)"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UsageError(
            f"expected --init '{path}' to hold a state_dict (name to tensor), got {type(state).__name__}; "
            "save it with torch.save(module.state_dict(), path)"
        )
    for name, value in state.items():
        if not isinstance(name, str):
            raise UsageError(
                f"expected --init '{path}' to hold tensors by the names of parameters, got the key {name!r:.40}; save "
                "it with torch.save(module.state_dict(), path)"
            )
        if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
            kind = "meta" if value.device.type == "meta" else "quantized" if value.is_quantized else "sparse"
            raise UsageError(
                f"expected --init '{path}' to hold tensors with all their numbers, got a {kind} one as '{name:.80}'; "
                "make it dense and save it again"
            )
        if value.is_complex():
            raise UsageError(
                f"expected --init '{path}' to hold real numbers, got {value.dtype} as '{name:.80}'; save the real part"
            )
    return state


def _check_file(path: Path) -> None:
    """Refuse a file that is missing, cut short or damaged; torch itself compares no checksum.

    ``torch.save`` writes a zip file whose members are not compressed, each with its CRC-32. Files of the format before
    have none, and what was changed in them is found only where it breaks them.
    """
    try:
        if not path.exists():
            near = closest(str(path), ["draw", "own"])
            raise UsageError(f"expected weights at '{path}' (--init), found no file.{near} Check the path")
        if not path.is_file():  # reading a pipe would wait for ever
            raise UsageError(f"expected --init to be a file, got a folder or a device at '{path}'; check the path")
        size = path.stat().st_size
        if not zipfile.is_zipfile(path):
            with path.open("rb") as handle:
                if handle.read(2) == b"PK" or not size:
                    raise UsageError(
                        f"expected --init '{path}' to be a state_dict saved by torch.save, got {size:,} bytes of one "
                        "that was cut short; copy it again"
                    )
            return
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            packed = [one for one in members if one.compress_type != zipfile.ZIP_STORED]
            if packed or sum(one.file_size for one in members) > size:
                raise UsageError(
                    f"expected --init '{path}' to hold its tensors as torch.save stores them, uncompressed, got other "
                    "members; save it again with torch.save"
                )
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise UsageError(
            f"expected --init '{path}' to be a state_dict saved by torch.save, got a damaged file ({error}); copy it "
            "again"
        ) from error
    except OSError as error:
        raise UsageError(f"expected to read '{path}' (--init), got '{error.strerror or error}'") from error
    if damaged is not None:
        raise UsageError(
            f"expected the checksums in --init '{path}' to fit its content, got another content in '{damaged}': the "
            "file was damaged; copy it again"
        )
