"""A run's own mutations, tried on any of its individuals: children that were never born."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from galab.contracts import Member
from galab.errors import LethalMutationError, UsageError
from galab.evolution_compatibility import breeds
from galab.genome.births import Birth
from galab.genome.founders import Founders, TensorLaw
from galab.genome.noise import Stream, Table, draw, table
from galab.genome.phenotype import Phenotype
from galab.genome.sigma import sigma
from galab.lab import tables
from galab.lab.operators import developer
from galab.lab.rebuild import Saved
from galab.lab.trust import OPERATORS, check
from galab.mutation.shares import Shares
from galab.perturbation.centre import Centre
from galab.perturbation.directions import Factors
from galab.perturbation.directions import draw as directions
from galab.perturbation.plan import plan_of, plan_of_ranks
from galab.schedules import parse_rate_schedule
from galab.specs import parse_mutations

#: Births and generations from here on belong to analyses: no run comes so far.
FAR = 1 << 40
_AT_ONCE = 16


class Mutants:
    """Children of one parent by mutation alone, at that parent's own step sizes.

    Of an evolution strategy: its centre, perturbed as its members are; that of a baseline by gradients by full-rank
    noise of its ``--sigma``. Operators draw from a founder's shares where shares are inherited, and choose a memory at
    random where a run asks the examples.

    Args:
        saved: the run.

    Raises:
        UsageError: its distribution lies in a run folder that is not there, or it is code that is not trusted.
    """

    def __init__(self, saved: Saved) -> None:
        self._saved = saved
        self._config = saved.config
        self._run_key = saved.config.seed or 0
        self._law = law_of(saved)
        if not breeds(saved.config):
            ranks = saved.state.get("ranks")  # a baseline by gradients has no noise of its own
            self._plan = plan_of(saved.layout, None) if ranks is None else plan_of_ranks(saved.layout, ranks)
            return
        check(saved.config, trust=saved.trust, names=OPERATORS)
        laws = tuple(
            TensorLaw(name, shape, "normal", 1.0)
            for name, shape in zip(saved.layout.names, saved.layout.shapes, strict=True)
        )
        founders = Founders(self._run_key, laws, np.empty((0, 0), dtype=np.int32))
        self._developer = developer(saved.config, founders, self._law)
        shares = [share for _, share in parse_mutations(saved.config.mutate)]
        self._shares = Shares(self._run_key, shares, inherited=False)

    def step_size(self, member: Member, generation: int) -> float:
        """The step size that children are born with, in weight units; the root mean square where there are several."""
        if isinstance(member, Phenotype):
            sizes = np.array([float(sigma(int(k))) for k in member.log_sigma])
            return float(np.sqrt(np.mean(sizes**2)))
        schedule = parse_rate_schedule(self._config.sigma_schedule or "constant", "--sigma-schedule")
        return float(self._config.sigma * schedule.factor(generation, self._config.generations))

    def children(self, member: Member, count: int, *, generation: int, start: int = 0) -> Iterator[Member]:
        """Children of one parent; the same number has the same noise whoever the parent is.

        Args:
            member: the parent.
            count: how many.
            generation: the parent's, on which step sizes of evolution strategies may hang.
            start: number of the first.

        Yields:
            The next child; one of NaN weights where it cannot live.
        """
        if isinstance(member, Phenotype):
            for number in range(start, start + count):
                yield self._child(member, FAR + number, generation + 1)
            return
        size = self.step_size(member, generation)
        for first in range(start, start + count, _AT_ONCE):
            yield from self._perturbed(member.floats(), size, first, min(_AT_ONCE, start + count - first))

    def _child(self, parent: Phenotype, number: int, generation: int) -> Member:
        log_sigma = int(parent.log_sigma[0]) if self._config.granularity == "global" else 0
        operator = self._shares.choose(number, (0,))
        birth = Birth(number, (0,), generation, 0, log_sigma, 0, operator)
        try:
            return self._developer.develop(birth, [parent])
        except LethalMutationError:
            return Centre(np.full(len(parent.weights), np.nan, dtype=np.float32))

    def _perturbed(self, centre: NDArray[np.float32], size: float, first: int, count: int) -> Iterator[Member]:
        noise = directions(self._plan, self._law, self._run_key, FAR, first, count)
        parts = []
        for part in noise.values():
            if isinstance(part, Factors):
                values = torch.einsum("qmr,qnr->qmn", part.a, part.b) / part.a.shape[2] ** 0.5
            else:
                values = part.values
            parts.append(values.reshape(count, -1).numpy())
        whole = np.concatenate(parts, axis=1)
        for row in whole:
            yield Centre(centre + np.float32(size) * row)


def law_of(saved: Saved) -> Table:
    """The table of a run's distribution.

    Raises:
        UsageError: it lies in a run folder, and this is a lone checkpoint.
    """
    if saved.folder is not None:
        return tables.resolve(saved.config.distribution, saved.folder)
    try:
        return table(saved.config.distribution)
    except UsageError as error:
        raise UsageError(
            f"expected the run folder of '{saved.path}', as its distribution {saved.config.distribution} lies there, "
            "got the lone checkpoint; give the checkpoint inside its run"
        ) from error


def random_directions(run_key: int, size: int, count: int, *, start: int = 0) -> Iterator[NDArray[np.float64]]:
    """Directions of length 1, all equally likely; the same ones for the same key.

    Args:
        run_key: the key.
        size: D.
        count: how many.
        start: number of the first.
    """
    for number in range(start, start + count):
        one = draw(table("normal"), run_key, FAR + number, Stream.CHOICE, size).astype(np.float64)
        yield one / np.linalg.norm(one)
