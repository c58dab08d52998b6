"""Noise made by torch operations, which any device has, against NumPy's Philox."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from galab.genome.device_random import numbers_on, words_on
from galab.genome.random import Stream, table, words_at

CPU = torch.device("cpu")
KEYS = st.integers(0, 2**64 - 1)


@pytest.mark.slow
@given(KEYS, st.integers(0, 2**40), st.integers(0, 300), st.integers(0, 2**40), st.integers(1, 70))
@example(2**64 - 1, 0, 0, 0, 9)
@example(2**63, 2**62, 7, 2**62, 4)
@example(0, 0, 0, 2**32 - 3, 40)  # the counter passes 32 bits
def test_every_word_is_that_of_numpy(run_key, generation, tensor, block, n):
    expected = words_at(run_key, generation, tensor, Stream.PERTURBATION, block, n)
    got = words_on(CPU, run_key, generation, tensor, Stream.PERTURBATION, block, n)
    assert got.numpy().view(np.uint64).tolist() == expected.tolist()


def test_streams_differ():
    one, other = (words_on(CPU, 1, 2, 3, stream, 0, 8) for stream in (Stream.PERTURBATION, Stream.EXAMPLES))
    assert not set(one.tolist()) & set(other.tolist())


def test_numbers_are_the_quantiles_of_the_codes():
    law = table("laplace")
    raw = words_at(5, 6, 7, Stream.PERTURBATION, 8, 30)
    codes = raw.astype("<u8").view("<u2").reshape(3, 40)
    words = words_on(CPU, 5, 6, 7, Stream.PERTURBATION, 8, 30).view(3, 10)
    for first, count in ((0, 40), (3, 8), (39, 1)):
        got = numbers_on(law, words, first, count)
        assert got.numpy().tolist() == law.quantiles[codes[:, first : first + count]].tolist()
    assert codes.max() > 2**15  # codes whose sign bit is set are among them
