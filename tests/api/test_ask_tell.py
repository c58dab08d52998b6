"""The loop by hand: a module and a fitness function of one's own."""

import math
import pickle

import numpy as np
import pytest
import torch

from galab import Search
from galab.errors import GalabError, LethalMutationError, NoViableChildError, UsageError


def vector(module: torch.nn.Module) -> torch.Tensor:
    return torch.nn.utils.parameters_to_vector(module.parameters())


def fitness(module: torch.nn.Module) -> float:
    """Best at all weights 0.5."""
    return -float((vector(module) - 0.5).square().sum())


def evolved(generations: int, search: Search | None = None, **options: object) -> Search:
    search = search or Search(torch.nn.Linear(4, 2), seed=1, sigma=0.1, **options)  # type: ignore[arg-type]
    for _ in range(generations):
        search.tell([fitness(module) for module in search.ask()])
    return search


@pytest.mark.slow
def test_it_finds_the_optimum() -> None:
    start = fitness(evolved(1).best())
    assert fitness(evolved(60).best()) > max(-0.05, start)


def test_the_module_is_not_changed_and_torch_draws_nothing() -> None:
    module = torch.nn.Linear(4, 2)
    before, state = vector(module).clone(), torch.random.get_rng_state()
    Search(module, children=9).ask()
    assert torch.equal(vector(module), before)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_one_seed_gives_one_search_and_another_gives_another() -> None:
    assert torch.equal(vector(evolved(5).best()), vector(evolved(5).best()))
    other = evolved(5, Search(torch.nn.Linear(4, 2), seed=2, sigma=0.1))
    assert not torch.equal(vector(evolved(5).best()), vector(other.best()))


@pytest.mark.parametrize("elites", [0, 3])
def test_it_continues_from_its_state(elites: int) -> None:
    first = evolved(5, elites=elites)
    state = pickle.loads(pickle.dumps(first.state_dict()))
    second = Search(torch.nn.Linear(4, 2), seed=1, sigma=0.1, elites=elites)
    second.load_state_dict(state)
    assert second.generation == 5
    assert torch.equal(vector(evolved(5, first).best()), vector(evolved(5, second).best()))


def test_its_state_is_plain_data(tmp_path) -> None:
    state = evolved(3).state_dict()
    torch.save(state, tmp_path / "state.pt")
    again = Search(torch.nn.Linear(4, 2), seed=1, sigma=0.1)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(vector(again.best()), vector(evolved(3).best()))


def test_it_begins_with_the_weights_of_the_module_when_asked() -> None:
    module = torch.nn.Linear(4, 2)
    assert torch.allclose(vector(Search(module, keep_weights=True).best()), vector(module), atol=2**-24)
    assert not torch.allclose(vector(Search(module).best()), vector(module), atol=0.01)


def test_failures_never_breed() -> None:
    search = Search(torch.nn.Linear(4, 2), seed=1, parents=4, children=8, elites=1)
    for value in (math.nan, -math.inf):
        networks = search.ask()
        search.tell([value if place % 2 else fitness(module) for place, module in enumerate(networks)])
        assert np.isfinite(search.strategy.parent_fitness).all()
    with pytest.raises(NoViableChildError):
        search.tell([math.nan] * len(search.ask()))


def test_wrong_calls_are_one_sentence() -> None:
    search = Search(torch.nn.Linear(4, 2), children=8)
    with pytest.raises(GalabError):
        search.tell([])
    search.ask()
    with pytest.raises(UsageError, match=r"expected 8 fitness values, one per network of the last ask\(\), got 7"):
        search.tell([0.0] * 7)
    search.tell([0.0] * 8)
    refused = [
        ({"parents": 0}, "expected parents between 1"),
        ({"children": 3}, r"children plus elites at least parents \(8\), got 3 \+ 0; .* or use survival=\"plus\"$"),
        ({"elites": 9}, "expected elites at most parents"),
        ({"elites": -1}, "expected elites at least 0"),
        ({"niche": "sharing"}, "a search by fitness alone"),
        ({"fitness": "accuracy"}, "no hyperparameter of a Search is called 'fitness'"),
    ]
    for options, said in refused:
        with pytest.raises(UsageError, match=said):
            Search(torch.nn.Linear(4, 2), **options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no step-size rule is called 'fixd'. Did you mean 'fixed'"):
        Search(torch.nn.Linear(4, 2), step_size="fixd")


def test_a_lethal_child_is_not_handed_out() -> None:
    module = torch.nn.Linear(50, 2)
    torch.nn.init.constant_(module.weight, 127.9)
    search = Search(module, seed=1, sigma=0.05, step_size="fixed", children=30, parents=2, keep_weights=True)
    networks = search.ask()
    assert 0 < len(networks) < 30
    search.tell([0.0] * len(networks))
    assert not issubclass(LethalMutationError, UsageError)


def test_the_threads_that_make_the_networks_change_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("galab.api.genetic._ONE_THREAD", 10)
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        search = evolved(4, children=24, crossover="row", granularity="tensor")
        found.append(torch.stack([vector(network) for network in search.ask()]))
    assert torch.equal(*found)


def test_a_generation_of_which_some_are_lethal_keeps_its_order_on_several_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("galab.api.genetic._ONE_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    search = Search(torch.nn.Linear(4, 2), seed=1, sigma=0.1, children=12)
    decode, lethal = search.decoder.decode, (3, 7)

    def decoded(birth: int) -> object:
        if search._ids.index(birth) in lethal:
            raise LethalMutationError("too far", birth)
        return decode(birth)

    monkeypatch.setattr(search.decoder, "decode", decoded)
    networks = search.ask()
    expected = [decode(birth) for place, birth in enumerate(search._ids) if place not in lethal]
    assert len(networks) == 10
    for network, member in zip(networks, expected, strict=True):
        assert np.array_equal(vector(network).numpy(), member.floats())
