"""A saved network's mutants: what its fitness becomes at ``weights + sigma * z``, with the same z for every sigma."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galab.contracts import Examples
from galab.evaluation.example_scores import COMPUTED, ExampleScores
from galab.evaluation.fitness import STEADY, means_of, score
from galab.evaluation.line_evaluator import LineEvaluator
from galab.genome.noise import Stream, Table, draw
from galab.lab.probe import Probe
from galab.specs import terms

#: Weights live inside +-128.
_LIMIT = 128.0


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

    Mutation n has the noise of birth n in the stream ``OPERATOR`` of the run, which dense mutations never use: nobody
    of the run's own is met, and the answer is the same every time. Of all distributions it has the same quantiles.

    Args:
        probe: the run.
        chunk: directions at once.
    """

    def __init__(self, probe: Probe, *, chunk: int = 16) -> None:
        self._probe = probe
        self._base = probe.base
        names = [STEADY.get(name, name) for _, name in terms(probe.base)]
        computed = [name for name in names if name in COMPUTED]
        self._each = ExampleScores(computed) if computed else None
        self._lines = LineEvaluator(
            probe.module, probe.layout, probe.task, probe.plain, device=probe.device, chunk=chunk
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
        heard: Callable[[float], None] = lambda share: None,
    ) -> Changes:
        """What N = ``samples`` mutations do.

        Args:
            weights: (D,) whose.
            law: of the noise.
            sigmas: S step sizes.
            samples: N.
            examples: on what.
            subsets: V sets of parameters; in each these alone are mutated. All of them when there is none.
            heard: hears how much is done.
        """
        before = self._scores(weights, np.zeros((self._lines.chunk, len(weights)), np.float32), [1.0], examples, ())
        parts, lethal = [], np.zeros((max(1, len(subsets)), len(sigmas)), dtype=np.int64)
        for z, fitness in self.drawn(weights, law, sigmas, samples, examples, subsets=subsets):
            outside = self._outside(weights, z, sigmas, subsets)
            lethal += outside.sum(axis=2)
            parts.append(np.where(outside, np.nan, fitness - before[0, 0, 0]))
            heard(sum(part.shape[2] for part in parts) / samples)
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
        fitness = score(self._base, means_of(measured), len(examples), steady=True).reshape(shape)
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
        found = np.zeros((max(1, len(subsets)), len(sigmas), len(z)), dtype=bool)
        reach = float(np.abs(z).max(initial=0.0))
        for row, subset in enumerate(subsets or [layout.names]):
            for name in subset:
                at = layout.names.index(name)
                part = slice(layout.starts[at], layout.starts[at] + layout.sizes[at])
                far = float(np.abs(weights[part]).max(initial=0.0))
                for place, sigma in enumerate(sigmas):
                    if far + abs(sigma) * reach >= _LIMIT:  # else nobody's does
                        found[row, place] |= (np.abs(weights[part] + sigma * z[:, part]) >= _LIMIT).any(axis=1)
        return found
