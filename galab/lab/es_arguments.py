"""The arguments of an ESOptimizer: their names, and sentences about them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from galab.config import RunConfig
from galab.errors import UsageError, closest
from galab.evolution_options import EVOLUTION

#: Names of ``galab run`` that are called otherwise here.
_IN_PYTHON = {
    "population": "population_size", "lr": "learning_rate", "pairs": "antithetic", "shaping": "reward_shaping_fn",
}  # fmt: skip
_SAID = {
    "--strategy openai-es": "rank=None",
    "--pairs antithetic": "antithetic=True",
    "--pairs one-sided": "antithetic=False",
    "--pairs auto": 'antithetic="auto"',
}
#: What only a run with a task can do.
_NEEDS_TASK = ("groups",)
_FURTHER = ("sigma_schedule", "distribution", "generations")


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse what is no argument of an :class:`galab.ESOptimizer`.

    Raises:
        UsageError: the unknown name, and the closest one.
    """
    fields = RunConfig.__dataclass_fields__
    own = [
        name
        for name, item in fields.items()
        if (item.metadata["group"] == EVOLUTION or name in _FURTHER) and name not in (*_IN_PYTHON, *_NEEDS_TASK)
    ]
    for name in options:
        if name not in own:
            hint = f" Did you mean '{_IN_PYTHON[name]}'?" if name in _IN_PYTHON else ""
            known = ["sigma", "seed", *_IN_PYTHON.values(), *own]
            raise UsageError(f"no argument of an ESOptimizer is called '{name}'.{hint or closest(name, known)}")


def in_python(message: str) -> str:
    """A sentence about flags of the command line, about arguments."""

    def name(flag: re.Match[str]) -> str:
        word = flag[1].replace("-", "_")
        return _IN_PYTHON.get(word, word)

    for flags, argument in _SAID.items():
        message = message.replace(flags, argument)
    return re.sub(r"--([a-z][a-z-]*[a-z])", name, message)
