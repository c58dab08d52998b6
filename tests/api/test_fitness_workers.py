"""Python functions that score networks in several processes: the same scores, and no process that stays."""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import multiprocess
import pytest
import torch
from torch import nn

import galab
from galab.errors import GalabError, NoViableChildError, UsageError

X = torch.linspace(-1, 1, 30).view(10, 3).sin()
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def alone(one_thread: None = None) -> Iterator[None]:
    """Whatever happens, no process is left behind."""
    yield
    assert multiprocess.active_children() == multiprocessing.active_children() == []


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
    made.register_buffer("scale", torch.tensor(2.0))
    made[0].bias.requires_grad_(False)
    return made


def fitness(made: nn.Module) -> float:
    return -float((made(X) * made.scale).detach().square().mean())


def searches() -> dict[str, Callable[[], Any]]:
    return {
        "search": lambda: galab.Search(network(), parents=3, children=7, seed=2, keep_weights=True),
        "eggroll": lambda: galab.ESOptimizer(network(), population_size=10, seed=2),
        "one-sided": lambda: galab.ESOptimizer(network(), population_size=7, rank=None, antithetic=False, seed=2),
        "half": lambda: galab.ESOptimizer(network().bfloat16(), population_size=6, seed=2),
    }


def test_the_scores_are_those_of_one_process_with_any_number_of_workers() -> None:
    def spoilt(made: nn.Module) -> float:
        """Leaves its traces in the network."""
        score = -float((made(X.to(made[0].weight.dtype)) * made.scale).detach().float().square().mean())
        with torch.no_grad():
            made.scale.add_(5)
            made[0].bias.add_(1)
        made.train()
        return score

    with galab.Workers(spoilt, 1) as one, galab.Workers(spoilt, 3) as three:
        for kind, make in searches().items():
            alone, first, second = make(), make(), make()
            for _ in range(3):
                asked = alone.ask()
                expected = [spoilt(made) for made in asked]
                got = one(first.ask()), three(second.ask())
                assert got == (expected, expected), kind
                for search in (alone, first, second):
                    search.tell(expected)


def test_a_trainer_with_workers_is_the_same_search() -> None:
    one, other = network(), network()
    options = {"population_size": 8, "sigma": 0.1, "learning_rate": 0.3, "seed": 3}
    alone = galab.Trainer(one, fitness, **options).train(4)
    shared = galab.Trainer(other, fitness, workers=2, **options).train(4)
    assert [line["fitness_best"] for line in alone] == [line["fitness_best"] for line in shared]
    assert torch.equal(one[0].weight, other[0].weight)


def test_what_fails_is_told_and_takes_nothing_else_down(caplog: pytest.LogCaptureFixture) -> None:
    made = [network(seed) for seed in range(6)]
    for place, one in enumerate(made):
        one.scale.fill_(place)

    def moody(one: nn.Module) -> Any:
        if one.scale == 1:
            raise ValueError("no luck")
        if one.scale == 2:
            os._exit(7)
        if one.scale == 3:
            time.sleep(60)
        return None if one.scale == 4 else float(one.scale)

    with galab.Workers(moody, 2, member_seconds=1.0) as workers, caplog.at_level(logging.WARNING):
        scores = workers(made)
        assert scores[0] == 0
        assert scores[5] == 5
        assert [place for place, score in enumerate(scores) if math.isnan(score)] == [1, 2, 3, 4]
        assert workers.failures[1] == "ValueError: no luck"
        assert workers.failures[2] == "its process ended with code 7"
        assert workers.failures[3] == "took longer than 1 seconds"
        assert "got None at place 4" in workers.failures[4]
        assert workers(made[:1]) == [0.0]
        assert workers.failures == {}
    assert "raised ValueError: no luck: a failure; this reason is told once" in caplog.text


def test_a_function_that_takes_every_process_down_ends_with_a_sentence() -> None:
    with (
        galab.Workers(lambda one: os._exit(3), 2) as workers,
        pytest.raises(GalabError, match="expected the scores of 8 networks, but .* ended with code 3, the 3rd"),
    ):
        workers([network() for _ in range(8)])


def test_a_trainer_whose_members_all_fail_says_why() -> None:
    def broken(one: nn.Module) -> float:
        raise KeyError("reward")

    with pytest.raises(NoViableChildError, match=r"got none of 4 \(KeyError: 'reward'\)"):
        galab.Trainer(network(), broken, workers=1, population_size=4).train(1)


def test_what_cannot_be_is_refused() -> None:
    for values in ({"workers": 0}, {"workers": 2.0}, {"workers": 1, "threads": 0}):
        with pytest.raises(UsageError, match="as a whole number of 1 or more"):
            galab.Workers(fitness, **values)
    with pytest.raises(UsageError, match="member_seconds above 0, or None, got 0"):
        galab.Workers(fitness, 1, member_seconds=0)
    with pytest.raises(UsageError, match="expected batched=True without workers"):
        galab.Trainer(network(), fitness, batched=True, workers=2)
    frame = sys._getframe()
    with pytest.raises(UsageError, match="expected the fitness function to be something that can be sent"):
        galab.Workers(lambda one: frame.f_lineno, 1)
    with galab.Workers(fitness, 1) as workers:
        assert workers([]) == []


def test_any_networks_may_be_scored_and_none_is_taken_for_another() -> None:
    one, other = network(), network()
    other.scale.fill_(7.0)
    with galab.Workers(fitness, 1) as workers:
        for made in ([one, other], [other], [network(3), other]):
            assert workers(made) == [fitness(each) for each in made]
        halves = [nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5)), nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.0))]
    with galab.Workers(lambda made: made[1].p, 1) as workers:
        assert workers(halves) == [0.5, 0.0]


@pytest.mark.parametrize("place", [0, 3, 6, 9])
def test_a_member_of_a_population_that_takes_its_process_down_leaves_the_others_their_scores(place: int) -> None:
    population = galab.ESOptimizer(network(), population_size=10, seed=2).ask()
    scores = [fitness(made) for made in population]
    marked = float(population[place][0].weight.detach()[0, 0])

    def deadly(made: nn.Module) -> float:
        if float(made[0].weight.detach()[0, 0]) == marked:
            os._exit(4)
        return fitness(made)

    with galab.Workers(deadly, 2) as workers:
        found = workers(population)
    assert [index for index, score in enumerate(found) if math.isnan(score)] == [place]
    assert [score for index, score in enumerate(found) if index != place] == [
        score for index, score in enumerate(scores) if index != place
    ]
    assert workers.failures == {place: "its process ended with code 4"}


def test_a_member_of_a_population_that_hangs_alone_fails() -> None:
    population = galab.ESOptimizer(network(), population_size=6, seed=2).ask()
    marked = float(population[1][0].weight.detach()[0, 0])

    def slow(made: nn.Module) -> float:
        if float(made[0].weight.detach()[0, 0]) == marked:
            time.sleep(60)
        return fitness(made)

    with galab.Workers(slow, 1, member_seconds=0.5) as workers:
        found = workers(population)
    expected = [fitness(made) for made in population]
    assert math.isnan(found[1])
    assert found[:1] + found[2:] == expected[:1] + expected[2:]


@pytest.mark.parametrize("kind", ["search", "eggroll"])
def test_a_function_that_changes_the_type_of_a_network_changes_no_other(kind: str) -> None:
    def doubled(made: nn.Module) -> float:
        return -float((made.double()(X.double())).detach().square().mean())

    asked = searches()[kind]().ask()
    with galab.Workers(doubled, 1) as workers:
        found = workers(asked)
    assert len(set(found)) == len(asked)
    here = asked.each() if kind == "eggroll" else asked
    assert found == [doubled(made) for made in here]


def test_a_search_whose_networks_are_changed_in_type_goes_on() -> None:
    search = searches()["search"]()
    seen = set()
    for _ in range(3):
        asked = search.ask()
        seen |= {float(made[0].weight.detach().double()[0, 0]) for made in asked}
        search.tell([float(made.double()[0].weight.sum()) for made in asked])
    assert len(seen) > 15


def test_what_was_changed_in_a_network_after_it_was_asked_for_counts() -> None:
    asked = searches()["search"]().ask()
    for place, made in enumerate(asked):
        made.scale.fill_(place)
    with galab.Workers(lambda made: float(made.scale), 2) as workers:
        assert workers(asked) == [0, 1, 2, 3, 4, 5, 6]


def test_several_objectives_and_random_numbers_of_a_place() -> None:
    def two(made: nn.Module) -> Any:
        if made.scale == 1:
            raise ValueError("no")
        return float(made.scale), float(torch.rand(()))

    made = [network(seed) for seed in range(4)]
    for place, one in enumerate(made):
        one.scale.fill_(place)
    answers = []
    for count in (1, 3):
        with galab.Workers(two, count) as workers:
            answers.append([workers(made), workers(made)])
    assert str(answers[0]) == str(answers[1])
    first, second = answers[0]
    assert [row[0] for row in first if not math.isnan(row[0])] == [0, 2, 3]
    assert math.isnan(first[1][1])
    assert first[0][1] != first[2][1] != second[2][1]


SCRIPT = """
import enum, galab, torch
from torch import nn

class Kind(enum.Enum):
    ONE = 1

class Net(nn.Linear):
    kind = Kind.ONE

def fitness(net):
    return float(isinstance(net, Net) and net.kind is Kind.ONE)

if __name__ == "__main__":
    workers = galab.Workers(fitness, 1)
    print(workers(galab.Search(Net(2, 1), children=3, parents=2).ask()), workers([Net(2, 1)]))
"""


def test_a_script_whose_workers_are_not_closed_ends_and_its_classes_are_the_same_there(tmp_path: Any) -> None:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=100)
    assert done.stdout.strip() == "[1.0, 1.0, 1.0] [1.0]", done.stderr
