"""Defects of evolution strategies that people have really shipped, planted one by one; each is caught by a check.

The checks pass on galab as it is, so they are not simply always red.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from museum_checks import (
    CHECKS,
    best_and_champion_are_who_they_say,
    components,
    directions_have_unit_variance,
    estimate_is_the_weighted_sum,
    estimate_points_along_the_gradient,
    evaluation_leaves_the_centre_alone,
    members_are_the_centre_plus_signed_steps,
    noise_is_independent,
    sigma_is_in_weight_units,
)

from galab.evaluation import es_evaluator
from galab.evaluation.batched import low_rank_layers
from galab.evaluation.batched.low_rank import LowRank
from galab.operators import es_noise
from galab.operators.es_noise import LowRankNoise
from galab.strategies import evolution
from galab.strategies import evolution as estimate
from galab.training import evolution_search

pytestmark = pytest.mark.usefixtures("one_thread")
Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]

EVALUATOR = es_evaluator.PerturbedEvaluator


def words(change: Callable[..., tuple[int, int, int, int]]) -> Plant:
    """Take the raw bits of a direction from another place: (key, generation, tensor, first block)."""

    def plant(patch: Patch) -> None:
        true = es_noise.words_at

        def wrong(key: int, generation: int, tensor: int, stream: Any, block: int, n: int) -> Any:
            key, generation, tensor, block = change(key, generation, tensor, block)
            return true(key, generation, tensor, stream, block, n)

        patch.setattr(es_noise, "words_at", wrong)

    return plant


def one_for_all(patch: Patch) -> None:
    """Each member is member 0."""
    true = es_noise._numbers

    def wrong(*arguments: Any) -> Any:
        found = true(*arguments)
        return found[:1].repeat(len(found), 1)

    patch.setattr(es_noise, "_numbers", wrong)


def frozen_by_the_strategy(patch: Patch) -> None:
    """The official code's default, ``noise_reuse=0``."""
    patch.setattr(evolution.EvolutionStrategy, "noise_of", lambda self, generation: 1)


def members_changed(change: Callable[[LowRank, int], LowRank]) -> Plant:
    """Change the low-rank parameters of the members, given the number of directions."""

    def plant(patch: Patch) -> None:
        true = EVALUATOR.members

        def wrong(self: Any, centre: Any, noise: Any, *arguments: Any, **options: Any) -> Any:
            found = true(self, centre, noise, *arguments, **options)
            return {n: change(s, len(s.b)) if isinstance(s, LowRank) else s for n, s in found.items()}

        patch.setattr(EVALUATOR, "members", wrong)

    return plant


def unscaled(stack: LowRank, _: int) -> LowRank:
    return LowRank(stack.base, stack.a * stack.rank**0.5, stack.b, stack.common)


def without_signs(stack: LowRank, count: int) -> LowRank:
    return LowRank(stack.base, torch.cat([stack.a[:count]] * (len(stack.a) // count)), stack.b, stack.common)


def estimate_unscaled(patch: Patch) -> None:
    """No 1 / sqrt(r) in the update."""
    true = estimate._weighted_sum

    def wrong(noise: Any, weights: Any) -> Any:
        return true(noise, weights) * (noise.a.shape[2] ** 0.5 if isinstance(noise, LowRankNoise) else 1)

    patch.setattr(estimate, "_weighted_sum", wrong)


def unscaled_everywhere(patch: Patch) -> None:
    """Neither in the forward nor in the update: both agree, and sigma means another thing at every rank."""
    members_changed(unscaled)(patch)
    estimate_unscaled(patch)


def wide_law(patch: Patch) -> None:
    """Noise of another variance than 1."""
    true = es_noise._numbers
    patch.setattr(es_noise, "_numbers", lambda *arguments: 2 * true(*arguments))


def unscaled_by_inputs(stack: LowRank, _: int) -> LowRank:
    """As if outputs were divided by sqrt(in) and the perturbation added afterwards: sqrt(in) times too large."""
    return LowRank(stack.base, stack.a * stack.columns**0.5, stack.b, stack.common)


def wrong_rule(patch: Patch) -> None:
    """The low-rank forward of a layer is not that of its weights."""
    true = low_rank_layers.LOW_RANK_RULES[F.linear]

    def wrong(fold: Any, x: Any, weight: LowRank, bias: Any = None) -> Any:
        larger = LowRank(weight.base, weight.a * weight.columns**0.5, weight.b, weight.common)
        return true(fold, x, larger, bias)

    patch.setitem(low_rank_layers.LOW_RANK_RULES, F.linear, wrong)


def signs_lost_in_the_estimate(patch: Patch) -> None:
    """Both members of a pair push the same way."""
    patch.setattr(evolution, "pair_weights", lambda scores, sign=False: (scores[0::2] + scores[1::2]) / 2)


def pairs_told_apart_wrongly(patch: Patch) -> None:
    """Plus and minus lie apart in a chunk and side by side in the cohort; taken for each other's neighbours."""

    def wrong(scores: Any, sign: bool = False) -> Any:
        first, second = np.split(scores, 2)
        return (first - second) / 2

    patch.setattr(evolution, "pair_weights", wrong)


def centre_called_the_best(patch: Patch) -> None:
    """The best member's place is asked of the mean."""
    true = evolution_search.EvolutionSearch.log_fields

    def wrong(self: Any, cohort: Any, scores: Any, *rest: Any) -> Any:
        return true(self, cohort, scores, *rest) | {"fitness_best": float(scores.fitness.mean())}

    patch.setattr(evolution_search.EvolutionSearch, "log_fields", wrong)


def another_sign_called_the_best(patch: Patch) -> None:
    true = evolution_search.EvolutionSearch.log_fields

    def wrong(self: Any, *arguments: Any) -> Any:
        line = true(self, *arguments)
        return line | {"best_sign": -line["best_sign"]}

    patch.setattr(evolution_search.EvolutionSearch, "log_fields", wrong)


def member_called_the_champion(patch: Patch) -> None:
    """What is saved as the result is one of the noisy members."""

    def wrong(self: Any) -> Any:
        return [self.strategy.generation], [evolution_search.WeightVector(self.strategy.centre + np.float32(0.01))]

    patch.setattr(evolution_search.EvolutionSearch, "candidates", wrong)


def added_and_subtracted(dtype: torch.dtype) -> Plant:
    """Perturb the centre in place, evaluate, and take the perturbation off again: rounding stays behind."""

    def plant(patch: Patch) -> None:
        true = EVALUATOR.along

        def wrong(self: Any, centre: Any, *arguments: Any, **options: Any) -> Any:
            for value in centre.values():
                step = torch.full_like(value, 0.0123)
                value.data.copy_((value.to(dtype) + step.to(dtype) - step.to(dtype)).float())
            yield from true(self, centre, *arguments, **options)

        patch.setattr(EVALUATOR, "along", wrong)

    return plant


def drifting(patch: Patch) -> None:
    """The baseline is last generation's mean, so that equal scores still push."""
    true = evolution.single_weights
    patch.setattr(evolution, "pair_weights", lambda scores, sign=False: true(scores[0::2], 1) + 0.1)


@dataclass(frozen=True)
class Exhibit:
    """A defect, the check that finds it, and what that says."""

    plant: Plant
    check: Callable[..., None]
    said: str


LOST = "two directions that should be independent are not"
MUSEUM = {
    "noise is frozen": Exhibit(frozen_by_the_strategy, noise_is_independent, LOST),
    "noise forgets the generation": Exhibit(words(lambda k, g, t, b: (k, 0, t, b)), noise_is_independent, LOST),
    # The epoch is added to the member's number instead of being a key of its own.
    "noise is shifted by one member a generation": Exhibit(
        words(lambda k, g, t, b: (k, 0, t, b + g * 16)), noise_is_independent, LOST
    ),
    "layers of one shape share their noise": Exhibit(
        words(lambda k, g, t, b: (k, g, 0, b)), noise_is_independent, LOST
    ),
    "the next generation's noise is another layer's": Exhibit(
        words(lambda k, g, t, b: (k, g + t, 0, b)), noise_is_independent, LOST
    ),
    "the seed has no effect": Exhibit(words(lambda k, g, t, b: (0, g, t, b)), noise_is_independent, LOST),
    "all members share their noise": Exhibit(one_for_all, noise_is_independent, LOST),
    "noise is too wide": Exhibit(wide_law, directions_have_unit_variance, "another variance than 1"),
    "no 1/sqrt(r) in the forward": Exhibit(
        members_changed(unscaled), members_are_the_centre_plus_signed_steps, "not where its direction says"
    ),
    "no 1/sqrt(r) in the forward, seen by its gradient": Exhibit(
        members_changed(unscaled), estimate_points_along_the_gradient, "not as long along the gradient"
    ),
    "no 1/sqrt(r) in the update": Exhibit(estimate_unscaled, estimate_is_the_weighted_sum, "not the sum over"),
    "no 1/sqrt(r) in the update, seen by its gradient": Exhibit(
        estimate_unscaled, estimate_points_along_the_gradient, "the cosine with the gradient is not"
    ),
    "no 1/sqrt(r) anywhere": Exhibit(unscaled_everywhere, sigma_is_in_weight_units, "longer or shorter than sigma"),
    "outputs are scaled before the perturbation": Exhibit(
        members_changed(unscaled_by_inputs), sigma_is_in_weight_units, "longer or shorter than sigma"
    ),
    "members lost their sign": Exhibit(
        members_changed(without_signs), members_are_the_centre_plus_signed_steps, "not where its direction says"
    ),
    "the estimate lost the sign": Exhibit(
        signs_lost_in_the_estimate, estimate_points_along_the_gradient, "the cosine with the gradient is not"
    ),
    "pairs are told apart wrongly": Exhibit(
        pairs_told_apart_wrongly, estimate_points_along_the_gradient, "the cosine with the gradient is not"
    ),
    "the mean is called the best": Exhibit(
        centre_called_the_best, best_and_champion_are_who_they_say, "is not the best member's"
    ),
    "the best has the other sign": Exhibit(
        another_sign_called_the_best, best_and_champion_are_who_they_say, "another member than the best"
    ),
    "a member is called the champion": Exhibit(
        member_called_the_champion, best_and_champion_are_who_they_say, "the champion is not the centre"
    ),
    "added and subtracted in bfloat16": Exhibit(
        added_and_subtracted(torch.bfloat16), evaluation_leaves_the_centre_alone, "an evaluation moved the centre"
    ),
    "added and subtracted in float32": Exhibit(
        added_and_subtracted(torch.float32), evaluation_leaves_the_centre_alone, "an evaluation moved the centre"
    ),
    "a baseline that is not the mean": Exhibit(
        drifting, evaluation_leaves_the_centre_alone, "equal scores moved the centre"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_galab_as_it_is_passes(check: Callable[..., None]) -> None:
    check()


@pytest.mark.parametrize("options", [{"rank": 1}, {"strategy": "openai-es", "rank": 1}], ids=["one", "dense"])
@pytest.mark.parametrize(
    "check",
    [members_are_the_centre_plus_signed_steps, estimate_is_the_weighted_sum, estimate_points_along_the_gradient],
    ids=lambda check: check.__name__,
)
def test_other_ranks_pass(check: Callable[..., None], options: dict[str, Any]) -> None:
    check(**options)


@pytest.mark.parametrize("name", MUSEUM)
def test_each_defect_is_caught(name: str, monkeypatch: Patch) -> None:
    exhibit = MUSEUM[name]
    exhibit.plant(monkeypatch)
    with pytest.raises(AssertionError, match=exhibit.said):
        exhibit.check()


def test_a_wrong_low_rank_rule_is_found_out_before_the_first_generation(monkeypatch: Patch) -> None:
    """Every forward is compared with written-out weights when a run starts; a wrong one is not used."""
    assert components().search.numerics["forward"] == "perturbed folded"
    wrong_rule(monkeypatch)
    assert components().search.numerics["forward"] != "perturbed folded"
    members_are_the_centre_plus_signed_steps()
