"""Diagnostics of a genetic algorithm in the log: step sizes, success, diversity, ancestry, operators and age.

Every generation logs step sizes (one for each weight only on report generations), ancestry, operators, ages, and the
success rate where parents are scored on the children's examples anyway. Report generations add step sizes relative to
the weights, and the distance of the parents. Report generations at least :data:`SPACING` apart add the success rate of
all other runs, for which the parents are scored once more. Selection never sees these scores, and they do not count as
evaluations. ``docs/log.md`` lists the fields.

Quantiles of step sizes are by layer, over the step sizes that move weights. With a step size for each row and column a
layer's are those of its rows, as columns are centred on a factor of 1; tensors that never move have none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galab.config.parsing import labels, parse_mutations
from galab.config.run_config import RunConfig
from galab.config.traits import is_gene_law
from galab.contracts import Cohort, Outcome, Scores
from galab.genome.decoder import Decoder
from galab.genome.domain import REAL_BITS
from galab.genome.pedigree import Ancestry, Kinship
from galab.genome.step_sizes import LOWEST, Steps, log_rms, sigma
from galab.genome.weights import Phenotype
from galab.strategies.genetic import GeneticAlgorithm
from galab.strategies.survival import parents_mean

#: Quantiles of step sizes, by the end of their names.
QUANTILES = {"p10": 0.1, "p50": 0.5, "p90": 0.9}


def step_sizes(steps: Steps, parents: Sequence[Phenotype]) -> dict[str, float]:
    """Quantiles of the step size over parents and over a layer's step sizes, and the share of them at the floor.

    The share is left out where floors are relative to the weights: there each tensor of each parent has its own.
    """
    layers = {layer: _joined(parents, places) for layer, places in _places(steps).items()}
    line = dict[str, float]()
    for layer, points in layers.items():
        line |= _named(f"step_size_{layer}" if layer else "step_size", points)
    if steps.relative[0] is None:
        at_floor = sum(int((points <= steps.low).sum()) for points in layers.values())
        line["step_size_at_floor"] = at_floor / max(sum(map(len, layers.values())), 1)
    return line


def step_size_shares(steps: Steps, parents: Sequence[Phenotype]) -> dict[str, float]:
    """Quantiles of the step size relative to the RMS of the layer's weights that move, by whole numbers alone."""
    line, places = dict[str, float](), _places(steps)
    for layer, tensors in _tensors(steps).items():
        shares = []
        for parent in parents:
            scale = _log_rms([parent.weights[part] for part in tensors], parent.bits)
            if scale is not None:
                shares.append(_joined([parent], places[layer if layer in places else ""]).astype(np.int32) - scale)
        if shares:
            line |= _named(f"step_size_share_{layer}", np.concatenate(shares))
    return line


def quantiles(points: NDArray[np.integer[Any]]) -> list[int]:
    """Those of :data:`QUANTILES`: for each share the smallest value that so many values do not exceed."""
    ordered = np.sort(points, axis=None)
    return [int(ordered[int(np.ceil(share * len(ordered))) - 1]) for share in QUANTILES.values()]


def layer_of(steps: Steps, tensor: int) -> str:
    """The name of the layer that a tensor lies in: its module's, or its own where it has none."""
    name = steps.layout.names[tensor]
    return name.rpartition(".")[0] or name


def _named(name: str, points: NDArray[np.integer[Any]]) -> dict[str, float]:
    return {f"{name}_{end}": float(sigma(k)) for end, k in zip(QUANTILES, quantiles(points), strict=True)}


def _places(steps: Steps) -> dict[str, list[slice]]:
    """For each layer the places of its step sizes that move weights; the name is empty where one serves all."""
    found: dict[str, list[slice]] = {}
    for group in steps.groups:
        if steps.granularity == "global":
            found[""] = [slice(group.start, group.stop)]
        elif not group.columns and group.tensor not in steps.frozen and group.stop > group.start:
            found.setdefault(layer_of(steps, group.tensor), []).append(slice(group.start, group.stop))
    return found


def _joined(parents: Sequence[Phenotype], places: list[slice]) -> NDArray[np.int16]:
    parts = [parent.log_sigma[place] for parent in parents for place in places]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _tensors(steps: Steps) -> dict[str, list[slice]]:
    """For each layer the places of its weights that move."""
    found: dict[str, list[slice]] = {}
    for tensor, (start, size) in enumerate(zip(steps.layout.starts, steps.layout.sizes, strict=True)):
        if tensor not in steps.frozen and size:
            found.setdefault(layer_of(steps, tensor), []).append(slice(start, start + size))
    return found


def _log_rms(tensors: Sequence[NDArray[np.int32]], bits: int) -> int | None:
    """The grid point at or below the RMS of several tensors' weights; None where all are 0."""
    found = log_rms(np.concatenate(tensors), bits)
    return None if found == LOWEST else found


#: Generations between two scores of the parents for the success rate alone. Chunks are padded, so it may take as long
#: as the children's; a smaller chunk would differ in the last bits from what it is compared with.
SPACING = 50


class Diagnostics:
    """Diagnoses one run, generation by generation.

    Args:
        config: the run's configuration.
        strategy: at the generation to continue from.
        decoder: has the parents.
        fitness: measures members outside the cohort, given a generation and n members, on that generation's examples:
            (n,) higher is better, not finite for failures.
    """

    def __init__(
        self,
        config: RunConfig,
        strategy: GeneticAlgorithm,
        decoder: Decoder,
        fitness: Callable[[int, list[Phenotype]], NDArray[np.float64]],
    ) -> None:
        self._config = config
        self._strategy = strategy
        self._decoder = decoder
        self._fitness = fitness
        self._ancestry = Ancestry(strategy.pedigree, config.parents)
        self._kinship = self._ancestry.of(strategy.parents.tolist(), int(strategy.state_dict()["next_id"]))
        self._spacing = config.report_every * -(-SPACING // config.report_every)
        self._operators = labels([call for call, _ in parse_mutations(config.mutate)])
        self._steps = decoder.developer.steps
        self._parents: dict[int, Phenotype] = {}

    def before_tell(self, cohort: Cohort) -> None:
        """Called before the strategy is told the scores: later, parents that died cannot be decoded."""
        if cohort.generation % self._spacing == 0:
            decode, family = self._decoder.decode, cohort.births["parents"][: cohort.children]
            self._parents = {birth: decode(birth) for birth in np.unique(family[family >= 0]).tolist()}

    def log_fields(self, cohort: Cohort, scores: Scores, outcome: Outcome) -> dict[str, Any]:
        """The fields of a generation, after the strategy was told the scores and the parents are pinned.

        Args:
            cohort: the evaluated members.
            scores: of the cohort.
            outcome: the selected parents.
        """
        decoder = self._decoder
        parents = [decoder.decode(birth) for birth in outcome.parents.tolist()]
        report = cohort.generation % self._config.report_every == 0
        line = self._success(cohort, scores) | self._related(cohort, parents)
        line |= self._operator_shares(outcome) | self._ages(cohort.generation, outcome)
        if report or self._steps.granularity != "parameter":
            line |= step_sizes(self._steps, parents)
        if report:
            line |= step_size_shares(self._steps, parents)
            line["diversity_distance"] = distance([parent.weights for parent in parents], parents[0].bits)
        self._parents = {}
        return line

    def _success(self, cohort: Cohort, scores: Scores) -> dict[str, Any]:
        """Share of children better than their parents' mean on the same examples, where it is known."""
        if cohort.children != self._config.children:  # probes of a search for the step size
            return {}
        gain = self._strategy.gain
        fitness = scores.fitness[: cohort.children]
        if (np.isfinite(fitness) & ~np.isfinite(gain)).any():
            if not self._parents:
                return {}
            measured = self._fitness(cohort.generation, list(self._parents.values()))
            known = dict(zip(self._parents, measured.tolist(), strict=True))
            gain = fitness - parents_mean(cohort.births["parents"][: cohort.children], known)
        return {"selection_success_rate": success_rate(fitness, gain)}

    def _related(self, cohort: Cohort, parents: Sequence[Phenotype]) -> dict[str, Any]:
        strategy, decoder = self._strategy, self._decoder
        before = self._kinship
        last = int(cohort.births["id"][: cohort.children].max())
        kinship = self._kinship = self._ancestry.of(strategy.parents.tolist(), last + 1)
        ancestor = kinship.ancestor
        line: dict[str, Any] = {
            "diversity_common_ancestor": None if ancestor is None else cohort.generation - ancestor.generation,
            "diversity_segregating": kinship.younger,
        }
        if is_gene_law(self._config):
            line["diversity_segregating"] = len(set[int]().union(*(parent.genes or {} for parent in parents)))
            line["diversity_fixed_mutations"] = decoder.fixations
            decoder.fixations = 0
        else:
            line["diversity_fixed_generations"] = max(_birthday(kinship) - _birthday(before), 0)
        return line

    def _operator_shares(self, outcome: Outcome) -> dict[str, Any]:
        """Shares among the children that became parents; None where no child did."""
        config, chosen, line = self._config, outcome.records, dict[str, Any]()
        if len(self._operators) > 1:
            for number, name in enumerate(self._operators, 1):
                line[f"selection_operator_{name}"] = _share(chosen["mutation"] == number)
            if config.mutate_shares == "inherited":
                inherited = self._strategy.reproduction.mixture.shares_of(outcome.parents.tolist())
                for name, share in zip(self._operators, inherited.mean(axis=0).tolist(), strict=True):
                    line[f"selection_inherited_{name}"] = share
        if config.crossover != "none" and config.crossover_rate < 1:
            line["selection_crossover"] = _share(chosen["crossover"] > 0)
        return line

    def _ages(self, generation: int, outcome: Outcome) -> dict[str, Any]:
        """Generations since the best and the oldest parent were born."""
        if not self._config.elites:
            return {}
        pedigree = self._strategy.pedigree
        ages = [generation - pedigree[birth].generation for birth in outcome.parents.tolist()]
        return {"selection_age_best": ages[0], "selection_age_oldest": max(ages)}


def success_rate(fitness: NDArray[np.float64], gain: NDArray[np.float64]) -> float | None:
    """The share of children that are better than the mean of their parents; a failed child is not.

    Children of failed parents are left out, as there is nothing to compare them with.

    Args:
        fitness: (children,) NaN is a failure.
        gain: (children,) fitness minus the mean of the parents' on the same examples.

    Returns:
        The share; None where no child can be compared.
    """
    compared = np.isfinite(gain) | ~np.isfinite(fitness)
    return float((gain[compared] > 0).mean()) if compared.any() else None


def distance(weights: Sequence[NDArray[np.int32]], bits: int = REAL_BITS) -> float:
    """The root mean square difference of a weight between two individuals, over all pairs and all weights.

    Args:
        weights: of each, (D,) in units of 2^-bits.
        bits: see :class:`galab.genome.domain.Domain`.

    Returns:
        In weight units; 0 for one individual alone.
    """
    count = len(weights)
    if count == 1:
        return 0.0
    # The sum over pairs of |a - b|^2 is n times the sum of |a|^2 minus |sum of a|^2. Taken relative to the first one,
    # to which the others are near, it loses no digits. NumPy's sums, unlike a BLAS's, do not depend on the number of
    # threads.
    total, squares = np.zeros(len(weights[0])), 0.0
    for own in weights[1:]:
        apart = np.subtract(own, weights[0], dtype=np.float64)
        total += apart
        squares += float(np.square(apart, out=apart).sum())
    pairs = count * squares - float(np.square(total, out=total).sum())
    return float(np.sqrt(max(pairs, 0.0) / (count * (count - 1) / 2) / len(total)) * 2.0**-bits)


def _share(which: NDArray[np.bool_]) -> float | None:
    return float(which.mean()) if which.size else None


def _birthday(kinship: Kinship) -> int:
    return 0 if kinship.ancestor is None else kinship.ancestor.generation
