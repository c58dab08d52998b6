"""The watch that finds noise inside generations."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from galab.genome import decoder, random
from galab.genome.random import table
from galab.operators import es_noise
from galab.operators.mutation import dense

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture
def shares(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("shares")


def test_draws_are_counted_under_every_name_and_all_is_as_before_afterwards(shares):
    names = [(random, "draw"), (es_noise, "draw"), (decoder.Decoder, "decode_all")]
    before = [getattr(owner, name) for owner, name in names]
    with shares.noise_timed() as watch:
        assert all(getattr(owner, name) is not one for (owner, name), one in zip(names, before, strict=True))
        dense.draw(table("normal"), 1, 2, random.Stream.WEIGHTS, 1000)
        assert watch.seconds > 0
    assert [getattr(owner, name) for owner, name in names] == before


def test_a_function_inside_another_is_counted_once(shares, monkeypatch):
    clock = iter([0.0, 10.0])
    monkeypatch.setattr(shares.clock, "now", lambda: next(clock))
    watch = shares.Stopwatch()
    inner = watch.around(lambda: "answer")
    assert watch.around(inner)() == "answer"
    assert watch.seconds == 10.0
