"""Updates of SNES and PGPE against evosax and EvoTorch, from the same normals; needs ``make bench-peers``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from galab.errors import UsageError
from galab.strategies.pgpe import PGPE
from galab.strategies.snes import SNES

BENCH = Path(__file__).resolve().parents[2] / "bench"
GENERATIONS, POPULATION, SIZE, SIGMA = 6, 8, 5, 0.5
START = np.array([1.0, -2.0, 0.5, 0.0, 3.0], dtype=np.float32)
#: PGPE's own numbers: with these the speed and some changes of step sizes reach their bounds.
OPTIONS = {"lr_centre": 0.3, "max_speed": 0.5, "momentum": 0.9, "lr_sigma": 2.0, "max_change": 0.2}


@pytest.fixture
def client(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    import peers.client as module

    return module


def ours(strategy, fitness):
    """(G, P, D) normals of each generation, (G, 2, D) centre and step sizes after it."""
    noise, found = [], []
    for row in fitness:
        strategy.ask()
        noise.append(normals(strategy))
        strategy.tell(row)
        found.append([strategy._vectors["centre"].copy(), strategy.sigma])
    return np.array(noise), np.array(found)


def normals(strategy):
    count = POPULATION // 2 if strategy._mirrored else POPULATION
    noise = strategy._noise(0, count).astype(np.float64)
    return np.stack([noise, -noise], axis=1).reshape(POPULATION, SIZE) if strategy._mirrored else noise


@pytest.mark.parametrize("strategy", [SNES, PGPE])
def test_updates_equal_those_of_evosax_and_evotorch(client, strategy):
    if not client.available():
        pytest.skip("other people's libraries are not installed: make bench-peers")
    fitness = np.random.default_rng(1).standard_normal((GENERATIONS, POPULATION))
    options = OPTIONS if strategy is PGPE else {}
    noise, found = ours(strategy(START, run_key=5, population=POPULATION, sigma=SIGMA, **options), fitness)
    theirs = client.updates(noise=noise, fitness=fitness, start=START.astype(np.float64), sigma=SIGMA, **OPTIONS)
    np.testing.assert_allclose(found, theirs[f"evosax_{strategy.name}"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found, theirs[f"evotorch_{strategy.name}"], rtol=0, atol=1e-6)


def test_without_the_environment_the_command_that_makes_it_is_named(client, monkeypatch, tmp_path):
    monkeypatch.setattr(client, "_STAMP", tmp_path / "absent")
    with pytest.raises(UsageError, match="run make bench-peers first"):
        client.updates(sigma=SIGMA)
