"""Loads a task by name or reference and checks that it is one."""

from __future__ import annotations

import contextlib
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch

from galab.config.parsing import UNNAMED, Call, arguments_for
from galab.config.registry import TASKS, is_environment, is_prompts
from galab.contracts import Examples, FreshExamples, Task
from galab.errors import GalabError, UsageError, pass_interrupts
from galab.tasks.classification import Classification, check_classes, check_examples
from galab.tasks.episodes import EpisodeTask
from galab.tasks.prompts import PromptTask

SPLITS = ("train", "validation", "test")
GIVEN = {"data": "use --data", "run_key": "use --seed"}
_PARTS = ("name", "description", "fingerprint", "input_shape", "outputs", *SPLITS, "measure")


def load_task(name: str, data: str = "auto", *, run_key: int = 0) -> Task:
    """The task behind a name (``mnist``) or a reference (``moons.py:moons``, ``my_package.tasks:moons``).

    Args:
        name: what the registry of tasks understands, with arguments in brackets if wanted, ``memorize(points=32)``; it
            must lead to a function that returns a task.
        data: ``auto``, ``full`` or ``subset``; passed on when the function has a parameter of that name.
        run_key: the key of the run, passed on likewise: data that is made from it belongs to one run alone. The task
            then has the key as ``run_key``, see :class:`galab.contracts.SeedDependent`.

    Raises:
        UsageError: the name is unknown, what is behind it is not a task, or it takes no such arguments.
        DataError: its data cannot be had or is damaged.
    """
    call = TASKS.parse(name)
    build = _builder(call.name, TASKS.load(name))
    arguments = arguments_for(call, build, "task", GIVEN)
    declared = _parameters(call.name, build, arguments)
    arguments |= {word: value for word, value in (("data", data), ("run_key", run_key)) if word in declared}
    try:
        task = build(**arguments)
    except GalabError:
        raise
    except BaseException as error:
        pass_interrupts(error)
        raise UsageError(
            f"task '{name}': expected its function to return a task, got {type(error).__name__}: {error}; correct it"
        ) from error
    check_task(name, task)
    if "run_key" in declared:
        with contextlib.suppress(AttributeError):  # a class with slots; such runs are then never on the same data
            task.run_key = run_key
    return cast(Task, task)


def canonical_task(text: str) -> str:
    """A task as a run saves it: an environment of the user's own, ``FILE.py:make``, is ``gym(FILE.py:make)``.

    It is one if it is a class of environments, or a function annotated to return one. The file is imported for that, so
    this is for what a person asked for and for nothing else.

    Args:
        text: as ``--task`` has it.

    Raises:
        UsageError: there is no such task.
    """
    call = TASKS.parse(text)
    if not call.name.rpartition(":")[0].endswith(".py"):
        return text
    found = TASKS.load(text)
    gymnasium: Any = sys.modules.get("gymnasium")  # which a file that makes environments has imported
    if gymnasium is None:
        return text
    with contextlib.suppress(TypeError, NameError):
        kind = found if inspect.isclass(found) else typing.get_type_hints(found).get("return")
        if inspect.isclass(kind) and issubclass(kind, gymnasium.Env):
            return str(Call("gym", {UNNAMED: call.name, **call.arguments}))
    return text


def check_task(name: str, task: Any) -> None:
    """Refuse what lacks a part of the role :class:`galab.contracts.Task`, or whose data no network can be shown.

    Raises:
        UsageError: the sentence names the part.
    """
    if hasattr(task, "action_space") and hasattr(task, "observation_space"):
        raise UsageError(
            f"task '{name}': expected a task, got an environment; write gym({name}), or annotate the function to "
            "return a gymnasium.Env"
        )
    missing = [part for part in _PARTS if not hasattr(task, part)]
    if missing:
        raise UsageError(
            f"task '{name}': expected a task, got {type(task).__name__} without {', '.join(missing)}; "
            "return a galab.tasks.Classification or add what is missing"
        )
    if isinstance(task, EpisodeTask):
        if not is_environment(name):
            raise UsageError(
                f"task '{name}': expected an environment, or a task of examples, got an EpisodeTask; let the function "
                "return a gymnasium.Env, and write gym(FILE.py:function)"
            )
        return
    if isinstance(task, PromptTask):
        if not is_prompts(name):
            raise UsageError(
                f"task '{name}': expected a task of examples, got a PromptTask; write prompts(file=..., reward=...)"
            )
        return
    if isinstance(task, FreshExamples):
        _check_sample(name, task)
    if isinstance(task, Classification):
        return  # its constructor has checked all of it
    if not isinstance(task.outputs, int) or task.outputs < 1:
        raise UsageError(f"task '{name}': expected outputs to be an int of at least 1, got {task.outputs!r}; set it")
    for split in SPLITS:
        _check_split(name, task, split, getattr(task, split))
    _check_measure(name, task)


def _check_split(name: str, task: Task, split: str, examples: Any) -> None:
    """Refuse examples that are none, or of another shape than the task says."""
    if not isinstance(examples, Examples):
        kind = type(examples).__name__
        raise UsageError(f"task '{name}', {split}: expected galab.contracts.Examples, got {kind}; wrap the tensors")
    check_examples(name, split, examples)
    if (shape := tuple(examples.inputs.shape[1:])) != tuple(task.input_shape):
        raise UsageError(
            f"task '{name}', {split}: expected inputs of shape {tuple(task.input_shape)} (its input_shape), "
            f"got {shape}; correct one of them"
        )


def _check_sample(name: str, task: Any) -> None:
    """Try ``sample`` for three examples."""
    try:
        examples = task.sample(0, 1, 3)
    except BaseException as error:
        pass_interrupts(error)
        raise UsageError(
            f"task '{name}': expected sample(run_key, generation, size) to return examples, got "
            f"{type(error).__name__}: {error}; correct sample"
        ) from error
    _check_split(name, task, "sample", examples)
    if isinstance(task, Classification):
        check_classes(name, "sample", examples.targets, task.outputs)
    if len(examples) != 3:
        raise UsageError(f"task '{name}': expected sample(0, 1, 3) to make 3 examples, got {len(examples)}; correct it")


def _check_measure(name: str, task: Task) -> None:
    """Try ``measure`` on two members, three examples at most."""
    targets = task.train.targets[:3]
    try:
        sums = task.measure(torch.zeros(2, len(targets), task.outputs), targets)
    except BaseException as error:
        pass_interrupts(error)
        raise UsageError(
            f"task '{name}': expected measure(outputs (P, B, {task.outputs}), targets (B,)) to return sums, "
            f"got {type(error).__name__}: {error}; correct measure"
        ) from error
    shapes = {part: tuple(value.shape) for part, value in sums.items()} if isinstance(sums, Mapping) else sums
    if not isinstance(shapes, dict) or not shapes or set(shapes.values()) != {(2,)}:
        raise UsageError(
            f"task '{name}': expected measure to return a mapping of names to sums of shape (2,) for 2 members, "
            f"got {shapes!r}; sum over the examples"
        )


def _builder(name: str, found: Any) -> Callable[..., Any]:
    """``found`` if calling it is what the user asked for.

    A reference may come from a downloaded checkpoint. A file of tasks has run when it was imported; but a name in
    an installed module could be any function, so there its annotation must say that it returns a task.
    """
    if not callable(found):
        kind = type(found).__name__
        raise UsageError(f"task '{name}': expected a function that returns a task, got {kind}; name one")
    build = cast(Callable[..., Any], found)
    if ":" not in name or name.rpartition(":")[0].endswith(".py") or _is_task_type(found):
        return build
    try:
        returned = typing.get_type_hints(found).get("return")
    except (TypeError, NameError):
        returned = None
    if not _is_task_type(returned):
        raise UsageError(
            f"task '{name}': expected a function annotated to return a task, got {found!r} without; "
            "add '-> Classification' to its definition"
        )
    return build


def _is_task_type(kind: Any) -> bool:
    return inspect.isclass(kind) and callable(getattr(kind, "measure", None))


def _parameters(name: str, build: Callable[..., Any], given: Mapping[str, Any]) -> set[str]:
    """Names of the function's parameters; those that are neither given nor named in brackets must have defaults."""
    parameters = inspect.signature(build).parameters.values()
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    known = {*GIVEN, *given}
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in variadic and p.name not in known]
    if needed and TASKS.is_own(name):
        raise UsageError(
            f"task '{name}': expected {' and '.join(needed)} in brackets, got none; write {name}({needed[0]}=...), "
            f"`{TASKS.listing}` says more"
        )
    if needed:
        raise UsageError(
            f"task '{name}': expected a function without required parameters (except data), got "
            f"{', '.join(needed)}; give them defaults, or values in brackets"
        )
    return {p.name for p in parameters}
