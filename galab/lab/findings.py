"""What a look at an evolution strategy's start found, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

from galab.config import RunConfig

#: Step sizes that are tried, as factors of the configured one.
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True, slots=True)
class AtSigma:
    """What pairs at one step size are like.

    Attributes:
        sigma: the step size, in weight units.
        even_to_odd: variance of the even part of the fitness over the odd part's; None without any odd part.
        ties: share of pairs with equal fitness.
        failures: share of members without a finite fitness.
        cosine: of the estimate from these pairs with the true gradient; None where that is not to be had.
    """

    sigma: float
    even_to_odd: float | None
    ties: float
    failures: float
    cosine: float | None


@dataclass(frozen=True, slots=True)
class AtRank:
    """What another rank would give.

    Attributes:
        rank: r; None for noise of full rank.
        cosine: predicted for the configured population in pairs.
        numbers: random numbers in one direction.
    """

    rank: int | None
    cosine: float
    numbers: int


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found about a configuration.

    Attributes:
        config: the configuration, resolved.
        data: the data in words.
        parameters: D.
        variance: V of the law.
        shares_known: whether V is made of the true gradient's shares of the tensors; else of their sizes.
        pairs_cosine: predicted for the population in antithetic pairs.
        one_sided_cosine: predicted for it without pairs; None where the odd and even parts do not tell.
        measured: cosines of generations at the start; empty where there is no true gradient.
        measured_population: members in each of those.
        tried_pairs: pairs behind each of ``sigmas``.
        tried_cosine: what the law predicts for that many pairs.
        sigmas: by step size.
        ranks: by rank, full rank last; empty without a matrix that can have one.
        seconds: that a generation takes.
        weights_rms: root mean square of the weights.
        best_step: learning rate of the single step along an estimate that improves other examples most; None where
            no step does.
    """

    config: RunConfig
    data: str
    parameters: int
    variance: float
    shares_known: bool
    pairs_cosine: float
    one_sided_cosine: float | None
    measured: tuple[float, ...]
    measured_population: int
    tried_pairs: int
    tried_cosine: float
    sigmas: tuple[AtSigma, ...]
    ranks: tuple[AtRank, ...]
    seconds: float
    weights_rms: float
    best_step: float | None

    @property
    def here(self) -> AtSigma:
        """What pairs at the configured step size are like."""
        return self.sigmas[FACTORS.index(1.0)]

    @property
    def in_pairs(self) -> bool:
        """Whether the run would be in pairs, where it chooses itself as it would choose here."""
        return chosen_pairs(self.config.pairs, self.pairs_cosine, self.one_sided_cosine)

    @property
    def cosine(self) -> float:
        """What is predicted for the configuration."""
        alone = self.one_sided_cosine
        return self.pairs_cosine if self.in_pairs or alone is None else alone


def chosen_pairs(pairs: str, pairs_cosine: float, one_sided_cosine: float | None) -> bool:
    """Whether a run is in pairs.

    Args:
        pairs: as ``--pairs`` has it; ``auto`` takes what is predicted to be better.
        pairs_cosine: the prediction for pairs.
        one_sided_cosine: that for single members, where there is one.
    """
    if pairs != "auto":
        return pairs == "antithetic"
    return one_sided_cosine is None or pairs_cosine >= one_sided_cosine
