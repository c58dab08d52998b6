"""Makes a network by name or reference, and checks that galab can evolve it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from galab.config.parsing import Call, arguments_for
from galab.config.registry import MODELS
from galab.config.spelling import OptionError
from galab.errors import GalabError, UsageError
from galab.models.check_network import prepare_network, words

GIVEN = {
    "input_shape": "the task says it", "outputs": "the task says it", "hidden": "use --hidden",
    "activation": "use --activation", "run_key": "use --seed",
}  # fmt: skip


def build_model(
    name: str,
    input_shape: tuple[int, ...],
    outputs: int,
    hidden: tuple[int, ...] | None = None,
    activation: str = "relu",
    *,
    run_key: int = 0,
    freeze: str | None = None,
    torch_seed: int = 0,
    examples: torch.Tensor | None = None,
    check: bool = True,
    further: Mapping[str, Any] | None = None,
) -> nn.Module:
    """The network behind a name (``mlp``) or a reference (``nets.py:Net``), in ``eval()``.

    The same call gives the same weights, and leaves torch's generator as it was. Those parameters are evolved that have
    ``requires_grad``.

    Args:
        name: what the registry of models understands, with arguments in brackets if wanted, ``memory(heads=128)``; it
            must lead to a subclass of ``torch.nn.Module``.
        input_shape: shape of one input.
        outputs: number of outputs that the task needs.
        hidden: units of each hidden layer; None leaves it to the class.
        activation: name of the non-linearity.
        run_key: the key of the run; what a class makes of it must be parameters or buffers. It gets what it declares.
        freeze: see :func:`galab.genome.parameters.choose_evolved`.
        torch_seed: of torch's generator, from which the constructor draws.
        examples: (B, ...) some inputs, to try it on.
        check: see :func:`galab.models.check_network.prepare_network`.
        further: arguments for constructors that declare them.

    Raises:
        UsageError: the name is unknown, what is behind it or its arguments do not fit, or two passes differ.
    """
    call, kind = MODELS.parse(name), MODELS.load(name)
    # A class of modules and nothing else: the name may come from a downloaded checkpoint, and must not make us
    # call any function there is.
    if not (inspect.isclass(kind) and issubclass(kind, nn.Module)):
        raise UsageError(f"model '{name}': expected a subclass of torch.nn.Module, got {words(kind)}; name a class")
    offered: dict[str, Any] = {"input_shape": tuple(input_shape), "outputs": outputs}
    offered |= {"activation": activation, "run_key": run_key}
    offered |= further or {}
    if hidden is not None:
        offered["hidden"] = tuple(hidden)
    arguments = arguments_for(call, kind, "model", GIVEN)
    arguments |= _declared(call, kind, offered)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(torch_seed)  # torch.manual_seed would reseed the GPU too
        try:
            model = kind(**arguments)
        except GalabError:
            raise
        except Exception as error:
            raise UsageError(
                f"model '{name}': expected its class to build, got {type(error).__name__}: {error}; correct it"
            ) from error
        prepare_network(name, model, tuple(input_shape), outputs, freeze=freeze, examples=examples, check=check)
    return model


def _declared(call: Call, kind: type[nn.Module], offered: dict[str, Any]) -> dict[str, Any]:
    """Those of the offered arguments that the constructor declares; anything else it needs is refused."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    arguments: dict[str, Any] = {}
    for parameter in inspect.signature(kind).parameters.values():
        if parameter.name in offered and parameter.kind in named:
            arguments[parameter.name] = offered[parameter.name]
        elif (
            parameter.default is parameter.empty
            and parameter.kind not in variadic
            and parameter.name not in call.arguments
        ):
            if parameter.name == "hidden":
                raise OptionError(
                    "model '{called}': expected {hidden}, which its constructor needs, got none; name the sizes, such "
                    "as {hidden:8}", called=call.name,
                )  # fmt: skip
            raise UsageError(
                f"model '{call.name}': expected a constructor that needs only {', '.join(GIVEN)}, "
                f"got a required '{parameter.name}'; give it a default, or a value in brackets"
            )
    return arguments
