"""A champion to look at: of a checkpoint, of a generation, or of the moment when a fitness was reached."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from galab.errors import UsageError
from galab.specs import parse_fitness

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from galab.contracts import Member
    from galab.lab.probe import Probe
    from galab.lab.rebuild import Saved


@dataclass(frozen=True, slots=True, eq=False)
class Spot:
    """A champion, or a centre, of a run.

    Attributes:
        saved: the run.
        probe: scores weights as the run would.
        generation: of the champion.
        number: its birth, or the generation of the centre.
        member: it itself.
        weights: (D,) its weights.
    """

    saved: Saved
    probe: Probe
    generation: int
    number: int
    member: Member
    weights: NDArray[np.float32]

    @property
    def loss_name(self) -> str:
        """What minus the fitness is, in words."""
        base = self.probe.base
        return {"cross-entropy": "cross-entropy in nats", "wrong": "wrong answers", "loss": "the task's loss"}.get(
            base, f"minus the fitness, {base}"
        )


def spot_of(saved: Saved, generation: int | None = None, level: float | None = None) -> Spot:
    """The champion to look at.

    Args:
        saved: the run.
        generation: its champion at that generation; that of the checkpoint when absent.
        level: the champion at the first report whose best fitness was at least this, in place of a generation.

    Raises:
        UsageError: both are given, the level was never reached, or the generation is not in the run's history.
    """
    from galab.lab.history import History
    from galab.lab.probe import Probe

    if level is not None:
        if generation is not None:
            raise UsageError(f"expected --generation or --level, got both ({generation} and {level}); drop one")
        generation = _first_at(saved, level)
    if generation is None or generation == saved.generation:
        place = saved.place(None)
        member = saved.member()
        return Spot(saved, Probe(saved), saved.generation, saved.numbers[place], member, member.floats())
    history = History(saved)
    number = history.champion(generation)
    member = history.member(number)
    return Spot(saved, Probe(saved), generation, number, member, member.floats())


def _first_at(saved: Saved, level: float) -> int:
    from galab.lab.history import History

    best = None
    for line in History(saved).log:
        fitness = line.get("fitness_best")
        if line.get("champion") is None or not isinstance(fitness, (int, float)):
            continue
        best = fitness if best is None else max(best, fitness)
        if fitness >= level:
            return int(line["generation"])
    raise UsageError(
        f"expected a --level that a report of '{saved.path}' has reached, got {level:g}; the best fitness of its "
        f"reports is {'unknown' if best is None else format(best, '.6g')}"
    )


def other_run(path: str, saved: Saved) -> Saved:
    """A second run of the same network, to compare with the first.

    Raises:
        UsageError: its network has other parameters, or there is nothing at that path.
    """
    from galab.lab.rebuild import open_saved

    other = open_saved(Path(path), trust=saved.trust)
    if parse_fitness(other.config.fitness).bases[0] != parse_fitness(saved.config.fitness).bases[0]:
        raise UsageError(
            f"expected --other as a run of the same fitness, {saved.config.fitness}, got '{path}' with "
            f"{other.config.fitness}: their losses are not in one unit; name one with the same --fitness"
        )
    if other.layout != saved.layout:
        raise UsageError(
            f"expected --other as a run of the same network, {_shape(saved)}, got '{path}' with {_shape(other)}; "
            "name one with the same --model and --hidden"
        )
    return other


def _shape(saved: Saved) -> str:
    parts = zip(saved.layout.names, saved.layout.shapes, strict=True)
    return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in list(parts)[:4])
