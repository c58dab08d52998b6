"""Minimising a plain function of a vector."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import galab
from galab.api.minimize import MinimizeResult
from galab.api.points import box_of
from galab.errors import NoViableChildError, UsageError
from galab.strategies.pgpe import PGPE
from galab.strategies.snes import SNES

STRATEGIES = ("snes", "pgpe")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "minimize.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def bowl(points: Any) -> Any:
    """Least at 0.3 in every dimension, of points (..., D) in NumPy or torch."""
    return ((points - 0.3) ** 2).sum(-1)


def found(function: Any = bowl, **options: Any) -> MinimizeResult:
    dim = None if "x0" in options else 4
    return galab.minimize(
        **{"function": function, "dim": dim, "batched": True, "generations": 5, "population": 8, "seed": 1} | options
    )


def bits(result: MinimizeResult) -> tuple[Any, ...]:
    return result.x.tobytes(), result.centre.tobytes(), result.fun, result.message, result.history


class Drawn:
    """Members around a centre that never moves; a strategy of one's own with nothing but what is needed."""

    def __init__(self, start: Any, *, run_key: int, population: int, sigma: float, twist: float = 1.0) -> None:
        self.generation, self.centre, self.told = 0, start, list[Any]()
        self._noise = np.random.default_rng(run_key).standard_normal((population, len(start)))
        self._sigma, self.twist = sigma, twist

    def ask(self) -> Any:
        return (self.centre + self._sigma * self._noise).astype(np.float32)

    def tell(self, fitness: Any) -> None:
        self.told.append(fitness)
        self.generation += 1


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.slow
def test_it_finds_the_minimum(strategy: str) -> None:
    result = galab.minimize(bowl, dim=10, bounds=(-2, 3), strategy=strategy, batched=True, evaluations=10_000)
    assert result.success
    assert result.fun == bowl(result.x) < 1e-5
    np.testing.assert_allclose(result.x, 0.3, atol=1e-2)
    np.testing.assert_allclose(result.centre, 0.3, atol=1e-2)


def test_the_minimum_is_as_exact_as_float64() -> None:
    result = galab.minimize(bowl, np.zeros(3), batched=True, sigma=0.5)
    assert np.abs(result.x - 0.3).max() < 1e-15
    assert "the step size has become too small" in result.message


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_function_gets_the_points_as_exactly_as_the_strategy_has_them(strategy: str) -> None:
    seen = []
    start = np.array([1.0, -2.0, 0.1]) + 1e-12
    found(lambda points: seen.append(points) or bowl(points), x0=start, sigma=1e-11, strategy=strategy)
    kind = {"snes": SNES, "pgpe": PGPE}[strategy]
    inner = kind(start, run_key=1, population=8, sigma=1e-11)
    assert seen[0].dtype == np.float64
    np.testing.assert_array_equal(seen[0], inner.exact_members())
    assert len(np.unique(seen[0], axis=0)) == 8
    assert len(np.unique(inner.ask(), axis=0)) == 1, "float32 cannot tell them apart"


@pytest.mark.parametrize("kind", [SNES, PGPE])
def test_members_in_float32_are_the_exact_ones_rounded(kind: Any) -> None:
    inner = kind(np.linspace(-1, 2, 20), run_key=3, population=12, sigma=0.5)
    np.testing.assert_allclose(inner.ask(), inner.exact_members(), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(inner.exact_centre, np.linspace(-1, 2, 20))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_seed_gives_one_result_to_the_bit_and_another_gives_another(strategy: str) -> None:
    options = {"strategy": strategy, "bounds": (-2, 3), "generations": 20}
    assert bits(found(**options)) == bits(found(**options))
    assert not np.array_equal(found(**options).x, found(**options, seed=2).x)


def test_a_function_of_a_vector_and_of_a_batch_in_numpy_and_torch_are_the_same() -> None:
    expected = found()
    kinds = []

    def kept(point: Any) -> Any:
        kinds.append((type(point), str(point.dtype), tuple(point.shape)))
        return bowl(point)

    for batched in (True, False):
        for in_torch in (True, False):
            result = found(kept, batched=batched, torch=in_torch)
            np.testing.assert_allclose(result.x, expected.x, rtol=1e-12)
            shape = (8, 4) if batched else (4,)
            wanted = (torch.Tensor, "torch.float64", shape) if in_torch else (np.ndarray, "float64", shape)
            assert kinds[-1] == wanted
    assert bits(found(lambda points: bowl(points).tolist())) == bits(expected)
    assert bits(found(lambda points: bowl(points)[:, None])) == bits(expected)


@pytest.mark.parametrize("in_torch", [True, False])
@pytest.mark.parametrize("batched", [True, False])
def test_a_function_may_change_the_points_that_it_gets(batched: bool, in_torch: bool) -> None:
    def changed(points: Any) -> Any:
        value = bowl(points)
        points *= 0
        return value

    assert bits(found(changed, batched=batched, torch=in_torch)) == bits(found(batched=batched, torch=in_torch))


def test_maximizing_is_minimizing_the_negative() -> None:
    least = found()
    most = found(lambda points: -bowl(points), direction="maximize")
    np.testing.assert_array_equal(most.x, least.x)
    assert most.fun == -least.fun
    assert [row.mean for row in most.history] == [-row.mean for row in least.history]
    with pytest.raises(UsageError, match="expected direction to be 'maximize' or 'minimize', got 'min'"):
        found(direction="min")


def test_the_history_counts_and_best_so_far_never_rises() -> None:
    seen = []
    result = found(callback=seen.append, generations=12)
    assert [row.generation for row in result.history] == [*range(1, 13)]
    assert [row.evaluations for row in result.history] == [*range(8, 97, 8)]
    assert (result.nit, result.nfev, result.fun) == (12, 96, result.history[-1].best)
    best = [row.best for row in result.history]
    assert best == np.minimum.accumulate([row.generation_best for row in result.history]).tolist()
    for view, row in zip(seen, result.history, strict=True):
        assert view.record == row
        np.testing.assert_array_equal(view.values, bowl(view.points))
        assert (row.generation_best, row.mean) == (view.values.min(), view.values.mean())
        assert bowl(view.x) == row.best
    np.testing.assert_array_equal(seen[-1].centre, result.centre)
    assert result.history[0].sigma == pytest.approx(1.0, rel=0.5)


def test_it_stops_by_generations_evaluations_target_patience_and_callback() -> None:
    assert found(generations=3).message == "all 3 generations are done"
    short = found(generations=None, evaluations=31)
    assert (short.nfev, short.message) == (24, "24 evaluations are done, of at most 31")
    assert found(generations=None, population=100).nfev == 4000
    reached = found(generations=200, target=1e-2)
    assert reached.success
    assert reached.history[-2].best > 1e-2 >= reached.fun
    assert reached.message == f"generation {reached.nit} reached the target"
    assert not found(generations=3, target=-1).success
    assert found(lambda points: np.ones(len(points)), patience=4).message == "4 generations brought no better value"
    called = found(callback=lambda view: view.record.generation == 2)
    assert (called.nit, called.message) == (2, "the callback ended the search after generation 2")
    assert found(callback=lambda view: np.bool_(view.record.generation == 2)).nit == 2
    assert found(callback=lambda view: "no truth").nit == 5


def test_failures_are_counted_and_the_best_infinity_is_the_best(caplog: Any) -> None:
    def holes(points: Any) -> Any:
        value = bowl(points)
        value[0], value[3] = math.nan, math.inf
        return value

    result = found(holes)
    assert [row.failures for row in result.history] == [2] * 5
    assert np.isfinite([row.mean for row in result.history]).all()
    assert caplog.text.count("2 of 8 points have no value") == 1

    def endless(points: Any) -> Any:
        value = bowl(points)
        value[5] = -math.inf
        return value

    assert found(endless).fun == -math.inf
    assert found(endless, direction="maximize").history[0].failures == 1


def test_what_a_function_of_a_vector_raises_is_a_failure(caplog: Any) -> None:
    def picky(point: Any) -> float:
        if point[0] < 0:
            raise ValueError("no logarithm of that")
        return float(bowl(point))

    result = found(picky, batched=False)
    assert sum(row.failures for row in result.history) > 0
    assert result.x[0] >= 0
    assert "ValueError: no logarithm of that" in caplog.text
    with pytest.raises(NoViableChildError, match="generation 1 has a value, and the function raised ZeroDivisionError"):
        found(lambda point: 1 / 0, batched=False)


def test_where_nothing_has_a_value_the_first_generation_is_an_error_and_a_later_one_the_end() -> None:
    with pytest.raises(NoViableChildError, match="not one of 8 points of generation 1 has a value; look at the"):
        found(lambda points: np.full(len(points), math.nan))
    calls = []

    def short(points: Any) -> Any:
        calls.append(points)
        return bowl(points) if len(calls) < 4 else np.full(len(points), math.inf)

    result = found(short, generations=9)
    assert (result.success, result.nit, result.history[-1].failures) == (False, 4, 8)
    assert math.isnan(result.history[-1].mean)
    assert result.fun == bowl(result.x)
    assert result.message == "not one of 8 points of generation 4 has a value"


@pytest.mark.slow
def test_a_function_without_an_end_is_a_sentence() -> None:
    result = found(lambda points: points.sum(-1), generations=100_000)
    assert not result.success
    assert "have left what float64 can hold" in result.message


@pytest.mark.parametrize("outside", ["reflect", "clip"])
def test_all_points_lie_in_the_box(outside: str) -> None:
    low, high = np.array([-1.0, 0.0, -math.inf, 2.0]), np.array([1.0, math.inf, 0.5, 2.5])
    seen = []
    x0 = [0.0, 0.0, 0.5, 2.2]
    result = found(x0=x0, bounds=(low, high), outside=outside, sigma=3.0, callback=seen.append)
    points = np.concatenate([view.points for view in seen])
    assert ((points >= low) & (points <= high)).all()
    assert ((result.centre >= low) & (result.centre <= high)).all()
    assert ((points == low) | (points == high)).any() == (outside == "clip")


def test_reflecting_mirrors_at_the_bounds_and_leaves_what_is_inside() -> None:
    box = box_of(1, (0, 2), "reflect")
    given = [[0.1], [-0.5], [2.5], [-2.5], [4.5], [0.0], [2.0], [7.0]]
    np.testing.assert_allclose(box.inside(np.array(given))[:, 0], [0.1, 0.5, 1.5, 1.5, 0.5, 0, 2, 1], rtol=1e-12)
    inside = np.random.default_rng(1).uniform(0, 2, (50, 1))
    np.testing.assert_array_equal(box.inside(np.append(inside, [[3.0]], axis=0))[:-1], inside)
    half = box_of(2, ((0, -math.inf), (math.inf, 1)), "reflect")
    np.testing.assert_array_equal(half.inside(np.array([[-3.0, 4.0]])), [[3.0, -2.0]])


def test_without_x0_a_search_begins_in_the_box_or_at_zero() -> None:
    starts = np.array(
        [found(bounds=(-1, [1, 1, 1, 9]), sigma=1e-9, seed=seed, generations=1).x for seed in range(30)]
    )
    assert starts[:, :3].min() < -0.8
    assert starts[:, :3].max() > 0.8
    assert starts[:, 3].max() > 7
    np.testing.assert_allclose(found(sigma=1e-9, generations=1).x, 0, atol=1e-8)


def test_step_sizes_follow_the_box_unless_they_are_said() -> None:
    low, high = np.zeros(4), np.array([1.0, 1.0, 10.0, 1000.0])
    seen = []
    found(x0=high / 2, bounds=(low, high), population=400, generations=1, callback=seen.append)
    spread = np.std(seen[0].points - high / 2, axis=0) / high
    np.testing.assert_allclose(spread, 0.2, rtol=0.15)
    found(x0=high / 2, sigma=[0.01, 0.02, 1, 5], population=400, generations=1, callback=seen.append)
    np.testing.assert_allclose(np.std(seen[1].points, axis=0), [0.01, 0.02, 1, 5], rtol=0.15)
    assert found(x0=high / 2, sigma=[0.01, 0.02, 1, 5], generations=1).history[0].sigma == pytest.approx(1.5, rel=0.5)


def test_the_population_is_that_of_the_authors_of_snes() -> None:
    assert found(population=None, dim=30, generations=1).nfev == 14
    assert found(population=None, dim=20, generations=1, strategy="pgpe").nfev == 12
    assert found(population=None, dim=1, generations=1).nfev == 4
    assert found(population=None, dim=5, generations=1).nfev == 8
    assert found(population=None, dim=300, generations=1, strategy="pgpe").nfev == 22


def test_options_in_brackets_reach_the_strategy() -> None:
    assert bits(found(strategy="snes(lr_sigma=0.2)")) != bits(found())
    assert bits(found(strategy="snes(lr_centre=1.0)")) == bits(found())
    with pytest.raises(UsageError, match="with arguments out of .*lr_sigma.*, got 'lr_sgma'. Did you mean 'lr_sigma'"):
        found(strategy="snes(lr_sgma=0.2)")
    with pytest.raises(UsageError, match="without 'sigma' in brackets, which galab gives itself; use sigma"):
        found(strategy="snes(sigma=0.2)")


def test_a_strategy_is_told_how_many_generations_there_will_be() -> None:
    assert bits(found(strategy="pgpe")) == bits(found(strategy="pgpe(generations=5)"))
    planned = found(strategy="pgpe(generations=3)", generations=None, evaluations=24)
    assert bits(found(strategy="pgpe", generations=None, evaluations=25))[:3] == bits(planned)[:3]
    assert bits(found(strategy="pgpe")) != bits(found(strategy="pgpe(generations=6)"))


def test_a_class_or_an_object_is_a_strategy_too(tmp_path: Any) -> None:
    options = {"run_key": 1, "population": 8, "sigma": 1.0}
    named, own = found(), SNES(np.zeros(4), **options)
    assert bits(found(strategy=SNES)) == bits(named)
    assert bits(found(strategy=own, dim=None, population=None)) == bits(named)
    drawn = Drawn(np.zeros(4), **options)
    result = found(strategy=drawn, dim=None, population=None, direction="maximize")
    assert len(drawn.told) == 5
    assert result.history[0].sigma is None
    np.testing.assert_array_equal(drawn.told[0], bowl(drawn.ask().astype(np.float64)))
    assert bits(found(strategy=Drawn, direction="maximize"))[0] == bits(result)[0]
    file = tmp_path / "near.py"
    lines = "from galab.strategies.snes import SNES\n\n\nclass Near(SNES):\n    name = 'near'\n"
    file.write_text(lines)
    assert bits(found(strategy=f"{file}:Near(lr_sigma=0.2)")) == bits(found(strategy="snes(lr_sigma=0.2)"))
    with pytest.raises(UsageError, match="expected no sigma with a strategy that has been made already, got 0.5"):
        found(strategy=own, dim=None, population=None, sigma=0.5)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "both": ({"x0": [0.0, 0.0], "dim": 2}, "either x0, a first point, or dim, a number of dimensions, got both"),
    "neither": ({"dim": None}, "got neither; give one"),
    "a matrix": ({"x0": np.zeros((2, 2))}, r"expected x0 as a vector, got an array of shape \(2, 2\); flatten it"),
    "no numbers": ({"x0": ["a"]}, "expected x0 as a vector of numbers, got"),
    "infinite": ({"x0": [0.0, math.inf]}, "expected x0 as a vector of finite numbers"),
    "dim": ({"dim": 0}, "expected dim as a whole number from 1 on, got 0"),
    "half": ({"dim": 2.5}, "expected dim as a whole number from 1 on, got 2.5"),
    "outside the box": (
        {"x0": [0.0, 7.0], "bounds": (-1, 5)},
        "expected x0 within its bounds, got 7 in dimension 1, which is bounded by -1 and 5",
    ),
    "crossed": ({"bounds": (1, [2, 2, 1, 2])}, "low bounds below the high ones, got 1 and 1 in dimension 2"),
    "pairs": ({"bounds": [(-1, 1)] * 4}, r"each a number or 4 numbers, got 4 entries; .*zip\(\*pairs\)"),
    "a number": ({"bounds": 5}, r"expected bounds as \(low, high\), each a number or 4 numbers, got 5;"),
    "bounds of three": ({"bounds": ([0] * 3, 1)}, r"4 numbers, got an array of shape \(3,\) as low; correct it"),
    "half a box": ({"bounds": (0, math.inf)}, "expected two finite bounds, or none, for each dimension with dim"),
    "nan": ({"bounds": (math.nan, 1)}, "expected the low bounds as a number or 4 of finite numbers"),
    "outside": ({"outside": "clop"}, "expected outside to be 'clip' or 'reflect', got 'clop'. Did you mean 'clip'"),
    "sigma": ({"sigma": 0}, "expected sigma as a number above 0, or 4 of them, got 0"),
    "sigmas": ({"sigma": [1, 2]}, r"or 4 of them, got \[1, 2\]"),
    "population": ({"population": 1}, "expected population as a whole number from 2 on, got 1"),
    "odd": ({"population": 7, "strategy": "pgpe"}, "an even number from 2, as members come in pairs, got 7"),
    "seed": ({"seed": -1}, "expected seed as a whole number from 0 on, got -1"),
    "large seed": ({"seed": 1 << 64}, "expected seed below 2"),
    "generations": ({"generations": 0}, "expected generations as a whole number from 1 on, got 0"),
    "few evaluations": ({"evaluations": 7}, "expected evaluations for one generation at least, 8, got 7"),
    "patience": ({"patience": True}, "expected patience as a whole number from 1 on, got True"),
    "target": ({"target": "low"}, "expected target as one of numbers, got 'low'"),
    "no strategy": ({"strategy": "sness"}, "no strategy is called 'sness'. Did you mean 'snes'"),
    "for networks": ({"strategy": "ga"}, "a strategy over vectors, which are snes, pgpe and FILE.py:Class, got 'ga'"),
    "an object": ({"strategy": 3}, "as a name, or as a class or an object with ask and tell, got 3; give one"),
    "a class": ({"strategy": int}, "as a name, or as a class or an object with ask and tell, got <class 'int'>"),
    "targets": ({"target": [1, 2]}, r"expected target as one number, got an array of shape \(2,\); give one"),
    "function": ({"function": 3}, "expected function as a function of a vector, got 3; give one"),
    "one value": ({"function": lambda points: 1.0}, "8 fitness values, one per point of the generation, got one"),
    "values": ({"function": lambda points: points}, r"got an array of shape \(8, 4\); give one number for each point"),
    "too few values": ({"function": lambda points: bowl(points)[1:]}, "one per point of the generation, got 7"),
    "a vector": (
        {"function": lambda point: point, "batched": False},
        r"expected a number as the fitness of each point, got an array of shape \(4,\) at place 0",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_call_is_one_sentence(name: str) -> None:
    options, said = WRONG[name]
    with pytest.raises(UsageError, match=said) as error:
        found(**options)
    assert "\n" not in str(error.value)


def test_a_strategy_that_asks_for_something_else_is_refused() -> None:
    class Flat(Drawn):
        def ask(self) -> Any:
            return super().ask()[:, :2]

    with pytest.raises(UsageError, match=r"expected points \(N, 4\) from the strategy's ask\(\), got \(8, 2\)"):
        found(strategy=Flat)


def test_results_and_records_cannot_be_changed() -> None:
    result = found()
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.fun = 0.0  # type: ignore[misc]
    assert isinstance(result.history, tuple)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_of_the_page_finds_its_minimum(number: int, capsys: Any) -> None:
    names: dict[str, Any] = {}
    exec(EXAMPLES[number], names)
    assert names["result"].success
    assert names["result"].fun < 3
    assert capsys.readouterr().out


def test_pairs_are_not_taken_for_low_and_high() -> None:
    pairs = [(-2, 2), (-1, 3)]
    with pytest.raises(UsageError, match=r"got a list of two pairs, which may be one for each dimension; .*zip"):
        galab.minimize(lambda x: float((x**2).sum()), dim=2, bounds=pairs)
    found = galab.minimize(lambda x: float((x**2).sum()), dim=2, bounds=zip(*pairs, strict=True), seed=1)
    assert abs(found.x).max() < 0.1
