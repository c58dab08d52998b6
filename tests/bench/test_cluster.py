"""The simulation of a cluster: closed forms, what must never happen, and a real pool whose parts sleep."""

from __future__ import annotations

import dataclasses
import importlib
import sys
import time
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
#: Costs that are no time by default.
FREE = (
    "serial_seconds", "serial_member_seconds", "send_seconds", "receive_seconds", "byte_seconds",
    "share_seconds", "look_seconds", "worker_seconds", "latency", "log_seconds", "failures_per_hour",
)  # fmt: skip


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.syspath_prepend(str(TESTS.parent / "bench"))
    return importlib.import_module("cluster")


@pytest.fixture
def costs(cluster):
    """Makes costs of which all are nothing but these; a part takes a second."""

    def make(*part_seconds, **options):
        nothing = dict.fromkeys(FREE, 0.0) | {"bandwidth": 1e30, "save_every": 10**6}
        return cluster.Costs(part_seconds or (1.0,), **nothing | options)

    return make


def seconds(found):
    return sum(found.values())


def test_one_worker_takes_the_sum_of_its_parts_and_of_what_comes_one_after_the_other(cluster, costs):
    serial = {"serial_seconds": 0.5, "serial_member_seconds": 0.01, "log_seconds": 0.25}
    each = {"send_seconds": 0.125, "receive_seconds": 0.0625, "latency": 2.0, "worker_seconds": 0.1}
    checkpoint = {"checkpoint_bytes": 30.0, "write_speed": 10.0, "save_every": 2}
    own = costs(members=4, share_seconds=0.03, **serial, **each, **checkpoint)
    simulation = cluster.Simulation(own, 1, 10)
    found = simulation.generation()
    parts, messages = 10 * 1.1, 0.125 + 0.0625 + 2 * 2.0
    assert seconds(found) == pytest.approx(0.3 + parts + messages + 0.5 + 0.4 + 0.25)
    assert seconds(simulation.generation()) == pytest.approx(seconds(found) + 3.0)
    assert (found["compute"], found["ask and tell"], found["sharing out"]) == pytest.approx((10.0, 0.9, 0.3))


@pytest.mark.parametrize(("workers", "each"), [(1, 7), (5, 1), (16, 3), (1000, 4)])
def test_where_nothing_costs_anything_equal_shares_waste_nothing(cluster, costs, workers, each):
    assert cluster.simulated(costs(), workers, workers * each)[0] == pytest.approx(1.0)


@pytest.mark.parametrize(("workers", "parts", "longest"), [(4, 19, 5), (16, 67, 5), (8, 3, 1)])
def test_shares_that_are_not_equal_take_as_long_as_the_largest(cluster, costs, workers, parts, longest):
    assert cluster.simulated(costs(), workers, parts)[0] == pytest.approx(parts / workers / longest)


def test_a_driver_whose_messages_take_longer_than_the_work_is_all_that_counts(cluster, costs):
    own = costs(0.001, send_seconds=0.01)
    share, found = cluster.simulated(own, 100, 100)
    assert seconds(found) == pytest.approx(1.0, rel=0.01)
    assert max(found, key=found.get) == "messages"
    assert share < 0.01
    both = seconds(cluster.simulated(dataclasses.replace(own, receive_seconds=0.02), 100, 100)[1])
    assert both == pytest.approx(3.0, rel=0.02)


def test_results_that_fill_the_wire_are_all_that_counts(cluster, costs):
    own = costs(0.001, members=1, result_bytes=8.0, birth_bytes=0.0, message_bytes=0.0, bandwidth=8e4)
    found = cluster.simulated(own, 100, 100)[1]
    assert max(found, key=found.get) == "result"
    assert seconds(found) == pytest.approx(100 * 100 * 8 / 8e4, rel=0.03)


def test_more_bandwidth_never_hurts(cluster):
    own = dataclasses.replace(cluster.Costs(), **cluster.STRATEGIES["eggroll"])
    speeds = [10.0**power for power in range(4, 11)]
    times = [seconds(cluster.simulated(dataclasses.replace(own, bandwidth=speed), 50, 400)[1]) for speed in speeds]
    assert times == sorted(times, reverse=True)
    assert times[0] > 1.5 * times[-1]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("workers", "parts"), [(1, 5), (3, 7), (40, 300), (9, 4)])
def test_the_efficiency_is_never_above_one_and_all_time_is_accounted_for(cluster, costs, workers, parts, seed):
    options = {"failures_per_hour": 30.0, "notice_seconds": 3.0, "start_seconds": 20.0, "result_bytes": 8.0}
    own = costs(0.5, 1.0, 2.0, 9.0, send_seconds=1e-3, latency=0.01, look_seconds=1e-6, follow=1.0, **options)
    simulation = cluster.Simulation(own, workers, parts, seed)
    for _ in range(5):
        before, found = simulation.now, simulation.generation()
        assert seconds(found) == pytest.approx(simulation.now - before)
        assert min(found.values()) >= -1e-9
        assert found["compute"] <= seconds(found) * (1 + 1e-9)


def test_taking_over_is_no_slower_than_shares_that_stay(cluster, costs):
    for seed in range(5):
        simulation = cluster.Simulation(costs(1.0, 2.0, 20.0), 4, 40, seed)
        found, (_, drawn) = simulation.generation(), simulation._drawn
        assert seconds(found) <= max(sum(drawn[start : start + 10]) for start in range(0, 40, 10)) + 1e-9
        assert seconds(found) <= sum(drawn) / 4 + 3 * max(drawn)


def test_a_death_costs_what_was_under_way_and_the_wait_for_a_successor(cluster, costs):
    simulation = cluster.Simulation(costs(notice_seconds=1.0, start_seconds=2.0), 1, 4)
    simulation._at(2.5, simulation._workers[0], simulation._die)
    assert seconds(simulation.generation()) == pytest.approx(2.5 + 1.0 + 2.0 + 2.0)
    assert seconds(simulation.generation()) == pytest.approx(4.0)


def test_others_do_the_work_of_a_worker_whose_successor_is_late(cluster, costs):
    simulation = cluster.Simulation(costs(notice_seconds=1.0, start_seconds=100.0), 2, 8)
    simulation._at(0.5, simulation._workers[0], simulation._die)
    assert seconds(simulation.generation()) == pytest.approx(8.0)
    assert seconds(simulation.generation()) == pytest.approx(8.0)


def test_a_part_of_a_worker_that_is_silent_is_given_to_another_one(cluster, costs):
    simulation = cluster.Simulation(costs(notice_seconds=1e6, start_seconds=0.0), 2, 2)
    simulation._at(0.5, simulation._workers[0], simulation._die)
    assert seconds(simulation.generation()) == pytest.approx(5.0 + 1.0)  # nobody is missed before 5 seconds


def test_a_seed_says_all(cluster):
    own = dataclasses.replace(cluster.Costs(), failures_per_hour=20.0)
    first, again, other = (cluster.simulated(own, 30, 240, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_table_has_a_line_for_each_number_of_workers(cluster, monkeypatch, capsys):
    arguments = ["--strategy", "eggroll", "--workers", "1", "20", "--part-seconds", "0.5", "--send-seconds", "1.0"]
    monkeypatch.setattr(sys, "argv", ["cluster.py", *arguments])
    cluster.main()
    lines = [line.split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines[2:]] == ["| 1", "| 20"]
    assert lines[3][1] == "160"
    assert float(lines[2][2].rstrip("%")) > float(lines[3][2].rstrip("%"))
    assert "messages" in lines[3] or "result" in lines[3]


def test_a_real_pool_takes_as_long_as_predicted(cluster, costs, monkeypatch):
    monkeypatch.syspath_prepend(str(TESTS / "evaluation"))
    memory = importlib.import_module("test_worker_pool")
    own = memory.Run(4, lambda number, part: time.sleep(0.03))
    try:
        spent = []
        for generation in range(1, 6):
            members, began = memory.cohort(generation, 19), time.perf_counter()
            own.search.receive_result(own.pool.score(members).fitness)
            spent.append(time.perf_counter() - began)
    finally:
        own.pool.close()
    here = costs(0.03, members=2, send_seconds=1e-4, receive_seconds=1e-4, worker_seconds=2e-4, share_seconds=5e-5)
    # The quickest, as a busy machine is no failure.
    assert 19 * 0.03 / 4 / min(spent[2:]) == pytest.approx(cluster.simulated(here, 4, 19)[0], abs=0.15)
