"""Which code of the user's own may run.

A configuration may name code: ``moons.py:moons``. When it is typed by hand it runs, and is remembered in the user's own
state folder by its content. When it comes out of a checkpoint, which may be a stranger's, it runs only if it is
remembered so, or if the user says ``--trust``.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import platformdirs

from galab.config import RunConfig, flag
from galab.config.parsing import parse_mutations
from galab.config.registry import MODELS, STRATEGIES, TASKS, is_environment, is_prompts
from galab.errors import UsageError
from galab.models import smollm2
from galab.models.base_model import TINY

logger = logging.getLogger("galab")

#: Hyperparameters that may name code.
OPERATORS = ("mutate", "step_size", "crossover")
CODE = ("task", "model", "strategy", "selection", *OPERATORS)
_CALLED = {"task": TASKS, "model": MODELS, "strategy": STRATEGIES}


def remember(config: RunConfig, names: Iterable[str] = CODE) -> None:
    """Note the code that the user asked for by hand."""
    fingerprints = code_fingerprints(config, names) - _remembered()
    if not fingerprints:
        return
    try:
        _store().parent.mkdir(parents=True, exist_ok=True)
        with _store().open("a", encoding="utf-8") as handle:
            handle.writelines(f"{line}\n" for line in sorted(fingerprints))
    except OSError as error:
        logger.warning("could not note your own code in '%s' (%s): later commands need --trust", _store(), error)


def check(config: RunConfig, *, trust: bool = False, names: Iterable[str] = CODE) -> None:
    """Refuse code that a checkpoint or a file names and the user never asked for.

    Raises:
        UsageError: the code is unknown, has changed since, or is not here.
    """
    if trust:
        remember(config, names)
        return
    for name in names:
        for reference in _references(config, name):
            place = Path(reference.rpartition(":")[0])
            if place.suffix == ".py" and not place.is_file():
                raise UsageError(
                    f"expected the file of {flag(name)} '{reference}' in {Path.cwd()}, found none; go to the folder "
                    "from which the run was started, or copy the file"
                )
            if _fingerprint(reference) not in _remembered():
                raise UsageError(
                    f"expected code that you have run before for {flag(name)} '{reference}', got new or changed code; "
                    "look at it, and if you want it to run say --trust (in Python: trust=True)"
                )


def code_fingerprints(config: RunConfig, names: Iterable[str] = CODE) -> frozenset[str]:
    """Fingerprints of the code that a configuration names."""
    return frozenset(_fingerprint(reference) for name in names for reference in _references(config, name))


def code_files(config: RunConfig) -> dict[str, bytes]:
    """The files of the code that a configuration names, by the names that it gives them."""
    places = {reference.rpartition(":")[0] for name in CODE for reference in _references(config, name)}
    return {place: Path(place).read_bytes() for place in sorted(places) if Path(place).suffix == ".py"}


def _references(config: RunConfig, name: str) -> list[str]:
    """The code that a hyperparameter names: none, one, or several in a mix of mutations."""
    value = getattr(config, name)
    if value is None:
        return []
    if name == "mutate":
        names = [call.name for call, _ in parse_mutations(value)]
    elif name in _CALLED:
        # Arguments are plain values: what runs is what the name says, but where they name makers or rewards.
        call = _CALLED[name].parse(value)
        inside = is_environment(value) or is_prompts(value) or (name == "task" and ":" in call.name)
        names = [call.name, *(_texts(call.arguments.values()) if inside else ())]
        base = call.arguments.get("base", TINY)
        if name == "model" and call.name == "llm" and base not in (TINY, smollm2.NAME):
            names.append(f"llm:{base}")  # a stranger's run must not make us load, or fetch, whatever it names
    else:
        names = [value]
    return [reference for reference in names if ":" in reference]


def _texts(values: Iterable[Any]) -> list[str]:
    """The texts among values, at any depth of lists."""
    found = []
    for value in values:
        found += [value] if isinstance(value, str) else _texts(value) if isinstance(value, tuple) else []
    return found


def _fingerprint(reference: str) -> str:
    """A fingerprint of code: the content of a file, or the name of an installed module."""
    place = reference.rpartition(":")[0]
    if place.endswith(".py") and Path(place).is_file():
        return hashlib.sha256(Path(place).read_bytes() + reference.encode()).hexdigest()
    return hashlib.sha256(reference.encode()).hexdigest()


def _store() -> Path:
    return Path(platformdirs.user_state_dir("galab")) / "own_code.txt"


def _remembered() -> set[str]:
    try:
        return set(_store().read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError):
        return set()
