"""Rules that set the step size by the population's success."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest

from galab.config.registry import STEP_SIZE_RULES
from galab.config.traits import CONTROLS
from galab.genome.random import Stream, codes, table
from galab.genome.step_sizes import snap
from galab.operators.step_size import GroupElite, OneFifth, Schedule, SuccessHistory
from galab.storage import pickle_format

START = snap(0.02)
NAN = float("nan")


def told(rule, used: list[int], gain: list[float], generation: int = 1):
    rule.learn(generation, np.array(used, dtype=np.int64), np.array(gain, dtype=np.float64))
    return rule


def test_a_schedule_is_straight_in_the_logarithm_and_flat_outside_its_points():
    rule = Schedule(1, start=START, points=((10, 0.25), (20, 0.0625), (40, 0.125)))
    found = {generation: rule.propose(generation, [1, 2]) for generation in (0, 9, 10, 15, 20, 30, 40, 1000)}
    expected = {0: -512, 9: -512, 10: -512, 15: -768, 20: -1024, 30: -896, 40: -768, 1000: -768}
    assert found == {generation: [value] * 2 for generation, value in expected.items()}
    assert Schedule(1, start=START).propose(5, [1, 2, 3]) == [START] * 3
    assert Schedule(1, start=START, points=((7, 1.0),)).propose(3, [1]) == [0]
    before = copy.deepcopy(vars(rule))
    told(rule, [0, 0], [1.0, 2.0])
    assert vars(rule) == before


@pytest.mark.parametrize(
    ("gain", "octaves"),
    [
        ([1, 1, 1, 1, 1], 0.2), ([-1, -1, -1, -1, -1], -0.05), ([1, -1, -1, -1, -1], 0.0), ([1, 1, 1, -1, -1], 0.1),
        ([1, NAN, NAN, NAN, NAN], 0.2), ([0, 0, 0, 0, 0], -0.05), ([NAN] * 5, 0.0),
        ([-math.inf, 1, -1, -1, -1], 0.0),
    ],
)  # fmt: skip
def test_one_fifth_moves_by_the_share_of_children_that_are_better(gain, octaves):
    rule = told(OneFifth(1, start=START), [START] * 5, gain)
    assert rule.state_dict()["log_sigma"] == pytest.approx(START + 256 * octaves)
    assert rule.propose(2, [1, 2]) == [round(START + 256 * octaves)] * 2


def test_one_fifth_adds_up_what_is_less_than_a_grid_point_and_goes_on_from_a_bound():
    rule = OneFifth(1, 0.002, start=START)
    for _ in range(100):
        told(rule, rule.propose(1, [1]), [1.0])
    assert rule.propose(1, [1]) == [round(START + 100 * 0.002 * 256)]
    # Where the run's bounds were in the way, the step size that was used is what counts.
    told(rule, [START - 999], [1.0])
    assert rule.state_dict()["log_sigma"] == pytest.approx(START - 999 + 0.002 * 256)


def test_gesmr_keeps_the_step_size_of_the_best_child_and_redraws_the_others_around_the_better_half():
    rule = GroupElite(9, 0.5, start=START, groups=4)
    spread = [START - 128, START - 43, START + 43, START + 128]
    assert rule.propose(1, list(range(10))) == (spread * 3)[:10]
    # Group 2's best child gained most, then group 0's; the mean of group 2 is the worst of all.
    gain = [2.0, 0.5, 9.0, 0.1, 1.0, 0.4, -99.0, NAN, 1.5, 0.3]
    told(rule, (spread * 3)[:10], gain, generation=7)
    found = rule.propose(8, list(range(4)))
    assert found[0] == spread[2]
    drawn = codes(9, 7, Stream.CONTROL, 8).tolist()
    for place in (1, 2, 3):
        chosen = (spread[2], spread[0])[drawn[place] * 2 // 65_536]
        moved = ((drawn[4 + place] + 0.5) / 32_768 - 1) * 0.5 * 256
        assert found[place] == chosen + round(moved)
        assert abs(found[place] - chosen) <= 128


def test_gesmr_with_failures_and_with_bounds():
    rule = told(GroupElite(9, start=START, groups=2), [-3000, START], [1.0, NAN])
    # The bound was in the way of the first group: what it used is kept and not what it wished for.
    assert rule.propose(1, [1, 2])[0] == -3000
    everybody_failed = told(GroupElite(9, start=START, groups=2), [START - 256, START + 256], [NAN, NAN])
    assert everybody_failed.propose(1, [1])[0] == START - 256
    assert GroupElite(9, start=START, groups=1).propose(1, [1, 2]) == [START, START]


def test_success_history_draws_around_a_centre_that_follows_the_children_that_improved():
    rule = SuccessHistory(4, start=START)
    quantiles = table("normal").quantiles
    expected = [round(START + 51.2 * float(quantiles[codes(4, n, Stream.STEP_SIZE, 1)[0]])) for n in range(2000)]
    found = rule.propose(1, list(range(2000)))
    assert found == expected
    assert np.std(found) == pytest.approx(0.2 * 256, rel=0.05)
    told(rule, [START + 100, START - 50, START + 300, START - 900], [0.5, 0.1, 0.0, NAN])
    assert rule.state_dict()["centre"] == pytest.approx(START + 0.1 * 25)
    before = rule.state_dict()
    assert told(rule, [0, 0], [-1.0, NAN]).state_dict() == before
    fast = told(SuccessHistory(4, 1.0, start=START), [START + 7], [1.0])
    assert fast.state_dict() == {"centre": START + 7.0}


@pytest.mark.parametrize("name", CONTROLS)
def test_every_control_keeps_the_contract(name, tmp_path):
    kind = STEP_SIZE_RULES.load(name)
    rng = np.random.Generator(np.random.Philox(2))
    births = list(range(100, 112))

    def history(rule, first, last):
        proposed = []
        for generation in range(first, last):
            proposed.append(rule.propose(generation, births))
            gain = np.random.Generator(np.random.Philox(generation)).normal(size=12)
            rule.learn(generation, np.array(proposed[-1], dtype=np.int64), gain)
        return proposed

    whole = history(kind(5, start=START), 1, 20)
    assert all(type(value) is int for row in whole for value in row)
    assert all(len(row) == 12 for row in whole)
    assert whole[0] == kind(5, start=START).propose(1, births)
    assert kind(5, start=START).needs_gain == (name != "schedule")
    # Stopped anywhere and continued from plain data, it proposes the same.
    stop = int(rng.integers(2, 19))
    half = kind(5, start=START)
    history(half, 1, stop)
    pickle_format.dump(half.state_dict(), tmp_path / "state.pkl")
    resumed = kind(5, start=START - 77)
    resumed.load_state_dict(pickle_format.load(tmp_path / "state.pkl"))
    if name != "schedule":
        assert history(resumed, stop, 20) == whole[stop - 1 :]


@pytest.mark.parametrize("name", [name for name in CONTROLS if name != "schedule"])
def test_step_sizes_rise_where_larger_steps_are_better_and_fall_where_they_are_worse(name):
    for direction in (1, -1):
        rule = STEP_SIZE_RULES.load(name)(5, start=START)
        centre = []
        for generation in range(1, 200):
            used = np.array(rule.propose(generation, list(range(generation * 20, generation * 20 + 20))))
            centre.append(used.mean())
            # One fifth compares with the parents, the others with each other.
            shift = 0.3 * direction if name == "one-fifth" else 0.0
            rule.learn(generation, used.astype(np.int64), direction * (used - used.mean()) / 256 + shift)
        assert direction * (np.mean(centre[-20:]) - START) > 256
