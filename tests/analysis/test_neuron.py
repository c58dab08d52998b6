"""Weights into neurons: strength, pictures and drift of small examples."""

from __future__ import annotations

import numpy as np
import pytest

from galab.analysis.neuron import compared, drifted, picture_of, strengths


def test_strength_is_the_length_of_what_goes_out() -> None:
    into = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert strengths(into, np.array([[3.0, 0.0], [4.0, 1.0], [0.0, 1.0]])).tolist() == pytest.approx([5, np.sqrt(2)])
    # A channel of a convolution that is flattened into two inputs.
    assert strengths(into, np.array([[3.0, 4.0, 0.0, 2.0]])).tolist() == [5, 2]
    for following in (None, np.ones((2, 3))):
        assert strengths(into, following).tolist() == pytest.approx([np.sqrt(5), 5])


def test_pictures_have_the_form_of_inputs_or_kernels() -> None:
    assert picture_of(np.arange(6.0), (1, 2, 3)).tolist() == [[0, 1, 2], [3, 4, 5]]  # type: ignore[union-attr]
    colours = picture_of(np.arange(8.0).reshape(2, 2, 2), (9,))
    assert colours is not None
    assert colours[:, [0, 1, 3, 4]].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]
    assert np.isnan(colours[:, 2]).all()
    assert picture_of(np.arange(6.0), (6,)) is None
    assert picture_of(np.arange(5.0), (1, 2, 3)) is None


def test_drift_adds_variances_and_is_told_from_selection() -> None:
    random = np.random.default_rng(1)
    founder = random.uniform(-1, 1, 20_000)
    drift = drifted(founder, 0.5, random.normal(size=20_000))
    assert drift.var() == pytest.approx(1 / 3 + 0.25, rel=0.03)
    found = compared(founder[:200], drift)
    assert (found.deviation, found.reference) == pytest.approx((np.sqrt(1 / 3), drift.std()), rel=0.05)
    assert compared(drift[:200], drift).p > 0.05
    assert compared(3 * drift[:200], drift).p < 1e-6
