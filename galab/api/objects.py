"""Functions and classes that people give where a name is expected: ``galab.run(task=moons, model=Net)``.

A run notes its code by reference, ``FILE.py:Name`` or ``package.module:Name``, so that it can be resumed in another
process. In this process the object itself is used.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from galab.config.registry import MODELS, STRATEGIES, TASKS, Registry
from galab.errors import UsageError

#: Hyperparameters that may be given as an object, with their registry and what is expected.
_NAMED: dict[str, tuple[Registry, str]] = {
    "task": (TASKS, "a function that returns a task"),
    "model": (MODELS, "a class of torch modules"),
    "strategy": (STRATEGIES, "a class with ask, tell, state_dict and load_state_dict, or of GeneticAlgorithm"),
}


@contextmanager
def named(hyperparameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The same with references in the place of objects, which are used themselves inside the ``with``.

    Raises:
        UsageError: an object is no function or class, or has no file that another process could import it from.
    """
    found = dict(hyperparameters)
    with ExitStack() as kept:
        for name, (registry, expected) in _NAMED.items():
            value = found.get(name)
            if value is None or isinstance(value, str):
                continue
            if not (inspect.isclass(value) or inspect.isfunction(value)):
                raise UsageError(
                    f"expected {name} to be a name, {expected}, or 'FILE.py:NAME', got an object of type "
                    f"{type(value).__name__}; give what makes it"
                )
            found[name] = reference_of(value, name)
            kept.enter_context(registry.keeping(found[name], value))
        yield found


def reference_of(value: Any, name: str) -> str:
    """``FILE.py:Name`` or ``package.module:Name`` of a function or class.

    Raises:
        UsageError: it has none: it was made in a notebook or inside a function.
    """
    qualified, module = value.__qualname__, sys.modules.get(value.__module__)
    file = getattr(module, "__file__", None)
    if "." in qualified or "<" in qualified or file is None:
        where = "inside another" if file is not None else "in a notebook or a prompt"
        if qualified == "<lambda>":
            raise UsageError(
                f"expected {name} as something that has a name, got a lambda: a resumed run could not find it; write "
                "it as a function (def) in a file, at its outer level"
            )
        raise UsageError(
            f"expected {name}={qualified} to stand in a file, at its outer level, got one made {where}: a resumed run "
            f"could not find it; write it into a file and give {name}='FILE.py:{qualified.rpartition('.')[2]}'"
        )
    if getattr(module, qualified, None) is not value:
        raise UsageError(
            f"expected {name}={qualified} to be what '{file}' calls so, got another one: the name was given to "
            "something else since; use another name"
        )
    package = str(value.__module__)
    installed = package != "__main__" and not package.startswith("galab_user_") and "." in package
    if installed:
        return f"{package}:{qualified}"
    path = Path(file).resolve()
    here = Path.cwd()
    shown = os.path.relpath(path, here) if path.is_relative_to(here) else str(path)
    return f"{shown}:{qualified}"
