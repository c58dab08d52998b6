"""The noise of integer networks: its law, who shares it with whom, and what is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from galab.errors import UsageError
from galab.genome.weights import Layout
from galab.operators.integer_noise import IntegerNoise, NoiseConfig, int8_table, planned_threshold

LAYOUT = Layout(("table", "matrix", "twin", "vector"), ((256, 32), (64, 32), (64, 32), (32,)))


def test_the_table_is_sixteen_times_a_normal_number() -> None:
    table = int8_table().astype(int)
    assert table.nbytes <= 1 << 20
    assert (np.diff(table) >= 0).all()
    assert np.array_equal(table, -table[::-1])
    assert table.std() == pytest.approx(16, rel=0.002)
    assert (table == 0).mean() == pytest.approx(0.0249, abs=0.0003)  # half a unit either way, and not a whole one


def test_pairs_updates_parameters_and_runs_have_noise_of_their_own() -> None:
    config = NoiseConfig(rank=4)
    first = IntegerNoise(LAYOUT, config, 1).of(0, 0, 3)
    assert {name: part.b.shape for name, part in first.items()} == {
        "table": (3, 4, 32), "matrix": (3, 4, 32), "twin": (3, 4, 32), "vector": (3, 32),
    }  # fmt: skip
    rows = [first[name].b[pair].ravel() for name in ("table", "matrix", "twin") for pair in range(3)]
    rows += [IntegerNoise(LAYOUT, config, 2).of(0, 0, 1)["matrix"].b[0].ravel()]
    rows += [IntegerNoise(LAYOUT, config, 1).of(1, 0, 1)["matrix"].b[0].ravel()]
    for place, one in enumerate(rows):
        for other in rows[place + 1 :]:
            assert abs(np.corrcoef(one, other)[0, 1]) < 0.4
    again = IntegerNoise(LAYOUT, config, 1).of(0, 1, 2)
    assert all(np.array_equal(part.b[0], first[name].b[1]) for name, part in again.items())
    assert np.array_equal(again["matrix"].a[0], first["matrix"].a[1])


def test_noise_may_be_used_again() -> None:
    noise = IntegerNoise(LAYOUT, NoiseConfig(noise_reuse=3), 1)
    firsts = [noise.of(update, 0, 1)["matrix"].b.tobytes() for update in range(6)]
    assert [firsts.index(one) for one in firsts] == [0, 0, 0, 3, 3, 3]


def test_shares_become_thresholds() -> None:
    assert [planned_threshold(share) for share in (1.0, 0.5, 0.1, 0.05, 0.01)] == [0, 10, 26, 31, 41]
    assert planned_threshold(1e-12) < planned_threshold(1e-18) < planned_threshold(1e-300) == 592
    for share in (0.0, -0.1, 1.1):
        with pytest.raises(UsageError, match="a share of weights above 0 and at most 1"):
            planned_threshold(share)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"rank": 2}, "--rank 1, 4 or 16"),
        ({"noise_reuse": 0}, "expected noise_reuse as a whole number from 1"),
        ({"sigma_shift": 17}, "expected sigma_shift as a whole number from 0 to 16, got 17"),
        ({"fixed_point": 5}, "expected fixed_point as 4, got 5"),
        ({"learning_rate": 0.5}, "expected learning_rate as a whole number from 1 to 127, got 0.5"),
        ({"weight_clip": 9.0}, "expected weight_clip from 1/16 to 7.9375, got 9.0"),
        ({"update_threshold": -1}, "expected update_threshold as a whole number"),
    ],
)
def test_what_a_configuration_cannot_be(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        NoiseConfig(**values)


def test_a_configuration_has_the_eight_names_and_is_frozen() -> None:
    names = {"rank", "sigma_shift", "fixed_point", "learning_rate", "weight_clip", "fast_fitness", "update_threshold",
             "use_clt"}  # fmt: skip
    assert names <= {field.name for field in dataclasses.fields(NoiseConfig)}
    with pytest.raises(dataclasses.FrozenInstanceError):
        NoiseConfig().rank = 4  # type: ignore[misc]
    with pytest.raises(UsageError, match="expected matrices and vectors in an integer network, got 'w' of shape"):
        IntegerNoise(Layout(("w",), ((2, 3, 4),)), NoiseConfig(), 1)
