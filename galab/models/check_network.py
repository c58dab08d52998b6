"""Checks that galab can evolve a network, and prepares it: what a module says of itself counts."""

from __future__ import annotations

import inspect
import logging
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from galab.errors import UsageError
from galab.genome.parameters import (
    choose_evolved,
    choose_evolved_like,
    evolved_parameters,
    freeze_patterns,
    make_runnable,
    runnable,
)

logger = logging.getLogger("galab")
#: Examples in the trial batch.
_PROBE = 2


def prepare_network(
    name: str,
    model: nn.Module,
    input_shape: tuple[int, ...],
    outputs: int,
    *,
    freeze: str | None = None,
    examples: Tensor | None = None,
    check: bool = True,
) -> None:
    """Put a fresh module into ``eval()``, try it, and mark which of its parameters are evolved.

    Args:
        name: of the model, for messages.
        model: it is changed.
        input_shape: shape of one input.
        outputs: number of outputs that the task needs; 0 where that does not matter.
        freeze: see :func:`galab.genome.parameters.choose_evolved`.
        examples: (B, ...) some inputs; random numbers when absent.
        check: whether to try that its answers repeat; a saved run has been tried when it began.

    Raises:
        UsageError: it has the wrong shape, it is no function of its weights, its buffers and its inputs, or nothing in
            it can be evolved.
    """
    model.eval()
    untouched, kept = _copied(model), _attributes(model)
    _refuse_running_statistics(name, model, freeze)
    _probe(name, model, input_shape, outputs)
    choose_evolved(model, freeze)
    make_runnable(model)
    if not check or type(model).__module__.partition(".")[0] == "galab":
        return
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randn((_PROBE + 1, *input_shape), generator=generator) for _ in range(2)]
    if examples is not None and len(examples) > _PROBE:
        rows = [examples[: _PROBE + 1].cpu(), examples[-_PROBE - 1 :].cpu()]
    try:
        _check_repeats(name, model, *rows)
        if untouched is not None:
            _check_weights_count(name, model, untouched, rows[0])
    except UsageError:
        raise
    except Exception:  # such as random numbers that are no tokens; a failure of members, if the data has them
        return
    hooked = _hooked(model)
    new = sorted(
        key for key, value in _attributes(model).items() if kept.get(key) is not value and key not in hooked
    )
    if new:
        logger.warning(
            "model '%s' keeps %s between calls: galab shows it members and examples in any order, so its answers must "
            "not depend on that", name, ", ".join(f"'{key}'" for key in new),
        )  # fmt: skip


def _refuse_running_statistics(name: str, model: nn.Module, freeze: str | None) -> None:
    """Refuse running statistics beside evolved weights; in a frozen layer they are constants like its weights."""
    named = dict(model.named_parameters())  # some may have no shape before the module is tried
    asking = any(value.requires_grad for value in named.values())
    frozen = {key for pattern in freeze_patterns(freeze) for key in named if fnmatchcase(key, pattern)}
    evolved = {id(value) for key, value in named.items() if (value.requires_grad or not asking) and key not in frozen}
    for path, module in model.named_modules():
        if not (isinstance(module, nn.modules.batchnorm._NormBase) and module.track_running_stats):
            continue
        own = list(module.parameters(recurse=False))
        if not own or any(id(value) in evolved for value in own):
            raise UsageError(
                f"model '{name}': expected no running statistics (evolution never updates them), "
                f"got {type(module).__name__} at '{path}'; use GroupNorm, or freeze a trained layer with its "
                f"statistics (--freeze '{path}.*')"
            )


def _probe(name: str, model: nn.Module, input_shape: tuple[int, ...], outputs: int) -> None:
    """Show the network a batch of zeros and compare the shape of its answer."""
    shape, expected = (_PROBE, *input_shape), (_PROBE, outputs)
    try:
        with torch.no_grad():
            answer = model(torch.zeros(shape))
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(
            f"model '{name}': expected it to take inputs of shape {shape} (the task's), "
            f"got {type(error).__name__}: {reason}; use a model for that shape"
        ) from error
    got = tuple(answer.shape) if isinstance(answer, torch.Tensor) else words(answer)
    if got != expected and outputs:  # else there may be any number
        raise UsageError(
            f"model '{name}': expected outputs of shape {expected} for inputs of shape {shape}, got {got}; "
            f"make it end in {outputs} outputs"
        )


def _check_repeats(name: str, model: nn.Module, inputs: Tensor, others: Tensor) -> None:
    """Refuse a forward that does not answer an example alike each time, or that changes its buffers or its inputs.

    Scores that repeat to the bit, on any worker and after a resume, need a forward that is a function of the weights,
    the buffers and the inputs. What is only kept on the module, such as its last activation, is named in a warning.
    """
    before = {key: value.detach().clone() for key, value in _state(model).items()}
    first, second, _, fourth = (_answer(name, model, shown) for shown in (inputs, inputs, others, inputs))
    part = _answer(name, model, inputs[:_PROBE])
    for again in (second, fourth):
        if not _same_bits(again, first):
            raise UsageError(
                f"model '{name}': expected a forward that answers the same inputs alike, got answers that differ by "
                f"{float((again - first).abs().max()):.2g}: it draws random numbers or keeps state between calls; take "
                "that out, or put random numbers into a buffer made in __init__"
            )
    if not _alike(part, first[:_PROBE]):
        logger.warning(
            "model '%s' answers an example by the others beside it, as batch statistics do: its scores are those of "
            "the blocks in which examples are shown; GroupNorm and LayerNorm have none", name,
        )  # fmt: skip
    for key, value in _state(model).items():
        if key not in before or not _same_bits(value, before[key]):
            kind = "buffers" if key in dict(model.named_buffers()) else "parameters"
            raise UsageError(
                f"model '{name}': expected a forward that leaves its {kind} as they are, got another '{key}' "
                "afterwards; compute it from the inputs, or keep it as it was made"
            )


def _check_weights_count(name: str, model: nn.Module, untouched: nn.Module, inputs: Tensor) -> None:
    """Refuse a network that answers by what it kept of other weights."""
    choose_evolved_like(untouched, model)
    make_runnable(untouched)
    generator = torch.Generator().manual_seed(1)
    other = {
        key: (value + torch.randn(value.shape, generator=generator) * 0.1).to(value.dtype)
        for key, value in evolved_parameters(model).items()
    }
    with torch.no_grad():
        got = functional_call(model, other, (inputs.clone(),))
        expected = functional_call(untouched, other, (inputs.clone(),))
    if not _alike(got, expected):
        raise UsageError(
            f"model '{name}': expected a forward that computes with its present parameters, got answers of those that "
            "it had at an earlier call; keep nothing that is made of parameters"
        )


def _answer(name: str, model: nn.Module, shown: Tensor) -> Tensor:
    given = shown.clone()
    with torch.no_grad():
        answer: Tensor = model(given)
    if not torch.equal(given, shown):
        raise UsageError(
            f"model '{name}': expected a forward that leaves its inputs as they are, got other values in them "
            "afterwards; change a copy, as in x = x * 2"
        )
    return answer


def _alike(one: Tensor, other: Tensor) -> bool:
    """But for rounding, in the type of the answers."""
    tolerance = 1e-4 if one.dtype in (torch.float32, torch.float64) else 5e-2
    finite = other[other.isfinite()]
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    return torch.allclose(one, other, rtol=0.0, atol=tolerance * largest, equal_nan=True)


def _same_bits(one: Tensor, other: Tensor) -> bool:
    """Equal, where NaN equals NaN."""
    return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_buffers()), **dict(model.named_parameters())}


def _copied(model: nn.Module) -> nn.Module | None:
    """A copy of a module that was never called; None where it cannot be copied, or has no sizes yet."""
    if any(isinstance(value, nn.parameter.UninitializedParameter) for value in model.parameters()):
        return None
    try:
        return runnable(model)
    except Exception:
        return None


def _hooked(model: nn.Module) -> set[str]:
    """Attributes that a hook computes from parameters before each forward, as old ``weight_norm`` does."""
    return {
        f"{path}.{hook.name}".lstrip(".")
        for path, part in model.named_modules()
        for hook in part._forward_pre_hooks.values()
        if isinstance(getattr(hook, "name", None), str)
    }


def _attributes(model: nn.Module) -> dict[str, Any]:
    """What the parts of a module keep on themselves, by dotted name; torch's own aside."""
    return {
        f"{path}.{key}".lstrip("."): value
        for path, part in model.named_modules()
        for key, value in vars(part).items()
        if not key.startswith("_") and key != "training"
    }


def words(thing: Any) -> str:
    """What a thing is, in short: a class or function by its name, anything else by its type."""
    if inspect.isclass(thing):
        return f"the class {thing.__name__}"
    return f"the function {thing.__name__}" if inspect.isroutine(thing) else f"an object of type {type(thing).__name__}"
