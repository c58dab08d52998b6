"""The talk between galab and the process with other people's libraries, with a library made up here."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from galab.errors import UsageError

pytestmark = pytest.mark.slow  # each test starts a process that imports torch

BENCH = Path(__file__).resolve().parents[2] / "bench"

#: A package under the name of a real one: it prints, as many do, and counts its generations in a file.
MADE_UP = """
    from pathlib import Path

    class TorchEggrollES:
        def __init__(self, model, pop_size, sigma, lr, rank):
            self.pop_size = pop_size

        def step(self, inputs, loss_fn, targets):
            print("{ not an answer }", flush=True)
            if self.pop_size == 6:
                raise MemoryError("six are too many")
            if self.pop_size == 8:
                import os
                os._exit(3)
            with Path(__file__).with_name("steps").open("a") as file:
                file.write(f"{self.pop_size} {len(inputs)}\\n")
"""


@pytest.fixture
def client(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCH))
    import peers.client as module

    (tmp_path / "torcheggroll.py").write_text(textwrap.dedent(MADE_UP))
    (tmp_path / ".installed").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(module, "_PYTHON", sys.executable)
    monkeypatch.setattr(module, "_STAMP", tmp_path / ".installed")
    return module


def problem(client, images=5):
    rng = np.random.default_rng(0)
    shapes = {"inputs": (images, 7), "weight1": (4, 7), "bias1": (4,), "weight2": (3, 4), "bias2": (3,)}
    arrays = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    return client.Problem(targets=rng.integers(0, 3, images), **arrays)


def test_without_the_environment_the_command_that_makes_it_is_named(client, tmp_path):
    (tmp_path / ".installed").unlink()
    assert not client.available()
    with pytest.raises(UsageError, match="run make bench-peers first"):
        client.Peers()


def test_the_check_is_minus_the_cross_entropy_of_the_problem(client):
    one = problem(client)
    t = {name: torch.from_numpy(getattr(one, name)) for name in ("inputs", "targets", *one.parameters)}
    hidden = torch.relu(t["inputs"] @ t["weight1"].T + t["bias1"])
    expected = -F.cross_entropy(hidden @ t["weight2"].T + t["bias2"], t["targets"]).item()
    with client.Peers() as peers:
        peers.load(one)
        assert peers.check("torcheggroll") == pytest.approx(expected, rel=1e-5)


def test_every_request_does_one_generation_after_one_warm_up(client, tmp_path):
    with client.Peers() as peers:
        peers.load(problem(client))
        assert peers.generation("torcheggroll", population=4) > 0
        assert (tmp_path / "steps").read_text() == "4 5\n" * 3
        peers.generation("torcheggroll", population=4)
        assert (tmp_path / "steps").read_text() == "4 5\n" * 4
        peers.load(problem(client, images=9))
        peers.generation("torcheggroll", population=4)
        assert (tmp_path / "steps").read_text() == "4 5\n" * 4 + "4 9\n" * 3


def test_a_failure_is_a_sentence_and_the_next_request_is_answered(client):
    with client.Peers() as peers:
        peers.load(problem(client))
        with pytest.raises(RuntimeError, match="torcheggroll: MemoryError: six are too many"):
            peers.generation("torcheggroll", population=6)
        with pytest.raises(RuntimeError, match="expected a library of hyperscale, .*, got 'hyper'"):
            peers.generation("hyper", population=4)
        with pytest.raises(RuntimeError, match="expected precision float32"):
            peers.generation("torcheggroll", population=4, precision="bfloat16")
        assert peers.generation("torcheggroll", population=4) > 0


def test_a_worker_that_ends_is_noticed(client):
    with client.Peers() as peers:
        peers.load(problem(client))
        with pytest.raises(RuntimeError, match="got its end with 3"):
            peers.generation("torcheggroll", population=8)
        with pytest.raises(UsageError, match="expected a running worker"):
            peers.check("torcheggroll")


def test_a_request_without_a_problem_is_refused(client):
    with client.Peers() as peers, pytest.raises(UsageError, match="call load first"):
        peers.check("torcheggroll")


def test_a_file_without_all_arrays_is_refused(client, tmp_path):
    np.savez(tmp_path / "half.npz", inputs=np.zeros((2, 7)), targets=np.zeros(2))
    with pytest.raises(ValueError, match="got none named bias1"):
        client.Problem.load(tmp_path / "half.npz")
