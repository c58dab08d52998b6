"""A genetic algorithm with its decoder: the search whose individuals are seeds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from galab.config import RunConfig
from galab.config.parsing import DIRECTIONAL, parse_fitness
from galab.config.strategy_kinds import kind_of
from galab.config.traits import is_low_rank, needs_behaviour, needs_use, scored_by_outputs
from galab.contracts import Cohort, Examples, Member, Outcome, ReportsMemoryUse, Scores
from galab.errors import UsageError
from galab.evaluation.blocks import Minibatches, fresh_examples
from galab.evaluation.delta_evaluator import DeltaEvaluator
from galab.evaluation.delta_source import DeltaSource, PedigreeLineage
from galab.evaluation.dense_evaluator import Evaluator
from galab.evaluation.episode_evaluator import EpisodeEvaluator
from galab.evaluation.executors.local import LocalExecutor
from galab.evaluation.fitness import repeats
from galab.evaluation.member_evaluator import MemberEvaluator, member_evaluator
from galab.evaluation.memory_evaluator import MemoryDeltaSource, can_use_memory_deltas
from galab.evaluation.prompt_evaluator import PromptEvaluator
from galab.evaluation.sources import GenomeSource, GradientCosineSource
from galab.genome.births import from_rows, to_rows
from galab.genome.decoder import Decoder
from galab.genome.initial import GIVEN, Founders
from galab.genome.parameters import own_dtypes
from galab.genome.pedigree import Pedigree
from galab.genome.weights import Phenotype
from galab.strategies.build import developer, genetic_class, rank_of, step_size_rule
from galab.strategies.genetic import GeneticAlgorithm
from galab.training.checkpoint import lineage_of, members_of, members_to_state
from galab.training.diagnostics import Diagnostics
from galab.training.log_fields import MemoryRecords, genetic_fields
from galab.training.search import SearchBase, SearchInputs
from galab.training.true_gradient import TrueGradient

#: For so many generations parents' products follow from their parents' before they are computed again: float32 loses
#: less in them than in one product, and bfloat16 keeps 8 bits.
_FOLLOWED = {"float32": 16, "bfloat16": 4}


class GeneticSearch(SearchBase):
    """See :class:`galab.training.search.Search`.

    Attributes:
        config: the configuration.
        pedigree: the living and their ancestors; shared by the strategy and the decoder.
        strategy: proposes children and selects parents.
        decoder: births to weights.
        evaluator: scores members for selection.
        executor: carries out a generation's evaluation.
    """

    def __init__(
        self,
        config: RunConfig,
        strategy: GeneticAlgorithm,
        decoder: Decoder,
        evaluator: MemberEvaluator | DeltaEvaluator,
        source: GenomeSource | DeltaSource | MemoryDeltaSource | GradientCosineSource,
        minibatches: Minibatches,
        memories: MemoryRecords | None = None,
    ) -> None:
        self.config = config
        self.pedigree = strategy.pedigree
        self.strategy = strategy
        self.decoder = decoder
        self.evaluator = evaluator
        self.source = source
        self.executor = LocalExecutor(
            source,
            minibatches,
            fitness=config.fitness,
            norm_penalty=config.norm_penalty,
            cases=config.cases if config.selection == "lexicase" else None,
            behaviour=needs_behaviour(config),
            use=needs_use(config),
        )
        self._diagnostics: Diagnostics | None = None
        self._memories = memories
        # Of a worker: whom children are decoded from, and what it was told of this generation.
        self._stock: list[int] = []
        self._update: dict[str, Any] = {}

    @classmethod
    def build(cls, inputs: SearchInputs) -> GeneticSearch:
        """The search of a run.

        Raises:
            UsageError: an operator is unknown or does not fit the network.
        """
        config, founders, shared = inputs.config, inputs.founders, inputs.shared
        pedigree = Pedigree()
        births = developer(config, founders, inputs.law)
        cache_bytes = max(int(shared.cache_share * (config.cache_mb << 20)), _cohort_bytes(config, founders))
        decoder = Decoder(births, pedigree, cache_bytes=cache_bytes)
        evaluator, examples = _evaluation(inputs)
        run_key = founders.run_key
        fresh = fresh_examples(inputs.task, evaluator.prepared)
        minibatches = Minibatches(examples, config.batch, run_key, fresh, config.confirm_episodes)
        # A score that depends on random numbers is not that of another generation, whatever the examples.
        fixed = minibatches.fixed and repeats(parse_fitness(config.fitness))
        _check_drawn(config, founders)
        rule = step_size_rule(config, run_key)
        strategy = genetic_class(config.strategy).from_config(config, rule, pedigree, fixed)
        source = _source(inputs, decoder, pedigree, evaluator, minibatches)
        tells = isinstance(inputs.module, ReportsMemoryUse)
        memories = MemoryRecords(inputs.module, founders.layout, inputs.task.train) if tells else None
        return cls(config, strategy, decoder, evaluator, source, minibatches, memories)

    @property
    def record_dtype(self) -> np.dtype[Any]:
        """A birth, as the lineage file has it."""
        return self.strategy.births_dtype

    @property
    def numerics(self) -> dict[str, Any]:
        """See :class:`galab.training.search.Search`."""
        evaluator = self.evaluator
        kind = {DeltaSource: "children ", MemoryDeltaSource: "memories "}.get(type(self.source), "")
        return {
            "chunk": evaluator.chunk,
            "forward": f"{kind}{evaluator.forward_name}",
            "block": evaluator.block,
            "compiled": evaluator.compiled,
        }

    def initial_records(self) -> NDArray[Any]:
        """The founders' births."""
        founders = self.strategy.parents.tolist()
        self.decoder.pin(founders)
        return to_rows((self.pedigree[birth] for birth in founders), self.record_dtype)

    def candidates(self) -> tuple[list[int], Sequence[Member]]:
        """The living parents."""
        parents = self.strategy.parents.tolist()
        return parents, [self.decoder.decode(birth) for birth in parents]

    def before_tell(self, cohort: Cohort) -> None:
        """Score the parents, where the success rate needs it: those that die now cannot be decoded later."""
        if self._diagnostics is None:  # made late, because a resumed run is restored after it was built
            self._diagnostics = Diagnostics(self.config, self.strategy, self.decoder, self.fitness)
        self._diagnostics.before_tell(cohort)

    def after_tell(self, outcome: Outcome) -> None:
        """Keep the individuals that the next children are decoded from."""
        self.decoder.pin(self.strategy.stock)

    def log_fields(self, cohort: Cohort, scores: Scores, outcome: Outcome, records: int) -> dict[str, Any]:
        """Step sizes, the cache, the lineage, and what the diagnostics say."""
        assert self._diagnostics is not None
        fields = genetic_fields(self.strategy, self.decoder, scores, records)
        if self.evaluator.compiled:
            fields["recompilations"] = self.evaluator.recompilations
        if self._memories is not None and cohort.generation % self.config.report_every == 0:
            fields |= self._memories.log_fields(self.candidates()[1])
        return fields | self._diagnostics.log_fields(cohort, scores, outcome)

    def fitness(self, generation: int, members: list[Phenotype]) -> NDArray[np.float64]:
        """(n,) of members outside the cohort on a generation's examples, for diagnoses alone."""
        measure = partial(self.source.of, list(range(len(members))), members)
        return self.executor.fitness(generation, measure)

    def state(self) -> dict[str, Any]:
        """The parents' weights, step sizes, and what else they carry."""
        parents = [self.decoder.decode(birth) for birth in self.strategy.parents.tolist()]
        return members_to_state(parents, self.record_dtype)

    def recent_records(self) -> NDArray[Any]:
        """The living and those of their ancestors whose products theirs may follow from."""
        oldest = self.strategy.generation - _FOLLOWED[self.config.precision]
        family = self.pedigree.ancestors(self.strategy.stock)
        return to_rows((birth for birth in family if birth.generation >= oldest), self.record_dtype)

    def restore(self, state: dict[str, Any], records: NDArray[Any]) -> None:
        """Continue; only ancestors of the living are taken from the lineage."""
        ids = [int(birth) for birth in state["strategy"]["births"]["id"]]
        for ancestor in lineage_of(records, ids):
            self.pedigree.add(ancestor)
        self.strategy.load_state_dict(state["strategy"])
        parents = self.strategy.parents.tolist()
        self.decoder.adopt(dict(zip(parents, members_of(state, self.decoder.layout.domain), strict=True)))
        self._stock = self.strategy.stock
        self.decoder.pin(self._stock)

    def update_for_workers(self) -> dict[str, Any]:
        """The births of all those whom children are decoded from."""
        stock = self.strategy.stock
        return {"births": to_rows((self.pedigree[birth] for birth in stock), self.record_dtype)}

    def prepare(self, update: dict[str, Any], births: Sequence[NDArray[np.void]]) -> bool:
        """Take over the stock, and decode as much of it as these members need: themselves, and their parents.

        Under a gene law that is all of it, as genes are expressed as changes to what all the living have in common.
        """
        before, again = self._stock, update is self._update
        if not again:
            stock = from_rows(update["births"])
            for birth in stock:
                self.pedigree.add(birth)
            self._stock, self._update = [birth.id for birth in stock], update
            self.pedigree.keep(self._stock)
        for rows in births:
            for birth in from_rows(rows):
                self.pedigree.add(birth)
        named = {int(birth) for rows in births for field in ("id", "parents") for birth in rows[field].ravel()}
        needed = [*before, *(birth for birth in self._stock if birth in named)]
        self.decoder.pin(self._stock if again or self.decoder.developer.genetic else needed)
        return True

    def finish(self) -> None:
        """Decode the rest of the stock: parents are then never more than one birth away."""
        self.decoder.pin(self._stock)


def _check_drawn(config: RunConfig, founders: Founders) -> None:
    if not kind_of(config.strategy).inherits and all(law.law == GIVEN for law in founders.laws):
        raise UsageError(
            f"expected a model whose weights can be drawn with --strategy random, got {config.model}, whose weights "
            "are all given; use --strategy ga, or layers of torch.nn such as Linear"
        )


def _cohort_bytes(config: RunConfig, founders: Founders) -> int:
    """The least that a trial's cache holds: a generation that does not fit would be decoded twice."""
    return min(config.cache_mb << 20, 8 * founders.layout.size * (config.children + config.parents))


def _source(
    inputs: SearchInputs,
    decoder: Decoder,
    pedigree: Pedigree,
    evaluator: MemberEvaluator | DeltaEvaluator,
    minibatches: Minibatches,
) -> GenomeSource | DeltaSource | MemoryDeltaSource | GradientCosineSource:
    config = inputs.config
    if isinstance(evaluator, (EpisodeEvaluator, PromptEvaluator)):
        return GenomeSource(decoder, evaluator)
    if isinstance(evaluator, Evaluator):
        if set(parse_fitness(config.fitness).names) & set(DIRECTIONAL):
            return _gradient_cosine_source(inputs, decoder, evaluator, minibatches)
        members = config.children + 2 * config.parents
        recalls = minibatches.fixed and config.precision == "float32" and not config.norm_penalty
        if recalls and can_use_memory_deltas(inputs.module, decoder, inputs.task.train, members):
            return MemoryDeltaSource(decoder, pedigree, evaluator)
        return GenomeSource(decoder, evaluator)
    # From generation to generation products are kept only where a birth says all that is needed to follow them.
    follows = minibatches.fixed and config.granularity == "global"
    return DeltaSource(
        decoder, evaluator, PedigreeLineage(decoder, pedigree, _FOLLOWED[config.precision]) if follows else None
    )


def _gradient_cosine_source(
    inputs: SearchInputs, decoder: Decoder, evaluator: Evaluator, minibatches: Minibatches
) -> GradientCosineSource:
    config, layout = inputs.config, inputs.founders.layout
    truth = TrueGradient(inputs.module, inputs.task, "loss", torch.device(config.device))
    if config.sigma_search:
        raise UsageError(
            f"expected no --sigma-search with --fitness {config.fitness}, got {config.sigma_search}: the direction of "
            "a step is the same at every step size; drop one of them"
        )
    if truth.flat(layout, np.zeros(layout.size, np.float32), minibatches.of(1)) is None:
        raise UsageError(
            f"expected a network and a task with a gradient with --fitness {config.fitness}, got --model "
            f"{config.model} and --task {config.task}; use another fitness"
        )
    return GradientCosineSource(GenomeSource(decoder, evaluator), decoder, partial(truth.flat, layout))


def _evaluation(inputs: SearchInputs) -> tuple[MemberEvaluator | DeltaEvaluator, Examples]:
    """The evaluator and the training data as it wants them; those of another trial if they are the same."""
    config, twin = inputs.config, inputs.reusable_search(GeneticSearch)
    if twin is not None:
        return twin.evaluator, twin.executor.examples
    evaluator: MemberEvaluator | DeltaEvaluator
    layout, device = inputs.founders.layout, torch.device(config.device)
    # Of parameters of several types children are formed: products are shared in one type.
    if is_low_rank(config) and not own_dtypes(inputs.module) and scored_by_outputs(config):
        evaluator = DeltaEvaluator(
            inputs.module, layout, inputs.task,
            chunk=config.chunk, parents=config.parents, rank=rank_of(config), batch=config.batch,
            precision=config.precision, device=device, compile=config.compile,
        )  # fmt: skip
    else:
        evaluator = member_evaluator(
            config, inputs.module, layout, inputs.task, chunk=config.chunk, compile=config.compile, reports_usage=True
        )
    return evaluator, evaluator.prepared(inputs.task.train)
