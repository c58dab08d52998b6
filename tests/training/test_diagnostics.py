"""The figures of a generation against what a plain loop over the run's own parts gives."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from lab_outcome import log_of

from galab.config import RunConfig
from galab.contracts import Cohort, Outcome, Scores
from galab.genome.decoder import Decoder
from galab.genome.weights import to_float
from galab.training import diagnostics
from galab.training.build import build, network_and_task
from galab.training.diagnostics import Diagnostics, distance, success_rate
from galab.training.resolve import resolve
from galab.training.search import RunComponents
from galab.training.start_or_resume import resume

PREFIXES = ("step_size", "selection_", "diversity_", "warnings")
SEXUAL = {"crossover": "genes-independent", "crossover_rate": 0.5}
MIXED = {"mutate": "dense:0.7,layer:0.3", "mutate_shares": "inherited"}


@pytest.fixture
def no_spacing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Success is measured on every report generation."""
    monkeypatch.setattr(diagnostics, "SPACING", 1)


@pytest.fixture
def generations(small: dict[str, Any]) -> Any:
    """Evolves without files; gives what each of eight generations was, with its parents' scores and its line."""

    def make(
        **changes: Any,
    ) -> Iterator[tuple[RunComponents, Cohort, Scores, Outcome, dict[int, float], dict[str, Any]]]:
        config = resolve(RunConfig(**small | changes))
        components = build(config, *network_and_task(config))
        strategy, decoder = components.strategy, components.search.decoder
        decoder.pin(strategy.parents.tolist())
        diagnosis = Diagnostics(config, strategy, decoder, components.search.fitness)
        for _ in range(8):
            cohort = strategy.ask()
            scores = components.executor.score(cohort)
            family = np.unique(cohort.births["parents"][: cohort.children])
            living = strategy.state_dict()["births"]
            parents = living[np.isin(living["id"], family)]
            fitness = components.executor.score(Cohort(cohort.generation, parents, 0)).fitness
            diagnosis.before_tell(cohort)
            outcome = strategy.tell(scores)
            decoder.pin(outcome.parents.tolist())
            known = dict(zip(parents["id"].tolist(), fitness.tolist(), strict=True))
            yield components, cohort, scores, outcome, known, diagnosis.log_fields(cohort, scores, outcome)

    return make


@pytest.mark.parametrize(
    ("changes", "every"),
    [
        ({}, 2),
        ({"elites": 1}, 2),  # the elite's children alone would not do
        ({"crossover": "row"}, 2),
        ({"fitness": "accuracy"}, 2),
        ({"fitness": "improvement"}, 1),
        ({"step_size": "gesmr"}, 1),
        ({"batch": 0}, 1),
    ],
    ids=str,
)
def test_the_success_rate(generations: Any, no_spacing: None, changes: dict[str, Any], every: int) -> None:
    for _, cohort, scores, _, known, line in generations(**changes):
        if cohort.generation % every or (cohort.generation == 1 and "batch" in changes):
            assert "selection_success_rate" not in line
            continue
        better = 0
        for row, families in enumerate(cohort.births["parents"][: cohort.children].tolist()):
            parents = [known[parent] for parent in families if parent >= 0]
            better += scores.fitness[row] - sum(parents) / len(parents) > 0
        assert line["selection_success_rate"] == better / cohort.children


def test_failed_children_are_no_success_and_those_of_failed_parents_are_left_out() -> None:
    nan = np.nan
    assert success_rate(np.array([1.0, 2, 3, nan, 5]), np.array([0.5, 0.0, -1, nan, nan])) == 1 / 4
    assert success_rate(np.array([1.0]), np.array([nan])) is None


@pytest.mark.slow
def test_parents_are_scored_rarely_where_only_the_diagnosis_needs_it(evolve: Any) -> None:
    log = log_of(evolve(generations=100, report_every=20))
    assert [line["generation"] for line in log if "selection_success_rate" in line] == [60]


@pytest.mark.slow
def test_a_diagnosis_costs_no_evaluation_and_changes_nothing_else(evolve: Any, monkeypatch: Any) -> None:
    plain = log_of(evolve("plain", generations=10))
    monkeypatch.setattr(diagnostics, "SPACING", 1)
    diagnosed = log_of(evolve("diagnosed", generations=10))
    assert [line["evaluations"] for line in diagnosed] == [6 * 32 * generation for generation in range(1, 11)]
    measured = [line.pop("selection_success_rate", None) for line in diagnosed]
    assert [share is not None for share in measured] == [False, True] * 5
    assert diagnosed == plain


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_distance_is_the_mean_over_all_pairs(count: int) -> None:
    random = np.random.default_rng(count)
    weights = random.integers(-(2**31) + 500, 2**31 - 500, 1000) + random.integers(-500, 500, (count, 1000))
    people = list(weights.astype(np.int32))
    pairs = [np.square(first.astype(float) - second).mean() for first, second in itertools.combinations(people, 2)]
    assert distance(people) == pytest.approx((sum(pairs) / len(pairs)) ** 0.5 / 2**24 if pairs else 0.0, rel=1e-9)
    assert distance([people[0]] * count) == 0.0


def test_the_distance_of_the_parents_is_in_the_line(generations: Any) -> None:
    for components, cohort, _, outcome, _, line in generations():
        assert ("diversity_distance" in line) == (cohort.generation % 2 == 0)
        if "diversity_distance" in line:
            decode = components.search.decoder.decode
            weights = [to_float(decode(b).weights).astype(float) for b in outcome.parents.tolist()]
            pairs = [np.square(a - b).mean() for a, b in itertools.combinations(weights, 2)]
            assert line["diversity_distance"] == pytest.approx(np.mean(pairs) ** 0.5, rel=1e-5)


@pytest.mark.parametrize("changes", [{}, {"elites": 2}, {"crossover": "parameter"}, {"survival": "plus"}], ids=str)
def test_the_common_ancestor_and_how_far_it_came(generations: Any, changes: dict[str, Any]) -> None:
    before = 0
    for components, cohort, _, outcome, _, line in generations(**changes):
        ancestor = components.search.pedigree.common_ancestor(outcome.parents.tolist())
        born = 0 if ancestor is None else ancestor.generation
        age = None if ancestor is None else cohort.generation - born
        assert (line["diversity_common_ancestor"], line["diversity_fixed_generations"]) == (age, born - before)
        everybody = components.search.pedigree.ancestors(outcome.parents.tolist())
        younger = [b for b in everybody if b.generation and b.id > (-1 if ancestor is None else ancestor.id)]
        assert line["diversity_segregating"] == len(younger)
        before = born


def test_mutations_that_segregate_and_that_are_fixed_under_a_gene_law(generations: Any) -> None:
    """A decoder that never pins anybody tells all genes from the founders."""
    fixed = 0
    for components, _, _, outcome, _, line in generations(**SEXUAL):
        cold = Decoder(components.search.decoder.developer, components.search.pedigree)
        genes = [set(cold.decode(birth).genes or {}) for birth in outcome.parents.tolist()]
        fixed += line["diversity_fixed_mutations"]
        assert fixed == len(set.intersection(*genes))
        assert line["diversity_segregating"] == len(set.union(*genes) - set.intersection(*genes))
        assert "diversity_fixed_generations" not in line
    assert fixed > 0


def test_operators_crossover_and_inherited_shares(generations: Any) -> None:
    crossed = set()
    for components, cohort, _, outcome, _, line in generations(**SEXUAL | MIXED):
        rows = [row for row in cohort.births.tolist() if row[0] in outcome.parents]
        for number, name in enumerate(("dense", "layer"), 1):
            assert line[f"selection_operator_{name}"] == sum(row[6] == number for row in rows) / len(rows)
        assert line["selection_crossover"] == sum(row[5] > 0 for row in rows) / len(rows)
        crossed.add(line["selection_crossover"])
        own = components.strategy.reproduction.mixture.shares_of(outcome.parents.tolist())
        assert line["selection_inherited_dense"] == pytest.approx(sum(own[:, 0]) / len(own))
        assert line["selection_inherited_dense"] + line["selection_inherited_layer"] == pytest.approx(1)
    assert len(crossed) > 1


def test_ages_of_elites(generations: Any) -> None:
    oldest = []
    for components, cohort, _, outcome, _, line in generations(survival="plus", sigma=0.5, batch=0):
        ages = [cohort.generation - components.search.pedigree[birth].generation for birth in outcome.parents.tolist()]
        assert (line["selection_age_best"], line["selection_age_oldest"]) == (ages[0], max(ages))
        oldest.append(max(ages))
    assert max(oldest) > 1


def test_probes_of_a_search_for_the_step_size_are_no_success(generations: Any, no_spacing: None) -> None:
    lines = [(cohort.generation, line) for _, cohort, *_, line in generations(sigma_search=3)]
    known = [generation for generation, line in lines if "selection_success_rate" in line]
    assert known == [2, 6, 8]  # generations 1, 4 and 7 search


RESUMED = [
    {},
    {"islands": 2, "elites": 2, "parents": 4, "migrate_every": 3},
    SEXUAL | MIXED,
    {"crossover": "row", "crossover_rate": 0.5, "granularity": "parameter"},
    {"fitness": "improvement", "granularity": "row-column"},
    {"survival": "plus", "batch": 0},
    {"sigma_only": 8},
    {"sigma_search": 3},
]


@pytest.mark.slow
@pytest.mark.parametrize("changes", RESUMED, ids=str)
def test_a_resumed_run_is_diagnosed_as_an_unbroken_one(evolve: Any, no_spacing: None, changes: dict[str, Any]) -> None:
    def diagnosed(folder: Any) -> list[dict[str, Any]]:
        return [{name: value for name, value in line.items() if name.startswith(PREFIXES)} for line in log_of(folder)]

    unbroken = evolve("unbroken", **changes | {"generations": 12})
    evolve("broken", **changes | {"generations": 5})
    resume(unbroken.parent / "broken", {"generations": 12})
    assert diagnosed(unbroken.parent / "broken") == diagnosed(unbroken)
