"""What an evolution strategy will see before it runs: measurements against the law, and what they are turned into."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest

from galab.config import RunConfig
from galab.config.resolve import decide
from galab.doctor.es_advice import advice, findings_json, starting_rate
from galab.doctor.es_measurements import EstimateFindings, RankPrediction, SigmaMeasurement, measure_estimate
from galab.operators.es_noise import cosine, one_sided_cosine

SMALL: dict[str, Any] = {
    "task": "linear-regression", "model": "linear", "strategy": "eggroll", "population": 256, "sigma": 0.1,
    "batch": 64, "threads": 1, "device": "cpu", "precision": "float32",
}  # fmt: skip


def findings(**changes: Any) -> EstimateFindings:
    """The sound start of a run of 128 pairs."""
    options = {name: changes.pop(name) for name in list(changes) if name in RunConfig.__dataclass_fields__}
    config = decide(RunConfig(**SMALL | {"lr": 0.2} | options))
    ratio = changes.pop("even_to_odd", 3.1)
    configured = SigmaMeasurement(
        0.1, ratio, changes.pop("tied", 0.0), changes.pop("failures", 0.0), changes.pop("found", 0.23)
    )
    total = changes.pop("variance", 2162.0)
    around = [dataclasses.replace(configured, sigma=0.1 * factor) for factor in (0.25, 0.5, 1, 2, 4)]
    values: dict[str, Any] = {
        "config": config, "data": "data", "parameters": 1024, "variance": total, "shares_known": True,
        "pairs_cosine": cosine(total, config.population / 2),
        "one_sided_cosine": None if ratio is None else one_sided_cosine(total, config.population, ratio),
        "measured": (0.24, 0.23), "measured_population": config.population, "tried_pairs": 128,
        "tried_cosine": cosine(total, 128), "sigmas": (*around[:2], configured, *around[3:]),
        "ranks": (RankPrediction(1, 0.23, 80), RankPrediction(4, 0.24, 320), RankPrediction(None, 0.241, 1024)),
        "seconds": 2.0, "weights_rms": 0.07, "best_step": 1.0,
    }  # fmt: skip
    return EstimateFindings(**values | changes)


def said(about: str, **changes: Any) -> str:
    """What is said about something, with a mark in front where something has to be changed; nothing is ''."""
    return next((("" if one.good else "! ") + one.say for one in advice(findings(**changes)) if one.about == about), "")


def test_a_sound_start_needs_no_change() -> None:
    assert [one.say for one in advice(findings()) if not one.good] == []
    assert "128 pairs for 1,024 weights: cosine 0.236 with the true gradient" in said("estimate")
    assert "0.235 at the start (0.23 to 0.24 in 2 generations)" in said("measured").replace("0.230", "0.23").replace(
        "0.240", "0.24"
    )


@pytest.mark.parametrize(
    ("about", "changes", "words"),
    [
        ("estimate", {"population": 128, "variance": 1.06e7, "parameters": 10_600_000},
         "! 64 pairs for 10,600,000 weights: cosine 0.0025"),
        ("measured", {"measured": (0.1, 0.11)}, "! 0.105 at the start"),
        ("measured", {"measured": ()}, "no true gradient to compare with"),
        ("pairs", {}, "antithetic pairs are worth it: even/odd energy 3.1, cosine 0.236 against"),
        ("pairs", {"pairs": "one-sided"}, "! antithetic pairs are worth it"),
        ("pairs", {"even_to_odd": 0.1}, "one-sided would give cosine 0.312 instead of 0.236"),
        ("pairs", {"even_to_odd": 0.1, "pairs": "antithetic"}, "! one-sided would give cosine 0.312 instead of 0.236"),
        ("ties", {"tied": 0.8, "fitness": "accuracy"},
         "! ties in 80% of the pairs, which then say nothing: use a smoother fitness than accuracy or a larger --sig"),
        ("failures", {"failures": 0.2}, "! 20% of the members have no finite fitness"),
        ("rank", {}, "1 is enough: full rank would give cosine 0.241 instead of 0.230 in pairs at 13 times the noise"),
        ("rank",
         {"ranks": (RankPrediction(1, 0.23, 80), RankPrediction(2, 0.25, 160), RankPrediction(None, 0.3, 1024))},
         "! rank 2 would raise the cosine in pairs from 0.230 to 0.250 at 2 times the noise"),
        ("rank", {"strategy": "openai-es"}, "--strategy eggroll with rank 1 would give cosine 0.230 instead of 0.241"),
        ("population", {}, "for cosine 0.3 use population 430, about 3.3 s a generation"),
        ("lr", {}, "--lr 0.2 fits: 0.2 is a fifth of the single step that improved most (1)"),
        ("lr", {"lr": 5.0}, "! begin with --lr 0.2 for sgd"),
        ("lr", {"optimizer": "adam"}, "! begin with --lr 0.0035 for adam: 5% of a typical weight (0.07)"),
        ("lr", {"best_step": None}, "! no step along the estimate improved other examples"),
        ("time", {}, "a generation takes about 2 s"),
    ],
)  # fmt: skip
def test_sentences(about: str, changes: dict[str, Any], words: str) -> None:
    assert said(about, **changes).startswith(words)


def test_what_is_fine_is_not_mentioned() -> None:
    assert said("ties") == said("failures") == ""
    assert said("pairs", even_to_odd=None) == ""
    assert said("rank", ranks=()) == ""


def test_sigma_is_judged_by_where_estimates_point() -> None:
    def by_sigma(*cosines: float | None, ties: tuple[float, ...] = (0, 0, 0, 0, 0)) -> tuple[SigmaMeasurement, ...]:
        sigmas = (0.025, 0.05, 0.1, 0.2, 0.4)
        return tuple(SigmaMeasurement(s, 1.0, t, 0.0, c) for s, c, t in zip(sigmas, cosines, ties, strict=True))

    assert "0.1 is small enough" in said("sigma", sigmas=by_sigma(0.3, 0.3, 0.29, 0.1, 0.0))
    assert said("sigma", sigmas=by_sigma(0.3, 0.3, 0.3, 0.29, 0.0)).endswith("0.2 would do too")
    bent = said("sigma", sigmas=by_sigma(0.3, 0.29, 0.1, 0.0, 0.0))
    assert bent.startswith("! at 0.1 the estimate points worse than at 0.05: 0.100 instead of 0.300")
    assert bent.endswith("lower --sigma")
    assert said("sigma", sigmas=by_sigma(0.0, 0.0, 0.1, 0.3, 0.3)).endswith("raise --sigma")
    unknown = by_sigma(*[None] * 5, ties=(1.0, 0.9, 0.8, 0.1, 0.1))
    assert said("sigma", sigmas=unknown).startswith("! 0.2 has fewer ties and failures: ties 10%")


def test_momentum_takes_smaller_steps() -> None:
    assert starting_rate(findings(optimizer="sgd(momentum=0.9)")) == pytest.approx(0.02)


def test_the_advised_population_has_the_cosine_that_it_is_advised_for() -> None:
    found = findings()
    members = int(said("population").split("population ")[1].split(",")[0])
    assert cosine(found.variance, members / 2) == pytest.approx(0.3, rel=0.03)


@pytest.mark.parametrize("options", [{}, {"strategy": "openai-es"}, {"pairs": "one-sided", "sigma": 0.02}], ids=str)
def test_the_measured_cosine_is_the_predicted_one(options: dict[str, Any]) -> None:
    """The fitness is quadratic, so the law holds but for the drawing of lots."""
    found = measure_estimate(RunConfig(**SMALL | options), budget=math.inf)
    assert len(found.measured) == 5
    assert statistics.fmean(found.measured) == pytest.approx(found.cosine, rel=0.12)
    assert found.in_pairs == ("pairs" not in options and found.pairs_cosine >= (found.one_sided_cosine or 0))
    assert found.configured.cosine == pytest.approx(found.tried_cosine, rel=0.25)
    assert found.best_step is not None


def test_even_energy_grows_with_sigma_and_nothing_else_does() -> None:
    """Even parts of a quadratic are of the order sigma^2, odd ones of the order sigma."""
    ratios = [one.even_to_odd for one in measure_estimate(RunConfig(**SMALL)).sigmas]
    for small, large in itertools.pairwise(ratios):
        assert large == pytest.approx(4 * small, rel=0.02)


def test_where_there_is_no_gradient_it_says_so_and_goes_on() -> None:
    options = SMALL | {"task": "digits", "fitness": "accuracy", "batch": 16, "sigma": 0.001, "population": 32}
    found = measure_estimate(RunConfig(**options), budget=5.0)
    assert found.measured == ()
    assert not found.shares_known
    assert found.configured.ties > 0.5
    content = findings_json(found)
    json.dumps(content, allow_nan=False)
    assert {one["about"] for one in content["advice"]} >= {"ties", "estimate", "measured", "time"}
    assert all(math.isfinite(one.cosine) for one in found.ranks)


def test_it_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    measure_estimate(RunConfig(**SMALL), budget=1.0)
    assert list(tmp_path.iterdir()) == []
