"""The hyperparameters of searches that move one centre: evolution strategies, and the baselines by gradients."""

from __future__ import annotations

from dataclasses import dataclass

from galab.options import option

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
