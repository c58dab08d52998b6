"""Every hyperparameter, named once.

The CLI flags, ``config.json``, the TensorBoard hparams and the checkpoints all derive from the fields of
:class:`Fields`: a field's metadata holds its help, unit, bounds, choices and the kinds of strategy that understand it.
Which values go together is said in :mod:`galab.config.rules`.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from galab.config.cluster_fields import CLUSTER, ClusterFields
from galab.config.distribution import TABLE_HASHES, parse
from galab.config.language_fields import LANGUAGE
from galab.config.option import check, option, or_auto
from galab.config.parsing import hidden_sizes, parse_bounds, parse_factors, parse_fitness, parse_mutations
from galab.config.registry import CROSSOVERS, MODELS, MUTATIONS, SELECTIONS, STEP_SIZE_RULES, STRATEGIES, TASKS
from galab.config.schedules import parse_share
from galab.config.spelling import OptionError
from galab.config.strategy_kinds import STRATEGY_NAMES

#: Headings of the help.
PROBLEM, POPULATION, MUTATION = "Problem", "Population", "Mutation"
EVOLUTION, OPTIMISER = "Evolution strategies", "Optimiser of evolution strategies, sgd and adam"
EVALUATION, STOP, RECORD = "Evaluation", "Stop when", "Record"
HEADINGS = (PROBLEM, POPULATION, MUTATION, EVOLUTION, OPTIMISER, LANGUAGE, EVALUATION, CLUSTER, STOP, RECORD)

#: Which kinds of strategy understand a field, where not all do.
GENETIC, BRED, EVOLVED, CENTRED = ("genetic",), ("genetic", "random"), ("evolution",), ("evolution", "gradients")
SAMPLED, DRAWN = ("evolution", "vectors", "integer"), ("genetic", "random", "evolution")
INTEGER, RANKED = ("integer",), ("evolution", "integer")
MOVED, NOT_VECTORS = (*DRAWN, "vectors"), (*DRAWN, "gradients")
_TUNED: dict[str, Any] = {"advanced": True, "changeable": True}


def _check_mutations(text: str) -> None:
    for call, _ in parse_mutations(text):
        MUTATIONS.check(call.name)


def _check_power_of_two(value: float) -> None:
    if math.frexp(value)[0] != 0.5:
        raise OptionError("expected {weight_range} to be a power of two, such as 1024, got {value:g}", value=value)


def _check_keep(text: str) -> None:
    if text not in ("all", "log") and not (text.isdecimal() and int(text) >= 1):
        raise OptionError("expected {keep} to be 'all', 'log' or a number of at least 1, got '{text}'", text=text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields(ClusterFields):
    """The values of all hyperparameters, each right by itself; see :class:`galab.config.run_config.RunConfig`.

    Raises:
        UsageError: a value of the wrong type, out of bounds, or unknown.
    """

    task: str = option("mnist", "What to learn, such as digits or 'NAME(size=3)'.", choices=TASKS, group=PROBLEM)
    data: str = option(
        "auto", "Which data: the full set, the embedded subset (extra 'offline'), or full if it can be had.",
        choices=("auto", "full", "subset"), group=PROBLEM, advanced=True,
    )
    model: str = option(
        "mlp", "The network, such as mlp or FILE.py:Class(size=3). Of integer-eggroll it is egg, or integer-linear for "
        "linear-regression.", choices=MODELS, group=PROBLEM,
    )
    hidden: str | None = option(
        None, "Units per hidden layer, such as 256,128. Each model has its own default.", group=PROBLEM,
        beyond=hidden_sizes,
    )
    activation: str = option(
        "relu", "Non-linearity between layers.", choices=("relu", "tanh", "gelu", "silu", "sigmoid"), group=PROBLEM,
        advanced=True,
    )
    init: str | None = option(
        None, "Start from the weights in this .pt file (a state_dict); own: from those that the module sets itself; "
        "draw: from torch's law for each layer. When absent: own for a module of yours that sets weights, else draw.",
        group=PROBLEM, advanced=True,
    )
    freeze: str | None = option(
        None, "Parameters that are not evolved, by name, such as 'features.*,head.bias'; those with "
        "requires_grad=False never are. They keep what the constructor gave them, the same under every seed.",
        group=PROBLEM, advanced=True,
    )
    origin: str | None = option(
        None, "Start from the parents of another run or checkpoint, as a new run.", group=PROBLEM,
    )
    strategy: str = option(
        "ga", f"How to search: {', '.join(STRATEGY_NAMES)}. The baselines sgd and adam use gradients, a step a "
        "generation.", choices=STRATEGIES, group=PROBLEM,
    )
    seed: int | None = option(
        None, "Key of all randomness; drawn, printed and saved when absent.", low=0, high=2**63 - 1, group=PROBLEM,
    )

    parents: int = option(8, "Individuals that breed.", low=1, high=100_000, group=POPULATION, kinds=BRED)
    children: int = option(32, "Children born per generation.", low=1, high=1_000_000, group=POPULATION, kinds=BRED)
    elites: int = option(0, "Best parents that compete with the children.", low=0, group=POPULATION, kinds=BRED)
    survival: str = option(
        "comma", "comma: children (and elites) only; plus: every parent competes too.", choices=("comma", "plus"),
        group=POPULATION, kinds=BRED, advanced=True,
    )
    ties: str = option(
        "younger", "Which of two equal scores ranks first.", choices=("younger", "older", "random"), group=POPULATION,
        kinds=BRED, advanced=True,
    )
    crossover: str = option(
        "auto", "How several parents make one child. none: each child has one parent; auto: parameter, or none where "
        "children cannot have two.", choices=CROSSOVERS, beyond=or_auto(CROSSOVERS), group=POPULATION, kinds=BRED,
    )
    crossover_rate: float = option(
        1.0, "Share of the children that are made by crossover.", low=0.0, high=1.0, group=POPULATION, kinds=GENETIC,
        advanced=True,
    )
    parents_per_child: int | None = option(
        None, "Parents of a child made by crossover; 2 when absent, all for mean.", low=2, high=4096, group=POPULATION,
        kinds=GENETIC, advanced=True,
    )
    founders: str | None = option(
        None, "Whether the first parents differ or are clones of one; clones when absent under a gene law.",
        choices=("distinct", "clones"), group=POPULATION, kinds=GENETIC, advanced=True,
    )
    mate: str = option(
        "random", "Which further parents a child gets: any, or those whose answers are most or least like the "
        "first's.", choices=("random", "similar", "dissimilar"), group=POPULATION, kinds=GENETIC, advanced=True,
    )
    mate_choices: int = option(
        4, "Random candidates among which --mate chooses.", low=1, high=4096, group=POPULATION, kinds=GENETIC,
        advanced=True,
    )
    selection: str = option(
        "truncation", "Who of the competitors become parents.", choices=SELECTIONS, group=POPULATION, kinds=GENETIC,
    )
    tournament: int = option(
        2, "Competitors drawn for each place by tournament selection.", low=1, group=POPULATION, kinds=GENETIC,
        advanced=True,
    )
    rank_pressure: float = option(
        1.5, "Odds of the best under rank selection, as multiples of the mean.", low=1.0, high=2.0, group=POPULATION,
        kinds=GENETIC, advanced=True,
    )
    cases: str = option(
        "examples", "What lexicase selection takes one after the other.", choices=("examples", "classes"),
        group=POPULATION, kinds=GENETIC, advanced=True,
    )
    niche: str | None = option(
        None, "Competition among members whose answers are alike.", choices=("sharing", "local"), group=POPULATION,
        kinds=GENETIC, advanced=True,
    )
    niche_radius: float = option(
        0.1, "Share of different answers within which members share a niche.", low=0.001, high=1.0, group=POPULATION,
        kinds=GENETIC, advanced=True,
    )
    niche_neighbours: int = option(
        8, "Members that local competition compares each with.", low=1, group=POPULATION, kinds=GENETIC, advanced=True,
    )
    diversity: float = option(
        0.0, "Weight of a member's mean distance to the others' answers, in standard deviations of fitness.", low=0.0,
        high=1000.0, group=POPULATION, kinds=GENETIC, advanced=True,
    )
    islands: int = option(
        1, "Populations that breed apart, each with its share of parents.", low=1, group=POPULATION, kinds=GENETIC,
        advanced=True,
    )
    migrate_every: int = option(
        50, "Generations between two migrations among islands.", low=1, group=POPULATION, kinds=GENETIC, advanced=True,
    )
    migrants: int = option(
        1, "Best parents that each island sends to the next.", low=0, group=POPULATION, kinds=GENETIC, advanced=True,
    )

    genome: str = option(
        "real", "Numbers that a weight may be. integer: whole ones, drawn from --bounds or out of -1, 0, 1; binary: "
        "the two ends of --bounds, -1 and 1 when absent, which flips exchange.", choices=("real", "integer", "binary"),
        group=MUTATION, kinds=BRED, advanced=True,
    )
    bounds: str | None = option(
        None, "Smallest and largest weight, LOW:HIGH, such as -1:1.", group=MUTATION, kinds=BRED, beyond=parse_bounds,
        advanced=True,
    )
    at_bounds: str = option(
        "clip", "What becomes of a weight that would leave --bounds: it stops there, or is reflected.",
        choices=("clip", "reflect"), group=MUTATION, kinds=BRED, advanced=True,
        idle=(
            lambda config: config.bounds is None or config.genome == "binary",
            "expected {bounds} with {at_bounds}, got none at which a weight could be stopped; name them, such as "
            "{bounds:-1:1}",
        ),
    )
    weight_range: float = option(
        128.0, "Magnitude that no weight reaches, a power of two: a child with a larger weight is lethal. Weights are "
        "whole multiples of its 2^-31st part.", low=16.0, high=2.0**20, group=MUTATION, kinds=BRED,
        beyond=_check_power_of_two, advanced=True,
    )
    mutate: str = option(
        "dense", "Mutation operator, or a mix such as dense:0.8,layer:0.2. The numbers are shares of the children; an "
        "operator may have arguments, 'weights(count=3)':0.2. Of a binary genome it is flip.",
        choices=MUTATIONS, beyond=_check_mutations, group=MUTATION, kinds=GENETIC,
    )
    mutate_shares: str = option(
        "fixed", "Whether the shares of a mix are fixed or inherited, each child's its parent's with small changes.",
        choices=("fixed", "inherited"), group=MUTATION, kinds=GENETIC, advanced=True,
    )
    mutate_biases: str = option(
        "on", "off: biases, the parameters with one axis, never move.", choices=("on", "off"), group=MUTATION,
        kinds=GENETIC, advanced=True,
    )
    mutate_count: int = option(
        1, "Weights that the operators weights and flip move.", low=1, group=MUTATION, kinds=GENETIC, advanced=True,
    )
    mutate_rank: int = option(
        1, "Rank of low-rank: vector pairs a layer.", low=1, high=1024, group=MUTATION, kinds=GENETIC, advanced=True,
    )
    momentum: float = option(
        0.5, "Share of the parent's step that the operator momentum repeats.", low=0.0, high=1.0, group=MUTATION,
        kinds=GENETIC, advanced=True,
    )
    distribution: str = option(
        "normal", "Law of a mutation, scaled to unit variance; also a law of scipy.stats, such as 'scipy:t(df=5)', or "
        "table:FILE, samples in a .npy, .txt or .csv file.", choices=tuple(TABLE_HASHES), beyond=parse, group=MUTATION,
        kinds=DRAWN, advanced=True,
    )
    sigma: float = option(
        0.02, "First step size of any strategy, in weight units. That of a genetic algorithm is "
        "snapped to the grid 2^(k/256). Of an integer genome it is 1 when absent.", low=2**-20, high=8.0,
        group=MUTATION, kinds=MOVED,
    )
    sigma_factors: str | None = option(
        None, "Factors of --sigma, one for each layer in order, such as 1,0.5.", group=MUTATION, kinds=GENETIC,
        beyond=parse_factors, advanced=True,
        idle=(
            lambda config: config.granularity == "global",
            "expected {granularity} tensor, row-column or parameter with {sigma_factors}, got global, which has one "
            "step size; choose tensor (with {step_size:fixed} the factors stay as they are)",
        ),
    )
    granularity: str = option(
        "global", "Step sizes: global, tensor, row-column or parameter.",
        choices=("global", "tensor", "row-column", "parameter"), group=MUTATION, kinds=GENETIC,
    )
    step_size: str | None = option(
        None, "Rule that adapts the step size. log-normal when absent, mean-reverting where there are many.",
        choices=STEP_SIZE_RULES, group=MUTATION, kinds=GENETIC,
    )
    step_size_rate: float | None = option(
        None, "Strength of the rule, in octaves per birth; each rule has its own default.", low=0.0, high=8.0,
        group=MUTATION, kinds=GENETIC, advanced=True,
    )
    step_size_down: float | None = option(
        None, "Octaves of a step downwards under three-point, where they are not those upwards.", low=0.0, high=8.0,
        group=MUTATION, kinds=GENETIC, advanced=True,
        idle=(
            lambda config: config.step_size != "three-point",
            "expected {step_size_down} with {step_size:three-point}, got {step_size.value}; drop one of them",
        ),
    )
    step_size_reversion: float = option(
        0.01, "Share of its distance from the layer's mean that mean-reverting takes back per birth.", low=0.0,
        high=0.05, group=MUTATION, kinds=GENETIC, advanced=True,
    )
    step_size_groups: int = option(
        2, "Step sizes that gesmr tries at once.", low=2, high=4096, group=MUTATION, kinds=GENETIC, advanced=True,
    )
    step_size_inherit: str = option(
        "weights", "After crossover: a step size comes with its weight, or is the mean of the parents'.",
        choices=("weights", "mean"), group=MUTATION, kinds=GENETIC, advanced=True,
    )
    sigma_schedule: str | None = option(
        None, "Points GENERATION:SIGMA of the rule schedule, such as 0:0.02,1000:0.002, exponential in between; for "
        "evolution strategies the factors of --sigma, as --lr-schedule has them.", group=MUTATION, kinds=DRAWN,
        advanced=True,
    )
    sigma_floor: float | None = option(
        None, "Smallest step size allowed; 1/32 of --sigma when absent.", low=2**-24, high=8.0, group=MUTATION,
        kinds=GENETIC, advanced=True,
    )
    sigma_ceiling: float = option(
        8.0, "Largest step size allowed.", low=2**-20, high=8.0, group=MUTATION, kinds=GENETIC, advanced=True,
    )
    floor_rms: float | None = option(
        None, "Smallest step size as a share of the RMS of its tensor's weights.", low=2**-16, high=1.0, group=MUTATION,
        kinds=GENETIC, advanced=True,
    )
    ceiling_rms: float | None = option(
        None, "Largest step size as a share of the RMS of its tensor's weights.", low=2**-16, high=16.0, group=MUTATION,
        kinds=GENETIC, advanced=True,
    )
    sigma_only: int = option(
        0, "Generations at the start in which step sizes are inherited and weights are not.", low=0, group=MUTATION,
        kinds=GENETIC, advanced=True,
    )
    sigma_search: int = option(
        0, "Generations between two searches for the best step size, the first at once: equal noise at each of a grid "
        "of step sizes; 0 is never.", low=0, group=MUTATION, kinds=GENETIC, advanced=True,
    )

    population: int = option(
        256, "Members scored per generation.", low=2, high=16_777_216, group=EVOLUTION, kinds=SAMPLED,
    )
    rank: int = option(
        1, "Rank of EGGROLL's perturbations of matrices.", low=1, high=4096, group=EVOLUTION, kinds=RANKED,
    )
    pairs: str = option(
        "auto", "antithetic: every direction is tried both ways; one-sided: once, against the mean; auto: whichever "
        "the measured odd and even parts of the fitness favour.", choices=("auto", "antithetic", "one-sided"),
        group=EVOLUTION, kinds=EVOLVED, advanced=True,
    )
    shaping: str = option(
        "raw", "What the estimate is made of: raw fitness, z-score, centred-ranks, or the sign of each pair.",
        choices=("raw", "z-score", "centred-ranks", "sign"), group=EVOLUTION, kinds=EVOLVED, advanced=True,
    )
    groups: int = option(
        1, "Groups of members that each see their own part of the minibatch and are compared among themselves.", low=1,
        group=EVOLUTION, kinds=EVOLVED, advanced=True,
    )
    noise_reuse: int = option(
        1, "Generations that use the same noise; 1 is fresh noise always.", group=EVOLUTION, kinds=RANKED,
        advanced=True,
    )

    lr: float = option(
        0.1, "Learning rate of the optimiser. Evolution strategies estimate the gradient; with raw fitness and sgd it "
        "means what it means in gradient descent. EGGROLL's alpha is lr / sigma, its code's "
        "lr / (sigma^2 sqrt(population)).",
        above=0.0, high=1e6, group=OPTIMISER, kinds=CENTRED, by_strategy={"sgd": 0.05, "adam": 0.001},
    )
    lr_schedule: str = option(
        "constant", "Factor of --lr by generation: constant, linear, cosine (both to zero at --generations, or "
        "cosine:0.1 to a share), decay:0.999, or points such as 0:1,1000:0.1.", group=OPTIMISER, kinds=CENTRED,
        advanced=True,
    )
    sigma_shift: int = option(
        4, "A member's weight lies 2^-N from the centre's, as a standard deviation; beyond 5 little would be left of "
        "the noise of tables and vectors but its rounding.", low=0, high=5, group=EVOLUTION,
        kinds=INTEGER, advanced=True,
    )
    move_share: str = option(
        "inverse:0.02", "Share of the weights that may move without a signal: a number up to 1; or inverse:RATE, which "
        "is 1 / (RATE t + 1) in update t from 0; or points UPDATE:SHARE, such as 0:1,1000:1e-9, exponential in "
        "between.", group=EVOLUTION, kinds=INTEGER, beyond=parse_share,
        advanced=True,
    )
    fast_fitness: str = option(
        "off", "Whether a pair counts by who was better alone, and not by how much.", choices=("off", "on"),
        group=EVOLUTION, kinds=INTEGER, advanced=True,
    )
    use_clt: str = option(
        "on", "Whether a vote has the size of the noise, and not its sign alone.", choices=("on", "off"),
        group=EVOLUTION, kinds=INTEGER, advanced=True,
    )
    update_threshold: int | None = option(
        None, "16 times the standard score from which on a weight moves, in the place of --move-share.", low=0,
        high=256, group=EVOLUTION, kinds=INTEGER, advanced=True,
    )
    integer_step: int = option(
        1, "Sixteenths by which a weight moves.", low=1, high=127, group=EVOLUTION, kinds=INTEGER, advanced=True,
    )
    weight_clip: float = option(
        127 / 16, "Largest magnitude of a weight of integers.", low=1 / 16, high=127 / 16, group=EVOLUTION,
        kinds=INTEGER, advanced=True,
    )
    hidden_state: str = option(
        "carry", "carry: a member's sequence goes on where the last generation's ended, with its state; reset: from 0.",
        choices=("carry", "reset"), group=EVOLUTION, kinds=INTEGER, advanced=True,
    )
    optimizer: str = option(
        "sgd", "What moves the centre: any of torch.optim, such as adam. Arguments go into brackets, as in "
        "'sgd(momentum=0.9)'; with --strategy sgd or adam it is one of that name.", group=OPTIMISER, kinds=CENTRED,
        by_strategy={"sgd": "sgd(momentum=0.9)", "adam": "adam"},
    )
    weight_decay: float = option(
        0.0, "Weight decay, as the optimiser understands it.", low=0.0, group=OPTIMISER, kinds=CENTRED, advanced=True,
    )
    clip: float | None = option(
        None, "Longest gradient, or estimate of it, that is used as it is; longer ones are scaled down to this norm.",
        above=0.0, group=OPTIMISER, kinds=CENTRED, advanced=True,
    )

    fitness: str = option(
        "cross-entropy", "What is maximised, such as improvement:wrong. It is "
        "[improvement:|inherited:]BASE[,BASE...], each BASE decides where those before are equal: cross-entropy "
        "(negated; of a regression its loss), accuracy, wrong (minus their number), expected-accuracy, "
        "sampled-accuracy, tilldeath (right before the first error), loss (negated); of memories closeness, used and "
        "unused (fewest); by gradients gradient-cosine (of a child's step with that at its parents); of an environment "
        "return; of prompts reward and kl. A BASE may be a sum: wrong+0.5*closeness.",
        group=EVALUATION, beyond=parse_fitness,
    )
    norm_penalty: float = option(
        0.0, "Taken off the fitness per mean square weight, in fitness per squared weight unit.", low=0.0,
        group=EVALUATION, kinds=NOT_VECTORS, advanced=True,
    )
    batch: int = option(
        2048, "Training examples that score a generation; 0 takes all. They are the same for all members.", low=0,
        group=EVALUATION, by_strategy={"sgd": 64, "adam": 64, "integer-eggroll": 16},
    )
    episodes: int | None = option(
        None, "Episodes of an environment for each member. 1 when absent; all members play those of the same starts, "
        "and each generation others.", low=1, high=100_000, group=EVALUATION,
    )
    episode_steps: int | None = option(
        None, "Steps after which an episode of an environment is over, where it allows more.", low=1, group=EVALUATION,
        advanced=True,
    )
    act: str = option(
        "greedy", "How a policy chooses: greedy takes the largest output, sample draws by their softmax, with the same "
        "coins for all members.", choices=("greedy", "sample"), group=EVALUATION, advanced=True,
    )
    normalize_observations: str = option(
        "off", "Whether policies see the numbers of an observation with mean 0 and deviation 1, by what the members of "
        "earlier generations have seen; within +-10.", choices=("on", "off"), group=EVALUATION, advanced=True,
    )
    confirm: int = option(
        0, "The best members of a generation that play further episodes, as the elites do: their fitness is then the "
        "mean over all, and they rank before the others. 0 is none.", low=0, group=EVALUATION, kinds=GENETIC,
        advanced=True,
    )
    confirm_episodes: int | None = option(
        None, "Further episodes of each member that --confirm looks at again; 30 when absent.", low=1, high=100_000,
        group=EVALUATION, kinds=GENETIC, advanced=True,
    )
    inheritance: float = option(
        0.8, "Share of the parents' score that a child starts from under an inherited fitness.", low=0.0, high=1.0,
        group=EVALUATION, advanced=True,
    )
    precision: str = option(
        "auto", "Arithmetic of the fitness; auto: bfloat16 where the processor is fast at it. Validation and test "
        "always use float32.", choices=("auto", "float32", "bfloat16"), group=EVALUATION, advanced=True,
    )
    compile: str = option(
        "auto", "Whether the forward is compiled: takes a C++ compiler and some seconds; auto: for members that "
        "differ by low rank, from 250,000 evaluations a generation on.", choices=("auto", "on", "off"),
        group=EVALUATION, kinds=NOT_VECTORS, advanced=True,
    )
    device: str = option("auto", "Where to compute.", choices=("auto", "cpu", "cuda"), group=EVALUATION)
    chunk: int = option(
        0, "Members evaluated at once; 0 chooses by the size of a generation.", low=0, high=65_536, group=EVALUATION,
        advanced=True,
    )
    workers: int = option(
        0, "Processes that share a generation; 0 computes in this one. They share its chunks, so no more are started "
        "than there are chunks, and never change a result.", low=0, high=65_536, group=EVALUATION, changeable=True,
    )
    member_seconds: float | None = option(
        None, "Seconds of wall time that a member may take. A worker whose chunk takes longer than that for each of "
        "its members is killed and replaced, and all members of the chunk are failures: --chunk 1 parts them. It "
        "changes a result in no other way; absent or 0 is no limit.", low=0.0, group=EVALUATION, **_TUNED,
    )
    threads: int = option(
        0, "CPU threads of each process; 0 shares the cores among the --workers.", low=0, high=1024, group=EVALUATION,
        advanced=True,
    )
    cache_mb: int = option(
        256, "Memory of each process for decoded individuals, in MiB; living parents are always kept.", low=1,
        group=EVALUATION, advanced=True, changeable=True,
    )

    generations: int | None = option(None, "generations have passed.", low=1, group=STOP, changeable=True)
    seconds: float | None = option(
        None, "seconds have been spent, over all sittings.", low=0.001, group=STOP, changeable=True,
    )
    target: float | None = option(
        None, "the champion reaches this validation accuracy or return.", group=STOP, changeable=True,
    )
    patience: int | None = option(
        None, "generations have brought no better champion on validation data; as fine as --report-every.", low=1,
        group=STOP, advanced=True, changeable=True,
    )
    report_every: int = option(
        25, "Generations between two scores on validation and test data.", low=1, group=RECORD, advanced=True,
    )
    save_every: int = option(100, "Generations between two checkpoints.", low=1, group=RECORD, **_TUNED)
    keep: str = option(
        "log", "Checkpoints kept: 'all', 'log' (newest two and about eight per factor of ten), or a number.",
        group=RECORD, beyond=_check_keep, advanced=True, changeable=True,
    )

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            check(Fields, item, getattr(self, item.name))


#: Name to field, in the order of the help.
FIELDS = {
    item.name: item
    for item in sorted(dataclasses.fields(Fields), key=lambda item: HEADINGS.index(item.metadata["group"]))
}
