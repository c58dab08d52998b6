"""Mutants of a saved network: children by the run's own mutations, and the fitness of many dense mutations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from galab.config.parsing import parse_mutations
from galab.config.strategy_kinds import kind_of
from galab.contracts import Examples, Member
from galab.errors import LethalMutationError
from galab.evaluation.fitness import deterministic_scores, means_of, score
from galab.evaluation.sigma_line_evaluator import SigmaLineEvaluator
from galab.genome.births import Birth
from galab.genome.initial import Founders, TensorLaw
from galab.genome.random import Stream, Table, draw, table
from galab.genome.weights import Phenotype
from galab.operators.es_noise import LowRankNoise, WeightVector, plan_of, plan_of_ranks
from galab.operators.es_noise import draw as directions
from galab.operators.mutation.base import OperatorMixture
from galab.saved_runs.probe import Probe
from galab.saved_runs.saved_run import SavedRun
from galab.strategies.build import developer
from galab.training.trust import OPERATORS, check

#: Births and generations from here on belong to analyses: no run comes so far.
FAR = 1 << 40
_AT_ONCE = 16


class Mutants:
    """Children of one parent by mutation alone, at that parent's own step sizes.

    The centre of an evolution strategy is perturbed as its members are, that of a baseline that uses gradients by
    full-rank noise of its ``--sigma``. Operators draw from a founder's shares where shares are inherited, and choose a
    memory at random where a run asks the examples.

    Args:
        saved: the run.

    Raises:
        UsageError: its distribution lies in a run folder that is not there, or it is code that is not trusted.
    """

    def __init__(self, saved: SavedRun) -> None:
        self._saved = saved
        self._config = saved.config
        self._run_key = saved.config.seed or 0
        self._law = saved.law
        if not kind_of(saved.config.strategy).breeds:
            ranks = saved.state.get("ranks")  # a baseline by gradients has no noise of its own
            self._plan = plan_of(saved.layout, None) if ranks is None else plan_of_ranks(saved.layout, ranks)
            return
        check(saved.config, trust=saved.trust, names=OPERATORS)
        laws = tuple(
            TensorLaw(name, shape, "normal", 1.0)
            for name, shape in zip(saved.layout.names, saved.layout.shapes, strict=True)
        )
        nothing = np.empty((0, 0), dtype=np.int32)
        founders = Founders(self._run_key, laws, nothing, domain=saved.layout.domain)
        self._developer = developer(saved.config, founders, self._law)
        shares = [share for _, share in parse_mutations(saved.config.mutate)]
        self._mixture = OperatorMixture(self._run_key, shares, inherited=False)

    def children(self, member: Member, count: int, *, generation: int, start: int = 0) -> Iterator[Member]:
        """Children of one parent; the same number has the same noise with every parent.

        Args:
            member: the parent.
            count: how many.
            generation: the parent's, on which the step size of an evolution strategy may depend.
            start: number of the first.

        Yields:
            The next child; one of NaN weights where it cannot live.
        """
        if isinstance(member, Phenotype):
            for number in range(start, start + count):
                yield self._child(member, FAR + number, generation + 1)
            return
        size = self._saved.rms_step_size(member, generation)
        for first in range(start, start + count, _AT_ONCE):
            yield from self._perturbed(member.floats(), size, first, min(_AT_ONCE, start + count - first))

    def _child(self, parent: Phenotype, number: int, generation: int) -> Member:
        log_sigma = int(parent.log_sigma[0]) if self._config.granularity == "global" else 0
        operator = self._mixture.choose(number, (0,))
        birth = Birth(number, (0,), generation, 0, log_sigma, 0, operator)
        try:
            return self._developer.develop(birth, [parent])
        except LethalMutationError:
            return WeightVector(np.full(len(parent.weights), np.nan, dtype=np.float32))

    def _perturbed(self, centre: NDArray[np.float32], size: float, first: int, count: int) -> Iterator[Member]:
        noise = directions(self._plan, self._law, self._run_key, FAR, first, count)
        parts = []
        for part in noise.values():
            if isinstance(part, LowRankNoise):
                values = torch.einsum("qmr,qnr->qmn", part.a, part.b) / part.a.shape[2] ** 0.5
            else:
                values = part.values
            parts.append(values.reshape(count, -1).numpy())
        whole = np.concatenate(parts, axis=1)
        for row in whole:
            yield WeightVector(centre + np.float32(size) * row)


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """What mutations did to the fitness.

    Attributes:
        before: of the network itself.
        change: (V, S, N) by how much N mutations change it, at S step sizes, in V subsets of the tensors; NaN for the
            lethal and for failures.
        lethal: (V, S) how many left the range of weights.
    """

    before: float
    change: NDArray[np.float64]
    lethal: NDArray[np.int64]


class MutationScores:
    """Scores mutants of one network as :class:`Probe` would, many at once.

    Mutation n has the noise of birth n in the stream ``OPERATOR`` of the run, which dense mutations never use: none
    of the run's own mutations is repeated, and the answer is the same every time. Of all distributions it has the same
    quantiles.

    Args:
        probe: the run.
        chunk: directions at once.

    Raises:
        UsageError: its weights are whole, binary or bounded.
    """

    def __init__(self, probe: Probe, *, chunk: int = 16) -> None:
        probe.require_real_weights()
        self._probe = probe
        self._base = probe.base
        self._each = deterministic_scores(probe.base)
        self._lines = SigmaLineEvaluator(
            probe.module, probe.layout, probe.task, probe.evaluator, device=probe.device, chunk=chunk
        )

    @property
    def together(self) -> bool:
        """Whether step sizes share their products."""
        return self._lines.together

    def changes(
        self,
        weights: NDArray[np.float32],
        law: Table,
        sigmas: Sequence[float],
        samples: int,
        examples: Examples,
        *,
        subsets: Sequence[Sequence[str]] = (),
        progress: Callable[[float], None] = lambda share: None,
    ) -> Changes:
        """What N = ``samples`` mutations do.

        Args:
            weights: (D,) whose.
            law: of the noise.
            sigmas: S step sizes.
            samples: N.
            examples: on what.
            subsets: V sets of parameters; in each these alone are mutated. All of them when there is none.
            progress: called with the share that is done.
        """
        before = self._scores(weights, np.zeros((self._lines.chunk, len(weights)), np.float32), [1.0], examples, ())
        parts, lethal = [], np.zeros((max(1, len(subsets)), len(sigmas)), dtype=np.int64)
        for z, fitness in self.drawn(weights, law, sigmas, samples, examples, subsets=subsets):
            outside = self._outside(weights, z, sigmas, subsets)
            lethal += outside.sum(axis=2)
            parts.append(np.where(outside, np.nan, fitness - before[0, 0, 0]))
            progress(sum(part.shape[2] for part in parts) / samples)
        return Changes(float(before[0, 0, 0]), np.concatenate(parts, axis=2), lethal)

    def drawn(
        self,
        weights: NDArray[np.float32],
        law: Table,
        sigmas: Sequence[float],
        samples: int,
        examples: Examples,
        *,
        subsets: Sequence[Sequence[str]] = (),
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float64]]]:
        """The mutations chunk by chunk: their noise (P, D) and their fitness (V, S, P).

        Args:
            weights: (D,) whose.
            law: of the noise.
            sigmas: S step sizes; negative ones are allowed.
            samples: N.
            examples: on what.
            subsets: see :meth:`changes`.
        """
        chunk = self._lines.chunk
        for start in range(0, samples, chunk):
            numbers = range(start, min(start + chunk, samples))
            # At least so many zeros as complete the chunk, because results differ by its size in the last bits.
            z = np.zeros((chunk, len(weights)), dtype=np.float32)
            for row, number in enumerate(numbers):
                draw(law, self._probe.run_key, number, Stream.OPERATOR, len(weights), out=z[row])
            yield z[: len(numbers)], self._scores(weights, z, sigmas, examples, subsets)[:, :, : len(numbers)]

    def _scores(
        self,
        weights: NDArray[np.float32],
        z: NDArray[np.float32],
        sigmas: Sequence[float],
        examples: Examples,
        subsets: Sequence[Sequence[str]],
    ) -> NDArray[np.float64]:
        """(V, S, P) fitness; not finite ones are NaN."""
        shape = (max(1, len(subsets)), len(sigmas), len(z))
        measured = self._lines.measure(weights, z, sigmas, examples, subsets=subsets, each=self._each)
        if not measured.means:
            return np.full(shape, np.nan)
        fitness = score(self._base, means_of(measured), len(examples), deterministic=True).reshape(shape)
        return np.where(np.isfinite(fitness), fitness, np.nan)

    def _outside(
        self,
        weights: NDArray[np.float32],
        z: NDArray[np.float32],
        sigmas: Sequence[float],
        subsets: Sequence[Sequence[str]],
    ) -> NDArray[np.bool_]:
        """(V, S, P) which mutants have a weight that cannot be represented."""
        layout = self._probe.layout
        limit = layout.domain.limit
        found = np.zeros((max(1, len(subsets)), len(sigmas), len(z)), dtype=bool)
        reach = float(np.abs(z).max(initial=0.0))
        for row, subset in enumerate(subsets or [layout.names]):
            for name in subset:
                at = layout.names.index(name)
                part = slice(layout.starts[at], layout.starts[at] + layout.sizes[at])
                far = float(np.abs(weights[part]).max(initial=0.0))
                for place, sigma in enumerate(sigmas):
                    if far + abs(sigma) * reach >= limit:  # else no mutant's does
                        found[row, place] |= (np.abs(weights[part] + sigma * z[:, part]) >= limit).any(axis=1)
        return found


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
