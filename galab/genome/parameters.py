"""A module's parameters: which of them are evolved and which are frozen, and a copy of the module that galab can run.

A parameter is evolved if it asks for a gradient, as with any optimiser of torch (``requires_grad``). All others keep
the module's values: they have no noise, no place in a genome and no line in a checkpoint. A module without a parameter
that asks, such as a network that is only run, singles none out: all are evolved. A parameter of size 0 has nothing to
evolve, and whole numbers are never evolved.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from galab.errors import CheckpointError, UsageError, closest

logger = logging.getLogger("galab")


def evolved_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Those that are evolved by name, in the module's order; tied parameters are one, under their first name."""
    named = dict(module.named_parameters())
    asking = any(value.requires_grad for value in named.values())
    return {
        name: value
        for name, value in named.items()
        if value.numel() and (value.requires_grad if asking else value.is_floating_point())
    }


def frozen_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Those that keep the module's values, by name."""
    evolved = evolved_parameters(module)
    return {name: value for name, value in module.named_parameters() if name not in evolved}


def own_dtypes(module: nn.Module) -> dict[str, torch.dtype]:
    """The types of those evolved parameters that are not of float32, by name; their weights are given in that type."""
    return {name: value.dtype for name, value in evolved_parameters(module).items() if value.dtype != torch.float32}


def fits_bfloat16(module: nn.Module) -> bool:
    """Whether a module may be run in bfloat16: float16 and float64 inside need what they are."""
    return not any(value.dtype in (torch.float16, torch.float64) for value in module.parameters())


def choose_evolved(module: nn.Module, freeze: str | None = None) -> None:
    """Mark the parameters that are evolved, by ``requires_grad``; where none is frozen, no parameter asks for it.

    Args:
        module: its flags are changed.
        freeze: patterns of names, parted by commas, of parameters that are frozen besides: ``"features.*,head.bias"``.

    Raises:
        UsageError: a pattern matches nothing, a parameter is complex, or nothing is left to evolve.
    """
    every = dict(module.named_parameters(remove_duplicate=False))
    for name, value in every.items():
        if isinstance(value, nn.parameter.UninitializedParameter):
            raise UsageError(f"expected parameters with a shape, got '{name}' without one; run the module once first")
    if every and not any(value.requires_grad for value in every.values()):
        logger.warning(
            "no parameter of the module has requires_grad, so all of them are evolved; set it for those that may move, "
            "or freeze the others by --freeze"
        )
    _mark(module, set(evolved_parameters(module)))
    for pattern in freeze_patterns(freeze):
        matched = [value for name, value in every.items() if fnmatchcase(name, pattern)]
        if not matched:
            near = closest(pattern, list(every))
            raise UsageError(
                f"expected --freeze to name parameters, got '{pattern}', which matches none.{near} There are "
                f"{', '.join(every) or 'none'}."
            )
        for value in matched:
            value.requires_grad_(False)
    asking = {name: value for name, value in every.items() if value.requires_grad}
    for name, value in asking.items():
        if value.is_complex():
            raise UsageError(
                f"expected parameters of real numbers, got '{name}' of {_dtype(value)}; keep its real and imaginary "
                "parts in two parameters, or freeze it with requires_grad_(False)"
            )
    if not asking:
        why = "a module without any" if not every else "none that is not frozen"
        raise UsageError(f"expected parameters to evolve, got {why}; add layers, or freeze fewer")
    _settle(module)


def freeze_patterns(freeze: str | None) -> list[str]:
    """The patterns in the words of ``--freeze``, without blanks."""
    return [part.strip() for part in (freeze or "").split(",") if part.strip()]


def choose_evolved_like(module: nn.Module, other: nn.Module) -> None:
    """Mark the parameters as evolved that are so in another module of the same kind."""
    _mark(module, set(evolved_parameters(other)))


def evolve_also(module: nn.Module, names: Iterable[str]) -> None:
    """Mark as evolved what a saved run evolved, beside what the module says of itself now.

    Runs made before frozen parameters were left alone evolved them too. Unknown names are passed by.
    """
    _mark(module, {*names, *evolved_parameters(module)})
    _settle(module)


def _mark(module: nn.Module, names: set[str]) -> None:
    for name, value in module.named_parameters():
        if name not in names or value.is_floating_point() or value.is_complex():
            value.requires_grad_(name in names)


def _settle(module: nn.Module) -> None:
    """Where all are evolved, none has to ask, so that the network can be run without a thought of gradients."""
    if not frozen_parameters(module):
        module.requires_grad_(False)


def frozen_values(module: nn.Module) -> dict[str, NDArray[Any]]:
    """The values of frozen parameters as arrays; those of types that NumPy lacks as whole numbers of the same bits."""
    return {name: _array(value) for name, value in frozen_parameters(module).items() if value.numel()}


def set_frozen(module: nn.Module, values: Mapping[str, NDArray[Any]], name: str) -> None:
    """Give a freshly built module the frozen values of a run.

    Args:
        module: it is changed.
        values: see :func:`frozen_values`.
        name: where they come from, for the message.

    Raises:
        CheckpointError: the module has no such frozen parameters.
    """
    own = frozen_parameters(module)
    for key, array in values.items():
        value = own.get(key)
        if value is None or tuple(value.shape) != array.shape or _array(value).dtype != array.dtype:
            raise CheckpointError(
                f"expected the network of '{name}' to have a frozen parameter '{key}' of shape {array.shape}, got "
                "another network; choose the model that the run was made with"
            )
        with torch.no_grad():
            given = torch.from_numpy(np.array(array))
            value.copy_(given.view(value.dtype) if given.dtype != value.dtype else given)


def runnable(module: nn.Module) -> nn.Module:
    """A copy of a module that can be run with other weights: see :func:`make_runnable`.

    Raises:
        UsageError: it is no module, or shared among devices.
    """
    if not isinstance(module, nn.Module):
        kind = f"the class {module.__name__}" if isinstance(module, type) else f"one of type {type(module).__name__}"
        raise UsageError(f"expected a torch.nn.Module, got {kind}; give a network that is made")
    if isinstance(module, torch.jit.ScriptModule):
        raise UsageError(
            "expected a torch.nn.Module in Python, got one that torch.jit compiled, whose parameters cannot be "
            "exchanged; give the module that it was made of"
        )
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        raise UsageError(f"expected a module, got one inside {type(module).__name__}; give what is inside, its .module")
    if any(value.is_meta for value in (*module.parameters(), *module.buffers())):
        raise UsageError("expected a module with numbers, got one on the device 'meta'; make it on another device")
    computed = {
        id(value): value.detach().clone()
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    copied = copy.deepcopy(module, dict(computed))
    make_runnable(copied)
    return copied


def warn_of_unset_statistics(module: nn.Module) -> None:
    """Say which layers would norm by running statistics that no data has set: members run in ``eval()``."""
    unset = [
        f"'{path}'" if path else type(part).__name__
        for path, part in module.named_modules()
        if isinstance(part, nn.modules.batchnorm._NormBase)
        and part.track_running_stats
        and not int(part.num_batches_tracked or 0)
    ]
    if unset:
        logger.warning(
            "the running statistics of %s have seen no data and stay mean 0, variance 1, as members run in eval() and "
            "evolution never updates them; use GroupNorm, or show the module data in train() first", ", ".join(unset),
        )  # fmt: skip


def make_runnable(module: nn.Module) -> None:
    """Prepare a module of galab's own for running with other weights, without changing what it computes.

    A submodule that is registered twice gets a twin with the same parameters, so that each place where a parameter
    stands is one (exchanging the weights of such a module would leave it broken: PyTorch issue 164759). A tensor that a
    hook computes from parameters (old ``weight_norm``) is cut off from them, as it could not be copied.
    """
    for part in module.modules():
        for name, value in vars(part).items():
            if isinstance(value, Tensor) and not value.is_leaf:
                vars(part)[name] = value.detach().clone()
    seen = {id(module)}

    def visit(parent: nn.Module) -> None:
        for name, child in parent._modules.items():
            if child is None:
                continue
            if id(child) in seen:
                child = parent._modules[name] = _twin(child)
            seen.add(id(child))
            visit(child)

    visit(module)


def _twin(module: nn.Module) -> nn.Module:
    """Another module with the same parameters and buffers."""
    twin = copy.copy(module)
    for name, value in vars(module).items():
        if isinstance(value, dict | list):
            vars(twin)[name] = copy.copy(value)
    return twin


def _array(value: Tensor) -> NDArray[Any]:
    value = value.detach().cpu()
    bits = torch.int16 if value.dtype == torch.bfloat16 else torch.uint8 if value.dtype in _EIGHT_BITS else value.dtype
    array: NDArray[Any] = value.view(bits).numpy()
    return array.copy()


#: Numbers of 8 bits that NumPy does not know.
_EIGHT_BITS = {getattr(torch, name) for name in dir(torch) if name.startswith("float8_")}


def _dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")
