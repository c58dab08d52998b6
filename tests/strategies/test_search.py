"""The genetic algorithm by hand, ``galab.Search``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import galab
from galab.api.genetic import Search
from galab.errors import GalabError, NoViableChildError, UsageError

pytestmark = pytest.mark.usefixtures("one_thread")
INPUTS = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
TARGETS = (INPUTS[:, 0] + INPUTS[:, 1] > 0).long()


def fitness(network: nn.Module) -> float:
    with torch.no_grad():
        return -float(nn.functional.cross_entropy(network(INPUTS), TARGETS))


def accuracy(network: nn.Module) -> float:
    with torch.no_grad():
        return float((network(INPUTS).argmax(1) == TARGETS).float().mean())


def bits(network: nn.Module) -> bytes:
    return b"".join(value.detach().numpy().tobytes() for value in network.parameters())


def small(**options) -> Search:
    return Search(nn.Linear(4, 2), **({"parents": 2, "children": 6, "sigma": 0.1, "seed": 3} | options))


@pytest.mark.parametrize("options", [{}, {"elites": 2}, {"step_size": "three-point", "distribution": "laplace"}])
def test_it_learns_a_tiny_problem(options):
    search = Search(nn.Linear(4, 2), parents=4, children=16, sigma=0.2, seed=1, **options)
    for _ in range(25):
        search.tell([fitness(network) for network in search.ask()])
    assert search.generation == 25
    assert accuracy(search.best()) > 0.9
    assert fitness(search.best()) > -0.4


def test_it_is_the_search_that_the_package_offers():
    assert galab.Search is Search


def test_the_module_is_not_changed_and_the_networks_are_of_its_kind():
    module = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5), nn.Linear(3, 2)).train()
    before = bits(module)
    search = Search(module, children=5, parents=2)
    networks = search.ask()
    assert len(networks) == 5
    assert len({bits(network) for network in networks}) == 5
    assert all(not network.training and type(network) is nn.Sequential for network in networks)
    search.tell(range(5))
    assert bits(module) == before
    assert module.training
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_the_seed_decides_everything():
    def story(seed):
        search = small(seed=seed)
        return [search.tell([fitness(net) for net in search.ask()]) or bits(search.best()) for _ in range(5)]

    assert story(3) == story(3)
    assert story(3) != story(4)


def test_the_best_is_a_copy_of_the_fittest_network():
    search = small()
    networks = search.ask()
    expected = bits(networks[4])
    search.tell([0, 1, 2, 3, 9, 5])
    best = search.best()
    assert bits(best) == expected
    search.ask()
    assert bits(best) == expected


def test_keep_weights_starts_around_the_modules_own():
    module = nn.Linear(4, 2)
    search = Search(module, parents=2, children=6, sigma=2**-20, keep_weights=True)
    for network in search.ask():
        for ours, theirs in zip(network.parameters(), module.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_elites_are_scored_again_with_the_children():
    search = small(elites=1)
    assert len(search.ask()) == 7
    search.tell(range(7))
    best = bits(search.best())
    assert bits(search.ask()[-1]) == best


def test_nan_and_minus_infinity_are_failures_and_plus_infinity_ranks_first(caplog):
    search = small()
    networks = search.ask()
    expected = bits(networks[1])
    search.tell([np.nan, np.inf, -5.0, -np.inf, np.nan, -9.0])
    assert bits(search.best()) == expected
    assert "generation 1: 3 of 6 networks have no finite fitness; they rank last" in caplog.text
    assert np.isfinite(search.strategy.parent_fitness).all()
    assert len(search.strategy.parents) == 2
    search.ask()
    with pytest.raises(NoViableChildError, match="generation 2: not one of 6 networks"):
        search.tell([np.nan] * 6)


@pytest.mark.parametrize("scores", [[], [1.0] * 5, [1.0] * 7])
def test_the_wrong_number_of_scores_is_refused(scores):
    search = small()
    search.ask()
    with pytest.raises(UsageError, match=rf"expected 6 fitness values, one per network .*, got {len(scores)}"):
        search.tell(scores)
    search.tell([1.0] * 6)


def test_scores_may_be_tensors():
    search = small()
    search.ask()
    search.tell(torch.arange(6.0))
    assert search.generation == 1


def test_asking_twice_is_refused():
    search = small()
    search.ask()
    with pytest.raises(GalabError, match="call tell"):
        search.ask()


def test_lethal_children_are_left_out_and_rank_last():
    module = nn.Linear(4, 2)
    with torch.no_grad():
        module.bias.fill_(127.999)
    search = Search(module, parents=2, children=40, sigma=0.01, step_size="fixed", keep_weights=True)
    networks = search.ask()
    assert 0 < len(networks) < 40  # a quarter survives
    assert all(float(network.bias.max()) < 128 for network in networks)
    search.tell([float(-network.bias.sum()) for network in networks])
    assert float(search.best().bias.sum()) == min(float(network.bias.sum()) for network in networks)


@pytest.mark.parametrize("options", [{}, {"elites": 2, "children": 4}])
def test_a_state_that_was_saved_continues_as_if_nothing_had_happened(options, tmp_path: Path):
    unbroken = small(**options)

    def play(search):
        search.tell([fitness(network) for network in search.ask()])

    for _ in range(6):
        play(unbroken)
    torch.save(unbroken.state_dict(), tmp_path / "state.pkl")
    resumed = small(**options)
    play(resumed)
    resumed.load_state_dict(torch.load(tmp_path / "state.pkl", weights_only=True))
    assert resumed.generation == 6
    assert bits(resumed.best()) == bits(unbroken.best())
    for _ in range(6):
        play(unbroken)
        play(resumed)
        assert bits(resumed.best()) == bits(unbroken.best())
        assert resumed.strategy.parents.tolist() == unbroken.strategy.parents.tolist()


@pytest.mark.parametrize(
    "options", [{"parents": 0}, {"children": 0}, {"elites": 3}, {"elites": -1}, {"parents": 9}]
)
def test_sizes_that_cannot_work_are_refused(options):
    with pytest.raises(UsageError, match="expected (parents|children|elites) "):
        small(**options)


def test_unknown_names_get_the_closest_match():
    with pytest.raises(UsageError, match="Did you mean 'log-normal'"):
        small(step_size="lognormal")
    with pytest.raises(UsageError, match="Did you mean 'normal'"):
        small(distribution="nomal")
