"""Members of the EGG network: the compiled step, torch and plain Python integers give the same bits."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import plain_integers as plain
import pytest
import torch

from galab.evaluation import egg_kernel
from galab.evaluation.batched.compiled import compiler
from galab.evaluation.egg_kernel import EggScorer
from galab.genome.weights import Layout
from galab.models.egg import Egg
from galab.operators.integer_noise import IntegerNoise, NoiseConfig

SIZES = [(64, 1, 1), (32, 2, 4), (96, 1, 1), (64, 2, 16)]
needs_compiler = pytest.mark.skipif(compiler() is None, reason="no C++ compiler here")


def network(width: int = 64, layers: int = 1, rank: int = 1, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    model = Egg((8,), 8 * 256, width=width, layers=layers)
    named = dict(model.named_parameters())
    layout = Layout(tuple(named), tuple(tuple(value.shape) for value in named.values()))
    weights = {name: (value.detach() * 16).round().to(torch.int8).numpy() for name, value in named.items()}
    rng = np.random.default_rng(seed)
    for name in weights:  # so that biases and norms say something too
        if weights[name].ndim == 1:
            weights[name] = rng.integers(-40, 41, weights[name].shape).astype(np.int8)
    config = NoiseConfig(rank=rank)
    return model, layout, {n: np.ascontiguousarray(w) for n, w in weights.items()}, config


def given(model: Egg, pairs: int, length: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Sequences with the start of a document in one of them, and states."""
    rng = np.random.default_rng(3)
    sequences = rng.integers(0, 256, (pairs, length + 1)).astype(np.uint8)
    sequences[0, 2] = 0
    states = rng.integers(-127, 128, (2 * pairs, model.layers, model.width)).astype(np.int8)
    return sequences, states


@needs_compiler
@pytest.mark.parametrize(("width", "layers", "rank"), SIZES)
def test_the_compiled_step_computes_what_torch_does(width: int, layers: int, rank: int) -> None:
    model, layout, weights, config = network(width, layers, rank)
    pairs = 7  # no multiple of a block
    noise = IntegerNoise(layout, config, 5).of(3, 2, 2 + pairs)
    sequences, states = given(model, pairs)
    torchs = EggScorer(model, config)
    torchs._library = None
    after = states.copy()
    expected = torchs.scores(weights, noise, sequences, after)
    for threads in (1, 2, 3):
        own = states.copy()
        scorer = EggScorer(model, config, threads=threads)
        assert scorer.compiled
        assert np.array_equal(scorer.scores(weights, noise, sequences, own), expected)
        assert np.array_equal(own, after)


@pytest.mark.parametrize(("width", "layers", "rank"), [(32, 2, 4), (64, 1, 1)])
def test_both_compute_what_plain_integers_do(width: int, layers: int, rank: int) -> None:
    model, layout, weights, config = network(width, layers, rank, seed=2)
    noise = IntegerNoise(layout, config, 6).of(0, 0, 1)
    sequences, states = given(model, 1, length=3)
    own = states.copy()
    found = EggScorer(model, config).scores(weights, noise, sequences, own)
    b = {name: part.b[0].tolist() for name, part in noise.items()}
    a = {name: part.a[0].tolist() for name, part in noise.items() if part.a is not None}
    lists = {name: value.tolist() for name, value in weights.items()}
    for row, sign in enumerate((1, -1)):
        member = plain.PlainEgg(lists, b, a, sign, config.shift, layers)
        score, after = member.score(sequences[0].tolist(), states[row].tolist())
        assert found[row] == score
        assert own[row].tolist() == after


def test_a_part_of_the_members_has_the_scores_of_the_whole() -> None:
    model, layout, weights, config = network(32, 1)
    drawer = IntegerNoise(layout, config, 9)
    sequences, states = given(model, 12)
    scorer = EggScorer(model, config)
    whole = scorer.scores(weights, drawer.of(1, 0, 12), sequences, states.copy())
    for first, last in ((0, 1), (1, 6), (6, 12)):
        part = scorer.scores(
            weights, drawer.of(1, first, last), sequences[first:last], states[2 * first : 2 * last].copy()
        )
        assert np.array_equal(part, whole[2 * first : 2 * last])


def test_without_a_compiler_torch_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GALAB_EGG", "torch")
    monkeypatch.setattr(egg_kernel, "library", egg_kernel.library.__wrapped__)
    assert not EggScorer(network()[0], NoiseConfig()).compiled


@needs_compiler
def test_a_compiler_that_fails_is_told_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(egg_kernel, "compiler", lambda: "false")
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path))
    assert egg_kernel._built() is None
    assert "the step of egg could not be compiled" in caplog.text
    assert ctypes.sizeof(egg_kernel._Sizes) == 8 * 4
