"""The settings that change how fast a run is and not what it searches for, and their values worth trying."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from galab.config import RunConfig, flag
from galab.errors import UsageError, closest
from galab.evolution_compatibility import is_evolution

#: In the order in which they are tried: each later one is tried with the best of those before. Compiling takes longest.
SETTINGS = ("precision", "threads", "workers", "chunk", "compile")
_FEW_CORES = 4

Changes = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Machine:
    """What decides which values are worth trying.

    Attributes:
        cores: that this process may use.
        fast_bfloat16: whether there are units for it.
        compiler: whether forwards can be compiled.
    """

    cores: int
    fast_bfloat16: bool
    compiler: bool


def parse_settings(text: str) -> tuple[str, ...]:
    """Names of settings, separated by commas.

    Raises:
        UsageError: one of them is none.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names or ("",):
        if name not in SETTINGS:
            hint = closest(name, list(SETTINGS))
            raise UsageError(f"expected --vary to name some of {', '.join(SETTINGS)}, got '{name}'.{hint}")
    return names


def candidates(
    name: str, config: RunConfig, numerics: Mapping[str, Any], machine: Machine, *, asked: bool = False
) -> list[Changes]:
    """What to try besides a configuration's own value of a setting.

    Args:
        name: one of :data:`SETTINGS`.
        config: the best configuration so far.
        numerics: its ``chunk`` and ``compiled``, as they really are, and the ``members`` of a generation.
        machine: where it runs.
        asked: whether the setting was asked for by name; then slow values are tried too.
    """
    if name == "precision":
        other = "float32" if config.precision == "bfloat16" else "bfloat16"
        return [{name: other}] if asked or machine.fast_bfloat16 or other == "float32" else []
    if name == "compile":
        if not (machine.compiler or config.device == "cuda"):
            return []
        return [{name: "off" if config.compile == "on" else "on"}]
    if name == "workers":
        # None is this process alone; a single one would only wait for its orders.
        wanted = [0, *counts(machine.cores)[1:]]
        found = [{name: count, "threads": max(1, machine.cores // max(1, count))} for count in wanted]
        for changes in found:
            share = -(-numerics["members"] // max(1, changes[name]))
            if share < numerics["chunk"]:  # else some would have nothing to do
                changes["chunk"] = share + (share % 2 if is_evolution(config) else 0)
        return [changes for changes in found if changes[name] != getattr(config, name)]
    if name == "threads":
        # With worker processes, threads are those of each.
        most = max(1, machine.cores // max(1, config.workers))
        return [{name: count} for count in counts(most) if count != config.threads]
    return [{name: chunk} for chunk in _chunks(config, numerics["chunk"], numerics["members"])]


def counts(most: int) -> list[int]:
    """1 to as many as there are, or powers of two and that number where there are many."""
    if most <= _FEW_CORES:
        return list(range(1, most + 1))
    return sorted({*(1 << power for power in range(most.bit_length())), most})


def _chunks(config: RunConfig, chunk: int, members: int) -> list[int]:
    """A half, a quarter and twice of a chunk, within what a generation fills: more would be nobody's work."""
    wanted = {-(-chunk // 4), -(-chunk // 2), min(2 * chunk, members)}
    if is_evolution(config):  # pairs lie in one chunk
        wanted = {one + one % 2 for one in wanted}
    return sorted(wanted - {chunk})


def short(config: RunConfig, numerics: Mapping[str, Any]) -> str:
    """A configuration's settings in words, such as "chunk 40, float32, 2 threads"."""
    parts = [f"chunk {numerics['chunk']}", config.precision]
    parts.append("compiled" if numerics.get("compiled") else "eager")
    parts += [f"{config.workers} workers"] if config.workers else []
    return ", ".join([*parts, f"{config.threads} thread{'s' if config.threads > 1 else ''}"])


def changes_of(config: RunConfig, default: RunConfig) -> Changes:
    """The settings in which a configuration differs from the default one."""
    return {name: getattr(config, name) for name in SETTINGS if getattr(config, name) != getattr(default, name)}


def flags_of(changes: Mapping[str, Any]) -> list[str]:
    """Changes as they are typed."""
    return [word for name, value in changes.items() for word in (flag(name), str(value))]
